//! The policies as they change: the stream of the operator, or else a watch of the policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use kube::core::DynamicObject;
use serde_json::json;
use tokio::sync::mpsc;

use super::stream::{AGAIN, event, response, until_refused};
use super::{Shared, State as Local, by_status, problem, reading};
use crate::clock::Clock;
use crate::http::Lasting;
use crate::http_api::answers::{PolicyItem, PolicyName};
use crate::http_api::names;
use crate::http_api::problem::Problem;
use crate::kubectl::cluster::Policy;
use crate::kubectl::error::Error;
use crate::kubectl::live::{Events, FleetEvent};
use crate::kubectl::watching::{self, Change};
use distributary_core::ids::PolicyKey;

/// Changes that are told together at most.
const TOGETHER: usize = 500;

pub async fn events(
    State(local): Local,
    Query(asked): Query<reading::Asked>,
    Extension(lasting): Extension<Lasting>,
) -> Result<Response, Problem> {
    let namespace = asked.namespace.as_deref().map(names::namespace).transpose()?;
    let namespace = namespace.map(ToOwned::to_owned);
    reading::may_list(&local.all(namespace.as_deref())).await?;
    let opened = async { local.live().await?.fleet_events(namespace.as_deref()).await };
    let opened = opened.await;
    if let (Err(why), true) = (&opened, local.live.is_named()) {
        return Err(problem(why));
    }
    Ok(response(&lasting, move |sender| async move {
        let namespace = namespace.as_deref();
        match opened {
            Ok(events) => by_operator(&local, namespace, events, &sender).await,
            Err(_) => by_watch(&local, namespace, &sender).await,
        }
    }))
}

/// Until the operator ends it, or the caller may not list them any more: the page then asks again, and is told why.
async fn by_operator(
    local: &Arc<Shared>,
    namespace: Option<&str>,
    mut events: Events<FleetEvent>,
    sender: &mpsc::Sender<Bytes>,
) {
    let told = async {
        while let Ok(Some(change)) = events.next().await {
            let text = match change {
                FleetEvent::All(items) => snapshot(&items),
                FleetEvent::Changed { items, removed } => changed(&items, &removed),
            };
            if sender.send(text).await.is_err() {
                return;
            }
        }
    };
    let all = local.all(namespace);
    let may_not = async {
        loop {
            Clock::sleep(AGAIN).await;
            if let Err(problem) = reading::may_list(&all).await {
                return problem;
            }
        }
    };
    until_refused(told, may_not, sender).await;
}

async fn by_watch(local: &Arc<Shared>, namespace: Option<&str>, sender: &mpsc::Sender<Bytes>) {
    let there = local.within(namespace.unwrap_or_default());
    let mut changes = Box::pin(watching::policies(&there, namespace).ready_chunks(TOGETHER));
    while let Some(together) = changes.next().await {
        let is_last = together.iter().any(Result::is_err);
        for text in told(together) {
            if sender.send(text).await.is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}

/// What changes that came together tell: of each policy the last one.
fn told(together: Vec<Result<Change, Error>>) -> Vec<Bytes> {
    let (mut told, mut newest) = (Vec::new(), BTreeMap::new());
    let mut end = None;
    for change in together {
        match change {
            Ok(Change::All(objects)) => {
                newest.clear();
                let items: Vec<_> = objects.iter().filter_map(item).collect();
                told.push(snapshot(&items));
            }
            Ok(Change::Is(object)) => {
                if let Some(item) = item(&object) {
                    newest.insert(PolicyKey::new(&item.namespace, &item.name), Some(item));
                }
            }
            Ok(Change::Gone(key)) => {
                newest.insert(key, None);
            }
            Err(why) => {
                end = Some(event("end", &problem(&why)));
                break;
            }
        }
    }
    if !newest.is_empty() {
        let (mut items, mut removed) = (Vec::new(), Vec::new());
        for (PolicyKey { namespace, name }, item) in newest {
            match item {
                Some(item) => items.push(item),
                None => removed.push(PolicyName { namespace, name }),
            }
        }
        told.push(changed(&items, &removed));
    }
    told.extend(end);
    told
}

/// `None`: it is of another version.
fn item(object: &DynamicObject) -> Option<PolicyItem> {
    let policy = serde_json::to_value(object).and_then(serde_json::from_value::<Policy>);
    policy.ok().as_ref().map(by_status::item)
}

fn snapshot(items: &[PolicyItem]) -> Bytes {
    event("snapshot", &json!({"items": items}))
}

fn changed(items: &[PolicyItem], removed: &[PolicyName]) -> Bytes {
    event("change", &json!({"items": items, "removed": removed}))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::{Value, from_value};

    use super::*;

    fn object(name: &str, ready: &str) -> DynamicObject {
        let condition = json!({
            "type": "Ready", "status": ready, "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        from_value(json!({
            "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
            "metadata": {"namespace": "shop", "name": name}, "spec": {"primary": {"host": "h"}},
            "status": {"conditions": [condition]},
        }))
        .unwrap()
    }

    /// The name and the data of each event.
    fn read(told: &[Bytes]) -> Vec<(String, Value)> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let event = |bytes: &Bytes| {
            let text = text(bytes);
            let (name, data) = text.trim_end().split_once("\ndata: ").unwrap();
            let name = name.strip_prefix("event: ").unwrap().to_owned();
            (name, serde_json::from_str(data).unwrap())
        };
        told.iter().map(event).collect()
    }

    #[test]
    fn of_each_policy_the_last_change_is_told() {
        let is = |name: &str, ready: &str| Ok(Change::Is(Box::new(object(name, ready))));
        let gone = |name: &str| Ok(Change::Gone(PolicyKey::new("shop", name)));
        let forbidden = Status::failure("cannot watch resource", "Forbidden").with_code(403);
        let events = read(&told(vec![
            is("before", "True"),
            Ok(Change::All(vec![object("a", "True"), object("b", "True")])),
            is("a", "False"),
            gone("b"),
            gone("c"),
            is("c", "Unknown"),
            is("a", "True"),
            Err(Error::Server(forbidden.boxed())),
        ]));
        let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["snapshot", "change", "end"]);
        assert_eq!(events[0].1["items"].as_array().unwrap().len(), 2);
        let change = &events[1].1;
        let items: Vec<_> = change["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                (
                    item["name"].as_str().unwrap(),
                    item["ready"]["status"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(items, [("a", "True"), ("c", "Unknown")]);
        assert_eq!(change["removed"], json!([{"namespace": "shop", "name": "b"}]));
        assert_eq!(events[2].1["code"], 403);
    }
}
