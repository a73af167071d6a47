use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::Response;
use kube::client::Body;

use super::*;
use crate::clock::Clock;
use crate::k8s::callers::Callers;
use crate::writing::Lead;

/// The answer to a GET that is sent with so much of the lease left, and how many requests the API server saw.
async fn sent_with(left: Duration) -> (Answer<Text>, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = tower::service_fn(move |_: axum::http::Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Body::from(
            br#"{"kind":"Status","status":"Failure","code":403}"#.to_vec(),
        ));
        *response.status_mut() = 403.try_into().unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let client = Client::new(server, "default");
    let clients = Clients {
        requests: client.clone(),
        fresh: client.clone(),
        watches: client.clone(),
        callers: Callers::over(client),
    };
    let clock = Clock::new();
    let until = Some(clock.now() + left);
    let fence = Fence::new(move || Lead::Leads { until }.may_start(clock.now()));
    let request = Request::about(PolicyKey::new("shop", "orders"), Call::GetPolicy);
    let (_, answer) = carry_out(clients, request, fence).await;
    (answer, asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn nothing_is_sent_where_less_than_two_seconds_of_the_lease_are_left() {
    let (answer, asked) = sent_with(Duration::from_millis(1990)).await;
    assert!(matches!(answer, Answer::Unsent), "{answer:?}");
    assert_eq!(asked, 0);
    let (answer, asked) = sent_with(Duration::from_secs(60)).await;
    assert!(matches!(answer, Answer::Refused { code: 403, .. }), "{answer:?}");
    assert_eq!(asked, 1);
}
