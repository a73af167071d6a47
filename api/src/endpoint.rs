//! One declared server: the primary or a replica.

use distributary_core::policy::EndpointState;
#[cfg(feature = "kube")]
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::connection::{Connection, KeyRef};
use super::lag::ReplicationLag;
use super::rules;

/// An address of either family, or labels of which the last is no number.
const HOST_FORM: &str = "isIP(self) || (self.matches('^([A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?[.])*[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?[.]?$') && !self.matches('(^|[.])[0-9]+[.]?$'))";
/// A prober inside the cluster must not be led to itself or to the link of its node.
const HOST: &str =
    "isIP(self) ? ip(self).isGlobalUnicast() : !self.matches('^(?i)([^.]*[.])*localhost[.]?$')";

/// A server as declared.
// Every default is in crate::validate.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(
    validation = Rule::new("(has(self.host) ? 1 : 0) + (has(self.serviceRef) ? 1 : 0) + (has(self.urlSecretRef) ? 1 : 0) == 1").message(rules::ADDRESS).field_path(".host"),
    validation = Rule::new("!has(self.port) || !(has(self.serviceRef) || has(self.urlSecretRef))").message(rules::PORT_WITH_HOST).field_path(".port")
))]
pub struct Endpoint {
    /// The name of the endpoint in status, events and routing.json: a DNS-1123 label of at most 40 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 40)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::DNS_1123_LABEL)).message(rules::ID_FORM)))]
    pub id: Option<String>,
    /// A name for people, published in routing.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 63)))]
    pub display_name: Option<String>,
    /// DNS name, IPv4 or IPv6 address of the server. Exactly one of host, serviceRef and urlSecretRef must be set. A
    /// name inside the cluster, `NAME` or `NAME.NAMESPACE` with or without `.svc` or `.svc.cluster.local`, is a
    /// serviceRef to that Service, which must be in the namespace of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 253)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(HOST_FORM).message(rules::HOST_FORM)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(HOST).message(rules::HOST)))]
    pub host: Option<String>,
    /// A Service of the policy's namespace. The operator checks and routes to each of its ready pods separately, and
    /// never uses its cluster IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,
    /// A key of a Secret that contains `postgresql://user:password@host:port/database`, or
    /// `jdbc:postgresql://host:port/database?user=USER&password=PASSWORD`, such as the keys uri, fqdn-uri, jdbc-uri and
    /// fqdn-jdbc-uri of the Secrets of CloudNativePG. The values in the URL override `connection`. A host inside the
    /// cluster is a serviceRef, as under `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<KeyRef>,
    /// TCP port of host, 1 to 65535. Default: 5432.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 1, max = 65535)))]
    pub port: Option<u16>,
    /// Region of the server, published in routing.json; see loadBalancing.regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 63)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::WORD)).message(rules::REGION)))]
    pub region: Option<String>,
    /// Zone of the server, published in the EndpointSlice and in routing.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 63)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::WORD)).message(rules::ZONE)))]
    pub zone: Option<String>,
    /// Share of the reads under the strategy Weighted, 0 to 1000. A server with 0 is checked and receives no reads.
    /// Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 0, max = 1000)))]
    pub weight: Option<u16>,
    /// Position in every ordered list, lowest first, 0 to 1000. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 0, max = 1000)))]
    pub priority: Option<u16>,
    /// Size of a client's connection pool for this server, 1 to 100000, published in routing.json. Default: 20 for
    /// the primary, 15 for a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 1, max = 100_000)))]
    pub max_connections: Option<u32>,
    /// Active: the server is checked and routed. Draining: it is checked and receives no new connections; the status
    /// counts the client sessions left on it. Disabled: it is neither checked nor routed. Default: Active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<EndpointState>,
    /// Whether the server may take over the writes when it is promoted. With false, only failover.acceptPrimary can
    /// give it the writes. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotable: Option<bool>,
    /// Tags of the server, at most 16. Classes select replicas by them; published in routing.json.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "kube",
        schemars(length(max = 16), inner(length(min = 1, max = 63)))
    )]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(format!("self.all(tag, tag.matches('{}'))", rules::WORD)).message(rules::TAGS)))]
    pub tags: Vec<String>,
    /// Classes, at most 16: while the server is a standby, only the routes of these classes have it. It serves other reads by
    /// the member DedicatedReplicas of readFallback alone. A class without a replicaSelector is served by the servers that are
    /// dedicated to it while enough of them are eligible, otherwise by any replica that is dedicated to no other class. A
    /// built-in class that a server is dedicated to has a Service too, as NAME-analytics. Default: any class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "kube",
        schemars(length(max = 16), inner(length(min = 1, max = 22)))
    )]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    pub dedicated_to: Vec<String>,
    /// How the operator logs in to this server, where this differs from the `connection` of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// The lag at which this server leaves the routes, where this differs from the `replicationLag` of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_lag: Option<ReplicationLag>,
}

/// A Service of the policy's namespace.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// The name of the Service.
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 63)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::DNS_1123_LABEL)).message(rules::SERVICE_NAME)))]
    pub name: String,
    /// The port of the Service, 1 to 65535; the pods may listen on another port. Default: 5432.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 1, max = 65535)))]
    pub port: Option<u16>,
}
