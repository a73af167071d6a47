//! The JSON schema of `routing.json`, in the parts that types alone do not say.

use std::borrow::Cow;

use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use super::document::RoutingTable;
use super::entry::Route;
use super::word::{VERSION, Version};
use crate::routing::{DefaultDestination, Priority, PriorityDestination};

/// docs/schemas/routing.v1.json: what is written today. It allows fields that it does not know, as a reader must.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<RoutingTable>();
    schema.insert(
        "$id".to_owned(),
        json!("https://distributary.dev/schemas/routing.v1.json"),
    );
    Mend.transform(&mut schema);
    schema.into()
}

/// Enums say no type, whole numbers no format of Rust's, and what is always written no default.
struct Mend;

impl Transform for Mend {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.get("enum").is_some() {
            schema.remove("type");
        }
        if schema.get("default") == Some(&Value::Null) {
            schema.remove("default");
        }
        let format = schema.get("format").and_then(Value::as_str);
        if format.is_some_and(|format| format.starts_with("uint")) {
            schema.remove("format");
        }
        transform_subschemas(self, schema);
    }
}

/// A definition that fields refer to.
macro_rules! definition {
    ($($type:ident, $name:literal: $schema:tt;)+) => { $(
        pub struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+ };
}

definition! {
    Id, "id": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 40};
    Word, "word": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 22};
    Port, "port": {"type": "integer", "minimum": 1, "maximum": 65535};
    ReadDestination, "priority": {"enum": (PriorityDestination::ALL)};
}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "version".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"const": VERSION})
    }
}

pub fn address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})
}

/// In the order in which version 1 was published.
pub fn default_destination(_: &mut SchemaGenerator) -> Schema {
    let mut words: Vec<_> = DefaultDestination::ALL
        .iter()
        .map(|destination| destination.word())
        .collect();
    words.sort_unstable();
    json_schema!({"enum": words})
}

/// Any of them may be there.
pub fn priorities(generator: &mut SchemaGenerator) -> Schema {
    let destination = generator.subschema_for::<ReadDestination>();
    let property = |priority: &Priority| {
        let mut property = destination.clone();
        property.insert(
            "description".to_owned(),
            json!(format!("Of {priority}-priority reads.")),
        );
        (priority.to_string(), Value::from(property))
    };
    let properties: Map<String, Value> = Priority::ALL.iter().map(property).collect();
    json_schema!({"type": "object", "properties": properties})
}

/// Two routes are always there.
pub fn routes(generator: &mut SchemaGenerator) -> Schema {
    let route = generator.subschema_for::<Route>();
    let word = generator.subschema_for::<Word>();
    let mut reads = route.clone();
    reads.insert("description".to_owned(), json!("Reads that no class names."));
    json_schema!({
        "type": "object",
        "required": ["rw", "ro"],
        "propertyNames": word,
        "properties": {
            "rw": {
                "description": "Writes: at most one target.",
                "allOf": [route, {"properties": {"targets": {"maxItems": 1}}}],
            },
            "ro": reads,
        },
        "additionalProperties": route,
    })
}
