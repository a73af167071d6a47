//! The plan: who serves writes, who serves reads, with which weight, and why.
//!
//! In this order: administrative state, role and identity, suspicion and circuit, lag, selector, region, weight, half-open
//! share, fallback. Arithmetic is in integers; the same judgements give the same plan; order is by region where there is
//! one, then by priority, id and address.

mod candidate;
mod choice;
mod reads;
mod regions;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::breaker::Circuit;
use super::health::{Reason, Standing};
use super::level::{Behind, Used};
use super::observation::{FailureKind, Role};
use super::particulars::ClassJudgement;
use super::policy::{EndpointId, Policy, Strategy};
use super::primary::{Election, Tenure, Writes};
use super::routing::{Class, ClassName, Region};
use super::target::TargetId;
use candidate::Candidate;
pub(super) use candidate::{full_weight, part};
use reads::{Reading, reads};

/// What is known of one target when a plan is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub target: TargetId,
    /// The address of its newest good check.
    pub address: Option<IpAddr>,
    pub port: u16,
    pub role: Option<Role>,
    pub circuit: Circuit,
    /// Trips within the last `maxResetTimeout`.
    pub trips: u32,
    pub standing: Standing,
    /// The same, whatever its lag: what a class with a bound of its own begins with.
    pub health: Standing,
    pub reason: Reason,
    pub failure: Option<FailureKind>,
    /// How far behind it is, where that is known.
    pub behind: Option<Behind>,
    /// How much of it is used, under the strategy `LeastConnections`.
    pub used: Used,
    /// What the classes know of it that have a bound of lag or a probe query of their own.
    pub classes: BTreeMap<ClassName, ClassJudgement>,
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
    /// Of reads that no class names.
    pub ro: Route,
    /// Of every class.
    pub classes: BTreeMap<ClassName, Route>,
    /// Reads from one region: its own servers first, then those of its fallbacks in order.
    pub regions: BTreeMap<String, Route>,
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
    /// Lower ones first: those of higher ones serve when none of the lower ones can.
    pub order: u16,
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
    /// The places of a target: the one for reads that no class names, and that for writes.
    #[must_use]
    pub fn membership(&self, target: &TargetId) -> (Option<&Member>, Option<&Member>) {
        (self.ro.member(target), self.rw.member(target))
    }

    /// Its first place: for reads that no class names, for writes, for those of a declared class or from a region.
    #[must_use]
    pub fn member(&self, policy: &Policy, target: &TargetId) -> Option<&Member> {
        let (reads, writes) = self.membership(target);
        let declared = policy.routing.classes.iter().filter(|class| class.declared);
        let of_classes = declared.filter_map(|class| self.classes.get(&class.name));
        let mut others = of_classes.chain(self.regions.values());
        reads
            .or(writes)
            .or_else(|| others.find_map(|route| route.member(target).filter(|member| member.in_slice)))
    }
}

impl Route {
    /// The endpoints whose servers a slice of it holds, in order.
    #[must_use]
    pub fn serving(&self) -> Vec<EndpointId> {
        self.endpoints(|_| true)
    }

    /// Those of them that stand in for replicas.
    #[must_use]
    pub fn stand_ins(&self) -> Vec<EndpointId> {
        self.endpoints(|member| member.admission == Admission::Fallback)
    }

    fn endpoints(&self, which: impl Fn(&Member) -> bool) -> Vec<EndpointId> {
        let members = self
            .members
            .iter()
            .filter(|member| member.in_slice && which(member));
        let mut endpoints = Vec::new();
        for id in members.map(|member| &member.target.endpoint) {
            if !endpoints.contains(id) {
                endpoints.push(id.clone());
            }
        }
        endpoints
    }

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
    let rw = writes(&known, election);
    let read = |reading: Reading<'_>| reads(policy, &known, election, &rw, reading);
    let class = |class: &Class| (class.name.clone(), read(Reading::of_class(policy, class)));
    let region = |region: &Region| (region.name.clone(), read(Reading::of_region(policy, region)));
    RoutingPlan {
        ro: read(Reading::unnamed(policy)),
        classes: policy.routing.classes.iter().map(class).collect(),
        regions: policy.routing.regions.iter().map(region).collect(),
        rw,
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

#[cfg(test)]
mod tests;
