//! What is not known of a Service changes no route: the pods that were known stay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::EndpointId;
use distributary_core::resolved::{Pods, Resolved, ResolvedEndpoint, ServiceProblem};
use distributary_core::server::Host;

/// The endpoints as the engine is told of them, and what is wrong with their Services.
pub struct HeldEndpoints {
    pub endpoints: BTreeMap<EndpointId, ResolvedEndpoint>,
    pub problems: Vec<String>,
}

/// Gives every endpoint whose Service could not be read the pods that were known before: those that the engine was
/// told, or, after a restart of the operator, those that are in the routes.
///
/// `told`: what the engine knows of this policy. `status`: as it is now. `port`: the port of a server in the routes.
pub fn hold(
    read: BTreeMap<EndpointId, ResolvedEndpoint>,
    told: Option<&Resolved>,
    status: &ReplicaSetPolicyStatus,
    port: impl Fn(IpAddr) -> Option<u16>,
) -> HeldEndpoints {
    let mut problems = BTreeSet::new();
    let one = |(id, endpoint): (EndpointId, ResolvedEndpoint)| {
        let Some(Pods {
            service,
            ready: Err(problem),
        }) = &endpoint.pods
        else {
            return (id, endpoint);
        };
        problems.extend(service_problem(&endpoint));
        let before = told.and_then(|told| told.endpoint(&id));
        let known = before
            .and_then(|before| known(before, &endpoint))
            .or_else(|| routed(&id, &endpoint, status, &port));
        let pods = Pods {
            service: service.clone(),
            ready: known.ok_or(*problem),
        };
        let held = ResolvedEndpoint {
            pods: Some(pods),
            ..endpoint
        };
        (id, held)
    };
    HeldEndpoints {
        endpoints: read.into_iter().map(one).collect(),
        problems: problems.into_iter().collect(),
    }
}

/// What is wrong with the Service of an endpoint, in words; `None`: nothing, or it has none.
#[must_use]
pub fn service_problem(endpoint: &ResolvedEndpoint) -> Option<String> {
    let pods = endpoint.pods.as_ref()?;
    let problem = pods.ready.as_ref().err()?;
    let note = if *problem == ServiceProblem::NotFound && is_one_label(endpoint) {
        ": a host without a dot is a Service of this namespace; write the whole name of a server elsewhere"
    } else {
        ""
    };
    Some(format!("Service {} {problem}{note}", pods.service))
}

/// Whether it is named by a host of one label, which may be meant for a server outside the cluster.
fn is_one_label(endpoint: &ResolvedEndpoint) -> bool {
    let host = endpoint.location.as_ref().map(|location| &location.host);
    matches!(host, Some(Host::Name(name)) if !name.contains('.'))
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
    port: impl Fn(IpAddr) -> Option<u16>,
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
            Some(SocketAddr::new(address, port(address)?))
        })
        .collect();
    pods.sort_unstable();
    pods.dedup();
    (!pods.is_empty()).then_some(pods)
}

#[cfg(test)]
mod tests;
