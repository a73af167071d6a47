//! From a policy and its plan to the routing table: the only place where one is made.

use std::time::Duration;

use super::document::{CircuitBreaker, Class, HealthCheck, PolicyName, Region, RoutingTable};
use super::entry::{Connection, Endpoint, Route, RouteTarget, Service};
use super::named::{self, DEFAULT, NamedRoute, SERVICE_PORT, WRITES};
use super::subject::Subject;
use super::word::Version;
use crate::outputs::Outputs;
use crate::plan::Member;
use crate::policy::{BreakerSettings, Policy, Probing};
use crate::resolved::Resolved;
use crate::routing;
use crate::server::ClientSettings;
use crate::{plan, policy};

impl RoutingTable {
    /// Tells a plan. The same plan gives the same table, and so the same revision.
    #[must_use]
    pub fn new(subject: &Subject<'_>) -> Self {
        let Subject {
            policy,
            resolved,
            outputs,
            plan,
        } = *subject;
        let (all, declared) = (named::routes(policy, outputs, plan), &policy.routing);
        let route = |named: &NamedRoute<'_>| (named.name.clone(), route(outputs, named));
        let endpoint = |declared| endpoint(policy, resolved, declared, &all);
        let table = Self {
            version: Version,
            policy: PolicyName {
                namespace: policy.key.namespace.clone(),
                name: policy.key.name.clone(),
            },
            // Of what follows, without it.
            revision: String::new(),
            strategy: policy.strategy,
            connection: connection(&policy.clients),
            replicas: declared.replicas,
            default_destination: declared.default_destination,
            retry_attempts: declared.retry_attempts,
            health_check: Some(health_check(&policy.probing)),
            circuit_breaker: circuit_breaker(&policy.breaker),
            read_fallback: Some(policy.failover.read_fallback.clone()),
            classes: declared.classes.iter().map(class).collect(),
            default_route: DEFAULT.to_owned(),
            priorities: declared.priorities.clone(),
            regions: declared.regions.iter().map(region).collect(),
            routes: all.iter().map(route).collect(),
            endpoints: policy.endpoints.iter().map(endpoint).collect(),
        };
        Self {
            revision: table.digest(),
            ..table
        }
    }
}

fn health_check(probing: &Probing) -> HealthCheck {
    HealthCheck {
        interval_milliseconds: millis(probing.interval),
        failover_timeout_milliseconds: millis(probing.failover_timeout),
    }
}

fn circuit_breaker(settings: &BreakerSettings) -> CircuitBreaker {
    CircuitBreaker {
        enabled: settings.enabled,
        failure_threshold: settings.failure_threshold,
        reset_timeout_milliseconds: millis(settings.reset_timeout),
        max_reset_timeout_milliseconds: millis(settings.max_reset_timeout),
        success_threshold: settings.success_threshold,
        traffic_steps: settings.traffic_steps.iter().map(|step| step.get()).collect(),
    }
}

fn class(class: &routing::Class) -> Class {
    let name = class.name.to_string();
    Class {
        built_in: !class.declared,
        operations: class.operations.clone(),
        destination: class.destination,
        read_fallback: class.read_fallback.clone(),
        route: if class.has_route() {
            name.clone()
        } else {
            WRITES.to_owned()
        },
        name,
    }
}

fn region(region: &routing::Region) -> Region {
    Region {
        name: region.name.clone(),
        failover: region.failover.clone(),
        route: named::of_region(&region.name),
    }
}

fn route(outputs: &Outputs, named: &NamedRoute<'_>) -> Route {
    let plan::Route { state, members } = named.route;
    let prefix = outputs.services.as_ref().filter(|_| named.service);
    Route {
        state: *state,
        targets: members.iter().map(target).collect(),
        service: prefix.map(|prefix| Service {
            name: named::service(prefix, &named.name),
            port: SERVICE_PORT,
        }),
    }
}

fn target(member: &Member) -> RouteTarget {
    RouteTarget {
        endpoint: member.target.endpoint.to_string(),
        address: member.address,
        port: member.port,
        weight: member.weight,
        in_slice: member.in_slice,
        in_uris: (member.in_uris != member.in_slice).then_some(member.in_uris),
        order: member.order,
        admission: member.admission,
    }
}

fn endpoint(
    policy: &Policy,
    resolved: &Resolved,
    declared: &policy::Endpoint,
    routes: &[NamedRoute<'_>],
) -> Endpoint {
    let known = resolved.endpoint(&declared.id);
    let location = known.and_then(|known| known.location.as_ref());
    let clients = known.map_or(&policy.clients, |known| &known.clients);
    let serves = |named: &&NamedRoute<'_>| {
        let mut members = named.route.members.iter();
        members.any(|member| member.target.endpoint == declared.id)
    };
    Endpoint {
        id: declared.id.to_string(),
        display_name: declared.display_name.clone(),
        declared: declared.declared,
        active: declared.is_watched(),
        state: declared.state,
        host: location.map(|location| location.host.to_string()),
        port: location.map(|location| location.port),
        region: declared.region.clone(),
        zone: declared.zone.clone(),
        weight: declared.weight,
        priority: declared.priority,
        max_connections: declared.max_connections,
        tags: declared.tags.clone(),
        dedicated_to: declared.dedicated_to.iter().map(ToString::to_string).collect(),
        connection: connection(clients),
        routes: routes
            .iter()
            .filter(serves)
            .map(|named| named.name.clone())
            .collect(),
    }
}

fn connection(clients: &ClientSettings) -> Connection {
    Connection {
        database: clients.database.clone(),
        sslmode: clients.tls.into(),
        connect_timeout_seconds: clients.connect_timeout.as_secs(),
        connect_timeout_milliseconds: millis(clients.connect_timeout),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
