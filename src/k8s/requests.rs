//! Requests to the API server, carried out as [`crate::writing`] asks for them.

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::{DynamicObject, Status};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::clients::Clients;
use super::error::CallError;
use super::fence::Fence;
use super::{api, call_within, policy_resource};
use crate::render::merge::merge;
use crate::render::reading::{FIELD_MANAGER, Text, Version, observed};
use crate::render::status::Refusal;
use crate::render::{Kind, ObjectId};
use crate::telemetry::chain;
use crate::writing::{Answer, Call, FlightId, PolicyReading, Request};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::PolicyKey;

/// Sends a request, and returns what became known by it. The fence is asked before a connection is made, and by `clients`, which
/// are behind it, when a write goes over that.
pub async fn carry_out(clients: Clients, request: Request<Text>, fence: Fence) -> (FlightId, Answer<Text>) {
    let Request {
        flight,
        key,
        deadline,
        fresh,
        call,
        ..
    } = request;
    if !fence.is_open() {
        return (flight, Answer::Unsent);
    }
    let client = if fresh { clients.fresh } else { clients.requests };
    let (verb, object, is_write) = (
        call.verb(),
        subject(&call, &key),
        !matches!(call, Call::Get { .. } | Call::GetPolicy),
    );
    let answer = call_within(deadline, send(&client, &key, call)).await;
    match &answer {
        Ok(_) if is_write => {
            tracing::info!(policy = %key.name, namespace = %key.namespace, verb, object, "wrote");
        }
        Ok(_) => {}
        Err(CallError::HeldBack) => {
            tracing::debug!(policy = %key.name, namespace = %key.namespace, verb, object, "not sent, as this process may not write any more");
        }
        Err(error) => {
            tracing::warn!(policy = %key.name, namespace = %key.namespace, verb, object, category = error.category(), error = %chain(error), "request failed");
        }
    }
    (flight, answer.unwrap_or_else(|error| failed(&error)))
}

fn subject(call: &Call<Text>, key: &PolicyKey) -> String {
    let policy = || format!("ReplicaSetPolicy {}", key.name);
    call.object().map_or_else(policy, ToString::to_string)
}

async fn send(client: &Client, key: &PolicyKey, call: Call<Text>) -> Result<Answer<Text>, kube::Error> {
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let objects = |id: &ObjectId| api(client, id.kind, &key.namespace);
    match call {
        Call::Create { id, body } => {
            let object = objects(&id).create(&parameters, &object(tree(&body))?).await?;
            found(id.kind, &object)
        }
        Call::Put { id, onto, wanted } => {
            let body = merge(id.kind, tree(&onto), &tree(&wanted));
            let object = objects(&id)
                .replace(&id.name, &parameters, &object(body)?)
                .await?;
            found(id.kind, &object)
        }
        Call::Delete { id, uid, version } => {
            let preconditions = Preconditions {
                uid: Some(uid),
                resource_version: Some(version.as_str().to_owned()),
            };
            let parameters = DeleteParams {
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            objects(&id).delete(&id.name, &parameters).await?;
            Ok(Answer::Object(None))
        }
        Call::Get { id } => match objects(&id).get_opt(&id.name).await? {
            Some(object) => found(id.kind, &object),
            None => Ok(Answer::Object(None)),
        },
        Call::PutStatus { uid, version, status } => {
            let body = json!({
                "apiVersion": "distributary.dev/v1alpha1",
                "kind": "ReplicaSetPolicy",
                "metadata": {
                    "name": key.name, "namespace": key.namespace,
                    "uid": uid, "resourceVersion": version.as_str(),
                },
                "status": status,
            });
            let policies = policies(client, key);
            let object = policies
                .replace_status(&key.name, &parameters, &object(body)?)
                .await?;
            Ok(policy(Some(object)))
        }
        Call::GetPolicy => Ok(policy(policies(client, key).get_opt(&key.name).await?)),
    }
}

fn policies(client: &Client, key: &PolicyKey) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), &key.namespace, &policy_resource())
}

/// Texts are our own: they are JSON.
fn tree(text: &Text) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn object(body: Value) -> Result<DynamicObject, kube::Error> {
    serde_json::from_value(body).map_err(kube::Error::SerdeError)
}

fn found(kind: Kind, object: &DynamicObject) -> Result<Answer<Text>, kube::Error> {
    let tree = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    Ok(Answer::Object(Some(Box::new(observed(kind, tree)))))
}

fn policy(object: Option<DynamicObject>) -> Answer<Text> {
    let read = |mut object: DynamicObject| PolicyReading {
        uid: object.metadata.uid.unwrap_or_default(),
        version: Version::new(object.metadata.resource_version.unwrap_or_default()),
        status: status(object.data["status"].take()),
    };
    Answer::Policy(object.map(read).map(Box::new))
}

/// A status that another version wrote, and that this one cannot read, says nothing.
pub fn status(status: Value) -> ReplicaSetPolicyStatus {
    serde_json::from_value(status).unwrap_or_default()
}

fn failed(error: &CallError) -> Answer<Text> {
    if matches!(error, CallError::HeldBack) {
        return Answer::Unsent;
    }
    match error.status() {
        // A server that failed, or gave up waiting for one behind it, may have done it all the same.
        Some(status) if error.code() >= 500 => Answer::Unknown {
            refusal: Refusal::new(error.category(), &status.message),
            retry_after: retry_after(status),
        },
        Some(status) => Answer::Refused {
            refusal: Refusal::new(error.category(), &status.message),
            code: error.code(),
            retry_after: retry_after(status),
        },
        None => Answer::Unknown {
            refusal: Refusal::new(error.category(), &chain(error)),
            retry_after: None,
        },
    }
}

pub fn retry_after(status: &Status) -> Option<std::time::Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| std::time::Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
