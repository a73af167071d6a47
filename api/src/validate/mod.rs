//! From the wire types to a [`Policy`] that cannot be wrong; every message of a bad policy is made here.
//!
//! Pure. Admission checks most of it before; an object may also come from a file, or from an older schema. What is
//! wrong with a Secret or a Service is no fault of the policy: it becomes part of the endpoint.

mod endpoint;
mod failover;
mod host;
mod lag;
mod login;
mod routing;
mod secrets;
mod services;
mod settings;
pub mod structure;
mod url;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::{self as api, DurationText, ReplicaSetPolicy, ReplicaSetPolicySpec, rules};
use distributary_core::cadence::SHORTEST_ATTEMPT;
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::policy::{ClientSettings, Declared, Endpoint, Format, Outputs, Policy};

pub use secrets::{SecretKeys, Secrets, references};
pub use services::{ServicePort, Services, service_references};

/// The id of a primary that names none.
const PRIMARY_ID: &str = "primary";
const REPLICAS_AT_MOST: usize = 64;
/// What counts of the annotation that asks for a check.
const CHECK_REQUEST_CHARACTERS: usize = 64;

/// A rule that does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The field, as a path from the root of the object.
    pub field: String,
    /// What must hold: one of [`rules`].
    pub rule: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.rule)
    }
}

/// The problems of a policy, in the order of its fields.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn require(&mut self, holds: bool, field: impl Into<String>, rule: &'static str) {
        if !holds {
            self.0.push(Problem {
                field: field.into(),
                rule,
            });
        }
    }
}

/// The validated policy.
///
/// # Errors
/// Every rule that does not hold, each with its field.
pub fn policy(
    object: &ReplicaSetPolicy,
    secrets: &Secrets,
    services: &Services,
) -> Result<Policy, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &object.spec;
    let name = object.metadata.name.clone().unwrap_or_default();
    problems.require(is_label(&name, 40, true), "metadata.name", rules::NAME);
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let given = Given {
        namespace: &namespace,
        spec,
        secrets,
        services,
    };
    let endpoints = endpoints(&given, &mut problems);
    let policy = Policy {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        mode: spec.mode,
        retain: spec.deletion_policy == api::DeletionPolicy::Retain,
        identity: failover::identity(spec, &mut problems),
        strategy: spec.load_balancing.strategy,
        routing: routing::routing(spec, &endpoints, &mut problems),
        probing: settings::probing(&spec.health_check, &mut problems),
        breaker: settings::breaker(&spec.circuit_breaker, &mut problems),
        failover: failover::failover(spec, &mut problems),
        outputs: outputs(spec, &name, &mut problems),
        clients: clients(spec, &mut problems),
        check_request: check_request(object),
        key: PolicyKey::new(namespace.clone(), name.clone()),
        endpoints,
    };
    let shortest = SHORTEST_ATTEMPT * policy.breaker.failure_threshold;
    problems.require(
        policy.probing.failover_timeout >= shortest,
        "spec.healthCheck.failoverTimeout",
        rules::ATTEMPT,
    );
    if problems.0.is_empty() {
        Ok(policy)
    } else {
        Err(problems.0)
    }
}

/// What the policy and its endpoints are made from.
struct Given<'a> {
    namespace: &'a str,
    spec: &'a ReplicaSetPolicySpec,
    secrets: &'a Secrets,
    services: &'a Services,
}

/// The annotation may be of any length: its beginning counts.
fn check_request(object: &ReplicaSetPolicy) -> Option<String> {
    let asked = object
        .metadata
        .annotations
        .as_ref()?
        .get(api::CHECK_REQUESTED_AT)?;
    let counted: String = asked.chars().take(CHECK_REQUEST_CHARACTERS).collect();
    Some(counted).filter(|counted| !counted.is_empty())
}

fn endpoints(given: &Given, problems: &mut Problems) -> Vec<Endpoint> {
    let spec = given.spec;
    problems.require(
        spec.replicas.len() <= REPLICAS_AT_MOST,
        "spec.replicas",
        rules::REPLICAS,
    );
    login::connection_rules(spec.connection.as_ref(), "spec", problems);
    lag::of_policy(spec.replication_lag.as_ref(), problems);
    let mut endpoints = Vec::with_capacity(spec.replicas.len() + 1);
    let mut ids = BTreeSet::new();
    let primary_id = spec.primary.id.as_deref().unwrap_or(PRIMARY_ID);
    endpoints.push(endpoint::validate(
        &spec.primary,
        (primary_id, Declared::Primary),
        "spec.primary",
        given,
        problems,
    ));
    for (at, replica) in spec.replicas.iter().enumerate() {
        let field = format!("spec.replicas[{at}]");
        let id = replica.id.as_deref().unwrap_or_default();
        problems.require(id != primary_id, "spec.primary.id", rules::PRIMARY_ID);
        problems.require(
            !id.is_empty() && ids.insert(id),
            format!("{field}.id"),
            rules::ID_ONCE,
        );
        let declared = (id, Declared::Replica);
        endpoints.push(endpoint::validate(replica, declared, &field, given, problems));
    }
    require_distinct_servers(&endpoints, problems);
    endpoints
}

