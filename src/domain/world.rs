//! All state, and [`World::step`]: the one place where events become effects. The engine runs it on live events, the
//! tests on scripted ones.

mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::decision::{Decision, DecisionState, Transition, explain, transitions};
use super::moment::Moment;
use super::observation::Role;
use super::plan::{Judgement, RoutingPlan, plan};
use super::policy::{Endpoint, EndpointId, Mode, Policy, PolicyKey};
use super::role;
use super::target::{Heard, NextCheck, Observed, ProbeKey, TargetId, Wanted};
use watched::Target;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A policy is new or changed, or a Secret that it names.
    PolicyChanged {
        policy: Arc<Policy>,
        remembered: Remembered,
    },
    PolicyGone {
        key: PolicyKey,
    },
    Observed(Observed),
    /// A held session told something, or is silent.
    Heard(Heard),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The whole set of servers that the policy wants probed.
    Want { policy: PolicyKey, wanted: Vec<Wanted> },
    /// The answer to one observation: when to check again.
    Next { key: ProbeKey, check: NextCheck },
    /// The newest decision of a policy, and what changed by it.
    Decided {
        key: PolicyKey,
        decision: Arc<Decision>,
        transitions: Vec<Transition>,
    },
    /// Nothing of the policy is to be kept.
    Forget { key: PolicyKey },
}

/// What the status of the policy says from before the operator started.
pub type Remembered = BTreeMap<EndpointId, RememberedEndpoint>;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RememberedEndpoint {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub address: Option<IpAddr>,
    pub role: Option<Role>,
    /// Whether it was in a route.
    pub eligible: bool,
    /// Why, in the words of the status.
    pub reason: String,
}

/// All policies and their targets.
#[derive(Debug, Default)]
pub struct World {
    policies: BTreeMap<PolicyKey, PolicyState>,
    /// Policies to decide anew.
    marked: BTreeSet<PolicyKey>,
}

#[derive(Debug)]
struct PolicyState {
    policy: Arc<Policy>,
    targets: BTreeMap<EndpointId, Target>,
    /// Whether every target was checked since probing began.
    warm: bool,
    decision: Option<Arc<Decision>>,
    /// The newest decision that decided something.
    decided: Option<Arc<Decision>>,
    /// The reasons of endpoints from before the operator started, for the first decision to be compared with.
    reasons: BTreeMap<EndpointId, String>,
}

impl World {
    /// Takes in one event. Decisions follow with [`World::decide`], once per batch of events.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        match event {
            Event::PolicyChanged { policy, remembered } => self.change(policy, &remembered, now),
            Event::PolicyGone { key } => self.forget(&key),
            Event::Observed(observed) => self.observe(&observed).into_iter().collect(),
            Event::Heard(_) => Vec::new(),
        }
    }

    /// Decides the marked policies. A decision that equals the last one is none.
    pub fn decide(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for key in std::mem::take(&mut self.marked) {
            let Some(state) = self.policies.get_mut(&key) else {
                continue;
            };
            let decision = Decision {
                policy: Arc::clone(&state.policy),
                state: state.decide(),
            };
            if state.decision.as_deref() == Some(&decision) {
                continue;
            }
            let transitions = state.transitions(&decision.state);
            let decision = Arc::new(decision);
            state.decision = Some(Arc::clone(&decision));
            if matches!(decision.state, DecisionState::Decided { .. }) {
                state.decided = Some(Arc::clone(&decision));
            }
            effects.push(Effect::Decided {
                key,
                decision,
                transitions,
            });
        }
        effects
    }

    fn forget(&mut self, key: &PolicyKey) -> Vec<Effect> {
        self.marked.remove(key);
        if self.policies.remove(key).is_none() {
            return Vec::new();
        }
        vec![
            Effect::Want {
                policy: key.clone(),
                wanted: Vec::new(),
            },
            Effect::Forget { key: key.clone() },
        ]
    }

    fn change(&mut self, policy: Arc<Policy>, remembered: &Remembered, now: Moment) -> Vec<Effect> {
        let key = policy.key.clone();
        if self
            .policies
            .get(&key)
            .is_some_and(|known| known.policy.uid != policy.uid)
        {
            self.policies.remove(&key);
        }
        match self.policies.get_mut(&key) {
            Some(known) if known.policy == policy => return Vec::new(),
            Some(known) => known.edit(policy, now),
            None => {
                let state = PolicyState::new(policy, remembered, now);
                self.policies.insert(key.clone(), state);
            }
        }
        self.marked.insert(key.clone());
        let wanted = self
            .policies
            .get(&key)
            .map(PolicyState::wanted)
            .unwrap_or_default();
        vec![Effect::Want { policy: key, wanted }]
    }

    fn observe(&mut self, observed: &Observed) -> Option<Effect> {
        let ProbeKey {
            policy: key,
            target,
        } = &observed.key;
        let state = self.policies.get_mut(key)?;
        let target = state.targets.get_mut(&target.endpoint)?;
        if target.incarnation != observed.incarnation {
            return None;
        }
        let before = target.health.clone();
        target.health.observe(
            &observed.observation,
            &state.policy.breaker,
            &state.policy.probing,
        );
        target.reschedule(&observed.key, &observed.observation, &state.policy);
        if target.health != before {
            self.marked.insert(key.clone());
        }
        (!target.asleep).then(|| Effect::Next {
            key: observed.key.clone(),
            check: target.check,
        })
    }
}

