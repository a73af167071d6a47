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
    /// Where it may stand in.
    pub primary: Option<&'a Candidate<'a>>,
    /// A fallback comes after so many places.
    pub farther: u16,
    pub least: usize,
}

impl Choice<'_> {
    /// `None` where nobody would be in a slice.
    pub fn route(&self) -> Option<Route> {
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
        self.add_fallback(&mut members, self.least.saturating_sub(eligible));
        self.sort(&mut members);
        let state = if eligible > 0 {
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
        let own = self.fallback.iter().copied();
        // Where the primary is preferred it stands in last, whatever the list says.
        let rest = [ReadFallback::Primary].into_iter();
        let mut used = false;
        for fallback in own.chain(rest) {
            if missing == 0 {
                return;
            }
            let added = match fallback {
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
        let member = |candidate: &Candidate<'_>| {
            let farther = candidate.in_order(candidate.order + self.farther);
            farther.member(self.policy.strategy, Admission::Fallback)
        };
        self.replicas.iter().filter(near).map(member).collect()
    }

    fn primary_member(&self) -> Option<Member> {
        let primary = self
            .primary
            .filter(|primary| primary.is_well() || primary.answers())?;
        Some(primary.member(self.policy.strategy, Admission::Fallback))
    }

    /// Nobody is well: all that are not proven wrong, as the fault may be the operator's own network.
    pub fn held(&self, all: &[Candidate<'_>]) -> Route {
        let everybody = all.iter().chain(self.primary);
        let mut members: Vec<Member> = everybody
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
