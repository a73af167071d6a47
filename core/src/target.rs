//! What the prober is asked to do, and what it answers: the border between deciding and probing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ids::{PolicyKey, TargetId};
use super::login::Login;
use super::moment::Moment;
use super::observation::{Observation, Sample, Silence};
use super::server::Location;

/// One probed server of one policy.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProbeKey {
    /// The policy that wants it probed.
    pub policy: PolicyKey,
    pub target: TargetId,
}

/// A server that a policy wants probed.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeOrder {
    pub target: TargetId,
    pub incarnation: Incarnation,
    /// The host is the name that a certificate must have; it is resolved where the target is no pod.
    pub location: Location,
    /// How to log in.
    pub login: Arc<Login>,
    /// Asked after the questions of every check and heartbeat, read-only: one value, the lag in seconds.
    pub lag_query: Option<Arc<str>>,
    /// Asked in every whole check, read-only: whether each is answered.
    pub probe_queries: Vec<Arc<str>>,
    /// What the deadlines of its checks follow from.
    pub deadlines: Deadlines,
    /// The lookups of its name are at most so far apart.
    pub interval: Duration,
    /// When to check it next.
    pub check: NextCheck,
}

/// What the deadlines of a policy's checks follow from. Who has the same ones may wait for the same check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadlines {
    pub timeout: Duration,
    pub failover_timeout: Duration,
    pub failure_threshold: u32,
}

/// Counts how often a target became another server. An observation of an earlier incarnation says nothing of the
/// present one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Incarnation(pub u64);

/// When to check next, and how. One observation answers it, unless a later one replaces it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NextCheck {
    /// Rises with every instruction for the target.
    pub number: u64,
    /// When it is due; `None`: not before the policy changes.
    pub at: Option<Moment>,
    /// The deadline of the whole check: name, connection, TLS, login and query.
    pub timeout: Duration,
    /// The address of the last good check, taken where the name still has it. Once it has left the name, checks go to where
    /// the name leads now and to this address in turn, until one there is good.
    pub prefer: Option<IpAddr>,
    /// The session to hold beside the checks.
    pub hold: Option<Hold>,
}

/// A session that stays open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hold {
    /// Where the newest good check was.
    pub address: IpAddr,
    /// From one heartbeat to the next.
    pub every: Duration,
    /// The deadline of one heartbeat.
    pub timeout: Duration,
}

/// An answer of the prober.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A whole check; `late`: so long after it was due.
    Checked { observed: CheckAnswer, late: Duration },
    /// A heartbeat on the held session.
    Heard(SessionAnswer),
    /// The lookups of a target's name say something else than before.
    Named(NameAnswer),
}

/// What a whole check found.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckAnswer {
    pub key: ProbeKey,
    pub incarnation: Incarnation,
    /// The name has let go of the preferred address, and this is what was found where it leads now.
    pub elsewhere: bool,
    /// What it found.
    pub observation: Observation,
}

/// What the held session said, or that it is silent.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionAnswer {
    pub key: ProbeKey,
    pub incarnation: Incarnation,
    /// Where the session leads.
    pub address: IpAddr,
    /// When the question was asked.
    pub started: Moment,
    pub ended: Moment,
    pub result: Result<Sample, Silence>,
}

/// What the lookups of a target's name say, where that is something else than before.
#[derive(Clone, Debug, PartialEq)]
pub struct NameAnswer {
    pub key: ProbeKey,
    pub incarnation: Incarnation,
    pub state: NameState,
}

/// What the lookups of a name say to a target.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NameState {
    /// The target's address, where the name leads elsewhere.
    pub left: Option<IpAddr>,
    /// Whether an address came back lately that the name had left.
    pub rotates: bool,
}
