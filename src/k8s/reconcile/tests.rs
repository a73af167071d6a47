use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::http::{Request, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::client::Body;
use kube::runtime::reflector;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::super::clients::Clients;
use super::super::context::ClusterSettings;
use super::super::dereference::parse;
use super::super::desk;
use super::super::policies::PolicyChange;
use super::super::readiness::{Subject, Watched};
use super::super::secrets::SecretAccess;
use super::super::triggers::Triggers;
use super::*;
use crate::clock::Clock;
use crate::engine::{Board, CheckCounts, Engine, EngineHandle};
use crate::k8s::callers::Callers;
use crate::metrics::Metrics;
use crate::render::Kind;
use distributary_api::ReplicaSetPolicy;
use distributary_core::cadence::HoldRule;
use distributary_core::world::Event as CoreEvent;
use distributary_probe::{AddressRules, ClusterZone, Limits, Registry, Resolver};

fn read(mode: &str) -> Result<ReplicaSetPolicy, String> {
    let object = json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"mode": mode, "primary": {"host": "pg.example.com"}},
        "status": {"conditions": "not even a list"},
    });
    let stored: StoredPolicy = serde_json::from_value(object).unwrap();
    parse(stored.declared())
}

#[test]
fn a_status_that_cannot_be_read_is_no_fault_of_the_spec() {
    assert!(read("Enforce").is_ok());
}

#[test]
fn a_word_of_a_newer_version_is_a_problem_of_that_policy_alone() {
    let problem = read("Rehearse").unwrap_err();
    assert!(
        problem.starts_with("spec cannot be read by this version: unknown variant `Rehearse`"),
        "{problem}"
    );
}

#[test]
fn an_error_is_told_with_its_causes_once() {
    let source = super::super::error::CallError::Deadline(Duration::from_secs(10));
    let error = Error::ReadSecret {
        name: "probe".to_owned(),
        source,
    };
    assert_eq!(chain(&error), "cannot read Secret probe: no answer within 10s");
}

/// A context, and what its API server tells.
struct Bench {
    context: Arc<Context>,
    store: reflector::store::Writer<StoredPolicy>,
    asked: mpsc::Receiver<()>,
    answer: Arc<Notify>,
    /// What the desk was handed in.
    taken: tokio::task::JoinHandle<Vec<String>>,
}

impl Bench {
    /// The first lists that passes wait for have ended.
    fn lists(&self) {
        for kind in Kind::ALL.iter().copied() {
            let subject = Subject::Written(kind);
            self.context.synced.listed(&Watched { subject, scope: None });
        }
        self.context.synced.addresses_known();
    }

    /// The watch shows the policy.
    fn shows(&mut self, policy: &StoredPolicy) {
        self.store.apply_watcher_event(&Event::Apply(policy.clone()));
    }

    /// Begins a pass.
    fn passes(&self, policy: StoredPolicy) -> tokio::task::JoinHandle<Result<Action, Error>> {
        tokio::spawn(reconcile(Arc::new(policy), Arc::clone(&self.context)))
    }
}

/// An API server that knows nothing, and says so about a Secret only when it is let: it tells when it is asked.
fn bench() -> Bench {
    bench_with(true, |_| (404, refused(404)))
}

fn refused(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code})
}

/// An API server that answers like that to a path and query; `waits`: it lets the reader of a Secret wait.
fn bench_with(waits: bool, answer_to: fn(&str) -> (u16, Value)) -> Bench {
    let bench = bench_before_the_lists(waits, answer_to);
    bench.lists();
    bench
}

fn bench_before_the_lists(waits: bool, answer_to: fn(&str) -> (u16, Value)) -> Bench {
    bench_of(ClusterSettings::default(), waits, answer_to)
}

