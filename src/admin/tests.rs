use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::engine::{Board, CheckCounts};
use crate::k8s::readiness::FirstLists;
use crate::k8s::secrets::SecretAccess;

const EVERY_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

#[tokio::test]
async fn every_address_is_of_both_families() {
    let listener = listen(EVERY_V6).unwrap();
    let port = listener.local_addr().unwrap().port();
    let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let accepted = listener.accept().await.unwrap().1;
    assert_eq!(accepted.ip().to_canonical(), Ipv4Addr::LOCALHOST);
    assert_eq!(accepted.port(), v4.local_addr().unwrap().port());
}

#[test]
fn without_ipv6_every_address_is_one_of_ipv4() {
    let without = |address: SocketAddr| {
        if address.is_ipv6() {
            return Err(io::Error::from_raw_os_error(Errno::EAFNOSUPPORT as i32));
        }
        Ok(address)
    };
    let port = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!(
        listen_with(port("[::]:8080"), without).unwrap(),
        port("0.0.0.0:8080")
    );
    assert_eq!(
        listen_with(port("127.0.0.1:8080"), without).unwrap(),
        port("127.0.0.1:8080")
    );
    // Who names an address of IPv6 wants that one.
    assert!(listen_with(port("[::1]:8080"), without).is_err());
    // What stands in the way otherwise is told.
    let taken = |_| Err::<SocketAddr, _>(io::Error::from_raw_os_error(Errno::EADDRINUSE as i32));
    assert!(listen_with(port("[::]:8080"), taken).is_err());
}

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

/// Answers at `/livez`; its address.
fn serving() -> SocketAddr {
    let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let pages = Router::new().route("/livez", get(async || "ok\n"));
    tokio::spawn(connections::serve(listener, pages));
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
        assert!(
            taken >= connections::HEAD && taken < connections::HEAD * 2,
            "{half:?}: {taken:?}"
        );
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
    tokio::spawn(connections::serve(listener, pages));
    let mut stream = sent(address, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await;
    Clock::sleep(connections::WHOLE * 2).await;
    let mut bytes = vec![];
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.len() < 64 << 20, "{}", bytes.len());
}

#[tokio::test]
async fn the_oldest_connection_makes_room_for_a_newer_one() {
    let address = serving();
    let mut oldest = sent(address, "GET /livez HTTP/1.1\r\n").await;
    let mut others = vec![];
    for _ in 0..connections::AT_ONCE {
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
async fn pages_are_shared_by_those_who_wait_and_where_they_are_read_slowly() {
    let metrics = Metrics::new(Board::default(), &CheckCounts::default(), Clock::new(), true);
    let exposition = Exposition::new(metrics.clone(), Clock::new());
    let page = async || exposition.page().await.unwrap();
    let undone = |page: &[u8]| {
        let text = str::from_utf8(page).unwrap();
        let line = text.lines().find(|line| line.contains("undone_writes_total "));
        line.unwrap().to_owned()
    };
    let mut held = vec![page().await];
    metrics.undone();
    // Begun before they asked, so it is not theirs; all three wait for the same one.
    let (one, two, three) = tokio::join!(page(), page(), page());
    assert_ne!(undone(&one), undone(&held[0]));
    assert_eq!((two.as_ptr(), three.as_ptr()), (one.as_ptr(), one.as_ptr()));
    drop((two, three));
    held.extend([one, page().await, page().await, page().await]);
    metrics.undone();
    let newest = page().await;
    assert_eq!(
        newest.as_ptr(),
        held[4].as_ptr(),
        "there are more pages than places"
    );
    // One that nobody reads any more makes room.
    held.remove(0);
    drop(newest);
    assert_ne!(undone(&page().await), undone(&held[3]));
}
