//! A policy that cannot be wrong: made by [`crate::validate`] alone.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::ids::{EndpointId, PolicyKey, TargetId};
use super::login::{Login, TlsMode, Unresolved};
use super::percent::Percent;
use super::routing::{Least, ReadFallback, Routing};
use crate::words::words;

/// A validated policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub key: PolicyKey,
    /// The uid of the object: an object of the same name made later is another policy.
    pub uid: String,
    pub generation: i64,
    pub mode: Mode,
    /// Whether the routes stay when the policy is deleted.
    pub retain: bool,
    /// The declared primary first, then the replicas as declared; ids are unique.
    pub endpoints: Vec<Endpoint>,
    pub identity: IdentityRule,
    pub strategy: Strategy,
    pub routing: Routing,
    pub probing: Probing,
    pub breaker: BreakerSettings,
    pub failover: Failover,
    pub outputs: Outputs,
    pub clients: ClientSettings,
    /// The annotation `distributary.dev/check-requested-at`: when it changes, every server is checked at once.
    pub check_request: Option<String>,
}

impl Policy {
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.id == *id)
    }

    /// Whether replicas that are too far behind may stand in, the least far first.
    #[must_use]
    pub fn compares_lagging(&self) -> bool {
        let of_classes = self
            .routing
            .classes
            .iter()
            .filter_map(|class| class.read_fallback.as_ref());
        let mut lists = of_classes.chain([&self.failover.read_fallback]);
        lists.any(|list| list.contains(&ReadFallback::LaggingReplicas))
    }

    pub fn replicas(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.declared == Declared::Replica)
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Mode {
    /// Probe, decide, write.
    #[default]
    Enforce,
    /// Probe and decide; write no routes.
    Observe,
    /// Neither probe nor write.
    Suspend,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Strategy {
    #[default]
    RoundRobin,
    /// By the declared weight.
    Weighted,
    /// The less the more sessions a server has for its `maxConnections`.
    LeastConnections,
    /// The client's region first, as [`super::routing::Region`] says.
    Geographic,
}

/// How servers prove that they belong to this database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityRule {
    /// The system identifier that the declared primary shows first.
    Learned,
    /// This system identifier.
    Declared(u64),
    /// Servers that do not tell.
    Unchecked,
}

/// What happens when servers are lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failover {
    /// Who serves reads when no replica can, in order.
    pub read_fallback: Vec<ReadFallback>,
    /// With fewer eligible replicas the fallback is added.
    pub min_healthy: Least,
    pub primary_role: PrimaryRole,
    pub on_primary_loss: OnPrimaryLoss,
    /// A person's word which of two writable servers is the primary.
    pub accept_primary: Option<EndpointId>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum PrimaryRole {
    /// Writes go to whichever endpoint is really the primary.
    #[default]
    Follow,
    /// Writes go to the declared primary, or nowhere.
    Pinned,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum OnPrimaryLoss {
    /// The route stays; clients fail on their own.
    #[default]
    Hold,
    /// The route is emptied: fast refusals.
    Withdraw,
}

/// When a replica is too far behind to serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LagSettings {
    /// The bounds are the endpoint's own, as those of a delayed standby, which is never a fallback.
    pub own: bool,
    pub source: LagSource,
    /// It leaves the routes past this.
    pub max: Duration,
    pub max_bytes: Option<u64>,
    /// It returns at this or below; of the bytes, at the same share of their bound.
    pub recover: Duration,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LagSource {
    /// The primary's history of log positions.
    Wal,
    /// A query on the replica: one value, seconds.
    Query(Arc<str>),
    /// Lag is not judged.
    None,
}

/// Cadence of whole checks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probing {
    /// From one check to the next.
    pub interval: Duration,
    /// From one heartbeat on the held session to the next; `None`: no session is held.
    pub heartbeat: Option<Duration>,
    /// One check, at most.
    pub timeout: Duration,
    /// From the start of the first failed check to the open circuit, at most.
    pub failover_timeout: Duration,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BreakerSettings {
    /// False: an endpoint leaves after the same failures, and returns with its first good check.
    pub enabled: bool,
    /// Consecutive failures that open the circuit, at least 1.
    pub failure_threshold: u32,
    pub reset_timeout: Duration,
    /// What the reset timeout doubles up to, trip by trip; trips longer ago than this no longer count.
    pub max_reset_timeout: Duration,
    /// Good checks from one traffic step to the next, at least 1.
    pub success_threshold: u32,
    /// Rising percentages, at least one.
    pub traffic_steps: Vec<Percent>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Declared {
    Primary,
    Replica,
}

/// A declared server.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub id: EndpointId,
    pub declared: Declared,
    pub display_name: Option<String>,
    /// Where it is; `None` while the Secret with its URL is missing or wrong. Of a Service: its name inside the
    /// cluster, which certificates are checked against.
    pub location: Option<Location>,
    /// The ready pods behind the Service that it names; `None`: it names a host.
    pub pods: Option<Pods>,
    /// How to log in; an error where a Secret is missing or wrong.
    pub login: Result<Arc<Login>, Unresolved>,
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
    /// How clients connect to it.
    pub clients: ClientSettings,
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

    /// Its targets: the one that follows its host, or one for each ready pod.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetId> {
        let id = |pod| TargetId {
            endpoint: self.id.clone(),
            pod,
        };
        match &self.pods {
            None => vec![id(None)],
            Some(pods) => pods
                .ready
                .iter()
                .flatten()
                .map(|pod| id(Some(pod.ip())))
                .collect(),
        }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Location {
    pub host: Host,
    pub port: u16,
}

/// The pods behind a Service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pods {
    /// The name of the Service, in the policy's namespace.
    pub service: String,
    /// Addresses and ports of those that are ready, in ascending order; or why they are not known.
    pub ready: Result<Vec<SocketAddr>, ServiceProblem>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ServiceProblem {
    #[error("does not exist")]
    NotFound,
    #[error("has no such port")]
    PortMissing,
    #[error("is of type ExternalName and has no pods; name its host instead")]
    External,
    #[error("could not be read")]
    Unavailable,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Names of the objects to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outputs {
    /// The prefix of the Services' names; `None`: no Services.
    pub services: Option<String>,
    /// Whether each declared class that reads from replicas has a Service.
    pub per_class: bool,
    /// Whether each region has a Service.
    pub per_region: bool,
    pub config_map: String,
    /// What the ConfigMap holds beside `routing.json`.
    pub formats: Vec<Format>,
}

/// A form of what clients need to connect.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Format {
    Libpq,
    Jdbc,
    /// Environment variables.
    Env,
}

/// What clients need to know to connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientSettings {
    pub database: String,
    pub tls: TlsMode,
    pub connect_timeout: Duration,
}

words!(
    Mode,
    Strategy,
    PrimaryRole,
    OnPrimaryLoss,
    Declared,
    EndpointState,
    Format
);

#[cfg(test)]
mod tests;
