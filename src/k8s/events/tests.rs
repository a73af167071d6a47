use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::http::{Method, Request, Response};
use kube::client::Body;

use super::*;

/// An API server that takes every Event; the method and the note of each.
async fn published(notes: &[&str]) -> Vec<(Method, String)> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let server = tower::service_fn(move |request: Request<Body>| {
        let record = Arc::clone(&record);
        async move {
            let method = request.method().clone();
            let body = request.into_body().collect_bytes().await.unwrap();
            let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let note = event["note"].as_str().unwrap_or_default().to_owned();
            record.lock().unwrap().push((method, note));
            Ok::<_, Infallible>(Response::new(Body::from(body)))
        }
    });
    let client = kube::Client::new(server, "default");
    let (sender, events) = mpsc::channel(notes.len());
    for note in notes {
        let notice = Notice {
            warning: true,
            reason: "PrimaryMoved".to_owned(),
            action: "Route",
            note: (*note).to_owned(),
            endpoint: None,
        };
        let about = reference("shop", "orders", "1");
        sender.send(PolicyEvent { about, notice }).await.unwrap();
    }
    drop(sender);
    publish(client, "test".to_owned(), events, || true).await;
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[tokio::test]
async fn an_event_that_says_something_else_is_another_event() {
    let (there, back) = ("Writes moved from a to b.", "Writes moved from b to a.");
    let expected = [
        (Method::POST, there),
        (Method::POST, back),
        (Method::PATCH, there),
        (Method::PATCH, back),
    ];
    let expected = expected.map(|(method, note)| (method, note.to_owned()));
    assert_eq!(published(&[there, back, there, back]).await, expected);
}

/// The API server of one namespace never answers.
#[tokio::test]
async fn a_namespace_whose_events_get_no_answer_holds_up_no_other() {
    let (told, mut seen) = mpsc::channel(8);
    let server = tower::service_fn(move |request: Request<Body>| {
        let told = told.clone();
        async move {
            if request.uri().path().contains("/namespaces/hangs/") {
                std::future::pending::<()>().await;
            }
            let body = request.into_body().collect_bytes().await.unwrap();
            let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
            told.send(event["note"].as_str().unwrap().to_owned())
                .await
                .unwrap();
            Ok::<_, Infallible>(Response::new(Body::from(body)))
        }
    });
    let client = kube::Client::new(server, "default");
    let (sender, events) = mpsc::channel(64);
    let publisher = tokio::spawn(publish(client, "test".to_owned(), events, || true));
    let event = |namespace: &str, note: String| PolicyEvent {
        about: reference(namespace, "orders", "1"),
        notice: Notice {
            warning: false,
            reason: "Ready".to_owned(),
            action: "Reconcile",
            note,
            endpoint: None,
        },
    };
    for number in 0..20 {
        sender.send(event("hangs", number.to_string())).await.unwrap();
    }
    sender.send(event("shop", "first".to_owned())).await.unwrap();
    sender.send(event("shop", "second".to_owned())).await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), "first");
    assert_eq!(seen.recv().await.unwrap(), "second");
    publisher.abort();
}
