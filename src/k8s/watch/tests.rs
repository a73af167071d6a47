use std::convert::Infallible;

use axum::http::{Request, Response};
use kube::client::Body;
use serde_json::json;

use super::*;

type Metadata = PartialObjectMeta<Secret>;

fn secret(name: &str) -> Metadata {
    serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": "5"}}))
        .unwrap()
}

/// A cache that has read these Secrets for a policy.
async fn read(names: &BTreeSet<String>, policy: &PolicyKey) -> SecretCache {
    let server = tower::service_fn(|request: Request<Body>| async move {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default();
        let body = json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": "5"}});
        Ok::<_, Infallible>(Response::new(Body::from(body.to_string().into_bytes())))
    });
    let secrets = SecretCache::default();
    secrets.used_by(policy, names);
    let client = kube::Client::new(server, "default");
    secrets.dereference(&client, policy, names).await.unwrap();
    secrets
}

#[tokio::test]
async fn a_secret_that_goes_while_nobody_watches_is_read_again() {
    let policy = PolicyKey::new("shop", "orders");
    let names = ["one", "two"].map(str::to_owned).into();
    let secrets = read(&names, &policy).await;
    let mut unseen = BTreeSet::new();
    let mut list = |shown: &[&str], of: &str| {
        let mut see = |event| {
            let in_scope = |(_, name): &SecretKey| of.is_empty() || name == of;
            secret_event(&secrets, in_scope, &mut unseen, event)
        };
        assert!(see(Event::Init).is_empty());
        for name in shown {
            assert!(see(Event::InitApply(secret(name))).is_empty());
        }
        see(Event::InitDone)
    };
    assert!(list(&["one", "two", "other"], "").is_empty());
    // A watch of one says nothing of another.
    assert!(list(&["one"], "one").is_empty());
    assert_eq!(list(&["two"], ""), [policy]);
    assert!(list(&["two"], "").is_empty(), "it is told once");
}
