//! The connections of an HTTP port: few, short, small, and none that keeps out a newer one.
//!
//! Whoever reaches a port can open connections and leave them. Memory is bounded by the number of connections and by what each may
//! send; a probe of the kubelet gets through, as the oldest connection makes room for it. A connection whose caller has proven a
//! right makes room for none: where all are such, the newest is refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;

/// For a TLS handshake, and for the head of a request.
pub const HEAD: Duration = Duration::from_secs(5);

/// Bytes of a head, and of what is read ahead; the least that hyper takes.
const BUFFER: usize = 8 * 1024;

/// Header lines of a request.
const LINES: usize = 64;

/// For the last bytes of an answer that lasted.
const LAST: Duration = Duration::from_secs(5);

/// After the system refused a connection, as it has no descriptor left.
const REFUSED: Duration = Duration::from_secs(1);

/// What the clients of a port can have of it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub at_once: usize,
    /// For a connection as a whole, which is one request and its answer, but for an answer that lasts ([`Lasting`]).
    pub whole: Duration,
}

/// How the bytes of a connection are protected.
#[derive(Clone, Debug)]
pub enum Transport {
    Plain,
    /// With TLS, by the newest configuration; while there is none, no connection is served.
    Tls(watch::Receiver<Option<Arc<ServerConfig>>>),
}

/// Lies in the extensions of each request: protects its connection, and makes its answer last longer than the limit of a connection.
#[derive(Clone, Debug, Default)]
pub struct Lasting(Arc<Lifetime>);

#[derive(Debug, Default)]
struct Lifetime {
    is_protected: AtomicBool,
    lasts: AtomicBool,
    ends: CancellationToken,
}

impl Lasting {
    /// The caller has proven a right: the connection makes no room for others.
    pub fn protect(&self) {
        self.0.is_protected.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_protected(&self) -> bool {
        self.0.is_protected.load(Ordering::Relaxed)
    }

    /// The answer lasts as long as the guard, and is protected; 5 s later the connection ends, though the client reads nothing of it.
    #[must_use]
    pub fn until_dropped(&self) -> DropGuard {
        self.protect();
        self.0.lasts.store(true, Ordering::Relaxed);
        self.0.ends.clone().drop_guard()
    }

    /// Waits until the connection has to end.
    async fn end(&self, whole: Duration) {
        tokio::select! {
            () = Clock::sleep(whole) => {}
            () = self.0.ends.cancelled() => {}
        }
        if self.0.lasts.load(Ordering::Relaxed) {
            self.0.ends.cancelled().await;
            // For the end of an answer that is read.
            Clock::sleep(LAST).await;
        }
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, transport: Transport, limits: Limits, pages: Router) {
    let mut open = Open {
        transport,
        limits,
        pages,
        tasks: JoinSet::new(),
        in_order: VecDeque::new(),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => open.take(stream),
            // The client has gone before it was accepted.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "a connection to the HTTP port cannot be accepted");
                Clock::sleep(REFUSED).await;
            }
        }
    }
}

/// The connections that are open, the oldest first.
struct Open {
    transport: Transport,
    limits: Limits,
    pages: Router,
    tasks: JoinSet<()>,
    in_order: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    lasting: Lasting,
}

impl Open {
    fn take(&mut self, stream: TcpStream) {
        let most = self.limits.at_once;
        while self.tasks.try_join_next().is_some() {}
        if self.in_order.len() >= most {
            self.in_order.retain(|connection| !connection.task.is_finished());
        }
        if self.in_order.len() >= most {
            let mut all = self.in_order.iter();
            let oldest = all.position(|connection| !connection.lasting.is_protected());
            let Some(oldest) = oldest.and_then(|place| self.in_order.remove(place)) else {
                return tracing::debug!("a connection is refused, as all others are protected");
            };
            oldest.task.abort();
        }
        let lasting = Lasting::default();
        let (transport, pages) = (self.transport.clone(), self.pages.clone());
        let talk = Talk {
            pages,
            lasting: lasting.clone(),
            whole: self.limits.whole,
        };
        let task = self.tasks.spawn(talk.over(stream, transport));
        self.in_order.push_back(Connection { task, lasting });
    }
}

/// One request and its answer.
struct Talk {
    pages: Router,
    lasting: Lasting,
    whole: Duration,
}

impl Talk {
    async fn over(self, stream: TcpStream, transport: Transport) {
        let configuration = match transport {
            Transport::Plain => return self.answer(stream).await,
            Transport::Tls(newest) => newest.borrow().clone(),
        };
        let Some(configuration) = configuration else {
            return tracing::debug!("a connection ended, as there is no certificate yet");
        };
        match timeout(HEAD, TlsAcceptor::from(configuration).accept(stream)).await {
            Ok(Ok(stream)) => self.answer(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Self {
            pages,
            lasting,
            whole,
        } = self;
        let pages = TowerToHyperService::new(pages);
        let own = lasting.clone();
        let pages = service_fn(move |mut request: hyper::Request<_>| {
            request.extensions_mut().insert(own.clone());
            pages.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(BUFFER)
            .max_headers(LINES)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), pages);
        tokio::select! {
            answered = connection => if let Err(error) = answered {
                tracing::debug!(%error, "a request to the HTTP port failed");
            },
            () = lasting.end(whole) => tracing::debug!("a request to the HTTP port took too long"),
        }
    }
}

#[cfg(test)]
mod tests;
