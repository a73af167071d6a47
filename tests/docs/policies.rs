//! The policies that are shown.

use std::collections::BTreeMap;

use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{self, Declaration, SecretKeys, Secrets, Services};
use distributary_core::cluster::Cluster;
use serde::Deserialize;
use serde_json::Value;

use crate::{below, blocks, pages, read, schema};

/// Secrets as the policy asks for: each with every key that may be asked for.
fn secrets(object: &ReplicaSetPolicy) -> Secrets {
    let endpoints = std::iter::once(&object.spec.primary).chain(&object.spec.replicas);
    let urls = endpoints.filter_map(|endpoint| endpoint.url_secret_ref.as_ref());
    let usual = ["username", "password", "ca.crt", "tls.crt", "tls.key"]
        .map(|key| (key.to_owned(), b"text".to_vec()));
    let mut all: BTreeMap<String, BTreeMap<String, Vec<u8>>> = validate::references(&object.spec)
        .into_iter()
        .map(|name| (name, usual.iter().cloned().collect()))
        .collect();
    for (at, url) in urls.enumerate() {
        let text = format!("postgresql://user:password@url-{at}.example.com:5432/database");
        all.entry(url.name.clone())
            .or_default()
            .insert(url.key.clone(), text.into_bytes());
    }
    all.into_iter()
        .map(|(name, keys)| (name, Ok(SecretKeys(keys))))
        .collect()
}

/// The policies of a text in YAML, each valid, with what they ask for.
pub fn policies(from: &str, yaml: &str) -> Vec<Declaration> {
    let documents = serde_yaml::Deserializer::from_str(yaml);
    let documents = documents
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{from}: {error}")));
    let policies = documents
        .filter(|document| document["kind"] == "ReplicaSetPolicy")
        .map(|document| {
            assert_eq!(document["apiVersion"], "distributary.dev/v1alpha1", "{from}");
            unknown(from, &document);
            let object: ReplicaSetPolicy =
                serde_json::from_value(document).unwrap_or_else(|error| panic!("{from}: {error}"));
            let valid = validate::policy(&object);
            let valid = valid.unwrap_or_else(|problems| panic!("{from}: {problems:?}"));
            let endpoints = validate::resolve(&object, &secrets(&object), &Services::new());
            assert_eq!(endpoints.len(), valid.policy.endpoints.len(), "{from}");
            let bad = endpoints.values().filter(|endpoint| endpoint.login.is_err());
            assert_eq!(bad.count(), 0, "{from}: a Secret is not referred to as it should");
            valid.with(endpoints, Cluster::default())
        });
    policies.collect()
}

/// The API server would drop a field that the schema does not know.
fn unknown(from: &str, document: &Value) {
    let schema = schema();
    let mut left = vec![(
        "spec".to_owned(),
        &document["spec"],
        &schema["properties"]["spec"],
    )];
    while let Some((path, value, schema)) = left.pop() {
        for (name, value) in value.as_object().into_iter().flatten() {
            let known = schema["properties"].get(name);
            let known = known.or_else(|| schema.get("additionalProperties"));
            left.push((
                format!("{path}.{name}"),
                value,
                known.unwrap_or_else(|| panic!("{from}: no field {path}.{name}")),
            ));
        }
        for value in value.as_array().into_iter().flatten() {
            left.push((format!("{path}[]"), value, &schema["items"]));
        }
    }
}

#[test]
fn the_full_sample_sets_every_field() {
    // The word of a person is no setting to copy.
    let yaml = read("deploy/samples/full.yaml").replace("# acceptPrimary:", "acceptPrimary:");
    let documents =
        serde_yaml::Deserializer::from_str(&yaml).map(|document| Value::deserialize(document).unwrap());
    let policy = documents.last().unwrap();
    let schema = schema();
    // A replica is an endpoint too, and one of them need not have what another has.
    let replicas = policy["spec"]["replicas"].as_array().unwrap();
    let endpoints: Vec<_> = replicas.iter().chain([&policy["spec"]["primary"]]).collect();
    let spec = &schema["properties"]["spec"];
    let mut left = vec![
        ("spec".to_owned(), vec![&policy["spec"]], spec),
        (
            "endpoint".to_owned(),
            endpoints.clone(),
            &spec["properties"]["primary"],
        ),
    ];
    let mut missing = Vec::new();
    while let Some((path, values, schema)) = left.pop() {
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let mut set: Vec<_> = values.iter().filter_map(|value| value.get(name)).collect();
            match format!("{path}.{name}").as_str() {
                path if set.is_empty() => missing.push(path.to_owned()),
                "spec.primary" | "endpoint.connection" | "endpoint.replicationLag" => {}
                path => {
                    if ["spec.connection", "spec.replicationLag"].contains(&path) {
                        set.extend(endpoints.iter().filter_map(|endpoint| endpoint.get(name)));
                    }
                    left.push((path.to_owned(), set, schema));
                }
            }
        }
    }
    assert!(missing.is_empty(), "full.yaml does not set {missing:?}");
}

#[test]
fn every_policy_of_the_samples_is_valid() {
    let mut found = 0;
    for sample in below("deploy/samples", "yaml") {
        found += policies(&sample.display().to_string(), &read(&sample)).len();
    }
    assert!(found > 1);
}

#[test]
fn every_policy_of_the_pages_is_valid() {
    let mut found = 0;
    for page in pages() {
        for block in blocks(&read(&page))
            .iter()
            .filter(|block| block.language == "yaml")
        {
            found += policies(&page.display().to_string(), &block.text).len();
        }
    }
    assert!(found > 0);
}

#[test]
fn a_block_that_is_said_to_be_a_file_is_that_file() {
    let mut found = 0;
    for page in pages() {
        for block in blocks(&read(&page)) {
            if let Some(file) = block.comment.filter(|comment| comment.contains('/')) {
                assert!(block.text == read(&file), "{}: {file}", page.display());
                found += 1;
            }
        }
    }
    assert!(found > 0);
}
