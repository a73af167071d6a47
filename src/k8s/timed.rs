//! How long requests to the API server take, whoever sends them: a layer around every client.
//!
//! # Guarantees
//! - Each request is told once: when its answer was read or it was given up, and a watch when it has begun. One that the fence held
//!   back is not told, as it was not sent.
//! - Names, namespaces and selectors are no labels: whoever asks, there are as many series as the operator has kinds and verbs.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use axum::http::{Request, Uri};
use http_body::{Frame, SizeHint};
use kube::Client;
use kube::client::Body;

use super::fence;
use crate::clock::Clock;
use crate::metrics::Metrics;
use distributary_core::moment::Moment;

/// A client of the same connections, whose requests are timed.
pub(super) fn timed(client: &Client, metrics: &Metrics, clock: Clock) -> Client {
    let (inner, metrics) = (client.clone(), metrics.clone());
    let send = move |request: Request<Body>| {
        let (kind, verb) = labels(request.method().as_str(), request.uri());
        let mut asked = Asked {
            metrics: metrics.clone(),
            clock,
            kind,
            verb,
            at: clock.now(),
            is_sent: true,
        };
        let inner = inner.clone();
        async move {
            let answer = inner.send(request).await;
            let answer = answer.inspect_err(|error| asked.is_sent = !fence::holds_back(error))?;
            // A watch goes on for as long as it is asked to: its start alone is a request that somebody waits for.
            let asked = Some(asked).filter(|asked| asked.verb != WATCH);
            Ok::<_, kube::Error>(answer.map(|body| TimedBody { body, _asked: asked }))
        }
    };
    Client::new(tower::service_fn(send), client.default_namespace())
}

/// A request that is under way; its end tells how long it took.
struct Asked {
    metrics: Metrics,
    clock: Clock,
    kind: &'static str,
    verb: &'static str,
    at: Moment,
    is_sent: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.is_sent {
            let took = self.clock.now().since(self.at);
            self.metrics.requested(self.kind, self.verb, took);
        }
    }
}

/// The body of an answer: a request has ended when nobody reads it any more.
struct TimedBody {
    body: Body,
    _asked: Option<Asked>,
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = kube::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, kube::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

const WATCH: &str = "watch";

/// The kind of the objects that a request is about, and its verb.
fn labels(method: &str, uri: &Uri) -> (&'static str, &'static str) {
    let target = Target::of(uri.path());
    let is_watch = || {
        uri.query()
            .unwrap_or_default()
            .split('&')
            .any(|part| part == "watch=true")
    };
    let verb = match method {
        "GET" if is_watch() => WATCH,
        "GET" if target.is_one => "get",
        "GET" => "list",
        "POST" => "create",
        "PUT" if target.is_status => "status",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    };
    (kind(target.resource), verb)
}

/// The kind of a resource that the operator, or a caller of its HTTP API, asks for.
fn kind(resource: &str) -> &'static str {
    match resource {
        "replicasetpolicies" => "ReplicaSetPolicy",
        "endpointslices" => "EndpointSlice",
        "services" => "Service",
        "configmaps" => "ConfigMap",
        "secrets" => "Secret",
        "events" => "Event",
        "leases" => "Lease",
        "servicecidrs" => "ServiceCIDR",
        "selfsubjectaccessreviews" => "SelfSubjectAccessReview",
        _ => "Other",
    }
}

/// What a path of the API server leads to.
struct Target<'a> {
    resource: &'a str,
    /// Whether it is one object, and no list.
    is_one: bool,
    is_status: bool,
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Self {
        let mut parts = path.split('/').skip(1);
        // api/VERSION, or apis/GROUP/VERSION.
        let before = if parts.next() == Some("api") { 1 } else { 2 };
        let mut parts = parts.skip(before);
        let resource = match parts.next() {
            Some("namespaces") => parts.nth(1),
            resource => resource,
        };
        let (name, subresource) = (parts.next(), parts.next());
        Self {
            resource: resource.unwrap_or_default(),
            is_one: name.is_some() || resource.is_none(),
            is_status: subresource == Some("status"),
        }
    }
}

#[cfg(test)]
mod tests;
