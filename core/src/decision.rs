//! A decision: the plan of a policy with a reason for every endpoint. A value to render, compare and report.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::breaker::Circuit;
use super::health::{Reason, Standing};
use super::ids::ClassName;
use super::ids::EndpointId;
use super::ids::TargetId;
use super::judgement::Judgement;
use super::observation::{FailureKind, Role};
use super::percent::Percent;
use super::plan::{Admission, RoutingPlan};
use super::policy::{BreakerSettings, Declared, Endpoint, EndpointState, Location, Policy};
use super::primary::Tenure;

/// The newest decision of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub policy: Arc<Policy>,
    pub state: DecisionState,
    /// The request for checks that all endpoints have answered.
    pub answered: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DecisionState {
    /// Not every target was checked yet since the operator, or the policy's probing, began: routes stay as they are.
    Waiting { unchecked: usize },
    /// The policy is suspended: routes stay as they are.
    Suspended,
    /// The primary shows another system identifier than the known one: routes stay as they are until a person says
    /// which one is right.
    IdentityChanged {
        known: u64,
        /// `None`: it did so before the operator restarted, and has not told since.
        shown: Option<u64>,
        endpoints: Vec<EndpointView>,
    },
    /// The routes, and every endpoint in declared order.
    Decided(Box<Decided>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub plan: RoutingPlan,
    pub endpoints: Vec<EndpointView>,
    /// Who takes the writes, and what is known of this database.
    pub tenure: Tenure,
    /// Endpoints that take writes at once, where there are two or more.
    pub split: Vec<EndpointId>,
}

impl DecisionState {
    #[must_use]
    pub const fn decided(&self) -> Option<&Decided> {
        match self {
            Self::Decided(decided) => Some(decided),
            _ => None,
        }
    }

    /// Every endpoint, where they were judged.
    #[must_use]
    pub fn endpoints(&self) -> Option<&[EndpointView]> {
        match self {
            Self::Decided(decided) => Some(&decided.endpoints),
            Self::IdentityChanged { endpoints, .. } => Some(endpoints),
            Self::Waiting { .. } | Self::Suspended => None,
        }
    }
}

/// An endpoint as people see it; of several targets the one that is worst off gives the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointView {
    pub id: EndpointId,
    pub declared: Declared,
    pub location: Option<Location>,
    pub address: Option<IpAddr>,
    pub role: Option<Role>,
    /// Whether it takes writes, and this policy saw it as a standby of this database before: it may follow the primary.
    pub seen_as_standby: bool,
    pub circuit: Circuit,
    /// Trips of its circuit within the last `maxResetTimeout`.
    pub trips: u32,
    /// Whether it is in a route.
    pub eligible: bool,
    pub reason: Reason,
    pub failure: Option<FailureKind>,
    /// Its share of the reads in hundredths.
    pub weight: u32,
    /// Whether it is well, whatever it is used for.
    pub healthy: bool,
    /// Sessions of others that are left on it, while it drains.
    pub sessions: Option<u32>,
    /// Where a class stays away, or did lately; of several targets the one that is worst off.
    pub classes: BTreeMap<ClassName, ClassView>,
    /// The ready pods behind its Service; empty where it names a host.
    pub targets: Vec<TargetView>,
}

impl EndpointView {
    /// Why a class stays away from it; `Serving`: it does not.
    pub(super) fn seen_by(&self, class: &ClassName) -> Reason {
        self.classes.get(class).map_or(Reason::Serving, |own| own.reason)
    }
}

/// What one class knows of a server by a bound of lag or a probe query of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClassView {
    /// Why it stays away; `Serving`: it does not.
    pub reason: Reason,
    /// Of its probe query.
    pub circuit: Circuit,
    /// What that circuit lets through.
    pub share: Percent,
    /// Trips of that circuit within the last `maxResetTimeout`.
    pub trips: u32,
}

impl ClassView {
    /// Views of the same class, in this order: the worst comes first.
    fn rank(&self) -> (bool, Percent, u32) {
        (self.reason == Reason::Serving, self.share, u32::MAX - self.trips)
    }
}

/// One pod behind the Service of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetView {
    pub address: IpAddr,
    pub role: Option<Role>,
    /// As of an endpoint.
    pub seen_as_standby: bool,
    pub circuit: Circuit,
    pub trips: u32,
    pub eligible: bool,
    pub reason: Reason,
    pub failure: Option<FailureKind>,
    pub weight: u32,
    /// Whether it is well, whatever it is used for.
    pub healthy: bool,
    /// Where a class stays away, or did lately.
    pub classes: BTreeMap<ClassName, ClassView>,
}

