//! How much is done at once, and for whom: whoever waits for servers that do not answer leaves room for everybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use distributary_core::Moment;
use distributary_core::ids::PolicyKey;
use tokio::sync::oneshot;

use super::clock::Clock;

/// How many places there are, and for one policy at most; 0 is taken for 1.
///
/// A namespace takes a place while it has fewer than are free, and a policy while it has fewer than its namespace could still
/// take. So one namespace has at most half of all places, and two that always want more have a third each. Those who wait are served
/// by how long they used places of late: who waits for servers that do not answer goes after all whose servers do.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    pub all: usize,
    pub policy: usize,
}

/// Places, and those who wait for one. Clones are the same.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
}

/// A place that is taken, until it is dropped.
pub struct Place {
    places: Places,
    policy: PolicyKey,
    taken: Moment,
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.places.0.clock.now();
        self.places.state().release(&self.policy, self.taken, now);
    }
}

/// A place that is asked for, until it is given or nobody waits any more.
pub struct Asked {
    places: Places,
    turn: Turn,
    policies: Vec<PolicyKey>,
    given: oneshot::Receiver<Given>,
}

/// For whom, and since when.
type Given = (PolicyKey, Moment);

impl Asked {
    /// Whoever of these asks as well, in the same turn.
    pub fn also(&mut self, policies: impl IntoIterator<Item = PolicyKey>) {
        let more: Vec<_> = policies
            .into_iter()
            .filter(|policy| !self.policies.contains(policy))
            .collect();
        if !more.is_empty() {
            let now = self.places.0.clock.now();
            self.places.state().also(self.turn, &more, now);
            self.policies.extend(more);
        }
    }

    /// The place, once one of them may have it; `None` where nobody asked.
    pub async fn given(&mut self) -> Option<Place> {
        let (policy, taken) = (&mut self.given).await.ok()?;
        Some(Place {
            places: self.places.clone(),
            policy,
            taken,
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let now = self.places.0.clock.now();
        let mut state = self.places.state();
        state.leave(self.turn, &self.policies);
        // It may have been given in between.
        if let Ok((policy, taken)) = self.given.try_recv() {
            state.release(&policy, taken, now);
        }
    }
}

impl Places {
    #[must_use]
    pub fn new(shares: Shares, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            clock,
            state: Mutex::new(State::new(shares)),
        }))
    }

    /// Asks for a place of one of these policies, whichever may have one first.
    pub fn ask(&self, policies: Vec<PolicyKey>) -> Asked {
        let now = self.0.clock.now();
        let (turn, given) = self.state().ask(&policies, now);
        Asked {
            places: self.clone(),
            turn,
            policies,
            given,
        }
    }

    /// A place of one of these policies, whichever may have one first; `None` where there is no policy.
    pub async fn take(&self, policies: Vec<PolicyKey>) -> Option<Place> {
        self.ask(policies).given().await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The order in which they came.
type Turn = u64;

/// Policies that are remembered before those are forgotten that used no place for a while.
const FEW: usize = 64;

/// Half of the time for which places were used is forgotten after this time, in seconds.
const HALF: f64 = 10.0;

/// What is used less, in seconds, is not remembered.
const NOTHING: f64 = 0.001;

struct State {
    shares: Shares,
    free: usize,
    namespaces: BTreeMap<String, Namespace>,
    waiting: BTreeMap<Turn, Waiting>,
    turns: Turn,
    /// How many policies there may be before some are forgotten.
    room: usize,
}

#[derive(Default)]
struct Namespace {
    usage: Usage,
    policies: BTreeMap<String, Policy>,
}

#[derive(Default)]
struct Policy {
    usage: Usage,
    waiting: BTreeSet<Turn>,
}

struct Waiting {
    policies: Vec<PolicyKey>,
    give: oneshot::Sender<Given>,
}

/// Places that are taken, and the time for which places were.
#[derive(Clone, Copy, Default)]
struct Usage {
    taken: usize,
    /// The sum of when each of them was taken, in seconds.
    since: f64,
    /// Of places that were given back, in seconds as of `at`.
    used: f64,
    at: Moment,
}

fn seconds(moment: Moment) -> f64 {
    moment.since_start().as_secs_f64()
}

impl Usage {
    fn take(&mut self, now: Moment) {
        self.taken += 1;
        self.since += seconds(now);
    }

    fn release(&mut self, taken: Moment, now: Moment) {
        self.used = self.used(now) + seconds(now) - seconds(taken);
        self.at = now;
        self.taken -= 1;
        self.since = if self.taken == 0 {
            0.0
        } else {
            self.since - seconds(taken)
        };
    }

    fn used(&self, now: Moment) -> f64 {
        self.used * (-now.since(self.at).as_secs_f64() / HALF).exp2()
    }

    /// For how long, of late, and now.
    #[expect(clippy::cast_precision_loss, reason = "there are few places")]
    fn busy(&self, now: Moment) -> f64 {
        self.used(now) + self.taken as f64 * seconds(now) - self.since
    }

    fn is_nothing(&self, now: Moment) -> bool {
        self.taken == 0 && self.used(now) < NOTHING
    }
}

/// Who is served first: of the namespace, and then of its policy, that used places the least, or has the fewest; then who came first.
type Rank = (f64, f64, usize, usize, Turn);

fn before(one: &Rank, other: &Rank) -> bool {
    let times = one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1));
    let rest = (one.2, one.3, one.4).cmp(&(other.2, other.3, other.4));
    times.then(rest).is_lt()
}

