//! The body of a change: what is wrong with it is told by the name of the field and by what must hold, and never by its text, which
//! may have a password.

use serde_json::{Map, Value};

use super::Change;
use crate::change::refusal::Refusal;
use distributary_core::ids::PolicyKey;

/// What a field must be.
enum Must {
    Id,
    /// Of so many characters.
    Text(usize, usize),
    Number(u64, u64),
    Switch,
    OneOf(&'static [&'static str]),
    /// An object with these fields; the first so many must be given.
    Fields(&'static [(&'static str, Must)], usize),
}

const CHANGE: Must = Must::Fields(
    &[
        (
            "action",
            Must::OneOf(&[
                "force_health_check",
                "add_replica",
                "update_replica",
                "remove_replica",
            ]),
        ),
        ("replicaConfig", REPLICA),
        ("replicaId", Must::Id),
        ("force", Must::Switch),
    ],
    1,
);

const REPLICA: Must = Must::Fields(
    &[
        ("id", Must::Id),
        ("name", Must::Text(1, 63)),
        ("url", Must::Text(1, 8192)),
        ("region", Must::Text(1, 63)),
        ("weight", Must::Number(0, 1000)),
        ("maxConnections", Must::Number(1, 100_000)),
        ("enabled", Must::Switch),
        ("state", Must::OneOf(&["Active", "Draining", "Disabled"])),
        ("priority", Must::Number(0, 1000)),
    ],
    1,
);

/// The change that a body asks for.
///
/// # Errors
/// The first field that is wrong, and what must hold of it.
pub fn read(body: &[u8]) -> Result<Change, Refusal> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refusal::bad(format!(
            "the body must be JSON: look at line {line}, column {column}"
        ))
    })?;
    CHANGE.check("", &value).map_err(Refusal::bad)?;
    serde_json::from_value(value)
        .map_err(|_| Refusal::bad("the body must be a change as /openapi.json describes it"))
}

/// Whether this may be the id of an endpoint: a DNS-1123 label of at most 40 characters.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() <= 40 && is_label(text)
}

/// Whether these may be the names of a namespace and of a policy: both become part of a path at the API server.
#[must_use]
pub fn is_key(key: &PolicyKey) -> bool {
    let PolicyKey { namespace, name } = key;
    namespace.len() <= 63 && is_label(namespace) && name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_end) && text.ends_with(is_end) && text.chars().all(|c| is_end(c) || c == '-')
}

impl Must {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Id => value.as_str().is_some_and(is_id),
            Self::Text(least, most) => value
                .as_str()
                .is_some_and(|text| (*least..=*most).contains(&text.chars().count())),
            Self::Number(least, most) => value
                .as_u64()
                .is_some_and(|number| (*least..=*most).contains(&number)),
            Self::Switch => value.is_boolean(),
            Self::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::Fields(..) => value.is_object(),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Id => {
                "must be a DNS-1123 label of at most 40 characters: lower-case letters, digits and '-'"
                    .to_owned()
            }
            Self::Text(least, most) => format!("must be a text of {least} to {most} characters"),
            Self::Number(least, most) => format!("must be a whole number from {least} to {most}"),
            Self::Switch => "must be true or false".to_owned(),
            Self::OneOf(words) => format!("must be one of {}", words.join(", ")),
            Self::Fields(..) => "must be an object".to_owned(),
        }
    }

    /// What is wrong with the value at a path, or within it.
    fn check(&self, path: &str, value: &Value) -> Result<(), String> {
        let name = if path.is_empty() { "the body" } else { path };
        if !self.holds(value) {
            return Err(format!("{name} {}", self.words()));
        }
        match (self, value) {
            (Self::Fields(known, needed), Value::Object(fields)) => {
                within(path, name, known, *needed, fields)
            }
            _ => Ok(()),
        }
    }
}

fn within(
    path: &str,
    name: &str,
    known: &[(&str, Must)],
    needed: usize,
    fields: &Map<String, Value>,
) -> Result<(), String> {
    let below = |field: &str| match path {
        "" => field.to_owned(),
        path => format!("{path}.{field}"),
    };
    if fields
        .keys()
        .any(|field| !known.iter().any(|(own, _)| own == field))
    {
        let names: Vec<_> = known.iter().map(|(own, _)| *own).collect();
        return Err(format!("{name} must have no field but {}", names.join(", ")));
    }
    for (at, (field, must)) in known.iter().enumerate() {
        match fields.get(*field) {
            Some(value) => must.check(&below(field), value)?,
            None if at < needed => return Err(format!("{} must be given", below(field))),
            None => {}
        }
    }
    Ok(())
}
