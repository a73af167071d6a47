use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::http::{Request, Response};
use kube::client::Body;
use kube::runtime::reflector;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::super::dereference::parse;
use super::super::secrets::SecretAccess;
use super::super::triggers::Triggers;
use super::*;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::render::Kind;
use distributary_core::world::Memory;
use distributary_probe::{AddressRules, Limits, Registry, Resolver};

fn object(mode: &str) -> Value {
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"mode": mode, "primary": {"host": "pg.example.com"}},
        "status": {"conditions": "not even a list"},
    })
}

#[test]
fn a_status_that_cannot_be_read_is_no_fault_of_the_spec() {
    assert!(parse(object("Enforce")).is_ok());
}

#[test]
fn a_word_of_a_newer_version_is_a_problem_of_that_policy_alone() {
    let problem = parse(object("Rehearse")).unwrap_err();
    assert!(
        problem.starts_with("spec cannot be read by this version: unknown variant `Rehearse`"),
        "{problem}"
    );
}

#[test]
fn an_error_is_told_with_its_causes_once() {
    let source = super::super::error::CallError::Deadline(Duration::from_secs(10));
    let error = Error::UpdateStatus {
        name: "orders".to_owned(),
        source,
    };
    assert_eq!(
        chain(&error),
        "cannot update the status of orders: no answer within 10s"
    );
}

/// A context whose API server knows nothing, and says so about a Secret only when it is let: it tells when it is asked.
struct Bench {
    context: Arc<Context>,
    store: reflector::store::Writer<StoredPolicy>,
    asked: mpsc::Receiver<()>,
    answer: Arc<Notify>,
}

fn bench() -> Bench {
    let (ask, asked) = mpsc::channel(1);
    let answer = Arc::new(Notify::new());
    let answers = Arc::clone(&answer);
    let server = tower::service_fn(move |request: Request<Body>| {
        let (ask, answers) = (ask.clone(), Arc::clone(&answers));
        async move {
            if request.uri().path().contains("/secrets/") {
                let _ = ask.send(()).await;
                answers.notified().await;
            }
            let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404});
            let mut response = Response::new(Body::from(body.to_string().into_bytes()));
            *response.status_mut() = axum::http::StatusCode::NOT_FOUND;
            Ok::<_, Infallible>(response)
        }
    });
    let (clock, metrics) = (Clock::new(), Metrics::new());
    let (answers, answered) = mpsc::channel(64);
    let (reports, mut reported) = mpsc::channel(64);
    tokio::spawn(async move { while reported.recv().await.is_some() {} });
    let resolver = Resolver::from_system(clock, AddressRules::default());
    let registry = Registry::new(clock, resolver, Limits::default(), answers);
    let (engine, handle) = Engine::new(clock, registry, metrics.clone(), answered, reports);
    tokio::spawn(engine.run());
    let (triggers, _) = Triggers::new(&[None]);
    let (events, _) = mpsc::channel(64);
    let client = kube::Client::new(server, "default");
    let access = SecretAccess::ClusterWide;
    let context = Context::new(client, clock, handle, metrics, &[None], triggers, access, events);
    for kind in Kind::ALL {
        context.synced.done(kind, None);
    }
    context.synced.addresses_known();
    let store = reflector::store::Writer::new(policy_resource());
    context.policies.of_store(store.as_reader());
    Bench {
        context: Arc::new(context),
        store,
        asked,
        answer,
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
    assert!(lock(&context.told).is_empty() && context.policies.begun().is_empty());
    let nobody = PolicyKey::new("shop", "nobody");
    assert!(context.secrets.used_by(&nobody, &BTreeSet::new()).is_empty());
    // The engine takes everything in order.
    let mut other = distributary_core::fixture::policy(&["a"]);
    other.key = nobody;
    let changed = context
        .engine
        .change(other.policy(), other.resolved(), Memory::default());
    changed.await.unwrap();
    assert!(context.engine.decisions.get(&key).is_none());
}
