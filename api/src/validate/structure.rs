//! Whether an object has the form that the CustomResourceDefinition gives it: what the API server refuses, or drops,
//! before any rule is asked. Its words are those of the API server, or better ones where those do not tell what to write instead.

mod hints;

pub use hints::is_mistyped;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// A value that does not fit its place.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Misfit {
    /// The field, as a path from the root of the object.
    pub field: String,
    pub says: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.says)
    }
}

/// What was found so far.
struct Found<'a> {
    /// The schema of `spec`.
    spec: &'a Value,
    misfits: Vec<Misfit>,
}

/// The fields of every object, which the schema of a custom resource leaves out.
const OF_ALL: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// What does not fit in an object, but for its metadata; null is taken for absent. `schema`: an `openAPIV3Schema`.
#[must_use]
pub fn misfits(object: &Value, schema: &Value) -> Vec<Misfit> {
    // Metadata is Kubernetes' own.
    let Some(spec) = schema["properties"].get("spec") else {
        return Vec::new();
    };
    let mut found = Found {
        spec,
        misfits: Vec::new(),
    };
    match object.get("spec").filter(|spec| !spec.is_null()) {
        Some(value) => compare(value, spec, "spec", &mut found),
        None => misfit("spec", "Required value", &mut found),
    }
    for (name, value) in object.as_object().into_iter().flatten() {
        let is_known = OF_ALL.contains(&&**name) || schema["properties"].get(name).is_some();
        if is_known || value.is_null() {
            continue;
        }
        let says = match spec["properties"].get(name) {
            Some(_) => format!("unknown field: did you mean spec.{name}?"),
            None => "unknown field".to_owned(),
        };
        misfit(name, says, &mut found);
    }
    found.misfits
}

/// The object without what is null: the API server takes it for absent.
#[must_use]
pub fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_null(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        other => other,
    }
}

fn misfit(field: &str, says: impl Into<String>, found: &mut Found<'_>) {
    found.misfits.push(Misfit {
        field: field.to_owned(),
        says: says.into(),
    });
}

fn compare(value: &Value, schema: &Value, field: &str, found: &mut Found<'_>) {
    let (is, wanted) = (type_of(value), schema["type"].as_str().unwrap_or_default());
    if schema["x-kubernetes-int-or-string"] == true && !["integer", "string"].contains(&is) {
        misfit(field, "must be a whole number or a text", found);
        return;
    }
    if is != wanted && !(is == "integer" && wanted == "number") && !wanted.is_empty() {
        misfit(field, of_another_type(value, (is, wanted), schema), found);
        return;
    }
    match value {
        Value::Object(fields) => object(fields, schema, field, found),
        Value::Array(items) => list(items, schema, field, found),
        Value::String(text) => string(text, schema, field, found),
        Value::Number(number) => bounds(number.as_f64(), schema, field, found),
        Value::Bool(_) | Value::Null => {}
    }
}

/// What to write in place of a value of another type. Of the value nothing is shown but a number: other texts may be passwords.
fn of_another_type(value: &Value, (is, wanted): (&str, &str), schema: &Value) -> String {
    let has_rule = |function: &str| {
        let rules = schema["x-kubernetes-validations"].as_array();
        let mut rules = rules
            .into_iter()
            .flatten()
            .filter_map(|rule| rule["rule"].as_str());
        rules.any(|rule| rule.contains(function))
    };
    let written = value.as_str().and_then(|text| text.trim().parse::<i64>().ok());
    match (value, wanted) {
        (_, "string") if schema["enum"].is_array() => supported_values(schema),
        (Value::Number(number), "string") if has_rule("duration(self)") => {
            format!("must be a duration such as 10s, not {number}")
        }
        (Value::Number(number), "string") => format!("must be text: write it in quotes, as \"{number}\""),
        (Value::Bool(is), "string") => format!("must be text: write it in quotes, as \"{is}\""),
        (Value::String(_), "integer") if written.is_some() => {
            "must be a number: write it without quotes".to_owned()
        }
        (Value::Number(_), "integer") => "must be a whole number".to_owned(),
        (_, "boolean") => "must be true or false, without quotes".to_owned(),
        (_, "object") => format!(
            "must be an object, not a {}: write {}",
            match is {
                "string" => "text",
                "array" => "list",
                "boolean" => "word",
                _ => "number",
            },
            example_of(schema)
        ),
        (Value::Number(_) | Value::Bool(_), "array") => format!("must be a list: write [{value}]"),
        (_, "array") => "must be a list: write each item on a line that begins with a dash".to_owned(),
        _ => format!("must be of type {wanted}: \"{is}\""),
    }
}

