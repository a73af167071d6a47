//! The description of the API: OpenAPI 3.1, from the code. docs/openapi.json is the same.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::answers::{PoliciesChange, PoliciesSnapshot};
use super::problem::Problem;
use super::{change, events, paths, reading};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Distributary",
        description = "What the operator knows of ReplicaSetPolicies, and changes of them. Every request is carried out with the rights of its bearer token at the Kubernetes API server.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        reading::health,
        reading::replicas,
        change::change,
        reading::stats,
        reading::policies,
        reading::policy,
        reading::rights,
        events::events,
        events::all_events,
        reading::metrics,
    ),
    components(schemas(PoliciesChange, PoliciesSnapshot, Problem))
)]
struct Description;

/// Why any request may have no answer, by status code.
const PROBLEMS: [(&str, &str); 7] = [
    ("400", "The request is wrong"),
    (
        "401",
        "There is no token, or more than one, or the API server does not know it",
    ),
    ("403", "The token may not do this"),
    (
        "404",
        "There is no such policy, or the operator does not serve it",
    ),
    ("429", "Too many requests are under way: try again"),
    ("503", "The operator has not listed the policies yet"),
    ("504", "The API server does not answer"),
];

/// The whole document.
#[must_use]
pub fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let mut document = serde_json::to_value(Description::openapi()).unwrap_or_default();
        document["components"]["securitySchemes"] = json!({"token": {"type": "http", "scheme": "bearer"}});
        document["security"] = json!([{"token": []}]);
        for operation in operations(&mut document) {
            with_problems(operation);
        }
        with_forms(&mut document);
        by_action(&mut document["components"]["schemas"]);
        told(&mut document);
        let unhealthy = &mut document["paths"][paths::HEALTH]["get"]["responses"]["503"];
        unhealthy["content"]["application/json"]["schema"] = json!({"oneOf": [
            {"$ref": "#/components/schemas/Health"}, {"$ref": "#/components/schemas/Problem"},
        ]});
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    })
}

fn operations(document: &mut Value) -> Vec<&mut Value> {
    let paths = document["paths"].as_object_mut();
    let methods = paths.into_iter().flat_map(|paths| paths.values_mut());
    methods
        .filter_map(Value::as_object_mut)
        .flat_map(|methods| methods.values_mut())
        .collect()
}

fn with_problems(operation: &mut Value) {
    let body = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    let known: BTreeMap<_, _> = PROBLEMS.into_iter().collect();
    for (code, description) in known {
        let answer = || json!({"description": description, "content": body});
        responses.entry(code).or_insert_with(answer);
    }
}

const LABEL: &str = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?";

/// Names have a form of their own.
fn with_forms(document: &mut Value) {
    let label = format!("^{LABEL}$");
    let name = format!("^{LABEL}(\\.{LABEL})*$");
    let whole = format!("^{LABEL}/{LABEL}(\\.{LABEL})*$");
    for operation in operations(document) {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let pattern = match parameter["name"].as_str() {
                Some("namespace") => &label,
                Some("name") => &name,
                Some("policy" | "continue") => &whole,
                _ => continue,
            };
            parameter["schema"]["pattern"] = json!(pattern);
        }
    }
    let schemas = &mut document["components"]["schemas"];
    schemas["ReplicaConfig"]["properties"]["id"]["pattern"] = json!(label);
    schemas["ReplicaConfig"]["properties"]["url"]["pattern"] = json!("^postgres(ql)?://");
    schemas["Change"]["properties"]["replicaId"]["pattern"] = json!(label);
    schemas["Change"]["properties"]["replicaId"]["maxLength"] = json!(40);
}

/// Which fields a change has depends on its action.
fn by_action(schemas: &mut Value) {
    let change = schemas["Change"].take();
    let replica = |more: Value| json!({"allOf": [{"$ref": "#/components/schemas/ReplicaConfig"}, more]});
    let form = |action: &str, needed: Option<(&str, Value)>| {
        let mut properties = json!({
            "action": {"type": "string", "enum": [action], "description": change["properties"]["action"]["description"]},
            "force": change["properties"]["force"],
        });
        let mut required = vec!["action"];
        if let Some((name, mut schema)) = needed {
            schema["description"] = change["properties"][name]["description"].clone();
            properties[name] = schema;
            required.push(name);
        }
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    };
    let id = change["properties"]["replicaId"].clone();
    schemas["Change"] = json!({
        "description": change["description"],
        "oneOf": [
            form("force_health_check", None),
            form("add_replica", Some(("replicaConfig", replica(json!({"required": ["url"]}))))),
            form("update_replica", Some(("replicaConfig", replica(json!({"minProperties": 2}))))),
            form("remove_replica", Some(("replicaId", id))),
            form("remove_replica", Some(("replicaConfig", replica(json!({}))))),
        ],
    });
}

/// What may be null is always there, and a description is one line.
fn told(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let nullable = fields.get("properties").and_then(Value::as_object).map(nullable);
            if let Some(nullable) = nullable.filter(|names| !names.is_empty()) {
                let required = fields.entry("required").or_insert_with(|| json!([]));
                required
                    .as_array_mut()
                    .into_iter()
                    .for_each(|required| required.extend(nullable.clone()));
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            fields.values_mut().for_each(told);
        }
        Value::Array(parts) => parts.iter_mut().for_each(told),
        _ => {}
    }
}

/// The names of those that may be null.
fn nullable(properties: &serde_json::Map<String, Value>) -> Vec<Value> {
    let is_null = |schema: &Value| {
        let types = schema["type"].as_array();
        let parts = schema["oneOf"].as_array();
        types.is_some_and(|types| types.contains(&json!("null")))
            || parts.is_some_and(|parts| parts.iter().any(|part| part["type"] == "null"))
    };
    let names = properties.iter().filter(|(_, schema)| is_null(schema));
    names.map(|(name, _)| json!(name)).collect()
}
