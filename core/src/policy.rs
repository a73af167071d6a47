//! A policy that cannot be wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::ids::{ClassName, EndpointId, PolicyKey};
use super::percent::Percent;
use super::routing::{Least, ReadFallback, Routing};
use super::server::{ClientSettings, Location, ServerKey};
use crate::words::words;

/// A policy as it was declared. It upholds what [`InvalidPolicy`] names, and is not changed after it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy(PolicyParts);

/// What a [`Policy`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyParts {
    pub key: PolicyKey,
    /// The uid of the object: an object of the same name made later is another policy.
    pub uid: String,
    pub generation: i64,
    pub mode: Mode,
    /// The declared primary first, then the replicas as declared; ids are unique.
    pub endpoints: Vec<Endpoint>,
    pub identity: IdentityRule,
    pub strategy: Strategy,
    pub routing: Routing,
    pub probing: Probing,
    pub breaker: BreakerSettings,
    pub failover: Failover,
    /// How clients connect, where an endpoint says nothing else.
    pub clients: ClientSettings,
    /// The annotation `distributary.dev/check-requested-at`: when it changes, every server is checked at once.
    pub check_request: Option<String>,
}

/// What must hold of the parts of a policy together, and does not.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPolicy {
    #[error("the first endpoint, and no other, must be the declared primary")]
    Primary,
    #[error("the id {0} of the declared primary must not be that of a replica")]
    IdOfPrimary(EndpointId),
    #[error("the id {id} must be used once")]
    IdTwice {
        id: EndpointId,
        /// Its place among the endpoints.
        at: usize,
    },
    #[error("endpoint {0} must name another server than those before it")]
    SameServer(EndpointId),
    #[error("acceptPrimary must be the id of an endpoint")]
    AcceptedUnknown,
    #[error("servers whose identity is not checked must not be followed")]
    FollowsUnchecked,
    #[error("failureThreshold must be at least 1")]
    FailureThreshold,
    #[error("successThreshold must be at least 1")]
    SuccessThreshold,
    #[error("there must be a traffic step, and each must be above the one before it")]
    TrafficSteps,
    #[error("{threshold} attempts of at least {SHORTEST_ATTEMPT:?} must fit into the failover timeout")]
    Attempts { threshold: u32 },
    #[error("the class {0} must be there once")]
    ClassTwice(ClassName),
    #[error("an operation must be of one class; {0} is of two")]
    OperationTwice(String),
}

impl InvalidPolicy {
    /// Whether the endpoints alone break it.
    #[must_use]
    pub const fn is_of_endpoints(&self) -> bool {
        matches!(
            self,
            Self::Primary | Self::IdOfPrimary(_) | Self::IdTwice { .. } | Self::SameServer(_)
        )
    }
}

impl Policy {
    /// The policy of these parts.
    ///
    /// # Errors
    /// Everything that must hold of them together and does not.
    pub fn new(parts: PolicyParts) -> Result<Self, Vec<InvalidPolicy>> {
        let broken = parts.broken();
        if broken.is_empty() {
            Ok(Self(parts))
        } else {
            Err(broken)
        }
    }
}

impl std::ops::Deref for Policy {
    type Target = PolicyParts;
    fn deref(&self) -> &PolicyParts {
        &self.0
    }
}

/// Tests bend a policy that they hold; the operator cannot.
#[cfg(any(test, feature = "fixture"))]
impl std::ops::DerefMut for Policy {
    fn deref_mut(&mut self) -> &mut PolicyParts {
        &mut self.0
    }
}

impl PolicyParts {
    fn broken(&self) -> Vec<InvalidPolicy> {
        let mut broken = self.broken_endpoints();
        let accepted = self.failover.accept_primary.as_ref();
        if accepted.is_some_and(|id| self.endpoint(id).is_none()) {
            broken.push(InvalidPolicy::AcceptedUnknown);
        }
        if self.identity == IdentityRule::Unchecked && self.failover.primary_role == PrimaryRole::Follow {
            broken.push(InvalidPolicy::FollowsUnchecked);
        }
        broken.extend(self.broken_breaker());
        let threshold = self.breaker.failure_threshold;
        if self.probing.failover_timeout < SHORTEST_ATTEMPT.saturating_mul(threshold) {
            broken.push(InvalidPolicy::Attempts { threshold });
        }
        broken.extend(self.broken_classes());
        broken
    }

    fn broken_breaker(&self) -> impl Iterator<Item = InvalidPolicy> {
        let breaker = &self.breaker;
        let rising = breaker.traffic_steps.windows(2).all(|pair| pair[0] < pair[1]);
        let broken = [
            (breaker.failure_threshold == 0, InvalidPolicy::FailureThreshold),
            (breaker.success_threshold == 0, InvalidPolicy::SuccessThreshold),
            (
                !rising || breaker.traffic_steps.is_empty(),
                InvalidPolicy::TrafficSteps,
            ),
        ];
        broken.into_iter().filter_map(|(is, broken)| is.then_some(broken))
    }

    fn broken_endpoints(&self) -> Vec<InvalidPolicy> {
        let mut broken = Vec::new();
        let primaries = (0_usize..)
            .zip(&self.endpoints)
            .filter(|(_, endpoint)| endpoint.declared == DeclaredRole::Primary);
        if primaries.map(|(at, _)| at).ne([0]) {
            broken.push(InvalidPolicy::Primary);
        }
        let (mut ids, mut servers) = (BTreeSet::new(), BTreeSet::new());
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let (id, primary) = (&endpoint.id, self.endpoints.first());
            if at > 0 && primary.is_some_and(|primary| primary.id == *id) {
                broken.push(InvalidPolicy::IdOfPrimary(id.clone()));
            } else if !ids.insert(id) {
                broken.push(InvalidPolicy::IdTwice { id: id.clone(), at });
            }
            let server = endpoint.server.key().filter(|_| endpoint.is_watched());
            if server.is_some_and(|server| !servers.insert(server)) {
                broken.push(InvalidPolicy::SameServer(endpoint.id.clone()));
            }
        }
        broken
    }

    fn broken_classes(&self) -> Vec<InvalidPolicy> {
        let (mut names, mut operations, mut broken) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for class in &self.routing.classes {
            if !names.insert(&class.name) {
                broken.push(InvalidPolicy::ClassTwice(class.name.clone()));
            }
            let twice = class
                .operations
                .iter()
                .filter(|operation| !operations.insert(operation.as_str()));
            broken.extend(twice.map(|operation| InvalidPolicy::OperationTwice(operation.clone())));
        }
        broken
    }

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
            .filter(|endpoint| endpoint.declared == DeclaredRole::Replica)
    }
}

/// The shortest attempt that a policy can ask for.
pub const SHORTEST_ATTEMPT: Duration = Duration::from_millis(20);

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

words!(
    Mode,
    Strategy,
    PrimaryRole,
    OnPrimaryLoss,
    DeclaredRole,
    EndpointState
);

#[cfg(test)]
mod tests;
