//! The slices of a Service: one per address family and port, an address and port once, one address per endpoint.
//!
//! A target is in a slice or not, never `ready: false`: consumers treat that in different ways.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};

use super::names::{self, Family};
use super::{Kind, Manifest, ObjectId, labels, services};
use crate::domain::plan::{Member, Route};
use crate::domain::policy::Policy;
use crate::domain::routing::ZoneHints;

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
    let hints = has_hints(policy, route);
    let endpoint = |member: &&Member| endpoint(policy, member, hints);
    slices
        .into_iter()
        .map(|((family, port), members)| {
            let endpoints = members.iter().map(endpoint).collect();
            slice(policy, prefix, suffix, family, port, endpoints)
        })
        .collect()
}

/// Whether kube-proxy is asked to stay in the zone of the client: only while every zone has two or more that serve, so that
/// nobody's reads depend on a single server. With one zone there is nothing to choose.
fn has_hints(policy: &Policy, route: &Route) -> bool {
    let mut zones: BTreeMap<Option<&str>, BTreeSet<IpAddr>> = BTreeMap::new();
    for member in route.members.iter().filter(|member| member.in_slice) {
        let address = member.address;
        zones.entry(zone(policy, member)).or_default().insert(address);
    }
    policy.routing.zone_hints == ZoneHints::Auto
        && zones.len() > 1
        && zones
            .iter()
            .all(|(zone, servers)| zone.is_some() && servers.len() > 1)
}

fn zone<'a>(policy: &'a Policy, member: &Member) -> Option<&'a str> {
    policy.endpoint(&member.target.endpoint)?.zone.as_deref()
}

fn slice(
    policy: &Policy,
    prefix: &str,
    suffix: &str,
    family: Family,
    port: u16,
    endpoints: Vec<Value>,
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
        "endpoints": endpoints,
    });
    Manifest {
        id: ObjectId { kind, name },
        body,
    }
}

fn endpoint(policy: &Policy, member: &Member, hints: bool) -> Value {
    let mut endpoint = json!({"addresses": [member.address], "conditions": {"ready": true}});
    if let Some(zone) = zone(policy, member) {
        endpoint["zone"] = json!(zone);
        if hints {
            endpoint["hints"] = json!({"forZones": [{"name": zone}]});
        }
    }
    endpoint
}
