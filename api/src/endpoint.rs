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
    /// DNS name, IPv4 or IPv6 address of the server. Exactly one of host, serviceRef and urlSecretRef must be set. A name
    /// inside the cluster, `NAME` or `NAME.NAMESPACE` with or without `.svc` or `.svc.cluster.local`, is a serviceRef to
    /// that Service, which must be of the policy's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 253)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(HOST_FORM).message(rules::HOST_FORM)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(HOST).message(rules::HOST)))]
    pub host: Option<String>,
    /// A Service of the policy's namespace: the addresses of its ready pods are used, each checked by itself, and never
    /// its cluster IP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,
    /// A key of a Secret that holds `postgresql://user:password@host:port/database`, or
    /// `jdbc:postgresql://host:port/database?user=USER&password=PASSWORD`; the keys uri, fqdn-uri, jdbc-uri and
    /// fqdn-jdbc-uri of CloudNativePG's Secrets are such. What it names goes before `connection`. A host inside the
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
    /// Share of the reads under the strategy Weighted, 0 to 1000. 0: checked, never sent a read. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 0, max = 1000)))]
    pub weight: Option<u16>,
    /// Place in every ordered list, lowest first, 0 to 1000. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 0, max = 1000)))]
    pub priority: Option<u16>,
    /// Size of a client's connection pool for this server, 1 to 100000, published in routing.json. Default: 20 for
    /// the primary, 15 for a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 1, max = 100_000)))]
    pub max_connections: Option<u32>,
    /// Active: checked and routed. Draining: checked, and sent nothing new; the sessions that are left on it are counted
    /// in status. Disabled: neither checked nor routed. Default: Active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<EndpointState>,
    /// Whether it may take the writes when it is promoted; false: never by itself. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotable: Option<bool>,
    /// Words for the use of the server, which classes select by, published in routing.json: at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "kube",
        schemars(length(max = 16), inner(length(min = 1, max = 63)))
    )]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(format!("self.all(tag, tag.matches('{}'))", rules::WORD)).message(rules::TAGS)))]
    pub tags: Vec<String>,
    /// How to log in to this server, where it differs from the policy's `connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// When this server is too far behind to serve, where that differs from the policy's `replicationLag`.
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
    /// The port of the Service, 1 to 65535; its pods may listen on another one. Default: 5432.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(range(min = 1, max = 65535)))]
    pub port: Option<u16>,
}
