//! The opening of a connection: address, TLS, login. For checks, and for the sessions that are held beside them.

use std::error::Error as StdError;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Config, Error, NoTls};

use super::classify::{classify, classify_io};
use super::clock::Clock;
use super::conversation::{Conversation, Stream};
use super::guard::Guard;
use super::limits::Limits;
use super::places::{Place, Places, Shares};
use super::tls::{Encryption, TlsSettingsError};
use distributary_core::ids::PolicyKey;
use distributary_core::login::{Login, Sensitive, TlsMode};
use distributary_core::observation::{Failure, FailureKind};
use distributary_core::server::{Host, Location};

/// The length of a message with nothing but a code, and the code that asks for TLS.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
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

/// Proofs of passwords under way at once that cost more than usual, of which a namespace makes one: the rest of the process has the
/// other processors.
const EXPENSIVE: Shares = Shares { all: 2, policy: 1 };

/// What is demanded of every login.
#[derive(Clone)]
pub struct Terms {
    /// The least TLS.
    tls: TlsMode,
    /// The most iterations of SCRAM.
    iterations: u32,
    /// One is taken for a proof that takes more of them than usual.
    places: Places,
}

impl Terms {
    pub fn new(limits: &Limits, clock: Clock) -> Self {
        Self {
            tls: limits.tls,
            iterations: limits.scram_iterations,
            places: Places::new(EXPENSIVE, clock),
        }
    }

    /// A place for an expensive proof, once the namespace may have one.
    async fn place(&self, namespace: &str) -> Option<Place> {
        // Whichever policies of a namespace want the server share it.
        let of_all = PolicyKey::new(namespace, "");
        self.places.take(vec![of_all]).await
    }
}

/// A server with what is presented to it.
#[derive(Clone)]
pub struct Server {
    /// Of the policies that want it.
    pub namespace: String,
    pub location: Location,
    /// The address of a pod; `None`: the addresses of the host.
    pub pod: Option<IpAddr>,
    pub login: Arc<Login>,
    pub encryption: SharedEncryption,
    pub terms: Terms,
    /// It let the login in without the line ends of user and password, and not with them.
    pub bare: Arc<AtomicBool>,
}

/// User and password.
type Credentials<'a> = (&'a str, Option<Sensitive>);
/// A login that is under way, with what comes of it.
type LoggingIn<C> = Pin<Box<dyn Future<Output = Result<C, Error>> + Send>>;

impl Server {
    /// Connects and logs in, within `left`; what is sent must be acknowledged in that time, also later.
    ///
    /// User and password are sent as they are. Where the server refuses them, and one of them ends with a line, they are sent
    /// without that; what the server took is sent first from then on.
    ///
    /// # Errors
    /// What kept the login from being complete.
    pub async fn open(&self, address: IpAddr, left: Duration) -> Result<Conversation, Failure> {
        self.is_permitted(address)?;
        let Some(bare) = self.login.without_line_ends() else {
            return self.open_as(address, left, self.credentials()).await;
        };
        let is_bare = self.bare.load(Ordering::Relaxed);
        let [first, second] = if is_bare {
            [bare, self.credentials()]
        } else {
            [self.credentials(), bare]
        };
        match self.open_as(address, left, first).await {
            Err(refused) if may_be_the_line_end(refused.kind) => {
                let opened = self.open_as(address, left, second).await?;
                self.bare.store(!is_bare, Ordering::Relaxed);
                Ok(opened)
            }
            result => result,
        }
    }

