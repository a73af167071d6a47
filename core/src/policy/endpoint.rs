//! A declared server.

use super::settings::LagSettings;
use crate::ids::EndpointId;
use crate::server::{Location, ServerKey};
use crate::words::words;

#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum DeclaredRole {
    Primary,
    Replica,
}

/// A declared server.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub id: EndpointId,
    pub declared: DeclaredRole,
    pub display_name: Option<String>,
    /// Where it is, as far as the policy says.
    pub server: DeclaredServer,
    pub region: Option<String>,
    pub zone: Option<String>,
    /// Share under the strategy Weighted, 0 to 1000; 0 is never sent a read.
    pub weight: u16,
    /// Lowest first.
    pub priority: u16,
    pub max_connections: u32,
    pub state: EndpointState,
    /// False: it never takes the writes over.
    pub promotable: bool,
    pub tags: Vec<String>,
    pub lag: LagSettings,
}

/// Where a server is, as a policy declares it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeclaredServer {
    Host(Location),
    /// The ready pods behind a Service of the policy's namespace. `location`: its name inside the cluster, which
    /// certificates are checked against.
    Service {
        service: String,
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
}

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
}

words!(DeclaredRole, EndpointState);
