//! The clients of the API server: one for requests, one for watches.
//!
//! kube's own client notices nothing of a connection whose packets are dropped in silence. Here the kernel asks an idle
//! connection for a sign of life, and gives one up to which nothing was acknowledged; the connections of watches, of
//! which the server has to end each within seconds, are also given up when nothing is read.

use std::time::Duration;

use axum::body::{Body as AnyBody, Bytes, HttpBody};
use axum::http::{HeaderMap, Response, StatusCode, header};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt;
use kube::{Client, Config};
use serde_json::json;
use tower::{BoxError, ServiceBuilder};

use super::callers::{self, Callers};
use super::fence::{self, Fence, FencedBody};
use super::timed::timed;
use crate::clock::Clock;
use crate::metrics::Metrics;

/// To a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// An idle connection is asked for a sign of life after the first, and again after the second.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2));
/// Data, or the question for a sign of life, that nobody acknowledges for so long end a connection. Only Linux can be told.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);
/// A connection of a watch on which nothing was read for so long is given up; it is longer than a list may take.
const UNREAD: Duration = Duration::from_secs(35);
/// Connections without a request that are kept, as many as writes may be under way, and for how long.
const IDLE: (usize, Duration) = (64, Duration::from_secs(30));

/// The clients that the process sends its requests with; clones use the same connections. Whoever starts the process hands
/// them in, so that a test can put a layer of its own around them.
#[derive(Clone)]
pub struct Clients {
    pub requests: Client,
    /// Opens a connection for each request: for one that follows a request without an answer, whose connection may be as
    /// dead as others that are idle.
    pub fresh: Client,
    /// A watch holds its connection, and a request must not wait for one.
    pub watches: Client,
    /// For requests with the tokens of others, which go over none of the connections above.
    pub callers: Callers,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot find the API server: no kubeconfig and no in-cluster credentials")]
    Config(#[source] Box<kube::config::InferConfigError>),
    #[error("cannot make a client of the API server")]
    Client(#[source] Box<kube::Error>),
}

impl Clients {
    /// By the kubeconfig (KUBECONFIG, or ~/.kube/config) or by the pod's ServiceAccount. Needs a runtime.
    ///
    /// # Errors
    /// There is neither, or its certificates or its proxy cannot be used.
    pub async fn infer() -> Result<Self, Error> {
        let config = Config::infer()
            .await
            .map_err(|error| Error::Config(Box::new(error)))?;
        Self::of(&config)
    }

    /// # Errors
    /// Its certificates or its proxy cannot be used.
    pub fn of(config: &Config) -> Result<Self, Error> {
        let client = |purpose| client(config, &purpose).map_err(|error| Error::Client(Box::new(error)));
        Ok(Self {
            requests: client(Purpose::Requests)?,
            fresh: client(Purpose::Fresh)?,
            watches: client(Purpose::Watches)?,
            callers: Callers::over(callers_client(config).map_err(|error| Error::Client(Box::new(error)))?),
        })
    }

    /// The same connections, with requests whose times `metrics` are told.
    #[must_use]
    pub fn timed(&self, metrics: &Metrics, clock: Clock) -> Self {
        let timed = |client: &Client| timed(client, metrics, clock);
        Self {
            requests: timed(&self.requests),
            fresh: timed(&self.fresh),
            watches: timed(&self.watches),
            callers: self.callers.around(timed),
        }
    }

    /// The same connections, with requests that write behind this fence.
    pub(super) fn fenced(&self, fence: &Fence) -> Self {
        Self {
            requests: fence.around(&self.requests),
            fresh: fence.around(&self.fresh),
            watches: self.watches.clone(),
            callers: self.callers.clone(),
        }
    }

    /// The client of a command, which has no watch to keep and no writer to follow: that of the requests alone.
    ///
    /// # Errors
    /// Its certificates or its proxy cannot be used, or a credential plugin gives no login.
    pub fn of_command(config: &Config) -> Result<Client, Error> {
        client(config, &Purpose::Requests).map_err(|error| Error::Client(Box::new(error)))
    }
}

enum Purpose {
    Requests,
    Fresh,
    Watches,
}

fn callers_client(config: &Config) -> Result<Client, kube::Error> {
    client(&callers::anonymous(config), &Purpose::Requests)
}

fn client(config: &Config, purpose: &Purpose) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        // kube says what it thinks of it.
        return Client::try_from(config.clone());
    }
    let auth = config.auth_layer()?;
    // kube runs a credential plugin for a token, and once more for a certificate: one that gave a token has none.
    let mut of_tls = config.clone();
    if auth.is_some() {
        of_tls.auth_info.exec = None;
        of_tls.auth_info.auth_provider = None;
    }
    let mut connector = TimeoutConnector::new(of_tls.rustls_https_connector_with_connector(tcp())?);
    connector.set_connect_timeout(Some(CONNECT));
    // Nothing that was sent is sent again here: who asks knows what a failure means, and when to ask again.
    let (mut most, longest) = IDLE;
    match purpose {
        Purpose::Requests => {}
        Purpose::Fresh => most = 0,
        Purpose::Watches => connector.set_read_timeout(Some(UNREAD)),
    }
    let http: HttpClient<_, FencedBody> = HttpClient::builder(TokioExecutor::new())
        .pool_max_idle_per_host(most)
        .pool_idle_timeout(longest)
        .pool_timer(TokioTimer::new())
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(auth)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .map_response(telling_when)
        .map_request(fence::fenced)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// An answer that says in a header alone when to ask again says so in its body: there it is read.
fn telling_when<B>(response: Response<B>) -> Response<AnyBody>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (parts, body) = response.into_parts();
    let overloaded = matches!(
        parts.status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    match retry_after(&parts.headers).filter(|_| overloaded && !is_json(&parts.headers)) {
        Some(seconds) => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": parts.status.as_u16(),
                "reason": parts.status.canonical_reason().unwrap_or_default(),
                "message": format!("the API server asks to wait for {seconds} s"),
                "details": {"retryAfterSeconds": seconds},
            });
            Response::from_parts(parts, AnyBody::from(status.to_string()))
        }
        None => Response::from_parts(parts, AnyBody::new(body)),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    let (idle, again) = KEEPALIVE;
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(idle));
    connector.set_keepalive_interval(Some(again));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    connector
}

