//! The ConfigMaps: `NAME-routing` with `routing.json` and the URIs that the policy asks for, and `NAME-env` with the environment
//! variables.

use serde_json::{Map, json};

use super::{Kind, Manifest, ObjectId, labels};
use distributary_core::config_maps::ConfigMap;
use distributary_core::table::Subject;

pub use distributary_core::config_maps::ROUTING;

pub fn render(subject: &Subject<'_>, map: &ConfigMap) -> Manifest {
    let document =
        |document: &distributary_core::formats::Document| (document.name.clone(), json!(document.text));
    let data: Map<_, _> = map.documents().map(document).collect();
    let keys = data.keys().cloned().collect::<Vec<_>>().join(",");
    let metadata = labels::metadata(subject, &map.name, &[], &[(labels::KEYS, &keys)]);
    let id = id(&map.name);
    let body = json!({
        "apiVersion": id.kind.api_version(),
        "kind": id.kind.name(),
        "metadata": metadata,
        "data": data,
    });
    Manifest { id, body }
}

/// A ConfigMap of this name.
#[must_use]
pub fn id(name: &str) -> ObjectId {
    ObjectId {
        kind: Kind::ConfigMap,
        name: name.to_owned(),
    }
}