fn supported_values(schema: &Value) -> String {
    let known = schema["enum"].as_array().into_iter().flatten();
    let known: Vec<_> = known.map(ToString::to_string).collect();
    format!("supported values: {}", known.join(", "))
}

/// How an object is written, by the field that matters most.
fn example_of(schema: &Value) -> String {
    let fields = schema["properties"].as_object();
    let required = schema["required"].as_array().into_iter().flatten();
    let required = required.filter_map(Value::as_str).collect::<Vec<_>>();
    let known = |name: &&str| fields.is_some_and(|fields| fields.contains_key(*name));
    let usual = [
        "host",
        "name",
        "mode",
        "state",
        "credentialsSecretRef",
        "interval",
        "max",
    ];
    let usual = usual.into_iter().find(known);
    let shown = match (&required[..], usual) {
        ([], Some(usual)) => vec![usual],
        ([], None) => fields
            .into_iter()
            .flat_map(|fields| fields.keys())
            .take(1)
            .map(String::as_str)
            .collect(),
        (required, _) => required.to_vec(),
    };
    let shown: Vec<_> = shown.iter().map(|name| format!("{name}: …")).collect();
    format!("{{{}}}", shown.join(", "))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Null => "null",
    }
}

fn object(fields: &serde_json::Map<String, Value>, schema: &Value, field: &str, found: &mut Found<'_>) {
    at_most(fields.len(), &schema["maxProperties"], field, found);
    let present = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !present(name) {
            misfit(&format!("{field}.{name}"), "Required value", found);
        }
    }
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let at = format!("{field}.{name}");
        // A field, or a key of a map.
        let place = schema["properties"].get(name);
        match place.or_else(|| schema.get("additionalProperties")) {
            Some(schema) => compare(value, schema, &at, found),
            None => misfit(&at, hints::unknown_field(name, fields, schema, found.spec), found),
        }
    }
}

fn at_most(count: usize, most: &Value, field: &str, found: &mut Found<'_>) {
    if let Some(most) = most.as_u64().filter(|most| count as u64 > *most) {
        let items = if most == 1 { "item" } else { "items" };
        misfit(field, format!("must have at most {most} {items}"), found);
    }
}

fn list(items: &[Value], schema: &Value, field: &str, found: &mut Found<'_>) {
    let count = items.len() as u64;
    at_most(items.len(), &schema["maxItems"], field, found);
    if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
        misfit(field, format!("should have at least {least} items"), found);
    }
    for (at, item) in items.iter().enumerate() {
        compare(item, &schema["items"], &format!("{field}[{at}]"), found);
    }
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let is_set = schema["x-kubernetes-list-type"] == "set";
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let key = match keys {
            Some(keys) => {
                let part = |key: &Value| {
                    let key = key.as_str()?;
                    Some((key.to_owned(), item.get(key)?.clone()))
                };
                Value::Object(keys.iter().filter_map(part).collect())
            }
            None if is_set => item.clone(),
            None => return,
        };
        let text = key.to_string();
        let says = if is_shown(&key) {
            format!("Duplicate value: {text}")
        } else {
            "Duplicate value".to_owned()
        };
        if !seen.insert(text) {
            misfit(&format!("{field}[{at}]"), says, found);
        }
    }
}

/// Whether a key of a list is a name: other texts may be passwords.
fn is_shown(key: &Value) -> bool {
    match key {
        Value::String(text) => super::is_word(text),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(is_shown),
        _ => false,
    }
}

fn string(text: &str, schema: &Value, field: &str, found: &mut Found<'_>) {
    let length = text.chars().count() as u64;
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        misfit(field, format!("may not be more than {most} bytes"), found);
    }
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        misfit(field, format!("should be at least {least} chars long"), found);
    }
    let known = schema["enum"].as_array();
    if known.is_some_and(|known| !known.iter().any(|known| known == text)) {
        misfit(field, supported_values(schema), found);
    }
}

fn bounds(number: Option<f64>, schema: &Value, field: &str, found: &mut Found<'_>) {
    let bound = |name: &str| schema[name].as_f64().zip(number);
    if let Some((least, _)) = bound("minimum").filter(|(least, number)| number < least) {
        misfit(
            field,
            format!("should be greater than or equal to {least}"),
            found,
        );
    }
    if let Some((most, _)) = bound("maximum").filter(|(most, number)| number > most) {
        misfit(field, format!("should be less than or equal to {most}"), found);
    }
}

// The schema of the tests is that of the custom resource.
#[cfg(all(test, feature = "kube"))]
mod tests;
