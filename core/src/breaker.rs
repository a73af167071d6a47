//! The circuit breaker of one target, and the run of failures that leads to it.
//!
//! | state              | success                              | failure                                  |
//! |--------------------|--------------------------------------|------------------------------------------|
//! | Closed             | Closed, count 0                      | Closed, count + 1; at the threshold Open |
//! | Open, before until | Open                                 | Open                                     |
//! | Open, from until   | HalfOpen at the first step           | Open, until moved on                     |
//! | HalfOpen           | next step; after the last one Closed | Open                                     |
//!
//! Every trip that follows another one within `max_reset_timeout` doubles the time that the circuit stays open. The tenth
//! suspicion within ten minutes is a trip, too: a server that flaps without failing for long enough is damped like the others.
//!
//! An answer that is neither (the server is alive, but says nothing of its health) ends a run of failures and changes
//! nothing else. A disabled breaker opens after the same failures and closes with the first success.

use std::collections::VecDeque;
use std::time::Duration;

use super::moment::Moment;
use super::percent::Percent;
use super::policy::BreakerSettings;
use crate::words::words;

/// Trips remembered; more double nothing.
const MOST_TRIPS: usize = 16;
/// So many suspicions within this time are a trip.
const SUSPICIONS: usize = 10;
const SUSPICIONS_WITHIN: Duration = Duration::from_mins(10);

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

/// The state of a circuit, without its times and counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum CircuitState {
    /// Traffic flows.
    #[default]
    Closed,
    /// No traffic.
    Open,
    /// Traffic returns.
    HalfOpen,
}

words!(CircuitState);

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

/// The circuit of a target with its recent trips.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breaker {
    pub circuit: Circuit,
    /// When it tripped, oldest first, within `max_reset_timeout`.
    trips: VecDeque<Moment>,
    /// When it was suspected, oldest first, within ten minutes.
    suspicions: VecDeque<Moment>,
}

impl Breaker {
    /// A circuit as it was before the operator started, with so many trips shortly before `now`.
    #[must_use]
    pub fn restored(circuit: Circuit, trips: u32, now: Moment) -> Self {
        let trips = usize::try_from(trips).unwrap_or(MOST_TRIPS).min(MOST_TRIPS);
        Self {
            circuit,
            trips: std::iter::repeat_n(now, trips).collect(),
            suspicions: VecDeque::new(),
        }
    }

    /// Takes in a check that ended at `now`. `window` is the failover timeout.
    pub fn observe(&mut self, outcome: Outcome, now: Moment, settings: &BreakerSettings, window: Duration) {
        self.trips
            .retain(|trip| now.since(*trip) < settings.max_reset_timeout);
        let before = self.circuit;
        let again = matches!(before, Circuit::Open { .. });
        let earlier = self.trips.len() - usize::from(again && !self.trips.is_empty());
        self.circuit = before.observe(outcome, now, settings, window, pause(settings, earlier));
        if matches!(self.circuit, Circuit::Open { .. }) && !again {
            self.note_trip(now);
        }
    }

    /// The target is suspected at `now`, after the check that [`observe`](Self::observe) took in.
    pub fn suspect(&mut self, now: Moment, settings: &BreakerSettings) {
        self.suspicions
            .retain(|earlier| now.since(*earlier) < SUSPICIONS_WITHIN);
        self.suspicions.push_back(now);
        if self.suspicions.len() < SUSPICIONS {
            return;
        }
        // The next one within the time is the tenth again.
        self.suspicions.pop_front();
        if !matches!(self.circuit, Circuit::Open { .. }) {
            let until = now + pause(settings, self.trips.len());
            self.circuit = Circuit::Open { until };
            self.note_trip(now);
        }
    }

    fn note_trip(&mut self, now: Moment) {
        self.trips.push_back(now);
        if self.trips.len() > MOST_TRIPS {
            self.trips.pop_front();
        }
    }

    /// The failures that were counted so far count no longer.
    pub fn forget_run(&mut self) {
        if let Circuit::Closed { run } = &mut self.circuit {
            *run = None;
        }
    }

    /// Trips within the last `max_reset_timeout`.
    #[must_use]
    pub fn trips(&self) -> u32 {
        u32::try_from(self.trips.len()).unwrap_or(u32::MAX)
    }
}

/// How long a circuit stays open after so many earlier trips.
fn pause(settings: &BreakerSettings, earlier: usize) -> Duration {
    if !settings.enabled {
        return Duration::ZERO;
    }
    let factor = 2_u32.saturating_pow(u32::try_from(earlier).unwrap_or(u32::MAX));
    settings
        .reset_timeout
        .saturating_mul(factor)
        .min(settings.max_reset_timeout)
}

impl Circuit {
    /// The circuit after a check that ended at `now`. `window` is the failover timeout; a circuit that opens stays open
    /// for `pause`.
    fn observe(
        self,
        outcome: Outcome,
        now: Moment,
        settings: &BreakerSettings,
        window: Duration,
        pause: Duration,
    ) -> Self {
        let open = Self::Open { until: now + pause };
        match (self, outcome) {
            (Self::Closed { .. }, Outcome::Success | Outcome::Alive) => Self::Closed { run: None },
            (Self::Closed { run }, Outcome::Failure { started }) => {
                let run = count(run, started, now, settings, window);
                if trips(&run, now, settings, window) {
                    open
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
            (Self::Open { until }, Outcome::Failure { .. }) if now >= until => open,
            (Self::HalfOpen { step, successes }, Outcome::Success) => advance(step, successes + 1, settings),
            (Self::HalfOpen { .. }, Outcome::Failure { .. }) => open,
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

    #[must_use]
    pub const fn state(self) -> CircuitState {
        match self {
            Self::Closed { .. } => CircuitState::Closed,
            Self::Open { .. } => CircuitState::Open,
            Self::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// As people see it: without the checks that were counted so far.
    #[must_use]
    pub const fn shown(self) -> Self {
        match self {
            Self::Closed { .. } => Self::Closed { run: None },
            Self::Open { .. } => self,
            Self::HalfOpen { step, .. } => Self::HalfOpen { step, successes: 0 },
        }
    }

    /// Whether the last traffic step is reached, from which on a slice holds the target.
    #[must_use]
    pub fn at_last_step(self, settings: &BreakerSettings) -> bool {
        matches!(self, Self::HalfOpen { step, .. } if step + 1 >= settings.traffic_steps.len())
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
