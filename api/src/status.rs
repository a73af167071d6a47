//! The status of a `ReplicaSetPolicy`: what the operator saw and decided. Written on transitions, never per check.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator observed, decided and wrote.
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
    /// What the choice of the write primary depends on. The operator writes it before NAME-rw leads to another server, and goes
    /// by it after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStatus>,
    /// The number of healthy replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The declared endpoints, each with its role, whether it serves, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub endpoints: Vec<EndpointStatus>,
    /// The routes that are written, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<RoutingStatus>,
    /// The servers of rw, of ro and of each other route that has a Service. In mode Observe: the servers that the route
    /// would have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub routes: Vec<RouteStatus>,
    /// The last 10 times that other servers took over a route or gave it back, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub failovers: Vec<FailoverStatus>,
    /// The time when all checks had ended that the annotation distributary.dev/check-requested-at asked for.
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
    /// The id of the endpoint.
    pub id: String,
    /// The id of the endpoint that is declared as the primary.
    #[serde(default)]
    pub declared: String,
    /// The address that NAME-rw leads to, as decided, or would lead to if the Service had its IP family. While NAME-rw leads nowhere
    /// for another reason: the address of the pod that takes the writes, for an endpoint with serviceRef; otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The highest timeline that a write primary was seen on. A server on an older timeline takes the writes only by
    /// failover.acceptPrimary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// The value of failover.acceptPrimary that the operator obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

/// What the choice of the write primary depends on.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStatus {
    /// The server that takes the writes, or took them last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<HolderStatus>,
    /// The highest timeline that a write primary was seen on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u32>,
    /// The system identifier of this database: declared, or what the declared primary showed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The value of failover.acceptPrimary that the operator obeyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// The servers, as address:port, that became writable while the holder took the writes. The silence of the holder is no
    /// reason to lead the writes to them. Where such a server is a pod that left its Service, or the policy does not route it
    /// for the moment: the id of its endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub contested: Vec<String>,
    /// The Lease of the operator that wrote this, as namespace/name. Absent: an operator without a Lease, or of a version
    /// that does not write this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Counted up by each new leader with the first status that it writes, which comes before its first write of NAME-rw. So that write
    /// changes the version of the policy, and the API server refuses late writes of the status by an earlier leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u32>,
}

impl MemoryStatus {
    /// The choice alone, without who wrote it: what two writers of the same choice agree on.
    #[must_use]
    pub fn choice(&self) -> Self {
        Self {
            author: None,
            term: None,
            ..self.clone()
        }
    }
}

/// The server that takes the writes, or took them last.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderStatus {
    /// The id of the endpoint.
    pub endpoint: String,
    /// The address of its last good check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// The number of healthy replicas.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The number of these that are standbys of a weight other than 0, could be checked, and are well.
    pub healthy_replicas: u32,
    /// The number of endpoints beside the one that takes the writes, other names of one server not counted.
    pub total_replicas: u32,
    /// Both numbers, as `2/3`.
    pub display: String,
    /// The longest of the lags below, with its endpoint, as `9.4 s (replica-2)`. Absent: no lag is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<String>,
}

/// One declared endpoint.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// The id of the endpoint; `primary` for a primary without one.
    pub id: String,
    /// The host as declared, or as the URL names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The address of the last good check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The TCP port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// For several pods, the state of the pod in the worst state.
    #[serde(flatten)]
    pub server: ServerStatus,
    /// While the endpoint is Draining: the number of client sessions left on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// The ready pods of the Service, for an endpoint with serviceRef.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["address".into()]))]
    pub targets: Vec<TargetStatus>,
    /// The time of the last change of any other field of this endpoint.
    pub since: Time,
}

/// One ready pod behind the Service of an endpoint.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The address of the pod.
    pub address: String,
    #[serde(flatten)]
    pub server: ServerStatus,
}

