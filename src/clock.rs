//! The only place that reads time.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use distributary_core::Moment;

/// Monotonic time since the process began, and the wall clock for what people read. Clones agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "a default clock would hide where time is read"
    )]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads time")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads time")]
    pub fn now(&self) -> Moment {
        Moment::new(self.start.elapsed())
    }

    /// The wall clock, for status, events and logs; never for a decision.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads time")]
    pub fn timestamp() -> Timestamp {
        Timestamp::now()
    }

    /// Returns at `moment`, at once where it is past.
    #[allow(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub async fn sleep_until(&self, moment: Moment) {
        tokio::time::sleep(moment.since(self.now())).await;
    }

    /// Returns after `time`.
    #[allow(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
}
