//! Whether a target is what the policy takes it for: role and identity, on top of its health.

use super::health::{Health, Reason, Standing};
use super::observation::Role;
use super::plan::Judgement;
use super::policy::{BreakerSettings, Declared, Endpoint, EndpointState};

/// The system identifier that the replicas must share: what the declared primary shows while it takes writes.
#[must_use]
pub fn identity(endpoint: &Endpoint, health: &Health) -> Option<u64> {
    let proven = endpoint.declared == Declared::Primary && health.role == Some(Role::Primary);
    health.system_identifier.filter(|_| proven)
}

/// The judgement of an endpoint. `identity`: the system identifier of the primary, where it is known.
#[must_use]
pub fn judge(
    endpoint: &Endpoint,
    health: Option<&Health>,
    identity: Option<u64>,
    breaker: &BreakerSettings,
) -> Judgement {
    let unwatched = Health::default();
    let known = health.unwrap_or(&unwatched);
    let (standing, reason) = match known.judge(breaker) {
        _ if endpoint.state != EndpointState::Active => (Standing::Wrong, Reason::Disabled),
        verdict if known.role.is_none() || verdict.0 == Standing::Wrong => verdict,
        _ if mismatch(known, identity) => (Standing::Wrong, Reason::IdentityMismatch),
        verdict => fit(endpoint, known, verdict),
    };
    Judgement {
        endpoint: endpoint.id.clone(),
        location: endpoint.location.clone(),
        address: known.address,
        role: known.role,
        circuit: known.circuit,
        standing,
        reason,
        failure: known.failure,
    }
}

fn mismatch(health: &Health, identity: Option<u64>) -> bool {
    matches!((identity, health.system_identifier), (Some(expected), Some(shown)) if expected != shown)
}

fn fit(endpoint: &Endpoint, health: &Health, verdict: (Standing, Reason)) -> (Standing, Reason) {
    match (endpoint.declared, health.role, verdict.1) {
        (Declared::Replica, Some(Role::Primary), _) => (Standing::Wrong, Reason::WritableReplica),
        (Declared::Primary, Some(Role::Standby), Reason::Serving) => (verdict.0, Reason::PrimaryInRecovery),
        (Declared::Replica, _, Reason::Serving) if endpoint.weight == 0 => (verdict.0, Reason::WeightZero),
        _ => verdict,
    }
}
