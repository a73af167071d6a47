//! The Services that a policy names, as they were read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::resolve::endpoints;
use super::secrets::Secrets;
use super::{PolicySource, endpoint, url};
use distributary_core::resolved::ServiceProblem;

/// A Service of the policy's namespace, and one of its ports.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServicePort {
    pub service: String,
    /// As the Service declares it; its pods may listen on another one.
    pub port: u16,
}

/// Each Service that a policy names: where its ready pods listen, in ascending order, or why that is not known.
pub type Services = BTreeMap<ServicePort, Result<Vec<SocketAddr>, ServiceProblem>>;

/// The Services that a policy refers to: by `serviceRef`, by a host that is a name inside the cluster, or by the host
/// of a URL in a Secret.
#[must_use]
pub fn service_references<'a>(
    declared: impl Into<PolicySource<'a>>,
    secrets: &Secrets,
) -> BTreeSet<ServicePort> {
    let declared = declared.into();
    let named = |one: &crate::Endpoint| {
        let reference = one.url_secret_ref.as_ref();
        let url = reference.map(|reference| url::from_secret(reference, secrets, declared));
        let location = endpoint::resolved_location(one, url.as_ref(), declared)?;
        endpoint::service(&location, declared)
    };
    endpoints(declared).filter_map(named).collect()
}
