//! A decision: the plan of a policy with a reason for every endpoint. A value to render, compare and report.

use std::net::IpAddr;
use std::sync::Arc;

use super::breaker::Circuit;
use super::health::{Reason, Standing};
use super::observation::{FailureKind, Role};
use super::plan::{Admission, Judgement, RouteState, RoutingPlan};
use super::policy::{Declared, EndpointId, Location, Policy};

/// The newest decision of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub policy: Arc<Policy>,
    pub state: DecisionState,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DecisionState {
    /// Not every target was checked yet since the operator, or the policy's probing, began: routes stay as they are.
    Waiting { unchecked: usize },
    /// The policy is suspended: routes stay as they are.
    Suspended,
    /// The routes, and every endpoint in declared order.
    Decided {
        plan: RoutingPlan,
        endpoints: Vec<EndpointView>,
    },
}

/// An endpoint as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointView {
    pub id: EndpointId,
    pub declared: Declared,
    pub location: Option<Location>,
    pub address: Option<IpAddr>,
    pub role: Option<Role>,
    pub circuit: Circuit,
    /// Whether it is in a route.
    pub eligible: bool,
    pub reason: Reason,
    pub failure: Option<FailureKind>,
    /// Its share of the reads in hundredths.
    pub weight: u32,
    /// Whether it is well, whatever it is used for.
    pub healthy: bool,
}

/// What changed from one decision to the next that a person may want to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Transition {
    Endpoint {
        id: EndpointId,
        from: Option<Reason>,
        to: Reason,
        failure: Option<FailureKind>,
        eligible: bool,
    },
    /// The read fallback took over, or ended.
    ReadFallback { active: bool },
    /// The route for writes is served, held or empty.
    Writes { state: RouteState },
    /// The route for reads is held or empty, or served again.
    Reads { state: RouteState },
}

/// Joins plan and judgements: what people see of each endpoint.
#[must_use]
pub fn explain(policy: &Policy, judgements: &[Judgement], plan: &RoutingPlan) -> Vec<EndpointView> {
    let view = |judgement: &Judgement| {
        let declared = policy.endpoint(&judgement.endpoint)?.declared;
        let (reads, writes) = plan.membership(&judgement.endpoint);
        let reason = match reads.or(writes).map(|member| member.admission) {
            Some(Admission::Early) => Reason::AdmittedEarly,
            Some(Admission::Held) => Reason::Held,
            _ => judgement.reason,
        };
        Some(EndpointView {
            id: judgement.endpoint.clone(),
            declared,
            location: judgement.location.clone(),
            address: judgement.address,
            role: judgement.role,
            circuit: judgement.circuit,
            eligible: reads.is_some() || writes.is_some(),
            reason,
            // A single missed deadline of a server that serves is no transition.
            failure: judgement.failure.filter(|_| judgement.reason != Reason::Serving),
            weight: reads.map_or(0, |member| member.weight),
            healthy: judgement.standing == Standing::Good,
        })
    };
    judgements.iter().filter_map(view).collect()
}

/// What changed between two decisions; nothing where there is none to compare with.
#[must_use]
pub fn transitions(before: &DecisionState, after: &DecisionState) -> Vec<Transition> {
    let DecisionState::Decided { plan, endpoints } = after else {
        return Vec::new();
    };
    let (old_plan, old) = match before {
        DecisionState::Decided { plan, endpoints } => (Some(plan), endpoints.as_slice()),
        _ => (None, [].as_slice()),
    };
    let mut changes = Vec::new();
    for view in endpoints {
        let from = old
            .iter()
            .find(|earlier| earlier.id == view.id)
            .map(|earlier| earlier.reason);
        if from != Some(view.reason) {
            let (id, to, failure, eligible) = (view.id.clone(), view.reason, view.failure, view.eligible);
            changes.push(Transition::Endpoint {
                id,
                from,
                to,
                failure,
                eligible,
            });
        }
    }
    let was = |route: fn(&RoutingPlan) -> RouteState| old_plan.map_or(RouteState::Served, route);
    let (reads_before, reads) = (was(|plan| plan.ro.state), plan.ro.state);
    let fallback = |state| state == RouteState::Fallback;
    if fallback(reads_before) != fallback(reads) {
        changes.push(Transition::ReadFallback {
            active: fallback(reads),
        });
    }
    let well = |state| matches!(state, RouteState::Served | RouteState::Fallback);
    if reads_before != reads && !(well(reads_before) && well(reads)) {
        changes.push(Transition::Reads { state: reads });
    }
    if was(|plan| plan.rw.state) != plan.rw.state {
        changes.push(Transition::Writes { state: plan.rw.state });
    }
    changes
}
