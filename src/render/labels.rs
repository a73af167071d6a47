//! Labels, annotations and owner references of our objects. docs/labels.md lists them for people.

use serde_json::{Map, Value, json};

use distributary_core::table::Subject;

/// Declares the names, and the list of all.
macro_rules! names {
    ($($(#[$doc:meta])* pub const $name:ident: &str = $text:expr;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// Every name here.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

names! {
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const MANAGER: &str = "distributary";
/// The name of the policy, on every object of it.
pub const POLICY: &str = "distributary.dev/policy";
/// The name of the route (rw, ro, that of a class, ro-REGION), on Services and EndpointSlices.
pub const ROUTE: &str = "distributary.dev/route";
/// The uid of the policy: proves that an object is ours where it has no owner.
pub const POLICY_UID: &str = "distributary.dev/policy-uid";
/// The keys of a ConfigMap that are ours; others are kept.
pub const KEYS: &str = "distributary.dev/keys";
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const SLICE_MANAGER: &str = "distributary.dev";
/// What begins so is ours on our objects.
pub const PREFIX: &str = "distributary.dev/";
}

/// Labels by which kube-proxy passes over a Service or a slice: never on our objects.
pub const REFUSED: &[&str] = &[
    "service.kubernetes.io/service-proxy-name",
    "service.kubernetes.io/headless",
];

/// Whether a label or an annotation of an object of ours is ours: set by us, or taken away.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    key.starts_with(PREFIX)
        || [MANAGED_BY, SERVICE_NAME, SLICE_MANAGED_BY].contains(&key)
        || REFUSED.contains(&key)
}

/// Metadata with our labels and annotations, and the policy as owner unless the routes are to outlive it.
pub fn metadata(
    subject: &Subject<'_>,
    name: &str,
    labels: &[(&str, &str)],
    annotations: &[(&str, &str)],
) -> Value {
    let policy = subject.policy;
    let common = [(MANAGED_BY, MANAGER), (POLICY, policy.key.name.as_str())];
    let uid = [(POLICY_UID, policy.uid.as_str())];
    let mut metadata = json!({
        "name": name,
        "namespace": policy.key.namespace,
        "labels": map(common.iter().chain(labels)),
        "annotations": map(uid.iter().chain(annotations)),
    });
    if !subject.outputs.retain {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "distributary.dev/v1alpha1",
            "kind": "ReplicaSetPolicy",
            "name": policy.key.name,
            "uid": policy.uid,
            "controller": true,
            "blockOwnerDeletion": false,
        }]);
    }
    metadata
}

fn map<'a>(pairs: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Map<String, Value> {
    pairs
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .collect()
}
