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
    publish(client, "test".to_owned(), events).await;
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
