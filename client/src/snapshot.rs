//! A routing table that is in use: its routes ready for picks, its targets with their pools.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use distributary_core::login::{Login, TlsMode, TlsSettings};
use distributary_core::policy::Strategy;
use distributary_core::server::Host;
use distributary_core::table::named::WRITES;
use distributary_core::table::{Endpoint, RoutingTable, SslMode};
use distributary_probe::{Clock, Dialer};

use crate::connection::{Opener, spread};
use crate::credentials::Credentials;
use crate::error::SettingsError;
use crate::gate::CircuitRules;
use crate::routes::{Picker, Turns};
use crate::server::Server;
use crate::wire::Heard;

/// What the program says of its connections.
#[derive(Clone)]
pub struct PoolSettings {
    pub application_name: String,
    /// `None`: those of the source.
    pub credentials: Option<Credentials>,
    /// CA certificates, PEM, in place of those of the source.
    pub ca: Option<String>,
    /// Pools have one part of so many of their size.
    pub share: u32,
    pub age: Duration,
    pub idle: Duration,
}

/// A table, and how to log in by it.
pub struct Told {
    pub table: RoutingTable,
    /// By endpoint, where the source knows them.
    pub logins: BTreeMap<String, Arc<Login>>,
}

/// What must be the same for a target to keep its pool.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Wiring {
    host: Host,
    database: String,
    tls: TlsSettings,
    login: Option<Arc<Login>>,
    timeout: Duration,
    size: u32,
}

/// By endpoint, address and port.
type Key = (String, SocketAddr);

/// A table in use. Every request counts as one of its users: that count is in a cache line of its own.
#[repr(align(64))]
pub struct Snapshot {
    pub table: RoutingTable,
    pickers: BTreeMap<String, Picker<Server>>,
    servers: BTreeMap<Key, (Wiring, Arc<Server>)>,
    /// Of circuits.
    pub rules: CircuitRules,
}

impl Snapshot {
    /// Of a table; targets that are in the one before, and are reached in the same way, keep their pools.
    ///
    /// # Errors
    /// No credentials, or no runtime.
    pub fn new(
        told: Told,
        before: Option<&Self>,
        settings: &PoolSettings,
        clock: Clock,
    ) -> Result<Self, SettingsError> {
        let Told { table, logins } = told;
        let rules = CircuitRules::of(&table);
        let mut servers = BTreeMap::new();
        for target in table.routes.values().flat_map(|route| &route.targets) {
            let key = (
                target.endpoint.clone(),
                SocketAddr::new(target.address, target.port),
            );
            let endpoint = table.endpoints.iter().find(|known| known.id == target.endpoint);
            let (Some(endpoint), false) = (endpoint, servers.contains_key(&key)) else {
                continue;
            };
            let wiring = wiring(endpoint, key.1.ip(), logins.get(&key.0), settings);
            let known = before.and_then(|before| before.servers.get(&key));
            // What the program has seen is of the server, whatever the policy says of its pool, its login or its transport.
            let same = known.filter(|(known, _)| known.host == wiring.host);
            let server = match known.filter(|(known, _)| *known == wiring) {
                Some((_, server)) => Arc::clone(server),
                None => Server::new(
                    key.0.clone(),
                    opener(&wiring, key.1, settings, clock)?,
                    wiring.size,
                    rules.clone(),
                    clock,
                    same.map(|(_, server)| &**server),
                )?,
            };
            server.gate.obey(&rules);
            server.kinds.obey(&rules);
            servers.insert(key, (wiring, server));
        }
        let pickers = pickers(&table, &servers);
        Ok(Self {
            table,
            pickers,
            servers,
            rules,
        })
    }

    /// Who serves a route.
    pub fn picker(&self, route: &str) -> Option<&Picker<Server>> {
        self.pickers.get(route)
    }

