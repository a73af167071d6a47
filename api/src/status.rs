//! The status of a `ReplicaSetPolicy`: what the operator saw and decided. Written on transitions, never per check.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw, decided and wrote.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSetPolicyStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, ResolvedRefs, Programmed, Ready, Degraded, Reconciling, Stalled, PrimaryReachable, ReadFallbackActive,
    /// SplitBrainSuspected and StrategyEnforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The system identifier of this database: declared, or what the declared primary showed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The endpoint that takes the writes, or took them last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<PrimaryStatus>,
    /// How many replicas are healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Each declared endpoint: what it is, whether it serves, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub endpoints: Vec<EndpointStatus>,
    /// What is written, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<RoutingStatus>,
    /// Each route that has a Service, and the two of rw and ro: who serves it. In mode Observe: who would.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub routes: Vec<RouteStatus>,
    /// The last 10 times that others took over, or gave back, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub failovers: Vec<FailoverStatus>,
    /// When every endpoint had been checked that the annotation distributary.dev/check-requested-at asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Time>,
    /// The value of the annotation that checkedAt answers: its first 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_for: Option<String>,
}

/// The endpoint that takes the writes, or took them last.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryStatus {
    /// Its id.
    pub id: String,
    /// The id of the endpoint that is declared as the primary.
    #[serde(default)]
    pub declared: String,
    /// The address that NAME-rw leads to, as decided. While it leads nowhere: of the pod that holds the writes, where it is
    /// behind a Service; otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The highest timeline that a primary was seen on: a server on an older one never takes the writes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// The value of failover.acceptPrimary that was obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

/// How many replicas are healthy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Replicas that serve reads on their own merit.
    pub healthy_replicas: u32,
    /// Declared replicas.
    pub total_replicas: u32,
    /// Both, as `2/3`.
    pub display: String,
}

/// One declared endpoint.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// Its id; `primary` for a primary without one.
    pub id: String,
    /// The host as declared, or as its URL names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The address that its last good check used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Primary (writable), Standby (in recovery) or Unknown, by its newest good check.
    pub role: String,
    /// Whether it takes writes, and was seen as a standby of this database before: it may follow the primary. Absent:
    /// false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen_as_standby: bool,
    /// Closed (traffic flows), Open or HalfOpen.
    pub circuit: String,
    /// How often its circuit opened within the last circuitBreaker.maxResetTimeout.
    #[serde(default)]
    pub trips: u32,
    /// When an open circuit becomes half-open, if the endpoint answers then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// Whether it is in a route now.
    pub eligible: bool,
    /// Why it is, or is not, in a route.
    pub reason: String,
    /// What the newest check failed with, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Its share of the reads in hundredths: weight 1 fully in is 100.
    pub effective_weight: u32,
    /// While it is Draining: client sessions of others that are left on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// Classes that stay away from it by their own maxLag or probeQuery, or did lately; of several pods the one that is
    /// worst off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub classes: Vec<ClassStatus>,
    /// The ready pods behind its Service, where it names one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["address".into()]))]
    pub targets: Vec<TargetStatus>,
    /// Since when all of this is as it is.
    pub since: Time,
}

/// One ready pod behind the Service of an endpoint.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Its address.
    pub address: String,
    /// Primary, Standby or Unknown.
    pub role: String,
    /// Whether it takes writes, and was seen as a standby of this database before. Absent: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen_as_standby: bool,
    /// Closed, Open or HalfOpen.
    pub circuit: String,
    /// How often its circuit opened within the last circuitBreaker.maxResetTimeout.
    #[serde(default)]
    pub trips: u32,
    /// When an open circuit becomes half-open, if the pod answers then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// Whether it is in a route now.
    pub eligible: bool,
    /// Why it is, or is not, in a route.
    pub reason: String,
    /// What the newest check failed with, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Its share of the reads in hundredths.
    pub effective_weight: u32,
    /// Classes that stay away from it by their own maxLag or probeQuery, or did lately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub classes: Vec<ClassStatus>,
}

/// What one class of operations knows of a server by a maxLag or a probeQuery of its own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    /// The name of the class.
    pub name: String,
    /// Why it stays away; Serving: it does not.
    pub reason: String,
    /// The circuit of its probeQuery: Closed, Open or HalfOpen.
    pub circuit: String,
    /// What that circuit lets through, in percent of the weight.
    pub share: u8,
    /// How often that circuit opened within the last circuitBreaker.maxResetTimeout.
    #[serde(default)]
    pub trips: u32,
    /// When that circuit becomes half-open, if the query is answered then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// Who serves one route.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// Its name: rw, ro, that of a class, or ro-REGION.
    pub name: String,
    /// Served, Fallback, Held or Empty.
    pub state: String,
    /// The endpoints in its EndpointSlices, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub endpoints: Vec<String>,
}

/// A time that others took over a route, or gave it back.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailoverStatus {
    /// When.
    pub at: Time,
    /// The name of the route.
    pub route: String,
    /// PrimaryMoved, WritesWithdrawn, ReadFallback, ReadFallbackEnded, RegionLeft or RegionRegained.
    pub kind: String,
    /// The endpoints that served it before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Vec<String>,
    /// The endpoints that serve it since then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub to: Vec<String>,
    /// What was found of those that left it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What is written, and since when.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutingStatus {
    /// SHA-256 of the routing plan, the same in the ConfigMap.
    pub revision: String,
    /// When the routes of this revision were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programmed_at: Option<Time>,
    /// The ConfigMap with routing.json.
    pub config_map: String,
}
