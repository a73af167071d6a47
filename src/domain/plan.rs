//! The plan: who serves writes, who serves reads, with which weight, and why.
//!
//! In this order: administrative state, role and identity, suspicion and circuit, lag, weight, half-open share, fallback.
//! Arithmetic is in integers; the same judgements give the same plan; order is by priority, then id, then address.

use std::net::IpAddr;

use super::breaker::Circuit;
use super::health::{Reason, Standing};
use super::observation::{FailureKind, Role};
use super::policy::{Endpoint, EndpointState, Location, Percent, Policy, ReadFallback, Strategy};
use super::primary::{Election, Tenure, Writes};
use super::target::TargetId;

/// What is known of one target when a plan is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub target: TargetId,
    pub location: Option<Location>,
    /// The address of its newest good check.
    pub address: Option<IpAddr>,
    pub port: u16,
    pub role: Option<Role>,
    pub circuit: Circuit,
    /// Trips within the last `maxResetTimeout`.
    pub trips: u32,
    pub standing: Standing,
    pub reason: Reason,
    pub failure: Option<FailureKind>,
}

impl Judgement {
    /// Whether the target may not stay in a route that it is in: it is wrong, or holds the writes as a standby.
    #[must_use]
    pub fn proven_wrong(&self, tenure: &Tenure) -> bool {
        let holds = tenure.holder.as_ref() == Some(&self.target);
        self.standing == Standing::Wrong || (holds && self.role == Some(Role::Standby))
    }
}

/// Who serves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoutingPlan {
    pub rw: Route,
    pub ro: Route,
}

/// The targets of one Service.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Route {
    pub state: RouteState,
    pub members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RouteState {
    /// Its members are well.
    Served,
    /// The read fallback serves.
    Fallback,
    /// Nobody is well; who served is kept, as the fault may be the operator's own network.
    Held,
    /// Nobody may serve.
    #[default]
    Empty,
}

/// One target in a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    pub target: TargetId,
    pub address: IpAddr,
    pub port: u16,
    /// Share in hundredths: weight 1 fully in is 100.
    pub weight: u32,
    /// Whether an EndpointSlice, which knows no shares, holds it.
    pub in_slice: bool,
    pub admission: Admission,
}

/// On what ground a target is in a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    Eligible,
    /// Its circuit is not closed, but its newest check was good and nobody better is left.
    Early,
    Fallback,
    Held,
}

impl RoutingPlan {
    /// The places of a target: the one for reads first.
    #[must_use]
    pub fn membership(&self, target: &TargetId) -> (Option<&Member>, Option<&Member>) {
        (self.ro.member(target), self.rw.member(target))
    }
}

impl Route {
    fn member(&self, target: &TargetId) -> Option<&Member> {
        self.members.iter().find(|member| member.target == *target)
    }
}

/// Decides the routes. `judgements` are those of the policy's targets, in any order; `election` says who takes the
/// writes.
#[must_use]
pub fn plan(policy: &Policy, judgements: &[Judgement], election: &Election) -> RoutingPlan {
    let known: Vec<Candidate<'_>> = judgements
        .iter()
        .filter_map(|judgement| Candidate::new(policy, judgement))
        .collect();
    RoutingPlan {
        rw: writes(&known, election),
        ro: reads(policy, &known, election),
    }
}

/// A target that has an address and is not proven wrong.
struct Candidate<'a> {
    endpoint: &'a Endpoint,
    judgement: &'a Judgement,
    address: IpAddr,
    role: Role,
}

impl<'a> Candidate<'a> {
    fn new(policy: &'a Policy, judgement: &'a Judgement) -> Option<Self> {
        let endpoint = policy.endpoint(&judgement.target.endpoint)?;
        let (address, role) = (judgement.address?, judgement.role?);
        let usable = endpoint.state == EndpointState::Active
            && !matches!(judgement.standing, Standing::Wrong | Standing::Unproven);
        usable.then_some(Self {
            endpoint,
            judgement,
            address,
            role,
        })
    }

    fn member(&self, strategy: Strategy, admission: Admission) -> Member {
        let share = match self.judgement.standing {
            Standing::Returning { share, .. } => share,
            _ => Percent::FULL,
        };
        let in_slice = admission != Admission::Eligible || !self.is_returning_early();
        Member {
            target: self.judgement.target.clone(),
            address: self.address,
            port: self.judgement.port,
            weight: weight(self.endpoint, strategy) * u32::from(share.get()),
            in_slice,
            admission,
        }
    }

