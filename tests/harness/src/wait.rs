//! Waiting for a condition, with a deadline: the only place where the harness and the tests let time pass.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

/// The time between two attempts of [`eventually`].
const INTERVAL: Duration = Duration::from_millis(15);

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

/// Attempts until one succeeds, every 15 ms; an attempt that hangs is ended by the deadline.
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
        let left = deadline.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, attempt()).await {
            Ok(attempted) => match attempted.outcome() {
                Ok(value) => return Ok(value),
                Err(seen) => last = seen,
            },
            Err(_) => return Err(missed(what, deadline, &last)),
        }
        if started.elapsed() >= deadline {
            return Err(missed(what, deadline, &last));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The opposite of [`eventually`]: attempts during the whole `period`, and every attempt must succeed.
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
        if let Err(seen) = attempt().await.outcome() {
            bail!(
                "after {:.3?} it did not hold that {what}: {seen}",
                started.elapsed()
            );
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
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
