//! The circuit breaker of one target, and the run of failures that leads to it.
//!
//! | state              | success                              | failure                                  |
//! |--------------------|--------------------------------------|------------------------------------------|
//! | Closed             | Closed, count 0                      | Closed, count + 1; at the threshold Open |
//! | Open, before until | Open                                 | Open                                     |
//! | Open, from until   | HalfOpen at the first step           | Open, until moved on                     |
//! | HalfOpen           | next step; after the last one Closed | Open                                     |
//!
//! An answer that is neither (the server is alive, but says nothing of its health) ends a run of failures and changes
//! nothing else. A disabled breaker opens after the same failures and closes with the first success.

use std::time::Duration;

use super::moment::Moment;
use super::policy::{BreakerSettings, Percent};

/// What a check says to the breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Success,
    /// A failed check that began at `started`.
    Failure {
        started: Moment,
    },
    /// Neither: the server answered.
    Alive,
}

/// Whether traffic flows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Circuit {
    /// Traffic flows. `run`: the consecutive failures so far.
    Closed { run: Option<Run> },
    /// No traffic; at `until` the next success makes it half-open.
    Open { until: Moment },
    /// Traffic returns: `step` counts the traffic steps from 0, `successes` the good checks at this step.
    HalfOpen { step: usize, successes: u32 },
}

/// Consecutive failures of a closed circuit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Run {
    /// When the first failed check began.
    pub started: Moment,
    /// Failures counted; more may have been seen at closer distance.
    pub counted: u32,
    /// When the newest failed check ended.
    pub newest: Moment,
}

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed { run: None }
    }
}

impl Circuit {
    /// The circuit after a check that ended at `now`. `window` is the failover timeout.
    #[must_use]
    pub fn observe(
        self,
        outcome: Outcome,
        now: Moment,
        settings: &BreakerSettings,
        window: Duration,
    ) -> Self {
        match (self, outcome) {
            (Self::Closed { .. }, Outcome::Success | Outcome::Alive) => Self::Closed { run: None },
            (Self::Closed { run }, Outcome::Failure { started }) => {
                let run = count(run, started, now, settings, window);
                if trips(&run, now, settings, window) {
                    Self::open(now, settings)
                } else {
                    Self::Closed { run: Some(run) }
                }
            }
            (Self::Open { .. } | Self::HalfOpen { .. }, Outcome::Success) if !settings.enabled => {
                Self::default()
            }
            (Self::Open { until }, Outcome::Success) if now >= until => Self::HalfOpen {
                step: 0,
                successes: 0,
            },
            (Self::Open { until }, Outcome::Failure { .. }) if now >= until => Self::open(now, settings),
            (Self::HalfOpen { step, successes }, Outcome::Success) => advance(step, successes + 1, settings),
            (Self::HalfOpen { .. }, Outcome::Failure { .. }) => Self::open(now, settings),
            (Self::Open { .. } | Self::HalfOpen { .. }, _) => self,
        }
    }

    /// The share of its weight that a target of this circuit gets.
    #[must_use]
    pub fn share(self, settings: &BreakerSettings) -> Percent {
        match self {
            Self::Closed { .. } => Percent::FULL,
            Self::Open { .. } => Percent::new(0),
            Self::HalfOpen { step, .. } => settings.traffic_steps.get(step).copied().unwrap_or(Percent::FULL),
        }
    }

    /// Whether the last traffic step is reached, from which on a slice holds the target.
    #[must_use]
    pub fn at_last_step(self, settings: &BreakerSettings) -> bool {
        matches!(self, Self::HalfOpen { step, .. } if step + 1 >= settings.traffic_steps.len())
    }

    fn open(now: Moment, settings: &BreakerSettings) -> Self {
        Self::Open {
            until: now
                + if settings.enabled {
                    settings.reset_timeout
                } else {
                    Duration::ZERO
                },
        }
    }
}

/// The next failure of a run counts at the earliest at this distance from its start: the gaps grow, and the last one
/// leaves room for an attempt before the window ends.
#[must_use]
pub fn spacing(counted: u32, threshold: u32, window: Duration) -> Duration {
    let (i, n) = (u128::from(counted), u128::from(threshold.max(1)));
    let micros = window.as_micros() * i * (i + 1) / (n * (n + 1));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

fn count(
    run: Option<Run>,
    started: Moment,
    now: Moment,
    settings: &BreakerSettings,
    window: Duration,
) -> Run {
    let Some(run) = run else {
        return Run {
            started,
            counted: 1,
            newest: now,
        };
    };
    let due = run.started + spacing(run.counted, settings.failure_threshold, window);
    Run {
        counted: run.counted + u32::from(now >= due),
        newest: now,
        ..run
    }
}

fn trips(run: &Run, now: Moment, settings: &BreakerSettings, window: Duration) -> bool {
    run.counted >= settings.failure_threshold || (run.counted > 1 && now.since(run.started) >= window)
}

fn advance(step: usize, successes: u32, settings: &BreakerSettings) -> Circuit {
    if successes < settings.success_threshold {
        Circuit::HalfOpen { step, successes }
    } else if step + 1 < settings.traffic_steps.len() {
        Circuit::HalfOpen {
            step: step + 1,
            successes: 0,
        }
    } else {
        Circuit::default()
    }
}

#[cfg(test)]
mod tests;
