//! One whole check of one server: name, address, connection, TLS, login, question; under one deadline. And the opening
//! of the session that is held beside the checks.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Config, Error, NoTls};

use super::address::Rotation;
use super::classify::{classify, classify_io};
use super::conversation::{Conversation, Wire};
use super::dns::Resolver;
use super::guard::Guard;
use super::query::{Lags, Queries, Refused, ask, probe};
use super::tls::{Encryption, TlsSettingsError};
use crate::clock::Clock;
use crate::domain::moment::Moment;
use crate::domain::observation::{FailureKind, Sample};
use crate::domain::policy::{Host, Location, Login};

/// The length of a message with nothing but a code, and the code that asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// After so many checks a server is asked again what it once refused to tell: rights can be granted.
const ASK_AGAIN: u32 = 100;
/// A held session that carries nothing is asked for a sign of life after this time, and again after each second; what
/// is not acknowledged in time ends it.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(5))
    .with_interval(Duration::from_secs(1));

/// The TLS of a login, or why it cannot be used.
pub type EncryptionResult = Result<Option<Encryption>, TlsSettingsError>;
/// Made when it is first used, and shared by all who log in alike.
pub type SharedEncryption = Arc<OnceLock<EncryptionResult>>;

/// A server with what is presented to it.
#[derive(Clone)]
pub struct Server {
    pub location: Location,
    /// The address of a pod; `None`: the addresses of the host.
    pub pod: Option<IpAddr>,
    pub login: Arc<Login>,
    pub encryption: SharedEncryption,
}

/// What one check found.
pub struct Found {
    pub address: Option<IpAddr>,
    pub result: Result<(Sample, Lags), FailureKind>,
}

/// Checks one server, and remembers between checks what makes the next one cheaper.
pub struct Checker {
    clock: Clock,
    resolver: Resolver,
    server: Server,
    rotation: Rotation,
    refused: Refused,
    checks: u32,
}

impl Checker {
    #[must_use]
    pub fn new(clock: Clock, resolver: Resolver, server: Server) -> Self {
        Self {
            clock,
            resolver,
            server,
            rotation: Rotation::default(),
            refused: Refused::default(),
            checks: 0,
        }
    }

    /// One check, over a connection of its own, that ends within `within`. The address `prefer` is taken where the
    /// name has it, or had it not long ago, and it did not fail just now.
    pub async fn check(&mut self, within: Duration, prefer: Option<IpAddr>, queries: &Queries) -> Found {
        let mut address = None;
        self.checks = self.checks.wrapping_add(1);
        if self.checks.is_multiple_of(ASK_AGAIN) {
            self.refused = Refused::default();
        }
        let deadline = self.clock.now() + within;
        let result = timeout(within, self.attempt(deadline, prefer, queries, &mut address)).await;
        let result = result.unwrap_or(Err(FailureKind::TimedOut));
        self.rotation.note(address, result.as_ref().err().copied());
        Found { address, result }
    }

    async fn attempt(
        &mut self,
        deadline: Moment,
        prefer: Option<IpAddr>,
        queries: &Queries,
        address: &mut Option<IpAddr>,
    ) -> Result<(Sample, Lags), FailureKind> {
        let chosen = self.choose(deadline, prefer).await?;
        *address = Some(chosen);
        let mut conversation = self.server.open(chosen, deadline.since(self.clock.now())).await?;
        let left = deadline.since(self.clock.now());
        let (mut sample, lags) = ask(&mut conversation, &mut self.refused, left, &queries.lags).await?;
        if !queries.probes.is_empty() {
            let left = deadline.since(self.clock.now());
            sample.probes = probe(&mut conversation, &queries.probes, left).await;
        }
        conversation.close();
        Ok((sample, lags))
    }

    async fn choose(&mut self, deadline: Moment, prefer: Option<IpAddr>) -> Result<IpAddr, FailureKind> {
        let pod = self.server.pod.map(Host::Address);
        let host = pod.as_ref().unwrap_or(&self.server.location.host);
        // A resolver that is silent leaves half of the time to check the address that it gave before.
        let half = deadline.since(self.clock.now()) / 2;
        let addresses = self.resolver.addresses(host, prefer, half).await?;
        self.rotation
            .choose(&addresses, prefer)
            .ok_or(FailureKind::NameNotFound)
    }
}

