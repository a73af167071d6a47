//! When desks must look again.

use std::collections::{BTreeMap, BTreeSet};

use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;

/// When desks must look again: by moment, and by desk.
#[derive(Clone, Default, Hash)]
pub struct Wakes {
    moments: BTreeSet<(Moment, PolicyKey)>,
    of: BTreeMap<PolicyKey, Moment>,
}

impl Wakes {
    pub fn set(&mut self, key: &PolicyKey, at: Option<Moment>) {
        if let Some(before) = self.of.remove(key) {
            self.moments.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.of.insert(key.clone(), at);
            self.moments.insert((at, key.clone()));
        }
    }

    pub fn next(&self) -> Option<Moment> {
        self.moments.first().map(|(at, _)| *at)
    }

    pub fn due(&self, now: Moment) -> impl Iterator<Item = &PolicyKey> {
        let due = self.moments.iter().take_while(move |(at, _)| *at <= now);
        due.map(|(_, key)| key)
    }
}
