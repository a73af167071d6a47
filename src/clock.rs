//! The clocks of the operator: the monotonic one for whatever is decided, the wall clock for what people read. The only
//! place of the operator that reads time.

use distributary_probe::CertificateReader;
use k8s_openapi::jiff::Timestamp;

pub use distributary_probe::Clock;

/// The wall clock, for status, Events and logs; never for a decision.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub fn timestamp() -> Timestamp {
    Timestamp::now()
}

/// What reads certificates, by the wall clock.
#[must_use]
pub fn certificates() -> CertificateReader {
    let now = timestamp().as_duration().try_into();
    CertificateReader::at(now.unwrap_or_default())
}