impl Server {
    /// Connects and logs in, within `left`; what is sent must be acknowledged in that time, also later.
    ///
    /// # Errors
    /// What kept the login from being complete.
    pub async fn open(&self, address: IpAddr, left: Duration) -> Result<Conversation, FailureKind> {
        let encryption = self.encryption()?;
        let config = self.config(encryption.is_some())?;
        let stream = connect(SocketAddr::new(address, self.location.port), left)
            .await
            .map_err(|error| failed(&error))?;
        let refused = |error: Error| self.refused_login(&error);
        match encryption {
            None => {
                let login = config.connect_raw(Guard::new(stream), NoTls);
                let (client, connection) = login.await.map_err(refused)?;
                Ok(Conversation::new(client, Wire::Plain(Box::new(connection))))
            }
            Some(mut encryption) => {
                let stream = request_tls(stream).await?;
                let login = config.connect_raw(stream, encryption.connector(&self.location.host));
                let (client, connection) = login.await.map_err(refused)?;
                Ok(Conversation::new(client, Wire::Encrypted(Box::new(connection))))
            }
        }
    }

    fn encryption(&self) -> Result<Option<Encryption>, FailureKind> {
        match self.encryption.get_or_init(|| Encryption::new(&self.login.tls)) {
            Ok(encryption) => Ok(encryption.clone()),
            Err(error) => {
                tracing::debug!(error = error as &dyn StdError, "TLS settings");
                Err(error.kind())
            }
        }
    }

    /// No startup option is set: poolers refuse those that they do not know.
    fn config(&self, encrypted: bool) -> Result<Config, FailureKind> {
        let login = &*self.login;
        // Would end the text early in the startup message.
        if login.user.contains('\0') || login.database.contains('\0') {
            return Err(FailureKind::SecretUnresolved);
        }
        let mut config = Config::new();
        config
            .user(&login.user)
            .dbname(&login.database)
            .application_name("distributary");
        if let Some(password) = &login.password {
            config.password(password.reveal());
        }
        // The server was asked for TLS already: the handshake follows directly.
        config.ssl_mode(if encrypted {
            SslMode::Require
        } else {
            SslMode::Disable
        });
        config.ssl_negotiation(SslNegotiation::Direct);
        Ok(config)
    }

    fn refused_login(&self, error: &Error) -> FailureKind {
        tracing::debug!(error = error as &dyn StdError, "login");
        classify(error, self.login.password.is_some())
    }
}

fn failed(error: &io::Error) -> FailureKind {
    tracing::debug!(error = error as &dyn StdError, "connection");
    classify_io(error)
}

/// Connects; what is sent must be acknowledged within `left`.
async fn connect(address: SocketAddr, left: Duration) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    let options = SockRef::from(&socket);
    options.set_tcp_nodelay(true)?;
    options.set_tcp_keepalive(&KEEPALIVE)?;
    // In milliseconds; 0 would stand for the system's minutes.
    options.set_tcp_user_timeout(Some(left.max(Duration::from_millis(1))))?;
    socket.connect(address).await
}

/// Asks the server for TLS. Exactly one byte is read: what else came in clear text is taken for a part of the
/// handshake, which fails on it (CVE-2021-23222).
async fn request_tls(mut stream: TcpStream) -> Result<TcpStream, FailureKind> {
    stream
        .write_all(&SSL_REQUEST)
        .await
        .map_err(|error| failed(&error))?;
    match stream.read_u8().await.map_err(|error| failed(&error))? {
        b'S' => Ok(stream),
        b'N' => Err(FailureKind::TlsNotOffered),
        // An error before any negotiation: the server cannot start a process.
        b'E' => Err(FailureKind::ServerFailing),
        _ => Err(FailureKind::ProtocolViolation),
    }
}

#[cfg(test)]
mod tests;
