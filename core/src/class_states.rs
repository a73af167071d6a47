//! What is known of one target beside its health and its lag: how much of it is used, and what the classes that have a
//! bound of lag or a probe query of their own know of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::{Breaker, Circuit, Outcome};
use super::health::Reason;
use super::ids::ClassName;
use super::lag::{Freshness, Lag, Replay, ReplayReport, WalHistory};
use super::level::{LagStep, UseStep};
use super::moment::Moment;
use super::observation::{Load, Observation, Role};
use super::policy::{Endpoint, LagSettings, LagSource, Policy, Strategy};
use super::routing::Class;

/// Two changes of the step of use are at least so far apart.
const USE_APART: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassStates {
    /// Under the strategy `LeastConnections`: how much of it is used, and since when it is that.
    used: Option<(UseStep, Moment)>,
    /// How far behind it is.
    behind: Option<LagStep>,
    classes: BTreeMap<ClassName, ClassState>,
}

/// What one class knows of a target.
#[derive(Clone, Debug, PartialEq)]
struct ClassState {
    /// By the class's own bound, and that bound.
    replay: Option<(Replay, LagSettings)>,
    /// Of its probe query, and that query.
    breaker: Option<(Breaker, Arc<str>)>,
}

/// What the plan is told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClassJudgement {
    /// By the class's bound; `None`: the class has none.
    pub freshness: Option<Freshness>,
    /// Of its probe query.
    pub circuit: Circuit,
    /// Trips of that circuit within the last `maxResetTimeout`.
    pub trips: u32,
}

impl ClassJudgement {
    /// Why the class stays away from a target of this role that is otherwise well; `Serving`: it does not.
    #[must_use]
    pub fn reason(&self, role: Option<Role>) -> Reason {
        match (
            self.freshness.filter(|_| role == Some(Role::Standby)),
            self.circuit,
        ) {
            (Some(Freshness::Lagging), _) => Reason::Lagging,
            (Some(Freshness::Stalled), _) => Reason::ReplayStalled,
            (Some(Freshness::Unknown), _) => Reason::LagUnknown,
            (_, Circuit::Open { .. }) => Reason::ProbeQueryFailed,
            (_, Circuit::HalfOpen { .. }) => Reason::Returning,
            (_, Circuit::Closed { .. }) => Reason::Serving,
        }
    }
}

impl ClassStates {
    /// Takes the classes of the policy: what a class asks anew begins with what is known of the target.
    pub fn take_classes(&mut self, policy: &Policy, endpoint: &Endpoint, known: &Replay) {
        let mut before = std::mem::take(&mut self.classes);
        let own = policy
            .routing
            .classes
            .iter()
            .filter(|class| class.max_lag.is_some() || class.probe_query.is_some());
        self.classes = own
            .map(|class| {
                let earlier = before.remove(&class.name);
                (class.name.clone(), state(class, endpoint, known, earlier))
            })
            .collect();
        if policy.strategy != Strategy::LeastConnections {
            self.used = None;
        }
    }

    /// What a class knew before the operator started: the circuit of its probe query, and that the target was too far
    /// behind for it. What the class does not ask is not taken.
    pub fn recall(&mut self, class: &ClassName, breaker: Breaker, lagged: Option<Replay>) {
        let Some(state) = self.classes.get_mut(class) else {
            return;
        };
        if let Some((known, _)) = &mut state.breaker {
            *known = breaker;
        }
        if let (Some((replay, _)), Some(lagged)) = (&mut state.replay, lagged) {
            *replay = lagged;
        }
    }

    /// Another server, or one that is no standby now: nothing is known of its lag.
    pub fn forget_lag(&mut self) {
        self.behind = None;
        for (replay, _) in self.classes.values_mut().filter_map(|it| it.replay.as_mut()) {
            *replay = Replay::default();
        }
    }

    /// Takes in the newest sample of a standby; `known`: what the endpoint's own bounds make of it.
    pub fn replayed(
        &mut self,
        report: ReplayReport,
        known: &Replay,
        history: &WalHistory,
        heartbeat: Duration,
    ) {
        for (replay, settings) in self.classes.values_mut().filter_map(|it| it.replay.as_mut()) {
            replay.observe(report, history, settings, heartbeat);
        }
        self.note_lag(known);
    }

    /// The history moved on: what was not known may be known now. Whether something is.
    pub fn reconsider(&mut self, known: &Replay, history: &WalHistory, heartbeat: Duration) -> bool {
        let mut changed = false;
        for (replay, settings) in self.classes.values_mut().filter_map(|it| it.replay.as_mut()) {
            let before = replay.freshness;
            replay.reconsider(history, settings, heartbeat);
            changed |= replay.freshness != before;
        }
        self.note_lag(known);
        changed
    }

