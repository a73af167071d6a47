//! Who serves reads, of one class or from one region.
//!
//! | in this order                                              | state      |
//! |------------------------------------------------------------|------------|
//! | replicas that are selected and eligible, if they are enough | `Served`   |
//! | any replica that is eligible and not dedicated to other classes | `Served`; `Fallback` where others were to be selected |
//! | too few: also those whose newest check is good (`Early`), then the members of the fallback in order | `Fallback` where no replica is eligible |
//! | nobody: of all that are not proven wrong those that answer, or else all | `Held`; under `onReadLoss: Withdraw` `Empty` |
//!
//! A class without a selector selects the replicas that are dedicated to it, where there are some. Those that are dedicated to
//! other classes serve as the fallback `DedicatedReplicas` alone, and are never held.
//!
//! A server whose address the Service of the route cannot carry is in no slice, and does not count as one that serves; it is in
//! routing.json alone.
//!
//! Enough is `minHealthyReplicas`. Of a region only the nearest servers are in the slice, and any fresh one is nearer than
//! a fallback; the others follow in routing.json.

use std::collections::BTreeSet;

use super::candidate::Candidate;
use super::choice::Choice;
use super::regions::{Places, keep_the_nearest_in_slice};
use super::route::{Route, RouteState};
use crate::breaker::Circuit;
use crate::cluster::{Cluster, Families};
use crate::ids::{ClassName, EndpointId};
use crate::observation::Role;
use crate::policy::{Endpoint, EndpointState, OnReadLoss, Policy};
use crate::routing::{Class, DEFAULT, Destination, ReadFallback, Region, Selector, of_region};
use crate::write_primary::WriteChoice;

/// Whose reads they are.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    destination: Destination,
    class: Option<&'a Class>,
    region: Option<&'a Region>,
    fallback: &'a [ReadFallback],
    /// Of the Service of its route.
    families: Option<Families>,
}

impl<'a> Reading<'a> {
    /// Reads that no class names: as from the region of the cluster, where the policy knows it.
    pub fn unnamed(policy: &'a Policy, cluster: &Cluster) -> Self {
        Self {
            destination: policy.routing.default_destination.into(),
            class: None,
            region: cluster.home(policy),
            fallback: &policy.failover.read_fallback,
            families: cluster.families_of(DEFAULT),
        }
    }

    pub fn of_class(policy: &'a Policy, cluster: &Cluster, class: &'a Class) -> Self {
        let own = class.read_fallback.as_ref();
        Self {
            destination: class.destination,
            class: Some(class),
            region: None,
            fallback: own.unwrap_or(&policy.failover.read_fallback),
            families: cluster.families_of(class.name.as_str()),
        }
    }

    /// Reads that no class names, from this region.
    pub fn of_region(policy: &'a Policy, cluster: &Cluster, region: &'a Region) -> Self {
        Self {
            region: Some(region),
            families: cluster.families_of(&of_region(&region.name)),
            ..Self::unnamed(policy, cluster)
        }
    }

    /// Who serves, as the policy has it: with replicas switched off the primary alone.
    pub fn destination(&self, policy: &Policy) -> Destination {
        if policy.routing.replicas {
            self.destination
        } else {
            Destination::Primary
        }
    }

    pub const fn region(&self) -> Option<&'a Region> {
        self.region
    }

    /// Whom it selects, where that is not all.
    fn selection(&self, policy: &Policy) -> Option<Selection<'a>> {
        let class = self.class?;
        if !class.selector.selects_all() {
            return Some(Selection::Selector(&class.selector));
        }
        let own = policy.has_dedicated(&class.name);
        own.then_some(Selection::Dedicated(&class.name))
    }

    /// Whether an endpoint may serve it as a replica without being a fallback.
    fn is_served_by(&self, endpoint: &Endpoint) -> bool {
        endpoint.serves(self.class.map(|class| &class.name))
    }

    /// Whether the primary may stand in. Where it is preferred it always may.
    fn may_use_primary(&self) -> bool {
        match self.destination {
            Destination::ReplicasOnly => false,
            Destination::PrimaryPreferred | Destination::Primary => true,
            Destination::Replicas => self.fallback.contains(&ReadFallback::Primary),
        }
    }
}

/// The replicas that a class prefers.
#[derive(Clone, Copy)]
enum Selection<'a> {
    Selector(&'a Selector),
    /// Those that are dedicated to this class.
    Dedicated(&'a ClassName),
}

impl Selection<'_> {
    fn has(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Selector(selector) => selector.selects(&endpoint.id, &endpoint.tags),
            Self::Dedicated(class) => endpoint.dedicated_to.contains(class),
        }
    }
}

/// Whom routes are made of.
pub struct Known<'a> {
    pub candidates: Vec<Candidate<'a>>,
    /// Endpoints that are others under another name, and count once.
    pub passed_over: BTreeSet<&'a EndpointId>,
}

