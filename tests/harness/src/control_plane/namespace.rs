//! A Kubernetes namespace for one test.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace as Object;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::ControlPlane;

/// A namespace that nobody else uses. Dropping it asks the API server to delete it and does not wait.
pub struct Namespace {
    name: String,
    client: Client,
}

impl ControlPlane {
    /// Makes a namespace with a name that starts with `prefix`.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace> {
        static MADE: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}-{}", MADE.fetch_add(1, Ordering::Relaxed));
        let object = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        Api::<Object>::all(self.client())
            .create(&PostParams::default(), &object)
            .await?;
        Ok(Namespace {
            name,
            client: self.client(),
        })
    }
}

impl Deref for Namespace {
    type Target = str;
    fn deref(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (api, name) = (Api::<Object>::all(self.client.clone()), self.name.clone());
        runtime.spawn(async move { api.delete(&name, &DeleteParams::background()).await });
    }
}
