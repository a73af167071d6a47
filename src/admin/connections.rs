//! The connections of the HTTP port: few, short, small, and none that keeps out a newer one.
//!
//! Whoever reaches the port can open connections and leave them. Memory is bounded by the number of connections and by what each may
//! send; a probe of the kubelet gets through, as the oldest connection that asks for nothing makes room for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::clock::Clock;

/// Connections at once. A scrape and the probes of a kubelet need four.
pub(super) const AT_ONCE: usize = 128;

/// For the head of a request.
pub(super) const HEAD: Duration = Duration::from_secs(5);

/// For a connection as a whole, which is one request and its answer. Scrapes end after 10 s by default.
pub(super) const WHOLE: Duration = Duration::from_secs(30);

/// Bytes of a head, and of what is read ahead; the least that hyper takes.
const BUFFER: usize = 8 * 1024;

/// Header lines of a request.
const LINES: usize = 64;

/// After the system refused a connection, as it has no descriptor left.
const REFUSED: Duration = Duration::from_secs(1);

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, pages: Router) {
    let mut open = Open::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => open.take(stream, &pages),
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
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    in_order: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// Its request has come, and is being answered.
    asked: Arc<AtomicBool>,
}

impl Open {
    fn take(&mut self, stream: TcpStream, pages: &Router) {
        while self.tasks.try_join_next().is_some() {}
        if self.in_order.len() >= AT_ONCE {
            self.in_order.retain(|connection| !connection.task.is_finished());
        }
        if self.in_order.len() >= AT_ONCE {
            let asks_nothing = |connection: &Connection| !connection.asked.load(Ordering::Relaxed);
            let place = self.in_order.iter().position(asks_nothing).unwrap_or_default();
            if let Some(connection) = self.in_order.remove(place) {
                connection.task.abort();
            }
        }
        let asked = Arc::<AtomicBool>::default();
        let task = self
            .tasks
            .spawn(answer(stream, pages.clone(), Arc::clone(&asked)));
        self.in_order.push_back(Connection { task, asked });
    }
}

/// Answers one request.
async fn answer(stream: TcpStream, pages: Router, asked: Arc<AtomicBool>) {
    let pages = TowerToHyperService::new(pages);
    let pages = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        pages.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .max_headers(LINES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), pages);
    match timeout(WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request to the HTTP port failed"),
        Err(_) => tracing::debug!("a request to the HTTP port took too long"),
    }
}
