//! The plan: who serves writes, who serves reads, with which weight, and why.
//!
//! In this order: administrative state, role and identity, suspicion and circuit, lag, selector, region, weight, half-open
//! share, fallback. Arithmetic is in integers; the same judgements give the same plan; order is by region where there is
//! one, then by priority, id and address.

mod candidate;
mod choice;
mod largest;
mod reads;
mod regions;
mod route;

use super::cluster::Cluster;
use super::judgement::Judgement;
use super::policy::{Policy, Strategy};
use super::routing::{Class, Region};
use super::write_primary::{WriteChoice, Writes};
use candidate::Candidate;
pub(super) use candidate::{full_weight, part};
pub use largest::largest;
use reads::{Reading, reads};
pub use route::{Admission, Member, Route, RouteState, RoutingPlan};

/// Decides the routes. `judgements` are those of the policy's targets, in any order; `choice` says who takes the
/// writes.
#[must_use]
pub fn plan(
    policy: &Policy,
    cluster: &Cluster,
    judgements: &[Judgement],
    choice: &WriteChoice,
) -> RoutingPlan {
    let known: Vec<Candidate<'_>> = judgements
        .iter()
        .filter_map(|judgement| Candidate::new(policy, judgement))
        .collect();
    let rw = writes(&known, choice);
    let read = |reading: Reading<'_>| reads(policy, &known, choice, &rw, reading);
    let class = |class: &Class| (class.name.clone(), read(Reading::of_class(policy, class)));
    let region = |region: &Region| (region.name.clone(), read(Reading::of_region(policy, region)));
    RoutingPlan {
        ro: read(Reading::unnamed(policy, cluster)),
        classes: policy.routing.classes.iter().map(class).collect(),
        regions: policy.routing.regions.iter().map(region).collect(),
        rw,
    }
}

/// The holder that the choice names, in the state that it says.
fn writes(known: &[Candidate<'_>], choice: &WriteChoice) -> Route {
    let held = |target: &&Candidate<'_>| choice.holding.holder.as_ref() == Some(&target.judgement.target);
    let Some(holder) = known
        .iter()
        .find(held)
        .filter(|_| choice.writes != Writes::Withdrawn)
    else {
        return Route::default();
    };
    let (state, admission) = match choice.writes {
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
