//! All state, and [`World::advance`]: the one place where events become effects. The engine runs it on live events, the
//! tests on scripted ones.

mod candidacy;
mod contests;
mod deciding;
mod event;
mod following;
mod instances;
mod memory;
mod policy;
mod renames;
mod samples;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::cadence::HoldRule;
use super::ids::{PolicyKey, TargetId};
use super::jitter::{self, Jitter};
use super::moment::Moment;
use super::policy::Policy;
use super::resolved::Resolved;
use super::target::{CheckAnswer, NameAnswer, NextCheck, ProbeKey, SessionAnswer};
use deciding::Conclusion;
pub use event::{Announcement, Effects, Event, Figures, Instruction, Measurement};
pub use memory::{CircuitMemory, ClassMemory, EndpointMemory, Memory, TargetMemory};
use policy::{Incarnations, PolicyState};
use samples::SampleOutcome;

/// All policies and their targets.
#[derive(Debug)]
pub struct World {
    policies: BTreeMap<PolicyKey, PolicyState>,
    /// Policies to decide anew.
    marked: BTreeSet<PolicyKey>,
    /// When to look again at policies for which time alone changes something.
    wakes: BTreeMap<PolicyKey, Moment>,
    incarnations: Incarnations,
    jitter: Jitter,
    hold_rule: HoldRule,
}

/// Without jitter.
impl Default for World {
    fn default() -> Self {
        Self::new(jitter::none)
    }
}

impl World {
    /// A world without policies, whose checks are spread so.
    #[must_use]
    pub fn new(jitter: Jitter) -> Self {
        Self {
            policies: BTreeMap::new(),
            marked: BTreeSet::new(),
            wakes: BTreeMap::new(),
            incarnations: Incarnations::default(),
            jitter,
            hold_rule: HoldRule::default(),
        }
    }

    /// Takes in what happened by `until`, and decides: what was due earlier at its own moment, then whatever the events ask
    /// for. This is how the world is driven: by the engine, by `check`, in rehearsals and in simulations.
    pub fn advance(&mut self, until: Moment, events: impl IntoIterator<Item = Event>) -> Effects {
        let mut effects = Effects::default();
        while let Some(due) = self.deadline().filter(|due| *due < until) {
            effects.extend(self.decide(due));
        }
        for event in events {
            effects.extend(self.step(event, until));
        }
        effects.extend(self.decide(until));
        effects
    }

    /// Takes in one event. Decisions follow, once per batch of events.
    fn step(&mut self, event: Event, now: Moment) -> Effects {
        match event {
            Event::PolicyChanged {
                policy,
                resolved,
                memory,
            } => self.change((policy, resolved), memory, now),
            Event::PolicyGone { key } => self.forget(&key),
            Event::Recalled {
                key,
                uid,
                memory,
                number,
            } => self.recall(&key, &uid, (memory, number), now),
            Event::Found { key, uid, servers } => {
                self.find(key, &uid, servers);
                Effects::default()
            }
            Event::Observed(observed) => self.observe(&observed),
            Event::Heard(heard) => self.hear(&heard, now),
            Event::Named(named) => self.named(&named, now),
            Event::AddressesChanged => self.wake_all(now),
            Event::HoldBy(rule) => self.hold_by(rule),
        }
    }

