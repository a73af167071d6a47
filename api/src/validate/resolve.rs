//! From what a policy names, as it was read, to what is known of each endpoint.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::secrets::{LoginSources, Secrets};
use super::services::{ServicePort, Services};
use super::{PRIMARY_ID, PolicySource, endpoint, login, url};
use crate as api;
use distributary_core::ids::EndpointId;
use distributary_core::login::{Login, SecretProblem, Sensitive, UnresolvedSecret};
use distributary_core::resolved::{Pods, ResolvedEndpoint, ServiceProblem};
use distributary_core::server::ServerKey;

/// What was looked up for each endpoint, by its id.
///
/// What Secrets say can make no policy invalid: of two endpoints that name one server by them, the one that is declared
/// later is passed over.
#[must_use]
pub fn resolve<'a>(
    declared: impl Into<PolicySource<'a>>,
    secrets: &Secrets,
    services: &Services,
) -> BTreeMap<EndpointId, ResolvedEndpoint> {
    resolve_with(declared, secrets, services, LoginSources::default())
}

/// The same, with what a login is made of beside the Secrets.
#[must_use]
pub fn resolve_with<'a>(
    declared: impl Into<PolicySource<'a>>,
    secrets: &Secrets,
    services: &Services,
    sources: LoginSources<'_>,
) -> BTreeMap<EndpointId, ResolvedEndpoint> {
    all(declared.into(), secrets, services, sources)
}

fn all(
    declared: PolicySource<'_>,
    secrets: &Secrets,
    services: &Services,
    sources: LoginSources<'_>,
) -> BTreeMap<EndpointId, ResolvedEndpoint> {
    let (mut all, mut servers) = (BTreeMap::new(), BTreeMap::new());
    let mut shared = SharedTexts::default();
    for endpoint in endpoints(declared) {
        let id = EndpointId::from(endpoint.id.as_deref().unwrap_or(PRIMARY_ID));
        let mut resolved = one(endpoint, declared, (secrets, services), sources);
        if let Some(login) = resolved.login.as_mut().ok().and_then(Arc::get_mut) {
            shared.take(login);
        }
        let watched = endpoint.state != Some(api::EndpointState::Disabled);
        if let Some(server) = server_of(&resolved).filter(|_| watched) {
            match servers.entry(server) {
                Entry::Vacant(first) => {
                    first.insert((id.clone(), secret_of(endpoint)));
                }
                Entry::Occupied(first) => {
                    let (first, secret) = first.get();
                    if let Some(secret) = secret_of(endpoint).or(*secret) {
                        resolved.login = Err(same_server(secret, first, &id));
                    }
                }
            }
        }
        all.insert(id, resolved);
    }
    all
}

/// Certificates and keys may be long, and all endpoints of a policy may name the same: they are kept once.
#[derive(Default)]
struct SharedTexts {
    certificates: Vec<Arc<str>>,
    keys: Vec<Sensitive>,
}

impl SharedTexts {
    fn take(&mut self, login: &mut Login) {
        if let Some(ca) = &mut login.tls.ca {
            once(ca, &mut self.certificates);
        }
        if let Some(client) = &mut login.tls.client {
            once(&mut client.chain, &mut self.certificates);
            once(&mut client.key, &mut self.keys);
        }
    }
}

/// A text that is known already takes the place of one that is the same.
fn once<T: Clone + PartialEq>(text: &mut T, known: &mut Vec<T>) {
    let same = known.iter().find(|known| **known == *text).cloned();
    match same {
        Some(same) => *text = same,
        None => known.push(text.clone()),
    }
}

/// The Secret that says where an endpoint is. Of two that name one server without it the policy is invalid.
fn secret_of(endpoint: &api::Endpoint) -> Option<&str> {
    Some(&endpoint.url_secret_ref.as_ref()?.name)
}

fn same_server(secret: &str, first: &EndpointId, second: &EndpointId) -> UnresolvedSecret {
    UnresolvedSecret {
        secret: secret.to_owned(),
        problem: SecretProblem::SameServer {
            first: first.clone(),
            second: second.clone(),
        },
    }
}

pub fn endpoints(declared: PolicySource<'_>) -> impl Iterator<Item = &api::Endpoint> {
    std::iter::once(&declared.spec.primary).chain(&declared.spec.replicas)
}

fn one(
    endpoint: &api::Endpoint,
    declared: PolicySource<'_>,
    (secrets, services): (&Secrets, &Services),
    sources: LoginSources<'_>,
) -> ResolvedEndpoint {
    let policys = declared.spec.connection.as_ref();
    let connection = login::merged(policys, endpoint.connection.as_ref());
    let url = endpoint
        .url_secret_ref
        .as_ref()
        .map(|reference| url::from_secret(reference, secrets, declared));
    let location = endpoint::resolved_location(endpoint, url.as_ref(), declared);
    let service = location
        .as_ref()
        .and_then(|location| endpoint::service(location, declared));
    let clients = login::clients(&connection, url.as_ref().and_then(|url| url.as_ref().ok()));
    let (login, further) = login::login(&connection, url, secrets, (sources, location.as_ref()));
    ResolvedEndpoint {
        pods: service.map(|service| pods(service, services)),
        clients,
        login: login.map(Arc::new),
        further,
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
