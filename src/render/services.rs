//! `NAME-rw`, `NAME-ro`, those of classes and of regions: Services without a selector, whose slices are ours.

use serde_json::json;

use super::{Kind, Manifest, ObjectId, labels};
use distributary_core::table::Subject;
use distributary_core::table::named::{self, SERVICE_PORT};

/// The name of the port of every Service, which kube-proxy matches with the slices'.
pub const PORT_NAME: &str = "postgres";

/// The fields of the spec that are ours. With `internalTrafficPolicy: Local` a node without a server refuses every
/// connection; with `sessionAffinity` a client keeps its server whatever the strategy says.
pub const FIELDS: &[&str] = &[
    "type",
    "ipFamilyPolicy",
    "ports",
    "internalTrafficPolicy",
    "sessionAffinity",
];
/// The fields of the spec that must not be there.
pub const REFUSED: &[&str] = &[
    // Another controller would write slices for our Service.
    "selector",
    // They take traffic of others, or lead ours elsewhere.
    "externalIPs",
    "externalName",
    // They choose among the servers.
    "publishNotReadyAddresses",
    "sessionAffinityConfig",
    "trafficDistribution",
    // They belong to types other than ClusterIP: beside it the API server refuses some of them.
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
];
/// The fields of the spec that stay as they are, each with the reason.
pub const LEFT: &[(&str, &str)] = &[
    (
        "clusterIP",
        "the API server allocates it; a Service with `None` is made anew",
    ),
    ("clusterIPs", "the API server allocates them"),
    (
        "ipFamilies",
        "the API server allocates them, and the order is the cluster's; `ipFamilyPolicy` asks for both",
    ),
];

pub fn render(subject: &Subject<'_>, prefix: &str, suffix: &str) -> Manifest {
    let name = named::service(prefix, suffix);
    let metadata = labels::metadata(subject, &name, &[(labels::ROUTE, suffix)], &[]);
    // A new Service is single-stack unless asked: its IPv6 slice would serve nobody.
    let spec = json!({
        "type": "ClusterIP",
        "ipFamilyPolicy": "PreferDualStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
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