impl PolicyState {
    fn new(policy: Arc<Policy>, remembered: &Remembered, now: Moment) -> Self {
        let targets = watched(&policy)
            .map(|endpoint| {
                (
                    endpoint.id.clone(),
                    Target::restored(endpoint, remembered.get(&endpoint.id), &policy, now),
                )
            })
            .collect();
        let reasons = remembered
            .iter()
            .map(|(id, endpoint)| (id.clone(), endpoint.reason.clone()))
            .collect();
        Self {
            policy,
            targets,
            warm: false,
            decision: None,
            decided: None,
            reasons,
        }
    }

    /// A new host or port is another server, a new threshold or time keeps the state, other endpoints never notice.
    fn edit(&mut self, policy: Arc<Policy>, now: Moment) {
        let before = std::mem::replace(&mut self.policy, Arc::clone(&policy));
        let mut known = std::mem::take(&mut self.targets);
        let resumed = before.mode == Mode::Suspend && policy.mode != Mode::Suspend;
        for endpoint in watched(&policy) {
            let earlier = before
                .endpoint(&endpoint.id)
                .and_then(|earlier| known.remove(&endpoint.id).map(|target| (earlier, target)));
            let target = match earlier {
                Some((earlier, target))
                    if earlier.declared == endpoint.declared && same_server(earlier, endpoint) =>
                {
                    target.kept(endpoint, &before, &policy, now)
                }
                Some((_, target)) => Target::new(endpoint, target.incarnation.0 + 1, &policy, now),
                None => Target::new(endpoint, policy.generation.unsigned_abs() << 16, &policy, now),
            };
            self.targets.insert(endpoint.id.clone(), target);
        }
        if resumed {
            self.warm = false;
            for target in self.targets.values_mut() {
                target.resume(now);
            }
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        if self.policy.mode == Mode::Suspend {
            return Vec::new();
        }
        let wanted = |(id, target): (&EndpointId, &Target)| {
            let location = self.policy.endpoint(id)?.location.clone()?;
            let (incarnation, check) = (target.incarnation, target.check);
            Some(Wanted {
                target: TargetId::host(id.clone()),
                incarnation,
                location,
                login: target.login.clone()?,
                lag_query: None,
                check,
            })
        };
        self.targets.iter().filter_map(wanted).collect()
    }

    fn decide(&mut self) -> DecisionState {
        if self.policy.mode == Mode::Suspend {
            return DecisionState::Suspended;
        }
        let unchecked = self
            .targets
            .values()
            .filter(|target| !target.health.checked)
            .count();
        self.warm |= unchecked == 0;
        let judgements = self.judge();
        if !self.warm && !self.a_served_one_is_wrong(&judgements) {
            return DecisionState::Waiting { unchecked };
        }
        let plan = plan(&self.policy, &judgements);
        let endpoints = explain(&self.policy, &judgements, &plan);
        if self.warm {
            self.remember(&plan);
        }
        DecisionState::Decided { plan, endpoints }
    }

    /// What a person may want to know; what the status said before the operator started is nothing new.
    fn transitions(&self, after: &DecisionState) -> Vec<Transition> {
        let Some(before) = &self.decided else {
            let mut first = transitions(&DecisionState::Suspended, after);
            first.retain(|change| match change {
                Transition::Endpoint { id, to, .. } => self.reasons.get(id) != Some(&format!("{to:?}")),
                _ => true,
            });
            return first;
        };
        transitions(&before.state, after)
    }

    fn judge(&self) -> Vec<Judgement> {
        let health = |endpoint: &Endpoint| self.targets.get(&endpoint.id).map(|target| &target.health);
        let identity = self
            .policy
            .endpoints
            .iter()
            .find_map(|endpoint| role::identity(endpoint, health(endpoint)?));
        let judge = |endpoint: &Endpoint| {
            let mut judgement = role::judge(endpoint, health(endpoint), identity, &self.policy.breaker);
            let served = self.targets.get(&endpoint.id).is_some_and(|target| target.served);
            if !self.warm && served {
                judgement.standing = judgement.standing.held();
            }
            judgement
        };
        self.policy.endpoints.iter().map(judge).collect()
    }

    fn a_served_one_is_wrong(&self, judgements: &[Judgement]) -> bool {
        judgements.iter().any(|judgement| {
            let target = self.targets.get(&judgement.endpoint);
            target.is_some_and(|target| {
                target.served && target.health.checked && judgement.proven_wrong(&self.policy)
            })
        })
    }

    fn remember(&mut self, plan: &RoutingPlan) {
        for (id, target) in &mut self.targets {
            let (reads, writes) = plan.membership(id);
            target.served = reads.is_some() || writes.is_some();
        }
    }
}

fn watched(policy: &Policy) -> impl Iterator<Item = &Endpoint> {
    policy.endpoints.iter().filter(|endpoint| endpoint.is_watched())
}

/// A URL that cannot be read for the moment does not make another server.
fn same_server(before: &Endpoint, after: &Endpoint) -> bool {
    before.is_watched()
        && (after.location.is_none() || before.location.is_none() || before.location == after.location)
}

#[cfg(test)]
mod tests;
