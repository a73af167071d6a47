//! The ConfigMap `NAME-routing`: `routing.json` for clients that route by themselves, and connection URIs.
//!
//! The form of `routing.json` is `docs/schemas/routing.v1.json`; its version is [`VERSION`].

use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::formats::{env, jdbc, libpq};
use super::named::{self, Named, routes};
use super::{Kind, Manifest, ObjectId, labels, names, services};
use distributary_core::plan::{Member, RoutingPlan};
use distributary_core::policy::{BreakerSettings, ClientSettings, Endpoint, Format, Policy};
use distributary_core::routing::{Class, Region};

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
    let (all, declared) = (routes(policy, plan), &policy.routing);
    let priorities = declared.priorities.iter();
    let mut document = json!({
        "version": VERSION,
        "policy": {"namespace": policy.key.namespace, "name": policy.key.name},
        "strategy": policy.strategy,
        "connection": connection(&policy.clients),
        "retryAttempts": declared.retry_attempts,
        "circuitBreaker": breaker(&policy.breaker),
        "classes": declared.classes.iter().map(class).collect::<Vec<_>>(),
        "defaultRoute": "ro",
        "priorities": priorities.map(|(of, to)| (of.to_string(), json!(to))).collect::<Map<_, _>>(),
        "regions": declared.regions.iter().map(region).collect::<Vec<_>>(),
        "routes": all.iter().map(|named| (named.name.clone(), route(policy, named))).collect::<Map<_, _>>(),
        "endpoints": policy.endpoints.iter().map(|declared| endpoint(declared, &all)).collect::<Vec<_>>(),
    });
    let revision = hex(&Sha256::digest(document.to_string()));
    document["revision"] = json!(revision);
    Routing { document, revision }
}

pub fn render(policy: &Policy, plan: &RoutingPlan, routing: &Routing) -> Manifest {
    let mut data = Map::new();
    data.insert(ROUTING.to_owned(), json!(format!("{:#}\n", routing.document)));
    let formats = &policy.outputs.formats;
    // libpq takes a URI without a host for the local socket.
    for named in routes(policy, plan) {
        let Named { name, route, .. } = &named;
        if !is_told(policy, &named) || !route.members.iter().any(|member| member.in_slice) {
            continue;
        }
        if formats.contains(&Format::Libpq) {
            data.insert(format!("libpq-{name}"), json!(libpq::uri(policy, name, route)));
            data.insert(
                format!("libpq16-{name}"),
                json!(libpq::uri_of_16(policy, name, route)),
            );
        }
        if formats.contains(&Format::Jdbc) {
            data.insert(format!("jdbc-{name}"), json!(jdbc::uri(policy, name, route)));
        }
    }
    if formats.contains(&Format::Env) {
        data.extend(
            env::variables(policy, plan)
                .into_iter()
                .map(|(name, value)| (name, json!(value))),
        );
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

/// Whether a route has URIs of its own: all but those of classes that are built in and not declared.
fn is_told(policy: &Policy, named: &Named<'_>) -> bool {
    let mut classes = policy.routing.classes.iter();
    let class = classes.find(|class| class.name.as_str() == named.name);
    class.is_none_or(|class| class.declared)
}

fn breaker(settings: &BreakerSettings) -> Value {
    let steps = settings.traffic_steps.iter().map(|step| step.get());
    json!({
        "enabled": settings.enabled,
        "failureThreshold": settings.failure_threshold,
        "resetTimeoutMilliseconds": millis(settings.reset_timeout),
        "maxResetTimeoutMilliseconds": millis(settings.max_reset_timeout),
        "successThreshold": settings.success_threshold,
        "trafficSteps": steps.collect::<Vec<_>>(),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn class(class: &Class) -> Value {
    json!({
        "name": class.name.as_str(),
        "operations": class.operations,
        "target": class.target,
        "route": if class.has_route() { class.name.as_str() } else { "rw" },
    })
}

fn region(region: &Region) -> Value {
    json!({
        "name": region.name,
        "failover": region.failover,
        "route": named::of_region(&region.name),
    })
}

fn route(policy: &Policy, named: &Named<'_>) -> Value {
    let mut table = json!({
        "state": named.route.state,
        "targets": named.route.members.iter().map(member).collect::<Vec<_>>(),
    });
    if let Some(prefix) = policy.outputs.services.as_ref().filter(|_| named.service) {
        let service = names::service(prefix, &named.name);
        table["service"] = json!({"name": service, "port": services::PORT});
    }
    table
}

fn member(member: &Member) -> Value {
    json!({
        "endpoint": member.target.endpoint.as_str(),
        "address": member.address,
        "port": member.port,
        "weight": member.weight,
        "order": member.order,
        "admission": member.admission,
    })
}

fn endpoint(declared: &Endpoint, routes: &[Named<'_>]) -> Value {
    let mut endpoint = json!({
        "id": declared.id.as_str(),
        "declared": declared.declared,
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
    let serves = |named: &&Named<'_>| {
        let mut members = named.route.members.iter();
        members.any(|member| member.target.endpoint == declared.id)
    };
    let serving = routes.iter().filter(serves);
    endpoint["routes"] = json!(serving.map(|named| &named.name).collect::<Vec<_>>());
    endpoint
}

fn connection(clients: &ClientSettings) -> Value {
    json!({
        "database": clients.database,
        "sslmode": libpq::sslmode(clients.tls),
        "connectTimeoutSeconds": clients.connect_timeout.as_secs(),
    })
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
