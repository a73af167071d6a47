//! `NAME-rw`, `NAME-ro`, those of classes and of regions: Services without a selector, whose slices are ours.

use serde_json::json;

use super::{Kind, Manifest, ObjectId, labels};
use distributary_core::table::Subject;
use distributary_core::table::named::{self, SERVICE_PORT};

/// The name of the port of every Service, which kube-proxy matches with the slices'.
pub const PORT_NAME: &str = "postgres";

/// The fields of the spec that are ours.
pub const FIELDS: &[&str] = &["type", "ipFamilyPolicy", "ports"];
/// The fields of the spec that must not be there: a selector would hand our slices to another controller, the others would
/// lead traffic elsewhere or take that of others.
pub const REFUSED: &[&str] = &["selector", "externalIPs", "externalName", "loadBalancerIP"];

pub fn render(subject: &Subject<'_>, prefix: &str, suffix: &str) -> Manifest {
    let name = named::service(prefix, suffix);
    let metadata = labels::metadata(subject, &name, &[(labels::ROUTE, suffix)], &[]);
    // A new Service is single-stack unless asked: its IPv6 slice would serve nobody.
    let spec = json!({
        "type": "ClusterIP",
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": PORT_NAME, "port": SERVICE_PORT, "protocol": "TCP", "targetPort": SERVICE_PORT}],
    });
    let kind = Kind::Service;
    let body =
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "spec": spec});
    Manifest {
        id: ObjectId { kind, name },
        body,
    }
}
