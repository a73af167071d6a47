use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;

async fn get(path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = pages::<()>(Served::ByApi).oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (
        parts.status,
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

/// The files below a folder, by their path from there.
fn files(folder: &Path, under: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{under}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(files(&entry.path(), &format!("{name}/")));
        } else {
            found.insert(name);
        }
    }
    found
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard"))
}

#[test]
fn every_file_of_the_folder_is_served() {
    let served = FILES
        .iter()
        .map(|file| file.path.trim_start_matches("/dashboard/").to_owned());
    let served = served.chain(["index.html".to_owned()]);
    assert_eq!(served.collect::<BTreeSet<_>>(), files(folder(), ""));
}

#[tokio::test]
async fn every_file_forbids_all_but_itself() {
    let files = FILES.iter().map(|file| (file.path, file.kind));
    for (path, kind) in files.chain([("/", HTML)]) {
        let (status, headers, body) = get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!body.is_empty());
        assert_eq!(headers[header::CONTENT_TYPE], kind);
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ] {
            assert!(policy.split("; ").any(|own| own == rule), "{rule}: {policy}");
        }
        for loose in ["unsafe", "http", "*", "data:", "blob:"] {
            assert!(!policy.contains(loose), "{policy}");
        }
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin");
        assert!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
        assert!(headers.get(header::SET_COOKIE).is_none());
    }
}

/// Neither markup from text, nor a token that stays, nor anything of another host. The browser refuses most of it as well.
#[test]
fn our_scripts_use_nothing_that_is_forbidden() {
    let scripts = files(folder(), "").into_iter().filter(|name| {
        !name.starts_with("vendor/") && [".js", ".html", ".css"].iter().any(|end| name.ends_with(end))
    });
    let mut read = 0;
    for name in scripts {
        let text = fs::read_to_string(folder().join(&name)).unwrap();
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "localStorage",
            "sessionStorage",
            "indexedDB",
            "document.cookie",
            "https://",
            "style=",
        ] {
            assert!(!text.contains(word), "{name} has {word}");
        }
        let plain = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!plain.contains("http://"), "{name}");
        assert!(text.lines().count() < 300, "{name} is long");
        read += 1;
    }
    assert!(read > 10);
}

#[tokio::test]
async fn the_page_knows_who_serves_it() {
    let (_, _, body) = get("/").await;
    assert!(!body.contains("data-served"), "{body}");
    let request = Request::get("/").body(Body::empty()).unwrap();
    let answer = pages::<()>(Served::Locally).oneshot(request).await.unwrap();
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("<html data-served=\"locally\" lang"));
}
