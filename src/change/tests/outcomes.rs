//! What is left where a change is not carried out, against an API server of one policy and one Secret.

use serde_json::json;

use super::together::{Server, carried_out, rehearsed, secret};
use super::*;

fn add() -> Value {
    json!({"action": "add_replica", "replicaConfig": {"id": "c", "url": "postgresql://app:s3cret@h"}})
}

fn update(id: &str, url: &str) -> Value {
    json!({"action": "update_replica", "replicaConfig": {"id": id, "url": url}})
}

fn remove(id: &str) -> Value {
    json!({"action": "remove_replica", "replicaId": id})
}

/// A Secret of an earlier change, of some hours ago.
fn earlier(owner: &str) -> Value {
    secret("earlier", owner, "2026-01-01T00:00:00Z")
}

/// The uid of the only Secret.
fn left(server: &Server, name: &str) -> Option<String> {
    assert!(server.secrets.len() <= 1, "{:?}", server.secrets);
    let secret = server.secrets.get(name)?;
    secret["metadata"]["uid"].as_str().map(ToOwned::to_owned)
}

#[tokio::test]
async fn a_secret_whose_making_was_not_answered_is_deleted() {
    let server = Server {
        silent_at: Some(("POST", "/secrets")),
        ..Server::new()
    };
    let (done, server) = carried_out(server, add()).await;
    assert_eq!(done.err().unwrap().code, 504);
    assert!(server.secrets.is_empty());
}

#[tokio::test]
async fn a_secret_that_was_left_behind_is_taken_over_and_one_of_others_is_not() {
    let (done, server) = carried_out(Server::leaves("orders-c", earlier("u")), add()).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-c"));
    assert!(left(&server, "orders-c").unwrap().starts_with("made"));
    let (done, server) = carried_out(Server::leaves("orders-c", earlier("other")), add()).await;
    assert_eq!(done.err().unwrap().code, 409);
    assert_eq!(left(&server, "orders-c").unwrap(), "earlier");
    // One that the policy refers to is no leftover.
    let mut used = Server::leaves("orders-c", earlier("u"));
    used.policy["spec"]["primary"]["urlSecretRef"] = json!({"name": "orders-c", "key": "url"});
    let (done, server) = carried_out(used, add()).await;
    assert_eq!(done.err().unwrap().code, 409);
    assert_eq!(left(&server, "orders-c").unwrap(), "earlier");
}

#[tokio::test]
async fn a_secret_of_a_change_that_may_be_under_way_is_left_alone() {
    let young = || Server::leaves("orders-c", secret("young", "u", "2026-01-01T11:57:01Z"));
    for change in [add(), remove("c")] {
        let (done, server) = carried_out(young(), change).await;
        let refusal = done.err().unwrap();
        assert!(matches!(refusal.code, 404 | 409), "{refusal:?}");
        let told = "another change made it 179 s ago, and may be under way: try again in 1 s";
        assert!(refusal.message.ends_with(told), "{refusal:?}");
        assert_eq!(left(&server, "orders-c").unwrap(), "young");
    }
    let old = Server::leaves("orders-c", secret("old", "u", "2026-01-01T11:57:00Z"));
    let (done, server) = carried_out(old, remove("c")).await;
    assert!(done.is_ok() && server.secrets.is_empty());
}

#[tokio::test]
async fn a_secret_goes_with_a_refused_patch_and_stays_with_one_that_is_not_answered() {
    let refusing = Server {
        refuses: true,
        ..Server::new()
    };
    let (done, server) = carried_out(refusing, add()).await;
    assert_eq!((done.err().unwrap().code, server.secrets.len()), (422, 0));
    // The patch that was lost has changed the policy.
    let lost = Server {
        silent_at: Some(("PATCH", "/")),
        ..Server::new()
    };
    let (done, server) = carried_out(lost, add()).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-c"));
    assert!(left(&server, "orders-c").is_some());
    // The patch that was lost may change it later.
    let late = Server {
        silent_at: Some(("PATCH", "/")),
        refuses: true,
        ..Server::new()
    };
    let (done, server) = carried_out(late, add()).await;
    let refusal = done.err().unwrap();
    assert_eq!(refusal.code, 504);
    assert!(refusal.message.contains("Secret orders-c"), "{}", refusal.message);
    assert!(!refusal.message.contains("s3cret"));
    assert!(left(&server, "orders-c").is_some());
}

