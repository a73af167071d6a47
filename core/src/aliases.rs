//! One server under several names, as a virtual address beside the servers behind it: what answers prove.
//!
//! Two targets are the same server where both show the same system identifier and the same start to the microsecond, asked
//! within one heartbeat. That stands until one of them shows another start, or is refuted: the session held through one
//! name is not among those that the other one lists. A copy of a running machine has the start of its original, and is told
//! apart by that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ids::TargetId;
use super::moment::Moment;

/// A running server, as an answer shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// `pg_postmaster_start_time()`, in microseconds since 1970.
    pub started: i64,
    /// The process that answered (`pg_backend_pid()`).
    pub process: i32,
    /// The processes of all sessions of `application_name` distributary, that one among them.
    pub ours: Arc<[i32]>,
}

/// An answer of a target.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    pub identifier: Option<u64>,
    /// `None`: it would not tell.
    pub instance: Option<&'a Instance>,
    pub asked: Moment,
    pub came: Moment,
    /// On the session that is held, and not on one that ends with its check.
    pub held: bool,
    /// A session may go over to another process.
    pub pooled: bool,
}

/// What is known of the targets of a policy.
#[derive(Debug, Default)]
pub struct Aliases {
    seen: BTreeMap<TargetId, Seen>,
    pairs: BTreeMap<(TargetId, TargetId), Relation>,
}

#[derive(Debug)]
struct Seen {
    server: (u64, i64),
    asked: Moment,
    came: Moment,
    ours: Arc<[i32]>,
    session: Option<HeldSession>,
}

/// A session that was there all the time from one moment to another.
#[derive(Clone, Copy, Debug)]
struct HeldSession {
    process: i32,
    from: Moment,
    to: Moment,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Relation {
    Same,
    /// They look the same, and are not.
    Apart,
}

impl Seen {
    /// Whether a list of sessions, made while the session was there, lacks it.
    fn refutes(&self, session: Option<HeldSession>) -> bool {
        session.is_some_and(|session| {
            let covered = session.from <= self.asked && self.came <= session.to;
            covered && !self.ours.contains(&session.process)
        })
    }
}

impl Aliases {
    /// Takes in an answer. `heartbeat`: how far apart two may be asked for. Whether another thing is known by it.
    pub fn saw(&mut self, id: &TargetId, sighting: Sighting<'_>, heartbeat: Duration) -> bool {
        let Some((identifier, instance)) = sighting.identifier.zip(sighting.instance) else {
            return self.forget(id);
        };
        let server = (identifier, instance.started);
        let known = self.seen.remove(id).filter(|known| known.server == server);
        let mut changed = known.is_none() && self.forget(id);
        let before = known.and_then(|known| known.session).filter(|_| !sighting.pooled);
        let session = if sighting.held && !sighting.pooled {
            let from = before.filter(|before| before.process == instance.process);
            Some(HeldSession {
                process: instance.process,
                from: from.map_or(sighting.came, |before| before.from),
                to: sighting.came,
            })
        } else {
            before
        };
        let own = Seen {
            server,
            asked: sighting.asked,
            came: sighting.came,
            ours: Arc::clone(&instance.ours),
            session,
        };
        for (other, seen) in self.seen.iter().filter(|(_, seen)| seen.server == server) {
            let pair = pair(id, other);
            let relation = self.pairs.get(&pair);
            let apart = own.asked.max(seen.asked).since(own.asked.min(seen.asked));
            let now = if own.refutes(seen.session) || seen.refutes(own.session) {
                Relation::Apart
            } else if relation.is_none() && apart <= heartbeat {
                Relation::Same
            } else {
                continue;
            };
            changed |= self.pairs.insert(pair, now) != Some(now);
        }
        self.seen.insert(id.clone(), own);
        changed
    }

    /// Whether the newest answer of a target was of this server.
    #[must_use]
    pub fn is_known_as(&self, id: &TargetId, identifier: u64, started: i64) -> bool {
        self.seen
            .get(id)
            .is_some_and(|seen| seen.server == (identifier, started))
    }

    /// Forgets a target; whether it was the same as another one.
    pub fn forget(&mut self, id: &TargetId) -> bool {
        self.seen.remove(id);
        let before = self.pairs.len();
        self.pairs.retain(|(one, other), _| one != id && other != id);
        before != self.pairs.len()
    }

    /// Targets have other ids from now on, no two of them the same.
    pub fn rename(&mut self, now: impl Fn(&TargetId) -> TargetId) {
        let seen = std::mem::take(&mut self.seen).into_iter();
        self.seen = seen.map(|(id, seen)| (now(&id), seen)).collect();
        let pairs = std::mem::take(&mut self.pairs).into_iter();
        let renamed = |((one, other), relation): ((TargetId, TargetId), Relation)| {
            (pair(&now(&one), &now(&other)), relation)
        };
        self.pairs = pairs.map(renamed).collect();
    }

    /// Forgets all targets but these.
    pub fn retain(&mut self, is_one: impl Fn(&TargetId) -> bool) {
        self.seen.retain(|id, _| is_one(id));
        self.pairs.retain(|(one, other), _| is_one(one) && is_one(other));
    }

    /// Every target that is the same server as others, with the first of all its names.
    #[must_use]
    pub fn firsts(&self) -> BTreeMap<TargetId, TargetId> {
        let mut firsts = BTreeMap::<TargetId, TargetId>::new();
        let same = self
            .pairs
            .iter()
            .filter(|(_, relation)| **relation == Relation::Same);
        for ((one, other), _) in same {
            let of = |id: &TargetId| firsts.get(id).unwrap_or(id).clone();
            let (a, b) = (of(one), of(other));
            let (first, joined) = (a.clone().min(b.clone()), a.max(b));
            for known in firsts.values_mut().filter(|known| **known == joined) {
                known.clone_from(&first);
            }
            for id in [one, other] {
                firsts.insert(id.clone(), first.clone());
            }
        }
        firsts
    }
}

fn pair(one: &TargetId, other: &TargetId) -> (TargetId, TargetId) {
    (one.min(other).clone(), one.max(other).clone())
}

#[cfg(test)]
mod tests;