/// Decides one route. `rw` is the route of writes.
pub fn reads(
    policy: &Policy,
    known: &Known<'_>,
    choice: &WriteChoice,
    rw: &Route,
    reading: Reading<'_>,
) -> Route {
    let own = carried(rw, reading.families);
    let leads = || own.members.iter().any(|member| member.in_slice);
    let preferred =
        || own.state == RouteState::Served && leads() && !is_open_for(reading.class, &known.candidates, rw);
    match reading.destination(policy) {
        Destination::Primary => own,
        Destination::PrimaryPreferred if preferred() => own,
        Destination::PrimaryPreferred | Destination::Replicas | Destination::ReplicasOnly => {
            from_replicas(policy, known, choice, reading)
        }
    }
}

/// The route of writes as another Service leads to it.
fn carried(rw: &Route, families: Option<Families>) -> Route {
    let mut route = rw.clone();
    for member in &mut route.members {
        member.carried = families.is_none_or(|families| families.carry(member.address));
        member.in_slice = member.carried;
    }
    route
}

/// Whether the holder of the writes does not answer the probe query of the class.
fn is_open_for(class: Option<&Class>, known: &[Candidate<'_>], rw: &Route) -> bool {
    let Some(class) = class else { return false };
    let holder = |candidate: &&Candidate<'_>| {
        let mut members = rw.members.iter();
        members.any(|member| member.target == candidate.judgement.target)
    };
    let own = known
        .iter()
        .find(holder)
        .and_then(|it| it.judgement.classes.get(&class.name));
    own.is_some_and(|own| matches!(own.circuit, Circuit::Open { .. }))
}

fn from_replicas(policy: &Policy, known: &Known<'_>, choice: &WriteChoice, reading: Reading<'_>) -> Route {
    let places = Places::from(policy, reading.region);
    let usable = known
        .candidates
        .iter()
        .filter(|candidate| candidate.endpoint.weight > 0);
    let seen: Vec<Candidate<'_>> = usable
        .map(|candidate| match reading.class {
            Some(class) => candidate.seen_by(policy, class),
            None => *candidate,
        })
        .map(|candidate| candidate.in_order(places.of(candidate.endpoint)))
        .map(|candidate| candidate.carried_by(reading.families))
        .collect();
    let primary = seen
        .iter()
        .find(|candidate| {
            let holds = choice.holding.holder.as_ref() == Some(&candidate.judgement.target);
            holds && candidate.role == Role::Primary && reading.may_use_primary()
        })
        .copied();
    let standbys = seen.iter().filter(|it| it.role == Role::Standby).copied();
    let (all, of_others): (Vec<_>, Vec<_>) = standbys.partition(|it| reading.is_served_by(it.endpoint));
    let pool = pool(policy, reading, &all, &known.passed_over);
    let choice = Choice {
        policy,
        fallback: reading.fallback,
        replicas: &pool.replicas,
        dedicated: &of_others,
        primary: primary.as_ref(),
        farther: places.count(),
        least: pool.least,
    };
    let leads = |route: &Route| route.members.iter().any(|member| member.in_slice);
    let mut route = choice.route();
    if !leads(&route) && policy.failover.on_read_loss == OnReadLoss::Hold {
        let held = choice.held(&all);
        // Where no Service can lead to anybody, those that are well serve the clients that need none.
        if leads(&held) || route.members.is_empty() {
            return held;
        }
    }
    if pool.elsewhere && !route.members.is_empty() {
        route.state = RouteState::Fallback;
    }
    keep_the_nearest_in_slice(&mut route.members);
    route
}

/// Whom a route is chosen from.
struct Pool<'a> {
    replicas: Vec<Candidate<'a>>,
    /// So many of them must be eligible.
    least: usize,
    /// Others were to be selected.
    elsewhere: bool,
}

/// The selected replicas where enough of them are eligible, or else all.
fn pool<'a>(
    policy: &Policy,
    reading: Reading<'_>,
    all: &[Candidate<'a>],
    passed_over: &BTreeSet<&EndpointId>,
) -> Pool<'a> {
    let selection = reading.selection(policy);
    let declared = |selection: Option<Selection<'_>>| {
        let counts = |endpoint: &&Endpoint| {
            endpoint.state == EndpointState::Active
                && endpoint.weight > 0
                && reading.is_served_by(endpoint)
                && !passed_over.contains(&endpoint.id)
                && selection.is_none_or(|selection| selection.has(endpoint))
        };
        policy.replicas().filter(counts).count()
    };
    let least = |count| policy.failover.min_healthy.of(count).max(1);
    if let Some(selection) = selection {
        let chosen: Vec<_> = all
            .iter()
            .filter(|candidate| selection.has(candidate.endpoint))
            .copied()
            .collect();
        let count = declared(Some(selection));
        // More than there are cannot be asked of them.
        let enough = least(count).min(count.max(1));
        if chosen.iter().filter(|it| it.is_all_in()).count() >= enough {
            return Pool {
                replicas: chosen,
                least: enough,
                elsewhere: false,
            };
        }
    }
    Pool {
        replicas: all.to_vec(),
        least: least(declared(None)),
        elsewhere: selection.is_some(),
    }
}
