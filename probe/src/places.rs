//! How much is done at once, and for whom: whoever waits for servers that do not answer leaves room for everybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use distributary_core::ids::PolicyKey;
use tokio::sync::oneshot;

/// How many checks, and openings of held sessions, may be under way at once.
///
/// A namespace takes a place while it has fewer than are free, and a policy while it has fewer than its namespace could still
/// take. So one namespace has at most half of all places, two that always want more have a third each, and who has none finds one
/// though the servers of others do not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// For all policies of a [`Registry`](crate::Registry) together; 0 is taken for 1.
    pub all: usize,
    /// For one policy at most; 0 is taken for 1.
    pub policy: usize,
}

impl Default for Limits {
    /// 256 for all policies, 16 for one.
    fn default() -> Self {
        Self { all: 256, policy: 16 }
    }
}

/// Places, and those who wait for one. Clones are the same.
#[derive(Clone)]
pub struct Places(Arc<Mutex<State>>);

/// A place that is taken, until it is dropped.
pub struct Place {
    places: Places,
    policy: PolicyKey,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.state().release(&self.policy);
    }
}

/// A place that is asked for, until it is given or nobody waits any more.
struct Asked {
    places: Places,
    turn: Turn,
    policies: Vec<PolicyKey>,
    given: oneshot::Receiver<PolicyKey>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.leave(self.turn, &self.policies);
        // It may have been given in between.
        if let Ok(policy) = self.given.try_recv() {
            state.release(&policy);
        }
    }
}

impl Places {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(State::new(limits))))
    }

    /// A place of one of these policies, whichever may have one first; `None` where there is no policy.
    pub async fn take(&self, policies: Vec<PolicyKey>) -> Option<Place> {
        let place = |policy| Place {
            places: self.clone(),
            policy,
        };
        let mut asked = {
            let mut state = self.state();
            if policies.is_empty() {
                return None;
            }
            if let Some(policy) = state.take(&policies) {
                return Some(place(policy));
            }
            let (turn, given) = state.wait(&policies);
            Asked {
                places: self.clone(),
                turn,
                policies,
                given,
            }
        };
        (&mut asked.given).await.ok().map(place)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The order in which they came.
type Turn = u64;

struct State {
    limits: Limits,
    free: usize,
    /// Those that have a place or wait for one.
    namespaces: BTreeMap<String, Namespace>,
    waiting: BTreeMap<Turn, Waiting>,
    turns: Turn,
}

#[derive(Default)]
struct Namespace {
    taken: usize,
    policies: BTreeMap<String, Policy>,
}

#[derive(Default)]
struct Policy {
    taken: usize,
    waiting: BTreeSet<Turn>,
}

struct Waiting {
    policies: Vec<PolicyKey>,
    give: oneshot::Sender<PolicyKey>,
}

impl State {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            free: limits.all.max(1),
            namespaces: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turns: 0,
        }
    }

    /// Whether a policy that has so many places, in a namespace that has so many, may have one more.
    fn may(&self, of_namespace: usize, of_policy: usize) -> bool {
        let left = self.free.saturating_sub(of_namespace);
        match of_policy {
            0 => left > 0,
            // It leaves one to a policy that has none.
            taken => taken < self.limits.policy && taken + 1 < left,
        }
    }

    fn take(&mut self, policies: &[PolicyKey]) -> Option<PolicyKey> {
        let may = |key: &&PolicyKey| {
            let namespace = self.namespaces.get(&key.namespace);
            let policy = namespace.and_then(|namespace| namespace.policies.get(&key.name));
            self.may(
                namespace.map_or(0, |namespace| namespace.taken),
                policy.map_or(0, |policy| policy.taken),
            )
        };
        let key = policies.iter().find(may)?.clone();
        self.count(&key);
        Some(key)
    }

    fn count(&mut self, key: &PolicyKey) {
        self.free -= 1;
        let namespace = self.namespaces.entry(key.namespace.clone()).or_default();
        namespace.taken += 1;
        namespace.policies.entry(key.name.clone()).or_default().taken += 1;
    }

    fn uncount(&mut self, key: &PolicyKey) {
        self.free += 1;
        self.change(key, |namespace, policy| {
            *namespace -= 1;
            policy.taken -= 1;
        });
    }

    fn wait(&mut self, policies: &[PolicyKey]) -> (Turn, oneshot::Receiver<PolicyKey>) {
        let (give, given) = oneshot::channel();
        self.turns += 1;
        for key in policies {
            let namespace = self.namespaces.entry(key.namespace.clone()).or_default();
            let policy = namespace.policies.entry(key.name.clone()).or_default();
            policy.waiting.insert(self.turns);
        }
        let policies = policies.to_vec();
        self.waiting.insert(self.turns, Waiting { policies, give });
        (self.turns, given)
    }

    fn leave(&mut self, turn: Turn, policies: &[PolicyKey]) {
        self.waiting.remove(&turn);
        for key in policies {
            self.change(key, |_, policy| {
                policy.waiting.remove(&turn);
            });
        }
    }

    /// Gives a place back, and to those who may have one then.
    fn release(&mut self, key: &PolicyKey) {
        self.uncount(key);
        while let Some((turn, key)) = self.next() {
            let Some(waiting) = self.waiting.remove(&turn) else {
                return;
            };
            self.count(&key);
            self.leave(turn, &waiting.policies);
            if let Err(key) = waiting.give.send(key) {
                self.uncount(&key);
            }
        }
    }

    /// Who is served next: of the namespace that has the fewest places, of its policy that has the fewest, who came first.
    fn next(&self) -> Option<(Turn, PolicyKey)> {
        let mut next: Option<((usize, usize, Turn), &String, &String)> = None;
        for (namespace, Namespace { taken, policies }) in &self.namespaces {
            for (name, policy) in policies {
                let Some(&turn) = policy.waiting.first() else {
                    continue;
                };
                let place = (*taken, policy.taken, turn);
                if self.may(*taken, policy.taken) && next.is_none_or(|(least, ..)| place < least) {
                    next = Some((place, namespace, name));
                }
            }
        }
        next.map(|((.., turn), namespace, name)| (turn, PolicyKey::new(namespace, name)))
    }

    /// Changes what is known of a policy, which is forgotten once nothing is.
    fn change(&mut self, key: &PolicyKey, change: impl FnOnce(&mut usize, &mut Policy)) {
        let Some(namespace) = self.namespaces.get_mut(&key.namespace) else {
            return;
        };
        if let Some(policy) = namespace.policies.get_mut(&key.name) {
            change(&mut namespace.taken, policy);
            if policy.taken == 0 && policy.waiting.is_empty() {
                namespace.policies.remove(&key.name);
            }
        }
        if namespace.policies.is_empty() {
            self.namespaces.remove(&key.namespace);
        }
    }
}

#[cfg(test)]
mod tests;
