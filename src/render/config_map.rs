//! The ConfigMap `NAME-routing`: `routing.json` for clients that route by themselves, and connection URIs.
//!
//! The form of `routing.json` is `docs/schemas/routing.v1.json`; its version is [`VERSION`].

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::formats::libpq;
use super::{Kind, Manifest, ObjectId, labels, names, routes, services};
use crate::domain::plan::{Admission, Member, Route, RouteState, RoutingPlan};
use crate::domain::policy::{ClientSettings, Declared, Endpoint, Policy, Strategy};

/// The version of `routing.json`. A change that breaks a reader takes a new one.
pub const VERSION: &str = "routing.distributary.dev/v1";
pub const ROUTING: &str = "routing.json";

/// `routing.json`, and the revision that it carries.
pub struct Routing {
    pub document: Value,
    pub revision: String,
}

/// Tells the plan. The revision is a hash of all the rest, so it changes if and only if something else does.
pub fn routing(policy: &Policy, plan: &RoutingPlan) -> Routing {
    let mut document = json!({
        "version": VERSION,
        "policy": {"namespace": policy.key.namespace, "name": policy.key.name},
        "strategy": strategy(policy.strategy),
        "connection": connection(&policy.clients),
        "routes": routes(plan).into_iter().map(|(name, table)| (name.to_owned(), route(policy, name, table))).collect::<Map<_, _>>(),
        "endpoints": policy.endpoints.iter().map(|declared| endpoint(declared, plan)).collect::<Vec<_>>(),
    });
    let revision = hex(&Sha256::digest(document.to_string()));
    document["revision"] = json!(revision);
    Routing { document, revision }
}

pub fn render(policy: &Policy, plan: &RoutingPlan, routing: &Routing) -> Manifest {
    let mut data = Map::new();
    data.insert(ROUTING.to_owned(), json!(format!("{:#}\n", routing.document)));
    // libpq takes a URI without a host for the local socket.
    for (name, route) in routes(plan)
        .into_iter()
        .filter(|(_, route)| !route.members.is_empty())
    {
        data.insert(format!("libpq-{name}"), json!(libpq::uri(policy, name, route)));
    }
    let keys = data.keys().cloned().collect::<Vec<_>>().join(",");
    let (kind, name) = (Kind::ConfigMap, policy.outputs.config_map.clone());
    let metadata = labels::metadata(policy, &name, &[], &[(labels::KEYS, &keys)]);
    let body =
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata, "data": data});
    Manifest {
        id: ObjectId { kind, name },
        body,
    }
}

fn route(policy: &Policy, name: &str, route: &Route) -> Value {
    let mut table = json!({
        "state": state(route.state),
        "targets": route.members.iter().map(target).collect::<Vec<_>>(),
    });
    if let Some(prefix) = &policy.outputs.services {
        let service = names::service(prefix, name);
        table["service"] = json!({"name": service, "port": services::PORT});
    }
    table
}

fn target(member: &Member) -> Value {
    json!({
        "endpoint": member.target.endpoint.as_str(),
        "address": member.address,
        "port": member.port,
        "weight": member.weight,
        "admission": admission(member.admission),
    })
}

/// The word for the ground on which a target is in a route.
pub(crate) const fn admission(admission: Admission) -> &'static str {
    match admission {
        Admission::Eligible => "Eligible",
        Admission::Early => "AdmittedEarly",
        Admission::Fallback => "Fallback",
        Admission::Held => "Held",
    }
}

fn endpoint(declared: &Endpoint, plan: &RoutingPlan) -> Value {
    let mut endpoint = json!({
        "id": declared.id.as_str(),
        "declared": match declared.declared { Declared::Primary => "Primary", Declared::Replica => "Replica" },
        "active": declared.is_watched(),
        "weight": declared.weight,
        "priority": declared.priority,
        "maxConnections": declared.max_connections,
        "tags": declared.tags,
        "connection": connection(&declared.clients),
    });
    let location = declared.location.as_ref();
    let optional = [
        (
            "displayName",
            declared.display_name.as_ref().map(|text| json!(text)),
        ),
        ("host", location.map(|location| json!(location.host.to_string()))),
        ("port", location.map(|location| json!(location.port))),
        ("region", declared.region.as_ref().map(|text| json!(text))),
        ("zone", declared.zone.as_ref().map(|text| json!(text))),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            endpoint[key] = value;
        }
    }
    let serves = |(_, route): &(&str, &Route)| {
        let mut members = route.members.iter();
        members.any(|member| member.target.endpoint == declared.id)
    };
    let serving = routes(plan).into_iter().filter(serves);
    endpoint["routes"] = json!(serving.map(|(name, _)| name).collect::<Vec<_>>());
    endpoint
}

fn connection(clients: &ClientSettings) -> Value {
    json!({
        "database": clients.database,
        "sslmode": libpq::sslmode(clients.tls),
        "connectTimeoutSeconds": clients.connect_timeout.as_secs(),
    })
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::RoundRobin => "RoundRobin",
        Strategy::Weighted => "Weighted",
    }
}

/// The word for the state of a route.
pub(crate) const fn state(state: RouteState) -> &'static str {
    match state {
        RouteState::Served => "Served",
        RouteState::Fallback => "Fallback",
        RouteState::Held => "Held",
        RouteState::Empty => "Empty",
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
