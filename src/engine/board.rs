//! What the engine knows newest, for those who show it.
//!
//! # Guarantees
//! - The engine alone writes to it, in the process. A reader holds up the engine for the copy of one policy at most.
//! - Whenever a decision is another one its policy is told of, after it is on the board.
//! - Nothing is kept of a policy, an endpoint or a pod that is gone, nor of what nobody checks.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::changes::{Changed, Changes};
use distributary_core::decision::{Decision, DecisionState, EndpointView};
use distributary_core::health::Reason;
use distributary_core::ids::{EndpointId, PolicyKey, TargetId};
use distributary_core::lag::Lag;
use distributary_core::moment::Moment;
use distributary_core::observation::{FailureClass, FailureKind, Load};
use distributary_core::statistics::{Statistics, Summary, replica_share};
use distributary_core::world::{Figures, Measurement};

/// What is known newest of every policy. Clones are of the same board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    policies: Arc<RwLock<BTreeMap<PolicyKey, BoardEntry>>>,
    changes: Changes,
}

/// What is known newest of one policy.
#[derive(Clone, Debug)]
pub struct BoardEntry {
    pub decision: Arc<Decision>,
    /// The newest decision that judged the endpoints: while a policy waits or is suspended, what was decided stands.
    pub judged: Option<Arc<Decision>>,
    /// Of the targets that told something, and still do.
    pub figures: BTreeMap<TargetId, TargetFigures>,
    /// Of the targets that were checked, whether they answer or not.
    pub statistics: BTreeMap<TargetId, Arc<Statistics>>,
    /// Of the endpoints that were checked, since they are declared.
    pub counts: BTreeMap<EndpointId, EndpointCounts>,
}

/// What was counted of an endpoint, all of its targets together. It never falls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EndpointCounts {
    /// Transactions that ended, without those of operators.
    pub transactions: u64,
    /// Failed checks, by [`FailureClass::number`].
    pub failures: [u64; FailureClass::WORDS.len()],
}

/// What a target told of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetFigures {
    /// `None`: of a primary, or where lag is not judged.
    pub lag: Option<Lag>,
    pub load: Option<Load>,
    /// How long the newest good check took; `None`: heartbeats alone told something.
    pub check: Option<Duration>,
    /// When the newest of this was told.
    pub at: Moment,
}

impl Board {
    /// What is known of a policy.
    #[must_use]
    pub fn get(&self, key: &PolicyKey) -> Option<BoardEntry> {
        self.policies.read().get(key).cloned()
    }

    /// All policies by namespace and name, each as it is when it is asked for.
    pub fn list(&self) -> impl Iterator<Item = (PolicyKey, BoardEntry)> + use<> {
        let (board, mut last) = (self.clone(), None::<PolicyKey>);
        std::iter::from_fn(move || {
            let policies = board.policies.read();
            let after = last.as_ref().map_or(Unbounded, Excluded);
            let (key, entry) = policies.range((after, Unbounded)).next()?;
            let next = (key.clone(), entry.clone());
            last = Some(next.0.clone());
            Some(next)
        })
    }

    /// Where it is told that a policy is decided otherwise.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// A policy was decided anew.
    pub fn decided(&self, key: &PolicyKey, decision: &Arc<Decision>) {
        if self.put(key, decision) {
            self.changes.tell(Changed::Policy(key.clone()));
        }
    }

    /// Whether it is another decision.
    fn put(&self, key: &PolicyKey, decision: &Arc<Decision>) -> bool {
        let mut policies = self.policies.write();
        if let Some(entry) = policies.get_mut(key) {
            let is_other = entry.decision != *decision;
            entry.decide(decision);
            return is_other;
        }
        let mut entry = BoardEntry {
            decision: Arc::clone(decision),
            judged: None,
            figures: BTreeMap::new(),
            statistics: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        entry.decide(decision);
        policies.insert(key.clone(), entry);
        true
    }

    /// A target told figures, or nothing any more, or a check of it failed. Of a policy that was not decided yet none are kept.
    pub fn measured(&self, measurement: Measurement, now: Moment) {
        if let Some(entry) = self.policies.write().get_mut(&measurement.key.policy) {
            entry.measure(measurement, now);
        }
    }

    /// A policy is gone.
    pub fn forget(&self, key: &PolicyKey) {
        self.policies.write().remove(key);
        self.changes.tell(Changed::Policy(key.clone()));
    }
}

impl BoardEntry {
    /// The newest view of every endpoint that is declared, where it was judged.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointView> {
        let judged = self.judged.as_ref().and_then(|judged| judged.state.endpoints());
        let declared = |view: &&EndpointView| self.decision.policy.endpoint(&view.id).is_some();
        judged.into_iter().flatten().filter(declared)
    }

