//! A policy as it is kept between passes.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope};
use serde::Deserialize;
use serde_json::Value;

use distributary_core::ids::PolicyKey;

/// A policy as a watch shows it, whether this version can read it or not: as text, whose tree takes ten times the
/// memory, and what a controller must know of it at any time.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "DynamicObject")]
pub struct StoredPolicy {
    metadata: ObjectMeta,
    text: Box<str>,
}

impl From<DynamicObject> for StoredPolicy {
    fn from(mut object: DynamicObject) -> Self {
        object.metadata.managed_fields = None;
        let text = serde_json::to_string(&object)
            .unwrap_or_default()
            .into_boxed_str();
        let ObjectMeta {
            name,
            namespace,
            uid,
            generation,
            resource_version,
            deletion_timestamp,
            ..
        } = object.metadata;
        let metadata = ObjectMeta {
            name,
            namespace,
            uid,
            generation,
            resource_version,
            deletion_timestamp,
            ..ObjectMeta::default()
        };
        Self { metadata, text }
    }
}

impl StoredPolicy {
    /// The whole of it, but for who manages its fields.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    #[must_use]
    pub fn key(&self) -> PolicyKey {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        PolicyKey::new(text(&self.metadata.namespace), text(&self.metadata.name))
    }
}

impl Resource for StoredPolicy {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_of_a_policy_is_kept_but_for_who_manages_its_fields() {
        let mut object = json!({
            "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
            "metadata": {
                "name": "orders", "namespace": "shop", "uid": "7", "generation": 3, "resourceVersion": "9",
                "annotations": {"a": "b"}, "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {"unheard": [1, null]},
            "status": {"conditions": []},
        });
        let stored = serde_json::from_value::<StoredPolicy>(object.clone()).unwrap();
        assert_eq!(stored.key(), PolicyKey::new("shop", "orders"));
        assert_eq!(stored.meta().generation, Some(3));
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("managedFields");
        assert_eq!(stored.json(), object);
    }
}
