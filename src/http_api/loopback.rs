//! The answers to reads on a port of the loopback, without tokens: the right to forward to the port of the Pod is the right to read.
//!
//! # Guarantees
//! - Nothing is changed here: no other method than GET has an answer.
//! - A request without a name of the loopback as its host is refused, so that no page of a browser that runs beside it reads here.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Extension;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::caller::Local;
use super::problem::Problem;
use super::rights::Rights;
use super::{Parts, answers_to_reads, with};
use crate::http::{self, Limits, Transport};

/// Of those who may forward to the Pod.
const LIMITS: Limits = Limits {
    at_once: 64,
    whole: Duration::from_secs(60),
};

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, parts: Parts) {
    http::serve(listener, Transport::Plain, LIMITS, pages(parts)).await;
}

fn pages(parts: Parts) -> axum::Router {
    let rights = Rights::of_everyone(parts.clock);
    let pages = answers_to_reads().layer(Extension(Local::default()));
    with(pages, parts, rights).layer(from_fn(from_here))
}

async fn from_here(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    if host.and_then(|host| host.to_str().ok()).is_some_and(is_here) {
        return next.run(request).await;
    }
    let message = "the header Host must be localhost or an address of the loopback";
    Problem::new(StatusCode::FORBIDDEN, "Forbidden", message).into_response()
}

/// Whether a host, with or without a port, is this one.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    };
    let address = host.parse::<SocketAddr>().map(|address| address.ip());
    let address = address.or_else(|_| name.trim_matches(['[', ']']).parse::<IpAddr>());
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_is_here() {
        for here in [
            "localhost",
            "localhost:8081",
            "127.0.0.1:8081",
            "127.0.0.1",
            "[::1]:8081",
            "[::1]",
        ] {
            assert!(is_here(here), "{here}");
        }
        for other in [
            "",
            "example.com",
            "example.com:8081",
            "localhost.example.com",
            "10.0.0.1:8081",
            "[::2]:1",
        ] {
            assert!(!is_here(other), "{other}");
        }
    }
}
