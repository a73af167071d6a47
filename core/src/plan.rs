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

use std::collections::BTreeSet;

use super::cluster::Cluster;
use super::health::Reason;
use super::ids::EndpointId;
use super::judgement::Judgement;
use super::policy::{Policy, Strategy};
use super::routing::{Class, Region, WRITES};
use super::write_primary::{WriteChoice, Writes};
use candidate::Candidate;
pub(super) use candidate::{full_weight, part};
pub use largest::largest;
use reads::{Known, Reading, reads};
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
    let rw = writes(&known, cluster, choice);
    let known = Known {
        passed_over: passed_over(judgements),
        candidates: known,
    };
    let read = |reading: Reading<'_>| reads(policy, &known, choice, &rw, reading);
    let class = |class: &Class| {
        (
            class.name.clone(),
            read(Reading::of_class(policy, cluster, class)),
        )
    };
    let region = |region: &Region| {
        (
            region.name.clone(),
            read(Reading::of_region(policy, cluster, region)),
        )
    };
    RoutingPlan {
        ro: read(Reading::unnamed(policy, cluster)),
        classes: policy.routing.classes.iter().map(class).collect(),
        regions: policy.routing.regions.iter().map(region).collect(),
        rw,
    }
}

/// Endpoints all of whose servers are used under other names.
fn passed_over(judgements: &[Judgement]) -> BTreeSet<&EndpointId> {
    let is_one = |judgement: &&Judgement| judgement.reason == Reason::SameServer;
    let (passed_over, others): (Vec<_>, Vec<_>) = judgements.iter().partition(is_one);
    let others: BTreeSet<_> = others
        .iter()
        .map(|judgement| &judgement.target.endpoint)
        .collect();
    let endpoints = passed_over
        .into_iter()
        .map(|judgement| &judgement.target.endpoint);
    endpoints.filter(|id| !others.contains(id)).collect()
}

/// The holder that the choice names, in the state that it says.
fn writes(known: &[Candidate<'_>], cluster: &Cluster, choice: &WriteChoice) -> Route {
    if let Some(member) = stays(cluster, choice) {
        return Route {
            state: RouteState::Held,
            members: vec![member],
        };
    }
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
    let holder = holder.carried_by(cluster.families_of(WRITES));
    let member = Member {
        weight: 100,
        in_slice: holder.carried,
        in_uris: true,
        ..holder.member(Strategy::RoundRobin, admission)
    };
    Route {
        state,
        members: vec![member],
    }
}

/// The server of the holder at the address that its name does not lead to any more.
fn stays(cluster: &Cluster, choice: &WriteChoice) -> Option<Member> {
    let (server, holder) = (choice.stays_at?, choice.holding.holder.as_ref()?);
    let families = cluster.families_of(WRITES);
    let carried = families.is_none_or(|families| families.carry(server.ip()));
    (choice.writes == Writes::Held).then(|| Member {
        target: holder.clone(),
        address: server.ip(),
        port: server.port(),
        weight: 100,
        in_slice: carried,
        in_uris: true,
        carried,
        order: 0,
        admission: Admission::Held,
    })
}

#[cfg(test)]
mod tests;
