//! Who serves reads, of one class or from one region.
//!
//! | in this order                                   | state      |
//! |-------------------------------------------------|------------|
//! | replicas that are selected and eligible         | `Served`   |
//! | any replica that is eligible                    | `Fallback` where some were selected |
//! | fewer than `minHealthyReplicas`: those whose newest check is good (`Early`), then the members of the fallback in order | added; `Fallback` where they are alone |
//! | nobody: all that are not proven wrong           | `Held`     |
//!
//! Of a region the servers of the first region that has any are in the slice; the others follow in routing.json.

use super::candidate::Candidate;
use super::{Admission, Member, Route, RouteState};
use crate::domain::observation::Role;
use crate::domain::policy::{EndpointState, Policy};
use crate::domain::primary::Election;
use crate::domain::routing::{Class, ReadFallback, Region, Selector, Target};

/// Whose reads they are.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    target: Target,
    class: Option<&'a Class>,
    region: Option<&'a Region>,
    fallback: &'a [ReadFallback],
}

impl<'a> Reading<'a> {
    /// Reads that no class names.
    pub fn unnamed(policy: &'a Policy) -> Self {
        Self {
            target: policy.routing.default_target,
            class: None,
            region: None,
            fallback: &policy.failover.read_fallback,
        }
    }

    pub fn of_class(policy: &'a Policy, class: &'a Class) -> Self {
        Self {
            target: class.target,
            class: Some(class),
            region: None,
            fallback: class
                .read_fallback
                .as_ref()
                .unwrap_or(&policy.failover.read_fallback),
        }
    }

    /// Reads that no class names, from this region.
    pub fn of_region(policy: &'a Policy, region: &'a Region) -> Self {
        Self {
            region: Some(region),
            ..Self::unnamed(policy)
        }
    }

    fn selects(&self, candidate: &Candidate<'_>) -> bool {
        let selector = self.class.map(|class| &class.selector);
        selector.is_none_or(|selector| selector.selects(candidate.endpoint))
    }

    fn may_use(&self, member: ReadFallback) -> bool {
        self.fallback.contains(&member)
            && !(member == ReadFallback::Primary && self.target == Target::ReplicasOnly)
    }
}

/// Decides one route. `rw` is the route of writes.
pub fn reads(
    policy: &Policy,
    known: &[Candidate<'_>],
    election: &Election,
    rw: &Route,
    reading: Reading<'_>,
) -> Route {
    let target = if policy.routing.replicas {
        reading.target
    } else {
        Target::Primary
    };
    let replicas = || from_replicas(policy, known, election, reading);
    match target {
        Target::Primary => rw.clone(),
        Target::PrimaryPreferred if rw.state == RouteState::Served => rw.clone(),
        Target::PrimaryPreferred | Target::Replicas | Target::ReplicasOnly => replicas(),
    }
}

fn from_replicas(
    policy: &Policy,
    known: &[Candidate<'_>],
    election: &Election,
    reading: Reading<'_>,
) -> Route {
    let seen = |candidate: &Candidate<'_>| match reading.class {
        Some(class) => candidate.seen_by(policy, class),
        None => *candidate,
    };
    let all: Vec<Candidate<'_>> = known
        .iter()
        .filter(|candidate| candidate.role == Role::Standby && candidate.endpoint.weight > 0)
        .map(|candidate| in_region(policy, seen(candidate), reading.region))
        .collect();
    let primary = known.iter().find(|candidate| {
        let holds = election.tenure.holder.as_ref() == Some(&candidate.judgement.target);
        holds && candidate.role == Role::Primary && candidate.endpoint.weight > 0
    });
    let primary = primary.filter(|_| reading.may_use(ReadFallback::Primary));
    let chosen: Vec<_> = all
        .iter()
        .filter(|candidate| reading.selects(candidate))
        .copied()
        .collect();
    let selected = chosen.iter().any(Candidate::is_all_in);
    let narrowed = selected && chosen.len() < all.len();
    let pool = if selected { &chosen } else { &all };
    // Somebody was to be selected, and others serve.
    let elsewhere = !selected
        && reading
            .class
            .is_some_and(|class| class.selector != Selector::default());
    let least = if narrowed {
        least(policy, Some(reading))
    } else {
        least(policy, None)
    };
    let choice = Choice {
        policy,
        reading,
        pool,
        primary,
        least,
    };
    let mut route = choice.members().unwrap_or_else(|| held(policy, &all, primary));
    if elsewhere && route.state == RouteState::Served {
        route.state = RouteState::Fallback;
    }
    near_ones_in_slice(&mut route.members);
    route
}

/// So many replicas must be eligible: of those that are declared, active, and selected by a reading that is given.
fn least(policy: &Policy, reading: Option<Reading<'_>>) -> usize {
    let selector = reading
        .and_then(|reading| reading.class)
        .map(|class| &class.selector);
    let replicas = policy.replicas().filter(|endpoint| {
        endpoint.state == EndpointState::Active
            && endpoint.weight > 0
            && selector.is_none_or(|selector| selector.selects(endpoint))
    });
    policy.failover.min_healthy.of(replicas.count()).max(1)
}

/// What one route is chosen from.
struct Choice<'a> {
    policy: &'a Policy,
    reading: Reading<'a>,
    pool: &'a [Candidate<'a>],
    primary: Option<&'a Candidate<'a>>,
    least: usize,
}