impl State {
    fn new(shares: Shares) -> Self {
        Self {
            shares,
            free: shares.all.max(1),
            namespaces: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turns: 0,
            room: FEW,
        }
    }

    /// Whether a policy that has so many places, in a namespace that has so many, may have one more.
    fn may(&self, of_namespace: usize, of_policy: usize) -> bool {
        let left = self.free.saturating_sub(of_namespace);
        match of_policy {
            0 => left > 0,
            // It leaves one to a policy that has none.
            taken => taken < self.shares.policy && taken + 1 < left,
        }
    }

    /// A place is asked for, and given at once where one of them may have it.
    fn ask(&mut self, policies: &[PolicyKey], now: Moment) -> (Turn, oneshot::Receiver<Given>) {
        let (give, given) = oneshot::channel();
        self.turns += 1;
        let turn = self.turns;
        // Where nobody asks, nobody is answered.
        if !policies.is_empty() {
            let none = Vec::new();
            self.waiting.insert(turn, Waiting { policies: none, give });
            self.also(turn, policies, now);
        }
        (turn, given)
    }

    /// These ask as well, unless the place was given.
    fn also(&mut self, turn: Turn, policies: &[PolicyKey], now: Moment) {
        if !self.waiting.contains_key(&turn) {
            return;
        }
        let may = |key: &&PolicyKey| {
            let namespace = self.namespaces.get(&key.namespace);
            let policy = namespace.and_then(|namespace| namespace.policies.get(&key.name));
            self.may(
                namespace.map_or(0, |namespace| namespace.usage.taken),
                policy.map_or(0, |policy| policy.usage.taken),
            )
        };
        if let Some(key) = policies.iter().find(may).cloned() {
            self.give(turn, key, now);
            return;
        }
        for key in policies {
            self.policy(key, now).1.waiting.insert(turn);
        }
        if let Some(waiting) = self.waiting.get_mut(&turn) {
            waiting.policies.extend_from_slice(policies);
        }
    }

    fn give(&mut self, turn: Turn, key: PolicyKey, now: Moment) {
        let Some(waiting) = self.waiting.remove(&turn) else {
            return;
        };
        self.leave(turn, &waiting.policies);
        self.free -= 1;
        let (namespace, policy) = self.policy(&key, now);
        namespace.take(now);
        policy.usage.take(now);
        if let Err((key, taken)) = waiting.give.send((key, now)) {
            self.give_back(&key, taken, now);
        }
    }

    fn leave(&mut self, turn: Turn, policies: &[PolicyKey]) {
        self.waiting.remove(&turn);
        for key in policies {
            self.change(key, |_, policy| {
                policy.waiting.remove(&turn);
            });
        }
    }

    fn give_back(&mut self, key: &PolicyKey, taken: Moment, now: Moment) {
        self.free += 1;
        self.change(key, |namespace, policy| {
            namespace.release(taken, now);
            policy.usage.release(taken, now);
        });
    }

    /// Gives a place back, and to those who may have one then.
    fn release(&mut self, key: &PolicyKey, taken: Moment, now: Moment) {
        self.give_back(key, taken, now);
        while !self.waiting.is_empty()
            && let Some((turn, key)) = self.next(now)
        {
            self.give(turn, key, now);
        }
    }

    fn next(&self, now: Moment) -> Option<(Turn, PolicyKey)> {
        let mut next: Option<(Rank, &String, &String)> = None;
        for (namespace, Namespace { usage, policies }) in &self.namespaces {
            let (taken, busy) = (usage.taken, usage.busy(now));
            for (name, Policy { usage, waiting }) in policies {
                let Some(&turn) = waiting.first() else {
                    continue;
                };
                let rank = (busy, usage.busy(now), taken, usage.taken, turn);
                if self.may(taken, usage.taken) && next.is_none_or(|(least, ..)| before(&rank, &least)) {
                    next = Some((rank, namespace, name));
                }
            }
        }
        next.map(|((.., turn), namespace, name)| (turn, PolicyKey::new(namespace, name)))
    }

    /// What is known of a policy and of its namespace. Where it is a new one, those are forgotten now and then of which nothing is.
    fn policy(&mut self, key: &PolicyKey, now: Moment) -> (&mut Usage, &mut Policy) {
        let namespace = self.namespaces.get(&key.namespace);
        let is_new = namespace.is_none_or(|namespace| !namespace.policies.contains_key(&key.name));
        if is_new && self.known() >= self.room {
            for namespace in self.namespaces.values_mut() {
                namespace
                    .policies
                    .retain(|_, policy| !(policy.waiting.is_empty() && policy.usage.is_nothing(now)));
            }
            self.namespaces
                .retain(|_, namespace| !namespace.policies.is_empty());
            self.room = (self.known() * 2).max(FEW);
        }
        let Namespace { usage, policies } = self.namespaces.entry(key.namespace.clone()).or_default();
        (usage, policies.entry(key.name.clone()).or_default())
    }

    fn known(&self) -> usize {
        self.namespaces
            .values()
            .map(|namespace| namespace.policies.len())
            .sum()
    }

    /// Changes what is known of a policy.
    fn change(&mut self, key: &PolicyKey, change: impl FnOnce(&mut Usage, &mut Policy)) {
        let namespace = self.namespaces.get_mut(&key.namespace);
        if let Some(Namespace { usage, policies }) = namespace
            && let Some(policy) = policies.get_mut(&key.name)
        {
            change(usage, policy);
        }
    }
}

#[cfg(test)]
mod tests;
