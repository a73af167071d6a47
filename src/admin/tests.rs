use std::net::IpAddr;

use tokio::net::TcpStream;

use super::*;
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
