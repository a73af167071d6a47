//! The ConfigMap `NAME-routing`: `routing.json` for clients that route by themselves, and the formats that the policy asks for.

use serde_json::{Map, json};

use super::{Kind, Manifest, ObjectId, labels};
use distributary_core::formats;
use distributary_core::table::{RoutingTable, Subject};

/// The key of the routing table.
pub const ROUTING: &str = "routing.json";

/// The table, and what is computed from it alone.
pub fn render(subject: &Subject<'_>, table: &RoutingTable) -> Manifest {
    let mut data = Map::new();
    data.insert(ROUTING.to_owned(), json!(table.text()));
    for format in &subject.outputs.formats {
        let documents = formats::documents(*format)(table).into_iter();
        data.extend(documents.map(|document| (document.name, json!(document.text))));
    }
    let keys = data.keys().cloned().collect::<Vec<_>>().join(",");
    let (kind, name) = (Kind::ConfigMap, subject.outputs.config_map.clone());
    let metadata = labels::metadata(subject, &name, &[], &[(labels::KEYS, &keys)]);
    let body =
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "data": data});
    Manifest {
        id: ObjectId { kind, name },
        body,
    }
}
