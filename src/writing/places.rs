//! How many requests are under way, in all and for each namespace: those that get no answer take no place from those of
//! other namespaces.

use std::collections::BTreeMap;
use std::ops::Bound;

use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;

/// How many requests may be under way at once.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Most {
    pub in_all: usize,
    pub of_namespace: usize,
}

/// Writes of objects, which webhooks and quotas can hold up.
pub const WRITES: Most = Most {
    in_all: 64,
    of_namespace: 16,
};
/// Reads.
pub const READS: Most = Most {
    in_all: 32,
    of_namespace: 16,
};
/// What is told in statuses: fewer than writes, as the objects matter first. A namespace whose writes get no answer still tells so.
pub const REPORTS: Most = Most {
    in_all: 16,
    of_namespace: 8,
};
/// What is logged before the writes move: it waits for nothing else.
pub const LOGS: Most = Most {
    in_all: 32,
    of_namespace: 16,
};

/// Places that are taken, and policies that wait for one.
#[derive(Clone, Debug, Hash)]
pub struct Places {
    most: Most,
    taken: usize,
    by_namespace: BTreeMap<String, Taken>,
    waiting: BTreeMap<String, Queue>,
    /// The namespace that was served last: the next one follows in their order.
    served: String,
    arrivals: u64,
}

/// The places of a namespace that are taken.
#[derive(Clone, Debug, Hash)]
struct Taken {
    count: usize,
    /// When one was last taken for something that was done, or the first was taken.
    done: Moment,
}

/// The policies of a namespace that wait, by their turn: whether no route waits for it, and when they came.
#[derive(Clone, Debug, Default, Hash)]
struct Queue {
    turns: BTreeMap<(bool, u64), PolicyKey>,
    of: BTreeMap<PolicyKey, (bool, u64)>,
}

impl Queue {
    fn leave(&mut self, key: &PolicyKey) {
        if let Some(turn) = self.of.remove(key) {
            self.turns.remove(&turn);
        }
    }
}

impl Places {
    #[must_use]
    pub const fn new(most: Most) -> Self {
        Self {
            most,
            taken: 0,
            by_namespace: BTreeMap::new(),
            waiting: BTreeMap::new(),
            served: String::new(),
            arrivals: 0,
        }
    }

    /// Takes a place for a request, if there is one.
    pub fn take(&mut self, namespace: &str, now: Moment) -> bool {
        if self.taken >= self.most.in_all || !self.is_free(namespace) {
            return false;
        }
        self.taken += 1;
        let new = || Taken { count: 0, done: now };
        self.by_namespace
            .entry(namespace.to_owned())
            .or_insert_with(new)
            .count += 1;
        true
    }

    /// When something that this namespace has a place for was last done: who waits for one does not wait for nothing.
    #[must_use]
    pub fn done(&self, namespace: &str) -> Option<Moment> {
        self.by_namespace.get(namespace).map(|taken| taken.done)
    }

    fn is_free(&self, namespace: &str) -> bool {
        self.by_namespace
            .get(namespace)
            .is_none_or(|own| own.count < self.most.of_namespace)
    }

    /// A request takes long: it leaves its place to others, but for those of its namespace.
    pub fn lend(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// Gives a place back. `lent`: others have it already. `done`: when what it was taken for was done, if it was.
    pub fn release(&mut self, namespace: &str, lent: bool, done: Option<Moment>) {
        if !lent {
            self.lend();
        }
        if let Some(own) = self.by_namespace.get_mut(namespace) {
            own.count = own.count.saturating_sub(1);
            own.done = done.unwrap_or(own.done);
            if own.count == 0 {
                self.by_namespace.remove(namespace);
            }
        }
    }

    /// A policy has something to send, and found no place. `routes`: a route waits for it, so it goes first.
    pub fn wait(&mut self, key: &PolicyKey, routes: bool) {
        let queue = self.waiting.entry(key.namespace.clone()).or_default();
        match queue.of.get(key) {
            Some((later, _)) if *later && routes => queue.leave(key),
            Some(_) => return,
            None => {}
        }
        self.arrivals += 1;
        let turn = (!routes, self.arrivals);
        queue.turns.insert(turn, key.clone());
        queue.of.insert(key.clone(), turn);
    }

    /// The next policy for which there is a place: routes first, namespaces in turn.
    pub fn next(&mut self) -> Option<PolicyKey> {
        if self.taken >= self.most.in_all {
            return None;
        }
        let after = (Bound::Excluded(self.served.clone()), Bound::Unbounded);
        let in_turn = || {
            let rest = self.waiting.range(..=self.served.clone());
            let turn = self.waiting.range(after.clone()).chain(rest);
            turn.filter(|(namespace, _)| self.is_free(namespace))
        };
        let has_routes = |queue: &Queue| queue.turns.keys().next().is_some_and(|(later, _)| !later);
        let found = in_turn()
            .find(|(_, queue)| has_routes(queue))
            .or_else(|| in_turn().next());
        let namespace = found.map(|(namespace, _)| namespace.clone())?;
        let queue = self.waiting.get_mut(&namespace)?;
        let key = queue.turns.first_key_value().map(|(_, key)| key.clone());
        if let Some(key) = &key {
            queue.leave(key);
        }
        if queue.of.is_empty() {
            self.waiting.remove(&namespace);
        }
        self.served = namespace;
        key
    }

    /// A policy is gone.
    pub fn forget(&mut self, key: &PolicyKey) {
        if let Some(queue) = self.waiting.get_mut(&key.namespace) {
            queue.leave(key);
            if queue.of.is_empty() {
                self.waiting.remove(&key.namespace);
            }
        }
    }
}

/// What a request needs a place for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PlaceKind {
    /// A write that webhooks and quotas can hold up.
    Write,
    /// What is logged before the writes move.
    Log,
    Read,
    Report,
}

impl PlaceKind {
    pub const ALL: [Self; 4] = [Self::Log, Self::Read, Self::Write, Self::Report];
}

#[derive(Clone, Hash)]
pub struct PlacesByKind {
    pub writes: Places,
    pub logs: Places,
    reads: Places,
    reports: Places,
}

impl PlacesByKind {
    pub const fn of(&mut self, kind: PlaceKind) -> &mut Places {
        match kind {
            PlaceKind::Write => &mut self.writes,
            PlaceKind::Log => &mut self.logs,
            PlaceKind::Read => &mut self.reads,
            PlaceKind::Report => &mut self.reports,
        }
    }

    /// The next policy for which there is a place.
    pub fn next(&mut self) -> Option<PolicyKey> {
        PlaceKind::ALL.into_iter().find_map(|kind| self.of(kind).next())
    }

    pub fn forget(&mut self, key: &PolicyKey) {
        for kind in PlaceKind::ALL {
            self.of(kind).forget(key);
        }
    }
}

impl Default for PlacesByKind {
    fn default() -> Self {
        Self {
            writes: Places::new(WRITES),
            logs: Places::new(LOGS),
            reads: Places::new(READS),
            reports: Places::new(REPORTS),
        }
    }
}

#[cfg(test)]
mod tests;