#[tokio::test]
async fn a_secret_that_the_caller_may_not_delete_is_named() {
    let refusing = Server {
        refuses: true,
        denies: Some(("DELETE", "/secrets")),
        ..Server::new()
    };
    let (done, server) = carried_out(refusing, add()).await;
    let refusal = done.err().unwrap();
    let told = "Secret orders-c was created, and could not be deleted";
    assert!(
        refusal.code == 422 && refusal.message.ends_with(told),
        "{refusal:?}"
    );
    assert!(left(&server, "orders-c").is_some());
    // Whoever removes a replica is told what stays of it.
    for method in ["GET", "DELETE"] {
        let mut denying = Server {
            denies: Some((method, "/secrets")),
            ..Server::leaves("orders-b", earlier("u"))
        };
        denying.policy["spec"]["replicas"][1]["urlSecretRef"] = json!({"name": "orders-b", "key": "url"});
        let (done, server) = carried_out(denying, remove("b")).await;
        let done = done.unwrap();
        let told = "Secret orders-b was not deleted: may not".to_owned();
        assert_eq!((done.secret, &*done.notes), (None, &[told][..]), "{method}");
        assert_eq!(left(&server, "orders-b").unwrap(), "earlier");
        assert_eq!(server.policy["spec"]["replicas"], json!([{"id": "a"}]));
    }
}

#[tokio::test]
async fn without_the_right_to_create_secrets_nothing_is_changed() {
    let denying = Server {
        denies: Some(("POST", "/secrets")),
        ..Server::new()
    };
    let was = denying.policy.clone();
    let (done, server) = carried_out(denying, add()).await;
    let refusal = done.err().unwrap();
    assert_eq!((refusal.code, &*refusal.message), (403, "may not"));
    assert_eq!((&server.policy, server.secrets.len()), (&was, 0));
}

#[tokio::test]
async fn a_new_url_has_a_secret_of_its_own_and_the_one_before_goes() {
    let secret_url = |number: usize| format!("postgresql://app:s3cret-{number}@h");
    let (done, server) = carried_out(Server::new(), update("b", &secret_url(1))).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-b"));
    let (done, server) = carried_out(server, update("b", &secret_url(2))).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-b.2"));
    assert!(left(&server, "orders-b.2").is_some());
    let (done, server) = carried_out(server, update("b", &secret_url(3))).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-b"));
    assert!(left(&server, "orders-b").is_some());
    let stored = &server.secrets["orders-b"]["stringData"]["url"];
    assert_eq!(*stored, json!(secret_url(3)));
    let plain = "postgresql://db-4.example:5433";
    let (done, server) = carried_out(server, update("b", plain)).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-b"));
    assert!(server.secrets.is_empty());
    let expected = json!({"id": "b", "weight": 2, "host": "db-4.example", "port": 5433});
    assert_eq!(server.policy["spec"]["replicas"][1], expected);
    // A Secret of somebody else stays where it is.
    let mut theirs = Server::leaves("orders-b", earlier("other"));
    theirs.policy["spec"]["replicas"][1]["urlSecretRef"] = json!({"name": "orders-b", "key": "uri"});
    let (done, server) = carried_out(theirs, update("b", plain)).await;
    let done = done.unwrap();
    assert_eq!(
        (done.secret, &*done.notes),
        (
            None,
            &["Secret orders-b was not made for this replica, and stays".to_owned()][..]
        )
    );
    assert_eq!(left(&server, "orders-b").unwrap(), "earlier");
}

#[tokio::test]
async fn a_new_url_that_is_refused_leaves_the_one_before() {
    let (_, server) = carried_out(Server::new(), update("b", "postgresql://app:one@h")).await;
    let refusing = Server {
        refuses: true,
        ..server
    };
    let was = refusing.policy.clone();
    let (done, server) = carried_out(refusing, update("b", "postgresql://app:two@h")).await;
    assert_eq!((done.err().unwrap().code, &server.policy), (422, &was));
    assert!(left(&server, "orders-b").is_some());
}

#[tokio::test]
async fn what_was_left_of_a_replica_can_be_removed() {
    let (done, server) = carried_out(Server::leaves("orders-c", earlier("u")), remove("c")).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-c"));
    assert!(server.secrets.is_empty());
    for (server, uid) in [
        (Server::new(), None),
        (
            Server::leaves("orders-c", earlier("other")),
            Some("earlier".to_owned()),
        ),
    ] {
        let (done, server) = carried_out(server, remove("c")).await;
        assert_eq!((done.err().unwrap().code, left(&server, "orders-c")), (404, uid));
    }
    // A replica that names another address by now.
    let (done, server) = carried_out(Server::leaves("orders-a", earlier("u")), remove("a")).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-a"));
    assert!(server.secrets.is_empty());
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let leftover = || Server::leaves("orders-c", earlier("u"));
    let named = || {
        let mut server = Server::leaves("orders-b", earlier("u"));
        server.policy["spec"]["replicas"][1]["urlSecretRef"] = json!({"name": "orders-b", "key": "url"});
        server
    };
    for (server, change) in [
        (Server::new(), add()),
        (leftover(), add()),
        (named(), remove("b")),
        (named(), update("b", "postgresql://app:s3cret@h")),
        (named(), update("b", "postgresql://h")),
    ] {
        let (was, secrets) = (server.policy.clone(), server.secrets.clone());
        let (done, server) = rehearsed(server, change.clone()).await;
        let done = done.unwrap();
        assert_eq!((&server.policy, &server.secrets), (&was, &secrets), "{change}");
        assert_ne!(done.policy["spec"], done.before["spec"], "{change}");
        assert_eq!(done.before, was);
    }
}
