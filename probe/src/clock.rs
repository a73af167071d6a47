//! The only place of this crate that reads time.

use std::time::Duration;

use tokio::time::Instant;

use distributary_core::Moment;

/// Monotonic time since the clock was made. Clones agree with each other; a process has one, so that all of its moments can
/// be compared.
///
/// Wherever time is an argument, its caller reads it here. The wall clock is not here: nothing that is decided depends on it.
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
    #[expect(clippy::disallowed_methods, reason = "the one place that reads time")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The present moment, in the resolution of the system's monotonic clock (nanoseconds on Linux).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads time")]
    pub fn now(&self) -> Moment {
        Moment::new(self.start.elapsed())
    }

    /// Returns at `moment`, at once where it is past; never early, and up to a millisecond late.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its time driver.
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub async fn sleep_until(&self, moment: Moment) {
        tokio::time::sleep(moment.since(self.now())).await;
    }

    /// Returns after `time`; never early, and up to a millisecond late.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its time driver.
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
}