    fn credentials(&self) -> Credentials<'_> {
        (&self.login.user, self.login.password.clone())
    }

    /// Whether anything may be told to this address.
    fn is_permitted(&self, address: IpAddr) -> Result<(), FailureKind> {
        let name = match &self.location.host {
            Host::Name(name) => Some(&**name),
            Host::Address(_) => None,
        };
        let hosts = self.login.hosts.as_ref();
        if self.login.tls.mode < self.terms.tls {
            Err(FailureKind::TlsModeTooLow)
        } else if hosts.is_some_and(|hosts| !hosts.permits(name, address)) {
            Err(FailureKind::SecretNotForHost)
        } else {
            Ok(())
        }
    }

    async fn open_as(
        &self,
        address: IpAddr,
        left: Duration,
        credentials: Credentials<'_>,
    ) -> Result<Conversation, Failure> {
        let encryption = self.encryption()?;
        let config = self.config(credentials, encryption.is_some())?;
        let stream = connect(SocketAddr::new(address, self.location.port), left)
            .await
            .map_err(|error| failed(&error))?;
        let (stream, pooler, process) = match encryption {
            None => {
                let (stream, pooler) = self.log_in(config, stream, NoTls).await?;
                let process = stream.process();
                (Stream::Left(stream), pooler, process)
            }
            Some(mut encryption) => {
                let stream = request_tls(stream).await?;
                let stream = encryption.handshake(&self.location.host, stream).await;
                let stream = stream.map_err(|error| failed(&error))?;
                let (stream, pooler) = self.log_in(config, stream, Encrypted).await?;
                let process = stream.process();
                (Stream::Right(Box::new(stream)), pooler, process)
            }
        };
        Ok(Conversation::new(stream, pooler, process))
    }

    /// The stream after the login, without what the protocol's implementation keeps for itself; and whether a pooler says
    /// that it is one.
    async fn log_in<S, T>(&self, config: Config, stream: S, tls: T) -> Result<(Guard<S>, bool), Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        T: TlsConnect<Lent<Guard<S>>> + Send + 'static,
        T::Stream: Send,
        T::Future: Send,
    {
        let stream = Arc::new(Mutex::new(Guard::new(stream, self.terms.iterations)));
        let lent = Lent(Arc::clone(&stream));
        let login = Box::pin(async move { config.connect_raw(lent, tls).await });
        let login = self.complete(login, &stream).await?;
        let (client, connection) = login.map_err(|error| self.refused_login(&error))?;
        let pooler = connection.parameter(POOLER_SETTING).is_some();
        drop((client, connection));
        let returned = Arc::into_inner(stream).ok_or(FailureKind::ProtocolViolation)?;
        let stream = returned.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((stream, pooler))
    }

    /// The outcome of a login. Where it needs an expensive proof of the password, that is made where it holds up nobody.
    async fn complete<S, C: Send + 'static>(
        &self,
        mut login: LoggingIn<C>,
        stream: &Mutex<Guard<S>>,
    ) -> Result<Result<C, Error>, FailureKind> {
        let guard = || stream.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = poll_fn(|cx| match login.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if guard().waits() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(result) = answered.await {
            return Ok(result);
        }
        let place = self.terms.place(&self.namespace).await;
        guard().go_on();
        // The proof is a part of the one poll that reads the challenge. Whom that would have woken is polled right after it.
        let proof = tokio::task::spawn_blocking(move || {
            let _place = place;
            let polled = login.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            (login, polled)
        });
        match proof.await {
            Ok((_, Poll::Ready(result))) => Ok(result),
            Ok((login, Poll::Pending)) => Ok(login.await),
            Err(_) => Err(FailureKind::ProtocolViolation),
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
    fn config(&self, (user, password): Credentials<'_>, encrypted: bool) -> Result<Config, FailureKind> {
        let database = &self.login.database;
        // Would end the text early in the startup message.
        if user.contains('\0') || database.contains('\0') {
            return Err(FailureKind::SecretUnresolved);
        }
        let mut config = Config::new();
        config
            .user(user)
            .dbname(database)
            .application_name("distributary");
        if let Some(password) = &password {
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

/// Whether a server, or a pooler in front of it, says so of a wrong user or password.
const fn may_be_the_line_end(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::AuthenticationFailed | FailureKind::PoolerRefused
    )
}

fn failed(error: &io::Error) -> FailureKind {
    tracing::debug!(error = error as &dyn StdError, "connection");
    classify_io(error)
}

/// Connects; what is sent must be acknowledged within `left`, on Linux, which is where the operator runs.
pub async fn connect(address: SocketAddr, left: Duration) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    let options = SockRef::from(&socket);
    options.set_tcp_nodelay(true)?;
    options.set_tcp_keepalive(&KEEPALIVE)?;
    // In milliseconds; 0 would stand for the system's minutes.
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(left.max(Duration::from_millis(1))))?;
    #[cfg(not(target_os = "linux"))]
    let _ = left;
    socket.connect(address).await
}

/// Asks the server for TLS. Exactly one byte is read: what else came in clear text is taken for a part of the
/// handshake, which fails on it (CVE-2021-23222).
pub async fn request_tls(mut stream: TcpStream) -> Result<TcpStream, FailureKind> {
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

#[cfg(test)]
mod tests;
