//! One whole check of one server: name, address, connection, TLS, login, question; under one deadline.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Config, Error, NoTls};

use super::address::Rotation;
use super::classify::{classify, classify_io};
use super::dns::Resolver;
use super::guard::Guard;
use super::query::{Refused, ask};
use super::tls::{Encryption, TlsSettingsError};
use crate::clock::Clock;
use crate::domain::moment::Moment;
use crate::domain::observation::{FailureKind, Observation, Sample};
use crate::domain::policy::{Location, Login};

/// The length of a message with nothing but a code, and the code that asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// After so many checks a server is asked again what it once refused to tell: rights can be granted.
const ASK_AGAIN: u32 = 100;

/// Checks one server with one login, and remembers between checks what makes the next one cheaper.
pub struct Checker {
    clock: Clock,
    resolver: Resolver,
    location: Location,
    login: Arc<Login>,
    encryption: Option<Result<Option<Encryption>, TlsSettingsError>>,
    rotation: Rotation,
    refused: Refused,
    checks: u32,
}

impl Checker {
    #[must_use]
    pub fn new(clock: Clock, resolver: Resolver, location: Location, login: Arc<Login>) -> Self {
        Self {
            clock,
            resolver,
            location,
            login,
            encryption: None,
            rotation: Rotation::default(),
            refused: Refused::default(),
            checks: 0,
        }
    }

    /// One check, over a connection of its own, that ends within `within`. The address `prefer` is taken where the
    /// name has it and it did not fail just now.
    pub async fn check(&mut self, within: Duration, prefer: Option<IpAddr>) -> Observation {
        let started = self.clock.now();
        let mut address = None;
        self.checks = self.checks.wrapping_add(1);
        if self.checks.is_multiple_of(ASK_AGAIN) {
            self.refused = Refused::default();
        }
        let result = timeout(within, self.attempt(started + within, prefer, &mut address)).await;
        let result = result.unwrap_or(Err(FailureKind::TimedOut));
        self.rotation.note(address, result.as_ref().err().copied());
        Observation {
            started,
            ended: self.clock.now(),
            address,
            result,
        }
    }

    async fn attempt(
        &mut self,
        deadline: Moment,
        prefer: Option<IpAddr>,
        address: &mut Option<IpAddr>,
    ) -> Result<Sample, FailureKind> {
        let mut encryption = self.encryption()?;
        let config = self.config(encryption.is_some())?;
        // A resolver that is silent leaves half of the time to check the address that it gave before.
        let half = deadline.since(self.clock.now()) / 2;
        let addresses = self.resolver.addresses(&self.location.host, half).await?;
        let chosen = self
            .rotation
            .choose(&addresses, prefer)
            .ok_or(FailureKind::NameNotFound)?;
        *address = Some(chosen);
        let left = deadline.since(self.clock.now());
        let stream = connect(SocketAddr::new(chosen, self.location.port), left)
            .await
            .map_err(|e| failed(&e))?;
        match &mut encryption {
            None => {
                let (client, connection) = config
                    .connect_raw(Guard::new(stream), NoTls)
                    .await
                    .map_err(|e| self.refused_login(&e))?;
                ask(client, connection, &mut self.refused).await
            }
            Some(encryption) => {
                let stream = request_tls(stream).await?;
                let connector = encryption.connector(&self.location.host);
                let (client, connection) = config
                    .connect_raw(stream, connector)
                    .await
                    .map_err(|e| self.refused_login(&e))?;
                ask(client, connection, &mut self.refused).await
            }
        }
    }

    /// Made by the first check; its certificates are those of the login.
    fn encryption(&mut self) -> Result<Option<Encryption>, FailureKind> {
        match self
            .encryption
            .get_or_insert_with(|| Encryption::new(&self.login.tls))
        {
            Ok(encryption) => Ok(encryption.clone()),
            Err(error) => {
                tracing::debug!(error = error as &dyn StdError, "TLS settings");
                Err(error.kind())
            }
        }
    }

    /// No statement timeout is set: poolers refuse options that they do not know, and the deadline bounds the check.
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
    options.set_keepalive(true)?;
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
