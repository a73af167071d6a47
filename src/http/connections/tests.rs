mod fuzz;

use std::net::{Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::http::listen;

const LIMITS: Limits = Limits {
    at_once: 128,
    whole: Duration::from_secs(30),
};

/// Answers at `/livez`; its address.
fn serving() -> SocketAddr {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Router::new().route("/livez", get(async || "ok\n"));
    tokio::spawn(serve(listener, Transport::Plain, LIMITS, pages));
    address
}

/// A connection on which this was sent.
async fn sent(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// What comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_one_request_whose_head_comes_soon_and_is_small() {
    let address = serving();
    let mut whole = sent(address, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = rest(&mut whole).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"),
        "{answer}"
    );
    let clock = Clock::new();
    for half in ["", "GET /livez HTTP/1.1\r\nHost: a\r\n"] {
        let (begun, mut stream) = (clock.now(), sent(address, half).await);
        let answer = rest(&mut stream).await;
        let taken = clock.now().since(begun);
        assert!(!answer.contains("200"), "{answer}");
        assert!(taken >= HEAD && taken < HEAD * 2, "{half:?}: {taken:?}");
    }
    let line = format!("X: {}\r\n", "x".repeat(400));
    let large = format!("GET /livez HTTP/1.1\r\nHost: a\r\n{}\r\n", line.repeat(100));
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may be refused before all was sent.
    let _ = stream.write_all(large.as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_ends_with_its_connection() {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Router::new().route("/livez", get(async || "x".repeat(64 << 20)));
    tokio::spawn(serve(listener, Transport::Plain, LIMITS, pages));
    let mut stream = sent(address, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    Clock::sleep(LIMITS.whole * 2).await;
    let mut bytes = vec![];
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.len() < 64 << 20, "{}", bytes.len());
}

#[tokio::test]
async fn the_oldest_connection_makes_room_for_a_newer_one() {
    let address = serving();
    let mut oldest = sent(address, "GET /livez HTTP/1.1\r\n").await;
    let mut others = vec![];
    for _ in 0..LIMITS.at_once {
        others.push(sent(address, "GET /livez HTTP/1.1\r\n").await);
    }
    assert_eq!(rest(&mut oldest).await, "");
    let newest = others.last_mut().unwrap();
    newest.write_all(b"Host: a\r\n\r\n").await.unwrap();
    assert!(rest(newest).await.ends_with("ok\n"));
    let mut another = sent(address, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(rest(&mut another).await.ends_with("ok\n"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_lasts_ends_when_its_guard_goes_though_nobody_reads_it() {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let (hold, held) = tokio::sync::oneshot::channel::<()>();
    let held = Arc::new(tokio::sync::Mutex::new(Some(held)));
    let page = async move |Extension(lasting): Extension<Lasting>| {
        let (guard, held) = (lasting.until_dropped(), held.lock().await.take());
        tokio::spawn(async move {
            let _ = held.unwrap().await;
            drop(guard);
        });
        let filling = futures::stream::repeat("x".repeat(1 << 16)).map(Ok::<_, std::io::Error>);
        Body::from_stream(filling)
    };
    let pages = Router::new().route("/events", get(page));
    tokio::spawn(serve(listener, Transport::Plain, LIMITS, pages));
    let mut stream = sent(address, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    Clock::sleep(LIMITS.whole * 3).await;
    let mut some = [0; 1000];
    assert!(stream.read(&mut some).await.unwrap() > 0);
    drop(hold);
    Clock::sleep(LAST * 2).await;
    // What was under way can still be read, and then the connection has ended.
    let mut rest = vec![];
    let _ = stream.read_to_end(&mut rest).await;
}

/// Asks, and waits until the request is being answered.
async fn asking(address: SocketAddr, path: &str, asked: &tokio::sync::Semaphore) -> TcpStream {
    let stream = sent(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    asked.acquire().await.unwrap().forget();
    stream
}

#[tokio::test]
async fn who_has_proven_a_right_makes_no_room_and_who_only_asked_does() {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(tokio::sync::Semaphore::new(0));
    let (told, stays) = (Arc::clone(&asked), Arc::clone(&asked));
    let proven = async move |Extension(lasting): Extension<Lasting>| {
        lasting.protect();
        told.add_permits(1);
        std::future::pending::<()>().await;
    };
    let unproven = async move || {
        stays.add_permits(1);
        std::future::pending::<()>().await;
    };
    let pages = Router::new()
        .route("/proven", get(proven))
        .route("/unproven", get(unproven));
    let limits = Limits { at_once: 3, ..LIMITS };
    tokio::spawn(serve(listener, Transport::Plain, limits, pages));
    let mut first = asking(address, "/proven", &asked).await;
    let mut second = asking(address, "/unproven", &asked).await;
    let _third = asking(address, "/proven", &asked).await;
    // The newest takes the place of the only one that has proven nothing, and then all three are protected.
    let _fourth = asking(address, "/proven", &asked).await;
    assert_eq!(rest(&mut second).await, "");
    let mut refused = TcpStream::connect(address).await.unwrap();
    assert_eq!(rest(&mut refused).await, "");
    let silent = timeout(Duration::from_millis(200), first.read_u8()).await;
    assert!(
        silent.is_err(),
        "the connection of a proven caller ended: {silent:?}"
    );
}
