//! The spec of a `ReplicaSetPolicy`: what a person writes.
//!
//! Bounds and CEL rules reject at admission what admission can judge; [`crate::validate`] judges the rest. Defaults
//! of list items live in [`crate::validate`], not in the schema: schema defaults in list items leave GitOps tools
//! out of sync for good (argo-cd#28724).

use std::collections::BTreeMap;

use distributary_core::outputs::Format;

use distributary_core::policy::{Mode, Strategy};
use distributary_core::routing::ZoneHints;
#[cfg(feature = "kube")]
use kube::{CustomResource, KubeSchema};
#[cfg(feature = "kube")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checks::{CircuitBreaker, HealthCheck};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::failover::{Failover, Identity};
use super::lag::ReplicationLag;
use super::routing::{Region, Routing};
use super::rules;
#[cfg(feature = "kube")]
use super::status::ReplicaSetPolicyStatus;

/// The annotation that asks for a check of every endpoint at once: any text, of which the first 64 characters count.
pub const CHECK_REQUESTED_AT: &str = "distributary.dev/check-requested-at";

/// The label that tells whose an object is, which no policy sets: one of the recommended labels of Kubernetes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The declared routing of one PostgreSQL primary and its replicas.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(CustomResource, KubeSchema))]
#[cfg_attr(feature = "kube", kube(
    group = "distributary.dev",
    version = "v1alpha1",
    kind = "ReplicaSetPolicy",
    plural = "replicasetpolicies",
    shortname = "rsp",
    category = "postgres",
    namespaced,
    status = "ReplicaSetPolicyStatus",
    derive = "PartialEq",
    doc = "Routes PostgreSQL reads to replicas and writes to the primary. Distributary checks every declared server over the PostgreSQL protocol and keeps the Services NAME-rw and NAME-ro, the Services of its classes and regions, all their EndpointSlices and the ConfigMap NAME-routing in line with what it sees.",
    validation = Rule::new(format!("self.metadata.name.size() <= 40 && self.metadata.name.matches('{}')", rules::DNS_1035_LABEL)).message(rules::NAME),
    validation = Rule::new(rules::primary_is_no_own_service()).message(rules::OWN_SERVICE).field_path(".spec.primary"),
    validation = Rule::new(rules::replicas_are_no_own_service()).message(rules::OWN_SERVICE).field_path(".spec.replicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.primary.id", description = "endpoint that takes the writes, or took them last"),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.summary.display", description = "healthy / all servers beside the one that takes the writes"),
    printcolumn(name = "Degraded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Degraded\")].status", description = "whether a server is not as it was declared"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Strategy", type_ = "string", json_path = ".spec.loadBalancing.strategy", priority = 1),
    printcolumn(name = "Lag", type_ = "string", json_path = ".status.summary.lag", description = "longest lag of a standby when its state changed last", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.routing.revision", priority = 1)
))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(
    validation = Rule::new("!has(self.replicas) || self.replicas.all(r, r.id != self.primary.?id.orValue('primary'))").message(rules::PRIMARY_ID).field_path(".primary.id"),
    validation = Rule::new(rules::distinct_servers("host", "port")).message(rules::SAME_SERVER).field_path(".replicas"),
    validation = Rule::new(rules::distinct_servers("serviceRef.name", "serviceRef.port")).message(rules::SAME_SERVER).field_path(".replicas"),
    validation = Rule::new(rules::attempts_fit()).message(rules::ATTEMPT).field_path(".healthCheck.failoverTimeout"),
    validation = Rule::new("!has(self.identity) || self.identity.check != 'None' || (has(self.failover) && self.failover.primaryRole == 'Pinned')").message(rules::PINNED).field_path(".failover.primaryRole"),
    validation = Rule::new(rules::accepted_is_declared()).message(rules::ACCEPT_PRIMARY).field_path(".failover.acceptPrimary"),
    validation = Rule::new(rules::regions_name_services()).message(rules::GEOGRAPHIC).field_path(".loadBalancing.strategy"),
    validation = Rule::new(rules::recover_fits_default()).message(rules::RECOVER).field_path(".replicationLag.recover"),
    validation = Rule::new(rules::recover_fits("self.primary")).message(rules::RECOVER).field_path(".primary.replicationLag.recover"),
    validation = Rule::new(rules::of_replicas(&rules::recover_fits("r"))).message(rules::RECOVER).field_path(".replicas"),
    validation = Rule::new(rules::query_has_source()).message(rules::LAG_QUERY_NEEDS_SOURCE).field_path(".replicationLag.lagQuery"),
    validation = Rule::new(rules::own_query_has_source("self.primary")).message(rules::LAG_QUERY_NEEDS_SOURCE).field_path(".primary.replicationLag.lagQuery"),
    validation = Rule::new(rules::of_replicas(&rules::own_query_has_source("r"))).message(rules::LAG_QUERY_NEEDS_SOURCE).field_path(".replicas"),
    validation = Rule::new(rules::source_has_query()).message(rules::LAG_QUERY_MISSING).field_path(".replicationLag.lagQuery"),
    validation = Rule::new(rules::own_source_has_query("self.primary")).message(rules::LAG_QUERY_MISSING).field_path(".primary.replicationLag.lagQuery"),
    validation = Rule::new(rules::of_replicas(&rules::own_source_has_query("r"))).message(rules::LAG_QUERY_MISSING).field_path(".replicas")
))]
pub struct ReplicaSetPolicySpec {
    /// What the operator does with this policy. Enforce: it checks servers, decides, and writes routes. Observe: it
    /// checks and decides, reports in the status, and writes no routes. Suspend: it neither checks nor writes; the
    /// routes stay as they are. Default: Enforce.
    #[serde(default)]
    pub mode: Mode,
    /// What happens to Services, EndpointSlices and ConfigMap when the policy is deleted. Delete: they are deleted too.
    /// Retain: they stay. Default: Delete.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How servers prove that they belong to this database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// How the operator logs in to every server; the `connection` of an endpoint overrides single fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// The server that takes writes. It has the fields of a replica; its id is `primary` unless id is set. While it is
    /// a standby, it serves reads.
    pub primary: Endpoint,
    /// The servers that take reads, at most 64, each with an id of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "kube", schemars(length(max = 64)))]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Map(vec!["id".into()])))]
    pub replicas: Vec<Endpoint>,
    /// How reads are spread over the replicas.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
    /// How servers are checked.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// The lag at which a replica leaves the routes. The `replicationLag` of an endpoint overrides single fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_lag: Option<ReplicationLag>,
    /// When a failing server leaves the routes for a while, and how it returns.
    #[serde(default)]
    pub circuit_breaker: CircuitBreaker,
    /// Which servers serve which operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
    /// Which servers take the reads and the writes when servers are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
    /// Which objects are written, and their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Outputs>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(JsonSchema))]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(JsonSchema))]
pub enum Switch {
    #[default]
    Enabled,
    Disabled,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancing {
    /// RoundRobin: all replicas get the same share. Weighted: shares follow `weight`. LeastConnections: a replica gets
    /// a smaller share the more of its `maxConnections` are in use. Geographic: all replicas get the same share, those
    /// of the region of the client first; every region of an endpoint is then a region as in `regions`, without a
    /// failover list where it is not declared. Shares take effect for clients that read routing.json; kube-proxy
    /// spreads connections evenly. Default: RoundRobin.
    #[serde(default)]
    pub strategy: Strategy,
    /// Regions, at most 16. Each has a Service NAME-ro-REGION, served by the replicas of the region, and by others when
    /// it has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "kube", schemars(length(max = 16)))]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Map(vec!["name".into()])))]
    pub regions: Vec<Region>,
    /// Whether EndpointSlices ask kube-proxy to stay in the zone of the client. Auto: only while every zone of a
    /// Service has at least two servers. Default: Disabled.
    #[serde(default)]
    pub zone_hints: ZoneHints,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// The Services NAME-rw and NAME-ro, the Services of classes and regions, and the EndpointSlices of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesOutput>,
    /// The ConfigMap with routing.json and the connection URIs, and that of the environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapOutput>,
    /// Labels and annotations for every object that is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataOutput>,
}

/// Keys of the operator, and those of kubernetes.io and k8s.io other than the recommended labels app.kubernetes.io/…, are
/// refused.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MetadataOutput {
    /// At most 16, for example for clusters that refuse objects without them. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "kube", schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63})))]
    pub labels: BTreeMap<String, String>,
    /// At most 16, each value of at most 4096 bytes. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "kube", schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 4096})))]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServicesOutput {
    /// Whether Services and EndpointSlices are written. Disabled removes them. Default: Enabled.
    #[serde(default)]
    pub state: Switch,
    /// Prefix of the names of the Services, a DNS-1035 label of at most 40 characters: PREFIX-rw and PREFIX-ro.
    /// Default: the name of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 40)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::DNS_1035_LABEL)).message(rules::NAME_PREFIX)))]
    pub name_prefix: Option<String>,
    /// Whether each class whose target is not Primary, and that is declared or has a server dedicated to it, has a Service,
    /// PREFIX-CLASS. Default: Enabled.
    #[serde(default)]
    pub per_class: Switch,
    /// Auto: each region has a Service, PREFIX-ro-REGION: those of loadBalancing.regions, and under the strategy Geographic
    /// those of endpoints too. Default: Auto.
    #[serde(default)]
    pub per_region: PerRegion,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(JsonSchema))]
pub enum PerRegion {
    #[default]
    Auto,
    Disabled,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::environment_name_fits()).message(rules::ENVIRONMENT_NAME).field_path(".name")))]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapOutput {
    /// The name of the ConfigMap. That of the format Env has this name and `-env`, or where it is the default the name of the
    /// policy and `-env`. Default: the name of the policy and `-routing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 253)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::DNS_1123_SUBDOMAIN)).message(rules::CONFIG_MAP_NAME)))]
    pub name: Option<String>,
    /// What is written beside routing.json, each once. Libpq: URIs libpq-NAME for libpq 14 and later, and
    /// libpq16-NAME for 16 and later, which choose among the servers of a read route at random. Jdbc: URIs jdbc-NAME
    /// for pgjdbc. Env: a ConfigMap of its own, NAME-env, with environment variables for envFrom, without passwords:
    /// DATABASE_URL, DATABASE_READ_REPLICA_N_URL and variables that begin with DB_. Default where it is absent: [Libpq].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(max = 3)))]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    pub formats: Option<Vec<Format>>,
}
