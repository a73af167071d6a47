//! The Services that a policy names, as they were read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Given;
use super::endpoint::declared_service;
use super::secrets::Secrets;
use crate::ReplicaSetPolicy;
use distributary_core::policy::ServiceProblem;

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
pub fn service_references(object: &ReplicaSetPolicy, secrets: &Secrets) -> BTreeSet<ServicePort> {
    let given = Given {
        namespace: object.metadata.namespace.as_deref().unwrap_or_default(),
        spec: &object.spec,
        secrets,
        services: &Services::new(),
    };
    let endpoints = std::iter::once(&object.spec.primary).chain(&object.spec.replicas);
    endpoints
        .filter_map(|endpoint| declared_service(endpoint, &given))
        .collect()
}
