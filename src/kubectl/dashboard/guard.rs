//! Who may ask the server of the dashboard: the page that it served, in a browser that was given the secret of this run.
//!
//! # Guarantees
//! - A request whose Host is not this address, by its number or as localhost, is refused: no other name that leads here is one of ours
//!   (DNS rebinding).
//! - One with the Origin of another page is refused.
//! - Without the secret there is no answer but the files of the page, which have no data.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::http_api::problem::Problem;

/// Bytes of a secret.
const SECRET: usize = 32;

/// The address of a server, and its secret.
pub struct Guard {
    hosts: [String; 2],
    secret: String,
}

impl Guard {
    /// With a new secret; `None`: the system has no randomness.
    pub fn new(port: u16) -> Option<Self> {
        let mut bytes = [0; SECRET];
        let provider = rustls::crypto::ring::default_provider();
        provider.secure_random.fill(&mut bytes).ok()?;
        Some(Self {
            hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
            secret: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// A browser does not send the fragment, and the page takes the secret out of the address bar. `namespace`: whose policies it
    /// shows at first; `None`: all.
    pub fn url(&self, namespace: Option<&str>) -> String {
        let namespace = namespace.map(|namespace| format!("&namespace={namespace}"));
        let namespace = namespace.unwrap_or_default();
        format!("http://{}/#secret={}{namespace}", self.hosts[0], self.secret)
    }

    fn refusal(&self, path: &str, headers: &HeaderMap) -> Option<Problem> {
        let forbidden = |message| Some(Problem::new(StatusCode::FORBIDDEN, "Forbidden", message));
        let is_own = |host: &str| self.hosts.iter().any(|own| own == host);
        if !only(headers, &header::HOST).is_some_and(is_own) {
            return forbidden("the header Host must be the address that the command printed");
        }
        let is_own = |origin: &str| origin.strip_prefix("http://").is_some_and(is_own);
        if headers.contains_key(header::ORIGIN) && !only(headers, &header::ORIGIN).is_some_and(is_own) {
            return forbidden("the header Origin names another page");
        }
        if !path.starts_with("/api/") {
            return None;
        }
        let given = only(headers, &header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        // Of hashes, so that the time tells nothing of the secret.
        let is_given = given.is_some_and(|given| Sha256::digest(given) == Sha256::digest(&self.secret));
        let message = "the request must have the secret of the URL that the command printed";
        (!is_given).then(|| Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", message))
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Lets a request through, or refuses it.
pub async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.refusal(request.uri().path(), request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line<'a> = (&'static str, &'a str);

    fn asked(guard: &Guard, path: &str, lines: &[Line<'_>]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        guard.refusal(path, &headers).map_or(200, |problem| problem.code)
    }

    #[test]
    fn only_the_page_with_the_secret_gets_an_answer() {
        let guard = Guard::new(4711).unwrap();
        let secret = format!("Bearer {}", guard.secret);
        let (own, api) = (("host", "127.0.0.1:4711"), "/api/v1/policies");
        let token = ("authorization", secret.as_str());
        let cases: [(u16, &str, &[Line<'_>]); 14] = [
            (200, "/", &[own]),
            (200, "/dashboard/app.js", &[("host", "localhost:4711")]),
            (403, "/", &[("host", "127.0.0.1")]),
            (403, "/", &[("host", "rebound.example:4711")]),
            (403, "/", &[("host", "127.0.0.1:4712")]),
            (403, "/", &[]),
            (403, "/", &[own, own]),
            (401, api, &[own]),
            (401, api, &[own, ("authorization", "Bearer 00")]),
            (401, api, &[own, token, token]),
            (200, api, &[own, token]),
            (200, api, &[own, token, ("origin", "http://127.0.0.1:4711")]),
            (403, api, &[own, token, ("origin", "http://evil.example")]),
            (403, api, &[own, token, ("origin", "null")]),
        ];
        for (code, path, lines) in cases {
            assert_eq!(asked(&guard, path, lines), code, "{path} {lines:?}");
        }
    }

    #[test]
    fn each_run_has_a_secret_of_its_own() {
        let [one, other] = [Guard::new(1).unwrap(), Guard::new(1).unwrap()];
        assert_ne!(one.url(None), other.url(None));
        let end = format!("/#secret={}", one.secret);
        assert!(one.secret.len() == 2 * SECRET && one.url(None).ends_with(&end));
        assert!(one.url(Some("shop")).ends_with(&format!("{end}&namespace=shop")));
    }
}
