//! One declared server: its bounds, and where it is.

use std::net::IpAddr;

use super::host::{self, InCluster, is_routable};
use super::services::ServicePort;
use super::url::ServerUrl;
use super::{DeclaredRole, PolicySource, Problems, endpoint_id, is_label, is_word, lag, login, outputs};
use crate::{self as api, rules};
use distributary_core::ids::ClassName;
use distributary_core::login::UnresolvedSecret;
use distributary_core::policy::{DeclaredServer, Endpoint};
use distributary_core::server::{Host, Location};

const PORT: u16 = 5432;
const WEIGHT: u16 = 1;
const PRIORITY: u16 = 1;
/// That an endpoint is dedicated to.
const CLASSES_AT_MOST: usize = 16;

pub fn validate(
    declared: &api::Endpoint,
    (id, kind): (&str, DeclaredRole),
    field: &str,
    policy: PolicySource<'_>,
    problems: &mut Problems,
) -> Endpoint {
    let spec = policy.spec;
    bounds(declared, field, problems);
    words(declared, field, problems);
    login::connection_rules(declared.connection.as_ref(), field, problems);
    let location = || location(declared, field, policy, problems);
    let located = declared.url_secret_ref.is_none().then(location).flatten();
    // A URL, which names no server yet, also stands for an address that cannot be read.
    let server = located.map_or(DeclaredServer::Url, |location| server(location, policy));
    Endpoint {
        id: endpoint_id(id, kind, field, problems),
        declared: kind,
        display_name: declared.display_name.clone(),
        server,
        region: declared.region.clone(),
        zone: declared.zone.clone(),
        weight: declared.weight.unwrap_or(WEIGHT),
        priority: declared.priority.unwrap_or(PRIORITY),
        max_connections: declared
            .max_connections
            .unwrap_or(if kind == DeclaredRole::Primary { 20 } else { 15 }),
        state: declared.state.unwrap_or_default(),
        promotable: declared.promotable.unwrap_or(true),
        tags: declared.tags.clone(),
        dedicated_to: dedicated_to(declared, field, problems),
        lag: lag::of_endpoint(
            spec.replication_lag.as_ref(),
            declared.replication_lag.as_ref(),
            field,
            problems,
        ),
    }
}

fn bounds(declared: &api::Endpoint, field: &str, problems: &mut Problems) {
    let at = |name: &str| format!("{field}.{name}");
    let (by_service, by_url) = (&declared.service_ref, &declared.url_secret_ref);
    let ways = [declared.host.is_some(), by_service.is_some(), by_url.is_some()];
    let one = ways.into_iter().filter(|way| *way).count() == 1;
    problems.require(one, at("host"), rules::ADDRESS);
    let by_host = by_service.is_none() && by_url.is_none();
    problems.require(
        declared.port.is_none() || by_host,
        at("port"),
        rules::PORT_WITH_HOST,
    );
    if let Some(reference) = by_service {
        let name = is_label(&reference.name, 63, false);
        problems.require(name, at("serviceRef.name"), rules::SERVICE_NAME);
    }
    if let Some(reference) = by_url {
        login::secret_rules(
            &reference.name,
            Some(&reference.key),
            &at("urlSecretRef"),
            problems,
        );
    }
    problems.require(
        declared.priority.is_none_or(|priority| priority <= 1000),
        at("priority"),
        rules::PRIORITY,
    );
    let pool = declared.max_connections.is_none_or(|most| most <= 100_000);
    problems.require(pool, at("maxConnections"), rules::MAX_CONNECTIONS);
}

fn words(declared: &api::Endpoint, field: &str, problems: &mut Problems) {
    let region = declared.region.as_deref().is_none_or(is_word);
    problems.require(region, format!("{field}.region"), rules::REGION);
    let zone = declared.zone.as_deref().is_none_or(is_word);
    problems.require(zone, format!("{field}.zone"), rules::ZONE);
    let tags = declared.tags.iter().all(|tag| is_word(tag));
    problems.require(tags, format!("{field}.tags"), rules::TAGS);
}

/// The classes that it is dedicated to; that they are known, and named once, the policy upholds.
fn dedicated_to(declared: &api::Endpoint, field: &str, problems: &mut Problems) -> Vec<ClassName> {
    let classes = &declared.dedicated_to;
    problems.require(
        classes.len() <= CLASSES_AT_MOST,
        format!("{field}.dedicatedTo"),
        rules::DEDICATED_TO,
    );
    classes.iter().map(|class| class.as_str().into()).collect()
}

/// Where a server is that its `host` or `serviceRef` names.
fn location(
    declared: &api::Endpoint,
    field: &str,
    policy: PolicySource<'_>,
    problems: &mut Problems,
) -> Option<Location> {
    if let Some(reference) = &declared.service_ref {
        problems.require(
            !outputs::is_own_service(policy, &reference.name),
            format!("{field}.serviceRef.name"),
            rules::OWN_SERVICE,
        );
        return Some(of_service(reference, policy.namespace));
    }
    let field = format!("{field}.host");
    // The API server takes an IPv4 address mapped into IPv6 for no address.
    let mapped = |host: &Host| matches!(host, Host::Address(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some());
    let written = declared.host.as_deref()?;
    let host = host::host(written).filter(|host| !mapped(host));
    let form = if written.contains("://") {
        rules::HOST_URL
    } else {
        rules::HOST_FORM
    };
    problems.require(host.is_some(), field.clone(), form);
    let host = host?;
    problems.require(is_routable(&host), field.clone(), rules::HOST);
    let (elsewhere, own) = match policy.in_cluster(&host) {
        InCluster::OtherNamespace => (true, false),
        InCluster::Service(service) => (false, outputs::is_own_service(policy, &service)),
        InCluster::No => (false, false),
    };
    problems.require(!elsewhere, field.clone(), rules::OTHER_NAMESPACE);
    problems.require(!own, field, rules::OWN_SERVICE);
    Some(Location {
        host,
        port: declared.port.unwrap_or(PORT),
    })
}

/// The name of the Service inside the cluster, which certificates are checked against.
fn of_service(reference: &api::ServiceRef, namespace: &str) -> Location {
    Location {
        host: Host::Name(format!("{}.{namespace}.svc", reference.name)),
        port: reference.port.unwrap_or(PORT),
    }
}

fn server(location: Location, policy: PolicySource<'_>) -> DeclaredServer {
    match service(&location, policy) {
        Some(ServicePort { service, .. }) => DeclaredServer::Service { service, location },
        None => DeclaredServer::Host(location),
    }
}

/// The Service that a location names, if it does.
pub fn service(location: &Location, policy: PolicySource<'_>) -> Option<ServicePort> {
    match policy.in_cluster(&location.host) {
        InCluster::Service(service) => Some(ServicePort {
            service,
            port: location.port,
        }),
        InCluster::OtherNamespace | InCluster::No => None,
    }
}

/// Where an endpoint is: by its `serviceRef`, its host, or the URL in a Secret, which has its own problems.
pub fn resolved_location(
    declared: &api::Endpoint,
    url: Option<&Result<ServerUrl, UnresolvedSecret>>,
    policy: PolicySource<'_>,
) -> Option<Location> {
    match url {
        Some(url) => url.as_ref().ok().map(|url| url.location.clone()),
        None => location(declared, "", policy, &mut Problems::default()),
    }
}
