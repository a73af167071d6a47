//! Two changes at the same time, against an API server of one policy and its Secrets, in every order of their requests.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::render::labels::{MANAGED_BY, MANAGER};

const NOW: &str = "2026-01-01T12:00:00Z";

pub struct Server {
    pub policy: Value,
    pub secrets: BTreeMap<String, Value>,
    /// The request of this method and path is carried out once, and not answered.
    pub silent_at: Option<(&'static str, &'static str)>,
    /// Requests of this method and path are forbidden.
    pub denies: Option<(&'static str, &'static str)>,
    /// Patches are refused as invalid.
    pub refuses: bool,
    pub made: usize,
}

impl Server {
    pub fn new() -> Self {
        let mut policy = policy();
        policy["apiVersion"] = json!("distributary.dev/v1alpha1");
        Self {
            policy,
            secrets: BTreeMap::new(),
            silent_at: None,
            denies: None,
            refuses: false,
            made: 0,
        }
    }

    pub fn leaves(name: &str, secret: Value) -> Self {
        Self {
            secrets: BTreeMap::from([(name.to_owned(), secret)]),
            ..Self::new()
        }
    }

    fn answer(&mut self, method: &str, path: &str, is_dry: bool, body: &Value) -> (u16, Value) {
        if !path.contains("/secrets") {
            return match method {
                "PATCH" if self.refuses && !is_dry => (422, json!({})),
                "PATCH" => self.patched(body, is_dry),
                _ => (200, self.policy.clone()),
            };
        }
        let last = path.rsplit('/').next().unwrap();
        let name = body["metadata"]["name"].as_str().unwrap_or(last).to_owned();
        match (method, self.secrets.get(&name)) {
            ("POST", None) => {
                self.made += 1;
                let mut made = body.clone();
                made["metadata"]["uid"] = json!(format!("made-{}", self.made));
                made["metadata"]["creationTimestamp"] = json!(NOW);
                if !is_dry {
                    self.secrets.insert(name, made.clone());
                }
                (201, made)
            }
            ("POST", Some(_)) => (409, json!({"reason": "AlreadyExists"})),
            (_, None) => (404, json!({})),
            ("DELETE", Some(secret)) if body["preconditions"]["uid"] != secret["metadata"]["uid"] => {
                (409, json!({"reason": "Conflict"}))
            }
            ("DELETE", Some(_)) if body["dryRun"].is_array() => (200, json!({})),
            ("DELETE", Some(_)) => {
                self.secrets.remove(&name);
                (200, json!({}))
            }
            (_, Some(secret)) => (200, secret.clone()),
        }
    }

