//! The HTTP port: liveness, readiness, metrics.

mod connections;
mod exposition;
mod liveness;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::k8s::readiness::Readiness;
use crate::k8s::warmth::Warmth;
use crate::metrics::Metrics;
use exposition::Exposition;
pub use liveness::Liveness;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// What the pages show.
#[derive(Clone)]
pub struct State {
    pub liveness: Liveness,
    pub metrics: Metrics,
    pub readiness: watch::Receiver<Readiness>,
    /// Of a process that may follow another one.
    pub warmth: Option<Warmth>,
}

/// Listens; on `[::]` for IPv4, too, and for IPv4 alone where the node has no IPv6.
///
/// # Errors
/// What the system says against it.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = listen_with(address, open)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn listen_with<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let no_ipv6 = |error: &io::Error| {
        let number = error.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
    };
    match open(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && no_ipv6(&error) => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        listener => listener,
    }
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, state: State, clock: Clock) {
    connections::serve(listener, pages(state, clock)).await;
}

fn pages(state: State, clock: Clock) -> Router {
    let exposition = Exposition::new(state.metrics.clone(), clock);
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(state)
        .route("/metrics", get(metrics))
        .with_state(exposition)
}

/// 200 while every task runs that the process needs.
async fn livez(extract::State(state): extract::State<State>) -> Response {
    ended(&state.liveness).unwrap_or_else(|| "ok\n".into_response())
}

/// 200 once everything that the operator watches was listed, and a process that follows could take over; a line for each watch
/// that lags.
async fn readyz(extract::State(state): extract::State<State>) -> Response {
    let is_warm = || state.warmth.as_ref().is_none_or(Warmth::is_warm);
    ended(&state.liveness).unwrap_or_else(|| told(&state.readiness.borrow(), is_warm).into_response())
}

fn told(readiness: &Readiness, is_warm: impl FnOnce() -> bool) -> (StatusCode, String) {
    if readiness.is_ready() && !is_warm() {
        let body = format!("not every server was checked yet\n{readiness}");
        (StatusCode::SERVICE_UNAVAILABLE, body)
    } else if readiness.is_ready() {
        (StatusCode::OK, format!("ok\n{readiness}"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, readiness.to_string())
    }
}

/// That a task has ended, which the process does not outlive for long.
fn ended(liveness: &Liveness) -> Option<Response> {
    let ended = liveness.ended()?;
    Some((StatusCode::SERVICE_UNAVAILABLE, format!("{ended} stopped\n")).into_response())
}

async fn metrics(extract::State(exposition): extract::State<Exposition>) -> Response {
    match exposition.page().await {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
