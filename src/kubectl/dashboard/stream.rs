//! A policy as it changes: the stream of the operator, or else a watch of the policy.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Shared, State as Local, problem, reading};
use crate::clock::Clock;
use crate::http::Lasting;
use crate::http_api::answers::PolicyAnswer;
use crate::http_api::names::PolicyPath;
use crate::http_api::problem::Problem;
use crate::kubectl::cluster::Cluster;
use crate::kubectl::error::Error;
use crate::kubectl::live::Events;
use crate::kubectl::watching;
use distributary_core::ids::PolicyKey;

/// From one sign of life to the next.
const ALIVE: Duration = Duration::from_secs(15);
/// From one question whether the caller may still read to the next.
pub const AGAIN: Duration = Duration::from_secs(60);

pub async fn events(
    State(local): Local,
    PolicyPath(key): PolicyPath,
    Extension(lasting): Extension<Lasting>,
) -> Result<Response, Problem> {
    let object = local.object(&key).await?;
    let opened = async { local.live().await?.events(&key.namespace, &key.name).await };
    let opened = opened.await;
    if let (Err(why), true) = (&opened, local.live.is_named()) {
        return Err(problem(why));
    }
    Ok(response(&lasting, move |sender| async move {
        match opened {
            Ok(events) => by_operator(&local, &key, events, &sender).await,
            Err(why) => {
                let first = event("snapshot", &reading::told(&object, &why));
                if sender.send(first).await.is_ok() {
                    by_watch(&local, &key, &why, &sender).await;
                }
            }
        }
    }))
}

/// A response whose body is what `tell` sends, until that ends or nobody reads any more.
pub fn response<F>(lasting: &Lasting, tell: impl FnOnce(mpsc::Sender<Bytes>) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    let connection = lasting.until_dropped();
    let telling = tell(sender.clone());
    tokio::spawn(async move {
        let _connection = connection;
        tokio::select! {
            () = telling => {}
            () = sender.closed() => {}
            () = alive(&sender) => {}
        }
    });
    let body = futures::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        let next = receiver.recv().await?;
        Some((Ok::<_, Infallible>(next), receiver))
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(body)).into_response()
}

/// Until nobody reads any more.
async fn alive(sender: &mpsc::Sender<Bytes>) {
    loop {
        Clock::sleep(ALIVE).await;
        if sender.send(Bytes::from_static(b": alive\n\n")).await.is_err() {
            return;
        }
    }
}

/// Until the operator ends it, or the caller may not read any more: the page then asks again, and is told why.
async fn by_operator(
    local: &Arc<Shared>,
    key: &PolicyKey,
    mut events: Events<PolicyAnswer>,
    sender: &mpsc::Sender<Bytes>,
) {
    let told = async {
        while let Ok(Some(policy)) = events.next().await {
            if sender.send(event("change", &policy)).await.is_err() {
                return;
            }
        }
    };
    let may_not = async {
        loop {
            Clock::sleep(AGAIN).await;
            if let Err(problem) = local.object(key).await {
                return problem;
            }
        }
    };
    until_refused(told, may_not, sender).await;
}

/// What is told, until the caller may not read it any more.
pub async fn until_refused(
    told: impl Future<Output = ()>,
    may_not: impl Future<Output = Problem>,
    sender: &mpsc::Sender<Bytes>,
) {
    tokio::select! {
        () = told => {}
        problem = may_not => drop(sender.send(event("end", &problem)).await),
    }
}

async fn by_watch(local: &Arc<Shared>, key: &PolicyKey, why: &Error, sender: &mpsc::Sender<Bytes>) {
    let there = local.all(Some(&key.namespace));
    let mut changes = Box::pin(watching::policy(there, &key.name));
    while let Some(change) = changes.next().await {
        let text = match &change {
            Ok(object) => event("change", &reading::told(object, why)),
            Err(gone) => event("end", &problem(gone)),
        };
        if sender.send(text).await.is_err() || change.is_err() {
            return;
        }
    }
}

impl Shared {
    /// The cluster with another namespace.
    pub(super) fn within(&self, namespace: &str) -> Cluster {
        Cluster {
            config: self.cluster.config.clone(),
            client: self.cluster.client.clone(),
            namespace: namespace.to_owned(),
        }
    }
}

/// JSON has no line break of its own.
pub fn event(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
