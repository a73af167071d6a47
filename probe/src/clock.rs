//! The only place of this crate that reads time.

use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep};

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
    fn known(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

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

    /// The present moment as [`now`](Self::now) would tell it, were it not for a suspension that nobody has asked for yet: never ahead of
    /// `now`, and one reading of the system's clock in place of three. For what happens with every message.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads time")]
    pub fn recently(&self) -> Moment {
        let suspended = SUSPENSION.known().saturating_sub(self.suspended);
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

/// Rings once a time has passed, and is set again and again. For who waits often, and mostly in vain: to set it to a later moment than
/// before takes no lock of the runtime, as the beginning and the end of every [`Clock::sleep`] do.
#[derive(Debug)]
pub struct Alarm {
    sleep: Pin<Box<Sleep>>,
    runtime: Id,
}

/// Ten years: a longer time has no end.
const EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Alarm {
    /// One of the runtime of the caller. It rings at once until it is set.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its time driver.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub fn of_this_runtime() -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            runtime: Handle::current().id(),
        }
    }

    /// Whether it is of the runtime of the caller. One of a runtime that has ended does not ring: whoever waits for it panics.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn is_of_this_runtime(&self) -> bool {
        Handle::current().id() == self.runtime
    }

    /// It rings after `time`, whatever it was set to before; never early, and up to a millisecond late.
    #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub fn set(&mut self, time: Duration) {
        self.sleep.as_mut().reset(Instant::now() + time.min(EVER));
    }

    /// Returns once it rings, and at once from then on until it is set again.
    pub async fn rings(&mut self) {
        self.sleep.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_when_it_was_set_to_last() {
        let (clock, mut alarm) = (Clock::new(), Alarm::of_this_runtime());
        for times in [&[50][..], &[100, 20], &[20, 100], &[u64::MAX, 1], &[1000]] {
            let before = clock.now();
            for millis in times {
                alarm.set(Duration::from_millis(*millis));
            }
            alarm.rings().await;
            let last = Duration::from_millis(times.last().copied().unwrap_or_default());
            let took = clock.now().since(before);
            assert!(
                took >= last && took <= last + Duration::from_millis(2),
                "{times:?}: {took:?}"
            );
        }
    }

    #[test]
    fn an_alarm_knows_its_runtime() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap()
        };
        let (own, other) = (runtime(), runtime());
        let alarm = own.block_on(async { Alarm::of_this_runtime() });
        assert!(own.block_on(async { alarm.is_of_this_runtime() }));
        assert!(!other.block_on(async { alarm.is_of_this_runtime() }));
    }

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
            let (recent, next) = (clock.recently(), clock.now());
            assert!(
                recent >= now && recent <= next,
                "{recent:?} is between {now:?} and {next:?}"
            );
            let passed = now.since_start();
            assert!(passed <= later - before + slack && passed + slack >= earlier.saturating_sub(after));
            assert!(now >= last, "{now:?} comes after {last:?}");
            last = now;
        }
    }
}
