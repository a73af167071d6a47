//! A policy that cannot be wrong: made by [`crate::validate`] alone.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Namespace and name of a policy.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyKey {
    pub namespace: String,
    pub name: String,
}

impl PolicyKey {
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The id of an endpoint, unique in its policy.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EndpointId(Arc<str>);

impl EndpointId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EndpointId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that must not be shown: a password, a private key. Its `Debug` says nothing of it.
#[derive(Clone, Eq, PartialEq)]
pub struct Sensitive(Arc<str>);

impl Sensitive {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who sends it to a server.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A validated policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub key: PolicyKey,
    /// The uid of the object: an object of the same name made later is another policy.
    pub uid: String,
    pub generation: i64,
    pub mode: Mode,
    /// Whether the routes stay when the policy is deleted.
    pub retain: bool,
    /// The declared primary first, then the replicas as declared; ids are unique.
    pub endpoints: Vec<Endpoint>,
    pub strategy: Strategy,
    pub probing: Probing,
    pub breaker: BreakerSettings,
    pub read_fallback: Vec<ReadFallback>,
    pub outputs: Outputs,
    pub clients: ClientSettings,
}

impl Policy {
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.id == *id)
    }

    pub fn replicas(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.declared == Declared::Replica)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Probe, decide, write.
    Enforce,
    /// Probe and decide; write no routes.
    Observe,
    /// Neither probe nor write.
    Suspend,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strategy {
    RoundRobin,
    Weighted,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadFallback {
    Primary,
}

/// Cadence of whole checks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probing {
    /// From one check to the next.
    pub interval: Duration,
    /// One check, at most.
    pub timeout: Duration,
    /// From the start of the first failed check to the open circuit, at most.
    pub failover_timeout: Duration,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BreakerSettings {
    /// False: an endpoint leaves after the same failures, and returns with its first good check.
    pub enabled: bool,
    /// Consecutive failures that open the circuit, at least 1.
    pub failure_threshold: u32,
    pub reset_timeout: Duration,
    /// Good checks from one traffic step to the next, at least 1.
    pub success_threshold: u32,
    /// Rising percentages, at least one.
    pub traffic_steps: Vec<Percent>,
}

/// 0 to 100.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Percent(u8);

impl Percent {
    pub const FULL: Self = Self(100);

    /// `percent`, or 100 where it is more.
    #[must_use]
    pub const fn new(percent: u8) -> Self {
        Self(if percent > 100 { 100 } else { percent })
    }

    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Declared {
    Primary,
    Replica,
}

/// A declared server.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub id: EndpointId,
    pub declared: Declared,
    pub display_name: Option<String>,
    /// Where it is; `None` while the Secret with its URL is missing or wrong.
    pub location: Option<Location>,
    /// How to log in; an error where a Secret is missing or wrong.
    pub login: Result<Arc<Login>, Unresolved>,
    pub region: Option<String>,
    pub zone: Option<String>,
    /// Share under the strategy Weighted, 0 to 1000; 0 is never sent a read.
    pub weight: u16,
    /// Lowest first.
    pub priority: u16,
    pub max_connections: u32,
    /// False: neither checked nor routed.
    pub active: bool,
    pub tags: Vec<String>,
    /// How clients connect to it.
    pub clients: ClientSettings,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What a check presents to the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    pub user: String,
    pub password: Option<Sensitive>,
    pub database: String,
    pub tls: TlsSettings,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsSettings {
    pub mode: TlsMode,
    /// CA certificates, PEM; `None`: the system's roots.
    pub ca: Option<String>,
    pub client: Option<ClientCertificate>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsMode {
    Disable,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A client certificate and its key, PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    pub chain: String,
    pub key: Sensitive,
}

/// Why a reference to a Secret gives nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unresolved {
    pub secret: String,
    pub problem: SecretProblem,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecretProblem {
    #[error("does not exist")]
    NotFound,
    #[error("may not be read by the operator")]
    Forbidden,
    #[error("could not be read")]
    Unavailable,
    #[error("has no key {0}")]
    KeyMissing(String),
    #[error("has a value under {key} that {must}")]
    Malformed { key: String, must: &'static str },
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {} {}", self.secret, self.problem)
    }
}

/// Names of the objects to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outputs {
    /// The prefix of the Services' names; `None`: no Services.
    pub services: Option<String>,
    pub config_map: String,
}

/// What clients need to know to connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientSettings {
    pub database: String,
    pub tls: TlsMode,
    pub connect_timeout: Duration,
}