    fn note_lag(&mut self, known: &Replay) {
        self.behind = match known.lag {
            Some(Lag::Behind { time, .. } | Lag::AtLeast { time, .. }) => {
                Some(LagStep::of(time, self.behind))
            }
            Some(Lag::Unknown) => self.behind,
            None => None,
        };
    }

    /// Takes in the load of a sample.
    pub fn loaded(&mut self, load: Option<Load>, endpoint: &Endpoint, strategy: Strategy, now: Moment) {
        let Some(load) = load.filter(|_| strategy == Strategy::LeastConnections) else {
            return;
        };
        let before = self.used.map(|(used, _)| used);
        let used = UseStep::of(load.sessions, endpoint.max_connections, before);
        let soon = self.used.is_some_and(|(_, since)| now.since(since) < USE_APART);
        if before != Some(used) && !soon {
            self.used = Some((used, now));
        }
    }

    /// Takes in what a whole check says of the probe queries. A check that failed says nothing of them.
    pub fn probed(&mut self, observation: &Observation, policy: &Policy) {
        let Ok(sample) = &observation.result else { return };
        let now = observation.ended;
        for (breaker, query) in self.classes.values_mut().filter_map(|it| it.breaker.as_mut()) {
            let outcome = match sample.probes.get(query) {
                Some(true) => Outcome::Success,
                Some(false) => Outcome::Failure {
                    started: observation.started,
                },
                None => continue,
            };
            let window = policy.probing.failover_timeout;
            breaker.observe(outcome, now, &policy.breaker, window);
        }
    }

    /// How many failures of a probe query were counted whose circuit is not open yet: the fewest, at least 1.
    #[must_use]
    pub fn failures(&self) -> Option<u32> {
        let counted = |circuit| match circuit {
            Circuit::Closed { run } => run.map(|run| run.counted),
            _ => None,
        };
        self.circuits().filter_map(counted).min()
    }

    /// Whether the circuit of a probe query is open or half-open.
    #[must_use]
    pub fn is_returning(&self) -> bool {
        self.circuits()
            .any(|circuit| matches!(circuit, Circuit::HalfOpen { .. } | Circuit::Open { .. }))
    }

    fn circuits(&self) -> impl Iterator<Item = Circuit> {
        let breakers = self.classes.values().filter_map(|it| it.breaker.as_ref());
        breakers.map(|(breaker, _)| breaker.circuit)
    }

    #[must_use]
    pub fn used(&self) -> UseStep {
        self.used.map(|(used, _)| used).unwrap_or_default()
    }

    #[must_use]
    pub const fn behind(&self) -> Option<LagStep> {
        self.behind
    }

    /// What each class that asks something of its own knows.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<ClassName, ClassJudgement> {
        let judgement = |state: &ClassState| ClassJudgement {
            freshness: state
                .replay
                .as_ref()
                .map(|(replay, settings)| match settings.source {
                    LagSource::None => Freshness::Fresh,
                    _ => replay.freshness,
                }),
            circuit: state
                .breaker
                .as_ref()
                .map_or_else(Circuit::default, |(breaker, _)| breaker.circuit.shown()),
            trips: state.breaker.as_ref().map_or(0, |(breaker, _)| breaker.trips()),
        };
        let one = |(name, state): (&ClassName, &ClassState)| (name.clone(), judgement(state));
        self.classes.iter().map(one).collect()
    }
}

fn state(class: &Class, endpoint: &Endpoint, known: &Replay, earlier: Option<ClassState>) -> ClassState {
    let (replay, breaker) = earlier.map_or((None, None), |earlier| (earlier.replay, earlier.breaker));
    ClassState {
        replay: class.max_lag.map(|max| {
            let settings = bounds(endpoint, max);
            match replay {
                Some((replay, before)) if before == settings => (replay, settings),
                _ => (known.by(&settings), settings),
            }
        }),
        breaker: class.probe_query.as_ref().map(|query| match breaker {
            Some((breaker, before)) if before == *query => (breaker, before),
            _ => (Breaker::default(), Arc::clone(query)),
        }),
    }
}

/// The class's bound in place of the endpoint's.
fn bounds(endpoint: &Endpoint, max: Duration) -> LagSettings {
    LagSettings {
        max,
        max_bytes: None,
        recover: max / 2,
        ..endpoint.lag.clone()
    }
}

#[cfg(test)]
mod tests;