/// A host and port, or a Service and port, is one server.
fn require_distinct_servers(endpoints: &[Endpoint], problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.is_watched()) {
        let Some(location) = &endpoint.location else {
            continue;
        };
        let server = match &endpoint.pods {
            Some(pods) => (true, pods.service.clone(), location.port),
            None => (false, host::key(&location.host), location.port),
        };
        problems.require(
            seen.insert(server),
            format!("endpoint {}", endpoint.id),
            rules::SAME_SERVER,
        );
    }
}

fn outputs(spec: &ReplicaSetPolicySpec, name: &str, problems: &mut Problems) -> Outputs {
    let declared = spec.outputs.clone().unwrap_or_default();
    let services = declared.services.unwrap_or_default();
    let prefix = services.name_prefix.unwrap_or_else(|| name.to_owned());
    let config_map = declared.config_map.unwrap_or_default();
    let formats = formats(config_map.formats.as_deref(), problems);
    let config_map = config_map.name.unwrap_or_else(|| format!("{name}-routing"));
    problems.require(
        is_label(&prefix, 40, true),
        "spec.outputs.services.namePrefix",
        rules::NAME_PREFIX,
    );
    problems.require(
        is_subdomain(&config_map),
        "spec.outputs.configMap.name",
        rules::CONFIG_MAP_NAME,
    );
    Outputs {
        services: (services.state == api::Switch::Enabled).then_some(prefix),
        per_class: services.per_class == api::Switch::Enabled,
        per_region: services.per_region == api::PerRegion::Auto,
        config_map,
        formats,
    }
}

/// Absent means libpq alone.
fn formats(declared: Option<&[Format]>, problems: &mut Problems) -> Vec<Format> {
    let Some(declared) = declared else {
        return vec![Format::Libpq];
    };
    let once: BTreeSet<_> = declared.iter().copied().collect();
    problems.require(
        once.len() == declared.len(),
        "spec.outputs.configMap.formats",
        rules::FORMATS,
    );
    once.into_iter().collect()
}

fn clients(spec: &ReplicaSetPolicySpec, problems: &mut Problems) -> ClientSettings {
    let connection = spec.connection.clone().unwrap_or_default();
    ClientSettings {
        database: connection.database.unwrap_or_else(|| login::DATABASE.to_owned()),
        tls: connection.tls.and_then(|tls| tls.mode).unwrap_or_default(),
        connect_timeout: connection.connect_timeout.map_or(login::CONNECT_TIMEOUT, |text| {
            login::connect_timeout(&text, "spec.connection", problems)
        }),
    }
}

/// The length of `text`; where it is no duration or out of bounds, a problem.
fn duration(
    text: &DurationText,
    field: &str,
    (least, most): (Duration, Duration),
    rule: &'static str,
    problems: &mut Problems,
) -> Duration {
    let length = text.parse();
    problems.require(
        length.is_some_and(|length| (least..=most).contains(&length)),
        field,
        rule,
    );
    length.unwrap_or(least)
}

/// DNS-1035 where it must begin with a letter, else DNS-1123.
fn is_label(text: &str, most: usize, letter_first: bool) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || (!letter_first && c.is_ascii_digit()));
    first && text.len() <= most && text.chars().all(inner) && !text.ends_with('-')
}

/// Letters, digits, `-`, `_` and `.`, at most 63, as in a label's value.
fn is_word(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63 && text.chars().all(inner) && ends(text.chars().next()) && ends(text.chars().last())
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_label(label, 253, false))
}

/// The id of an endpoint, for messages and keys.
fn endpoint_id(id: &str, field: &str, problems: &mut Problems) -> EndpointId {
    problems.require(is_label(id, 40, false), format!("{field}.id"), rules::ID_FORM);
    EndpointId::from(id)
}

#[cfg(test)]
mod tests;