    /// When [`World::advance`] must be called at the latest, events or not.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.wakes.values().min().copied()
    }

    /// Decides the marked policies, and those whose time has come. A decision that equals the last one is none.
    fn decide(&mut self, now: Moment) -> Effects {
        let due = self.wakes.iter().filter(|(_, at)| **at <= now);
        self.marked.extend(due.map(|(key, _)| key.clone()));
        let mut effects = Effects::default();
        for key in std::mem::take(&mut self.marked) {
            self.wakes.remove(&key);
            let Some(state) = self.policies.get_mut(&key) else {
                continue;
            };
            let settled = state.settle(now);
            if let Some(again) = settled.again() {
                self.wakes.insert(key.clone(), again);
            }
            if let Conclusion::Decided { decided, hurried, .. } = settled {
                effects
                    .prober
                    .extend(hurried.into_iter().map(|(target, check)| Instruction::Next {
                        key: ProbeKey {
                            policy: key.clone(),
                            target,
                        },
                        check,
                    }));
                effects
                    .writer
                    .extend(decided.map(|(decision, transitions)| Announcement::Decided {
                        key,
                        decision,
                        transitions,
                    }));
            }
        }
        effects
    }

    fn forget(&mut self, key: &PolicyKey) -> Effects {
        self.marked.remove(key);
        self.wakes.remove(key);
        if self.policies.remove(key).is_none() {
            return Effects::default();
        }
        Effects {
            prober: vec![Instruction::Want {
                policy: key.clone(),
                wanted: Vec::new(),
            }],
            writer: vec![Announcement::Gone { key: key.clone() }],
            figures: Vec::new(),
        }
    }

    fn recall(
        &mut self,
        key: &PolicyKey,
        uid: &str,
        (memory, number): (Memory, u64),
        now: Moment,
    ) -> Effects {
        let Some(state) = known(&mut self.policies, key, uid) else {
            return Effects::default();
        };
        if !state.is_of_another_database(&memory) {
            let asked = state.recall(&memory, now);
            state.recalled = number;
            self.marked.insert(key.clone());
            return Effects::for_prober(asked.map(|(target, check)| Instruction::Next {
                key: ProbeKey {
                    policy: key.clone(),
                    target,
                },
                check,
            }));
        }
        // What was seen says nothing of that database: the policy begins with the memory, as after a restart.
        let known = (Arc::clone(&state.policy), Arc::clone(&state.resolved));
        *state = PolicyState::new(known, memory, &mut self.incarnations, now);
        state.recalled = number;
        state.hold_by(self.hold_rule);
        self.marked.insert(key.clone());
        self.want(key)
    }

    fn find(&mut self, key: PolicyKey, uid: &str, servers: BTreeSet<SocketAddr>) {
        let state = known(&mut self.policies, &key, uid);
        if let Some(state) = state.filter(|state| state.found != servers) {
            state.find(servers);
            self.marked.insert(key);
        }
    }

    fn change(&mut self, known: (Arc<Policy>, Arc<Resolved>), memory: Memory, now: Moment) -> Effects {
        let (policy, resolved) = known;
        let key = policy.key.clone();
        if self
            .policies
            .get(&key)
            .is_some_and(|known| known.policy.uid != policy.uid)
        {
            self.policies.remove(&key);
        }
        match self.policies.get_mut(&key) {
            Some(known) if known.policy == policy && known.resolved == resolved => {
                return Effects::default();
            }
            Some(known) => known.edit((policy, resolved), &mut self.incarnations, now),
            None => {
                let mut state = PolicyState::new((policy, resolved), memory, &mut self.incarnations, now);
                state.hold_by(self.hold_rule);
                self.policies.insert(key.clone(), state);
            }
        }
        self.marked.insert(key.clone());
        self.want(&key)
    }

    /// The servers that a policy wants probed now.
    fn want(&self, key: &PolicyKey) -> Effects {
        let state = self.policies.get(key);
        let wanted = state.map(PolicyState::wanted).unwrap_or_default();
        let policy = key.clone();
        Effects::for_prober([Instruction::Want { policy, wanted }])
    }

    fn observe(&mut self, observed: &CheckAnswer) -> Effects {
        let state = self.policies.get_mut(&observed.key.policy);
        let taken = state.and_then(|state| state.observe(observed, self.jitter));
        self.take(&observed.key, taken)
    }

    fn hear(&mut self, heard: &SessionAnswer, now: Moment) -> Effects {
        let state = self.policies.get_mut(&heard.key.policy);
        let taken = state.and_then(|state| state.hear(heard, now));
        self.take(&heard.key, taken)
    }

    fn named(&mut self, named: &NameAnswer, now: Moment) -> Effects {
        let state = self.policies.get_mut(&named.key.policy);
        let taken = state.and_then(|state| state.named(named, now));
        self.take(&named.key, taken)
    }

    fn take(&mut self, key: &ProbeKey, taken: Option<SampleOutcome>) -> Effects {
        let Some(taken) = taken else {
            return Effects::default();
        };
        if taken.changed {
            self.marked.insert(key.policy.clone());
        }
        let key = || key.clone();
        let next = taken.check.map(|check| Instruction::Next { key: key(), check });
        let tells = taken.silent || taken.figures.is_some() || taken.failure.is_some();
        let measured = tells.then(|| Measurement {
            key: key(),
            figures: taken.figures,
            failure: taken.failure,
            silent: taken.silent,
        });
        Effects {
            prober: next.into_iter().collect(),
            writer: Vec::new(),
            figures: measured.into_iter().collect(),
        }
    }

    fn wake_all(&mut self, now: Moment) -> Effects {
        self.instruct_all(|state| state.wake_all(now))
    }

    fn hold_by(&mut self, rule: HoldRule) -> Effects {
        self.hold_rule = rule;
        self.instruct_all(|state| state.hold_by(rule))
    }

    /// Tells the prober what `instruct` says of the targets of every policy.
    fn instruct_all(
        &mut self,
        mut instruct: impl FnMut(&mut PolicyState) -> Vec<(TargetId, NextCheck)>,
    ) -> Effects {
        let told = |(key, state): (&PolicyKey, &mut PolicyState)| {
            let next = |(target, check)| Instruction::Next {
                key: ProbeKey {
                    policy: key.clone(),
                    target,
                },
                check,
            };
            instruct(state).into_iter().map(next).collect::<Vec<_>>()
        };
        Effects::for_prober(self.policies.iter_mut().flat_map(told))
    }
}

/// The policy of this name, where it is the one of this uid: its name may have been given to another one since.
fn known<'a>(
    policies: &'a mut BTreeMap<PolicyKey, PolicyState>,
    key: &PolicyKey,
    uid: &str,
) -> Option<&'a mut PolicyState> {
    policies.get_mut(key).filter(|state| state.policy.uid == uid)
}

#[cfg(test)]
mod tests;
