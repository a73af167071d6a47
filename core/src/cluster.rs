//! What the cluster is to a policy, whoever declares it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::policy::{Policy, Strategy};
use crate::routing::Region;

/// What the routes of a policy depend on of the cluster that they are written to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cluster {
    /// Where the cluster is (`--region`); `None`: that was not said.
    pub region: Option<String>,
    /// What the Services carry, by the name of their route. A route that is not here has no Service, or it is not known yet
    /// which Services there are: it carries any address.
    pub families: BTreeMap<String, Families>,
    /// From one check of a server to the next, and from one heartbeat to the next, at least (`--min-interval`); 0: as policies say.
    pub min_interval: Duration,
}

/// The address families of a Service. kube-proxy leads from it to addresses of these families alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr)]
#[strum(const_into_str)]
pub enum Families {
    /// Also of a Service that is not there, or tells none.
    #[default]
    #[strum(serialize = "IPv4")]
    V4,
    #[strum(serialize = "IPv6")]
    V6,
    #[strum(serialize = "IPv4 and IPv6")]
    Both,
}

impl Families {
    /// Of a Service that has these families.
    #[must_use]
    pub const fn new(v4: bool, v6: bool) -> Self {
        match (v4, v6) {
            (true, true) => Self::Both,
            (false, true) => Self::V6,
            (_, false) => Self::V4,
        }
    }

    /// Whether a Service of them can lead to an address.
    #[must_use]
    pub const fn carry(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Both => true,
        }
    }

    /// As a message says them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

impl Cluster {
    /// What the Service of a route carries; `None`: any address.
    #[must_use]
    pub fn families_of(&self, route: &str) -> Option<Families> {
        self.families.get(route).copied()
    }

    /// The region that the reads follow which name none. `None`: the strategy is not Geographic, or no endpoint is in the
    /// region of the cluster and the policy does not declare it.
    #[must_use]
    pub fn home<'a>(&self, policy: &'a Policy) -> Option<&'a Region> {
        let own = self.region.as_ref()?;
        let mut regions = policy.routing.regions.iter();
        regions.find(|region| policy.strategy == Strategy::Geographic && region.name == *own)
    }
}
