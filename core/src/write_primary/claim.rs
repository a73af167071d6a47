//! What a target shows.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::TargetId;
use crate::moment::Moment;
use crate::observation::Role;

/// What one target shows that may count for the writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub target: TargetId,
    pub server: SocketAddr,
    /// The address that stands for its server: every name of one server has the same.
    pub instance: SocketAddr,
    /// Since when its name leads there, where it led elsewhere before.
    pub moved_at: Option<Moment>,
    /// Of the declared primary; `by_service`: the Service behind it says who that is.
    pub declared: bool,
    pub by_service: bool,
    pub promotable: bool,
    pub role: Option<Role>,
    /// Its newest check was good, or found it without a free connection.
    pub answers: bool,
    /// Its session was lost, or its newest heartbeat missed, and nothing was heard of it since.
    pub doubted: bool,
    /// When the newest answer was asked for that told its role.
    pub asked: Option<Moment>,
    /// When the answer came that showed it writable first, if none showed otherwise since.
    pub writable_since: Option<Moment>,
    /// Nothing says that it is down.
    pub well: bool,
    /// Its newest check is an error that the server itself sent, and it is not suspected.
    pub alive: bool,
    /// Its newest check shows no more than that it is slow, and it did not go down before.
    pub slow: bool,
    /// Nothing is heard of it: a login, TLS or a Secret is wrong, or the fault is ours. It did not go down before.
    pub cannot_be_checked: bool,
    /// Since when it is down, or back without having told its role.
    pub failing_since: Option<Moment>,
    pub identity: Option<u64>,
    /// It was of another database when the operator restarted, and has not told since.
    pub other_database: bool,
    pub timeline: Option<u32>,
    /// This policy saw this server as a standby of this database.
    pub was_standby: bool,
    /// It is a pod, and this policy saw a pod of its Service as a standby of this database.
    pub pod_of_standby: bool,
}

impl Claim {
    /// Its newest check proves that it takes writes.
    pub(super) fn writes(&self) -> bool {
        self.role == Some(Role::Primary) && self.answers
    }

    /// The same, and it was not missed since.
    pub(super) fn writes_now(&self) -> bool {
        self.writes() && !self.doubted
    }

    /// Whether it is gone: neither its role nor its life is proven, it is not merely slow for less than `patience`, and it is not
    /// one that cannot be checked and did not go down.
    pub(super) fn is_lost(&self, patience: Duration, now: Moment) -> bool {
        let slow = self.slow && self.failing_since.is_some_and(|since| now < since + patience);
        !(self.well || self.answers || self.alive || self.cannot_be_checked || slow)
    }

    /// It told this process so, after whatever made it the holder.
    pub(super) fn is_proven(&self) -> bool {
        self.writes() && self.told_writable()
    }

    /// Its newest answer, to a check or to a heartbeat, showed that it takes writes, whatever became of checks since.
    pub(super) fn told_writable(&self) -> bool {
        self.role == Some(Role::Primary) && self.writable_since.is_some()
    }
}
