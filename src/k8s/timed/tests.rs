use std::convert::Infallible;
use std::time::Duration;

use axum::http::Response;
use http_body_util::BodyExt;
use tokio::time::timeout;
use tower::BoxError;

use super::*;
use crate::engine::{Board, CheckCounts};
use crate::k8s::fence::Fence;

fn metrics() -> Metrics {
    Metrics::new(Board::default(), &CheckCounts::default(), Clock::new(), false)
}

/// How many requests of a kind and a verb were told, and how long they took together; `None`: none was.
fn told(metrics: &Metrics, kind: &str, verb: &str) -> Option<String> {
    let page = metrics.encode().unwrap();
    let value = |part: &str| {
        let name = format!("distributary_api_request_duration_seconds_{part}");
        let series = format!("{name}{{kind=\"{kind}\",verb=\"{verb}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&series))?;
        line.parse::<f64>().ok()
    };
    Some(format!("{} in {:.0} s", value("count")?, value("sum")?))
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

const SECRET: &str = "/api/v1/namespaces/shop/secrets/probe";

#[test]
fn labels_are_those_of_kinds_and_verbs_whatever_is_named() {
    let cases = [
        (
            "GET POLICIES/replicasetpolicies?&limit=500",
            "ReplicaSetPolicy list",
        ),
        (
            "GET POLICIES/namespaces/shop/replicasetpolicies?&watch=true&timeoutSeconds=20",
            "ReplicaSetPolicy watch",
        ),
        (
            "GET POLICIES/namespaces/shop/replicasetpolicies/watch=true",
            "ReplicaSetPolicy get",
        ),
        (
            "PUT POLICIES/namespaces/shop/replicasetpolicies/status/status?&fieldManager=x",
            "ReplicaSetPolicy status",
        ),
        (
            "PATCH POLICIES/namespaces/shop/replicasetpolicies/orders?fieldManager=x",
            "ReplicaSetPolicy patch",
        ),
        ("GET /api/v1/namespaces/shop/secrets/probe", "Secret get"),
        (
            "GET /api/v1/secrets?&fieldSelector=metadata.name%3Dprobe",
            "Secret list",
        ),
        ("GET /api/v1/namespaces/secrets/configmaps/one", "ConfigMap get"),
        ("GET /api/v1/namespaces/namespaces/services", "Service list"),
        (
            "DELETE /api/v1/namespaces/shop/services/orders-ro",
            "Service delete",
        ),
        (
            "POST /apis/events.k8s.io/v1/namespaces/shop/events?",
            "Event create",
        ),
        (
            "PUT /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/status",
            "EndpointSlice update",
        ),
        (
            "PUT /apis/coordination.k8s.io/v1/namespaces/ops/leases/one?",
            "Lease update",
        ),
        ("GET /apis/networking.k8s.io/v1/servicecidrs", "ServiceCIDR list"),
        (
            "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            "SelfSubjectAccessReview create",
        ),
        ("GET /apis/apps/v1/namespaces/shop/deployments/x", "Other get"),
        ("GET /version", "Other get"),
        ("GET /", "Other get"),
        ("OPTIONS /api", "Other other"),
    ];
    for (request, expected) in cases {
        let request = request.replace("POLICIES", "/apis/distributary.dev/v1alpha1");
        let (method, uri) = request.split_once(' ').unwrap();
        let (kind, verb) = labels(method, &uri.parse().unwrap());
        assert_eq!(format!("{kind} {verb}"), expected, "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_told_when_its_answer_was_read_and_a_watch_when_it_has_begun() {
    let server = tower::service_fn(|_: Request<Body>| async {
        Clock::sleep(Duration::from_secs(2)).await;
        Ok::<_, Infallible>(Response::new(Body::from(b"{}".to_vec())))
    });
    let metrics = metrics();
    let client = timed(&Client::new(server, "shop"), &metrics, Clock::new());
    assert_eq!(client.default_namespace(), "shop");
    let answer = client.send(get(SECRET)).await.unwrap();
    Clock::sleep(Duration::from_secs(1)).await;
    assert_eq!(told(&metrics, "Secret", "get"), None, "its body comes yet");
    assert_eq!(answer.into_body().collect_bytes().await.unwrap(), "{}");
    assert_eq!(told(&metrics, "Secret", "get").unwrap(), "1 in 3 s");
    let watch = client.send(get("/api/v1/secrets?watch=true")).await.unwrap();
    assert_eq!(told(&metrics, "Secret", "watch").unwrap(), "1 in 2 s");
    drop(watch);
    assert_eq!(told(&metrics, "Secret", "watch").unwrap(), "1 in 2 s");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_or_is_given_up_is_told() {
    let server = tower::service_fn(|request: Request<Body>| async move {
        if request.uri().path() == SECRET {
            std::future::pending::<()>().await;
        }
        Err::<Response<Body>, BoxError>("broken".into())
    });
    let metrics = metrics();
    let client = timed(&Client::new(server, "shop"), &metrics, Clock::new());
    let given_up = timeout(Duration::from_secs(10), client.send(get(SECRET))).await;
    assert!(given_up.is_err());
    assert_eq!(told(&metrics, "Secret", "get").unwrap(), "1 in 10 s");
    assert!(client.send(get("/api/v1/services")).await.is_err());
    assert_eq!(told(&metrics, "Service", "list").unwrap(), "1 in 0 s");
}

#[tokio::test]
async fn what_the_fence_holds_back_is_no_request() {
    let server = tower::service_fn(|request: Request<Body>| async move {
        let body = fence::fenced(request).into_body().collect().await?;
        Ok::<_, BoxError>(Response::new(Body::from(body.to_bytes())))
    });
    let metrics = metrics();
    let client = timed(&Client::new(server, "shop"), &metrics, Clock::new());
    let closed = Fence::new(|| false).around(&client);
    let error = closed.send(get(SECRET)).await.unwrap_err();
    assert!(fence::holds_back(&error), "{error}");
    assert_eq!(told(&metrics, "Secret", "get"), None);
    let open = Fence::new(|| true).around(&client);
    let answer = open.send(get(SECRET)).await.unwrap();
    answer.into_body().collect_bytes().await.unwrap();
    assert_eq!(told(&metrics, "Secret", "get").unwrap(), "1 in 0 s");
}
