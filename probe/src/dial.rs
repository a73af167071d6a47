//! Connections for programs that log in by themselves: address, TLS, and nothing said yet.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_util::either::Either;

use super::classify::{classify, classify_io};
use super::guard::Guard;
use super::limits::Limits;
use super::login::{EncryptionResult, SSL_REQUEST, connect, request_tls};
use super::tls::{EncryptedStream, Encryption};
use distributary_core::login::TlsSettings;
use distributary_core::observation::{Failure, FailureKind};
use distributary_core::server::Host;

/// Opens connections by one set of TLS settings. Clones share what was read of the certificates.
#[derive(Clone)]
pub struct Dialer(Arc<EncryptionResult>);

impl Dialer {
    /// Reads the certificates. What is wrong with them is told when a connection is opened.
    #[must_use]
    pub fn new(settings: &TlsSettings) -> Self {
        Self(Arc::new(Encryption::new(settings)))
    }

    /// Connects to `address` and makes the TLS session, within `left`, where `host` is the name that the certificate is checked
    /// against. What is sent later must be acknowledged within `left`, too (TCP_USER_TIMEOUT).
    ///
    /// # Errors
    /// What kept the connection from being made; `TimedOut` after `left`.
    pub async fn open(
        &self,
        host: &Host,
        address: SocketAddr,
        left: Duration,
    ) -> Result<ServerStream, FailureKind> {
        let opened = timeout(left, self.connect(host, address, left)).await;
        opened.unwrap_or(Err(FailureKind::TimedOut))
    }

    async fn connect(
        &self,
        host: &Host,
        address: SocketAddr,
        left: Duration,
    ) -> Result<ServerStream, FailureKind> {
        let encryption = match &*self.0 {
            Ok(encryption) => encryption.clone(),
            Err(error) => {
                tracing::debug!(error = error as &dyn StdError, "TLS settings");
                return Err(error.kind());
            }
        };
        let stream = connect(address, left).await.map_err(|error| failed(&error))?;
        let Some(mut encryption) = encryption else {
            return Ok(ServerStream(Either::Left(stream)));
        };
        let stream = request_tls(stream).await?;
        let stream = encryption.handshake(host, stream).await;
        stream
            .map(|stream| ServerStream(Either::Right(Box::new(stream))))
            .map_err(|error| failed(&error))
    }
}

fn failed(error: &io::Error) -> FailureKind {
    classify_io(error)
}

/// Whether a process of the server answers at `address` within `left`: it is asked whether it offers TLS, and nothing else. A
/// server whose processes stand still answers nothing, while the system beneath it still takes connections.
pub async fn answers(address: SocketAddr, left: Duration) -> bool {
    let asked = async {
        let mut stream = connect(address, left).await?;
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_u8().await
    };
    matches!(timeout(left, asked).await, Ok(Ok(b'S' | b'N' | b'E')))
}

/// What an error of the protocol's implementation means, in a login or after it. `password`: whether the login has one.
#[must_use]
pub fn meaning(error: &tokio_postgres::Error, password: bool) -> Failure {
    classify(error, password)
}

/// A connection to a server, decrypted.
pub struct ServerStream(Either<TcpStream, Box<EncryptedStream>>);

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl TlsStream for ServerStream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.0 {
            Either::Left(_) => ChannelBinding::none(),
            Either::Right(stream) => stream.channel_binding(),
        }
    }
}

/// A stream over which a program logs in, with what a check demands of a login: a password is proven by SCRAM alone, with 4,096 to 20,000
/// iterations (the default of [`Limits`]), and no message is longer than 64 KiB. After the login anything passes. What is refused is the
/// inner error of an I/O error, and [`meaning`] names it.
pub struct LoginGuard<S>(Guard<S>);

impl<S> LoginGuard<S> {
    /// Of a stream on which nothing was said yet.
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self(Guard::of_login(stream, Limits::default().scram_iterations))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LoginGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LoginGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for LoginGuard<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}
