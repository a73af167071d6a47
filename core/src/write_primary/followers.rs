//! Who may take the writes over.

use std::collections::BTreeSet;

use super::{Claim, Contenders, Holding, Rules};

impl<'a> Contenders<'a> {
    /// The one server that may take over; `None` where there are more.
    pub(super) fn successor(&self, holding: &Holding, pinned: bool) -> Option<&'a Claim> {
        let followers = || self.followers(holding, pinned);
        let servers: BTreeSet<_> = followers().map(|claim| claim.instance).collect();
        followers().next().filter(|_| servers.len() == 1)
    }

    /// The writable servers that may take over. `pinned`: of the declared primary, whose Service leads to another pod.
    pub(super) fn followers(&self, holding: &Holding, pinned: bool) -> impl Iterator<Item = &'a Claim> {
        let told = move |claim: &Claim| {
            self.unchecked || (self.identity.is_some() && claim.identity == self.identity)
        };
        let takes_over = move |claim: &Claim| {
            claim.promotable && told(claim) && (claim.was_standby || self.stands_in(claim))
        };
        let may = move |claim: &&Claim| {
            let may = if pinned { claim.declared } else { takes_over(claim) };
            may && claim.well && self.is_current(claim) && !self.is_contested(holding, claim)
        };
        self.writable()
            .filter(|claim| Some(&claim.target) != holding.holder.as_ref())
            .filter(may)
    }

    /// A pod that needs not to have been seen as a standby itself: the successor of the holder's pod in its Service, or a pod
    /// of a Service of standbys, on a timeline above the mark.
    fn stands_in(&self, claim: &Claim) -> bool {
        let succeeds = self.left.as_ref() == Some(&claim.target.endpoint);
        claim.by_service && (succeeds || (claim.pod_of_standby && self.is_above(claim)))
    }

    /// The one server of the route as it was found that proves that it takes the writes, while the remembered holder does not.
    pub(super) fn found(&self, holding: &Holding, rules: Rules<'_>, pinned: bool) -> Option<&'a Claim> {
        let servers = rules.found.filter(|_| rules.warm)?;
        let proves = |claim: &Claim| claim.is_proven() && self.stays_at(holding, claim).is_none();
        if self.present(holding).is_some_and(proves) {
            return None;
        }
        let may = |claim: &&Claim| {
            let is_there = servers.contains(&claim.server) && !self.is_contested(holding, claim);
            is_there && claim.is_proven() && self.is_current(claim) && (claim.declared || !pinned)
        };
        let found: Vec<_> = self.writable().filter(may).collect();
        let one: BTreeSet<_> = found.iter().map(|claim| claim.instance).collect();
        found.into_iter().next().filter(|_| one.len() == 1)
    }
}
