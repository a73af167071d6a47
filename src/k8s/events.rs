//! Kubernetes Events (events.k8s.io/v1) of what a person may want to know.

use std::collections::{BTreeMap, HashMap, VecDeque};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::call;
use super::error::CallError;
use crate::render::events::Notice;

/// The name under which Events are reported.
const CONTROLLER: &str = "distributary";

/// Recorders remember what they published, to count what is said again. After so many Events they begin anew: without
/// a limit they would keep all of a start of thousands of policies.
const REMEMBERED: u32 = 1024;

/// Events of a namespace that wait for the one before.
const WAITING: usize = 256;

/// An Event of a policy, to be published when there is time.
#[derive(Clone, Debug)]
pub struct PolicyEvent {
    pub about: ObjectReference,
    pub notice: Notice,
}

/// A reference to a policy.
#[must_use]
pub fn reference(namespace: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("distributary.dev/v1alpha1".to_owned()),
        kind: Some("ReplicaSetPolicy".to_owned()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// Publishes until the senders are gone, while `leads` says that this process may; `client` asks again when it sends. An Event that
/// cannot be published is logged and forgotten. Those of one namespace are published one after the other, and wait for no other
/// namespace.
pub async fn publish(
    client: Client,
    instance: String,
    mut events: mpsc::Receiver<PolicyEvent>,
    leads: impl Fn() -> bool,
) {
    let reporter = Reporter {
        controller: CONTROLLER.to_owned(),
        instance: Some(instance),
    };
    let mut recorders = Recorders {
        client,
        reporter,
        by_note: HashMap::new(),
        given: 0,
    };
    let (mut waiting, mut under_way) = (BTreeMap::<String, VecDeque<PolicyEvent>>::new(), JoinSet::new());
    loop {
        let namespace = tokio::select! {
            Some(published) = under_way.join_next(), if !under_way.is_empty() => match published {
                Ok(namespace) => namespace,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            event = events.recv() => {
                let Some(event) = event else { break };
                let namespace = event.about.namespace.clone().unwrap_or_default();
                if let Some(queue) = waiting.get_mut(&namespace) {
                    // A full queue loses an Event, never a route.
                    if queue.len() < WAITING {
                        queue.push_back(event);
                    }
                    continue;
                }
                waiting.insert(namespace.clone(), VecDeque::from([event]));
                namespace
            }
        };
        match waiting.get_mut(&namespace).and_then(VecDeque::pop_front) {
            // What is to be told is told by the one who leads.
            Some(_) if !leads() => {
                waiting.remove(&namespace);
            }
            Some(event) => {
                let recorder = recorders.of(&event.notice.note);
                under_way.spawn(async move {
                    publish_one(&recorder, event).await;
                    namespace
                });
            }
            None => {
                waiting.remove(&namespace);
            }
        }
    }
    while under_way.join_next().await.is_some() {}
    for event in waiting.into_values().flatten().filter(|_| leads()) {
        publish_one(&recorders.of(&event.notice.note), event).await;
    }
}

/// A recorder counts Events that are equal but for their note, and keeps the first note: what moved from one server to
/// another, and later back, would be told twice in the words of the first time. So each note has one of its own.
struct Recorders {
    client: Client,
    reporter: Reporter,
    by_note: HashMap<String, Recorder>,
    given: u32,
}

impl Recorders {
    fn of(&mut self, note: &str) -> Recorder {
        self.given += 1;
        if self.given.is_multiple_of(REMEMBERED) {
            self.by_note.clear();
        }
        let new = || Recorder::new(self.client.clone(), self.reporter.clone());
        self.by_note.entry(note.to_owned()).or_insert_with(new).clone()
    }
}

async fn publish_one(recorder: &Recorder, event: PolicyEvent) {
    let PolicyEvent { about, notice } = event;
    let event = Event {
        type_: if notice.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: notice.reason,
        note: Some(notice.note),
        action: notice.action.to_owned(),
        secondary: notice.endpoint.map(|id| related(&about, &id)),
    };
    match call(recorder.publish(&event, &about)).await {
        Ok(()) | Err(CallError::HeldBack) => {}
        Err(error) => {
            tracing::warn!(category = error.category(), reason = %event.reason, "event not published");
        }
    }
}

/// The endpoint in the status of its policy, for machines: to people the note names it.
fn related(about: &ObjectReference, endpoint: &str) -> ObjectReference {
    ObjectReference {
        field_path: Some(format!("status.endpoints{{{endpoint}}}")),
        ..about.clone()
    }
}

#[cfg(test)]
mod tests;
