//! What a check of seconds does not settle, and what only a person settles: who takes the writes, and which database it is.

use std::collections::BTreeMap;

use super::Figures;
use distributary_api::notation;
use distributary_core::decision::{Decision, RouteDecision};
use distributary_core::observation::{FailureClass, Role};
use distributary_core::plan::RouteState;
use distributary_core::policy::{DeclaredRole, Policy, PrimaryRole};

/// The operator waits for a declared primary that is dead for so many times `failoverTimeout`.
const PATIENCE: u32 = 3;

/// Whether more checks may prove that the others, the declared primary among them, follow the only server that takes writes.
pub fn first_holder_may_come(decided: &RouteDecision, figures: &BTreeMap<String, Figures>) -> bool {
    let of = |role| figures.values().filter(move |figures| figures.role == Some(role));
    decided.plan.rw.state == RouteState::Empty
        && decided.changed.is_none()
        && of(Role::Primary).count() == 1
        && of(Role::Standby).next().is_some()
        && figures.values().all(|figures| figures.role.is_some())
}

/// Why routes lead nowhere, and what settles that; `None`: nothing but what is told of each server.
pub fn of(decision: &Decision, figures: &BTreeMap<String, Figures>) -> Option<String> {
    let decided = decision.state.decided()?;
    let policy = &decision.policy;
    identity(policy, decided).or_else(|| awaited(policy, decided, figures))
}

/// The servers are of two databases.
fn identity(policy: &Policy, decided: &RouteDecision) -> Option<String> {
    let changed = decided.changed?;
    let mut endpoints = policy.endpoints.iter();
    let declared = endpoints.find(|endpoint| endpoint.declared == DeclaredRole::Primary)?;
    let (id, known) = (&declared.id, changed.known);
    let shown = changed.shown?;
    Some(if changed.disputed {
        format!(
            "{id} shows the system identifier {shown}, and others show {known}: which database this is is not known, and nothing is \
             routed. Correct the host of the server that is wrong, or set identity.systemIdentifier."
        )
    } else {
        format!(
            "{id} shows the system identifier {shown}, not {known}. Correct its host, or set identity.systemIdentifier."
        )
    })
}

/// The declared primary is dead, and another server takes writes: whether that one gets them is decided later.
fn awaited(policy: &Policy, decided: &RouteDecision, figures: &BTreeMap<String, Figures>) -> Option<String> {
    let follows = policy.failover.primary_role == PrimaryRole::Follow;
    if !follows || decided.plan.rw.state != RouteState::Empty {
        return None;
    }
    let endpoint_of = |id: &str| id.split('@').next().unwrap_or_default().to_owned();
    let mut endpoints = policy.endpoints.iter();
    let declared = endpoints.find(|endpoint| endpoint.declared == DeclaredRole::Primary)?;
    let mut own = figures
        .iter()
        .filter(|(id, _)| endpoint_of(id) == declared.id.as_str())
        .peekable();
    own.peek()?;
    let is_dead = |figures: &Figures| {
        let failure = figures.failure.as_ref();
        failure.is_some_and(|failure| matches!(failure.kind.class(), FailureClass::Dead { .. }))
    };
    let mut writable = figures
        .iter()
        .filter(|(_, figures)| figures.role == Some(Role::Primary));
    let (id, _) = writable.next()?;
    (own.all(|(_, figures)| is_dead(figures)) && writable.next().is_none()).then(|| {
        format!(
            "The declared primary does not answer, and {id} takes writes. The operator waits {} (3 x \
             healthCheck.failoverTimeout) for the declared primary, and routes the writes to {id} then if a standby proves \
             to follow it and none has log that it lacks; check does not wait.",
            notation(policy.probing.failover_timeout * PATIENCE)
        )
    })
}
