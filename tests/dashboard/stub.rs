//! The page over made-up answers: more policies than a test can have servers for, and the same pictures each time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use distributary::dashboard::Served;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::made_up;

pub const TOKEN: &str = "made-up-token";

/// Serves until it is dropped.
pub struct Stub {
    pub address: SocketAddr,
    pub shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub struct Shared {
    policies: usize,
    /// Further events of the stream of the fleet.
    pub changes: broadcast::Sender<String>,
    /// Streams that are open now.
    pub streams: AtomicUsize,
    /// Whether each policy was deleted.
    pub is_gone: AtomicBool,
    /// Whether the next question for rights has no answer.
    pub is_busy: AtomicBool,
}

type Api = State<Arc<Shared>>;

impl Stub {
    /// So many policies.
    pub async fn start(policies: usize) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            policies,
            changes: broadcast::channel(1024).0,
            streams: AtomicUsize::new(0),
            is_gone: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
        });
        let pages = Router::new()
            .route("/api/v1/policies", get(list))
            .route("/api/v1/events", get(fleet))
            .route("/api/v1/policies/{namespace}/{name}", get(policy))
            .route("/api/v1/policies/{namespace}/{name}/rights", get(rights))
            .route("/api/v1/policies/{namespace}/{name}/events", get(events))
            .merge(distributary::dashboard::pages(Served::ByApi))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let pages = TowerToHyperService::new(pages.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), pages));
            }
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }
}

fn refused(headers: &HeaderMap) -> Option<Response> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if given == Some(&format!("Bearer {TOKEN}")) {
        return None;
    }
    let problem = json!({"code": 401, "reason": "Unauthorized", "message": "the token is not known"});
    Some((StatusCode::UNAUTHORIZED, Json(problem)).into_response())
}

/// The problem of a policy that was deleted.
pub fn not_found(name: &str) -> Value {
    let message = format!("replicasetpolicies.distributary.dev \"{name}\" not found");
    json!({"code": 404, "reason": "NotFound", "message": message})
}

fn missing(api: &Shared, name: &str) -> Option<Response> {
    let is_gone = api.is_gone.load(Ordering::SeqCst);
    is_gone.then(|| (StatusCode::NOT_FOUND, Json(not_found(name))).into_response())
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<usize>,
    r#continue: Option<String>,
}

async fn list(State(api): Api, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let first: usize = asked.r#continue.and_then(|text| text.parse().ok()).unwrap_or(0);
    let end = (first + asked.limit.unwrap_or(100)).min(api.policies);
    let items: Vec<_> = (first..end).map(made_up::item).collect();
    let next = (end < api.policies).then(|| end.to_string());
    let mut answer = made_up::origin();
    answer["items"] = json!(items);
    answer["continue"] = json!(next);
    Json(answer).into_response()
}

async fn fleet(State(api): Api, headers: HeaderMap) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let items: Vec<_> = (0..api.policies).map(made_up::item).collect();
    let mut snapshot = made_up::origin();
    snapshot["items"] = json!(items);
    stream(api, vec![event("snapshot", &snapshot)])
}

async fn policy(State(api): Api, headers: HeaderMap, Path((_, name)): Path<(String, String)>) -> Response {
    refused(&headers)
        .or_else(|| missing(&api, &name))
        .unwrap_or_else(|| Json(made_up::policy(&name, Duration::ZERO)).into_response())
}

async fn rights(State(api): Api, headers: HeaderMap) -> Response {
    if api.is_busy.swap(false, Ordering::SeqCst) {
        let problem = json!({"code": 503, "reason": "Unavailable", "message": "nobody answers"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(problem)).into_response();
    }
    refused(&headers).unwrap_or_else(|| Json(json!({"change": true, "message": null})).into_response())
}

/// The last five minutes come at once.
async fn events(State(api): Api, headers: HeaderMap, Path((_, name)): Path<(String, String)>) -> Response {
    if let Some(refused) = refused(&headers).or_else(|| missing(&api, &name)) {
        return refused;
    }
    let ages = (0..150).rev().map(|step| Duration::from_secs(2 * step));
    let all = ages.map(|age| event("change", &made_up::policy(&name, age)));
    stream(api, all.collect())
}

pub fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// Counts while the body is there.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

fn stream(api: Arc<Shared>, first: Vec<String>) -> Response {
    api.streams.fetch_add(1, Ordering::SeqCst);
    let changes = api.changes.subscribe();
    let first = Some(first.concat());
    let body = futures::stream::unfold((Open(api), first, changes), async |(open, first, mut changes)| {
        let text = match first {
            Some(first) => first,
            None => changes.recv().await.ok()?,
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), (open, None, changes)))
    });
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(body),
    )
        .into_response()
}
