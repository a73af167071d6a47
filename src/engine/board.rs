//! What the engine knows newest, for those who show it.
//!
//! # Guarantees
//! - The engine alone writes to it, in the process. A reader holds up the engine for the copy of one policy at most.
//! - Nothing is kept of a policy, an endpoint or a pod that is gone, nor of what nobody checks.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use distributary_core::decision::{Decision, DecisionState, EndpointView};
use distributary_core::health::Reason;
use distributary_core::ids::{PolicyKey, TargetId};
use distributary_core::lag::Lag;
use distributary_core::moment::Moment;
use distributary_core::observation::{FailureKind, Load};
use distributary_core::world::{Figures, Measurement};

/// What is known newest of every policy. Clones are of the same board.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<RwLock<BTreeMap<PolicyKey, BoardEntry>>>);

/// What is known newest of one policy.
#[derive(Clone, Debug)]
pub struct BoardEntry {
    pub decision: Arc<Decision>,
    /// The newest decision that judged the endpoints: while a policy waits or is suspended, what was decided stands.
    pub judged: Option<Arc<Decision>>,
    /// Of the targets that told something, and still do.
    pub figures: BTreeMap<TargetId, TargetFigures>,
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
        self.0.read().get(key).cloned()
    }

    /// All policies by namespace and name, each as it is when it is asked for.
    pub fn list(&self) -> impl Iterator<Item = (PolicyKey, BoardEntry)> + use<> {
        let (board, mut last) = (self.clone(), None::<PolicyKey>);
        std::iter::from_fn(move || {
            let policies = board.0.read();
            let after = last.as_ref().map_or(Unbounded, Excluded);
            let (key, entry) = policies.range((after, Unbounded)).next()?;
            let next = (key.clone(), entry.clone());
            last = Some(next.0.clone());
            Some(next)
        })
    }

    /// A policy was decided anew.
    pub fn decided(&self, key: &PolicyKey, decision: &Arc<Decision>) {
        let mut policies = self.0.write();
        if let Some(entry) = policies.get_mut(key) {
            entry.decide(decision);
            return;
        }
        let mut entry = BoardEntry {
            decision: Arc::clone(decision),
            judged: None,
            figures: BTreeMap::new(),
        };
        entry.decide(decision);
        policies.insert(key.clone(), entry);
    }

    /// A target told figures, or nothing any more. Of a policy that was not decided yet none are kept.
    pub fn measured(&self, measurement: Measurement, now: Moment) {
        let Measurement { key, figures } = measurement;
        if let Some(entry) = self.0.write().get_mut(&key.policy) {
            entry.measure(key.target, figures, now);
        }
    }

    /// A policy is gone.
    pub fn forget(&self, key: &PolicyKey) {
        self.0.write().remove(key);
    }
}

impl BoardEntry {
    /// The newest view of every endpoint that is declared, where it was judged.
    pub fn endpoints(&self) -> impl Iterator<Item = &EndpointView> {
        let judged = self.judged.as_ref().and_then(|judged| judged.state.endpoints());
        let declared = |view: &&EndpointView| self.decision.policy.endpoint(&view.id).is_some();
        judged.into_iter().flatten().filter(declared)
    }

    fn decide(&mut self, decision: &Arc<Decision>) {
        if self.decision.policy.uid != decision.policy.uid {
            self.judged = None;
            self.figures.clear();
        }
        self.decision = Arc::clone(decision);
        if decision.state == DecisionState::Suspended {
            self.figures.clear();
        }
        if let Some(views) = decision.state.endpoints() {
            self.judged = Some(Arc::clone(decision));
            self.figures.retain(|target, _| {
                let view = views.iter().find(|view| view.id == target.endpoint);
                view.is_some_and(|view| has(view, target) && !is_asked_by_nobody(view))
            });
        } else {
            let policy = &decision.policy;
            self.figures
                .retain(|target, _| policy.endpoint(&target.endpoint).is_some());
        }
    }

    fn measure(&mut self, target: TargetId, figures: Option<Figures>, now: Moment) {
        let Some(Figures { lag, load, took }) = figures else {
            self.figures.remove(&target);
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
