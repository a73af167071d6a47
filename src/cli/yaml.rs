//! YAML in and out. Only this file knows the crate for it, which its author has deprecated: it reads what a person has written, and
//! never what comes over the network.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a text is neither YAML nor JSON, line and column counted from 1; `None`: not known.
pub struct Malformed(pub Option<(usize, usize)>);

/// The documents of a text of YAML or JSON, without those that are empty.
///
/// # Errors
/// When one is malformed.
pub fn values(text: &str) -> Result<Vec<Value>, Malformed> {
    let each = |document: serde_yaml::Deserializer<'_>| {
        Value::deserialize(document).map_err(|error| {
            let position = error.location();
            Malformed(position.map(|position| (position.line(), position.column())))
        })
    };
    let documents: Result<Vec<_>, _> = serde_yaml::Deserializer::from_str(text).map(each).collect();
    Ok(documents?
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

/// A value as YAML.
///
/// # Errors
/// When it has a part that YAML cannot hold, such as a key that is no text.
pub fn text(value: &impl Serialize) -> Result<String, impl std::error::Error + Send + Sync + 'static> {
    serde_yaml::to_string(value)
}
