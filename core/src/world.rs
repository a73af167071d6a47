//! All state, and [`World::step`]: the one place where events become effects. The engine runs it on live events, the
//! tests on scripted ones.

mod deciding;
mod event;
mod policy;
mod remembered;
mod samples;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ids::PolicyKey;
use super::jitter::Jitter;
use super::moment::Moment;
use super::policy::Policy;
use super::target::{Heard, Observed, ProbeKey};
use deciding::Settled;
pub use event::{Effect, Event, Figures};
use policy::PolicyState;
pub use remembered::{Remembered, RememberedCircuit, RememberedClass, RememberedEndpoint, RememberedTarget};
use samples::Taken;

/// All policies and their targets.
#[derive(Debug, Default)]
pub struct World {
    policies: BTreeMap<PolicyKey, PolicyState>,
    /// Policies to decide anew.
    marked: BTreeSet<PolicyKey>,
    /// When to look again at policies for which time alone changes something.
    wakes: BTreeMap<PolicyKey, Moment>,
    jitter: Jitter,
}

impl World {
    /// A world without policies, whose checks are spread so.
    #[must_use]
    pub fn new(jitter: Jitter) -> Self {
        Self {
            jitter,
            ..Self::default()
        }
    }

    /// Takes in one event. Decisions follow with [`World::decide`], once per batch of events.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        match event {
            Event::PolicyChanged { policy, remembered } => self.change(policy, remembered, now),
            Event::PolicyGone { key } => self.forget(&key),
            Event::Observed(observed) => self.observe(&observed),
            Event::Heard(heard) => self.hear(&heard, now),
            Event::AddressesChanged => self.wake_all(now),
        }
    }

    /// When [`World::decide`] must be called at the latest, events or not.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.wakes.values().min().copied()
    }

    /// Decides the marked policies, and those whose time has come. A decision that equals the last one is none.
    pub fn decide(&mut self, now: Moment) -> Vec<Effect> {
        let due = self.wakes.iter().filter(|(_, at)| **at <= now);
        self.marked.extend(due.map(|(key, _)| key.clone()));
        let mut effects = Vec::new();
        for key in std::mem::take(&mut self.marked) {
            self.wakes.remove(&key);
            let Some(state) = self.policies.get_mut(&key) else {
                continue;
            };
            let settled = state.settle(now);
            if let Some(again) = settled.again() {
                self.wakes.insert(key.clone(), again);
            }
            if let Settled::Decided { decided, hurried, .. } = settled {
                effects.extend(hurried.into_iter().map(|(target, check)| Effect::Next {
                    key: ProbeKey {
                        policy: key.clone(),
                        target,
                    },
                    check,
                }));
                effects.extend(decided.map(|(decision, transitions)| Effect::Decided {
                    key,
                    decision,
                    transitions,
                }));
            }
        }
        effects
    }

    fn forget(&mut self, key: &PolicyKey) -> Vec<Effect> {
        self.marked.remove(key);
        self.wakes.remove(key);
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

    fn change(&mut self, policy: Arc<Policy>, remembered: Remembered, now: Moment) -> Vec<Effect> {
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

    fn observe(&mut self, observed: &Observed) -> Vec<Effect> {
        let state = self.policies.get_mut(&observed.key.policy);
        let taken = state.and_then(|state| state.observe(observed, self.jitter));
        self.take(&observed.key, taken)
    }

    fn hear(&mut self, heard: &Heard, now: Moment) -> Vec<Effect> {
        let state = self.policies.get_mut(&heard.key.policy);
        let taken = state.and_then(|state| state.hear(heard, now));
        self.take(&heard.key, taken)
    }

    fn take(&mut self, key: &ProbeKey, taken: Option<Taken>) -> Vec<Effect> {
        let Some(taken) = taken else { return Vec::new() };
        if taken.changed {
            self.marked.insert(key.policy.clone());
        }
        let key = || key.clone();
        let next = taken.check.map(|check| Effect::Next { key: key(), check });
        let measured = (taken.silent || taken.figures.is_some()).then(|| Effect::Measured {
            key: key(),
            figures: taken.figures,
        });
        next.into_iter().chain(measured).collect()
    }

    fn wake_all(&mut self, now: Moment) -> Vec<Effect> {
        let woken = |(key, state): (&PolicyKey, &mut PolicyState)| {
            let next = |(target, check)| Effect::Next {
                key: ProbeKey {
                    policy: key.clone(),
                    target,
                },
                check,
            };
            state.wake_all(now).into_iter().map(next).collect::<Vec<_>>()
        };
        self.policies.iter_mut().flat_map(woken).collect()
    }
}

#[cfg(test)]
mod tests;
