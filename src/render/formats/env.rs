//! Environment variables for `envFrom`: servers as declared, without users and passwords. Times are in milliseconds.
//!
//! `DATABASE_URL` is the server that takes the writes now; a replica that does is not enabled as one.

use std::time::Duration;

use super::libpq::{escaped, server, sslmode};
use distributary_core::ids::EndpointId;
use distributary_core::plan::RoutingPlan;
use distributary_core::policy::{Declared, Endpoint, EndpointState, Policy, Strategy};
use distributary_core::routing::Target;

/// Names and values.
#[must_use]
pub fn variables(policy: &Policy, plan: &RoutingPlan) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut set = |name: String, value: String| variables.push((name, value));
    let writes = plan.rw.members.first().map(|member| &member.target.endpoint);
    let declared = policy
        .endpoints
        .iter()
        .find(|it| it.declared == Declared::Primary);
    let primary = writes.and_then(|id| policy.endpoint(id)).or(declared);
    if let Some(primary) = primary {
        if let Some(url) = url(primary) {
            set("DATABASE_URL".to_owned(), url);
        }
        set(
            "DB_PRIMARY_MAX_CONNECTIONS".to_owned(),
            primary.max_connections.to_string(),
        );
        set(
            "DB_PRIMARY_TIMEOUT".to_owned(),
            millis(primary.clients.connect_timeout),
        );
    }
    for (number, replica) in (1..).zip(policy.replicas()) {
        of_replica(number, replica, writes, &mut set);
    }
    let (routing, breaker) = (&policy.routing, &policy.breaker);
    let reads = routing.default_target != Target::Primary;
    for (name, value) in [
        ("DB_READ_REPLICAS_ENABLED", routing.replicas.to_string()),
        ("DB_DEFAULT_TO_REPLICA", reads.to_string()),
        ("DB_LOAD_BALANCING_STRATEGY", strategy(policy.strategy).to_owned()),
        ("DB_HEALTH_CHECK_INTERVAL", millis(policy.probing.interval)),
        ("DB_FAILOVER_TIMEOUT", millis(policy.probing.failover_timeout)),
        ("DB_RETRY_ATTEMPTS", routing.retry_attempts.to_string()),
        ("DB_CIRCUIT_BREAKER_ENABLED", breaker.enabled.to_string()),
        (
            "DB_CIRCUIT_BREAKER_THRESHOLD",
            breaker.failure_threshold.to_string(),
        ),
        ("DB_CIRCUIT_BREAKER_RESET_TIMEOUT", millis(breaker.reset_timeout)),
    ] {
        set(name.to_owned(), value);
    }
    variables
}

fn of_replica(
    number: usize,
    replica: &Endpoint,
    writes: Option<&EndpointId>,
    set: &mut impl FnMut(String, String),
) {
    if let Some(url) = url(replica) {
        set(format!("DATABASE_READ_REPLICA_{number}_URL"), url);
    }
    if let Some(region) = &replica.region {
        set(format!("DB_REPLICA_{number}_REGION"), region.clone());
    }
    let enabled = replica.state == EndpointState::Active && writes != Some(&replica.id);
    set(format!("DB_REPLICA_{number}_ENABLED"), enabled.to_string());
    set(
        format!("DB_REPLICA_{number}_MAX_CONNECTIONS"),
        replica.max_connections.to_string(),
    );
}

/// `None` while the Secret with its URL cannot be read.
fn url(endpoint: &Endpoint) -> Option<String> {
    let location = endpoint.location.as_ref()?;
    let clients = &endpoint.clients;
    Some(format!(
        "postgresql://{}/{}?sslmode={}",
        server(&location.host, location.port, |address| address.to_string()),
        escaped(&clients.database),
        sslmode(clients.tls)
    ))
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

const fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::RoundRobin => "round_robin",
        Strategy::Weighted => "weighted",
        Strategy::LeastConnections => "least_connections",
        Strategy::Geographic => "geographic",
    }
}
