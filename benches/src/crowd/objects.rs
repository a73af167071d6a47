//! Objects of any kind, made as they are.

use anyhow::{Context, Result};
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

/// Creates an object; its kind is one of those whose plural is regular.
pub async fn create(client: &Client, namespace: &str, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.as_ref().context("an object without a kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let created = api.create(&PostParams::default(), &object).await;
    created.with_context(|| format!("create an object of kind {}", types.kind))?;
    Ok(())
}
