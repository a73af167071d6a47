use super::*;
use crate::k8s::readiness::FirstLists;
use crate::k8s::secrets::SecretAccess;

#[test]
fn readiness_names_what_was_not_listed() {
    let lists = FirstLists::new(&[Some("shop".to_owned())], SecretAccess::Named);
    let (code, body) = told(&lists.subscribe().borrow(), || true);
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        body.contains("namespace shop: ReplicaSetPolicy: not listed\n"),
        "{body}"
    );
    let (code, body) = told(&Readiness::default(), || true);
    assert_eq!((code, body.as_str()), (StatusCode::OK, "ok\n"));
    let (code, body) = told(&Readiness::default(), || false);
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "not every server was checked yet\n");
}

#[tokio::test]
async fn the_first_task_that_ends_is_named_though_it_panics() {
    let alive = Liveness::default();
    let desk = tokio::spawn(alive.of("desk", std::future::pending::<()>()));
    assert!(ended(&alive).is_none());
    tokio::spawn(alive.of("engine", async { panic!("on purpose") }))
        .await
        .unwrap_err();
    desk.abort();
    desk.await.unwrap_err();
    let response = ended(&alive).unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!(&body[..], b"engine stopped\n");
}
