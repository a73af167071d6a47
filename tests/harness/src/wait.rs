//! Waiting for a condition, with a deadline: the only place where the harness and the tests let time pass.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

/// The shortest time from one attempt to the next, and the longest.
const INTERVAL: Duration = Duration::from_millis(15);
const LONGEST: Duration = Duration::from_millis(250);

/// What an attempt says: a value, or why there is none yet.
pub trait Outcome {
    /// What is there when the wait is over.
    type Value;
    /// The value, or the state that was seen instead, for the message of a missed deadline.
    ///
    /// # Errors
    /// When the awaited condition does not hold yet.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl<T> Outcome for Option<T> {
    type Value = T;
    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing there yet".to_owned())
    }
}

impl Outcome for bool {
    type Value = ();
    fn outcome(self) -> Result<(), String> {
        if self {
            Ok(())
        } else {
            Err("it does not hold yet".to_owned())
        }
    }
}

impl<T, E: Display> Outcome for Result<T, E> {
    type Value = T;
    fn outcome(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:#}"))
    }
}

/// Attempts until one succeeds, first every 15 ms; an attempt that hangs is ended by the deadline.
///
/// It is late by 2 % of what it took, and by as long as an attempt takes: many tests wait at once, and what they ask takes
/// the processors away from what they wait for.
///
/// # Errors
/// After `deadline`: the message says what was awaited, for how long, and what the last attempt saw.
pub async fn eventually<O: Outcome, F: Future<Output = O>>(
    what: &str,
    deadline: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<O::Value> {
    let started = Instant::now();
    let mut last = "the first attempt did not end".to_owned();
    loop {
        let begun = started.elapsed();
        let left = deadline.saturating_sub(begun);
        match tokio::time::timeout(left, attempt()).await {
            Ok(attempted) => match attempted.outcome() {
                Ok(value) => return Ok(value),
                Err(seen) => last = seen,
            },
            Err(_) => return Err(missed(what, deadline, &last)),
        }
        let ended = started.elapsed();
        if ended >= deadline {
            return Err(missed(what, deadline, &last));
        }
        tokio::time::sleep(pause(ended.saturating_sub(begun), ended)).await;
    }
}

/// From one attempt, which took so long, to the next, when so much of the wait has passed.
fn pause(took: Duration, waited: Duration) -> Duration {
    took.max(waited / 50).clamp(INTERVAL, LONGEST)
}

/// The opposite of [`eventually`]: attempts during the whole `period`, every 15 ms or half of the time, and every attempt
/// must succeed.
///
/// # Errors
/// As soon as one does not: the message says when and what it saw.
pub async fn throughout<O: Outcome, F: Future<Output = O>>(
    what: &str,
    period: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < period {
        let begun = started.elapsed();
        if let Err(seen) = attempt().await.outcome() {
            bail!(
                "after {:.3?} it did not hold that {what}: {seen}",
                started.elapsed()
            );
        }
        let took = started.elapsed().saturating_sub(begun);
        tokio::time::sleep(pause(took, Duration::ZERO)).await;
    }
    Ok(())
}

/// Waits until what `count` tells stays as it is for so long, and returns it: that nothing happens is only seen by its
/// absence.
///
/// # Errors
/// The error of `count`, or after `deadline`: the message has what it told last.
pub async fn rest<T: Debug + PartialEq>(
    what: &str,
    period: Duration,
    deadline: Duration,
    count: impl Fn() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    let mut before = count()?;
    loop {
        tokio::time::sleep(period).await;
        let now = count()?;
        if now == before {
            return Ok(now);
        }
        if started.elapsed() >= deadline {
            return Err(missed(
                what,
                deadline,
                &format!("{before:?}, {period:?} later {now:?}"),
            ));
        }
        before = now;
    }
}

/// The result of `future`, when it comes within `deadline`.
///
/// # Errors
/// The error of `future`, or that `what` did not happen in time.
pub async fn within<T, E: Into<anyhow::Error>>(
    what: &str,
    deadline: Duration,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    match tokio::time::timeout(deadline, future).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(missed(what, deadline, "it did not end")),
    }
}

/// Lets time pass. For what can only be seen by its absence, such as "no writes for two minutes": say so in `why`.
pub async fn pass(period: Duration, why: &str) {
    debug_assert!(!why.is_empty(), "a reason");
    tokio::time::sleep(period).await;
}

/// Measures what a condition took; tests have no clock of their own.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time from the start to `moment`; zero when that was before.
    #[must_use]
    pub fn until(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.0)
    }
}

pub(crate) fn missed(what: &str, deadline: Duration, last: &str) -> anyhow::Error {
    anyhow!("waited {deadline:.1?} for {what}; last seen: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_take_at_most_half_of_the_time() {
        let [quick, slow, hangs] = [1, 80, 2000].map(Duration::from_millis);
        assert_eq!(pause(quick, quick), INTERVAL);
        assert_eq!(pause(slow, slow), slow);
        assert_eq!(pause(hangs, hangs), LONGEST, "who hangs takes no processor");
    }

    #[test]
    fn a_wait_is_late_by_a_fiftieth_at_most() {
        let took = Duration::from_millis(1);
        for comes in [100, 3_000, 20_000].map(Duration::from_millis) {
            let (mut now, mut attempts) = (Duration::ZERO, 0);
            while now < comes {
                now += pause(took, now);
                attempts += 1;
            }
            assert!(now <= comes + INTERVAL.max(comes / 50), "{now:?} for {comes:?}");
            assert!(attempts < 250, "{attempts} attempts in {now:?}");
        }
    }
}
