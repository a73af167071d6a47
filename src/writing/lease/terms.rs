//! How long a lease is, and how it is renewed.

use std::time::Duration;

use super::MOST;
use crate::writing::lead::LEFT;

/// The times of a lease, which fit together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Terms {
    seconds: i32,
    duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// Renewals that come later than their period by so much still come in time, as client-go has it.
fn stretched(period: Duration) -> Duration {
    period * 12 / 10
}

impl Terms {
    /// # Errors
    /// Which option of `distributary run` does not fit.
    pub fn new(duration: Duration, renew_deadline: Duration, retry_period: Duration) -> Result<Self, String> {
        let least = LEFT + stretched(retry_period);
        if retry_period.is_zero() {
            return Err("--retry-period must be greater than 0".to_owned());
        }
        if duration.subsec_nanos() != 0 {
            return Err("--lease-duration must be a whole number of seconds".to_owned());
        }
        if duration > MOST {
            return Err(format!("--lease-duration must be at most {} s", MOST.as_secs()));
        }
        if duration <= renew_deadline {
            return Err("--lease-duration must be greater than --renew-deadline".to_owned());
        }
        if renew_deadline <= stretched(retry_period) {
            return Err("--renew-deadline must be greater than 1.2 times --retry-period".to_owned());
        }
        if duration <= least {
            return Err(format!(
                "--lease-duration must be greater than 1.2 times --retry-period plus {} s: no write starts in the last {} s of the lease",
                LEFT.as_secs(),
                LEFT.as_secs()
            ));
        }
        Ok(Self {
            seconds: i32::try_from(duration.as_secs()).unwrap_or(i32::MAX),
            duration,
            renew_deadline,
            retry_period,
        })
    }

    /// As a record says it.
    #[must_use]
    pub const fn seconds(&self) -> i32 {
        self.seconds
    }

    /// So long after its last renewal another process may take the lease.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// So long after its last renewal the leader gives the lease up.
    #[must_use]
    pub const fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// From one renewal to the next, and from a request that failed to the next.
    #[must_use]
    pub const fn retry_period(&self) -> Duration {
        self.retry_period
    }
}