    /// Below the last traffic step.
    fn is_returning_early(&self) -> bool {
        matches!(self.judgement.standing, Standing::Returning { last: false, .. })
    }

    fn is_well(&self) -> bool {
        matches!(
            self.judgement.standing,
            Standing::Good | Standing::Returning { .. }
        )
    }

    /// Its circuit is not closed, but its newest check is good.
    fn answers(&self) -> bool {
        self.is_returning_early()
            || (matches!(self.judgement.circuit, Circuit::Open { .. })
                && matches!(self.judgement.standing, Standing::Unhealthy { answers: true }))
    }
}

/// Under Weighted the declared weight; otherwise every weight above 0 alike.
pub(super) fn weight(endpoint: &Endpoint, strategy: Strategy) -> u32 {
    match strategy {
        Strategy::RoundRobin => u32::from(endpoint.weight.min(1)),
        Strategy::Weighted => u32::from(endpoint.weight),
    }
}

/// The holder that the election names, in the state that it says.
fn writes(known: &[Candidate<'_>], election: &Election) -> Route {
    let held = |target: &&Candidate<'_>| election.tenure.holder.as_ref() == Some(&target.judgement.target);
    let Some(holder) = known
        .iter()
        .find(held)
        .filter(|_| election.writes != Writes::Withdrawn)
    else {
        return Route::default();
    };
    let (state, admission) = match election.writes {
        Writes::Served if holder.is_well() => (RouteState::Served, Admission::Eligible),
        Writes::Served => (RouteState::Served, Admission::Early),
        _ => (RouteState::Held, Admission::Held),
    };
    let member = Member {
        weight: 100,
        in_slice: true,
        ..holder.member(Strategy::RoundRobin, admission)
    };
    Route {
        state,
        members: vec![member],
    }
}

/// Standbys serve reads; with none that can, those that answer; then the fallback; then whoever is not proven wrong.
fn reads(policy: &Policy, known: &[Candidate<'_>], election: &Election) -> Route {
    let standbys = || {
        known
            .iter()
            .filter(|target| target.role == Role::Standby && target.endpoint.weight > 0)
    };
    let allowed = policy.failover.read_fallback.contains(&ReadFallback::Primary);
    let fallback = || {
        known.iter().filter(move |target| {
            let holds = election.tenure.holder.as_ref() == Some(&target.judgement.target);
            allowed && holds && target.role == Role::Primary && target.endpoint.weight > 0
        })
    };
    let route = |state, targets: Vec<&Candidate<'_>>, admission| route(policy, state, &targets, admission);
    let (served, early) = (Admission::Eligible, Admission::Early);
    route(
        RouteState::Served,
        standbys().filter(|it| it.is_well()).collect(),
        served,
    )
    .or_else(|| {
        route(
            RouteState::Served,
            standbys().filter(|it| it.answers()).collect(),
            early,
        )
    })
    .or_else(|| {
        let well = fallback().filter(|it| it.is_well()).collect();
        route(RouteState::Fallback, well, Admission::Fallback)
    })
    .or_else(|| {
        let answering = fallback().filter(|it| it.answers()).collect();
        route(RouteState::Fallback, answering, Admission::Fallback)
    })
    .or_else(|| {
        let all = standbys().chain(fallback()).collect();
        route(RouteState::Held, all, Admission::Held)
    })
    .unwrap_or_default()
}

/// The route of these targets, in order; `None` where none of them would be in a slice.
fn route(
    policy: &Policy,
    state: RouteState,
    targets: &[&Candidate<'_>],
    admission: Admission,
) -> Option<Route> {
    let mut chosen: Vec<_> = targets
        .iter()
        .map(|target| {
            (
                target.endpoint.priority,
                target.member(policy.strategy, admission),
            )
        })
        .collect();
    chosen.sort_by(|(p, a), (q, b)| (p, &a.target, a.address).cmp(&(q, &b.target, b.address)));
    let members: Vec<_> = chosen.into_iter().map(|(_, member)| member).collect();
    members
        .iter()
        .any(|member| member.in_slice)
        .then_some(Route { state, members })
}

#[cfg(test)]
mod tests;
