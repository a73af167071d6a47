//! The Kubernetes side: intake (watching, reading Secrets and Services) and the desk, which alone writes.

pub mod callers;
pub mod clients;
pub mod context;
mod dereference;
pub mod desk;
pub mod error;
pub mod events;
mod fence;
pub mod foreign;
mod known;
pub mod lease;
mod list_watch;
pub mod memory;
mod patience;
mod policies;
pub mod quota;
pub mod readiness;
pub mod reconcile;
mod requests;
mod routed;
pub mod secrets;
pub mod service_cidrs;
pub mod services;
pub mod stored;
mod timed;
pub mod triggers;
pub mod warmth;
pub mod watch;

use std::time::Duration;

use kube::core::{ApiResource, DynamicObject, DynamicResourceScope, GroupVersionKind};
use kube::{Api, Client, Resource};

use crate::render::Kind;
use distributary_core::ids::PolicyKey;
use error::CallError;

/// A request of intake is answered within this time, or has failed.
const DEADLINE: Duration = Duration::from_secs(10);

/// The namespaces that one set of watches covers: all, or one.
pub type Scope = Option<String>;

/// The result of a request, or [`CallError::Deadline`]: kube retries some answers for minutes.
pub(crate) async fn call<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    call_within(DEADLINE, request).await
}

async fn call_within<T>(
    deadline: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(deadline, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::Deadline(deadline)),
    }
}

/// The API of a kind, for objects as they are: fields newer than our types survive.
pub(crate) fn api(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

fn scoped<K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>>(
    client: &Client,
    resource: &ApiResource,
    scope: &Scope,
) -> Api<K> {
    match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version) = kind
        .api_version()
        .split_once('/')
        .unwrap_or(("", kind.api_version()));
    let plural = match kind {
        Kind::EndpointSlice => "endpointslices",
        Kind::Service => "services",
        Kind::ConfigMap => "configmaps",
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.name()), plural)
}

/// The resource of the policies.
#[must_use]
pub fn policy_resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("distributary.dev", "v1alpha1", "ReplicaSetPolicy");
    ApiResource::from_gvk_with_plural(&kind, "replicasetpolicies")
}

/// The path of the policies of a namespace at the API server. Names become part of it as they are.
#[must_use]
pub fn policies_path(namespace: &str) -> String {
    format!("/apis/distributary.dev/v1alpha1/namespaces/{namespace}/replicasetpolicies")
}

/// The path of a policy at the API server.
#[must_use]
pub fn policy_path(key: &PolicyKey) -> String {
    format!("{}/{}", policies_path(&key.namespace), key.name)
}
