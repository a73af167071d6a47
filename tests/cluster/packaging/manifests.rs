//! The objects of a manifest, as kubectl and helm render it.

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use serde::Deserialize;
use serde_json::Value;

use super::CHART;

pub async fn template(plane: &ControlPlane, values: &[&str]) -> Result<Vec<Value>> {
    let mut arguments = vec!["template", "distributary", CHART];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    documents(&plane.helm(&arguments).await?)
}

pub(super) async fn template_json(plane: &ControlPlane, value: &str) -> Result<Vec<Value>> {
    documents(
        &plane
            .helm(&["template", "distributary", CHART, "--set-json", value])
            .await?,
    )
}

/// Every object of a manifest.
pub(super) fn documents(manifest: &str) -> Result<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(manifest);
    let objects: Vec<_> = documents
        .map(Value::deserialize)
        .collect::<Result<_, _>>()
        .context("parse a manifest")?;
    Ok(objects.into_iter().filter(Value::is_object).collect())
}

pub fn find<'a>(documents: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let is = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    documents
        .iter()
        .find(is)
        .with_context(|| format!("no {kind} {name}"))
}

pub(super) fn in_namespace<'a>(
    documents: &'a [Value],
    kind: &str,
    name: &str,
    namespace: &str,
) -> Result<&'a Value> {
    let is = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    let mut found = documents.iter().filter(is);
    found
        .find(|document| document["metadata"]["namespace"] == namespace)
        .with_context(|| format!("no {kind} {name} in {namespace}"))
}

pub fn rules(documents: &[Value], kind: &str, name: &str) -> Result<Value> {
    Ok(find(documents, kind, name)?["rules"].clone())
}

pub(super) fn arguments(documents: &[Value]) -> Result<Vec<String>> {
    arguments_of(find(documents, "Deployment", "distributary")?)
}

pub fn arguments_of(deployment: &Value) -> Result<Vec<String>> {
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<String> = strings(arguments).map(ToOwned::to_owned).collect();
    ensure!(
        arguments.first().is_some_and(|first| first == "run"),
        "{arguments:?}"
    );
    Ok(arguments)
}

pub(super) fn strings(list: &Value) -> impl Iterator<Item = &str> + Clone {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
