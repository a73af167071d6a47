//! A Kubernetes namespace for one test.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Namespace as Object;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{ControlPlane, PROXY_DELAY};
use crate::wait;

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

    /// Waits until the namespaces of other tests are gone with all that is in them, and kube-proxy has followed: what it is
    /// told within a second of such an end takes effect a second later ([`PROXY_DELAY`]).
    ///
    /// # Errors
    /// When one is still there at the end of `deadline`.
    pub async fn alone(&self, namespace: &Namespace, deadline: Duration) -> Result<()> {
        let all = Api::<Object>::all(self.client());
        let others = || async {
            let names = all.list(&ListParams::default()).await?.items;
            let of_tests = names
                .iter()
                .map(ResourceExt::name_any)
                .filter(|name| !name.starts_with("kube-") && name != "default" && *name != namespace.name);
            let left: Vec<_> = of_tests.collect();
            ensure!(left.is_empty(), "{left:?} are there");
            Ok(())
        };
        wait::eventually("the end of other namespaces", deadline, others).await?;
        wait::pass(PROXY_DELAY, "kube-proxy follows the end of the last one").await;
        Ok(())
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
