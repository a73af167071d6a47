//! The HTTP API: what this process knows of the policies, and changes of them, for whoever has a token of the Kubernetes API
//! server. It does nothing with the rights of the operator: the API server says who may read what, and changes are requests of
//! the caller.

pub(crate) mod answers;
mod caller;
pub mod certificate;
mod change;
mod chosen;
mod events;
mod facts;
pub mod loopback;
pub(crate) mod names;
mod openapi;
pub(crate) mod paths;
pub(crate) mod problem;
mod reading;
mod rights;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::{Clock, timestamp};
use crate::dashboard::{self, Served};
use crate::engine::Board;
use crate::http::{self, Exposition, Limits, Transport};
use crate::k8s::callers::Callers;
use crate::k8s::context::Context;
use crate::k8s::secrets::SecretAccess;
use answers::Origin;
use change::Bodies;
use events::Streams;
pub use openapi::document;
use problem::Problem;
use rights::Rights;

/// As many answers that last as there may be, and again as many others.
const LIMITS: Limits = Limits {
    at_once: 2 * events::MOST,
    whole: Duration::from_secs(60),
};

/// What the API rests on.
#[derive(Clone)]
pub struct Parts {
    pub context: Arc<Context>,
    pub board: Board,
    pub callers: Callers,
    pub clock: Clock,
    /// The name of this process, as the Lease would have it.
    pub identity: String,
    /// Who holds the Lease; `None`: there is no Lease.
    pub holder: Option<watch::Receiver<Option<String>>>,
    /// Whose policies the operator serves; empty: all namespaces.
    pub namespaces: Vec<String>,
    pub secrets: SecretAccess,
    /// Served to those who may get /metrics; `None`: metrics are open on the other port.
    pub exposition: Option<Exposition>,
}

/// What every handler has.
struct Shared {
    parts: Parts,
    rights: Rights,
    streams: Streams,
    bodies: Bodies,
}

type State = axum::extract::State<Arc<Shared>>;

impl Shared {
    /// Who answers, and when.
    fn origin(&self) -> Origin {
        let Parts { identity, holder, .. } = &self.parts;
        let leader = match holder {
            Some(holder) => holder.borrow().clone(),
            None => Some(identity.clone()),
        };
        Origin {
            answered_by: identity.clone(),
            leader,
            observed_at: format!("{:.3}", timestamp()),
        }
    }
}

/// Serves until the process ends. While there is no certificate, no connection is served.
pub async fn serve(
    listener: TcpListener,
    certificate: watch::Receiver<Option<Arc<ServerConfig>>>,
    parts: Parts,
) {
    let transport = Transport::Tls(certificate);
    http::serve(listener, transport, LIMITS, pages(parts)).await;
}

fn pages(parts: Parts) -> Router {
    let rights = Rights::new(parts.callers.clone(), parts.clock);
    let pages = answers_to_reads()
        .route(paths::REPLICAS, post(change::change))
        .route(paths::RIGHTS, get(reading::rights))
        .route(paths::METRICS, get(reading::metrics))
        .merge(dashboard::pages(Served::ByApi));
    with(pages, parts, rights)
}

/// The pages that change nothing.
fn answers_to_reads() -> Router<Arc<Shared>> {
    let open = async || ([(header::CONTENT_TYPE, "application/json")], document());
    Router::new()
        .route(paths::DESCRIPTION, get(open))
        .route(paths::HEALTH, get(reading::health))
        .route(paths::REPLICAS, get(reading::replicas))
        .route(paths::STATS, get(reading::stats))
        .route(paths::POLICIES, get(reading::policies))
        .route(paths::POLICY, get(reading::policy))
        .route(paths::POLICY_EVENTS, get(events::events))
        .route(paths::EVENTS, get(events::all_events))
}

fn with(pages: Router<Arc<Shared>>, parts: Parts, rights: Rights) -> Router {
    let shared = Shared {
        rights,
        streams: Streams::default(),
        bodies: Bodies::default(),
        parts,
    };
    pages
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "NotFound", "there is no such page"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "this page has no such method",
            )
        })
        .layer(map_response(not_stored))
        .with_state(Arc::new(shared))
}

/// An answer is of one moment and of one caller.
async fn not_stored(mut answer: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, no_store);
    answer
}

#[cfg(test)]
mod tests;
