//! The HTTP port: liveness, readiness, metrics.

mod liveness;

use std::time::Duration;

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http::{self, Exposition, Limits, Transport};
use crate::k8s::readiness::Readiness;
use crate::k8s::warmth::Warmth;
pub use liveness::Liveness;

/// A scrape and the probes of a kubelet need four connections. Scrapes end after 10 s by default.
const LIMITS: Limits = Limits {
    at_once: 128,
    whole: Duration::from_secs(30),
};

/// What the pages show.
#[derive(Clone)]
pub struct State {
    pub liveness: Liveness,
    /// The page of metrics; `None`: it is on the port of the API.
    pub exposition: Option<Exposition>,
    pub readiness: watch::Receiver<Readiness>,
    /// Of a process that may follow another one.
    pub warmth: Option<Warmth>,
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, state: State) {
    http::serve(listener, Transport::Plain, LIMITS, pages(state)).await;
}

fn pages(state: State) -> Router {
    let exposition = state.exposition.clone();
    let probes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(state);
    match exposition {
        Some(exposition) => probes.merge(
            Router::new()
                .route("/metrics", get(metrics))
                .with_state(exposition),
        ),
        None => probes,
    }
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
        Ok(page) => ([(header::CONTENT_TYPE, http::OPEN_METRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
