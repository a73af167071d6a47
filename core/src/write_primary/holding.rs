//! What is remembered of the write primary.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::ids::{EndpointId, TargetId};
use crate::policy::IdentityRule;

/// What is remembered of the write primary from one decision to the next, and in the status from one process to the next.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Holding {
    /// The system identifier of this database.
    pub identity: Option<u64>,
    pub holder: Option<TargetId>,
    /// Where the server was that took the writes; `None`: that is not known, or the endpoint is another one since an edit.
    pub server: Option<SocketAddr>,
    /// The highest timeline that a holder was seen on.
    pub timeline: Option<u32>,
    /// The word of `acceptPrimary` that was obeyed.
    pub accepted: Option<EndpointId>,
    /// Servers that became writable while the holder took the writes, as an answer of the holder proved that was asked for
    /// afterwards: silence of the holder is no reason to follow them.
    pub contested: BTreeSet<SocketAddr>,
    /// Endpoints of which such a server is out of sight: a pod that left its Service and may return at another address, or a server
    /// that the policy does not route for the moment.
    pub contested_endpoints: BTreeSet<EndpointId>,
}

impl Holding {
    /// What of it holds under this rule: of another database timelines, holders and words mean nothing.
    #[must_use]
    pub fn under(self, rule: IdentityRule) -> Self {
        match rule {
            IdentityRule::Learned => self,
            // Timelines of databases that may be others say nothing of each other.
            IdentityRule::Unchecked => Self {
                identity: None,
                timeline: None,
                ..self
            },
            IdentityRule::Declared(identity) if self.identity.is_none_or(|known| known == identity) => Self {
                identity: Some(identity),
                ..self
            },
            IdentityRule::Declared(identity) => Self {
                identity: Some(identity),
                ..Self::default()
            },
        }
    }

    /// Whether a server that shows this identifier is of another database.
    #[must_use]
    pub fn is_other_database(&self, shown: Option<u64>) -> bool {
        matches!((self.identity, shown), (Some(known), Some(shown)) if known != shown)
    }
}
