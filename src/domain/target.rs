//! What the prober is asked to do, and what it answers: the border between deciding and probing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::moment::Moment;
use super::observation::Observation;
use super::policy::{EndpointId, Location, Login, PolicyKey};

/// One probed server of one policy.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProbeKey {
    pub policy: PolicyKey,
    pub endpoint: EndpointId,
}

/// A server that a policy wants probed.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub endpoint: EndpointId,
    pub incarnation: Incarnation,
    pub location: Location,
    pub login: Arc<Login>,
    pub check: NextCheck,
}

/// Counts how often an endpoint became another server. An observation of an earlier incarnation says nothing of the
/// present one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Incarnation(pub u64);

/// When to check next, and how. Exactly one observation answers it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NextCheck {
    /// Rises with every instruction for the target.
    pub number: u64,
    pub at: Moment,
    /// The deadline of the whole check: name, connection, TLS, login and query.
    pub timeout: Duration,
    /// The address of the last good check, taken where the name still has it.
    pub prefer: Option<IpAddr>,
}

/// An answer of the prober.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub key: ProbeKey,
    pub incarnation: Incarnation,
    pub observation: Observation,
}