/// What is told of a target beside its judgement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noted {
    /// Where its endpoint was, as it was last read.
    pub location: Option<Location>,
    /// Sessions of others.
    pub sessions: Option<u32>,
    pub was_standby: bool,
}

/// Joins plan and judgements: what people see of each endpoint.
#[must_use]
pub fn explain(
    policy: &Policy,
    judgements: &[Judgement],
    plan: &RoutingPlan,
    noted: impl Fn(&TargetId) -> Noted,
) -> Vec<EndpointView> {
    let view = |endpoint: &Endpoint| {
        let own: Vec<_> = judgements
            .iter()
            .filter(|judgement| judgement.target.endpoint == endpoint.id)
            .collect();
        let targets: Vec<_> = own
            .iter()
            .map(|judgement| target(policy, judgement, plan, &noted(&judgement.target)))
            .collect();
        let worst = targets
            .iter()
            .zip(&own)
            .min_by_key(|(target, _)| (target.eligible, target.healthy));
        let draining = endpoint.state == EndpointState::Draining;
        let left = || {
            own.iter()
                .filter_map(|judgement| noted(&judgement.target).sessions)
                .reduce(u32::saturating_add)
        };
        EndpointView {
            id: endpoint.id.clone(),
            declared: endpoint.declared,
            location: endpoint
                .location
                .clone()
                .or_else(|| noted(&own.first()?.target).location),
            address: own.first().and_then(|judgement| judgement.address),
            role: worst.and_then(|(target, _)| target.role),
            seen_as_standby: targets.iter().any(|target| target.seen_as_standby),
            circuit: worst.map_or_else(Circuit::default, |(target, _)| target.circuit),
            trips: targets.iter().map(|target| target.trips).max().unwrap_or(0),
            eligible: targets.iter().any(|target| target.eligible),
            reason: worst.map_or(without_target(endpoint), |(target, _)| target.reason),
            failure: worst.and_then(|(target, _)| target.failure),
            weight: targets.iter().map(|target| target.weight).sum(),
            healthy: targets.iter().any(|target| target.healthy),
            sessions: draining.then(left).flatten(),
            classes: worst_of_classes(&targets),
            targets: if endpoint.pods.is_some() {
                targets
            } else {
                Vec::new()
            },
        }
    };
    policy.endpoints.iter().map(view).collect()
}

const fn without_target(endpoint: &Endpoint) -> Reason {
    match endpoint.state {
        EndpointState::Disabled => Reason::Disabled,
        EndpointState::Draining => Reason::Draining,
        EndpointState::Active => Reason::NoReadyPod,
    }
}

fn target(policy: &Policy, judgement: &Judgement, plan: &RoutingPlan, noted: &Noted) -> TargetView {
    let (reads, _) = plan.membership(&judgement.target);
    let place = plan.member(policy, &judgement.target);
    let reason = match place.map(|member| member.admission) {
        // Only where the routes stay as they are: why it would leave says more.
        _ if judgement.standing == Standing::Wrong => judgement.reason,
        Some(Admission::Early) => Reason::AdmittedEarly,
        Some(Admission::Held) => Reason::Held,
        _ => judgement.reason,
    };
    TargetView {
        address: judgement.address.unwrap_or(IpAddr::from([0, 0, 0, 0])),
        role: judgement.role,
        seen_as_standby: noted.was_standby && judgement.role == Some(Role::Primary),
        circuit: judgement.circuit,
        trips: judgement.trips,
        eligible: place.is_some(),
        reason,
        // A single missed deadline of a server that serves is no transition.
        failure: judgement.failure.filter(|_| judgement.reason != Reason::Serving),
        weight: reads.map_or(0, |member| member.weight),
        healthy: judgement.standing == Standing::Good,
        classes: classes(judgement, &policy.breaker),
    }
}

/// Only what differs from a class that never had a doubt.
fn classes(judgement: &Judgement, settings: &BreakerSettings) -> BTreeMap<ClassName, ClassView> {
    let views = judgement.classes.iter().map(|(name, own)| {
        let view = ClassView {
            reason: own.reason(judgement.role),
            circuit: own.circuit,
            share: own.circuit.share(settings),
            trips: own.trips,
        };
        (name.clone(), view)
    });
    views
        .filter(|(_, view)| view.reason != Reason::Serving || view.trips > 0)
        .collect()
}

fn worst_of_classes(targets: &[TargetView]) -> BTreeMap<ClassName, ClassView> {
    let mut worst = BTreeMap::<ClassName, ClassView>::new();
    for (name, view) in targets.iter().flat_map(|target| &target.classes) {
        let known = worst.entry(name.clone()).or_insert(*view);
        *known = std::cmp::min_by_key(*known, *view, ClassView::rank);
    }
    worst
}

#[cfg(test)]
mod tests;
