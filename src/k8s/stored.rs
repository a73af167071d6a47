//! A policy as it is kept between passes.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, DynamicResourceScope};
use serde::Deserialize;
use serde_json::Value;

use super::quota::Size;
use distributary_core::ids::PolicyKey;

/// A policy as a watch shows it, whether this version can read it or not: as text, whose tree takes ten times the
/// memory, and what a controller must know of it at any time.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "DynamicObject")]
pub struct StoredPolicy {
    metadata: ObjectMeta,
    declared: Box<str>,
    status: Box<str>,
    /// The primary and the replicas, valid or not.
    endpoints: usize,
}

impl From<DynamicObject> for StoredPolicy {
    fn from(mut object: DynamicObject) -> Self {
        let status = object
            .data
            .as_object_mut()
            .and_then(|fields| fields.remove("status"));
        object.metadata.managed_fields = None;
        let resource_version = object.metadata.resource_version.take();
        // JSON can be written as such.
        let text = |json: serde_json::Result<String>| json.unwrap_or_default().into_boxed_str();
        let declared = text(serde_json::to_string(&object));
        let replicas = object.data["spec"]["replicas"].as_array().map_or(0, Vec::len);
        let ObjectMeta {
            name,
            namespace,
            uid,
            generation,
            creation_timestamp,
            deletion_timestamp,
            ..
        } = object.metadata;
        let metadata = ObjectMeta {
            name,
            namespace,
            uid,
            generation,
            resource_version,
            creation_timestamp,
            deletion_timestamp,
            ..ObjectMeta::default()
        };
        Self {
            metadata,
            declared,
            status: text(serde_json::to_string(&status)),
            endpoints: 1 + replicas,
        }
    }
}

impl StoredPolicy {
    /// The whole of it, but for its status, its version and who manages its fields.
    #[must_use]
    pub fn declared(&self) -> Value {
        serde_json::from_str(&self.declared).unwrap_or_default()
    }

    /// Its status; null where it has none.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.status).unwrap_or_default()
    }

    /// What counts of it for the quota of its namespace.
    #[must_use]
    pub fn size(&self) -> Size {
        let created = self.metadata.creation_timestamp.as_ref();
        Size {
            created: created.map(|time| time.0).unwrap_or_default(),
            endpoints: self.endpoints,
        }
    }

    /// Whether both differ in status and version alone.
    #[must_use]
    pub fn declares_the_same(&self, other: &Self) -> bool {
        self.declared == other.declared
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

    fn stored(object: &Value) -> StoredPolicy {
        serde_json::from_value(object.clone()).unwrap()
    }

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
        let first = stored(&object);
        assert_eq!(first.key(), PolicyKey::new("shop", "orders"));
        assert_eq!(first.meta().generation, Some(3));
        assert_eq!(first.meta().resource_version.as_deref(), Some("9"));
        assert_eq!(first.status(), object["status"]);
        object["metadata"]["resourceVersion"] = "10".into();
        object["metadata"]["managedFields"] = json!([{"manager": "distributary"}]);
        object["status"] = Value::Null;
        let later = stored(&object);
        assert!(first.declares_the_same(&later));
        assert_eq!(later.status(), Value::Null);
        object["metadata"]["annotations"]["a"] = "c".into();
        assert!(!first.declares_the_same(&stored(&object)));
        let fields = object.as_object_mut().unwrap();
        fields.remove("status");
        let metadata = fields["metadata"].as_object_mut().unwrap();
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        assert_eq!(stored(&object).declared(), object);
    }
}