/// The same, with these settings.
fn bench_of(cluster: ClusterSettings, waits: bool, answer_to: fn(&str) -> (u16, Value)) -> Bench {
    let (ask, asked) = mpsc::channel(if waits { 1 } else { 1024 });
    let answer = Arc::new(Notify::new());
    let answers = Arc::clone(&answer);
    let server = tower::service_fn(move |request: Request<Body>| {
        let (ask, answers) = (ask.clone(), Arc::clone(&answers));
        async move {
            if request.uri().path().contains("/secrets/") {
                let _ = ask.send(()).await;
                if waits {
                    answers.notified().await;
                }
            }
            let (code, body) = answer_to(&request.uri().to_string());
            let mut response = Response::new(Body::from(body.to_string().into_bytes()));
            *response.status_mut() = code.try_into().unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let (clock, board, checks) = (Clock::new(), Board::default(), CheckCounts::default());
    let metrics = Metrics::new(board.clone(), &checks, clock, true);
    let (answers, answered) = mpsc::channel(64);
    let (desk, mut inputs) = desk::queue();
    let taken = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(input) = inputs.recv().await {
            all.push(format!("{input:?}"));
        }
        all
    });
    let zone = ClusterZone::new("cluster.local", []);
    let resolver = Resolver::from_system(clock, AddressRules::default(), zone);
    let registry = Registry::new(clock, resolver, Limits::default(), answers);
    let (engine, handle) = Engine::new(
        clock,
        registry,
        board,
        checks,
        answered,
        desk.inputs(),
        tokio::sync::watch::channel(HoldRule::default()).1,
    );
    tokio::spawn(engine.run());
    let (triggers, _) = Triggers::new(&[None]);
    let client = kube::Client::new(server, "default");
    let clients = Clients {
        requests: client.clone(),
        fresh: client.clone(),
        watches: client.clone(),
        callers: Callers::over(client),
    };
    let access = SecretAccess::ClusterWide;
    let context = Context::new(
        clients,
        clock,
        handle,
        desk,
        metrics,
        &[None],
        triggers,
        access,
        cluster,
    );
    let store = reflector::store::Writer::new(policy_resource());
    context.policies.of_store(store.as_reader());
    Bench {
        context: Arc::new(context),
        store,
        asked,
        answer,
        taken,
    }
}

fn policy_of(uid: &str) -> StoredPolicy {
    serde_json::from_value(json!({
        "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": uid, "generation": 1},
        "spec": {
            "primary": {"host": "198.18.0.1"},
            "replicas": [{"id": "a", "host": "198.18.0.2", "connection": {"credentialsSecretRef": {"name": "probe"}}}],
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn a_policy_that_goes_during_its_pass_leaves_nothing_behind() {
    let mut bench = bench();
    let policy = policy_of("first");
    let key = policy.key();
    bench.store.apply_watcher_event(&Event::Apply(policy.clone()));
    let pass = tokio::spawn(reconcile(Arc::new(policy.clone()), Arc::clone(&bench.context)));
    bench.asked.recv().await.unwrap();
    bench.store.apply_watcher_event(&Event::Delete(policy));
    bench.context.forget(&key).await;
    bench.answer.notify_one();
    pass.await.unwrap().unwrap();
    let context = bench.context;
    assert!(context.policies.begun().is_empty());
    assert!(!context.secrets.is_named(&("shop".to_owned(), "probe".to_owned())));
    drop(context);
    let taken = bench.taken.await.unwrap();
    assert!(taken.iter().all(|input| input.starts_with("Gone")), "{taken:?}");
}

/// Lets the other tasks of the test go on until they wait for something.
async fn rests() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// The policy as of a version, which remembers a holder of this timeline.
fn policy_at(version: &str, timeline: u32) -> StoredPolicy {
    let mut object = policy_of("first").declared();
    object["metadata"]["resourceVersion"] = json!(version);
    object["status"] = json!({"memory": {"timeline": timeline}});
    serde_json::from_value(object).unwrap()
}

#[tokio::test]
async fn a_pass_that_waited_for_the_first_lists_is_about_what_there_is_then() {
    let mut bench = bench_before_the_lists(false, |_| (404, refused(404)));
    bench.shows(&policy_at("1", 8));
    let pass = bench.passes(policy_at("1", 8));
    rests().await;
    bench.shows(&policy_at("2", 9));
    bench.lists();
    pass.await.unwrap().unwrap();
    drop(bench.context);
    let taken = bench.taken.await.unwrap();
    let declared = taken.iter().find(|input| input.starts_with("Declared")).unwrap();
    assert!(declared.contains("timeline: Some(9)"), "{declared}");
}

/// The desk does not know the policy then, and takes in no status of it.
#[tokio::test]
async fn a_status_that_is_shown_during_a_pass_is_shown_to_the_desk_after_it() {
    let mut bench = bench();
    bench.shows(&policy_at("1", 8));
    let pass = bench.passes(policy_at("1", 8));
    bench.asked.recv().await.unwrap();
    bench.shows(&policy_at("2", 9));
    bench.answer.notify_one();
    pass.await.unwrap().unwrap();
    drop(bench.context);
    let taken = bench.taken.await.unwrap();
    let place = |word: &str, timeline: &str| {
        let is = |input: &String| input.starts_with(word) && input.contains(timeline);
        taken.iter().position(is)
    };
    let (declared, seen) = (
        place("Declared", "timeline: Some(8)"),
        place("StatusSeen", "timeline: Some(9)"),
    );
    assert!(declared.is_some() && declared < seen, "{taken:?}");
}

/// What the desk makes of it may reach the engine before the policy does, in vain.
#[tokio::test]
async fn the_engine_gets_the_memory_that_was_shown_last() {
    let mut bench = bench_with(false, |_| (404, refused(404)));
    let (events, mut queue) = mpsc::channel(1);
    events.send(CoreEvent::AddressesChanged).await.unwrap();
    Arc::get_mut(&mut bench.context).unwrap().engine = EngineHandle::of(events);
    bench.shows(&policy_at("1", 8));
    let pass = bench.passes(policy_at("1", 8));
    let is_handed = || {
        let key = policy_of("first").key();
        bench.context.policies.handed(&key).is_some()
    };
    while !is_handed() {
        rests().await;
    }
    // Until it waits for room.
    rests().await;
    bench.shows(&policy_at("2", 9));
    queue.recv().await.unwrap();
    pass.await.unwrap().unwrap();
    let Some(CoreEvent::PolicyChanged { memory, .. }) = queue.recv().await else {
        panic!("no policy");
    };
    assert_eq!(memory.holding.timeline, Some(9));
}

#[tokio::test]
async fn a_policy_that_a_finalizer_keeps_is_handed_on_as_one_that_is_being_deleted() {
    let mut bench = bench_with(false, |_| (404, refused(404)));
    let mut policy = policy_of("first");
    policy.meta_mut().deletion_timestamp = Some(Time(timestamp()));
    bench.store.apply_watcher_event(&Event::Apply(policy.clone()));
    reconcile(Arc::new(policy), Arc::clone(&bench.context))
        .await
        .unwrap();
    assert_eq!(bench.context.policies.begun().len(), 1);
    drop(bench.context);
    let taken = bench.taken.await.unwrap();
    let declared = |input: &String| input.starts_with("Declared") && input.contains("deleting: true");
    assert!(taken.iter().any(declared), "{taken:?}");
    assert!(!taken.iter().any(|input| input.starts_with("Gone")), "{taken:?}");
}

/// Every watch fails; there is one policy, whose Secret may not be read, so that every pass asks for it.
fn failing_watches(uri: &str) -> (u16, Value) {
    let list = |items: Value| json!({"metadata": {"resourceVersion": "10"}, "items": items});
    if uri.contains("watch=true") {
        return (500, refused(500));
    }
    if uri.contains("/secrets/") {
        return (403, refused(403));
    }
    if !uri.contains("/replicasetpolicies") {
        return (200, list(json!([])));
    }
    let mut policy = policy_of("first").declared();
    policy["metadata"]["resourceVersion"] = json!("5");
    policy["spec"]["mode"] = json!("Suspend");
    (200, list(json!([policy])))
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_pauses_no_pass() {
    let mut bench = bench_with(false, failing_watches);
    let (triggers, end) = mpsc::channel(8);
    let stop = CancellationToken::new();
    let context = Arc::clone(&bench.context);
    tokio::spawn(run(context, None, end, stop.clone()));
    bench.asked.recv().await.unwrap();
    let key = policy_of("first").key();
    for _ in 0..5 {
        let _ = tokio::time::timeout(Duration::from_secs(20), std::future::pending::<()>()).await;
        while bench.asked.try_recv().is_ok() {}
        triggers.send(key.clone()).await.unwrap();
        let pass = tokio::time::timeout(Duration::from_millis(50), bench.asked.recv()).await;
        assert!(pass.is_ok(), "no pass begins");
    }
    let page = bench.context.metrics.encode().unwrap();
    let counted = r#"distributary_watch_failures_total{kind="ReplicaSetPolicy",category="ServerError"}"#;
    assert!(page.contains(counted), "{page}");
    stop.cancel();
}

/// In the namespace of the bench may be so many endpoints; [`policy_of`] has two.
fn bench_with_quota(most: usize) -> Bench {
    let cluster = ClusterSettings {
        max_endpoints_per_namespace: most,
        ..ClusterSettings::default()
    };
    let bench = bench_of(cluster, false, |_| (404, refused(404)));
    bench.lists();
    bench
}

#[tokio::test]
async fn of_a_policy_beyond_the_quota_nothing_is_read() {
    for (most, reads) in [(2, true), (1, false)] {
        let mut bench = bench_with_quota(most);
        bench.shows(&policy_of("first"));
        bench.passes(policy_of("first")).await.unwrap().unwrap();
        assert_eq!(bench.asked.try_recv().is_ok(), reads, "{most}");
        let secret = ("shop".to_owned(), "probe".to_owned());
        assert_eq!(bench.context.secrets.is_named(&secret), reads, "{most}");
        drop(bench.context);
        let taken = bench.taken.await.unwrap();
        let declared = taken.iter().find(|input| input.starts_with("Declared")).unwrap();
        assert_eq!(
            declared.contains("--max-endpoints-per-namespace"),
            !reads,
            "{declared}"
        );
    }
}

#[tokio::test]
async fn a_policy_that_went_before_its_first_pass_leaves_its_room() {
    let mut bench = bench_with_quota(2);
    let created = |name: &str, at: &str| -> StoredPolicy {
        let mut object = policy_of(name).declared();
        object["metadata"]["name"] = json!(name);
        object["metadata"]["creationTimestamp"] = json!(at);
        serde_json::from_value(object).unwrap()
    };
    let newer = created("newer", "2026-01-02T00:00:00Z");
    let older = created("older", "2026-01-01T00:00:00Z");
    for policy in [&newer, &older] {
        bench.shows(policy);
        let change = PolicyChange::Changed(policy.key());
        bench.context.policies.see(&change, None);
    }
    assert!(
        bench.context.excess(&newer).is_some(),
        "the older one was not counted"
    );
    bench.store.apply_watcher_event(&Event::Delete(older));
    let listed: BTreeSet<_> = [newer.key()].into();
    bench
        .context
        .policies
        .see(&PolicyChange::Listed(listed.clone()), None);
    bench.context.forget_all_but(&listed, None).await;
    assert!(bench.context.excess(&newer).is_none());
}
