//! From the wire types to a [`Policy`] that cannot be wrong; every message of a bad policy is made here.
//!
//! Pure. Admission checks most of it before; an object may also come from a file, or from an older schema. What is
//! wrong with a Secret is no fault of the policy: it becomes part of the endpoint's login.

mod endpoint;
mod host;
mod secrets;
mod services;
mod url;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::api::{self, DurationText, ReplicaSetPolicy, ReplicaSetPolicySpec, rules};
use crate::domain::cadence::SHORTEST_ATTEMPT;
use crate::domain::policy::{
    BreakerSettings, ClientSettings, Declared, Endpoint, EndpointId, Failover, IdentityRule, Mode,
    OnPrimaryLoss, Outputs, Percent, Policy, PolicyKey, PrimaryRole, Probing, ReadFallback, Strategy,
};

pub use secrets::{SecretKeys, Secrets, references};
pub use services::{ServicePort, Services, service_references};

/// The id of a primary that names none.
const PRIMARY_ID: &str = "primary";
const REPLICAS_AT_MOST: usize = 64;

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
    _services: &Services,
) -> Result<Policy, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &object.spec;
    let name = object.metadata.name.clone().unwrap_or_default();
    problems.require(is_label(&name, 40, true), "metadata.name", rules::NAME);
    let policy = Policy {
        key: PolicyKey::new(
            object.metadata.namespace.clone().unwrap_or_default(),
            name.clone(),
        ),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        mode: mode(spec.mode),
        retain: spec.deletion_policy == api::DeletionPolicy::Retain,
        endpoints: endpoints(spec, secrets, &mut problems),
        identity: IdentityRule::Learned,
        strategy: strategy(spec.load_balancing.strategy),
        probing: probing(&spec.health_check, &mut problems),
        breaker: breaker(&spec.circuit_breaker, &mut problems),
        failover: failover(spec),
        outputs: outputs(spec, &name, &mut problems),
        clients: clients(spec, &mut problems),
        check_request: None,
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

fn mode(mode: api::Mode) -> Mode {
    match mode {
        api::Mode::Enforce => Mode::Enforce,
        api::Mode::Observe => Mode::Observe,
        api::Mode::Suspend => Mode::Suspend,
    }
}

fn strategy(strategy: api::Strategy) -> Strategy {
    match strategy {
        api::Strategy::RoundRobin => Strategy::RoundRobin,
        api::Strategy::Weighted => Strategy::Weighted,
    }
}

fn failover(spec: &ReplicaSetPolicySpec) -> Failover {
    Failover {
        read_fallback: read_fallback(spec),
        primary_role: PrimaryRole::Follow,
        on_primary_loss: OnPrimaryLoss::Hold,
        accept_primary: None,
    }
}

/// Absent means the primary; an empty list means nobody.
fn read_fallback(spec: &ReplicaSetPolicySpec) -> Vec<ReadFallback> {
    match spec
        .failover
        .as_ref()
        .and_then(|failover| failover.read_fallback.as_ref())
    {
        None => vec![ReadFallback::Primary],
        Some(declared) => declared
            .iter()
            .map(|api::ReadFallback::Primary| ReadFallback::Primary)
            .collect(),
    }
}

fn endpoints(spec: &ReplicaSetPolicySpec, secrets: &Secrets, problems: &mut Problems) -> Vec<Endpoint> {
    problems.require(
        spec.replicas.len() <= REPLICAS_AT_MOST,
        "spec.replicas",
        rules::REPLICAS,
    );
    endpoint::connection_rules(spec.connection.as_ref(), "spec", problems);
    let mut endpoints = Vec::with_capacity(spec.replicas.len() + 1);
    let mut ids = BTreeSet::new();
    let primary_id = spec.primary.id.as_deref().unwrap_or(PRIMARY_ID);
    endpoints.push(endpoint::validate(
        &spec.primary,
        primary_id,
        Declared::Primary,
        "spec.primary",
        spec,
        secrets,
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
        endpoints.push(endpoint::validate(
            replica,
            id,
            Declared::Replica,
            &field,
            spec,
            secrets,
            problems,
        ));
    }
    require_distinct_servers(&endpoints, problems);
    endpoints
}

fn require_distinct_servers(endpoints: &[Endpoint], problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.is_watched()) {
        if let Some(location) = &endpoint.location {
            let server = (location.host.to_string().to_ascii_lowercase(), location.port);
            problems.require(
                seen.insert(server),
                format!("endpoint {}", endpoint.id),
                rules::SAME_SERVER,
            );
        }
    }
}

fn probing(declared: &api::HealthCheck, problems: &mut Problems) -> Probing {
    let (millis, secs) = (Duration::from_millis, Duration::from_secs);
    let mut field = |text, name: &str, bounds, rule| {
        duration(text, &format!("spec.healthCheck.{name}"), bounds, rule, problems)
    };
    Probing {
        interval: field(
            &declared.interval,
            "interval",
            (millis(100), secs(3600)),
            rules::INTERVAL,
        ),
        heartbeat: Some(secs(2)),
        timeout: field(
            &declared.timeout,
            "timeout",
            (millis(20), secs(60)),
            rules::TIMEOUT,
        ),
        failover_timeout: field(
            &declared.failover_timeout,
            "failoverTimeout",
            (millis(20), secs(600)),
            rules::FAILOVER_TIMEOUT,
        ),
    }
}

fn breaker(declared: &api::CircuitBreaker, problems: &mut Problems) -> BreakerSettings {
    let field = |name: &str| format!("spec.circuitBreaker.{name}");
    let half_open = &declared.half_open;
    let steps = &half_open.traffic_steps;
    let rising =
        steps.windows(2).all(|pair| pair[0] < pair[1]) && steps.iter().all(|step| (1..=100).contains(step));
    let threshold = (1..=100).contains(&declared.failure_threshold);
    problems.require(threshold, field("failureThreshold"), rules::FAILURE_THRESHOLD);
    let successes = (1..=100).contains(&half_open.success_threshold);
    problems.require(
        successes,
        field("halfOpen.successThreshold"),
        rules::SUCCESS_THRESHOLD,
    );
    let steps_hold = rising && (1..=8).contains(&steps.len());
    problems.require(steps_hold, field("halfOpen.trafficSteps"), rules::TRAFFIC_STEPS);
    let bounds = (Duration::from_millis(100), Duration::from_secs(3600));
    BreakerSettings {
        enabled: declared.state == api::Switch::Enabled,
        failure_threshold: declared.failure_threshold,
        reset_timeout: duration(
            &declared.reset_timeout,
            &field("resetTimeout"),
            bounds,
            rules::RESET_TIMEOUT,
            problems,
        ),
        max_reset_timeout: Duration::from_mins(10),
        success_threshold: half_open.success_threshold,
        traffic_steps: steps.iter().map(|step| Percent::new(*step)).collect(),
    }
}

fn outputs(spec: &ReplicaSetPolicySpec, name: &str, problems: &mut Problems) -> Outputs {
    let declared = spec.outputs.clone().unwrap_or_default();
    let services = declared.services.unwrap_or_default();
    let prefix = services.name_prefix.unwrap_or_else(|| name.to_owned());
    let config_map = declared
        .config_map
        .and_then(|config_map| config_map.name)
        .unwrap_or_else(|| format!("{name}-routing"));
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
        config_map,
    }
}

fn clients(spec: &ReplicaSetPolicySpec, problems: &mut Problems) -> ClientSettings {
    let connection = spec.connection.clone().unwrap_or_default();
    ClientSettings {
        database: connection
            .database
            .unwrap_or_else(|| endpoint::DATABASE.to_owned()),
        tls: endpoint::tls_mode(connection.tls.and_then(|tls| tls.mode).unwrap_or_default()),
        connect_timeout: connection
            .connect_timeout
            .map_or(endpoint::CONNECT_TIMEOUT, |text| {
                endpoint::connect_timeout(&text, "spec.connection", problems)
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
