//! `NAME-rw`, `NAME-ro`, those of classes and of regions: Services without a selector, whose slices are ours.

use serde_json::json;

use super::{Kind, Manifest, ObjectId, labels, names};
use distributary_core::policy::Policy;

/// The port of every Service, and the name of its port, which kube-proxy matches with the slices'.
pub const PORT: u16 = 5432;
pub const PORT_NAME: &str = "postgres";

pub fn render(policy: &Policy, prefix: &str, suffix: &str) -> Manifest {
    let name = names::service(prefix, suffix);
    let metadata = labels::metadata(policy, &name, &[(labels::ROUTE, suffix)], &[]);
    // A new Service is single-stack unless asked: its IPv6 slice would serve nobody.
    let spec = json!({
        "type": "ClusterIP",
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": PORT_NAME, "port": PORT, "protocol": "TCP", "targetPort": PORT}],
    });
    let kind = Kind::Service;
    let body =
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "spec": spec});
    Manifest {
        id: ObjectId { kind, name },
        body,
    }
}
