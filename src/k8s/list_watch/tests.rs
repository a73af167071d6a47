use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::*;

/// What the API server answers.
enum Answer {
    Says(u16, Value),
    /// The events of a watch, which then ends.
    Ends(Vec<Value>),
    /// The same, of a watch that then shows nothing, not even its end.
    Stalls(Vec<Value>),
    /// Nothing at all.
    Hangs,
}

type Requests = Arc<Mutex<Vec<String>>>;

/// A stream over an API server that answers like that; what it was asked, and how the stream fared.
struct Bench {
    events: Pin<Box<dyn Stream<Item = Event<ConfigMap>> + Send>>,
    requests: Requests,
    reports: Arc<Mutex<Vec<&'static str>>>,
}

impl Bench {
    fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let requests = Requests::default();
        let (asked, answer) = (Arc::clone(&requests), Arc::new(answer));
        let server = tower::service_fn(move |request: Request<kube::client::Body>| {
            let asked_for = request.uri().to_string();
            asked.lock().unwrap().push(asked_for.clone());
            let answer = Arc::clone(&answer);
            async move {
                let (code, body) = match answer(&asked_for) {
                    Answer::Says(code, body) => (code, Body::from(body.to_string())),
                    Answer::Ends(events) => (200, Body::from_stream(lines(events))),
                    Answer::Stalls(events) => (
                        200,
                        Body::from_stream(lines(events).chain(futures::stream::pending())),
                    ),
                    Answer::Hangs => std::future::pending().await,
                };
                let mut response = Response::new(body);
                *response.status_mut() = code.try_into().unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        let api = Api::namespaced(kube::Client::new(server, "default"), "shop");
        let reports = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&reports);
        let report = move |report: Report<'_>| match report {
            Report::Heard => {}
            Report::Failed(failure) => told.lock().unwrap().push(failure.category()),
        };
        let events = list_watch(api, Selection::default(), Patience::default(), report);
        Self {
            events: Box::pin(events),
            requests,
            reports,
        }
    }

    /// What the stream shows within so many seconds.
    async fn shows(&mut self, seconds: u64) -> Vec<String> {
        let mut shown = Vec::new();
        let take = async {
            while let Some(event) = self.events.next().await {
                shown.push(event.to_string());
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(seconds), take).await;
        shown
    }

    /// Lists are told by the word, watches by the version from which they begin.
    fn asked(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let each = |uri: &String| {
            if is_watch(uri) {
                parameter(uri, "resourceVersion").unwrap_or_default()
            } else {
                "list".to_owned()
            }
        };
        requests.iter().map(each).collect()
    }

    fn reports(&self) -> Vec<&'static str> {
        self.reports.lock().unwrap().clone()
    }
}

fn lines(events: Vec<Value>) -> impl Stream<Item = Result<String, Infallible>> {
    futures::stream::iter(events.into_iter().map(|event| Ok(format!("{event}\n"))))
}

fn is_watch(uri: &str) -> bool {
    uri.contains("watch=true")
}

fn parameter(uri: &str, name: &str) -> Option<String> {
    let mut parameters = uri.split_once('?')?.1.split('&');
    parameters.find_map(|parameter| Some(parameter.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

fn object(name: &str, version: u64) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": version.to_string()}})
}

fn event(kind: &str, version: u64) -> Value {
    json!({"type": kind, "object": object("one", version)})
}

fn bookmark(version: u64) -> Value {
    let metadata = json!({"resourceVersion": version.to_string()});
    json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}})
}

fn refused(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no"})
}

/// A list of one object at version 10.
fn one() -> Answer {
    Answer::Says(
        200,
        json!({"metadata": {"resourceVersion": "10"}, "items": [object("one", 5)]}),
    )
}

/// The page of these objects that was asked for.
fn page(uri: &str, objects: &[Value]) -> Answer {
    let number = |name| parameter(uri, name).and_then(|text| text.parse::<usize>().ok());
    let (from, limit) = (number("continue").unwrap_or(0), number("limit").unwrap());
    let to = (from + limit).min(objects.len());
    let more = (to < objects.len()).then(|| to.to_string());
    Answer::Says(
        200,
        json!({"metadata": {"resourceVersion": "10", "continue": more}, "items": objects[from..to]}),
    )
}

const LISTED: [&str; 3] = ["Init", "InitApply(one)", "InitDone"];