impl Choice<'_> {
    /// `None` where nobody would be in a slice.
    fn members(&self) -> Option<Route> {
        let mut eligible = self.pool.iter().filter(|it| it.is_all_in()).count();
        let few = eligible < self.least;
        let admit = |candidate: &&Candidate<'_>| {
            let admission = match (candidate.is_well(), few && candidate.answers()) {
                (_, true) => Admission::Early,
                (true, false) => Admission::Eligible,
                (false, false) => return None,
            };
            Some(candidate.member(self.policy.strategy, admission))
        };
        let mut members: Vec<Member> = self.pool.iter().filter_map(|it| admit(&it)).collect();
        eligible = members.iter().filter(|member| member.in_slice).count();
        let served = eligible > 0;
        if eligible < self.least {
            self.add_fallback(&mut members, self.least - eligible);
        }
        sort(self.policy, &mut members);
        let state = if served {
            RouteState::Served
        } else {
            RouteState::Fallback
        };
        let anybody = members.iter().any(|member| member.in_slice);
        anybody.then_some(Route { state, members })
    }

    /// Adds members of the fallback in order, until `missing` are added.
    fn add_fallback(&self, members: &mut Vec<Member>, missing: usize) {
        let mut missing = missing;
        for fallback in self.reading.fallback {
            let added: Vec<Member> = match fallback {
                ReadFallback::LaggingReplicas => self.lagging(missing),
                ReadFallback::Primary => self.primary_member().into_iter().collect(),
            };
            missing = missing.saturating_sub(added.len());
            members.extend(added);
            if missing == 0 {
                return;
            }
        }
    }

    fn lagging(&self, most: usize) -> Vec<Member> {
        let mut lagging: Vec<_> = self
            .pool
            .iter()
            .filter_map(|candidate| Some((candidate.behind()?, candidate)))
            .collect();
        lagging.sort_by_key(|(behind, candidate)| {
            (*behind, candidate.endpoint.priority, &candidate.judgement.target)
        });
        let members = lagging.into_iter().take(most);
        members
            .map(|(_, candidate)| candidate.member(self.policy.strategy, Admission::Fallback))
            .collect()
    }

    fn primary_member(&self) -> Option<Member> {
        let primary = self
            .primary
            .filter(|primary| primary.is_well() || primary.answers())?;
        let order = self
            .pool
            .iter()
            .map(|candidate| candidate.order)
            .max()
            .unwrap_or(0);
        let primary = primary.in_order(order);
        Some(primary.member(self.policy.strategy, Admission::Fallback))
    }
}

/// Nobody is well: all that are not proven wrong, as the fault may be the operator's own network.
fn held(policy: &Policy, all: &[Candidate<'_>], primary: Option<&Candidate<'_>>) -> Route {
    let order = all.iter().map(|candidate| candidate.order).max().unwrap_or(0);
    let primary = primary.map(|primary| primary.in_order(order));
    let mut members: Vec<Member> = all
        .iter()
        .chain(primary.iter())
        .map(|candidate| candidate.member(policy.strategy, Admission::Held))
        .collect();
    sort(policy, &mut members);
    if members.is_empty() {
        return Route::default();
    }
    Route {
        state: RouteState::Held,
        members,
    }
}

/// By region, then by priority, id and address.
fn sort(policy: &Policy, members: &mut [Member]) {
    let priority = |member: &Member| {
        policy
            .endpoint(&member.target.endpoint)
            .map_or(u16::MAX, |endpoint| endpoint.priority)
    };
    members.sort_by(|a, b| {
        (a.order, priority(a), &a.target, a.address).cmp(&(b.order, priority(b), &b.target, b.address))
    });
}

/// Own region, its declared fallbacks in order, other regions by the lowest priority in them and by name.
fn in_region<'a>(policy: &Policy, candidate: Candidate<'a>, region: Option<&Region>) -> Candidate<'a> {
    let Some(home) = region else { return candidate };
    let own = candidate.endpoint.region.as_deref();
    let named = std::iter::once(&home.name).chain(&home.failover);
    let mut places: Vec<&str> = named.map(String::as_str).collect();
    let mut others: Vec<(u16, &str)> = policy
        .endpoints
        .iter()
        .filter_map(|endpoint| Some((endpoint.priority, endpoint.region.as_deref()?)))
        .collect();
    others.sort_unstable();
    for (_, other) in others {
        if !places.contains(&other) {
            places.push(other);
        }
    }
    let place = own.and_then(|own| places.iter().position(|place| *place == own));
    candidate.in_order(u16::try_from(place.unwrap_or(places.len())).unwrap_or(u16::MAX))
}

/// Of several orders only the first that is in a slice at all stays in it.
fn near_ones_in_slice(members: &mut [Member]) {
    let Some(first) = members
        .iter()
        .filter(|member| member.in_slice)
        .map(|member| member.order)
        .min()
    else {
        return;
    };
    for member in members.iter_mut().filter(|member| member.order > first) {
        member.in_slice = false;
    }
}
