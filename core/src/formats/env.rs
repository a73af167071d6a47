//! Environment variables for `envFrom`: servers as declared, without users and passwords. Times are in milliseconds.
//!
//! `DATABASE_URL` is the server that takes the writes now; a replica that does is not enabled as one. Nor is one that is dedicated to
//! classes: programs that know these variables send it any read.

use super::document::Document;
use super::uri::{escaped, server};
use crate::policy::{DeclaredRole, EndpointState, Strategy};
use crate::routing::DefaultDestination;
use crate::table::named::WRITES;
use crate::table::{Endpoint, HealthCheck, RoutingTable};

/// A document for each variable: its name and its value.
pub fn documents(table: &RoutingTable) -> Vec<Document> {
    let writes = writes(table);
    let mut documents = of_primary(table, writes);
    let replicas = table
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.declared == DeclaredRole::Replica);
    for (number, replica) in (1_usize..).zip(replicas) {
        documents.extend(of_replica(number, replica, writes));
    }
    documents.extend(of_policy(table));
    documents
}

/// The id of the endpoint that takes the writes.
fn writes(table: &RoutingTable) -> Option<&str> {
    let target = table.routes.get(WRITES)?.targets.first()?;
    Some(&target.endpoint)
}

fn of_primary(table: &RoutingTable, writes: Option<&str>) -> Vec<Document> {
    let holder = writes.and_then(|id| table.endpoints.iter().find(|it| it.id == id));
    let declared = || {
        table
            .endpoints
            .iter()
            .find(|it| it.declared == DeclaredRole::Primary)
    };
    let Some(primary) = holder.or_else(declared) else {
        return Vec::new();
    };
    let (most, timeout) = (
        primary.max_connections,
        primary.connection.connect_timeout_milliseconds,
    );
    let mut documents = vec![
        Document::new("DB_PRIMARY_MAX_CONNECTIONS", most.to_string()),
        Document::new("DB_PRIMARY_TIMEOUT", timeout.to_string()),
    ];
    documents.extend(url(primary).map(|url| Document::new("DATABASE_URL", url)));
    documents
}

fn of_replica(number: usize, replica: &Endpoint, writes: Option<&str>) -> Vec<Document> {
    let general = replica.dedicated_to.is_empty();
    let enabled = replica.state == EndpointState::Active && writes != Some(&replica.id) && general;
    let set = |name: &str, value| Document::new(format!("DB_REPLICA_{number}_{name}"), value);
    let mut documents = vec![
        set("ENABLED", enabled.to_string()),
        set("MAX_CONNECTIONS", replica.max_connections.to_string()),
    ];
    documents.extend(replica.region.clone().map(|region| set("REGION", region)));
    documents.extend((!general).then(|| set("DEDICATED_TO", replica.dedicated_to.join(","))));
    let name = format!("DATABASE_READ_REPLICA_{number}_URL");
    documents.extend(url(replica).map(|url| Document::new(name, url)));
    documents
}

fn of_policy(table: &RoutingTable) -> Vec<Document> {
    let breaker = &table.circuit_breaker;
    let reads = table.default_destination == DefaultDestination::Replicas;
    let mut documents = [
        ("DB_READ_REPLICAS_ENABLED", table.replicas.to_string()),
        ("DB_DEFAULT_TO_REPLICA", reads.to_string()),
        ("DB_LOAD_BALANCING_STRATEGY", strategy(table.strategy).to_owned()),
        ("DB_RETRY_ATTEMPTS", table.retry_attempts.to_string()),
        ("DB_CIRCUIT_BREAKER_ENABLED", breaker.enabled.to_string()),
        (
            "DB_CIRCUIT_BREAKER_THRESHOLD",
            breaker.failure_threshold.to_string(),
        ),
        (
            "DB_CIRCUIT_BREAKER_RESET_TIMEOUT",
            breaker.reset_timeout_milliseconds.to_string(),
        ),
    ]
    .map(|(name, value)| Document::new(name, value))
    .to_vec();
    documents.extend(table.health_check.iter().flat_map(of_checks));
    documents
}

fn of_checks(check: &HealthCheck) -> [Document; 2] {
    let (interval, timeout) = (check.interval_milliseconds, check.failover_timeout_milliseconds);
    [
        Document::new("DB_HEALTH_CHECK_INTERVAL", interval.to_string()),
        Document::new("DB_FAILOVER_TIMEOUT", timeout.to_string()),
    ]
}

/// `None` while the Secret with its URL cannot be read.
fn url(endpoint: &Endpoint) -> Option<String> {
    let server = server(endpoint.host.as_deref()?, endpoint.port?);
    let clients = &endpoint.connection;
    Some(format!(
        "postgresql://{server}/{}?sslmode={}",
        escaped(&clients.database),
        clients.sslmode
    ))
}

const fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::RoundRobin => "round_robin",
        Strategy::Weighted => "weighted",
        Strategy::LeastConnections => "least_connections",
        Strategy::Geographic => "geographic",
    }
}
