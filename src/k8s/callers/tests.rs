use std::convert::Infallible;

use axum::http::Response;
use kube::client::Body;
use kube::config::{AuthInfo, ExecConfig};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;

type Asked = Arc<Mutex<Vec<Request<()>>>>;

fn answering(code: u16, body: &'static str) -> (Callers, Asked) {
    let asked = Asked::default();
    let kept = Arc::clone(&asked);
    let server = tower::service_fn(move |request: Request<Body>| {
        kept.lock().push(request.map(|_| ()));
        let mut response = Response::new(Body::from(body.as_bytes().to_vec()));
        *response.status_mut() = code.try_into().unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    (Callers::over(Client::new(server, "default")), asked)
}

fn request() -> Request<Vec<u8>> {
    Request::get("/version").body(vec![]).unwrap()
}

#[test]
fn nothing_of_the_operator_goes_over_the_connections_of_callers() {
    let mut config = Config::new("https://10.0.0.1:6443".parse().unwrap());
    config.root_cert = Some(vec![vec![1]]);
    config.tls_server_name = Some("kubernetes".to_owned());
    config.headers = vec![("x-own".parse().unwrap(), HeaderValue::from_static("1"))];
    config.auth_info = AuthInfo {
        username: Some("operator".to_owned()),
        token_file: Some("/var/run/secrets/token".to_owned()),
        client_certificate: Some("client.crt".to_owned()),
        impersonate: Some("admin".to_owned()),
        exec: Some(ExecConfig {
            command: Some("login".to_owned()),
            ..serde_json::from_str("{}").unwrap()
        }),
        ..AuthInfo::default()
    };
    let bare = anonymous(&config);
    assert_eq!(
        format!("{:?}", bare.auth_info),
        format!("{:?}", AuthInfo::default())
    );
    assert!(bare.headers.is_empty());
    assert_eq!(bare.cluster_url, config.cluster_url);
    assert_eq!(
        (bare.root_cert, bare.tls_server_name),
        (config.root_cert, config.tls_server_name)
    );
}

#[tokio::test]
async fn a_request_has_the_token_of_the_caller_and_no_other() {
    let (callers, asked) = answering(200, r#"{"kind": "Thing"}"#);
    let token = Token::new("abc").unwrap();
    let answer = callers.send(&token, request()).await.unwrap();
    assert_eq!(answer["kind"], "Thing");
    let asked = asked.lock();
    let sent: Vec<_> = asked[0].headers().get_all(header::AUTHORIZATION).iter().collect();
    assert_eq!(sent, ["Bearer abc"]);
    assert!(!format!("{:?}", asked[0].headers()).contains("abc"));
    assert!(Token::new("a\nb").is_none());
}

#[tokio::test]
async fn refusals_are_told_in_the_words_of_the_api_server() {
    let body =
        r#"{"kind":"Status","status":"Failure","message":"no rights","reason":"Forbidden","code":403}"#;
    let token = Token::new("abc").unwrap();
    let (callers, _) = answering(403, body);
    let Err(CallerError::Refused(status)) = callers.send(&token, request()).await else {
        panic!("it is refused");
    };
    assert_eq!(
        (status.code, &*status.message, &*status.reason),
        (403, "no rights", "Forbidden")
    );
    let (callers, _) = answering(401, "Unauthorized");
    let Err(CallerError::Refused(status)) = callers.send(&token, request()).await else {
        panic!("it is refused");
    };
    assert_eq!((status.code, &*status.message), (401, "Unauthorized"));
    let (callers, _) = answering(404, "<html>not here</html>");
    let Err(CallerError::Refused(status)) = callers.send(&token, request()).await else {
        panic!("it is refused");
    };
    assert_eq!((&*status.message, &*status.reason), ("Not Found", "NotFound"));
}

#[tokio::test(start_paused = true)]
async fn the_seventeenth_request_at_once_is_refused_and_none_waits_for_ever() {
    let released = Arc::new(Notify::new());
    let held = Arc::clone(&released);
    let server = tower::service_fn(move |_: Request<Body>| {
        let held = Arc::clone(&held);
        async move {
            held.notified().await;
            Ok::<_, Infallible>(Response::new(Body::from(b"{}".to_vec())))
        }
    });
    let callers = Callers::over(Client::new(server, "default"));
    let token = Token::new("abc").unwrap();
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (callers, token) = (callers.clone(), token.clone());
        under_way.spawn(async move { callers.send(&token, request()).await });
    }
    tokio::task::yield_now().await;
    let refused = callers.send(&token, request()).await;
    assert!(matches!(refused, Err(CallerError::Busy)), "{refused:?}");
    released.notify_one();
    under_way.join_next().await.unwrap().unwrap().unwrap();
    // A place is free again; nobody answers within the deadline.
    let unanswered = callers.send(&token, request()).await;
    assert!(matches!(unanswered, Err(CallerError::NoAnswer)), "{unanswered:?}");
}

#[tokio::test(start_paused = true)]
async fn at_rest_no_place_is_held_and_meanwhile_none_is_given() {
    let (callers, _) = answering(200, "{}");
    let token = Token::new("abc").unwrap();
    let place = callers.as_caller(&token).unwrap();
    let mut rest = Box::pin(callers.rest());
    let waited = tokio::time::timeout(std::time::Duration::from_secs(1), &mut rest).await;
    assert!(waited.is_err());
    assert!(matches!(
        callers.as_caller(&token).map(|_| ()),
        Err(CallerError::Busy)
    ));
    drop(place);
    rest.await;
}
