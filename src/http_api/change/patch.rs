//! A change of a policy as a JSON Patch (RFC 6902). Pure.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::http_api::problem::Problem;
use distributary_core::ids::PolicyKey;

/// A request for checks.
const REQUESTED: &str = "distributary.dev/check-requested-at";

/// What is changed.
#[derive(Clone, PartialEq)]
pub enum Edit {
    /// Checks are asked for, with this value.
    Check(String),
    Add(Addition),
    Update {
        id: String,
        fields: Map<String, Value>,
    },
    Remove(String),
}

/// A replica to be added.
#[derive(Clone, PartialEq)]
pub struct Addition {
    pub id: String,
    /// As the policy is to have it.
    pub endpoint: Map<String, Value>,
    /// The name of a Secret, and the URL in it.
    pub secret: Option<(String, String)>,
}

/// The name of the Secret with the URL of a replica.
#[must_use]
pub fn secret_name(key: &PolicyKey, id: &str) -> String {
    format!("{}-{id}", key.name)
}

/// Whether a replica of the policy has its URL in this Secret.
#[must_use]
pub fn names_secret(policy: &Value, id: &str, secret: &str) -> bool {
    let is_it = |replica: &Value| replica["id"] == id && replica["urlSecretRef"]["name"] == secret;
    replicas(policy).iter().any(is_it)
}

/// Whether the policy refers to this Secret, wherever.
#[must_use]
pub fn refers_to(policy: &Value, secret: &str) -> bool {
    match policy {
        Value::Object(fields) => fields.iter().any(|(name, field)| {
            (name.ends_with("SecretRef") && field["name"] == secret) || refers_to(field, secret)
        }),
        Value::Array(parts) => parts.iter().any(|part| refers_to(part, secret)),
        _ => false,
    }
}

fn replicas(policy: &Value) -> &[Value] {
    policy["spec"]["replicas"].as_array().map_or(&[], Vec::as_slice)
}

impl Edit {
    /// Whether it changes what was declared.
    #[must_use]
    pub const fn is_of_spec(&self) -> bool {
        !matches!(self, Self::Check(_))
    }

    /// The patch of a policy as it was read.
    ///
    /// # Errors
    /// The policy has that replica already, or has none of that id.
    pub fn operations(&self, policy: &Value) -> Result<Value, Problem> {
        let test = |field: &str| {
            let value = &policy["metadata"][field];
            json!({"op": "test", "path": format!("/metadata/{field}"), "value": value})
        };
        // A policy that was deleted and made anew is another one.
        let mut operations = vec![test("uid"), test("resourceVersion")];
        let mut add = |path: String, value: &Value| {
            operations.push(json!({"op": "add", "path": path, "value": value}));
        };
        match self {
            Self::Check(now) => {
                if !policy["metadata"]["annotations"].is_object() {
                    add("/metadata/annotations".to_owned(), &json!({}));
                }
                let name = REQUESTED.replace('/', "~1");
                add(format!("/metadata/annotations/{name}"), &json!(now));
            }
            Self::Add(addition) => {
                if has_endpoint(policy, &addition.id) {
                    let message = format!("the policy has an endpoint {} already", addition.id);
                    return Err(Problem::new(StatusCode::CONFLICT, "AlreadyExists", message));
                }
                if !policy["spec"]["replicas"].is_array() {
                    add("/spec/replicas".to_owned(), &json!([]));
                }
                add(
                    "/spec/replicas/-".to_owned(),
                    &Value::Object(addition.endpoint.clone()),
                );
            }
            Self::Update { id, fields } => {
                let at = place(policy, id)?;
                for (name, value) in fields {
                    add(format!("/spec/replicas/{at}/{name}"), value);
                }
            }
            Self::Remove(id) => {
                let at = place(policy, id)?;
                operations.push(json!({"op": "remove", "path": format!("/spec/replicas/{at}")}));
            }
        }
        Ok(operations.into())
    }
}

fn has_endpoint(policy: &Value, id: &str) -> bool {
    let primary = policy["spec"]["primary"]["id"].as_str().unwrap_or("primary");
    primary == id || replicas(policy).iter().any(|replica| replica["id"] == id)
}

fn place(policy: &Value, id: &str) -> Result<usize, Problem> {
    let at = replicas(policy).iter().position(|replica| replica["id"] == id);
    at.ok_or_else(|| {
        let message = format!("the policy has no replica {id}");
        Problem::new(StatusCode::NOT_FOUND, "NotFound", message)
    })
}
