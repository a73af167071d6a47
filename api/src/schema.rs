//! The CustomResourceDefinition, generated from the wire types.

use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::ReplicaSetPolicy;

/// The CustomResourceDefinition as it is checked in under `crds/` and printed by `distributary crd`.
///
/// kube-derive's output is mended where the API server or `kubectl explain` needs it: `nullable` and null in an enum
/// (null would be stored) and `uint*` formats (unknown to OpenAPI) are taken out, a paragraph of a description is one
/// line, whole numbers are written without a fraction, a replica must have its merge key, and nothing of the status has
/// a default: what an older version wrote stays as it was written.
#[must_use]
pub fn crd() -> Value {
    let mut crd = json!(ReplicaSetPolicy::crd());
    if let Some(schema) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        mend(schema);
        if let Some(replica) = schema.pointer_mut("/properties/spec/properties/replicas/items") {
            replica["required"] = json!(["id"]);
        }
        if let Some(status) = schema.pointer_mut("/properties/status") {
            without_defaults(status);
        }
    }
    crd
}

fn mend(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("nullable");
            if object
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.starts_with("uint"))
            {
                object.remove("format");
            }
            if let Some(Value::Array(variants)) = object.get_mut("enum") {
                variants.retain(|variant| !variant.is_null());
            }
            if let Some(Value::String(description)) = object.get_mut("description") {
                *description = description
                    .split("\n\n")
                    .map(one_line)
                    .collect::<Vec<_>>()
                    .join("\n\n");
            }
            object.values_mut().for_each(mend);
        }
        Value::Array(items) => items.iter_mut().for_each(mend),
        Value::Number(number) => {
            if let Some(whole) = number
                .to_string()
                .strip_suffix(".0")
                .and_then(|whole| whole.parse::<i64>().ok())
            {
                *number = whole.into();
            }
        }
        _ => {}
    }
}

fn without_defaults(schema: &mut Value) {
    if let Value::Object(object) = schema {
        object.remove("default");
        object.values_mut().for_each(without_defaults);
    }
}

fn one_line(paragraph: &str) -> String {
    paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