    /// The figures of an endpoint: of several pods behind a Service the longest lag, the load of the one that is nearest to its limit
    /// of connections, and the newest check.
    #[must_use]
    pub fn figures_of(&self, id: &EndpointId) -> Option<TargetFigures> {
        let own = || {
            let all = self.figures.iter();
            all.filter(|(target, _)| target.endpoint == *id)
                .map(|(_, figures)| figures)
        };
        let time = |lag: &Lag| match lag {
            Lag::Unknown => None,
            Lag::Behind { time, .. } | Lag::AtLeast { time, .. } => Some(*time),
        };
        // Shares are compared without a division.
        let used = |one: &Load, other: &Load| u64::from(one.sessions) * u64::from(other.usable_connections());
        let checked = own().filter(|figures| figures.check.is_some());
        Some(TargetFigures {
            lag: own().filter_map(|figures| figures.lag).max_by_key(time),
            load: own()
                .filter_map(|figures| figures.load)
                .max_by(|one, other| used(one, other).cmp(&used(other, one))),
            check: checked
                .max_by_key(|figures| figures.at)
                .and_then(|figures| figures.check),
            at: own().map(|figures| figures.at).max()?,
        })
    }

    /// The statistics of a target at this moment; `None`: it was not checked.
    #[must_use]
    pub fn summary(&self, target: &TargetId, now: Moment) -> Option<Summary> {
        Some(self.statistics.get(target)?.summary(now))
    }

    /// The share of all transactions of the last minute that standbys did, from 0 to 1; see [`replica_share`]. A server that is
    /// known by two names counts once, and one that has not answered for longer than that has no part in it.
    #[must_use]
    pub fn replica_share(&self, now: Moment) -> Option<f64> {
        let counted = |endpoint: &EndpointId| {
            let view = self.endpoints().find(|view| view.id == *endpoint);
            view.is_none_or(|view| view.state.same_as.is_none())
        };
        let told = self
            .statistics
            .iter()
            .filter(|(target, _)| counted(&target.endpoint));
        replica_share(told.filter_map(|(target, statistics)| {
            let rate = statistics.rates(Statistics::MINUTE, now).transactions;
            let has_part = rate.is_some() || self.figures.contains_key(target);
            Some((statistics.role()?, rate)).filter(|_| has_part)
        }))
    }

    fn decide(&mut self, decision: &Arc<Decision>) {
        if self.decision.policy.uid != decision.policy.uid {
            self.judged = None;
            self.figures.clear();
            self.statistics.clear();
            self.counts.clear();
        }
        let policy = &decision.policy;
        self.counts.retain(|id, _| policy.endpoint(id).is_some());
        self.decision = Arc::clone(decision);
        if decision.state == DecisionState::Suspended {
            self.figures.clear();
        }
        if let Some(views) = decision.state.endpoints() {
            self.judged = Some(Arc::clone(decision));
            let view_of = |target: &TargetId| {
                let view = views.iter().find(|view| view.id == target.endpoint);
                view.filter(|view| has(view, target))
            };
            self.figures
                .retain(|target, _| view_of(target).is_some_and(|view| !is_asked_by_nobody(view)));
            self.statistics
                .retain(|target, _| view_of(target).is_some_and(|view| !is_asked_by_nobody(view)));
        } else {
            let is_declared = |target: &TargetId| policy.endpoint(&target.endpoint).is_some();
            self.figures.retain(|target, _| is_declared(target));
            self.statistics.retain(|target, _| is_declared(target));
        }
    }

    fn measure(&mut self, measurement: Measurement, now: Moment) {
        let Measurement {
            key,
            figures,
            failure,
            silent,
        } = measurement;
        let target = key.target;
        let measured = figures.filter(|figures| figures.measured.is_some());
        if measured.is_some() || failure.is_some() {
            let statistics = self.statistics.entry(target.clone()).or_default();
            // A reader that has it still keeps its own.
            let statistics = Arc::make_mut(statistics);
            let counts = self.counts.entry(target.endpoint.clone()).or_default();
            if let Some(Figures {
                lag,
                load,
                took,
                measured: Some(measured),
            }) = measured
            {
                counts.transactions += statistics.tell(&measured, load, lag, took);
            }
            if let Some(class) = failure {
                statistics.fail(class);
                counts.failures[class.number()] += 1;
            }
        }
        if silent {
            self.figures.remove(&target);
        }
        let Some(Figures { lag, load, took, .. }) = figures else {
            return;
        };
        let known = self.figures.get(&target);
        let told = TargetFigures {
            lag,
            load,
            check: took.or_else(|| known?.check),
            at: now,
        };
        self.figures.insert(target, told);
    }
}

/// Whether a target is still one of the endpoint's.
fn has(view: &EndpointView, target: &TargetId) -> bool {
    target
        .pod
        .is_none_or(|pod| view.targets.iter().any(|known| known.address == pod))
}

fn is_asked_by_nobody(view: &EndpointView) -> bool {
    let passed_over = view.state.reason == Reason::SameServer && view.state.role.is_none();
    passed_over
        || matches!(view.state.reason, Reason::Disabled | Reason::NoReadyPod)
        || view.state.failure == Some(FailureKind::SecretUnresolved)
}

#[cfg(test)]
mod tests;
