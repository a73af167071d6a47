//! The page of the dashboard: static files of `dashboard/`, in the program. They hold no data and need no token; what they show
//! they ask of the same address, with the token of whoever looks.
//!
//! # Guarantees
//! - The page runs scripts and styles of these files alone, in no frame, and connects to nothing but the address that it came from.
//! - Text never becomes markup: the browser refuses every way to make it (Trusted Types).

use axum::Router;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse;
use axum::routing::get;

/// What the browser lets the page do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// A file: its path at the server, its type and its bytes.
struct File {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal: $kind:ident),+ $(,)?) => {
        [$(File {
            path: concat!("/dashboard/", $name),
            kind: $kind,
            bytes: include_bytes!(concat!("../dashboard/", $name)),
        }),+]
    };
}

const PAGE: &str = include_str!("../dashboard/index.html");

static FILES: [File; 20] = files![
    "style.css": CSS,
    "icon.svg": SVG,
    "app.js": SCRIPT,
    "session.js": SCRIPT,
    "stream.js": SCRIPT,
    "dom.js": SCRIPT,
    "words.js": SCRIPT,
    "sign_in.js": SCRIPT,
    "fleet.js": SCRIPT,
    "fleet_table.js": SCRIPT,
    "policy.js": SCRIPT,
    "picture.js": SCRIPT,
    "endpoints.js": SCRIPT,
    "timeline.js": SCRIPT,
    "plots.js": SCRIPT,
    "series.js": SCRIPT,
    "actions.js": SCRIPT,
    "vendor/uPlot.iife.min.js": SCRIPT,
    "vendor/uPlot.min.css": CSS,
    "vendor/uPlot.LICENSE": TEXT,
];

/// Who serves the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Served {
    /// The port of the HTTP API: whoever looks gives a token.
    ByApi,
    /// `kubectl distributary dashboard`: the URL has a secret.
    Locally,
}

/// The page at `/`, and its files under `/dashboard/`.
pub fn pages<S: Clone + Send + Sync + 'static>(served: Served) -> Router<S> {
    let page = match served {
        Served::ByApi => PAGE.to_owned(),
        Served::Locally => PAGE.replacen("<html ", "<html data-served=\"locally\" ", 1),
    };
    let page = async move || (headers(HTML), page).into_response();
    FILES
        .iter()
        .fold(Router::new().route("/", get(page)), |pages, file| {
            let answer = async || (headers(file.kind), file.bytes).into_response();
            pages.route(file.path, get(answer))
        })
}

fn headers(kind: &'static str) -> HeaderMap {
    let all: [(HeaderName, &'static str); 8] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let values = all.map(|(name, value)| (name, HeaderValue::from_static(value)));
    values.into_iter().collect()
}

#[cfg(test)]
mod tests;
