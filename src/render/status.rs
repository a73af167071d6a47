//! The status: conditions, endpoints, summary. It changes on transitions only: a time is kept while what it dates is
//! unchanged, so that an unchanged world gives an equal status.

mod conditions;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{EndpointStatus, PrimaryStatus, ReplicaSetPolicyStatus, RoutingStatus, Summary};
use crate::domain::breaker::Circuit;
use crate::domain::decision::{Decision, DecisionState, EndpointView};
use crate::domain::observation::Role;
use crate::domain::plan::RoutingPlan;
use crate::domain::policy::{Declared, Policy};

/// What one pass knows of a policy.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The generation of the object that was read.
    pub generation: i64,
    /// What is wrong with the spec, one problem a line; empty: nothing.
    pub problems: &'a [String],
    /// What is wrong with the Secrets that it names.
    pub unresolved: &'a [String],
    /// The newest decision; of the last valid spec where this one is not.
    pub decision: Option<&'a Decision>,
    pub written: Written,
    /// The revision of the routes that the pass rendered.
    pub revision: Option<&'a str>,
}

/// What became of the routes in this pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Written {
    /// They are as decided.
    Programmed,
    /// There is nothing to write yet.
    Waiting,
    /// The mode writes nothing.
    Observing,
    Suspended,
    /// Objects of our names that are not ours, as `Service orders-rw`.
    NameConflict(Vec<String>),
    /// Slices of others for our Services, which kube-proxy would merge with ours.
    ForeignEndpoints(Vec<String>),
    /// A request failed and will be made again; the category of its error.
    Failed(String),
}

/// The status to write. `previous`: as it is now; `now`: the wall clock.
#[must_use]
pub fn status(report: &Report<'_>, previous: &ReplicaSetPolicyStatus, now: &Time) -> ReplicaSetPolicyStatus {
    // A restart of the operator is no transition: what it says of this generation stands until there is a decision.
    let known = previous.observed_generation == Some(report.generation);
    if known && report.written == Written::Waiting && report.problems.is_empty() {
        return previous.clone();
    }
    let mut status = ReplicaSetPolicyStatus {
        observed_generation: Some(report.generation),
        conditions: conditions::render(report, &previous.conditions, now),
        ..previous.clone()
    };
    let Some(Decision {
        policy,
        state: DecisionState::Decided { plan, endpoints },
    }) = report.decision
    else {
        return status;
    };
    status.endpoints = endpoints
        .iter()
        .map(|view| endpoint(view, &previous.endpoints, now))
        .collect();
    status.summary = Some(summary(endpoints));
    if let (Some(revision), Written::Programmed) = (report.revision, &report.written) {
        status.primary = primary(plan);
        status.routing = Some(routing(policy, revision, previous.routing.as_ref(), now));
    }
    status
}

fn endpoint(view: &EndpointView, previous: &[EndpointStatus], now: &Time) -> EndpointStatus {
    let location = view.location.as_ref();
    let mut status = EndpointStatus {
        id: view.id.to_string(),
        host: location.map(|location| location.host.to_string()),
        port: location.map(|location| location.port),
        address: view.address.map(|address| address.to_string()),
        role: role(view.role).to_owned(),
        circuit: circuit(view.circuit).to_owned(),
        eligible: view.eligible,
        reason: format!("{:?}", view.reason),
        failure: view.failure.map(|failure| failure.to_string()),
        effective_weight: view.weight,
        since: now.clone(),
    };
    if let Some(before) = previous.iter().find(|before| before.id == status.id) {
        status.since = before.since.clone();
        if *before != status {
            status.since = now.clone();
        }
    }
    status
}

/// The word for a role, also read back after a restart.
#[must_use]
pub const fn role(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Primary) => "Primary",
        Some(Role::Standby) => "Standby",
        None => "Unknown",
    }
}

const fn circuit(circuit: Circuit) -> &'static str {
    match circuit {
        Circuit::Closed { .. } => "Closed",
        Circuit::Open { .. } => "Open",
        Circuit::HalfOpen { .. } => "HalfOpen",
    }
}

fn summary(endpoints: &[EndpointView]) -> Summary {
    let replicas = || endpoints.iter().filter(|view| view.declared == Declared::Replica);
    let healthy = replicas()
        .filter(|view| view.healthy && view.role == Some(Role::Standby))
        .count();
    let (healthy, total) = (count(healthy), count(replicas().count()));
    Summary {
        healthy_replicas: healthy,
        total_replicas: total,
        display: format!("{healthy}/{total}"),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn primary(plan: &RoutingPlan) -> Option<PrimaryStatus> {
    let holder = plan.rw.members.first()?;
    Some(PrimaryStatus {
        id: holder.endpoint.to_string(),
        address: holder.address.to_string(),
    })
}

fn routing(policy: &Policy, revision: &str, previous: Option<&RoutingStatus>, now: &Time) -> RoutingStatus {
    let same = previous
        .filter(|before| before.revision == revision)
        .and_then(|before| before.programmed_at.clone());
    RoutingStatus {
        revision: revision.to_owned(),
        programmed_at: Some(same.unwrap_or_else(|| now.clone())),
        config_map: policy.outputs.config_map.clone(),
    }
}

#[cfg(test)]
mod tests;
