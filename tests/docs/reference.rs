//! docs/policy-reference.md, made from the CustomResourceDefinition.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use crate::pages::anchor;
use crate::{must_be, schema};

#[test]
fn the_policy_reference_is_what_the_schema_says() {
    must_be("docs/policy-reference.md", &reference(&schema()));
}

const HEAD: &str = "\
# Policy reference

<!-- Generated from the CustomResourceDefinition: UPDATE_DOCS=1 cargo test --test docs -->

`distributary.dev/v1alpha1`, kind `ReplicaSetPolicy`, short name `rsp`. `kubectl explain rsp.spec --recursive` shows the same fields.
There are [samples](../deploy/samples/full.yaml). A duration is 1 to 4 numbers with a unit of `h`, `m`, `s` or `ms`: `1m30s`.
Every Secret and every Service must be in the namespace of the policy.
";

/// An object of the schema, and where it is.
struct Section<'a> {
    path: String,
    object: &'a Value,
}

impl Section<'_> {
    /// Objects with the same fields are described once, unless they are small.
    fn describes(&self, object: &Value) -> bool {
        let fields = object["properties"].as_object();
        self.object["properties"] == object["properties"] && fields.is_some_and(|fields| fields.len() > 3)
    }
}

fn reference(schema: &Value) -> String {
    let mut sections: Vec<Section> = Vec::new();
    for field in ["spec", "status"] {
        let object = &schema["properties"][field];
        let path = field.to_owned();
        descend(Section { path, object }, &mut sections);
    }
    let mut page = HEAD.to_owned();
    for section in &sections {
        let mut rules = messages(section.object);
        if section.path == "spec" {
            rules.extend(messages(schema));
        }
        let (path, text) = (&section.path, described(section.object).0);
        let _ = write!(page, "\n## {path}\n\n{text}\n\n");
        page.push_str("| field | type | default | bounds | description |\n|---|---|---|---|---|\n");
        for (name, field) in section.object["properties"].as_object().into_iter().flatten() {
            page.push_str(&row(section, name, field, &sections));
            if properties(field).is_null() && between(field).is_none() {
                rules.extend(messages(field));
            }
        }
        let mut told = BTreeSet::new();
        rules.retain(|rule| told.insert(rule.clone()));
        if !rules.is_empty() {
            let _ = write!(page, "\nMust hold:\n\n- {}\n", rules.join("\n- "));
        }
    }
    page
}

/// Depth first, in the order of the fields.
fn descend<'a>(section: Section<'a>, sections: &mut Vec<Section<'a>>) {
    let (path, object) = (section.path.clone(), section.object);
    sections.push(section);
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let object = item(field);
        let known = sections.iter().any(|section| section.describes(object));
        if !properties(field).is_null() && !known {
            let path = place(&path, name, field);
            descend(Section { path, object }, sections);
        }
    }
}

fn row(section: &Section, name: &str, field: &Value, sections: &[Section]) -> String {
    let place = place(&section.path, name, field);
    let mut kind = match sections.iter().find(|other| other.describes(item(field))) {
        Some(other) if other.path != place => format!("as [{}](#{})", other.path, anchor(&other.path)),
        _ if !properties(field).is_null() => format!("[object](#{})", anchor(&place)),
        _ => kind(item(field)).to_owned(),
    };
    if field["type"] == "array" {
        kind = format!("list, each {kind}");
        for name in strings(&item(field)["required"]) {
            let _ = write!(kind, ", `{name}` required");
        }
    }
    if strings(&section.object["required"]).contains(&name.to_owned()) {
        kind.push_str(", required");
    }
    let (text, default) = described(field);
    let (bounds, text) = (bounds(field), text.replace('|', "\\|"));
    format!("| `{place}` | {kind} | {default} | {bounds} | {text} |\n")
}

fn place(path: &str, name: &str, field: &Value) -> String {
    let list = if field["type"] == "array" { "[]" } else { "" };
    format!("{path}.{name}{list}")
}

/// The schema of an item where the field is a list.
fn item(field: &Value) -> &Value {
    if field["type"] == "array" {
        &field["items"]
    } else {
        field
    }
}

fn properties(field: &Value) -> &Value {
    &item(field)["properties"]
}

fn messages(schema: &Value) -> Vec<String> {
    rules(schema, "message")
}

fn rules(schema: &Value, part: &str) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten();
    rules
        .filter_map(|rule| rule[part].as_str().map(ToOwned::to_owned))
        .collect()
}

fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(ToOwned::to_owned))
        .collect()
}

/// The description without its default, and the default.
fn described(schema: &Value) -> (String, String) {
    let text = schema["description"]
        .as_str()
        .unwrap_or_default()
        .replace("\n\n", " ")
        .replace('\n', " ");
    let (text, told) = match text.find("Default") {
        Some(at) => {
            let told = text[at..].split_once(": ").map_or("", |(_, told)| told);
            (
                text[..at].trim().to_owned(),
                told.trim_end_matches('.').to_owned(),
            )
        }
        None => (text, String::new()),
    };
    let default = match &schema["default"] {
        Value::Null | Value::Object(_) => told,
        Value::String(default) => default.clone(),
        default => default.to_string().replace(',', ", "),
    };
    (text, default)
}

fn kind(schema: &Value) -> &str {
    match between(schema) {
        Some(_) => "duration",
        None if schema["x-kubernetes-int-or-string"] == true => "integer or string",
        None => schema["type"].as_str().unwrap_or_default(),
    }
}

/// The bounds of a duration, which are in its rule.
fn between(schema: &Value) -> Option<(String, String)> {
    rules(schema, "rule").iter().find_map(|rule| {
        let bound = |from: &str| Some(rule.split_once(from)?.1.split_once('\'')?.0.to_owned());
        Some((
            bound("duration(self) >= duration('")?,
            bound("duration(self) <= duration('")?,
        ))
    })
}

fn bounds(schema: &Value) -> String {
    let number = |field: &str| schema[field].as_i64();
    if let Some((least, most)) = between(schema) {
        let zero = rules(schema, "rule")
            .iter()
            .any(|rule| rule.contains("duration(self) == duration('0s')"));
        return format!("{}{least} to {most}", if zero { "0s, or " } else { "" });
    }
    let words = strings(&schema["enum"]);
    if !words.is_empty() {
        return words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(most) = number("maxItems") {
        let least = number("minItems").map_or("at most ".to_owned(), |least| format!("{least} to "));
        let items = format!("{least}{most} item{}", if most == 1 { "" } else { "s" });
        let each = bounds(&schema["items"]);
        return if each.is_empty() {
            items
        } else {
            format!("{items}, each {each}")
        };
    }
    match (
        number("minimum"),
        number("maximum"),
        number("minLength"),
        number("maxLength"),
    ) {
        (Some(least), Some(most), ..) => format!("{least} to {most}"),
        (.., Some(least), Some(most)) => format!("{least} to {most} characters"),
        (.., None, Some(most)) => format!("at most {most} characters"),
        _ => String::new(),
    }
}