    /// A target, by its endpoint.
    pub fn server(&self, endpoint: &str, address: SocketAddr) -> Option<&Arc<Server>> {
        let (_, server) = self.servers.get(&(endpoint.to_owned(), address))?;
        Some(server)
    }

    /// All targets of the routes.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.values().map(|(_, server)| server)
    }

    /// Closes the idle connections of those that are in no route of `next`, or take no writes there any more.
    pub fn close_what_left(&self, next: &Self) {
        let writes = |snapshot: &Self, server: &Arc<Server>| {
            let picker = snapshot.picker(WRITES);
            picker.is_some_and(|picker| picker.targets().any(|known| Arc::ptr_eq(known, server)))
        };
        for server in self.servers() {
            let stays = next.servers().any(|known| Arc::ptr_eq(known, server));
            if !stays || (writes(self, server) && !writes(next, server)) {
                server.close_idle();
            }
        }
    }
}

fn pickers(
    table: &RoutingTable,
    servers: &BTreeMap<Key, (Wiring, Arc<Server>)>,
) -> BTreeMap<String, Picker<Server>> {
    let turns = match table.strategy {
        Strategy::LeastConnections => Turns::LeastUsed,
        Strategy::RoundRobin | Strategy::Weighted | Strategy::Geographic => Turns::InTurn,
    };
    let picker = |(name, route): (&String, &distributary_core::table::Route)| {
        let targets = route.targets.iter().filter_map(|target| {
            let key = (
                target.endpoint.clone(),
                SocketAddr::new(target.address, target.port),
            );
            let (_, server) = servers.get(&key)?;
            Some((Arc::clone(server), target.order, target.weight))
        });
        (name.clone(), Picker::new(targets, turns))
    };
    table.routes.iter().map(picker).collect()
}

fn wiring(
    endpoint: &Endpoint,
    address: IpAddr,
    login: Option<&Arc<Login>>,
    settings: &PoolSettings,
) -> Wiring {
    let host = endpoint.host.as_deref().map(|host| match host.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(host.to_owned()),
    });
    let connection = &endpoint.connection;
    let mode = match connection.sslmode {
        SslMode::Disable => TlsMode::Disable,
        SslMode::Require => TlsMode::Require,
        SslMode::VerifyCa => TlsMode::VerifyCa,
        SslMode::VerifyFull => TlsMode::VerifyFull,
    };
    let known = login.map(|login| login.tls.clone());
    let tls = known.unwrap_or(TlsSettings {
        mode,
        ca: None,
        client: None,
    });
    let permitted = settings.credentials.is_none();
    Wiring {
        host: host.unwrap_or(Host::Address(address)),
        database: connection.database.clone(),
        tls: TlsSettings {
            ca: settings.ca.as_deref().map(Into::into).or(tls.ca),
            ..tls
        },
        login: login.filter(|_| permitted).cloned(),
        timeout: Duration::from_millis(connection.connect_timeout_milliseconds),
        size: (endpoint.max_connections / settings.share.max(1)).max(1),
    }
}

fn opener(
    wiring: &Wiring,
    address: SocketAddr,
    settings: &PoolSettings,
    clock: Clock,
) -> Result<Opener, SettingsError> {
    let of_login = |login: &Arc<Login>| Credentials::of(login.user.clone(), login.password.clone());
    let credentials = settings.credentials.clone();
    let credentials = credentials.or_else(|| wiring.login.as_ref().map(of_login));
    Ok(Opener {
        host: wiring.host.clone(),
        address,
        database: wiring.database.clone(),
        credentials: credentials.ok_or(SettingsError::NoCredentials)?,
        dialer: Dialer::new(&wiring.tls),
        application_name: settings.application_name.clone(),
        timeout: wiring.timeout,
        age: spread(settings.age, &clock),
        idle: settings.idle,
        heard: Heard::new(clock),
        pooled: AtomicBool::new(false),
    })
}

#[cfg(test)]
pub mod tests;
