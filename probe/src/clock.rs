//! The only place of this crate that reads time.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use distributary_core::Moment;

/// Monotonic time since the clock was made, the time in which the machine was suspended included. Clones agree with each other; a process has one, so that all of its moments can
/// be compared.
///
/// Wherever time is an argument, its caller reads it here. The wall clock is not here: nothing that is decided depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// How long the machine had been suspended by then.
    suspended: Duration,
}

/// How long the machine was suspended since its start, as this process knows.
static SUSPENSION: LazyLock<Suspension> = LazyLock::new(|| Suspension(AtomicU64::new(measured())));

/// No suspension is shorter: what is less is the time between two readings.
const SHORTEST: u64 = 1_000_000;

/// Nanoseconds; they never go back.
struct Suspension(AtomicU64);

impl Suspension {
    /// Takes in a measurement, which is never more than there was.
    fn take(&self, measured: u64) -> Duration {
        let known = self.0.load(Ordering::Relaxed);
        let known = if measured > known.saturating_add(SHORTEST) {
            self.0.fetch_max(measured, Ordering::Relaxed).max(measured)
        } else {
            known
        };
        Duration::from_nanos(known)
    }
}

/// How far CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, which stands still while the machine is suspended; 0 where there is no
/// such clock. The later reading of the two is that of CLOCK_MONOTONIC, so a pause between them makes it less.
#[cfg(target_os = "linux")]
fn measured() -> u64 {
    let read = |clock| clock_gettime(clock).map(Duration::from);
    let boot = read(ClockId::CLOCK_BOOTTIME);
    let ahead = boot.and_then(|boot| Ok(boot.saturating_sub(read(ClockId::CLOCK_MONOTONIC)?)));
    u64::try_from(ahead.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// The commands that run elsewhere take seconds.
#[cfg(not(target_os = "linux"))]
const fn measured() -> u64 {
    0
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
            suspended: SUSPENSION.take(measured()),
        }
    }

    /// The present moment, in the resolution of the system's monotonic clock (nanoseconds on Linux).
    ///
    /// It is that of CLOCK_BOOTTIME: it goes on while the machine is suspended, and no change of the wall clock moves it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads time")]
    pub fn now(&self) -> Moment {
        let suspended = SUSPENSION.take(measured()).saturating_sub(self.suspended);
        Moment::new(self.start.elapsed() + suspended)
    }

    /// Returns at `moment`, at once where it is past; never early, up to a millisecond late, and where the machine is
    /// suspended meanwhile by as much later as that takes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspension_counts_and_the_time_between_two_readings_does_not() {
        let (second, suspension) = (1_000_000_000, Suspension(AtomicU64::new(5)));
        let after = |measured| suspension.take(measured).as_nanos();
        assert_eq!(after(900_000), 5);
        // A pause between the two readings makes the measurement less.
        assert_eq!(after(0), 5);
        assert_eq!(after(60 * second), 60 * u128::from(second));
        assert_eq!(after(60 * second - 40), 60 * u128::from(second));
        assert_eq!(after(90 * second), 90 * u128::from(second));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn moments_follow_the_clock_that_runs_while_the_machine_is_suspended() {
        let read = || Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap());
        let (before, clock, after) = (read(), Clock::new(), read());
        // To the millisecond, which is the shortest suspension.
        let slack = Duration::from_millis(2);
        let mut last = Moment::default();
        for _ in 0..1000 {
            let (earlier, now, later) = (read(), clock.now(), read());
            let passed = now.since_start();
            assert!(passed <= later - before + slack && passed + slack >= earlier.saturating_sub(after));
            assert!(now >= last, "{now:?} comes after {last:?}");
            last = now;
        }
    }
}
