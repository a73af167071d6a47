//! A declared server.

use super::settings::LagSettings;
use crate::ids::{ClassName, EndpointId};
use crate::server::{Location, ServerKey};
use crate::words::words;

/// What a policy takes an endpoint for, whatever it is at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum DeclaredRole {
    /// It takes the writes.
    Primary,
    /// It serves reads.
    Replica,
}

/// A declared server.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Unique in the policy.
    pub id: EndpointId,
    /// What the policy takes it for.
    pub declared: DeclaredRole,
    /// A name for people.
    pub display_name: Option<String>,
    /// Where it is, as far as the policy says.
    pub server: DeclaredServer,
    /// Where it is; `None`: in no region.
    pub region: Option<String>,
    /// The zone that EndpointSlices tell; `None`: none.
    pub zone: Option<String>,
    /// Share under the strategy Weighted, 0 to 1000; 0 is never sent a read.
    pub weight: u16,
    /// Lowest first.
    pub priority: u16,
    /// The sessions that it is meant to carry, at least 1: the measure of LeastConnections and the size of a client's pool.
    pub max_connections: u32,
    /// Whether it is checked and routed.
    pub state: EndpointState,
    /// False: it never takes the writes over.
    pub promotable: bool,
    /// Words for its use, by which classes select replicas.
    pub tags: Vec<String>,
    /// The classes whose routes alone it is in while it is a standby, each once; empty: any route.
    pub dedicated_to: Vec<ClassName>,
    /// When it is too far behind to serve.
    pub lag: LagSettings,
}

/// Where a server is, as a policy declares it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeclaredServer {
    /// A host that the policy names.
    Host(Location),
    /// The ready pods behind a Service of the policy's namespace. `location`: its name inside the cluster, which
    /// certificates are checked against.
    Service {
        /// The name of the Service.
        service: String,
        /// Its name inside the cluster, and the port that the policy names.
        location: Location,
    },
    /// A URL in a Secret says where.
    Url,
}

impl DeclaredServer {
    /// What tells one server from another; `None`: the policy does not say.
    #[must_use]
    pub fn key(&self) -> Option<ServerKey> {
        match self {
            Self::Host(location) => Some(ServerKey::of_host(location)),
            Self::Service { service, location } => Some(ServerKey::of_service(service, location.port)),
            Self::Url => None,
        }
    }

    /// The port that the policy names; `None`: it names none.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Host(location) | Self::Service { location, .. } => Some(location.port),
            Self::Url => None,
        }
    }
}

/// Whether an endpoint is checked and routed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum EndpointState {
    /// Checked and routed.
    #[default]
    Active,
    /// Checked, and no longer routed; the sessions that are left on it are counted.
    Draining,
    /// Neither checked nor routed.
    Disabled,
}

impl Endpoint {
    /// Whether it is checked.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.state != EndpointState::Disabled
    }

    /// Whether it serves reads of a class as a standby without being a fallback; `None`: reads that no class names.
    #[must_use]
    pub fn serves(&self, class: Option<&ClassName>) -> bool {
        self.dedicated_to.is_empty() || class.is_some_and(|class| self.dedicated_to.contains(class))
    }
}

words!(DeclaredRole, EndpointState);
