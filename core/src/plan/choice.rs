//! The members of one route for reads: who is eligible, who is admitted early, the fallback, and who is held.

use super::candidate::Candidate;
use super::route::{Admission, Member, Route, RouteState};
use crate::level::LagStep;
use crate::policy::Policy;
use crate::routing::ReadFallback;

/// What one route is chosen from.
pub struct Choice<'a> {
    pub policy: &'a Policy,
    pub fallback: &'a [ReadFallback],
    pub replicas: &'a [Candidate<'a>],
    /// Those that are dedicated to other classes.
    pub dedicated: &'a [Candidate<'a>],
    /// Where it may stand in.
    pub primary: Option<&'a Candidate<'a>>,
    /// A fallback comes after so many places, and what stands after it in the list after twice as many.
    pub farther: u16,
    pub least: usize,
}

impl Choice<'_> {
    /// Its slice holds nobody where nobody who is carried may serve.
    pub fn route(&self) -> Route {
        let few = self.replicas.iter().filter(|it| it.is_all_in()).count() < self.least;
        let admit = |candidate: &Candidate<'_>| {
            let admission = match (candidate.is_well(), few && candidate.answers()) {
                (_, true) => Admission::Early,
                (true, false) => Admission::Eligible,
                (false, false) => return None,
            };
            Some(candidate.member(self.policy.strategy, admission))
        };
        let mut members: Vec<Member> = self.replicas.iter().filter_map(admit).collect();
        let eligible = members.iter().filter(|member| member.in_slice).count();
        let of_uris = members.iter().filter(|member| member.in_uris).count();
        self.add_fallback(&mut members, self.least.saturating_sub(eligible));
        if of_uris >= self.least {
            keep_stand_ins_out_of_uris(&mut members);
        }
        if members.is_empty() {
            return Route::default();
        }
        self.sort(&mut members);
        let by_fallback = members
            .iter()
            .any(|member| member.admission == Admission::Fallback);
        let state = if eligible == 0 && by_fallback {
            RouteState::Fallback
        } else {
            RouteState::Served
        };
        Route { state, members }
    }

    /// Adds members of the fallback in order, until `missing` are added.
    fn add_fallback(&self, members: &mut Vec<Member>, missing: usize) {
        let mut missing = missing;
        let own = self.fallback.iter().copied();
        // Where the primary is preferred it stands in last, whatever the list says.
        let rest = [ReadFallback::Primary].into_iter();
        let mut used = false;
        for fallback in own.chain(rest) {
            if missing == 0 {
                return;
            }
            let added = match fallback {
                ReadFallback::DedicatedReplicas => self.dedicated(missing),
                ReadFallback::LaggingReplicas => self.lagging(missing),
                ReadFallback::Primary if used => Vec::new(),
                ReadFallback::Primary => {
                    used = true;
                    self.primary_member().into_iter().collect()
                }
            };
            missing = missing.saturating_sub(added.len());
            members.extend(added);
        }
    }

    /// The least behind, at least so many where there are; those that are as far behind as the last of them serve too.
    fn lagging(&self, missing: usize) -> Vec<Member> {
        let mut steps: Vec<LagStep> = self.replicas.iter().filter_map(Candidate::behind).collect();
        steps.sort_unstable();
        let Some(last) = steps.get(missing.min(steps.len()).saturating_sub(1)) else {
            return Vec::new();
        };
        let near = |candidate: &&Candidate<'_>| candidate.behind().is_some_and(|behind| behind <= *last);
        let stand_in = |candidate| self.stand_in(candidate, ReadFallback::LaggingReplicas);
        self.replicas.iter().filter(near).map(stand_in).collect()
    }

    /// Those of them that are well, at least so many where there are: the nearest ones and the lowest priorities first, and who
    /// returns last; those that are like the last of them serve too.
    fn dedicated(&self, missing: usize) -> Vec<Member> {
        let may = |candidate: &&Candidate<'_>| candidate.carried && candidate.is_well();
        let well = || self.dedicated.iter().filter(may);
        let rank = |candidate: &Candidate<'_>| {
            let returns = !candidate.is_all_in();
            (returns, candidate.order, candidate.endpoint.priority)
        };
        let mut ranks: Vec<_> = well().map(rank).collect();
        ranks.sort_unstable();
        let Some(last) = ranks.get(missing.min(ranks.len()).saturating_sub(1)) else {
            return Vec::new();
        };
        let first = well().filter(|candidate| rank(candidate) <= *last);
        first
            .map(|candidate| self.stand_in(candidate, ReadFallback::DedicatedReplicas))
            .collect()
    }

    /// A replica as a fallback, after the replicas that stand before it in the list.
    fn stand_in(&self, candidate: &Candidate<'_>, fallback: ReadFallback) -> Member {
        let before = self.fallback.iter().take_while(|other| **other != fallback);
        let places = 1 + replicas_among(before);
        let farther = candidate.in_order(candidate.order + self.farther.saturating_mul(places));
        farther.member(self.policy.strategy, Admission::Fallback)
    }

    fn primary_member(&self) -> Option<Member> {
        let primary = self.farthest_primary().filter(Candidate::may_stand_in)?;
        Some(primary.member(self.policy.strategy, Admission::Fallback))
    }

    /// The primary after all replicas.
    fn farthest_primary(&self) -> Option<Candidate<'_>> {
        let places = 1 + replicas_among(self.fallback.iter()).max(1);
        let primary = self.primary?;
        Some(primary.in_order(self.farther.saturating_mul(places)))
    }

    /// Nobody is well: of those that are not proven wrong those that answer; or all, as the fault may be the operator's own
    /// network.
    pub fn held(&self, all: &[Candidate<'_>]) -> Route {
        let everybody = || all.iter().copied().chain(self.farthest_primary());
        let some_answer = everybody().any(|candidate| candidate.carried && candidate.is_heard());
        let mut members: Vec<Member> = everybody()
            .filter(|candidate| !some_answer || candidate.is_heard())
            .map(|candidate| candidate.member(self.policy.strategy, Admission::Held))
            .collect();
        self.sort(&mut members);
        if members.is_empty() {
            return Route::default();
        }
        Route {
            state: RouteState::Held,
            members,
        }
    }

    /// By region, then by priority, id and address.
    fn sort(&self, members: &mut [Member]) {
        let priority = |member: &Member| {
            let endpoint = self.policy.endpoint(&member.target.endpoint);
            endpoint.map_or(u16::MAX, |endpoint| endpoint.priority)
        };
        members.sort_by(|a, b| {
            (a.order, priority(a), &a.target, a.address).cmp(&(b.order, priority(b), &b.target, b.address))
        });
    }
}

/// They stand in for servers that the Service cannot carry, and URIs can.
fn keep_stand_ins_out_of_uris(members: &mut [Member]) {
    let stand_ins = members.iter_mut();
    for member in stand_ins.filter(|member| member.admission == Admission::Fallback) {
        member.in_uris = false;
    }
}

/// How many of the members of a fallback are replicas.
fn replicas_among<'a>(fallback: impl Iterator<Item = &'a ReadFallback>) -> u16 {
    let replicas = fallback
        .filter(|member| **member != ReadFallback::Primary)
        .count();
    u16::try_from(replicas).unwrap_or(u16::MAX)
}
