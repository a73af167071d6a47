//! The HTTP port: liveness, readiness, metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::k8s::context::Context;
use crate::metrics::Metrics;
use crate::runtime::engine::EngineHandle;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages show.
#[derive(Clone)]
pub struct State {
    pub engine: EngineHandle,
    pub metrics: Metrics,
    pub context: Arc<Context>,
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, state: State) {
    let pages = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state);
    if let Err(error) = axum::serve(listener, pages).await {
        tracing::error!(%error, "HTTP server ended");
    }
}

/// 200 while the engine decides.
async fn livez(extract::State(state): extract::State<State>) -> Response {
    answer(state.engine.is_alive(), "engine stopped\n")
}

/// 200 once everything that the operator watches was listed.
async fn readyz(extract::State(state): extract::State<State>) -> Response {
    answer(
        state.context.synced.is_done() && state.engine.is_alive(),
        "first lists not complete\n",
    )
}

fn answer(good: bool, otherwise: &'static str) -> Response {
    if good {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, otherwise).into_response()
    }
}

async fn metrics(extract::State(state): extract::State<State>) -> Response {
    match state.metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
