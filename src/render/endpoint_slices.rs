//! The slices of a Service: one per address family and port, an address and port once, one address per endpoint. Many
//! endpoints are spread over more slices, by their addresses: one that comes or goes changes one slice.
//!
//! A target is in a slice or not, never `ready: false`: consumers treat that in different ways.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};

use super::names::{self, Family};
use super::{Kind, Manifest, ObjectId, labels, services};
use distributary_core::plan::{Member, Route};
use distributary_core::policy::Policy;
use distributary_core::routing::ZoneHints;
use distributary_core::table::Subject;
use distributary_core::table::named::{self, SERVICE_PORT};

/// Endpoints in one slice, at most: what kube-proxy and others are built for.
const MOST: usize = 100;

/// The slices of one route. A route without members has one empty slice, so that it fills without a new object.
pub fn render(subject: &Subject<'_>, prefix: &str, suffix: &str, route: &Route) -> Vec<Manifest> {
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
        slices.insert((Family::V4, SERVICE_PORT), Vec::new());
    }
    let hints = has_hints(subject.policy, route);
    let endpoint = |member: &&Member| endpoint(subject.policy, member, hints);
    slices
        .into_iter()
        .flat_map(|((family, port), members)| {
            let part = |(number, members): (usize, Vec<&Member>)| {
                let name = names::endpoint_slice(prefix, suffix, family, port, number);
                let endpoints = members.iter().map(endpoint).collect();
                slice(subject, prefix, suffix, (name, family, port), endpoints)
            };
            spread(members).into_iter().map(part).collect::<Vec<_>>()
        })
        .collect()
}

/// The members of each slice with its number, from 1. Where one slice is not enough, there are twice as many until none
/// is too full.
fn spread(members: Vec<&Member>) -> BTreeMap<usize, Vec<&Member>> {
    if members.len() <= MOST {
        return BTreeMap::from([(1, members)]);
    }
    let mut parts = members.len().div_ceil(MOST).next_power_of_two();
    loop {
        let mut slices: BTreeMap<usize, Vec<&Member>> = BTreeMap::new();
        for member in &members {
            slices
                .entry(1 + scattered(member.address) % parts)
                .or_default()
                .push(member);
        }
        if slices.values().all(|slice| slice.len() <= MOST) {
            return slices;
        }
        parts *= 2;
    }
}

/// A number by which addresses spread evenly (FNV-1a); it must not change from one version to the next.
fn scattered(address: IpAddr) -> usize {
    let step = |hash: u32, octet: &u8| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
    let hash = match address {
        IpAddr::V4(address) => address.octets().iter().fold(0x811c_9dc5, step),
        IpAddr::V6(address) => address.octets().iter().fold(0x811c_9dc5, step),
    };
    // The upper half is better mixed.
    usize::try_from(hash ^ (hash >> 16)).unwrap_or_default()
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
    subject: &Subject<'_>,
    prefix: &str,
    suffix: &str,
    (name, family, port): (String, Family, u16),
    endpoints: Vec<Value>,
) -> Manifest {
    let service = named::service(prefix, suffix);
    let own = [
        (labels::SERVICE_NAME, service.as_str()),
        (labels::SLICE_MANAGED_BY, labels::SLICE_MANAGER),
        (labels::ROUTE, suffix),
    ];
    let kind = Kind::EndpointSlice;
    let body = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": labels::metadata(subject, &name, &own, &[]),
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
