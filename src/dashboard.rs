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
    ($($path:literal $name:literal: $kind:ident),+ $(,)?) => {
        [$(File {
            path: $path,
            kind: $kind,
            bytes: include_bytes!(concat!("../dashboard/", $name)),
        }),+]
    };
}

static FILES: [File; 19] = files![
    "/" "index.html": HTML,
    "/dashboard/style.css" "style.css": CSS,
    "/dashboard/icon.svg" "icon.svg": SVG,
    "/dashboard/app.js" "app.js": SCRIPT,
    "/dashboard/session.js" "session.js": SCRIPT,
    "/dashboard/stream.js" "stream.js": SCRIPT,
    "/dashboard/dom.js" "dom.js": SCRIPT,
    "/dashboard/words.js" "words.js": SCRIPT,
    "/dashboard/sign_in.js" "sign_in.js": SCRIPT,
    "/dashboard/fleet.js" "fleet.js": SCRIPT,
    "/dashboard/policy.js" "policy.js": SCRIPT,
    "/dashboard/picture.js" "picture.js": SCRIPT,
    "/dashboard/endpoints.js" "endpoints.js": SCRIPT,
    "/dashboard/timeline.js" "timeline.js": SCRIPT,
    "/dashboard/plots.js" "plots.js": SCRIPT,
    "/dashboard/actions.js" "actions.js": SCRIPT,
    "/dashboard/vendor/uPlot.iife.min.js" "vendor/uPlot.iife.min.js": SCRIPT,
    "/dashboard/vendor/uPlot.min.css" "vendor/uPlot.min.css": CSS,
    "/dashboard/vendor/uPlot.LICENSE" "vendor/uPlot.LICENSE": TEXT,
];

/// The page at `/`, and its files under `/dashboard/`.
pub fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |pages, file| {
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
