//! Policies and samples for tests.

#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "for tests alone"
)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use super::breaker::Circuit;
use super::cluster::Cluster;
use super::decision::{ClassView, Decision, DecisionState, EndpointView, TargetState, TargetView};
use super::health::Reason;
use super::ids::{EndpointId, PolicyKey};
use super::login::{Login, TlsMode, TlsSettings};
use super::moment::Moment;
use super::observation::{Lsn, Role, Sample};
use super::outputs::{Format, ObjectMetadata, Outputs};
use super::percent::Percent;
use super::policy::{
    BreakerSettings, DeclaredRole, DeclaredServer, Endpoint, EndpointState, Failover, IdentityRule,
    LagSettings, LagSource, Mode, OnPrimaryLoss, OnReadLoss, Policy, PolicyParts, PrimaryRole, Probing,
    Strategy,
};
use super::resolved::{Resolved, ResolvedEndpoint};
use super::routing::{Class, Destination, Least, ReadFallback, Routing, Selector};
use super::server::{ClientSettings, Host, Location};
use super::world::{CircuitMemory, ClassMemory, Event, Memory, TargetMemory};

/// The system identifier of the database.
pub const SYSTEM: u64 = 7;

pub fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

pub fn address(last: u8) -> IpAddr {
    IpAddr::from([198, 18, 0, last])
}

pub fn login(user: &str) -> Arc<Login> {
    Arc::new(Login {
        user: user.to_owned(),
        password: None,
        database: "postgres".to_owned(),
        tls: TlsSettings {
            mode: TlsMode::VerifyFull,
            ca: None,
            client: None,
        },
        hosts: None,
    })
}

pub fn clients() -> ClientSettings {
    ClientSettings {
        database: "postgres".to_owned(),
        tls: TlsMode::VerifyFull,
        connect_timeout: Duration::from_secs(10),
    }
}

/// Lag at its defaults: out past 30 s, back at 15 s.
pub fn lag() -> LagSettings {
    LagSettings {
        own: false,
        source: LagSource::Wal,
        max: Duration::from_secs(30),
        max_bytes: None,
        recover: Duration::from_secs(15),
    }
}

/// `primary` is the declared one, every other id a replica; at 198.18.0.`last`.
pub fn endpoint(id: &str, last: u8) -> Endpoint {
    Endpoint {
        id: id.into(),
        declared: if id == "primary" {
            DeclaredRole::Primary
        } else {
            DeclaredRole::Replica
        },
        display_name: None,
        server: DeclaredServer::Host(location(last)),
        region: None,
        zone: None,
        weight: 1,
        priority: 1,
        max_connections: 15,
        state: EndpointState::Active,
        promotable: true,
        tags: Vec::new(),
        dedicated_to: Vec::new(),
        lag: lag(),
    }
}

/// Port 5432 of 198.18.0.`last`.
pub fn location(last: u8) -> Location {
    Location {
        host: Host::Address(address(last)),
        port: 5432,
    }
}

/// What is looked up for a server at this place: a login, and no pods.
pub fn resolved(location: Location) -> ResolvedEndpoint {
    ResolvedEndpoint {
        location: Some(location),
        pods: None,
        login: Ok(login("distributary")),
        further: Vec::new(),
        clients: clients(),
    }
}

/// What a policy is made of, to be changed, with what is looked up for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    parts: PolicyParts,
    /// By endpoint; one that is not here is resolved by its host.
    pub looked_up: BTreeMap<EndpointId, ResolvedEndpoint>,
    pub cluster: Cluster,
}

impl Deref for Case {
    type Target = PolicyParts;
    fn deref(&self) -> &PolicyParts {
        &self.parts
    }
}

impl DerefMut for Case {
    fn deref_mut(&mut self) -> &mut PolicyParts {
        &mut self.parts
    }
}

impl Case {
    #[must_use]
    pub fn new(parts: PolicyParts, looked_up: BTreeMap<EndpointId, ResolvedEndpoint>) -> Self {
        Self {
            parts,
            looked_up,
            cluster: Cluster::default(),
        }
    }

    /// What is looked up for an endpoint, to be changed.
    pub fn of(&mut self, id: &str) -> &mut ResolvedEndpoint {
        let id = EndpointId::from(id);
        let usual = self.usual(&id);
        self.looked_up.entry(id).or_insert(usual)
    }

    fn usual(&self, id: &EndpointId) -> ResolvedEndpoint {
        let server = self.endpoint(id).map(|endpoint| &endpoint.server);
        match server {
            Some(DeclaredServer::Host(location)) => resolved(location.clone()),
            _ => panic!("{id} is declared by no host"),
        }
    }

    /// The policy of its parts, which must fit together.
    pub fn policy(&self) -> Arc<Policy> {
        let policy = Policy::new(self.parts.clone());
        Arc::new(policy.unwrap_or_else(|broken| panic!("{broken:?}")))
    }

    pub fn resolved(&self) -> Arc<Resolved> {
        let endpoint = |endpoint: &Endpoint| {
            let known = self.looked_up.get(&endpoint.id).cloned();
            (
                endpoint.id.clone(),
                known.unwrap_or_else(|| self.usual(&endpoint.id)),
            )
        };
        let endpoints = self.endpoints.iter().map(endpoint).collect();
        Arc::new(Resolved::new(endpoints, self.cluster.clone()))
    }

