//! The plan: who serves writes, who serves reads, with which weight, and why.
//!
//! In this order: administrative state, role and identity, suspicion and circuit, weight, half-open share, fallback.
//! Arithmetic is in integers; the same judgements give the same plan; order is by priority, then id, then address.

use std::net::IpAddr;

use super::breaker::Circuit;
use super::health::{Reason, Standing};
use super::observation::{FailureKind, Role};
use super::policy::{Declared, Endpoint, EndpointId, EndpointState, Location, Percent, Policy, ReadFallback, Strategy};

/// What is known of one endpoint when a plan is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub endpoint: EndpointId,
    pub location: Option<Location>,
    /// The address of its newest good check.
    pub address: Option<IpAddr>,
    pub role: Option<Role>,
    pub circuit: Circuit,
    pub standing: Standing,
    pub reason: Reason,
    pub failure: Option<FailureKind>,
}

impl Judgement {
    /// Whether the target may not stay in the route that it is declared for.
    #[must_use]
    pub fn proven_wrong(&self, policy: &Policy) -> bool {
        let primary = policy
            .endpoint(&self.endpoint)
            .is_some_and(|endpoint| endpoint.declared == Declared::Primary);
        self.standing == Standing::Wrong || (primary && self.role == Some(Role::Standby))
    }
}

/// Who serves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoutingPlan {
    pub rw: Route,
    pub ro: Route,
}

/// The targets of one Service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    pub state: RouteState,
    pub members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouteState {
    /// Its members are well.
    Served,
    /// The read fallback serves.
    Fallback,
    /// Nobody is well; who served is kept, as the fault may be the operator's own network.
    Held,
    /// Nobody may serve.
    Empty,
}

/// One target in a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    pub endpoint: EndpointId,
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
    /// The routes of `endpoint`'s target: the one for reads first.
    #[must_use]
    pub fn membership(&self, endpoint: &EndpointId) -> (Option<&Member>, Option<&Member>) {
        let find = |route: &'_ Route| {
            route
                .members
                .iter()
                .position(|member| member.endpoint == *endpoint)
        };
        (
            find(&self.ro).map(|at| &self.ro.members[at]),
            find(&self.rw).map(|at| &self.rw.members[at]),
        )
    }
}

/// Decides the routes. `judgements` are those of the policy's endpoints, in any order.
#[must_use]
pub fn plan(policy: &Policy, judgements: &[Judgement]) -> RoutingPlan {
    let known: Vec<Candidate<'_>> = judgements
        .iter()
        .filter_map(|judgement| Candidate::new(policy, judgement))
        .collect();
    RoutingPlan {
        rw: writes(&known),
        ro: reads(policy, &known),
    }
}

/// An endpoint that has an address and is not proven wrong.
struct Candidate<'a> {
    endpoint: &'a Endpoint,
    judgement: &'a Judgement,
    address: IpAddr,
    port: u16,
    role: Role,
}

impl<'a> Candidate<'a> {
    fn new(policy: &'a Policy, judgement: &'a Judgement) -> Option<Self> {
        let endpoint = policy.endpoint(&judgement.endpoint)?;
        let (address, role) = (judgement.address?, judgement.role?);
        let port = judgement.location.as_ref()?.port;
        let usable = endpoint.state == EndpointState::Active && !matches!(judgement.standing, Standing::Wrong | Standing::Unproven);
        usable.then_some(Self {
            endpoint,
            judgement,
            address,
            port,
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
            endpoint: self.endpoint.id.clone(),
            address: self.address,
            port: self.port,
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
fn weight(endpoint: &Endpoint, strategy: Strategy) -> u32 {
    match strategy {
        Strategy::RoundRobin => u32::from(endpoint.weight.min(1)),
        Strategy::Weighted => u32::from(endpoint.weight),
    }
}

/// The declared primary takes writes while it is not proven to be a standby; a silent one is held.
fn writes(known: &[Candidate<'_>]) -> Route {
    let holder = known
        .iter()
        .find(|target| target.endpoint.declared == Declared::Primary && target.role == Role::Primary);
    let Some(holder) = holder else {
        return Route {
            state: RouteState::Empty,
            members: Vec::new(),
        };
    };
    let (state, admission) = match holder.judgement.standing {
        Standing::Good | Standing::Returning { .. } => (RouteState::Served, Admission::Eligible),
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

/// Standbys serve reads; with none that can, those that answer; then the fallback; then whoever served.
fn reads(policy: &Policy, known: &[Candidate<'_>]) -> Route {
    let standbys = || {
        known
            .iter()
            .filter(|target| target.role == Role::Standby && target.endpoint.weight > 0)
    };
    let fallback = || {
        let allowed = policy.failover.read_fallback.contains(&ReadFallback::Primary);
        known.iter().filter(move |target| {
            allowed
                && target.role == Role::Primary
                && target.endpoint.declared == Declared::Primary
                && target.endpoint.weight > 0
        })
    };
    let route = |state, targets: Vec<&Candidate<'_>>, admission| {
        let mut chosen: Vec<_> = targets
            .iter()
            .map(|target| {
                (
                    target.endpoint.priority,
                    target.member(policy.strategy, admission),
                )
            })
            .collect();
        chosen.sort_by(|(p, a), (q, b)| (p, &a.endpoint, a.address).cmp(&(q, &b.endpoint, b.address)));
        let members: Vec<_> = chosen.into_iter().map(|(_, member)| member).collect();
        members
            .iter()
            .any(|member| member.in_slice)
            .then_some(Route { state, members })
    };
    route(
        RouteState::Served,
        standbys().filter(|target| target.is_well()).collect(),
        Admission::Eligible,
    )
    .or_else(|| {
        route(
            RouteState::Served,
            standbys().filter(|target| target.answers()).collect(),
            Admission::Early,
        )
    })
    .or_else(|| {
        route(
            RouteState::Fallback,
            fallback().filter(|target| target.is_well()).collect(),
            Admission::Fallback,
        )
    })
    .or_else(|| {
        route(
            RouteState::Fallback,
            fallback().filter(|target| target.answers()).collect(),
            Admission::Fallback,
        )
    })
    .or_else(|| {
        route(
            RouteState::Held,
            standbys().chain(fallback()).collect(),
            Admission::Held,
        )
    })
    .unwrap_or(Route {
        state: RouteState::Empty,
        members: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
