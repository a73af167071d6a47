//! Writing the status: by server-side apply, only when it differs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::error::Error;
use super::{call, observed, policy_resource};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::PolicyKey;

/// The status of every policy as last written, until the watch shows it.
#[derive(Debug, Default)]
pub struct WrittenStatus(Mutex<HashMap<PolicyKey, (u64, ReplicaSetPolicyStatus)>>);

impl WrittenStatus {
    /// The status as it is now: that of the object as watched, or a newer one that we wrote.
    #[must_use]
    pub fn of(&self, key: &PolicyKey, object: &Value) -> ReplicaSetPolicyStatus {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match written.get(key) {
            Some((version, status)) if *version > observed::version(object) => status.clone(),
            _ => serde_json::from_value(object["status"].clone()).unwrap_or_default(),
        }
    }

    pub fn forget(&self, key: &PolicyKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Writes `status`, for the object of this uid alone.
    ///
    /// # Errors
    /// The request that failed.
    pub async fn write(
        &self,
        client: &Client,
        key: &PolicyKey,
        uid: &str,
        status: &ReplicaSetPolicyStatus,
    ) -> Result<(), Error> {
        let failed = |source| Error::UpdateStatus {
            name: key.name.clone(),
            source,
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &key.namespace, &policy_resource());
        let body = json!({
            "apiVersion": "distributary.dev/v1alpha1",
            "kind": "ReplicaSetPolicy",
            "metadata": {"name": key.name, "uid": uid},
            "status": status,
        });
        let parameters = PatchParams::apply("distributary").force();
        let patch = Patch::Apply(&body);
        let object = match call(api.patch_status(&key.name, &parameters, &patch)).await {
            Ok(object) => object,
            // The policy is gone, or is another one of its name: its status is not ours to write.
            Err(error) if matches!(error.code(), 404 | 409) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let version = object
            .metadata
            .resource_version
            .as_deref()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone(), (version, status.clone()));
        Ok(())
    }
}
