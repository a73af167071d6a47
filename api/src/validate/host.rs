//! Hosts as people write them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::is_label;
use distributary_core::address::may_be_a_server;
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

/// Whether a server may be there, as far as the host tells.
pub fn is_routable(host: &Host) -> bool {
    match host {
        Host::Name(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name != "localhost" && !name.ends_with(".localhost")
        }
        Host::Address(address) => may_be_a_server(*address),
    }
}

/// How names of the cluster end, and whose a policy may use beside those of its own namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterNames {
    domains: Vec<String>,
    namespaces: BTreeSet<String>,
}

impl ClusterNames {
    /// The domain that nearly every cluster has. A cluster of another one may answer for it, too.
    pub const DOMAIN: &str = "cluster.local";

    /// The domain of Services that clusters share (KEP-1645).
    const SHARED: &str = "clusterset.local";

    /// Of a cluster with this domain, where the Services of these namespaces may be named.
    #[must_use]
    pub fn new(domain: &str, namespaces: impl IntoIterator<Item = String>) -> Self {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        Self {
            domains: vec![domain, Self::DOMAIN.to_owned()],
            namespaces: namespaces.into_iter().collect(),
        }
    }

    /// Those whose names every policy may use.
    #[must_use]
    pub const fn namespaces(&self) -> &BTreeSet<String> {
        &self.namespaces
    }

    fn allow(&self, of: &str, namespace: &str) -> bool {
        of == namespace || self.namespaces.contains(of)
    }
}

/// Of the usual domain, and no namespace but the policy's own.
impl Default for ClusterNames {
    fn default() -> Self {
        Self::new(Self::DOMAIN, [])
    }
}

/// What a host means inside the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InCluster {
    /// The Service of this name, in the policy's namespace.
    Service(String),
    /// A name of another namespace, which the policy may not use.
    OtherNamespace,
    /// No Service: an address, a name outside, that of a single pod, or of a namespace that is allowed.
    No,
}

/// As pods resolve names: `X`, `X.svc`, `X.NAMESPACE`, `X.NAMESPACE.svc`, `X.NAMESPACE.svc.DOMAIN`; with more labels before them they
/// are those of a pod. A single label that no Service can have for a name is one for DNS; so is `X.Y` unless Y is the policy's namespace.
pub fn in_cluster(host: &Host, namespace: &str, names: &ClusterNames) -> InCluster {
    let Host::Name(name) = host else {
        return InCluster::No;
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let within = |domain: &str| name.strip_suffix(domain)?.strip_suffix('.');
    let shared = within(ClusterNames::SHARED);
    let inside = names.domains.iter().find_map(|domain| within(domain)).or(shared);
    let labels: Vec<_> = inside.unwrap_or(&name).split('.').collect();
    let (service, of) = match labels.as_slice() {
        [service] | [service, "svc"] if inside.is_none() => (*service, namespace),
        [service, of] if inside.is_none() && *of == namespace => (*service, *of),
        [service, of, "svc"] if shared.is_none() => (*service, *of),
        // Of a pod, or of several clusters: no Service, and in a namespace all the same.
        [.., of, "svc" | "pod"] if labels.len() > 2 => ("", *of),
        _ => return InCluster::No,
    };
    if !names.allow(of, namespace) {
        InCluster::OtherNamespace
    } else if of == namespace && is_label(service, 63, false) {
        InCluster::Service(service.to_owned())
    } else {
        InCluster::No
    }
}
