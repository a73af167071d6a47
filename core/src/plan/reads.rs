//! Who serves reads, of one class or from one region.
//!
//! | in this order                                              | state      |
//! |------------------------------------------------------------|------------|
//! | replicas that are selected and eligible, if they are enough | `Served`   |
//! | any replica that is eligible                               | `Served`; `Fallback` where others were to be selected |
//! | too few: also those whose newest check is good (`Early`), then the members of the fallback in order | `Fallback` where no replica is eligible |
//! | nobody: all that are not proven wrong                      | `Held`     |
//!
//! Enough is `minHealthyReplicas`. Of a region only the nearest servers are in the slice, and any fresh one is nearer than
//! a fallback; the others follow in routing.json.

use super::candidate::Candidate;
use super::choice::Choice;
use super::regions::{Places, keep_the_nearest_in_slice};
use super::route::{Route, RouteState};
use crate::breaker::Circuit;
use crate::cluster::Cluster;
use crate::observation::Role;
use crate::policy::{Endpoint, EndpointState, Policy};
use crate::routing::{Class, Destination, ReadFallback, Region, Selector};
use crate::write_primary::WriteChoice;

/// Whose reads they are.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    destination: Destination,
    class: Option<&'a Class>,
    region: Option<&'a Region>,
    fallback: &'a [ReadFallback],
}

impl<'a> Reading<'a> {
    /// Reads that no class names: as from the region of the cluster, where the policy knows it.
    pub fn unnamed(policy: &'a Policy, cluster: &Cluster) -> Self {
        Self {
            destination: policy.routing.default_destination.into(),
            class: None,
            region: cluster.home(policy),
            fallback: &policy.failover.read_fallback,
        }
    }

    pub fn of_class(policy: &'a Policy, class: &'a Class) -> Self {
        let own = class.read_fallback.as_ref();
        Self {
            destination: class.destination,
            class: Some(class),
            region: None,
            fallback: own.unwrap_or(&policy.failover.read_fallback),
        }
    }

    /// Reads that no class names, from this region.
    pub fn of_region(policy: &'a Policy, region: &'a Region) -> Self {
        Self {
            region: Some(region),
            ..Self::unnamed(policy, &Cluster::default())
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

    /// The selector, where not all are selected.
    fn selector(&self) -> Option<&'a Selector> {
        let selector = self.class.map(|class| &class.selector);
        selector.filter(|selector| !selector.selects_all())
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

/// Decides one route. `rw` is the route of writes.
pub fn reads(
    policy: &Policy,
    known: &[Candidate<'_>],
    choice: &WriteChoice,
    rw: &Route,
    reading: Reading<'_>,
) -> Route {
    let preferred = || rw.state == RouteState::Served && !is_open_for(reading.class, known, rw);
    match reading.destination(policy) {
        Destination::Primary => rw.clone(),
        Destination::PrimaryPreferred if preferred() => rw.clone(),
        Destination::PrimaryPreferred | Destination::Replicas | Destination::ReplicasOnly => {
            from_replicas(policy, known, choice, reading)
        }
    }
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

fn from_replicas(
    policy: &Policy,
    known: &[Candidate<'_>],
    choice: &WriteChoice,
    reading: Reading<'_>,
) -> Route {
    let places = Places::from(policy, reading.region);
    let usable = known.iter().filter(|candidate| candidate.endpoint.weight > 0);
    let seen: Vec<Candidate<'_>> = usable
        .map(|candidate| match reading.class {
            Some(class) => candidate.seen_by(policy, class),
            None => *candidate,
        })
        .map(|candidate| candidate.in_order(places.of(candidate.endpoint)))
        .collect();
    let primary = seen
        .iter()
        .find(|candidate| {
            let holds = choice.holding.holder.as_ref() == Some(&candidate.judgement.target);
            holds && candidate.role == Role::Primary && reading.may_use_primary()
        })
        .map(|primary| primary.in_order(places.count().saturating_mul(2)));
    let all: Vec<_> = seen
        .iter()
        .filter(|it| it.role == Role::Standby)
        .copied()
        .collect();
    let pool = pool(policy, reading, &all);
    let choice = Choice {
        policy,
        fallback: reading.fallback,
        replicas: &pool.replicas,
        primary: primary.as_ref(),
        farther: places.count(),
        least: pool.least,
    };
    let Some(mut route) = choice.route() else {
        return choice.held(&all);
    };
    if pool.elsewhere {
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
fn pool<'a>(policy: &Policy, reading: Reading<'_>, all: &[Candidate<'a>]) -> Pool<'a> {
    let declared = |selector: Option<&Selector>| {
        let counts = |endpoint: &&Endpoint| {
            endpoint.state == EndpointState::Active
                && endpoint.weight > 0
                && selector.is_none_or(|selector| selector.selects(&endpoint.id, &endpoint.tags))
        };
        policy.replicas().filter(counts).count()
    };
    let least = |count| policy.failover.min_healthy.of(count).max(1);
    if let Some(selector) = reading.selector() {
        let chosen: Vec<_> = all
            .iter()
            .filter(|candidate| selector.selects(&candidate.endpoint.id, &candidate.endpoint.tags))
            .copied()
            .collect();
        let count = declared(Some(selector));
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
        elsewhere: reading.selector().is_some(),
    }
}