    /// The event that it is new, or changed.
    pub fn changed(&self, memory: Memory) -> Event {
        Event::PolicyChanged {
            policy: self.policy(),
            resolved: self.resolved(),
            memory,
        }
    }

    /// A decision about it.
    pub fn decision(&self, state: DecisionState) -> Decision {
        Decision {
            policy: self.policy(),
            resolved: self.resolved(),
            state,
            answered: None,
            recalled: 0,
        }
    }
}

pub fn probing() -> Probing {
    Probing {
        interval: Duration::from_secs(30),
        heartbeat: Some(Duration::from_secs(2)),
        timeout: Duration::from_secs(2),
        failover_timeout: Duration::from_secs(5),
        least: Duration::ZERO,
        declared: None,
    }
}

pub fn breaker() -> BreakerSettings {
    BreakerSettings {
        enabled: true,
        failure_threshold: 5,
        reset_timeout: Duration::from_secs(60),
        max_reset_timeout: Duration::from_mins(10),
        success_threshold: 3,
        traffic_steps: vec![Percent::new(10), Percent::new(50)],
    }
}

pub fn failover() -> Failover {
    Failover {
        read_fallback: vec![ReadFallback::Primary],
        min_healthy: Least::Count(1),
        primary_role: PrimaryRole::Follow,
        on_primary_loss: OnPrimaryLoss::Hold,
        on_read_loss: OnReadLoss::Hold,
        accept_primary: None,
    }
}

/// A server that serves, of which nothing else is said.
pub fn serving() -> TargetState {
    TargetState {
        eligible: true,
        weight: 100,
        ..TargetState::unknown(Reason::Serving)
    }
}

/// A replica that serves, of which nothing else is said.
pub fn view(id: &str) -> EndpointView {
    EndpointView {
        id: id.into(),
        declared: DeclaredRole::Replica,
        location: None,
        address: None,
        state: serving(),
        healthy: true,
        sessions: None,
        targets: Vec::new(),
    }
}

/// One of its pods.
pub fn pod(last: u8) -> TargetView {
    TargetView {
        address: address(last),
        state: serving(),
        healthy: true,
    }
}

/// What a process that begins at `now`, with a clock of its own, remembers of a server.
pub fn remembered(address: Option<IpAddr>, state: &TargetState, now: Moment) -> TargetMemory {
    let class = |view: &ClassView| ClassMemory {
        reason: Some(view.reason),
        circuit: Some(circuit_memory(view.circuit, now)),
        share: view.share,
        trips: view.trips,
    };
    let classes = state.classes.iter();
    TargetMemory {
        address,
        role: state.role,
        seen_as_standby: state.seen_as_standby,
        circuit: Some(circuit_memory(state.circuit, now)),
        trips: state.trips,
        eligible: state.eligible,
        reason: Some(state.reason),
        weight: state.weight,
        classes: classes.map(|(name, view)| (name.clone(), class(view))).collect(),
    }
}

fn circuit_memory(circuit: Circuit, now: Moment) -> CircuitMemory {
    match circuit {
        Circuit::Closed { .. } => CircuitMemory::Closed,
        Circuit::Open { until } => CircuitMemory::Open {
            until: Moment::new(until.since(now)),
        },
        Circuit::HalfOpen { .. } => CircuitMemory::HalfOpen,
    }
}

/// A class of replicas, and nothing else said of it.
pub fn class(name: &str) -> Class {
    Class {
        name: name.into(),
        declared: true,
        operations: Vec::new(),
        destination: Destination::Replicas,
        selector: Selector::default(),
        max_lag: None,
        read_fallback: None,
        probe_query: None,
    }
}

/// A primary and replicas of these names, every setting at its default: 198.18.0.1, then .2, .3 and so on.
pub fn policy(replicas: &[&str]) -> Case {
    let replicas = replicas.iter().zip(2..).map(|(id, last)| endpoint(id, last));
    let parts = PolicyParts {
        key: PolicyKey::new("shop", "orders"),
        uid: "uid-1".to_owned(),
        generation: 1,
        mode: Mode::Enforce,
        endpoints: std::iter::once(endpoint("primary", 1)).chain(replicas).collect(),
        identity: IdentityRule::Learned,
        strategy: Strategy::RoundRobin,
        routing: Routing::default(),
        probing: probing(),
        breaker: breaker(),
        failover: failover(),
        clients: clients(),
        check_request: None,
    };
    Case::new(parts, BTreeMap::new())
}

/// Everything is written, the URIs of libpq among it.
pub fn outputs() -> Outputs {
    Outputs {
        retain: false,
        services: Some("orders".to_owned()),
        per_class: true,
        per_region: true,
        config_map: "orders-routing".to_owned(),
        environment: "orders-env".to_owned(),
        formats: vec![Format::Libpq],
        metadata: ObjectMetadata::default(),
    }
}

/// A server of the database on timeline 1, all of whose log is at `lsn`.
pub fn sample_at(role: Role, lsn: u64) -> Sample {
    Sample {
        lsn: Some(Lsn(lsn)),
        received: (role == Role::Standby).then_some(Lsn(lsn)),
        system_identifier: Some(SYSTEM),
        timeline: Some(1),
        ..Sample::of(role)
    }
}

/// The same at one position for all, so that nobody lags.
pub fn sample(role: Role) -> Sample {
    sample_at(role, 1000)
}
