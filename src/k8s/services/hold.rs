//! What is not known of a Service changes no route: the pods that were known stay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::render::Kind;
use crate::render::diff::Observed;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::EndpointId;
use distributary_core::resolved::{Pods, Resolved, ResolvedEndpoint};

/// Gives every endpoint whose Service could not be read the pods that were known before: those that the engine was
/// told, or, after a restart of the operator, those that are in the routes. What is wrong with the Services.
///
/// `told`: what the engine knows of this policy. `status` and `routes`: as they are now.
pub fn hold(
    endpoints: &mut BTreeMap<EndpointId, ResolvedEndpoint>,
    told: Option<&Resolved>,
    status: &ReplicaSetPolicyStatus,
    routes: &Observed,
) -> Vec<String> {
    let mut problems = BTreeSet::new();
    for (id, endpoint) in endpoints {
        let Some(Pods {
            service,
            ready: Err(problem),
        }) = &endpoint.pods
        else {
            continue;
        };
        problems.insert(format!("Service {service} {problem}"));
        let before = told.and_then(|told| told.endpoint(id));
        let known = before
            .and_then(|before| known(before, endpoint))
            .or_else(|| routed(id, endpoint, status, routes));
        if let (Some(known), Some(pods)) = (known, &mut endpoint.pods) {
            pods.ready = Ok(known);
        }
    }
    problems.into_iter().collect()
}

fn known(before: &ResolvedEndpoint, now: &ResolvedEndpoint) -> Option<Vec<SocketAddr>> {
    let (earlier, pods) = (before.pods.as_ref()?, now.pods.as_ref()?);
    let same = earlier.service == pods.service && before.location == now.location;
    earlier.ready.as_ref().ok().filter(|_| same).cloned()
}

/// The pods of the status that are in a slice of ours, which tells their port.
fn routed(
    id: &EndpointId,
    endpoint: &ResolvedEndpoint,
    status: &ReplicaSetPolicyStatus,
    routes: &Observed,
) -> Option<Vec<SocketAddr>> {
    let location = endpoint.location.as_ref()?;
    let same = |host: &Option<String>, port: Option<u16>| {
        *host == Some(location.host.to_string()) && port == Some(location.port)
    };
    let before = status
        .endpoints
        .iter()
        .find(|before| before.id == id.as_str() && same(&before.host, before.port))?;
    let mut pods: Vec<_> = before
        .targets
        .iter()
        .filter_map(|target| {
            let address: IpAddr = target.address.parse().ok()?;
            Some(SocketAddr::new(address, port_in(routes, &target.address)?))
        })
        .collect();
    pods.sort_unstable();
    pods.dedup();
    (!pods.is_empty()).then_some(pods)
}

fn port_in(routes: &Observed, address: &str) -> Option<u16> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let has = |slice: &&Value| {
        list(&slice["endpoints"])
            .iter()
            .any(|endpoint| endpoint["addresses"][0] == *address)
    };
    let slices = routes
        .iter()
        .filter(|(id, _)| id.kind == Kind::EndpointSlice)
        .map(|(_, slice)| slice);
    let slice = slices.into_iter().find(has)?;
    u16::try_from(slice["ports"][0]["port"].as_u64()?).ok()
}

#[cfg(test)]
mod tests;
