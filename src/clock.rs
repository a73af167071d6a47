//! The clocks of the operator: the monotonic one for whatever is decided, the wall clock for what people read. The only
//! place of the operator that reads time.

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
