//! Labels, annotations and owner references of our objects. docs/labels.md lists them for people.

use std::collections::BTreeMap;

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
pub const MANAGED_BY: &str = distributary_api::MANAGED_BY;
pub const MANAGER: &str = "distributary";
/// The name of the policy, on every object of it.
pub const POLICY: &str = "distributary.dev/policy";
/// The name of the route (rw, ro, that of a class, ro-REGION), on Services and EndpointSlices.
pub const ROUTE: &str = "distributary.dev/route";
/// The uid of the policy: proves that an object is ours where it has no owner.
pub const POLICY_UID: &str = "distributary.dev/policy-uid";
/// The keys of a ConfigMap that are ours; others are kept.
pub const KEYS: &str = "distributary.dev/keys";
/// The keys of labels that the policy asks for; others are kept.
pub const LABELS: &str = "distributary.dev/labels";
/// The keys of annotations that the policy asks for; others are kept.
pub const ANNOTATIONS: &str = "distributary.dev/annotations";
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

/// The labels, or annotations, of an object of ours.
#[derive(Debug, Default)]
pub struct Keys {
    /// Set by us, or taken away: the operator's, and those that the object lists as the policy's.
    pub ours: Map<String, Value>,
    pub others: Map<String, Value>,
}

impl Keys {
    /// `field`: `labels` or `annotations`.
    #[must_use]
    pub fn of(metadata: &Value, field: &str) -> Self {
        let list = if field == "labels" { LABELS } else { ANNOTATIONS };
        let listed = metadata["annotations"][list].as_str().unwrap_or_default();
        let mut keys = Self::default();
        for (key, value) in metadata[field].as_object().into_iter().flatten() {
            let ours = is_ours(key) || listed.split(',').any(|listed| listed == key);
            let side = if ours { &mut keys.ours } else { &mut keys.others };
            side.insert(key.clone(), value.clone());
        }
        keys
    }
}

/// Whether a key is the operator's, whatever the policy asks for.
fn is_ours(key: &str) -> bool {
    key.starts_with(PREFIX)
        || [MANAGED_BY, SERVICE_NAME, SLICE_MANAGED_BY].contains(&key)
        || REFUSED.contains(&key)
}

/// Metadata with our labels and annotations, those that the policy asks for, and the policy as owner unless the routes are to
/// outlive it.
pub fn metadata(
    subject: &Subject<'_>,
    name: &str,
    labels: &[(&str, &str)],
    annotations: &[(&str, &str)],
) -> Value {
    let policy = subject.policy;
    let common = [(MANAGED_BY, MANAGER), (POLICY, policy.key.name.as_str())];
    let uid = [(POLICY_UID, policy.uid.as_str())];
    let asked = &subject.outputs.metadata;
    let lists = [(LABELS, &asked.labels), (ANNOTATIONS, &asked.annotations)].map(|(list, keys)| {
        let keys: Vec<_> = keys.keys().map(String::as_str).collect();
        (list, keys.join(","))
    });
    let lists: Vec<_> = lists
        .iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(list, keys)| (*list, keys.as_str()))
        .collect();
    let mut metadata = json!({
        "name": name,
        "namespace": policy.key.namespace,
        "labels": map(&asked.labels, common.iter().chain(labels)),
        "annotations": map(&asked.annotations, uid.iter().chain(annotations).chain(&lists)),
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

/// What is asked for, under our own.
fn map<'a>(
    asked: &'a BTreeMap<String, String>,
    own: impl Iterator<Item = &'a (&'a str, &'a str)>,
) -> Map<String, Value> {
    let asked = asked.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    asked
        .chain(own.copied())
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect()
}
