//! What was looked up for a policy: Secrets and Services that it names, and what the cluster is to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::cluster::Cluster;
use super::ids::{EndpointId, TargetId};
use super::login::{Login, SecretProblem, UnresolvedSecret};
use super::server::{ClientSettings, Location};

/// What was looked up for a policy. It is not changed after it was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    endpoints: BTreeMap<EndpointId, ResolvedEndpoint>,
    cluster: Cluster,
}

/// What was looked up for one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedEndpoint {
    /// Where it is; `None` while the Secret with its URL is missing or wrong. Of a Service: its name inside the
    /// cluster, which certificates are checked against.
    pub location: Option<Location>,
    /// The ready pods behind the Service that it names; `None`: it names a host.
    pub pods: Option<Pods>,
    /// How to log in; an error where a Secret is missing or wrong.
    pub login: Result<Arc<Login>, UnresolvedSecret>,
    /// What else is wrong with its Secrets, whether it can log in or not.
    pub further: Vec<UnresolvedSecret>,
    /// How clients connect to it.
    pub clients: ClientSettings,
}

/// The pods behind a Service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pods {
    /// The name of the Service, in the policy's namespace.
    pub service: String,
    /// Addresses and ports of those that are ready, in ascending order; or why they are not known.
    pub ready: Result<Vec<SocketAddr>, ServiceProblem>,
}

/// Why the pods behind a Service are not known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ServiceProblem {
    /// There is no Service of the name.
    #[error("does not exist")]
    NotFound,
    /// The Service has no port as the policy names it.
    #[error("has no such port")]
    PortMissing,
    /// The Service is of type ExternalName.
    #[error("is of type ExternalName and has no pods; name its host instead")]
    External,
    /// The API server did not tell.
    #[error("could not be read")]
    Unavailable,
}

impl Resolved {
    /// What was looked up, by endpoint and of the cluster.
    #[must_use]
    pub const fn new(endpoints: BTreeMap<EndpointId, ResolvedEndpoint>, cluster: Cluster) -> Self {
        Self { endpoints, cluster }
    }

    /// The cluster that the routes are written to.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What was looked up for an endpoint; `None`: the policy does not declare it.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<&ResolvedEndpoint> {
        self.endpoints.get(id)
    }

    /// Where an endpoint is; `None`: that is not known.
    #[must_use]
    pub fn location(&self, id: &EndpointId) -> Option<&Location> {
        self.endpoint(id)?.location.as_ref()
    }

    /// The targets of an endpoint: the one that follows its host, or one for each ready pod.
    #[must_use]
    pub fn targets(&self, id: &EndpointId) -> Vec<TargetId> {
        self.endpoint(id)
            .map(|endpoint| endpoint.targets(id))
            .unwrap_or_default()
    }

    /// Whether an endpoint is behind a Service.
    #[must_use]
    pub fn names_services(&self) -> bool {
        self.endpoints.values().any(|endpoint| endpoint.pods.is_some())
    }

    /// The endpoints whose user or password ends with a line break.
    #[must_use]
    pub fn with_line_ends(&self) -> Vec<&EndpointId> {
        let ends = |endpoint: &ResolvedEndpoint| {
            let login = endpoint.login.as_ref();
            login.is_ok_and(|login| login.without_line_ends().is_some())
        };
        let mut ids: Vec<_> = self
            .endpoints
            .iter()
            .filter(|(_, endpoint)| ends(endpoint))
            .map(|(id, _)| id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// What is wrong with Secrets, each problem once.
    #[must_use]
    pub fn problems(&self) -> BTreeSet<&UnresolvedSecret> {
        self.endpoints
            .values()
            .flat_map(ResolvedEndpoint::problems)
            .collect()
    }
}

impl ResolvedEndpoint {
    /// What is wrong with its Secrets.
    pub fn problems(&self) -> impl Iterator<Item = &UnresolvedSecret> {
        self.login.as_ref().err().into_iter().chain(&self.further)
    }

    /// Whether it names the server of an endpoint that is declared before it.
    #[must_use]
    pub const fn is_passed_over(&self) -> bool {
        self.same_as().is_some()
    }

    /// The endpoint that is declared before it and whose server it names, by its Secret.
    #[must_use]
    pub const fn same_as(&self) -> Option<&EndpointId> {
        match &self.login {
            Err(UnresolvedSecret {
                problem: SecretProblem::SameServer { first, .. },
                ..
            }) => Some(first),
            _ => None,
        }
    }

    /// Its targets: the one that follows its host, or one for each ready pod; none if it is passed over. `id`: its own.
    #[must_use]
    pub fn targets(&self, id: &EndpointId) -> Vec<TargetId> {
        if self.is_passed_over() {
            return Vec::new();
        }
        let target = |pod| TargetId {
            endpoint: id.clone(),
            pod,
        };
        match &self.pods {
            None => vec![target(None)],
            Some(pods) => pods
                .ready
                .iter()
                .flatten()
                .map(|pod| target(Some(pod.ip())))
                .collect(),
        }
    }

    /// The login to a server whose location is known.
    #[must_use]
    pub fn usable_login(&self) -> Option<&Arc<Login>> {
        self.login.as_ref().ok().filter(|_| self.location.is_some())
    }

    /// Where a target listens: its pod, or its host; `None`: that is not known.
    #[must_use]
    pub fn port(&self, target: &TargetId) -> Option<u16> {
        let pods = self.pods.as_ref().and_then(|pods| pods.ready.as_ref().ok());
        let pod = pods.and_then(|pods| pods.iter().find(|pod| Some(pod.ip()) == target.pod));
        let declared = self.location.as_ref().map(|location| location.port);
        pod.map(SocketAddr::port).or(declared)
    }
}

#[cfg(test)]
mod tests;
