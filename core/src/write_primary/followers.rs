//! Who may take over the writes.
//!
//! Any server but the holder may, where no [`Obstacle`] is in its way. One that takes writes does, where no other one that
//! takes writes may, once the holder is lost or is a standby. Another one that took writes when it was last seen counts until
//! it is out for `failoverTimeout`: one missed deadline makes of two servers no single one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Claim, Contenders, Holding, Obstacle, Rules};
use crate::ids::TargetId;
use crate::moment::Moment;
use crate::observation::Role;

impl<'a> Contenders<'a> {
    /// The one server that may take over; `None` where there are more. And when there may be one, by the time alone.
    pub(super) fn successor(
        &self,
        holding: &Holding,
        rules: Rules<'_>,
        now: Moment,
    ) -> (Option<&'a Claim>, Option<Moment>) {
        let followers = || self.followers(holding, rules.pinned());
        let servers: BTreeSet<_> = followers().map(|claim| claim.instance).collect();
        let one = followers().next().filter(|_| servers.len() == 1 && rules.warm);
        let Some(one) = one else {
            return (None, None);
        };
        let others = self.unproven(holding, rules.pinned());
        let others = others.filter(|claim| claim.instance != one.instance);
        let out_at = others.map(|claim| claim.failing_since.map(|since| since + rules.failover_timeout));
        // The first deadline; none while there is one that is not out.
        match out_at.filter(|at| at.is_none_or(|at| now < at)).min() {
            Some(again) => (None, again),
            None => (Some(one), None),
        }
    }

    /// The writable servers that may take over. `pinned`: of the declared primary, whose Service leads to another pod.
    pub(super) fn followers(&self, holding: &Holding, pinned: bool) -> impl Iterator<Item = &'a Claim> {
        self.kept_by(None, holding, pinned)
    }

    /// Those that took writes when they were last seen, and might take over if their newest check proved it.
    fn unproven(&self, holding: &Holding, pinned: bool) -> impl Iterator<Item = &'a Claim> {
        let holder = self.present(holding).map(|holder| holder.instance);
        let unproven = self.kept_by(Some(Obstacle::NotProven), holding, pinned);
        unproven.filter(move |claim| Some(claim.instance) != holder)
    }

    /// The other servers that took writes when they were last seen, and have this in their way alone.
    fn kept_by(
        &self,
        obstacle: Option<Obstacle>,
        holding: &Holding,
        pinned: bool,
    ) -> impl Iterator<Item = &'a Claim> {
        let is_other = |claim: &&Claim| Some(&claim.target) != holding.holder.as_ref();
        let takes_writes = |claim: &&Claim| claim.role == Some(Role::Primary);
        let claims = self.claims.iter().filter(takes_writes).filter(is_other);
        claims.filter(move |claim| self.obstacle(holding, claim, pinned) == obstacle)
    }

    /// What keeps each other server from taking over.
    pub(super) fn obstacles(&self, holding: &Holding, pinned: bool) -> BTreeMap<TargetId, Obstacle> {
        let present = self.present(holding);
        let claims = self.claims.iter().filter(|claim| match present {
            Some(present) => claim.instance != present.instance,
            None => !self.may_be_first(holding, claim),
        });
        let known = claims.filter(|claim| claim.role.is_some());
        let told = |claim: &Claim| Some((claim.target.clone(), self.obstacle(holding, claim, pinned)?));
        known.filter_map(told).collect()
    }

    /// The first rule that keeps this server from taking over; the last one says that no other rule does.
    fn obstacle(&self, holding: &Holding, claim: &Claim, pinned: bool) -> Option<Obstacle> {
        let writable = claim.role == Some(Role::Primary);
        let known = if pinned {
            self.belongs(claim)
        } else {
            self.unchecked || (self.identity.is_some() && claim.identity == self.identity)
        };
        let was_standby = pinned || claim.was_standby || self.stands_in(claim);
        let rules = [
            (Obstacle::Pinned, pinned && !claim.declared),
            (Obstacle::NotPromotable, !pinned && !claim.promotable),
            (Obstacle::IdentityMismatch, self.is_other_database(claim)),
            (Obstacle::IdentityUnknown, !known),
            (Obstacle::OlderTimeline, self.is_below(claim)),
            (Obstacle::TimelineUnknown, writable && !self.is_current(claim)),
            (Obstacle::Contested, self.is_contested(holding, claim)),
            (Obstacle::NeverStandby, writable && !was_standby),
            (Obstacle::NotProven, writable && !claim.writes_now()),
        ];
        let broken = rules.into_iter().find(|(_, broken)| *broken);
        broken.map(|(obstacle, _)| obstacle)
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