/// The state of one server, and the decision about it.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Primary (writable), Standby (in recovery) or Unknown, by its newest good check.
    pub role: String,
    /// Whether the server takes writes, and was seen as a standby of this database before, so that it may take over the
    /// writes. Of a Service: whether a pod of it was, and none is. Absent: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen_as_standby: bool,
    /// Why the server may not take over the writes; of a standby: if it were promoted. Absent: it may, it is the write primary,
    /// or its role is Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_take_over: Option<String>,
    /// Closed (traffic flows), Open or HalfOpen.
    pub circuit: String,
    /// How often the circuit opened within the last circuitBreaker.maxResetTimeout.
    #[serde(default)]
    pub trips: u32,
    /// The time when an open circuit becomes half-open, if the server answers then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
    /// Whether the server is in a route now.
    pub eligible: bool,
    /// Why the server is in a route, or in none.
    pub reason: String,
    /// Why the server would leave the route, where the reason is Held. Absent: nothing but the route's other servers speaks
    /// against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_despite: Option<String>,
    /// How far behind the server was when another field beside this one changed last; the metric
    /// distributary_endpoint_lag_seconds has the present lag. Absent: the server is no standby, or its lag is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<LagStatus>,
    /// The id of the endpoint under whose name this server is used, where the reason is SameServer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_server_as: Option<String>,
    /// The failure of the newest check, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The SQLSTATE of the failure OtherError, five letters and digits; of several that alternate the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// How many connections to the server its role may have (CONNECTION LIMIT), where they are too few: each Pod of the operator
    /// needs one for a check, and one more for the session that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
    /// How many connections the server has for ordinary roles (max_connections less superuser_reserved_connections and
    /// reserved_connections), where maxConnections of the endpoint is more: pools of that size cannot all be filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable_connections: Option<u32>,
    /// What replicationLag.lagQuery answered, where the reason is LagUnknown because the answer is no number of seconds: NULL, no
    /// row, the value in quotes, or SQLSTATE and its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_answer: Option<String>,
    /// Whether a pooler or proxy answered at this address since the operator started: it said so, or a session went over from
    /// one process of the server to another. Absent: none was noticed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pooler: bool,
    /// Whether the name of the server led back to an address within 10 minutes of having left it, and did so within the last 10
    /// minutes. Its address then leaves once no answer of 60 s has it. Absent: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub name_rotates: bool,
    /// The share of the reads in hundredths: weight 1 with its full share is 100.
    pub effective_weight: u32,
    /// Classes with their own maxLag or probeQuery that do not use the server, or did not recently.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub classes: Vec<ClassStatus>,
}

/// How far behind a standby was, and the bound that it was past.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LagStatus {
    /// In milliseconds, to the tenth of a second, and from 10 s on to the second.
    pub milliseconds: u64,
    /// In bytes of log. Absent: the source of the lag tells no positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether the lag is longer, and not known exactly. Absent: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// The bound in milliseconds that the lag was past: replicationLag.max. Absent: it was past none, or past that in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past_milliseconds: Option<u64>,
    /// The bound in bytes that the lag was past: replicationLag.maxBytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past_bytes: Option<u64>,
    /// The time when the server was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Time>,
}

/// The state of one endpoint or pod for one class with its own maxLag or probeQuery.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    /// The name of the class.
    pub name: String,
    /// Why the class does not use the server. Serving: the class uses it.
    pub reason: String,
    /// The circuit of its probeQuery: Closed, Open or HalfOpen.
    pub circuit: String,
    /// The percentage of the weight that this circuit lets through.
    pub share: u8,
    /// How often this circuit opened within the last circuitBreaker.maxResetTimeout.
    #[serde(default)]
    pub trips: u32,
    /// The time when this circuit becomes half-open, if the server answers the query then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// The servers of one route.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// The name of the route: rw, ro, the name of a class, or ro-REGION.
    pub name: String,
    /// Served, Fallback, Held or Empty.
    pub state: String,
    /// The endpoints in its EndpointSlices, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub endpoints: Vec<String>,
}

/// One time that other servers took over a route, or gave it back.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailoverStatus {
    /// The time of the change.
    pub at: Time,
    /// The name of the route.
    pub route: String,
    /// PrimaryMoved, WritesWithdrawn, ReadFallback, ReadFallbackEnded, RegionLeft or RegionRegained.
    pub kind: String,
    /// The endpoints that served the route before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Vec<String>,
    /// The endpoints that serve the route since then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub to: Vec<String>,
    /// The reasons of the endpoints that left the route.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The routes that are written, and since when.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutingStatus {
    /// SHA-256 of the routing plan, the same in the ConfigMap.
    pub revision: String,
    /// The time when the routes of this revision were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programmed_at: Option<Time>,
    /// The ConfigMap with routing.json.
    pub config_map: String,
    /// The ConfigMap with the environment variables, where outputs.configMap.formats has Env.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}