#[tokio::test(start_paused = true)]
async fn a_list_is_read_page_by_page() {
    let objects: Vec<_> = (0..1200)
        .map(|number| object(&format!("object-{number}"), 5))
        .collect();
    let mut it = Bench::new(move |uri| {
        if is_watch(uri) {
            Answer::Stalls(vec![])
        } else {
            page(uri, &objects)
        }
    });
    let shown = it.shows(1).await;
    assert_eq!(shown.len(), 1202);
    assert_eq!(shown[1200], "InitApply(object-1199)");
    assert_eq!(it.asked(), ["list", "list", "list", "10"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_large_objects_is_asked_for_again_with_fewer() {
    let large = "x".repeat(250_000);
    let object = |number| {
        let mut object = object(&format!("object-{number}"), 5);
        object["metadata"]["annotations"] = json!({"large": large});
        object
    };
    let objects: Vec<_> = (0..20).map(object).collect();
    let mut it = Bench::new(move |uri| {
        if is_watch(uri) {
            Answer::Stalls(vec![])
        } else {
            page(uri, &objects)
        }
    });
    assert_eq!(it.shows(1).await.len(), 22);
    let requests = it.requests.lock().unwrap();
    let limits: Vec<_> = requests
        .iter()
        .filter_map(|uri| parameter(uri, "limit"))
        .collect();
    assert_eq!(limits, ["500", "62", "7", "7", "7"]);
}

/// All pages are of the version of the first one, which the API server forgets after a while.
#[tokio::test(start_paused = true)]
async fn a_list_whose_continue_token_has_expired_begins_anew() {
    let objects: Vec<_> = (0..1200)
        .map(|number| object(&format!("object-{number}"), 5))
        .collect();
    let expired = Mutex::new(false);
    let mut it = Bench::new(move |uri| {
        if is_watch(uri) {
            return Answer::Stalls(vec![]);
        }
        let goes_on = parameter(uri, "continue").is_some();
        if goes_on && !std::mem::replace(&mut *expired.lock().unwrap(), true) {
            return Answer::Says(410, refused(410));
        }
        page(uri, &objects)
    });
    let shown = it.shows(2).await;
    let begun = shown.iter().filter(|event| *event == "Init").count();
    assert_eq!((begun, shown.len()), (2, 500 + 1200 + 3));
    assert_eq!(shown[1702], "InitDone");
    assert_eq!(it.reports(), ["Expired"]);
    assert_eq!(it.asked(), ["list", "list", "list", "list", "list", "10"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_it_ended_without_a_list() {
    let mut it = Bench::new(|uri| match parameter(uri, "resourceVersion").as_deref() {
        Some("10") => Answer::Ends(vec![event("ADDED", 11), event("DELETED", 12), bookmark(15)]),
        Some(_) => Answer::Stalls(vec![event("MODIFIED", 16)]),
        None => one(),
    });
    let mut expected = LISTED.map(str::to_owned).to_vec();
    expected.extend(["Apply(one)", "Delete(one)", "Apply(one)"].map(str::to_owned));
    assert_eq!(it.shows(5).await, expected);
    assert_eq!(it.asked(), ["list", "10", "15"]);
    let requests = it.requests.lock().unwrap().clone();
    let seconds: u64 = parameter(&requests[1], "timeoutSeconds")
        .unwrap()
        .parse()
        .unwrap();
    assert!((18..=22).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_which_nothing_is_heard_is_resumed() {
    let mut it = Bench::new(|uri| match parameter(uri, "resourceVersion").as_deref() {
        Some("10") => Answer::Stalls(vec![bookmark(12)]),
        Some(_) => Answer::Stalls(vec![event("MODIFIED", 13)]),
        None => one(),
    });
    assert_eq!(it.shows(24).await, LISTED);
    assert!(it.reports().is_empty());
    assert_eq!(it.shows(2).await, ["Apply(one)"]);
    assert_eq!(it.reports(), ["Silent"]);
    assert_eq!(it.asked(), ["list", "10", "12"]);
}

#[tokio::test(start_paused = true)]
async fn lists_and_the_start_of_watches_have_deadlines() {
    let mut it = Bench::new(|uri| match parameter(uri, "resourceVersion") {
        Some(_) => Answer::Hangs,
        None => one(),
    });
    assert_eq!(it.shows(11).await, LISTED);
    assert_eq!(
        (it.reports(), it.asked()),
        (vec!["Deadline"], ["list", "10", "10"].map(str::to_owned).to_vec())
    );
    let mut it = Bench::new(|_| Answer::Hangs);
    assert_eq!(it.shows(31).await, ["Init", "Init"]);
    assert_eq!(it.reports(), ["Deadline"]);
}

/// What is asked for when a watch that has begun at version 10 is answered like that.
async fn asked_after(code: u16, body: Value, by_event: bool) -> Vec<String> {
    let answered = Mutex::new(false);
    let mut it = Bench::new(move |uri| {
        if !is_watch(uri) {
            return one();
        }
        if std::mem::replace(&mut *answered.lock().unwrap(), true) {
            return Answer::Stalls(vec![]);
        }
        if by_event {
            return Answer::Ends(vec![json!({"type": "ERROR", "object": body})]);
        }
        Answer::Says(code, body.clone())
    });
    it.shows(2).await;
    it.asked()
}

#[tokio::test(start_paused = true)]
async fn only_a_version_that_the_server_does_not_know_leads_to_a_list() {
    let restored = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 504, "message": "Too large resource version",
        "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]},
    });
    for (code, body) in [(410, refused(410)), (404, refused(404)), (504, restored)] {
        for by_event in [false, true] {
            let asked = asked_after(code, body.clone(), by_event).await;
            assert_eq!(
                asked,
                ["list", "10", "list", "10"],
                "{code}, by an event: {by_event}"
            );
        }
    }
    for code in [401, 403, 429, 500, 504] {
        for by_event in [false, true] {
            let asked = asked_after(code, refused(code), by_event).await;
            assert_eq!(asked, ["list", "10", "10"], "{code}, by an event: {by_event}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_waits_and_ends_nothing() {
    let mut it = Bench::new(|_| Answer::Says(403, refused(403)));
    // The waits are 0.5, 1, 2 and 4 s.
    assert_eq!(it.shows(7).await.len(), 4);
    assert_eq!(it.reports(), ["Forbidden"; 4]);
}
