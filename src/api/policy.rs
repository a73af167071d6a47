//! The spec of a `ReplicaSetPolicy`: what a person writes.
//!
//! Bounds and CEL rules reject at admission what admission can judge; [`crate::validate`] judges the rest. Defaults
//! of list items live in [`crate::validate`], not in the schema: schema defaults in list items leave GitOps tools
//! out of sync for good (argo-cd#28724).

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::duration::DurationText;
use super::endpoint::Endpoint;
use super::rules;
use super::status::ReplicaSetPolicyStatus;

/// Of the active servers that are named by host, no two have the same text and port.
const SAME_SERVER: &str = "!has(self.replicas) || self.replicas.all(a, !has(a.host) || a.?state.orValue('') == 'Disabled' || \
    !(self.primary.?host.orValue('') == a.host && self.primary.?state.orValue('') != 'Disabled' && \
    self.primary.?port.orValue(5432) == a.?port.orValue(5432)) && \
    self.replicas.exists_one(b, b.?host.orValue('') == a.host && b.?state.orValue('') != 'Disabled' && \
    b.?port.orValue(5432) == a.?port.orValue(5432)))";

/// The declared routing of one PostgreSQL primary and its replicas.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "distributary.dev",
    version = "v1alpha1",
    kind = "ReplicaSetPolicy",
    plural = "replicasetpolicies",
    shortname = "rsp",
    category = "postgres",
    namespaced,
    status = "ReplicaSetPolicyStatus",
    derive = "PartialEq",
    doc = "Routes PostgreSQL reads to replicas and writes to the primary. Distributary checks every declared server over the PostgreSQL protocol and keeps the Services NAME-rw and NAME-ro, their EndpointSlices and the ConfigMap NAME-routing in line with what it sees.",
    validation = Rule::new(format!("self.metadata.name.size() <= 40 && self.metadata.name.matches('{}')", rules::DNS_1035_LABEL)).message(rules::NAME),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.summary.display", description = "healthy / declared replicas"),
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.loadBalancing.strategy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.routing.revision", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.replicas) || self.replicas.all(r, r.id != self.primary.?id.orValue('primary'))").message(rules::PRIMARY_ID).field_path(".primary.id"),
    validation = Rule::new(SAME_SERVER).message(rules::SAME_SERVER).field_path(".replicas"),
    validation = Rule::new(rules::attempts_fit()).message(rules::ATTEMPT).field_path(".healthCheck.failoverTimeout")
)]
pub struct ReplicaSetPolicySpec {
    /// What the operator does with this policy. Enforce: probe, decide and write routes. Observe: probe and decide,
    /// report in status, write no routes. Suspend: neither probe nor write; routes stay as they are.
    /// Default: Enforce.
    #[serde(default)]
    pub mode: Mode,
    /// What happens to Services, EndpointSlices and ConfigMap when the policy is deleted. Delete: they go with it.
    /// Retain: they stay. Default: Delete.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How to log in to every server; the `connection` of an endpoint overrides single fields of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// The server that takes writes. It has the fields of a replica; its id is `primary` where none is set. It
    /// serves reads while it is a standby.
    pub primary: Endpoint,
    /// The servers that take reads, at most 64, each with an id of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub replicas: Vec<Endpoint>,
    /// How reads are spread over the replicas.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
    /// How servers are checked.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// When a failing server leaves the routes for a while, and how it returns.
    #[serde(default)]
    pub circuit_breaker: CircuitBreaker,
    /// What serves when servers are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// Which objects are written, and their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Mode {
    #[default]
    Enforce,
    Observe,
    Suspend,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Switch {
    #[default]
    Enabled,
    Disabled,
}

#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancing {
    /// RoundRobin: every replica alike. Weighted: by `weight`. Shares hold for clients and proxies that read
    /// routing.json; kube-proxy spreads connections evenly. Default: RoundRobin.
    #[serde(default)]
    pub strategy: Strategy,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Strategy {
    #[default]
    RoundRobin,
    Weighted,
}

#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Time from one check of a server to the next, 100ms to 1h. A check is a new connection, TLS, login and one
    /// query. Default: 30s.
    #[x_kube(validation = Rule::new(rules::duration_between("100ms", "1h")).message(rules::INTERVAL))]
    #[serde(default = "defaults::interval")]
    pub interval: DurationText,
    /// Longest time of one check, 20ms to 1m. Checks get less so that failureThreshold of them fit into
    /// failoverTimeout. Default: 2s.
    #[x_kube(validation = Rule::new(rules::duration_between("20ms", "1m")).message(rules::TIMEOUT))]
    #[serde(default = "defaults::timeout")]
    pub timeout: DurationText,
    /// Time from the start of the first failed check to the opening of the circuit, at most; 20ms to 10m, and at
    /// least 20ms for each of circuitBreaker.failureThreshold attempts. Default: 5s.
    #[x_kube(validation = Rule::new(rules::duration_between("20ms", "10m")).message(rules::FAILOVER_TIMEOUT))]
    #[serde(default = "defaults::failover_timeout")]
    pub failover_timeout: DurationText,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            interval: defaults::interval(),
            timeout: defaults::timeout(),
            failover_timeout: defaults::failover_timeout(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// Enabled: a server that failed stays out for resetTimeout and returns step by step. Disabled: it leaves after
    /// the same failures and returns with its first good check. Default: Enabled.
    #[serde(default)]
    pub state: Switch,
    /// Consecutive failed checks that open the circuit, 1 to 100. Default: 5.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "defaults::failure_threshold")]
    pub failure_threshold: u32,
    /// Time that an open circuit stays open before a good check makes it half-open, 100ms to 1h. Default: 60s.
    #[x_kube(validation = Rule::new(rules::duration_between("100ms", "1h")).message(rules::RESET_TIMEOUT))]
    #[serde(default = "defaults::reset_timeout")]
    pub reset_timeout: DurationText,
    /// How traffic returns.
    #[serde(default)]
    pub half_open: HalfOpen,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            state: Switch::Enabled,
            failure_threshold: defaults::failure_threshold(),
            reset_timeout: defaults::reset_timeout(),
            half_open: HalfOpen::default(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HalfOpen {
    /// Good checks in a row that lead from one traffic step to the next, 1 to 100. Default: 3.
    #[schemars(range(min = 1, max = 100))]
    #[serde(default = "defaults::success_threshold")]
    pub success_threshold: u32,
    /// Percent of its weight that a returning server gets, step by step: 1 to 8 rising percentages from 1 to 100.
    /// In an EndpointSlice, which knows no shares, it is from the last step on. Default: [10, 50].
    #[schemars(length(min = 1, max = 8), inner(range(min = 1, max = 100)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(validation = Rule::new("self.isSorted() && self.all(a, self.exists_one(b, b == a))").message(rules::TRAFFIC_STEPS))]
    #[serde(default = "defaults::traffic_steps")]
    pub traffic_steps: Vec<u8>,
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self {
            success_threshold: defaults::success_threshold(),
            traffic_steps: defaults::traffic_steps(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Who serves reads when no replica can: Primary, or nobody where the list is empty. Default where it is absent:
    /// [Primary].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub read_fallback: Option<Vec<ReadFallback>>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ReadFallback {
    Primary,
}

#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// The Services NAME-rw and NAME-ro and their EndpointSlices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesOutput>,
    /// The ConfigMap with routing.json and the connection URIs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapOutput>,
}

#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicesOutput {
    /// Whether Services and EndpointSlices are written. Disabled removes them. Default: Enabled.
    #[serde(default)]
    pub state: Switch,
    /// What the names of the Services begin with, a DNS-1035 label of at most 40 characters: PREFIX-rw and PREFIX-ro.
    /// Default: the name of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new(rules::form(rules::DNS_1035_LABEL)).message(rules::NAME_PREFIX))]
    pub name_prefix: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapOutput {
    /// The name of the ConfigMap. Default: the name of the policy and `-routing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::form(rules::DNS_1123_SUBDOMAIN)).message(rules::CONFIG_MAP_NAME))]
    pub name: Option<String>,
}

/// The defaults of fields outside lists, in the schema and for objects that never met it.
mod defaults {
    use super::DurationText;

    pub fn interval() -> DurationText {
        "30s".into()
    }
    pub fn timeout() -> DurationText {
        "2s".into()
    }
    pub fn failover_timeout() -> DurationText {
        "5s".into()
    }
    pub fn failure_threshold() -> u32 {
        5
    }
    pub fn reset_timeout() -> DurationText {
        "60s".into()
    }
    pub fn success_threshold() -> u32 {
        3
    }
    pub fn traffic_steps() -> Vec<u8> {
        vec![10, 50]
    }
}
