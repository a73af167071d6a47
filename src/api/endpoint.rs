//! One declared server: the primary or a replica.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection::{Connection, KeyRef};
use super::rules;

/// An address of either family, or labels of which the last is no number.
const HOST_FORM: &str = "isIP(self) || (self.matches('^([A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?[.])*[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?[.]?$') && !self.matches('(^|[.])[0-9]+[.]?$'))";
/// A prober inside the cluster must not be led to itself or to the link of its node.
const HOST: &str =
    "isIP(self) ? ip(self).isGlobalUnicast() : !self.matches('^(?i)([^.]*[.])*localhost[.]?$')";

/// A server as declared.
// Every default is in crate::validate.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.host) != has(self.urlSecretRef)").message(rules::ADDRESS).field_path(".host"),
    validation = Rule::new("!has(self.port) || !has(self.urlSecretRef)").message(rules::PORT_WITH_URL).field_path(".port")
)]
pub struct Endpoint {
    /// The name of the endpoint in status, events and routing.json: a DNS-1123 label of at most 40 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new(rules::form(rules::DNS_1123_LABEL)).message(rules::ID_FORM))]
    pub id: Option<String>,
    /// A name for people, published in routing.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub display_name: Option<String>,
    /// DNS name, IPv4 or IPv6 address of the server. Exactly one of host and urlSecretRef must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(HOST_FORM).message(rules::HOST_FORM))]
    #[x_kube(validation = Rule::new(HOST).message(rules::HOST))]
    pub host: Option<String>,
    /// A key of a Secret that holds `postgresql://user:password@host:port/database`. What it names goes before
    /// `connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<KeyRef>,
    /// TCP port, 1 to 65535. Default: 5432.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Region of the server, published in routing.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(rules::form(rules::WORD)).message(rules::REGION))]
    pub region: Option<String>,
    /// Zone of the server, published in the EndpointSlice and in routing.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(rules::form(rules::WORD)).message(rules::ZONE))]
    pub zone: Option<String>,
    /// Share of the reads under the strategy Weighted, 0 to 1000. 0: checked, never sent a read. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: Option<u16>,
    /// Place in every ordered list, lowest first, 0 to 1000. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub priority: Option<u16>,
    /// Size of a client's connection pool for this server, 1 to 100000, published in routing.json. Default: 20 for
    /// the primary, 15 for a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_connections: Option<u32>,
    /// Active, or Disabled: neither checked nor routed. Default: Active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<EndpointState>,
    /// Words for the use of the server, published in routing.json: at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(format!("self.all(tag, tag.matches('{}'))", rules::WORD)).message(rules::TAGS))]
    pub tags: Vec<String>,
    /// How to log in to this server, where it differs from the policy's `connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EndpointState {
    #[default]
    Active,
    Disabled,
}
