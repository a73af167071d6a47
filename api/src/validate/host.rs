//! Hosts as people write them.

use std::net::IpAddr;

use super::is_label;
use distributary_core::server::Host;

/// A host as written: an address, or a DNS name.
pub fn host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Host::Address(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    (text.len() <= 253 && !numeric && name.split('.').all(label)).then(|| Host::Name(text.to_owned()))
}

/// Whether an EndpointSlice may hold the address (Kubernetes refuses loopback, link-local, multicast, unspecified).
pub fn is_routable(host: &Host) -> bool {
    let address = match host {
        Host::Name(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            return name != "localhost" && !name.ends_with(".localhost");
        }
        Host::Address(address) => address.to_canonical(),
    };
    let special = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(special || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

/// What a host means inside the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InCluster {
    /// The Service of this name, in the policy's namespace.
    Service(String),
    /// A Service of another namespace.
    OtherNamespace,
    /// Nothing: an address, a name outside, or the name of a single pod.
    No,
}

/// As pods resolve names: `X`, `X.svc`, `X.NAMESPACE`, `X.NAMESPACE.svc`, `X.NAMESPACE.svc.cluster.local`. A single label
/// that no Service can have for a name is one for DNS; so is `X.Y` unless Y is the policy's namespace.
pub fn in_cluster(host: &Host, namespace: &str) -> InCluster {
    let Host::Name(name) = host else {
        return InCluster::No;
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<_> = name.split('.').collect();
    let (service, of) = match labels.as_slice() {
        [service] | [service, "svc"] => (service, namespace),
        [service, of] if *of == namespace => (service, *of),
        [service, of, "svc"] | [service, of, "svc", "cluster", "local"] => (service, *of),
        _ => return InCluster::No,
    };
    if !is_label(service, 63, false) {
        InCluster::No
    } else if of == namespace {
        InCluster::Service((*service).to_owned())
    } else {
        InCluster::OtherNamespace
    }
}
