//! A fence before the API server. Between the moment when a request is begun and the moment when it is written lie a lookup, a
//! connection, its TLS handshake, perhaps a freeze of the process. So whether this process may write is asked once more when
//! the connection takes in the first part of the body. Every request that writes has one.
//!
//! # Guarantees
//! - Of a request that the fence holds back nothing is sent: the HTTP client writes the head and the first part of the body
//!   to the connection together, after it took in that part, and gives the connection up where it cannot.
//!
//! # Assumptions
//! - The client is one of [`super::clients`]. kube's own client, which a kubeconfig with a proxy needs, does not ask.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use axum::http::Request;
use http_body::{Frame, SizeHint};
use kube::Client;
use kube::client::Body;
use tower::BoxError;

/// Whether this process may write, at any time. Clones are the same fence.
#[derive(Clone)]
pub struct Fence(Arc<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fence").field(&self.is_open()).finish()
    }
}

impl Fence {
    pub fn new(may_write: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_write))
    }

    /// Whether a request may start.
    #[must_use]
    pub fn is_open(&self) -> bool {
        (self.0)()
    }

    /// A client of the same connections, whose requests that write stand behind this fence.
    #[must_use]
    pub fn around(&self, client: &Client) -> Client {
        let (fence, inner) = (self.clone(), client.clone());
        let send = move |mut request: Request<Body>| {
            request.extensions_mut().insert(fence.clone());
            let inner = inner.clone();
            async move { inner.send(request).await }
        };
        Client::new(tower::service_fn(send), client.default_namespace())
    }
}

/// The fence held a request back.
#[derive(Debug, thiserror::Error)]
#[error("this process may not write any more")]
struct HeldBack;

/// Whether the fence held back the request that failed so.
pub fn holds_back(error: &(dyn Error + 'static)) -> bool {
    error.is::<HeldBack>() || error.source().is_some_and(holds_back)
}

/// The body of a request, behind the fence that the request has.
pub fn fenced(mut request: Request<Body>) -> Request<FencedBody> {
    let fence = request.extensions_mut().remove();
    request.map(|body| FencedBody { body, fence })
}

/// A body of which nothing is given out where the fence is closed.
pub struct FencedBody {
    body: Body,
    /// Until the first part was asked for.
    fence: Option<Fence>,
}

impl HttpBody for FencedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.fence.take().is_some_and(|fence| !fence.is_open()) {
            return Poll::Ready(Some(Err(HeldBack.into())));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(Into::into)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests;
