//! Kubernetes Events (events.k8s.io/v1) of what a person may want to know.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use super::call;
use crate::render::events::Notice;

/// The name under which Events are reported.
const CONTROLLER: &str = "distributary";

/// Recorders remember what they published, to count what is said again. After so many Events they begin anew: without
/// a limit they would keep all of a start of thousands of policies.
const REMEMBERED: u32 = 1024;

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

/// Publishes until the senders are gone. An Event that cannot be published is logged and forgotten.
pub async fn publish(client: Client, instance: String, mut events: mpsc::Receiver<PolicyEvent>) {
    let reporter = Reporter {
        controller: CONTROLLER.to_owned(),
        instance: Some(instance),
    };
    // A recorder counts Events that are equal but for their note, and keeps the first note: what moved from one server to
    // another, and later back, would be told twice in the words of the first time. So each note has one of its own.
    let mut recorders: HashMap<String, Recorder> = HashMap::new();
    let mut published = 0_u32;
    while let Some(PolicyEvent { about, notice }) = events.recv().await {
        published += 1;
        if published.is_multiple_of(REMEMBERED) {
            recorders.clear();
        }
        let recorder = recorders
            .entry(notice.note.clone())
            .or_insert_with(|| Recorder::new(client.clone(), reporter.clone()));
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
        if let Err(error) = call(recorder.publish(&event, &about)).await {
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
