//! Servers that became writable while the holder took the writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{Claim, Contenders, Holding, Rules};
use crate::ids::{EndpointId, TargetId};
use crate::moment::Moment;
use crate::observation::Role;
use crate::seeded::SeededFault;

impl Contenders<'_> {
    /// Those that are writable. While a contested one is, or the holder is unproven beside another one, the holder is one of
    /// them, whether it answers or not.
    pub(super) fn split(&self, holding: &Holding, unproven: bool) -> Vec<TargetId> {
        let holds = |claim: &Claim| holding.holder.as_ref() == Some(&claim.target);
        let mut writable = self.writable();
        let contest = unproven || writable.any(|claim| self.is_contested(holding, claim));
        let suspects = || {
            let is_one =
                |claim: &&Claim| (claim.writes() && self.belongs(claim)) || (contest && holds(claim));
            self.claims.iter().filter(is_one)
        };
        let mut servers = BTreeMap::<SocketAddr, &Claim>::new();
        for claim in suspects() {
            let known = servers.entry(claim.instance).or_insert(claim);
            if holds(claim) {
                *known = claim;
            }
        }
        if servers.len() < 2 {
            return Vec::new();
        }
        let named = |claim: &&Claim| {
            servers
                .get(&claim.instance)
                .is_some_and(|one| one.target == claim.target)
        };
        suspects()
            .filter(named)
            .map(|claim| claim.target.clone())
            .collect()
    }

    /// The contested servers as of now, and the endpoints whose contested server is out of sight.
    pub(super) fn contested(
        &self,
        holding: &Holding,
        rules: Rules<'_>,
        now: Moment,
    ) -> (BTreeSet<SocketAddr>, BTreeSet<EndpointId>) {
        let mut contested = holding.contested.clone();
        let mut unseen = holding.contested_endpoints.clone();
        let is_led = |claim: &Claim| self.all_follow(claim, rules);
        let Some(holder) = self.present(holding) else {
            if rules.warm && rules.awaited.is_none() {
                // It has left, and nobody awaits it.
                contested.retain(|server| {
                    let claim = self.claims.iter().find(|claim| claim.server == *server);
                    claim.is_none_or(|claim| !is_led(claim))
                });
                unseen.retain(|endpoint| !self.unseen(endpoint).any(is_led));
            }
            return (contested, unseen);
        };
        if self.stays_at(holding, holder).is_some() {
            // Who answers is another server.
            return (contested, unseen);
        }
        if holder.role == Some(Role::Standby) && holder.answers {
            return (BTreeSet::new(), BTreeSet::new());
        }
        let told = |claim: &Claim| claim.told_writable() && self.belongs(claim);
        if told(holder) && !self.is_below(holder) {
            // One that may not follow anyway needs no contest.
            let is_other = |claim: &&Claim| claim.instance != holder.instance && self.is_current(claim);
            let others = self.claims.iter().filter(|claim| told(claim)).filter(is_other);
            let later = |claim: &&Claim| matches!((claim.writable_since, holder.asked), (Some(since), Some(asked)) if asked > since);
            contested.extend(others.filter(later).map(|claim| claim.server));
        }
        let out = |since: Moment| now >= since + rules.failover_timeout;
        let lost = holder.failing_since.is_some_and(out);
        let ends = |claim: &Claim| claim.instance == holder.instance || lost && is_led(claim);
        contested.retain(|server| {
            let claim = self.claims.iter().find(|claim| claim.server == *server);
            // One that nobody knows any more, when all were checked, is not declared.
            claim.map_or(!rules.warm, |claim| {
                let is_standby = claim.role == Some(Role::Standby) && claim.answers;
                !(is_standby || ends(claim))
            })
        });
        unseen.retain(|endpoint| !self.unseen(endpoint).any(ends));
        (contested, unseen)
    }

    /// Whether its server is contested, under this or another name.
    pub(super) fn is_contested(&self, holding: &Holding, claim: &Claim) -> bool {
        let none = holding.contested.is_empty() && holding.contested_endpoints.is_empty();
        // This is asked of every server, and mostly there is no contest.
        if none || SeededFault::ContestedIgnored.is_on() {
            return false;
        }
        let mut names = self
            .claims
            .iter()
            .filter(|other| other.instance == claim.instance);
        names.any(|name| {
            let holds = holding.holder.as_ref() == Some(&name.target);
            let endpoint = holding.contested_endpoints.get(&name.target.endpoint);
            let is_unseen = endpoint.is_some() && !holds && self.may_be_unseen(name);
            is_unseen || holding.contested.contains(&name.server)
        })
    }

    /// What may be the contested server of an endpoint that was out of sight.
    fn unseen<'b>(&'b self, endpoint: &'b EndpointId) -> impl Iterator<Item = &'b Claim> {
        let of_it = self
            .claims
            .iter()
            .filter(move |claim| claim.target.endpoint == *endpoint);
        of_it.filter(|claim| self.may_be_unseen(claim))
    }

    /// Of a Service, a pod that nobody knows; the successor of the holder's pod is on the timeline of the mark.
    fn may_be_unseen(&self, claim: &Claim) -> bool {
        !claim.by_service || (!claim.was_standby && self.is_above(claim))
    }

    /// Whether all other standbys that answer, at least two, follow this server, on a timeline above the mark.
    fn all_follow(&self, claim: &Claim, rules: Rules<'_>) -> bool {
        let standbys = || {
            let others = self
                .claims
                .iter()
                .filter(|other| other.instance != claim.instance);
            others.filter(|other| other.role == Some(Role::Standby) && other.answers)
        };
        let servers: BTreeSet<_> = standbys().map(|other| other.instance).collect();
        let contest = rules.contests.and_then(|contests| contests.get(&claim.target));
        // What its receiver tells is the timeline that it follows; a plain login is not told.
        let follows = |other: &Claim| {
            let proven = contest.is_some_and(|contest| contest.is_followed_by(&other.target));
            self.belongs(other) && (other.timeline == claim.timeline || proven)
        };
        claim.writes() && self.is_above(claim) && servers.len() >= 2 && standbys().all(follows)
    }
}
