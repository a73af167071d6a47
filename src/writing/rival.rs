//! Another operator that writes the objects of a policy: another installation, or an earlier version during an upgrade. Two
//! that decide differently would undo each other without end; so the one whose writes are undone pauses.
//!
//! | state | what happens | next state |
//! |---|---|---|
//! | Alone, as the process begins to lead | the status says that they fight: the leader before it did | Tries, for a lease duration |
//! | Alone, Prevails | something that this process wrote is undone for the third time within a lease duration | Pauses, for 30 s |
//! | Alone | the status of another operator says that they fight | Prevails, for 60 s |
//! | Prevails | another operator says so again, or undoes something, a lease duration after it did last | Prevails, for twice as long as before, at most 20 min |
//! | Pauses | its time is over | Tries, for a lease duration |
//! | Tries | something that this process wrote is undone | Pauses, for twice as long as before, at most 10 min |
//! | Prevails, Tries | its time is over | Alone |
//!
//! # Guarantees
//! - Undone is what a write of this process led to, since it began to lead and within a lease duration (longer while it prevails), and what another write under
//!   the field manager of operators then changed. Edits of people, echoes, late requests of an earlier leader and of this process
//!   never count: they are refused, or come before the first write. Nor does what was only taken away, of which the API server
//!   names no writer: an object that lacks what every operator writes, or the owner that it had.
//! - Of two that fight the one that tries last goes on, as one that tries pauses at the first sign.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::installation::Installation;
use crate::render::ObjectId;
use crate::render::reading::{Digest, ObservedObject, Version};
use distributary_core::moment::Moment;

/// How long it pauses at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(10));
/// While it pauses, the writes are moved or withdrawn once in this time.
const MOVES: Duration = Duration::from_secs(5);
/// So often something must be undone.
const TIMES: usize = 3;

/// What is known of other operators that write for a policy.
#[derive(Clone, Default, Hash)]
pub struct Rival {
    state: State,
    /// It was looked at what the leader before told.
    begun: bool,
    /// The objects, and as `None` the status, that this process wrote lately.
    writes: BTreeMap<Option<ObjectId>, Write>,
    /// The Leases of the others.
    leases: BTreeSet<String>,
    /// The versions of the policy at which another operator said that they fight, and when they were seen: the newest two.
    said: Option<(Version, Moment, Option<Moment>)>,
    /// While it pauses: whether the status says so.
    told: bool,
    /// While it pauses: when the writes were moved or withdrawn, and by which objects.
    turn: Option<(Moment, BTreeSet<ObjectId>)>,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
enum State {
    #[default]
    Alone,
    /// Another one pauses; it was heard of last at `heard`.
    Prevails {
        heard: Moment,
        until: Moment,
        length: Duration,
    },
    Pauses {
        until: Moment,
        length: Duration,
    },
    Tries {
        until: Moment,
        length: Duration,
    },
}

/// What a write led to.
#[derive(Clone, Hash)]
struct Write {
    at: Moment,
    version: Version,
    /// `None`: it was deleted, or is the status.
    made: Option<Made>,
    undone: Vec<Moment>,
}

/// An object as a write left it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Made {
    digest: Digest,
    owned: bool,
}

impl Made {
    pub const fn of<B>(object: &ObservedObject<B>) -> Self {
        Self {
            digest: object.digest,
            owned: object.owned,
        }
    }

    /// Whether another operator made of it what is seen. All go by one policy, which says whether its objects have an owner: none
    /// takes it away.
    fn is_changed<B>(self, seen: &ObservedObject<B>) -> bool {
        seen.by_operator && seen.digest != self.digest && (seen.owned || !self.owned)
    }
}

impl Rival {
    /// Something was written, and this is what it is like now.
    pub fn wrote(
        &mut self,
        subject: Option<ObjectId>,
        version: Version,
        made: Option<Made>,
        now: Moment,
        by: &Installation,
    ) {
        if let Some(id) = &subject {
            self.moves(id, now);
        }
        let prevails = matches!(self.state, State::Prevails { .. });
        self.writes
            .retain(|_, write| prevails || now.since(write.at) < by.duration);
        let before = self.writes.remove(&subject);
        let write = Write {
            at: now,
            version,
            made,
            undone: before.map(|before| before.undone).unwrap_or_default(),
        };
        self.writes.insert(subject, write);
    }

    /// Nobody knows what became of a write.
    pub fn forget(&mut self, subject: Option<&ObjectId>) {
        self.writes.remove(&subject.cloned());
    }

    /// An object is not as it should be. Whether another operator undid what was written.
    pub fn meets<B>(&mut self, seen: &ObservedObject<B>, now: Moment, by: &Installation) -> bool {
        let write = self.writes.get(&Some(seen.id.clone()));
        let is_undone = write.is_some_and(|write| match write.made {
            Some(made) => made.is_changed(seen),
            None => seen.by_operator,
        });
        is_undone && self.undo(Some(&seen.id), &seen.version, now, by)
    }

    /// The status that another operator wrote, at this version, is not as it should be. Whether it undid what was written. One that
    /// says that they fight is told once.
    pub fn meets_status(&mut self, version: &Version, fights: bool, now: Moment, by: &Installation) -> bool {
        let again = |(_, last, before): &(Version, Moment, Option<Moment>)| {
            before.is_some_and(|before| last.since(before) < by.duration)
        };
        let counts = !fights || self.said.as_ref().is_some_and(again);
        counts && self.undo(None, version, now, by)
    }

