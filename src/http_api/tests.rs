use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt;

use super::caller::Caller;
use super::names::PolicyPath;
use super::*;

#[test]
fn the_description_is_openapi_and_every_operation_tells_its_problems() {
    let document: serde_json::Value = serde_json::from_str(document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut operations = 0;
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            operations += 1;
            for code in ["400", "401", "403", "404", "429", "503", "504"] {
                assert!(operation["responses"][code].is_object(), "{operation}");
            }
        }
    }
    assert_eq!(operations, 10);
}

#[tokio::test]
async fn a_path_that_is_no_policy_is_told_as_a_problem_that_is_not_stored() {
    let pages = Router::new()
        .route("/{namespace}/{name}", get(async |_: PolicyPath| ""))
        .route(
            "/{namespace}/{name}/events",
            get(async |_: Caller, _: PolicyPath| ""),
        )
        .layer(map_response(not_stored));
    for (path, token, code) in [
        ("/shop/orders", true, 200),
        ("/%ff/x", true, 400),
        ("/shop/%ff", true, 400),
        ("/Shop/orders", true, 400),
        ("/shop/orders/events", true, 200),
        ("/%ff/x/events", true, 400),
        ("/%ff/x/events", false, 401),
    ] {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        if token {
            let value = HeaderValue::from_static("Bearer abc");
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = pages.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store", "{path}");
        assert_eq!(answer.status().as_u16(), code, "{path}");
        if code != 200 {
            let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem.code, code, "{path}");
        }
    }
}
