//! What is left where a change is not carried out, against an API server of one policy and one Secret.

use std::io;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::k8s::callers::Callers;
use crate::render::labels::{MANAGED_BY, MANAGER};

struct Server {
    policy: Value,
    secret: Option<Value>,
    /// The request of this method and path is carried out once, and not answered.
    silent_at: Option<(&'static str, &'static str)>,
    /// The next patch is refused.
    refuses: bool,
}

impl Server {
    fn new() -> Self {
        let mut policy = policy();
        policy["apiVersion"] = json!("distributary.dev/v1alpha1");
        Self {
            policy,
            secret: None,
            silent_at: None,
            refuses: false,
        }
    }

    fn leaves(secret: Value) -> Self {
        Self {
            secret: Some(secret),
            ..Self::new()
        }
    }

    fn answer(&mut self, method: &str, path: &str, is_dry: bool, body: &Value) -> (u16, Value) {
        if !path.contains("/secrets") {
            return match method {
                "PATCH" if is_dry => (200, self.policy.clone()),
                "PATCH" if self.refuses => (422, json!({})),
                "PATCH" => (200, self.patched(body)),
                _ => (200, self.policy.clone()),
            };
        }
        match (method, &self.secret) {
            ("POST", None) => {
                let mut made = body.clone();
                made["metadata"]["uid"] = json!("made");
                self.secret = Some(made.clone());
                (201, made)
            }
            ("POST", Some(_)) => (409, json!({"reason": "AlreadyExists"})),
            (_, None) => (404, json!({})),
            ("DELETE", Some(secret)) => {
                assert_eq!(body["preconditions"]["uid"], secret["metadata"]["uid"]);
                self.secret = None;
                (200, json!({}))
            }
            (_, Some(secret)) => (200, secret.clone()),
        }
    }

    fn patched(&mut self, operations: &Value) -> Value {
        let replicas = self.policy["spec"]["replicas"].as_array_mut().unwrap();
        for operation in operations.as_array().unwrap() {
            match (operation["op"].as_str(), operation["path"].as_str()) {
                (Some("add"), Some("/spec/replicas/-")) => replicas.push(operation["value"].clone()),
                (Some("remove"), Some(path)) => {
                    replicas.remove(path.rsplit('/').next().unwrap().parse().unwrap());
                }
                _ => {}
            }
        }
        self.policy["metadata"]["resourceVersion"] = json!("8");
        self.policy.clone()
    }
}

fn callers(server: &Arc<Mutex<Server>>) -> Callers {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (method, path) = (parts.method.as_str(), parts.uri.path());
            let is_dry = parts.uri.query().is_some_and(|query| query.contains("dryRun"));
            let mut server = server.lock();
            let (code, answer) = server.answer(method, path, is_dry, &body);
            let lost = |(of, part): &(&str, &str)| *of == method && path.contains(*part) && !is_dry;
            if server.silent_at.as_ref().is_some_and(lost) {
                server.silent_at = None;
                return Err(io::Error::other("reset"));
            }
            let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
            *response.status_mut() = code.try_into().unwrap();
            Ok(response)
        }
    });
    Callers::over(Client::new(service, "default"))
}

async fn carried_out(server: Server, body: Value) -> (Result<Done, Problem>, Server) {
    let (mut parts, ()) = Request::new(()).into_parts();
    let token = HeaderValue::from_static("Bearer abc");
    parts.headers.insert(header::AUTHORIZATION, token);
    let caller = Caller::from_request_parts(&mut parts, &()).await.unwrap();
    let server = Arc::new(Mutex::new(server));
    let (callers, key) = (callers(&server), key());
    let acting = Acting {
        requests: Requests::new(&callers, &caller, &key).unwrap(),
        secrets: SecretAccess::ClusterWide,
        key: &key,
        force: false,
    };
    let done = acting.carry_out(&edit(&body).unwrap()).await;
    let server = std::mem::replace(&mut *server.lock(), Server::new());
    (done, server)
}

fn add() -> Value {
    json!({"action": "add_replica", "replicaConfig": {"id": "c", "url": "postgresql://app:s3cret@h"}})
}

fn remove(id: &str) -> Value {
    json!({"action": "remove_replica", "replicaId": id})
}

/// A Secret of a replica, of an earlier change.
fn earlier(owner: &str) -> Value {
    json!({"metadata": {
        "uid": "earlier", "labels": {MANAGED_BY: MANAGER},
        "ownerReferences": [{"uid": owner}],
    }})
}

#[tokio::test]
async fn a_secret_whose_making_was_not_answered_is_deleted() {
    let server = Server {
        silent_at: Some(("POST", "/secrets")),
        ..Server::new()
    };
    let (done, server) = carried_out(server, add()).await;
    assert_eq!(done.err().unwrap().code, 504);
    assert_eq!(server.secret, None);
}

#[tokio::test]
async fn a_secret_that_was_left_behind_is_taken_over_and_one_of_others_is_not() {
    let (done, server) = carried_out(Server::leaves(earlier("u")), add()).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-c"));
    assert_eq!(server.secret.unwrap()["metadata"]["uid"], "made");
    let (done, server) = carried_out(Server::leaves(earlier("other")), add()).await;
    assert_eq!(done.err().unwrap().code, 409);
    assert_eq!(server.secret.unwrap()["metadata"]["uid"], "earlier");
    // One that the policy refers to is no leftover.
    let mut used = Server::leaves(earlier("u"));
    used.policy["spec"]["primary"]["urlSecretRef"] = json!({"name": "orders-c", "key": "url"});
    let (done, server) = carried_out(used, add()).await;
    assert_eq!(done.err().unwrap().code, 409);
    assert_eq!(server.secret.unwrap()["metadata"]["uid"], "earlier");
}

#[tokio::test]
async fn a_secret_goes_with_a_refused_patch_and_stays_with_one_that_is_not_answered() {
    let refusing = Server {
        refuses: true,
        ..Server::new()
    };
    let (done, server) = carried_out(refusing, add()).await;
    assert_eq!((done.err().unwrap().code, server.secret), (422, None));
    // The patch that was lost has changed the policy.
    let lost = Server {
        silent_at: Some(("PATCH", "/")),
        ..Server::new()
    };
    let (done, server) = carried_out(lost, add()).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-c"));
    assert!(server.secret.is_some());
    // The patch that was lost may change it later.
    let late = Server {
        silent_at: Some(("PATCH", "/")),
        refuses: true,
        ..Server::new()
    };
    let (done, server) = carried_out(late, add()).await;
    let problem = done.err().unwrap();
    assert_eq!(problem.code, 504);
    assert!(problem.message.contains("Secret orders-c"), "{}", problem.message);
    assert!(!problem.message.contains("s3cret"));
    assert!(server.secret.is_some());
}

#[tokio::test]
async fn what_was_left_of_a_replica_can_be_removed() {
    let (done, server) = carried_out(Server::leaves(earlier("u")), remove("c")).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-c"));
    assert_eq!(server.secret, None);
    for left in [Server::new(), Server::leaves(earlier("other"))] {
        let was = left.secret.clone();
        let (done, server) = carried_out(left, remove("c")).await;
        assert_eq!((done.err().unwrap().code, server.secret), (404, was));
    }
    // A replica that names another address by now.
    let (done, server) = carried_out(Server::leaves(earlier("u")), remove("a")).await;
    assert_eq!(done.unwrap().secret.as_deref(), Some("orders-a"));
    assert_eq!(server.secret, None);
}
