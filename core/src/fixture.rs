//! Policies and samples for the tests of the domain.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::breaker::Circuit;
use super::decision::{EndpointView, TargetView};
use super::health::Reason;
use super::ids::PolicyKey;
use super::login::{Login, TlsMode, TlsSettings};
use super::moment::Moment;
use super::observation::{Lsn, Role, Sample};
use super::percent::Percent;
use super::policy::{
    BreakerSettings, ClientSettings, Declared, Endpoint, EndpointState, Failover, Format, Host, IdentityRule,
    LagSettings, LagSource, Location, Mode, OnPrimaryLoss, Outputs, Policy, PrimaryRole, Probing, Strategy,
};
use super::routing::{Class, Least, ReadFallback, Routing, Selector, Target};

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
            Declared::Primary
        } else {
            Declared::Replica
        },
        display_name: None,
        location: Some(Location {
            host: Host::Address(address(last)),
            port: 5432,
        }),
        pods: None,
        login: Ok(login("distributary")),
        region: None,
        zone: None,
        weight: 1,
        priority: 1,
        max_connections: 15,
        state: EndpointState::Active,
        promotable: true,
        tags: Vec::new(),
        lag: lag(),
        clients: clients(),
    }
}

pub fn probing() -> Probing {
    Probing {
        interval: Duration::from_secs(30),
        heartbeat: Some(Duration::from_secs(2)),
        timeout: Duration::from_secs(2),
        failover_timeout: Duration::from_secs(5),
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
        accept_primary: None,
    }
}

/// A replica that serves, of which nothing else is said.
pub fn view(id: &str) -> EndpointView {
    EndpointView {
        id: id.into(),
        declared: Declared::Replica,
        location: None,
        address: None,
        role: None,
        seen_as_standby: false,
        circuit: Circuit::default(),
        trips: 0,
        eligible: true,
        reason: Reason::Serving,
        failure: None,
        weight: 100,
        healthy: true,
        sessions: None,
        classes: BTreeMap::new(),
        targets: Vec::new(),
    }
}

/// One of its pods.
pub fn pod(last: u8) -> TargetView {
    TargetView {
        address: address(last),
        role: None,
        seen_as_standby: false,
        circuit: Circuit::default(),
        trips: 0,
        eligible: true,
        reason: Reason::Serving,
        failure: None,
        weight: 100,
        healthy: true,
        classes: BTreeMap::new(),
    }
}

/// A class of replicas, and nothing else said of it.
pub fn class(name: &str) -> Class {
    Class {
        name: name.into(),
        declared: true,
        operations: Vec::new(),
        target: Target::Replicas,
        selector: Selector::default(),
        max_lag: None,
        read_fallback: None,
        probe_query: None,
    }
}

/// A primary and replicas of these names, every setting at its default: 198.18.0.1, then .2, .3 and so on.
pub fn policy(replicas: &[&str]) -> Policy {
    let replicas = replicas.iter().zip(2..).map(|(id, last)| endpoint(id, last));
    Policy {
        key: PolicyKey::new("shop", "orders"),
        uid: "uid-1".to_owned(),
        generation: 1,
        mode: Mode::Enforce,
        retain: false,
        endpoints: std::iter::once(endpoint("primary", 1)).chain(replicas).collect(),
        identity: IdentityRule::Learned,
        strategy: Strategy::RoundRobin,
        routing: Routing::default(),
        probing: probing(),
        breaker: breaker(),
        failover: failover(),
        outputs: Outputs {
            services: Some("orders".to_owned()),
            per_class: true,
            per_region: true,
            config_map: "orders-routing".to_owned(),
            formats: vec![Format::Libpq],
        },
        clients: clients(),
        check_request: None,
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
