//! From what a policy names, as it was read, to what is known of each endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::secrets::{PasswordSource, Secrets};
use super::services::{ServicePort, Services};
use super::{PRIMARY_ID, PolicySource, Problem, endpoint, login, url};
use crate::{self as api, rules};
use distributary_core::ids::EndpointId;
use distributary_core::resolved::{Pods, ResolvedEndpoint, ServiceProblem};
use distributary_core::server::ServerKey;

/// What was looked up for each endpoint, by its id.
///
/// # Errors
/// Two endpoints whose URLs name one server.
pub fn resolve<'a>(
    declared: impl Into<PolicySource<'a>>,
    secrets: &Secrets,
    services: &Services,
) -> Result<BTreeMap<EndpointId, ResolvedEndpoint>, Vec<Problem>> {
    all(declared.into(), secrets, services, None)
}

/// The same; a password that no Secret has comes from `passwords`.
///
/// # Errors
/// Two endpoints whose URLs name one server.
pub fn resolve_with<'a>(
    declared: impl Into<PolicySource<'a>>,
    secrets: &Secrets,
    services: &Services,
    passwords: &dyn PasswordSource,
) -> Result<BTreeMap<EndpointId, ResolvedEndpoint>, Vec<Problem>> {
    all(declared.into(), secrets, services, Some(passwords))
}

fn all(
    declared: PolicySource<'_>,
    secrets: &Secrets,
    services: &Services,
    passwords: Option<&dyn PasswordSource>,
) -> Result<BTreeMap<EndpointId, ResolvedEndpoint>, Vec<Problem>> {
    let (mut all, mut servers, mut problems) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for endpoint in endpoints(declared) {
        let id = EndpointId::from(endpoint.id.as_deref().unwrap_or(PRIMARY_ID));
        let resolved = one(endpoint, declared, (secrets, services), passwords);
        let watched = endpoint.state != Some(api::EndpointState::Disabled);
        let server = server_of(&resolved).filter(|_| watched);
        if server.is_some_and(|server| !servers.insert(server)) {
            problems.push(Problem {
                field: format!("endpoint {id}"),
                rule: rules::SAME_SERVER,
            });
        }
        all.insert(id, resolved);
    }
    if problems.is_empty() {
        Ok(all)
    } else {
        Err(problems)
    }
}

pub fn endpoints(declared: PolicySource<'_>) -> impl Iterator<Item = &api::Endpoint> {
    std::iter::once(&declared.spec.primary).chain(&declared.spec.replicas)
}

fn one(
    endpoint: &api::Endpoint,
    declared: PolicySource<'_>,
    (secrets, services): (&Secrets, &Services),
    passwords: Option<&dyn PasswordSource>,
) -> ResolvedEndpoint {
    let (namespace, policys) = (declared.namespace, declared.spec.connection.as_ref());
    let connection = login::merged(policys, endpoint.connection.as_ref());
    let url = endpoint
        .url_secret_ref
        .as_ref()
        .map(|reference| url::from_secret(reference, secrets, namespace));
    let location = endpoint::resolved_location(endpoint, url.as_ref(), namespace);
    let service = location
        .as_ref()
        .and_then(|location| endpoint::service(location, namespace));
    ResolvedEndpoint {
        pods: service.map(|service| pods(service, services)),
        clients: login::clients(&connection, url.as_ref().and_then(|url| url.as_ref().ok())),
        login: login::login(&connection, url, secrets, (passwords, location.as_ref())).map(Arc::new),
        location,
    }
}

fn pods(named: ServicePort, services: &Services) -> Pods {
    let ready = services.get(&named).cloned();
    Pods {
        ready: ready.unwrap_or(Err(ServiceProblem::Unavailable)),
        service: named.service,
    }
}

fn server_of(resolved: &ResolvedEndpoint) -> Option<ServerKey> {
    let location = resolved.location.as_ref()?;
    Some(match &resolved.pods {
        Some(pods) => ServerKey::of_service(&pods.service, location.port),
        None => ServerKey::of_host(location),
    })
}
