//! PURE. A policy, and the Secrets that it names, from the text of a file.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

use distributary_api::ReplicaSetPolicySpec;
use distributary_api::validate::SecretKeys;
use distributary_api::validate::structure::without_null;

use crate::declared::{Declared, Secrets};
use crate::error::SettingsError;

/// What a policy of this version is.
const VERSION: &str = "distributary.dev/v1alpha1";

/// The policy of a text of YAML or JSON with one `ReplicaSetPolicy` and any number of Secrets.
///
/// # Errors
/// Each thing that is wrong, by its field. No value is shown.
pub fn read(text: &str) -> Result<Declared, SettingsError> {
    let wrong = |problem: String| SettingsError::Policy(vec![problem]);
    let mut policy = None;
    let mut secrets = Secrets::new();
    for document in documents(text).map_err(wrong)? {
        match document["kind"].as_str() {
            Some("ReplicaSetPolicy") if policy.is_none() => policy = Some(document),
            Some("ReplicaSetPolicy") => {
                return Err(wrong("the file has more than one ReplicaSetPolicy".to_owned()));
            }
            Some("Secret") => {
                let (name, keys) = secret(&document).map_err(wrong)?;
                secrets.insert(name, keys);
            }
            _ => {
                let says = "kind: must be ReplicaSetPolicy or Secret";
                return Err(wrong(says.to_owned()));
            }
        }
    }
    let policy = policy.ok_or_else(|| wrong("the file has no ReplicaSetPolicy".to_owned()))?;
    let (name, spec) = self::policy(&policy).map_err(SettingsError::Policy)?;
    Ok(Declared { name, spec, secrets })
}

fn documents(text: &str) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| {
            let place = error.location();
            let place = place.map(|at| format!(": line {}, column {}", at.line(), at.column()));
            format!("the file is neither YAML nor JSON{}", place.unwrap_or_default())
        })?;
        if !value.is_null() {
            all.push(value);
        }
    }
    Ok(all)
}

fn name(document: &Value) -> Result<String, String> {
    let name = document["metadata"]["name"]
        .as_str()
        .filter(|name| !name.is_empty());
    name.map(str::to_owned)
        .ok_or_else(|| "metadata.name: must be set".to_owned())
}

fn policy(document: &Value) -> Result<(String, ReplicaSetPolicySpec), Vec<String>> {
    let mut wrong = Vec::new();
    let version = document["apiVersion"].as_str();
    if version != Some(VERSION) {
        let newer = version.filter(|version| version.starts_with("distributary.dev/"));
        wrong.push(match newer {
            Some(newer) => format!("apiVersion: {newer} is not known: this crate reads {VERSION}"),
            None => format!("apiVersion: must be {VERSION}"),
        });
    }
    let name = name(document).map_err(|problem| wrong.push(problem));
    let spec = without_null(document["spec"].clone());
    let read: Result<ReplicaSetPolicySpec, _> = serde_json::from_value(spec.clone());
    match &read {
        Ok(read) => {
            let known = serde_json::to_value(read).unwrap_or_default();
            unknown(&spec, &known, "spec", &mut wrong);
        }
        // What the parser says has the value.
        Err(_) => wrong.push("spec: is not that of a ReplicaSetPolicy".to_owned()),
    }
    match (name, read) {
        (Ok(name), Ok(spec)) if wrong.is_empty() => Ok((name, spec)),
        _ => Err(wrong),
    }
}

