use std::convert::Infallible;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, Response, header};
use kube::Client;
use kube::client::Body;

use super::*;
use crate::http::Lasting;

/// An API server that gives this answer, and counts.
struct Server {
    code: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
    rights: Rights,
}

fn server() -> Server {
    slow_server(Duration::ZERO)
}

/// Each answer takes so long.
fn slow_server(takes: Duration) -> Server {
    let (code, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
    let (answers, count) = (Arc::clone(&code), Arc::clone(&asked));
    let service = tower::service_fn(move |_: Request<Body>| {
        count.fetch_add(1, Ordering::Relaxed);
        let code = answers.load(Ordering::Relaxed);
        async move {
            tokio::task::yield_now().await;
            Clock::sleep(takes).await;
            let body = format!(
                r#"{{"kind":"Status","status":"Failure","message":"said {code}","reason":"Said","code":{code}}}"#
            );
            let mut response = Response::new(Body::from(body.into_bytes()));
            *response.status_mut() = code.try_into().unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let rights = Rights::new(Callers::over(Client::new(service, "default")), Clock::new());
    Server { code, asked, rights }
}

async fn caller(token: &str) -> Caller {
    caller_on(Lasting::default(), token).await
}

async fn caller_on(connection: Lasting, token: &str) -> Caller {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = headers;
    parts.extensions.insert(connection);
    Caller::from_request_parts(&mut parts, &()).await.unwrap()
}

fn orders() -> Subject {
    Subject::Policy(PolicyKey::new("shop", "orders"))
}

impl Server {
    async fn asked(&self, token: &str, subject: &Subject) -> (usize, u16) {
        let before = self.asked.load(Ordering::Relaxed);
        let proof = self.rights.prove(&caller(token).await, subject).await;
        let asked = self.asked.load(Ordering::Relaxed) - before;
        (asked, proof.map_or_else(|problem| problem.code, |_| 200))
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_and_a_refusal_are_believed_for_ten_seconds() {
    let server = server();
    assert_eq!(server.asked("a", &orders()).await, (1, 200));
    server.code.store(403, Ordering::Relaxed);
    assert_eq!(server.asked("a", &orders()).await, (0, 200));
    Clock::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(server.asked("a", &orders()).await, (0, 200));
    Clock::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.asked("a", &orders()).await, (1, 403));
    server.code.store(200, Ordering::Relaxed);
    assert_eq!(server.asked("a", &orders()).await, (0, 403));
    Clock::sleep(BELIEVED).await;
    assert_eq!(server.asked("a", &orders()).await, (1, 200));
}

#[tokio::test(start_paused = true)]
async fn a_right_is_of_one_token_one_verb_and_one_name() {
    let server = server();
    for subject in [
        orders(),
        Subject::Policy(PolicyKey::new("shop", "other")),
        Subject::Policy(PolicyKey::new("other", "orders")),
        Subject::Policies(Some("shop".to_owned())),
        Subject::Policies(None),
    ] {
        for token in ["a", "b"] {
            assert_eq!(server.asked(token, &subject).await, (1, 200), "{subject:?}");
            assert_eq!(server.asked(token, &subject).await, (0, 200), "{subject:?}");
        }
    }
    // Of a review the answer says whether, not its code.
    assert_eq!(server.asked("a", &Subject::Metrics).await, (1, 403));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_protected_once_its_caller_has_proven_a_right() {
    let (server, connection) = (server(), Lasting::default());
    let caller = caller_on(connection.clone(), "a").await;
    for code in [401, 403, 404, 500] {
        server.code.store(code, Ordering::Relaxed);
        server.rights.prove(&caller, &orders()).await.unwrap_err();
        assert!(!connection.is_protected(), "{code}");
        Clock::sleep(BELIEVED).await;
    }
    server.code.store(200, Ordering::Relaxed);
    server.rights.prove(&caller, &orders()).await.unwrap();
    assert!(connection.is_protected());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_not_kept_and_is_asked_again() {
    let server = server();
    for code in [500, 503, 429] {
        server.code.store(code, Ordering::Relaxed);
        let told = if code == 429 { 429 } else { 504 };
        assert_eq!(server.asked("a", &orders()).await, (1, told), "{code}");
        assert_eq!(server.asked("a", &orders()).await, (1, told), "{code}");
    }
    server.code.store(200, Ordering::Relaxed);
    assert_eq!(server.asked("a", &orders()).await, (1, 200));
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_the_same_at_once_are_one_request() {
    let server = server();
    let one = caller("a").await;
    let subject = orders();
    let all = (0..300).map(|_| server.rights.prove(&one, &subject));
    for proof in futures::future::join_all(all).await {
        proof.unwrap();
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_1024_answers_are_kept() {
    let server = server();
    server.code.store(403, Ordering::Relaxed);
    for number in 0..MOST {
        let token = format!("made-up-{number}");
        assert_eq!(server.asked(&token, &orders()).await, (1, 403));
    }
    server.code.store(200, Ordering::Relaxed);
    for number in 0..=MOST {
        let subject = Subject::Policy(PolicyKey::new("shop", format!("p-{number}")));
        assert_eq!(server.asked("a", &subject).await, (1, 200));
    }
    let kept = || {
        let known = server.rights.known.lock();
        let (proven, refused) = (&known.proven, &known.refused);
        let answers = proven.answers.len() + refused.answers.len();
        (answers, proven.order.len() + refused.order.len())
    };
    assert_eq!(kept(), (1024, 1024));
    let first = Subject::Policy(PolicyKey::new("shop", "p-0"));
    assert_eq!(server.asked("a", &first).await.0, 1);
    let last = Subject::Policy(PolicyKey::new("shop", format!("p-{MOST}")));
    assert_eq!(server.asked("a", &last).await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_take_no_room_from_rights() {
    let server = server();
    assert_eq!(server.asked("a", &orders()).await, (1, 200));
    for code in [401, 403, 404] {
        server.code.store(code, Ordering::Relaxed);
        for number in 0..MOST {
            let token = format!("made-up-{code}-{number}");
            assert_eq!(server.asked(&token, &orders()).await, (1, code));
        }
    }
    assert_eq!(server.asked("a", &orders()).await, (0, 200));
    let known = server.rights.known.lock();
    assert_eq!(
        (known.refused.answers.len(), known.refused.order.len()),
        (MOST_REFUSED, MOST_REFUSED)
    );
    assert!(known.open.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_ten_seconds_count_from_the_question() {
    let server = slow_server(Duration::from_secs(8));
    let start = server.rights.clock.now();
    let asked = server.rights.prove(&caller("a").await, &orders()).await;
    assert_eq!(asked.unwrap(), start);
    Clock::sleep(Duration::from_millis(1_900)).await;
    assert_eq!(server.asked("a", &orders()).await, (0, 200));
    Clock::sleep(Duration::from_millis(200)).await;
    server.code.store(403, Ordering::Relaxed);
    assert_eq!(server.asked("a", &orders()).await, (1, 403));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_one_question_share_its_failure() {
    let server = slow_server(Duration::from_secs(3600));
    let (one, subject) = (caller("a").await, orders());
    let all = (0..50).map(|_| server.rights.prove(&one, &subject));
    let start = server.rights.clock.now();
    for proof in futures::future::join_all(all).await {
        assert_eq!(proof.unwrap_err().code, 504);
    }
    assert_eq!(server.asked.load(Ordering::Relaxed), 1);
    assert!(server.rights.clock.now().since(start) < Duration::from_secs(11));
    assert!(server.rights.known.lock().open.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_no_question_behind() {
    let server = slow_server(Duration::from_secs(5));
    let (one, subject) = (caller("a").await, orders());
    let gone = tokio::time::timeout(Duration::from_secs(1), server.rights.prove(&one, &subject));
    let stays = server.rights.prove(&one, &subject);
    let (gone, stays) = tokio::join!(gone, stays);
    assert!(gone.is_err() && stays.is_ok());
    let gone = Subject::Policy(PolicyKey::new("shop", "gone"));
    let gone = tokio::time::timeout(Duration::from_secs(1), server.rights.prove(&one, &gone)).await;
    assert!(gone.is_err() && server.rights.known.lock().open.is_empty());
}
