//! Routes, the targets in them, and the declared endpoints.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::word::SslMode;
use crate::plan::{Admission, RouteState};
use crate::policy::{DeclaredRole, EndpointState};

/// Who serves one kind of requests.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "route"))]
pub struct Route {
    /// Served: its targets are well. Fallback: the read fallback serves, or other replicas than the class selects. Held: nobody is well, and who is merely unhealthy is kept. Empty: nobody may serve.
    pub state: RouteState,
    /// Who serves, in order: by order, priority, id and address.
    pub targets: Vec<RouteTarget>,
    /// The Service that leads to the targets; absent where none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Service"))]
    pub service: Option<Service>,
}

/// A Service of a route.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub struct Service {
    /// Its name, in the namespace of the policy.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub name: String,
    /// Its port.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Port"))]
    pub port: u16,
}

/// A server in a route.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "target"))]
#[serde(rename_all = "camelCase")]
pub struct RouteTarget {
    /// The id of its endpoint.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Id"))]
    pub endpoint: String,
    /// The IPv4 or IPv6 address that its newest good check used.
    #[cfg_attr(feature = "schema", schemars(schema_with = "super::schema::address"))]
    pub address: IpAddr,
    /// Its TCP port.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Port"))]
    pub port: u16,
    /// Its share in hundredths: weight 1 fully in is 100, a server that returns has its percentage of that.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub weight: u32,
    /// Whether the EndpointSlices, which know no shares, hold it; the URIs do so too, unless inUris says otherwise.
    pub in_slice: bool,
    /// Whether the URIs hold it, where that is not as inSlice says: the Service of the route cannot carry its address, which is of another IP family, or it stands in for such a server in the Service alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "bool"))]
    pub in_uris: Option<bool>,
    /// Take a target of the lowest order that has any, and of the next one when those fail. In the route of a region: how far away it is; elsewhere 0.
    pub order: u16,
    /// On what ground it is here. Eligible: it is well. AdmittedEarly: its circuit is not closed, but its newest check was good and nobody better is left. Fallback: it stands in. Held: nobody is well.
    pub admission: Admission,
}

impl RouteTarget {
    /// Whether the URIs hold it.
    #[must_use]
    pub fn is_in_uris(&self) -> bool {
        self.in_uris.unwrap_or(self.in_slice)
    }
}

/// A declared server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "endpoint")
)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its id, unique in the policy.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Id"))]
    pub id: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub display_name: Option<String>,
    /// What the policy takes it for.
    pub declared: DeclaredRole,
    /// False: it is Disabled, neither checked nor routed.
    pub active: bool,
    /// Active: checked and routed. Draining: checked, and no longer routed. Disabled: neither checked nor routed.
    pub state: EndpointState,
    /// The host as declared, or as its URL names it, which is what a certificate names; absent while the Secret with its URL cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub host: Option<String>,
    /// Its TCP port; absent as host is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Port"))]
    pub port: Option<u16>,
    /// Its region, as declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub region: Option<String>,
    /// Its zone, as declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub zone: Option<String>,
    /// Its share of the reads under the strategy Weighted, as declared; 0: never sent a read.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1000)))]
    pub weight: u16,
    /// Its place in every ordered list, lowest first.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1000)))]
    pub priority: u16,
    /// The size of a client's connection pool for this server.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub max_connections: u32,
    /// Words for its use, as declared.
    #[cfg_attr(feature = "schema", schemars(length(max = 16)))]
    pub tags: Vec<String>,
    /// While it is a standby, it is in the routes of these classes alone, unless it stands in for other replicas; absent: it is dedicated to no class.
    // Left out where it is empty: so the revision of a policy that does not use it is that of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(
            with = "Vec<super::schema::Word>",
            length(min = 1, max = 16),
            extend("uniqueItems" = true)
        )
    )]
    pub dedicated_to: Vec<String>,
    /// How clients should connect to this server.
    pub connection: Connection,
    /// The routes that it is in now.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Vec<super::schema::Word>", extend("uniqueItems" = true))
    )]
    pub routes: Vec<String>,
}

/// How clients should connect. User and password are never published.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "connection")
)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The database.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub database: String,
    /// Transport security, in libpq's words.
    pub sslmode: SslMode,
    /// How long to wait for a connection, in whole seconds, rounded down.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 300)))]
    pub connect_timeout_seconds: u64,
    /// The same in milliseconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 1000, max = 300_000)))]
    pub connect_timeout_milliseconds: u64,
}
