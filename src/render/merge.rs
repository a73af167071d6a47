//! The body of a PUT: the object as it was seen, so that fields newer than our types survive, with our fields as they should
//! be.

use distributary_core::seeded::SeededFault;
use serde_json::{Map, Value, json};

use super::{Kind, labels, services};

/// `seen` with our fields as in `wanted`. Allocated fields, foreign labels, annotations and keys are kept; uid and
/// resourceVersion are those that were seen.
#[must_use]
pub fn merge(kind: Kind, mut seen: Value, wanted: &Value) -> Value {
    let keys = seen["metadata"]["annotations"][labels::KEYS].as_str();
    let keys_before = keys.unwrap_or_default().to_owned();
    metadata(&mut seen["metadata"], &wanted["metadata"]);
    if SeededFault::PutWithoutVersion.is_on() {
        seen["metadata"]["resourceVersion"] = Value::Null;
    }
    match kind {
        Kind::EndpointSlice => {
            for field in ["addressType", "endpoints", "ports"] {
                seen[field] = wanted[field].clone();
            }
        }
        Kind::Service => service(&mut seen["spec"], &wanted["spec"]),
        Kind::ConfigMap => data(&mut seen["data"], &wanted["data"], &keys_before),
    }
    seen
}

fn metadata(seen: &mut Value, wanted: &Value) {
    let fields = ["labels", "annotations"];
    let others = fields.map(|field| labels::Keys::of(seen, field).others);
    for (field, mut kept) in fields.into_iter().zip(others) {
        kept.extend(wanted[field].as_object().cloned().unwrap_or_default());
        seen[field] = Value::Object(kept);
    }
    let own = wanted["ownerReferences"].as_array().cloned().unwrap_or_default();
    let foreign = seen["ownerReferences"].as_array().cloned().unwrap_or_default();
    let foreign = foreign
        .into_iter()
        .filter(|owner| owner["kind"] != json!("ReplicaSetPolicy"));
    let owners: Vec<_> = foreign.chain(own).collect();
    if let Some(fields) = seen.as_object_mut() {
        if owners.is_empty() {
            fields.remove("ownerReferences");
        } else {
            fields.insert("ownerReferences".to_owned(), Value::Array(owners));
        }
    }
}

fn service(seen: &mut Value, wanted: &Value) {
    let Some(spec) = seen.as_object_mut() else { return };
    for field in services::REFUSED {
        spec.remove(*field);
    }
    for (field, value) in wanted.as_object().into_iter().flatten() {
        spec.insert(field.clone(), value.clone());
    }
}

/// Keys that were ours and are no longer rendered go; keys of others stay.
fn data(seen: &mut Value, wanted: &Value, ours_before: &str) {
    let mut kept: Map<String, Value> = seen.as_object().cloned().unwrap_or_default();
    for key in ours_before.split(',') {
        kept.remove(key);
    }
    kept.extend(wanted.as_object().cloned().unwrap_or_default());
    *seen = Value::Object(kept);
}
