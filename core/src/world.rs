//! All state, and [`World::step`]: the one place where events become effects. The engine runs it on live events, the
//! tests on scripted ones.

mod deciding;
mod event;
mod memory;
mod policy;
mod samples;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ids::PolicyKey;
use super::jitter::Jitter;
use super::moment::Moment;
use super::policy::Policy;
use super::resolved::Resolved;
use super::target::{CheckAnswer, ProbeKey, SessionAnswer};
use deciding::Conclusion;
pub use event::{Effects, Event, Figures, Instruction, Measurement, Report};
pub use memory::{EndpointMemory, Memory, TargetMemory};
use policy::{Incarnations, PolicyState};
use samples::SampleOutcome;

/// All policies and their targets.
#[derive(Debug, Default)]
pub struct World {
    policies: BTreeMap<PolicyKey, PolicyState>,
    /// Policies to decide anew.
    marked: BTreeSet<PolicyKey>,
    /// When to look again at policies for which time alone changes something.
    wakes: BTreeMap<PolicyKey, Moment>,
    incarnations: Incarnations,
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

    /// Takes in one event. Decisions follow with [`World::decide`], once per batch of events.
    pub fn step(&mut self, event: Event, now: Moment) -> Effects {
        match event {
            Event::PolicyChanged {
                policy,
                resolved,
                memory,
            } => self.change((policy, resolved), memory, now),
            Event::PolicyGone { key } => self.forget(&key),
            Event::Recalled { key, memory } => self.recall(&key, &memory),
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
    pub fn decide(&mut self, now: Moment) -> Effects {
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
                    .extend(decided.map(|(decision, transitions)| Report::Decided {
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
            writer: vec![Report::Gone { key: key.clone() }],
            figures: Vec::new(),
        }
    }

    fn recall(&mut self, key: &PolicyKey, memory: &Memory) -> Effects {
        if self
            .policies
            .get_mut(key)
            .is_some_and(|state| state.recall(memory))
        {
            self.marked.insert(key.clone());
        }
        Effects::default()
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
                let state = PolicyState::new((policy, resolved), memory, &mut self.incarnations, now);
                self.policies.insert(key.clone(), state);
            }
        }
        self.marked.insert(key.clone());
        let wanted = self
            .policies
            .get(&key)
            .map(PolicyState::wanted)
            .unwrap_or_default();
        Effects::for_prober([Instruction::Want { policy: key, wanted }])
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

    fn take(&mut self, key: &ProbeKey, taken: Option<SampleOutcome>) -> Effects {
        let Some(taken) = taken else {
            return Effects::default();
        };
        if taken.changed {
            self.marked.insert(key.policy.clone());
        }
        let key = || key.clone();
        let next = taken.check.map(|check| Instruction::Next { key: key(), check });
        let measured = (taken.silent || taken.figures.is_some()).then(|| Measurement {
            key: key(),
            figures: taken.figures,
        });
        Effects {
            prober: next.into_iter().collect(),
            writer: Vec::new(),
            figures: measured.into_iter().collect(),
        }
    }

    fn wake_all(&mut self, now: Moment) -> Effects {
        let woken = |(key, state): (&PolicyKey, &mut PolicyState)| {
            let next = |(target, check)| Instruction::Next {
                key: ProbeKey {
                    policy: key.clone(),
                    target,
                },
                check,
            };
            state.wake_all(now).into_iter().map(next).collect::<Vec<_>>()
        };
        Effects::for_prober(self.policies.iter_mut().flat_map(woken))
    }
}

#[cfg(test)]
mod tests;
