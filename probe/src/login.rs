//! The opening of a connection: address, TLS, login. For checks, and for the sessions that are held beside them.

use std::error::Error as StdError;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Config, Error, NoTls};

use super::classify::{classify, classify_io};
use super::conversation::{Conversation, Stream};
use super::guard::Guard;
use super::tls::{Encryption, TlsSettingsError};
use distributary_core::login::Login;
use distributary_core::observation::{Failure, FailureKind};
use distributary_core::server::Location;

/// The length of a message with nothing but a code, and the code that asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// What PgBouncer reports of itself in a login, from 1.26 on.
const POOLER_SETTING: &str = "pgbouncer.version";
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

impl Server {
    /// Connects and logs in, within `left`; what is sent must be acknowledged in that time, also later.
    ///
    /// # Errors
    /// What kept the login from being complete.
    pub async fn open(&self, address: IpAddr, left: Duration) -> Result<Conversation, Failure> {
        let encryption = self.encryption()?;
        let config = self.config(encryption.is_some())?;
        let stream = connect(SocketAddr::new(address, self.location.port), left)
            .await
            .map_err(|error| failed(&error))?;
        let (stream, pooler) = match encryption {
            None => {
                let (stream, pooler) = self.log_in(&config, stream, NoTls).await?;
                (Stream::Left(stream), pooler)
            }
            Some(mut encryption) => {
                let stream = request_tls(stream).await?;
                let stream = encryption.handshake(&self.location.host, stream).await;
                let stream = stream.map_err(|error| failed(&error))?;
                let (stream, pooler) = self.log_in(&config, stream, Encrypted).await?;
                (Stream::Right(Box::new(stream)), pooler)
            }
        };
        Ok(Conversation::new(stream, pooler))
    }

    /// The stream after the login, without what the protocol's implementation keeps for itself; and whether a pooler says
    /// that it is one.
    async fn log_in<S, T>(&self, config: &Config, stream: S, tls: T) -> Result<(Guard<S>, bool), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: TlsConnect<Lent<Guard<S>>>,
    {
        let stream = Arc::new(Mutex::new(Guard::new(stream)));
        let login = config.connect_raw(Lent(Arc::clone(&stream)), tls);
        let (client, connection) = login.await.map_err(|error| self.refused_login(&error))?;
        let pooler = connection.parameter(POOLER_SETTING).is_some();
        drop((client, connection));
        let returned = Arc::into_inner(stream).ok_or(FailureKind::ProtocolViolation)?;
        let stream = returned.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((stream, pooler))
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

    fn refused_login(&self, error: &Error) -> Failure {
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

/// A stream while the protocol's implementation logs in over it, which keeps it, and its buffers, for itself.
struct Lent<S>(Arc<Mutex<S>>);

impl<S> Lent<S> {
    fn stream(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Lent<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream().channel_binding()
    }
}

/// Tells the protocol's implementation that a stream is encrypted already.
struct Encrypted;

impl<S: TlsStream + Unpin> TlsConnect<Lent<S>> for Encrypted {
    type Stream = Lent<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Lent<S>>>;

    fn connect(self, stream: Lent<S>) -> Self::Future {
        ready(Ok(stream))
    }
}
