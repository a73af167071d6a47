//! Where servers are, and how clients connect to them.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::login::TlsMode;

/// Where a server listens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Location {
    /// Its name or address.
    pub host: Host,
    /// Its TCP port, at least 1.
    pub port: u16,
}

/// How a server is named.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// A name, which is resolved before each check.
    Name(String),
    /// An address.
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

/// What tells one server from another before anybody connected to it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ServerKey {
    /// A Service of the policy's namespace, and no host.
    by_service: bool,
    name: String,
    port: u16,
}

impl ServerKey {
    /// Of a host, whose name is the same in upper and lower case.
    #[must_use]
    pub fn of_host(location: &Location) -> Self {
        let name = location.host.to_string().to_ascii_lowercase();
        Self {
            by_service: false,
            name,
            port: location.port,
        }
    }

    #[must_use]
    pub fn of_service(service: &str, port: u16) -> Self {
        Self {
            by_service: true,
            name: service.to_owned(),
            port,
        }
    }
}

/// What clients need to know to connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientSettings {
    /// The database to connect to.
    pub database: String,
    /// Whether the transport is encrypted and the server proves who it is.
    pub tls: TlsMode,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
}