    /// What was written is another one as of `version`.
    fn undo(
        &mut self,
        subject: Option<&ObjectId>,
        version: &Version,
        now: Moment,
        by: &Installation,
    ) -> bool {
        let Some(write) = self.writes.get_mut(&subject.cloned()) else {
            return false;
        };
        if !write.version.is_before(version) || matches!(self.state, State::Pauses { .. }) {
            return false;
        }
        if now.since(write.at) >= by.duration {
            let prevails = matches!(self.state, State::Prevails { .. });
            if prevails {
                write.version = version.clone();
                self.prevail(now, by);
            }
            return prevails;
        }
        write.version = version.clone();
        write.undone.retain(|at| now.since(*at) < by.duration);
        write.undone.push(now);
        let length = match self.state {
            State::Tries { length, .. } => Some((length * 2).min(PAUSE.1)),
            _ if write.undone.len() >= TIMES => Some(PAUSE.0),
            _ => None,
        };
        if let Some(length) = length {
            let until = now + length - early(by, length);
            self.state = State::Pauses { until, length };
            (self.told, self.turn) = (false, None);
            self.writes.clear();
        } else if let State::Prevails { .. } = self.state {
            self.prevail(now, by);
        }
        true
    }

    /// There is a sign of one that pauses: it goes on, or pauses anew.
    fn prevail(&mut self, now: Moment, by: &Installation) {
        let length = match self.state {
            State::Alone => PAUSE.0 * 2,
            State::Prevails { heard, length, .. } if now.since(heard) < by.duration => length,
            State::Prevails { length, .. } => (length * 2).min(PAUSE.1 * 2),
            State::Pauses { .. } | State::Tries { .. } => return,
        };
        let until = now + length;
        self.state = State::Prevails {
            heard: now,
            until,
            length,
        };
    }

    /// The status that another operator wrote says, as of this version, that they fight.
    pub fn hears(&mut self, version: &Version, now: Moment, by: &Installation) {
        let before = match &self.said {
            Some((said, ..)) if !said.is_before(version) => return,
            Some((_, at, _)) => Some(*at),
            None => None,
        };
        self.said = Some((version.clone(), now, before));
        self.prevail(now, by);
    }

    /// This process begins to lead. Whether it goes on with a fight that the status tells of: at the first sign that it is not over it
    /// pauses, as the leader before may have done.
    pub fn begins(&mut self, fights: bool, now: Moment, by: &Installation) -> bool {
        let goes_on = !std::mem::replace(&mut self.begun, true) && fights;
        if goes_on {
            let (until, length) = (now + by.duration, PAUSE.0);
            self.state = State::Tries { until, length };
        }
        goes_on
    }

    /// Another operator is the one of this Lease.
    pub fn is_of(&mut self, lease: &str) {
        if !self.leases.contains(lease) {
            self.leases.insert(lease.to_owned());
        }
    }

    /// Time passes.
    pub fn pass(&mut self, now: Moment, by: &Installation) {
        self.state = match self.state {
            State::Pauses { until, length } if until <= now => {
                let until = now + by.duration;
                State::Tries { until, length }
            }
            State::Tries { until, .. } | State::Prevails { until, .. } if until <= now => {
                self.leases.clear();
                State::Alone
            }
            state => state,
        };
    }

    /// When the state ends by itself.
    #[must_use]
    pub const fn until(&self) -> Option<Moment> {
        match self.state {
            State::Alone => None,
            State::Prevails { until, .. } | State::Pauses { until, .. } | State::Tries { until, .. } => {
                Some(until)
            }
        }
    }

    /// Whether this process writes nothing but moves and withdrawals of the writes.
    #[must_use]
    pub const fn pauses(&self) -> bool {
        matches!(self.state, State::Pauses { .. })
    }

    /// Whether it has written all that it writes while it pauses, but for these.
    #[must_use]
    pub const fn rests(&self) -> bool {
        self.pauses() && self.told
    }

    /// The status says that they fight.
    pub fn told(&mut self) {
        self.told |= self.pauses();
    }

    /// The Leases of all who fight, as far as they have one; `None`: there is no other one.
    #[must_use]
    pub fn leases(&self, by: &Installation) -> Option<Vec<String>> {
        if self.state == State::Alone {
            return None;
        }
        let all: BTreeSet<_> = self.leases.iter().chain(&by.lease).collect();
        Some(all.into_iter().cloned().collect())
    }

    /// When these objects may be written to move or withdraw the writes while it pauses; `None`: now.
    pub fn waits<'a>(&self, objects: impl IntoIterator<Item = &'a ObjectId>, now: Moment) -> Option<Moment> {
        let (since, written) = self.turn.as_ref()?;
        let next = *since + MOVES;
        let again = objects.into_iter().any(|id| written.contains(id));
        (again && now < next).then_some(next)
    }

    /// This object is written to move or withdraw the writes.
    pub fn moves(&mut self, id: &ObjectId, now: Moment) {
        if !self.pauses() {
            return;
        }
        match &mut self.turn {
            Some((since, written)) if now < *since + MOVES => {
                written.insert(id.clone());
            }
            turn => *turn = Some((now, BTreeSet::from([id.clone()]))),
        }
    }
}

/// How much earlier a pause ends, up to a quarter, so that two that pause do not go on at once: by the Lease, without chance.
fn early(by: &Installation, length: Duration) -> Duration {
    let lease = by.lease.as_deref().unwrap_or_default();
    let hash = lease.bytes().fold(0_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    length * (hash % 64) / 256
}

#[cfg(test)]
mod tests;
