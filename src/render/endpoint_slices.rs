//! The slices of a Service: one per address family and port, an address and port once, one address per endpoint.
//!
//! A target is in a slice or not, never `ready: false`: consumers treat that in different ways.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::names::{self, Family};
use super::{Kind, Manifest, ObjectId, labels, services};
use crate::domain::plan::{Member, Route};
use crate::domain::policy::Policy;

/// The slices of one route. A route without members has one empty slice, so that it fills without a new object.
pub fn render(policy: &Policy, prefix: &str, suffix: &str, route: &Route) -> Vec<Manifest> {
    let mut slices: BTreeMap<(Family, u16), Vec<&Member>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for member in route.members.iter().filter(|member| member.in_slice) {
        if seen.insert((member.address, member.port)) {
            slices
                .entry((Family::of(member.address), member.port))
                .or_default()
                .push(member);
        }
    }
    if slices.is_empty() {
        slices.insert((Family::V4, services::PORT), Vec::new());
    }
    slices
        .into_iter()
        .map(|((family, port), members)| slice(policy, prefix, suffix, family, port, &members))
        .collect()
}

fn slice(
    policy: &Policy,
    prefix: &str,
    suffix: &str,
    family: Family,
    port: u16,
    members: &[&Member],
) -> Manifest {
    let name = names::endpoint_slice(prefix, suffix, family, port);
    let service = names::service(prefix, suffix);
    let own = [
        (labels::SERVICE_NAME, service.as_str()),
        (labels::SLICE_MANAGED_BY, labels::SLICE_MANAGER),
        (labels::ROUTE, suffix),
    ];
    let kind = Kind::EndpointSlice;
    let body = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": labels::metadata(policy, &name, &own, &[]),
        "addressType": family.name(),
        "ports": [{"name": services::PORT_NAME, "port": port, "protocol": "TCP"}],
        "endpoints": members.iter().map(|member| endpoint(policy, member)).collect::<Vec<_>>(),
    });
    Manifest {
        id: ObjectId { kind, name },
        body,
    }
}

fn endpoint(policy: &Policy, member: &Member) -> Value {
    let mut endpoint = json!({"addresses": [member.address], "conditions": {"ready": true}});
    if let Some(zone) = policy
        .endpoint(&member.target.endpoint)
        .and_then(|declared| declared.zone.as_ref())
    {
        endpoint["zone"] = json!(zone);
    }
    endpoint
}
