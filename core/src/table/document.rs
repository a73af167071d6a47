//! The whole of `routing.json`: what holds for every route.
//!
//! Names and words are published: one that is here stays. Doc comments are the descriptions of the schema.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::entry::{Connection, Endpoint, Route};
use super::word::Version;
use crate::policy::Strategy;
use crate::routing::{DefaultDestination, Destination, Priority, PriorityDestination, ReadFallback};

/// The key routing.json of the ConfigMap NAME-routing: who serves writes and who serves reads now, for clients that route by themselves. It changes only when a decision changes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(title = "routing.json")
)]
#[serde(rename_all = "camelCase")]
pub struct RoutingTable {
    /// The version of this form. A change that breaks a reader takes a new one.
    pub version: Version,
    /// The ReplicaSetPolicy that this document tells of.
    pub policy: PolicyName,
    /// SHA-256 of the rest of the document, in hexadecimal; the same as status.routing.revision. It changes if and only if something else here does. The rest is hashed as UTF-8 without space between tokens, the keys of each object in ascending order.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[0-9a-f]{64}$")))]
    pub revision: String,
    /// What the weights of the targets come from. RoundRobin: all alike, but for those that return. Weighted: what is declared. LeastConnections: how much of a server is used. Geographic: all alike; take the route of the client's region.
    pub strategy: Strategy,
    /// How clients should connect, where an endpoint says nothing else.
    pub connection: Connection,
    /// False: replicas are switched off, and every route leads to the primary.
    pub replicas: bool,
    /// Who serves the reads that no class names. Their routes have obeyed it already.
    #[cfg_attr(
        feature = "schema",
        schemars(schema_with = "super::schema::default_destination")
    )]
    #[serde(rename = "defaultTarget")]
    pub default_destination: DefaultDestination,
    /// How often to try another target of a route after one failed.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 10)))]
    pub retry_attempts: u8,
    /// How the servers are checked.
    // Version 0.1.0 did not tell it.
    #[cfg_attr(feature = "schema", schemars(with = "HealthCheck"))]
    pub health_check: Option<HealthCheck>,
    /// How a client that has circuits of its own should set them.
    pub circuit_breaker: CircuitBreaker,
    /// Who serves reads where too few replicas can, in this order. The routes have obeyed it already; a client to which no target of a route answers goes on with rw where Primary is here, unless the class of the request is ReplicasOnly.
    // Earlier versions did not tell it.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<ReadFallback>"))]
    #[serde(default, deserialize_with = "known_fallbacks")]
    pub read_fallback: Option<Vec<ReadFallback>>,
    /// Kinds of operations, by name: write, primary-preferred and analytics where the policy declares nothing else.
    #[cfg_attr(feature = "schema", schemars(length(max = 19)))]
    pub classes: Vec<Class>,
    /// The route of reads that no class names: a key of routes.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Word"))]
    pub default_route: String,
    /// For reads of a priority, whatever the route of their class. Primary: rw. PrimaryPreferred: rw while its state is Served, else that route. Replicas: that route. Operations of a class whose target is Primary have no other route.
    #[serde(deserialize_with = "known_priorities")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "super::schema::priorities"))]
    pub priorities: BTreeMap<Priority, PriorityDestination>,
    /// The regions that have a route, as declared, then those of endpoints.
    #[cfg_attr(feature = "schema", schemars(length(max = 16)))]
    pub regions: Vec<Region>,
    /// The routes, by the suffix of their Service: rw, ro, the name of each class that may read from replicas, and ro-REGION.
    #[cfg_attr(feature = "schema", schemars(schema_with = "super::schema::routes"))]
    pub routes: BTreeMap<String, Route>,
    /// Every declared endpoint, the primary first, then the replicas as declared.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 65)))]
    pub endpoints: Vec<Endpoint>,
}

/// Names a policy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub struct PolicyName {
    /// Its namespace.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub namespace: String,
    /// Its name.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub name: String,
}

/// Cadence of checks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// From one check of a server to the next, in milliseconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub interval_milliseconds: u64,
    /// From the start of the first failed check of a server until it is out of the routes, at most, in milliseconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub failover_timeout_milliseconds: u64,
}

/// Settings of circuits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// False: no circuit opens.
    pub enabled: bool,
    /// Consecutive failures that open the circuit.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub failure_threshold: u32,
    /// How long it stays open at first, in milliseconds; twice as long after each further trip.
    #[cfg_attr(feature = "schema", schemars(range(min = 100)))]
    pub reset_timeout_milliseconds: u64,
    /// How long it stays open at most, in milliseconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 100)))]
    pub max_reset_timeout_milliseconds: u64,
    /// Successes from one traffic step to the next while it is half-open.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    pub success_threshold: u32,
    /// Percentages of its weight that a server gets while its circuit is half-open, in order.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = 8), inner(range(min = 1, max = 100)))
    )]
    pub traffic_steps: Vec<u8>,
}

/// A kind of operations.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Class {
    /// Its name.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Word"))]
    pub name: String,
    /// True: the policy does not declare it. Its route has a Service and URIs only where an endpoint is dedicated to it.
    pub built_in: bool,
    /// Names of the operations that belong to it and to no other class.
    #[cfg_attr(
        feature = "schema",
        schemars(inner(length(min = 1)), extend("uniqueItems" = true))
    )]
    pub operations: Vec<String>,
    /// Who serves it: Primary; PrimaryPreferred, the primary while it is well; Replicas, or the fallback; ReplicasOnly, and never the primary. The route has obeyed it already.
    #[serde(rename = "target")]
    pub destination: Destination,
    /// In place of readFallback of the document; absent: the class says nothing of it.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<ReadFallback>"))]
    #[serde(
        default,
        deserialize_with = "known_fallbacks",
        skip_serializing_if = "Option::is_none"
    )]
    pub read_fallback: Option<Vec<ReadFallback>>,
    /// Its route: a key of routes.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Word"))]
    pub route: String,
}

/// A region with a route of its own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub struct Region {
    /// Its name.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Word"))]
    pub name: String,
    /// The regions that take over first, in this order; the order of the targets has obeyed it already.
    #[cfg_attr(
        feature = "schema",
        schemars(inner(length(min = 1)), extend("uniqueItems" = true))
    )]
    pub failover: Vec<String>,
    /// The route of reads from it that no class names: a key of routes.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Word"))]
    pub route: String,
}

/// Those that this version knows.
fn known_fallbacks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<ReadFallback>>, D::Error> {
    let all = Option::<Vec<String>>::deserialize(deserializer)?;
    let known = |words: Vec<String>| {
        let known = words.iter().filter_map(|word| ReadFallback::from_word(word));
        known.collect()
    };
    Ok(all.map(known))
}

/// Those that this version knows: a reader passes over the others.
fn known_priorities<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Priority, PriorityDestination>, D::Error> {
    let all = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let known = |(word, destination): (String, Value)| Some((Priority::from_word(&word)?, destination));
    let read = |(priority, destination)| {
        let destination = PriorityDestination::deserialize(destination).map_err(D::Error::custom)?;
        Ok((priority, destination))
    };
    all.into_iter().filter_map(known).map(read).collect()
}