    /// As far as JSON Patches of a change go.
    fn patched(&mut self, operations: &Value, is_dry: bool) -> (u16, Value) {
        let mut policy = self.policy.clone();
        for operation in operations.as_array().unwrap() {
            let path = operation["path"].as_str().unwrap();
            let (parent, last) = path.rsplit_once('/').unwrap();
            match operation["op"].as_str().unwrap() {
                "test" if policy.pointer(path) != Some(&operation["value"]) => return (422, json!({})),
                "test" => continue,
                _ => {}
            }
            let value = operation.get("value").cloned();
            match (policy.pointer_mut(parent).unwrap(), value) {
                (Value::Array(parts), Some(value)) => parts.push(value),
                (Value::Array(parts), None) => drop(parts.remove(last.parse().unwrap())),
                (parent, Some(value)) => parent[last] = value,
                (parent, None) => drop(parent.as_object_mut().unwrap().remove(last).unwrap()),
            }
        }
        if is_dry {
            return (200, policy);
        }
        let version: u32 = version(&policy).parse().unwrap();
        policy["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        self.policy = policy.clone();
        (200, policy)
    }
}

/// A Secret of a change.
pub fn secret(uid: &str, owner: &str, made: &str) -> Value {
    json!({"metadata": {
        "uid": uid, "labels": {MANAGED_BY: MANAGER}, "creationTimestamp": made,
        "ownerReferences": [{"uid": owner}],
    }})
}

/// A client of the server. `turns`: whoever may send a request takes one of them.
fn client(server: &Arc<Mutex<Server>>, turns: Option<Arc<tokio::sync::Semaphore>>) -> AsCaller {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (server, turns) = (Arc::clone(&server), turns.clone());
        async move {
            if let Some(turns) = turns {
                turns.acquire().await.unwrap().forget();
            }
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
            let (method, path) = (parts.method.as_str(), parts.uri.path());
            let is_dry = parts.uri.query().is_some_and(|query| query.contains("dryRun"));
            let mut server = server.lock();
            let denied = |(of, part): &(&str, &str)| *of == method && path.contains(*part);
            let (code, answer) = if server.denies.as_ref().is_some_and(denied) {
                (403, json!({"reason": "Forbidden", "message": "may not"}))
            } else {
                server.answer(method, path, is_dry, &body)
            };
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
    AsCaller::over(Client::new(service, "default"))
}

async fn carry(caller: AsCaller, body: &Value, dry_run: bool) -> Result<Done, Refusal> {
    let terms = Terms {
        way: &BY_API,
        force: false,
        dry_run,
        secrets: Some(SecretAccess::ClusterWide),
    };
    carry_out(caller, &key(), &edit(body).unwrap(), terms).await
}

pub async fn carried_out(server: Server, body: Value) -> (Result<Done, Refusal>, Server) {
    alone(server, body, false).await
}

/// A dry run.
pub async fn rehearsed(server: Server, body: Value) -> (Result<Done, Refusal>, Server) {
    alone(server, body, true).await
}

async fn alone(server: Server, body: Value, dry_run: bool) -> (Result<Done, Refusal>, Server) {
    let server = Arc::new(Mutex::new(server));
    let done = carry(client(&server, None), &body, dry_run).await;
    let server = std::mem::replace(&mut *server.lock(), Server::new());
    (done, server)
}

/// Carries out two changes. The bits of `order`, from the lowest on, tell who sends the next request.
async fn both(server: Server, bodies: [Value; 2], order: u32) -> ([Result<Done, Refusal>; 2], Server) {
    let server = Arc::new(Mutex::new(server));
    let turns = [0, 1].map(|_| Arc::new(tokio::sync::Semaphore::new(0)));
    let mut running = [0, 1].map(|of: usize| {
        let (caller, body) = (client(&server, Some(Arc::clone(&turns[of]))), bodies[of].clone());
        tokio::spawn(async move { carry(caller, &body, false).await })
    });
    for turn in 0..32 {
        turns[usize::from(order & (1 << turn) != 0)].add_permits(1);
        // On the one thread of the test each runs as far as it can.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
    for turns in &turns {
        turns.add_permits(32);
    }
    let [one, other] = &mut running;
    let ended = [one.await.unwrap(), other.await.unwrap()];
    let server = std::mem::replace(&mut *server.lock(), Server::new());
    (ended, server)
}

/// The URL that the policy leads to for a replica.
fn url(server: &Server, id: &str) -> Option<String> {
    let name = edit::secret_of(&server.policy, id)?;
    let secret = server
        .secrets
        .get(&name)
        .unwrap_or_else(|| panic!("Secret {name} is lost"));
    Some(
        secret["stringData"]["url"]
            .as_str()
            .unwrap_or("of others")
            .to_owned(),
    )
}

/// All orders of the first 11 requests, of both together: an add sends about seven.
fn orders() -> impl Iterator<Item = u32> {
    (0..1 << 11).map(|low: u32| low | (0x5_5555 << 11))
}

fn add(number: usize) -> Value {
    let url = format!("postgresql://app:pass-{number}@h{number}");
    json!({"action": "add_replica", "replicaConfig": {"id": "c", "url": url, "weight": number}})
}

#[tokio::test]
async fn of_two_that_add_one_replica_one_has_its_url_and_the_other_is_told() {
    for order in orders() {
        let ([one, other], server) = both(Server::new(), [add(1), add(2)], order).await;
        let won = match (&one, &other) {
            (Ok(_), Err(lost)) if lost.code == 409 => 1,
            (Err(lost), Ok(_)) if lost.code == 409 => 2,
            ended => panic!("{order:b}: {ended:?}"),
        };
        let expected = format!("postgresql://app:pass-{won}@h{won}");
        assert_eq!(url(&server, "c").as_deref(), Some(&*expected), "{order:b}");
        assert_eq!(server.policy["spec"]["replicas"][2]["weight"], won, "{order:b}");
        assert_eq!(server.secrets.len(), 1, "{order:b}");
    }
}

#[tokio::test]
async fn whoever_removes_a_replica_takes_no_secret_of_one_who_adds_it_again() {
    let was = secret("was", "u", "2026-01-01T00:00:00Z");
    for order in orders() {
        let mut server = Server::leaves("orders-c", was.clone());
        let reference = json!({"name": "orders-c", "key": "url"});
        let replicas = server.policy["spec"]["replicas"].as_array_mut().unwrap();
        replicas.push(json!({"id": "c", "urlSecretRef": reference}));
        let remove = json!({"action": "remove_replica", "replicaId": "c"});
        let ([removed, added], server) = both(server, [remove, add(1)], order).await;
        assert!(removed.is_ok(), "{order:b}: {removed:?}");
        match added {
            Ok(_) => assert_eq!(url(&server, "c").as_deref(), Some("postgresql://app:pass-1@h1")),
            Err(refusal) => assert_eq!((refusal.code, url(&server, "c")), (409, None), "{order:b}"),
        }
    }
}

#[tokio::test]
async fn of_two_new_urls_of_a_replica_the_last_one_that_was_told_as_done_holds() {
    let update = |number: usize| {
        let url = format!("postgresql://app:pass-{number}@h{number}");
        json!({"action": "update_replica", "replicaConfig": {"id": "b", "url": url}})
    };
    for order in orders() {
        let ([one, other], server) = both(Server::new(), [update(1), update(2)], order).await;
        assert!(one.is_ok() || other.is_ok(), "{order:b}: {one:?} {other:?}");
        let url = url(&server, "b").unwrap();
        let done = [(&one, "h1"), (&other, "h2")];
        let is_done = done
            .iter()
            .any(|(ended, host)| ended.is_ok() && url.ends_with(host));
        assert!(is_done, "{order:b}: {url} {one:?} {other:?}");
        assert_eq!(server.secrets.len(), 1, "{order:b}: {:?}", server.secrets.keys());
    }
}