/// The fields that were passed over. A field that says nothing may be.
fn unknown(given: &Value, known: &Value, at: &str, wrong: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), _) => {
            let empty = Map::new();
            let known = known.as_object().unwrap_or(&empty);
            for (field, value) in given {
                let at = format!("{at}.{field}");
                match known.get(field) {
                    Some(known) => unknown(value, known, &at, wrong),
                    None if says_nothing(value) => {}
                    None => wrong.push(format!("{at}: is not a field of this version")),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (number, (given, known)) in given.iter().zip(known).enumerate() {
                unknown(given, known, &format!("{at}[{number}]"), wrong);
            }
        }
        _ => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn secret(document: &Value) -> Result<(String, BTreeMap<String, Vec<u8>>), String> {
    let name = name(document).map_err(|problem| format!("a Secret: {problem}"))?;
    let mut keys = BTreeMap::new();
    for (field, is_text) in [("data", false), ("stringData", true)] {
        for (key, value) in document[field].as_object().into_iter().flatten() {
            let at = || format!("the Secret {name}: {field}.{key}");
            let text = value
                .as_str()
                .ok_or_else(|| format!("{}: must be a text", at()))?;
            let bytes = if is_text {
                text.as_bytes().to_vec()
            } else {
                let bytes = STANDARD.decode(text.trim());
                bytes.map_err(|_| format!("{}: must be in base64", at()))?
            };
            keys.insert(key.clone(), bytes);
        }
    }
    let annotations = BTreeMap::deserialize(&document["metadata"]["annotations"]).ok();
    Ok((name, SecretKeys::annotated(keys, annotations.as_ref()).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "
apiVersion: distributary.dev/v1alpha1
kind: ReplicaSetPolicy
metadata: {name: orders}
spec:
  primary: {host: db.example.com}
  replicas:
    - {id: a, host: a.example.com, tags: []}
  connection:
    database: orders
    credentialsSecretRef: {name: login}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
data: {username: YXBw}
stringData: {password: canary-one}
";

    fn said(text: &str) -> String {
        let error = read(text).err().map(|error| format!("{error} {error:?}"));
        error.unwrap_or_default()
    }

    #[test]
    fn a_file_has_a_policy_and_its_secrets() {
        let declared = read(POLICY).expect("it is valid");
        assert_eq!(
            (declared.name.as_str(), declared.spec.replicas.len()),
            ("orders", 1)
        );
        let login = &declared.secrets["login"];
        assert_eq!(
            (&*login["username"], &*login["password"]),
            (&b"app"[..], &b"canary-one"[..])
        );
        assert_eq!(declared.settled(false).problems(), []);
    }

    #[test]
    fn the_samples_of_the_operator_are_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples");
        let mut seen = 0;
        for file in std::fs::read_dir(folder).expect("samples").flatten() {
            let text = std::fs::read_to_string(file.path()).expect("a text");
            if !text.contains("kind: ReplicaSetPolicy") {
                continue;
            }
            seen += 1;
            assert_eq!(said(&text), "", "{:?}", file.path());
        }
        assert!(seen == 3, "{seen}");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field_and_no_value_is_shown() {
        let changed = |from: &str, to: &str| {
            assert!(POLICY.contains(from), "{from}");
            POLICY.replacen(from, to, 1)
        };
        for (text, expected) in [
            ("a: [".to_owned(), "the file is neither YAML nor JSON"),
            (String::new(), "the file has no ReplicaSetPolicy"),
            (format!("{POLICY}---{POLICY}"), "more than one ReplicaSetPolicy"),
            (changed("kind: Secret", "kind: Service"), "kind: must be"),
            (changed("{name: orders}", "{}"), "metadata.name: must be set"),
            (
                changed("distributary.dev/v1alpha1", "distributary.dev/v2"),
                "apiVersion: distributary.dev/v2 is not known: this crate reads distributary.dev/v1alpha1",
            ),
            (
                changed("tags: []", "mood: canary-two"),
                "spec.replicas[0].mood: is not a field of this version",
            ),
            (
                changed("  connection:", "  failover: {wind: [1]}\n  connection:"),
                "spec.failover.wind: is not a field",
            ),
            (
                changed("{host: db.example.com}", "canary-three"),
                "spec: is not that of a",
            ),
            (
                changed("YXBw", "canary*"),
                "the Secret login: data.username: must be in base64",
            ),
        ] {
            let said = said(&text);
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
}
