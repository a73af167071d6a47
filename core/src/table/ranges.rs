//! What must hold of the numbers and names of a table for a reader to go by it: the ranges of the schema, and that the endpoints
//! of targets are there.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::document::RoutingTable;
use super::entry::{Connection, Endpoint, Route, RouteTarget};
use super::named::WRITES;

/// Connections of one client's pool for one server.
const CONNECTIONS: RangeInclusive<u64> = 1..=100_000;
const ENDPOINTS: RangeInclusive<u64> = 1..=65;
const ATTEMPTS: RangeInclusive<u64> = 0..=10;
/// Milliseconds.
const CONNECT_TIMEOUT: RangeInclusive<u64> = 1000..=300_000;
/// Hundredths.
const TARGET_WEIGHT: RangeInclusive<u64> = 1..=100_000;
const WEIGHT: RangeInclusive<u64> = 0..=1000;
const PORT: RangeInclusive<u64> = 1..=65_535;
const PERCENT: RangeInclusive<u64> = 1..=100;
/// Times of checks and circuits in milliseconds: no sum of them overflows.
const TIME: RangeInclusive<u64> = 1..=u32::MAX as u64;
const RESET: RangeInclusive<u64> = 100..=u32::MAX as u64;

/// Why a table of the right form is not gone by.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unusable {
    #[error(
        "cannot read routing.json: a target of the route {route} is of the endpoint {endpoint:?}, which is not there"
    )]
    NoSuchEndpoint { route: String, endpoint: String },
    #[error("cannot read routing.json: {field} must be between {least} and {most}, and is {number}")]
    OutOfRange {
        field: String,
        /// Of a list: how many it has.
        number: u64,
        least: u64,
        most: u64,
    },
}

/// Whether a reader can go by a table.
///
/// # Errors
/// The first number that is out of its range, by its field, or the first target of an endpoint that is not there.
pub(super) fn check(table: &RoutingTable) -> Result<(), Unusable> {
    within("retryAttempts", table.retry_attempts, ATTEMPTS)?;
    within("classes", table.classes.len(), 0..=19)?;
    within("regions", table.regions.len(), 0..=16)?;
    within("endpoints", table.endpoints.len(), ENDPOINTS)?;
    connection("connection", &table.connection)?;
    checks(table)?;
    for (at, it) in table.endpoints.iter().enumerate() {
        endpoint(&format!("endpoints[{at}]"), it)?;
    }
    let known: BTreeSet<_> = table.endpoints.iter().map(|it| it.id.as_str()).collect();
    for (name, it) in &table.routes {
        route(name, it, &known)?;
    }
    Ok(())
}

fn checks(table: &RoutingTable) -> Result<(), Unusable> {
    if let Some(check) = &table.health_check {
        within(
            "healthCheck.intervalMilliseconds",
            check.interval_milliseconds,
            TIME,
        )?;
        let timeout = check.failover_timeout_milliseconds;
        within("healthCheck.failoverTimeoutMilliseconds", timeout, TIME)?;
    }
    let breaker = &table.circuit_breaker;
    let field = |name: &str| format!("circuitBreaker.{name}");
    within(field("failureThreshold"), breaker.failure_threshold, PERCENT)?;
    within(field("successThreshold"), breaker.success_threshold, PERCENT)?;
    let reset = breaker.reset_timeout_milliseconds;
    within(field("resetTimeoutMilliseconds"), reset, RESET)?;
    let most = breaker.max_reset_timeout_milliseconds;
    within(field("maxResetTimeoutMilliseconds"), most, RESET)?;
    within(field("trafficSteps"), breaker.traffic_steps.len(), 1..=8)?;
    for (at, step) in breaker.traffic_steps.iter().enumerate() {
        within(field(&format!("trafficSteps[{at}]")), *step, PERCENT)?;
    }
    Ok(())
}

fn connection(owner: &str, connection: &Connection) -> Result<(), Unusable> {
    let field = format!("{owner}.connectTimeoutMilliseconds");
    within(field, connection.connect_timeout_milliseconds, CONNECT_TIMEOUT)?;
    let field = format!("{owner}.connectTimeoutSeconds");
    within(field, connection.connect_timeout_seconds, 1..=300)
}

fn endpoint(owner: &str, endpoint: &Endpoint) -> Result<(), Unusable> {
    within(
        format!("{owner}.maxConnections"),
        endpoint.max_connections,
        CONNECTIONS,
    )?;
    within(format!("{owner}.weight"), endpoint.weight, WEIGHT)?;
    within(format!("{owner}.priority"), endpoint.priority, WEIGHT)?;
    if let Some(port) = endpoint.port {
        within(format!("{owner}.port"), port, PORT)?;
    }
    connection(&format!("{owner}.connection"), &endpoint.connection)
}

fn route(name: &str, route: &Route, known: &BTreeSet<&str>) -> Result<(), Unusable> {
    if name == WRITES {
        within("routes.rw.targets", route.targets.len(), 0..=1)?;
    }
    for (at, it) in route.targets.iter().enumerate() {
        target(&format!("routes.{name}.targets[{at}]"), it)?;
        if !known.contains(it.endpoint.as_str()) {
            return Err(Unusable::NoSuchEndpoint {
                route: name.to_owned(),
                endpoint: it.endpoint.clone(),
            });
        }
    }
    Ok(())
}

fn target(owner: &str, target: &RouteTarget) -> Result<(), Unusable> {
    within(format!("{owner}.weight"), target.weight, TARGET_WEIGHT)?;
    within(format!("{owner}.port"), target.port, PORT)
}

/// A number, or how many there are of a list.
fn within(
    field: impl Into<String>,
    number: impl TryInto<u64>,
    range: RangeInclusive<u64>,
) -> Result<(), Unusable> {
    let number = number.try_into().unwrap_or(u64::MAX);
    if range.contains(&number) {
        return Ok(());
    }
    Err(Unusable::OutOfRange {
        field: field.into(),
        number,
        least: *range.start(),
        most: *range.end(),
    })
}
