//! Requests to the API server with the token of somebody else, and with nothing of the operator's own.
//!
//! # Guarantees
//! - The connections know the address of the API server and its CA. The operator's token, client certificate, exec plugin and
//!   impersonation never go over them: a request has the rights of the token that it was given, or none.
//! - At most [`AT_ONCE`] requests are under way. Further ones are refused, and wait for nothing.

use std::sync::Arc;

use axum::http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Limited};
use kube::core::Status;
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::DEADLINE;

/// Requests at once.
const AT_ONCE: u16 = 16;

/// Bytes of an answer. An object has at most 1.5 MiB in etcd, and every answer here is one object.
const LONGEST: usize = 4 << 20;

/// Sends requests with the tokens of others. Clones share the connections and the places.
#[derive(Clone)]
pub struct Callers {
    client: Client,
    places: Arc<Semaphore>,
}

/// One caller. Sends requests one after the other.
pub struct AsCaller {
    client: Client,
    /// `None`: the client says itself who asks.
    token: Option<Token>,
    /// Its end makes room.
    _place: Option<OwnedSemaphorePermit>,
}

/// The token of a caller. Neither logs nor messages show it.
#[derive(Clone)]
pub struct Token(HeaderValue);

/// Why a request has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallerError {
    /// Nothing was sent.
    #[error("too many requests to the API server are under way")]
    Busy,
    /// The API server's own words.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// What became of the request is not known.
    #[error("the API server does not answer")]
    NoAnswer,
}

impl Token {
    /// `None`: it cannot be sent in a header.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

/// The same API server, and nothing of who asks it.
pub(super) fn anonymous(config: &Config) -> Config {
    let mut bare = Config::new(config.cluster_url.clone());
    bare.root_cert.clone_from(&config.root_cert);
    bare.root_cert_file.clone_from(&config.root_cert_file);
    bare.accept_invalid_certs = config.accept_invalid_certs;
    bare.tls_server_name.clone_from(&config.tls_server_name);
    bare.proxy_url.clone_from(&config.proxy_url);
    // Whoever asks knows when to ask again.
    bare.default_retry = false;
    bare
}

impl Callers {
    /// Over a client that adds nothing to what it sends.
    #[must_use]
    pub fn over(client: Client) -> Self {
        Self {
            client,
            places: Arc::new(Semaphore::new(usize::from(AT_ONCE))),
        }
    }

    /// The same places, over a client that `around` makes of this one.
    #[must_use]
    pub(super) fn around(&self, around: impl FnOnce(&Client) -> Client) -> Self {
        Self {
            client: around(&self.client),
            places: Arc::clone(&self.places),
        }
    }

    /// The object that the API server answers.
    ///
    /// # Errors
    /// [`CallerError::Busy`] at once where no place is free; what the API server says against it; or that it says nothing
    /// within 10 s.
    pub async fn send(&self, token: &Token, request: Request<Vec<u8>>) -> Result<Value, CallerError> {
        self.as_caller(token)?.send(request).await
    }

    /// A place for as many requests of a caller as belong together: what was begun can be taken back, however many others ask.
    ///
    /// # Errors
    /// [`CallerError::Busy`] where none is free.
    pub fn as_caller(&self, token: &Token) -> Result<AsCaller, CallerError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        Ok(AsCaller {
            client: self.client.clone(),
            token: Some(token.clone()),
            _place: Some(place.map_err(|_| CallerError::Busy)?),
        })
    }

    /// Waits for the requests that are under way. None is begun meanwhile.
    pub async fn rest(&self) {
        // Nobody closes the places.
        let _all = self.places.acquire_many(u32::from(AT_ONCE)).await;
    }
}

impl AsCaller {
    /// Whoever the client is, such as the user of a kubeconfig.
    #[must_use]
    pub const fn over(client: Client) -> Self {
        Self {
            client,
            token: None,
            _place: None,
        }
    }

    /// The object that the API server answers.
    ///
    /// # Errors
    /// What the API server says against it; or that it says nothing within 10 s.
    pub async fn send(&self, mut request: Request<Vec<u8>>) -> Result<Value, CallerError> {
        let headers = request.headers_mut();
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.0.clone());
        }
        let accepts = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, accepts);
        match tokio::time::timeout(DEADLINE, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallerError::NoAnswer),
        }
    }

    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Value, CallerError> {
        let answer = self.client.send(request.map(Into::into)).await;
        let answer = answer.map_err(|error| {
            tracing::warn!(error = %crate::telemetry::chain(&error), "a request of a caller has no answer from the API server");
            CallerError::NoAnswer
        })?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST).collect().await;
        let bytes = body.map_err(|_| CallerError::NoAnswer)?.to_bytes();
        if parts.status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|_| CallerError::NoAnswer);
        }
        let status = serde_json::from_slice::<Status>(&bytes).unwrap_or_default();
        let mut status = status.with_code(parts.status.as_u16());
        // Whoever stands before the API server may answer in another form.
        let usual = parts.status.canonical_reason().unwrap_or_default();
        if status.message.is_empty() {
            usual.clone_into(&mut status.message);
        }
        if status.reason.is_empty() {
            status.reason = usual.replace(' ', "");
        }
        Err(CallerError::Refused(status.boxed()))
    }
}

#[cfg(test)]
mod tests;