#[cfg(test)]
mod tests {
    use kube::client::Body;

    use super::*;

    async fn told(code: u16, headers: &[(&str, &str)], body: &'static str) -> serde_json::Value {
        let mut response = Response::builder().status(code);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(Body::from(body.as_bytes().to_vec())).unwrap();
        let (_, body) = telling_when(response).into_parts();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8(bytes.to_vec()).unwrap().into())
    }

    /// As the priority and fairness of the API server answers.
    #[tokio::test]
    async fn a_header_that_says_when_to_ask_again_is_read() {
        let plain = [
            ("retry-after", "7"),
            ("content-type", "text/plain; charset=utf-8"),
        ];
        let status = told(429, &plain, "Too many requests, please try again later.").await;
        assert_eq!(status["details"]["retryAfterSeconds"], 7, "{status}");
        assert_eq!(
            (&status["code"], &status["status"]),
            (&json!(429), &json!("Failure"))
        );
        let own = [("retry-after", "7"), ("content-type", "application/json")];
        assert_eq!(told(429, &own, r#"{"code": 1}"#).await["code"], 1);
        assert_eq!(told(200, &plain, "ok").await, "ok");
        assert_eq!(told(503, &[], "no").await, "no");
    }

    /// It may take a second, and ask a person each time.
    #[tokio::test]
    async fn a_credential_plugin_that_gives_a_token_runs_once() {
        let runs = std::env::temp_dir().join(format!("distributary-exec-{}", std::process::id()));
        let script = format!(
            r#"echo run >>'{}'; echo '{{"kind": "ExecCredential", "status": {{"token": "t"}}}}'"#,
            runs.display()
        );
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
            "interactiveMode": "Never",
        });
        let mut config = Config::new("https://localhost:1".parse().unwrap());
        config.root_cert = Some(vec![]);
        config.auth_info.exec = Some(serde_json::from_value(exec).unwrap());
        let made = Clients::of_command(&config).map(drop);
        let told = std::fs::read_to_string(&runs).unwrap();
        std::fs::remove_file(&runs).unwrap();
        made.unwrap();
        assert_eq!(told, "run\n");
    }
}
