//! The choice of the write primary: the server that takes the writes.
//!
//! | the holder             | another server                       | writes                                     |
//! |------------------------|--------------------------------------|--------------------------------------------|
//! | is proven writable     | any                                  | stay                                       |
//! | cannot be checked      | one may take over, on a newer timeline | stay, and both are suspected             |
//! | is a proven standby    | exactly one may take over            | move                                       |
//! | is a proven standby    | none, or several, may take over      | are withdrawn                              |
//! | is silent              | exactly one, after `failoverTimeout` | move                                       |
//! | is silent              | only a contested one                 | held or withdrawn, as `onPrimaryLoss` says |
//! | is silent              | none, or more than one               | held or withdrawn, as `onPrimaryLoss` says |
//! | sends an error, or misses deadlines for less than `failoverTimeout` | none, or more than one | held     |
//!
//! The holder is the write primary that is remembered. Who may take over is in `followers`: a writable server that the newest
//! check proves to be of the same database system, that was seen as a standby, is `promotable`, is not contested, and is not on
//! an older timeline than the last holder. So an old primary that returns never takes the writes back by itself.
//!
//! A server is contested (`contest`) if it became writable while the holder was: an answer of the holder, asked for after that
//! of the server had come, proves it. Then the silence of the holder, which may restart, is no reason to follow the server. The
//! contest ends when the server is a standby again, when the holder is a proven standby, by `acceptPrimary`, or when the holder
//! is out for `failoverTimeout` and all other standbys that answer, at least two, follow the server on a timeline above that of
//! the holder. It stays with the endpoint of a server that is out of sight: with whatever that leads to where it names a host, and
//! with the pods above the timeline of the holder that were not seen as standbys where it names a Service.
//!
//! A holder on an older timeline, or of another database, counts as a standby; but if a holder of another database took writes
//! when it was last seen and no server takes over, the writes stay and a person is asked. `acceptPrimary` is the word of a
//! person, and is obeyed once. Under `Pinned` only the declared primary may take over: for a Service, another pod. What the
//! name of the holder means is in `name`, and who is the first one in `first`.

mod choice;
mod claim;
mod contest;
mod first;
mod followers;
mod holding;
mod name;
mod obstacle;
mod rules;

use super::ids::EndpointId;
use super::moment::Moment;
use super::observation::Role;
use super::policy::{Failover, IdentityRule, OnPrimaryLoss, PrimaryRole};
use super::seeded::SeededFault;
use choice::FirstHolder;

pub use choice::{IdentityChange, WriteChoice, Writes};
pub use claim::Claim;
pub use holding::Holding;
pub use obstacle::Obstacle;
pub use rules::{FirstEvidence, Patience, Rules};

/// Decides who takes the writes. `claims` are in declared order.
#[must_use]
pub fn choose_write_primary(
    before: &Holding,
    claims: &[Claim],
    rules: Rules<'_>,
    now: Moment,
) -> WriteChoice {
    let mut holding = before.clone().under(rules.identity);
    let dispute = holding.learn_identity(claims, rules);
    let first = holding.first_holder(claims, rules, now);
    if let (Some(claim), IdentityRule::Learned, None) = (first.holder, rules.identity, dispute) {
        holding.identity = holding.identity.or(claim.identity);
    }
    let mut contenders = Contenders {
        identity: holding.identity,
        dispute,
        unchecked: rules.identity == IdentityRule::Unchecked,
        timeline: holding.timeline,
        left: holding
            .holder
            .as_ref()
            .filter(|_| rules.left)
            .map(|holder| holder.endpoint.clone()),
        claims,
    };
    (holding.contested, holding.contested_endpoints) = contenders.contested(&holding, rules, now);
    let (holder, again) = contenders.holder(&holding, rules, (first, now));
    let accepted = contenders.accepted(&holding, rules.failover);
    if rules.failover.accept_primary.is_none() {
        holding.accepted = None;
    }
    let holder = match accepted {
        Some(claim) => {
            holding.accepted.clone_from(&rules.failover.accept_primary);
            if !contenders.unchecked {
                holding.timeline = claim.timeline;
            }
            contenders.timeline = holding.timeline;
            Some(claim)
        }
        None => holder,
    };
    // A person's word says where the database is.
    let changed = contenders.changed(holder).filter(|_| accepted.is_none());
    let unproven = accepted.is_none() && contenders.is_unproven(&holding, holder, rules);
    let stays_at = holder.and_then(|claim| contenders.stays_at(&holding, claim));
    let writes = if stays_at.is_some() {
        Contenders::lost(rules.failover)
    } else if unproven {
        Writes::Held
    } else {
        contenders.writes(holder, changed, rules, now)
    };
    if let Some(claim) = holder {
        if accepted.is_some() || holding.holder.as_ref() != Some(&claim.target) {
            holding.contested.clear();
            holding.contested_endpoints.clear();
        }
        holding.holder = Some(claim.target.clone());
        holding.server = stays_at.or(Some(claim.server));
        let tells =
            claim.role == Some(Role::Primary) && stays_at.is_none() && !contenders.is_other_database(claim);
        if tells && !contenders.unchecked {
            let falls = SeededFault::MarkFalls.is_on();
            holding.timeline = holding.timeline.filter(|_| !falls).max(claim.timeline);
        }
    }
    let split = contenders.split(&holding, unproven);
    contenders.timeline = holding.timeline;
    contenders.left = contenders.left.filter(|_| holding.holder == before.holder);
    WriteChoice {
        writes,
        split,
        changed,
        unproven,
        stays_at,
        proven: stays_at.is_none()
            && holder
                .is_some_and(|claim| claim.writable_since.is_some() && !contenders.is_other_database(claim)),
        obstacles: contenders.obstacles(&holding, rules.pinned()),
        again,
        holding,
    }
}

/// The claims with what they are measured by.
struct Contenders<'a> {
    identity: Option<u64>,
    /// No identity is learned, because the servers do not agree on one.
    dispute: Option<IdentityChange>,
    unchecked: bool,
    timeline: Option<u32>,
    /// The endpoint of the holder, where that was a pod that has left its Service.
    left: Option<EndpointId>,
    claims: &'a [Claim],
}

impl<'a> Contenders<'a> {
    /// Of this database, or the declared primary that does not tell.
    fn belongs(&self, claim: &Claim) -> bool {
        let shows_it = self.identity.is_some() && claim.identity == self.identity;
        let may_be_it = claim.declared && self.dispute.is_none();
        !self.is_other_database(claim) && (self.unchecked || shows_it || may_be_it)
    }

    /// Proven to be of another database.
    fn is_other_database(&self, claim: &Claim) -> bool {
        let shows_another =
            matches!((self.identity, claim.identity), (Some(known), Some(shown)) if known != shown);
        !self.unchecked && (shows_another || claim.other_database)
    }

    /// Whether the holder took writes when it was last seen, and showed another identifier than the known one, also before a
    /// restart. `holder`: as chosen, so nobody may follow it; where there is none, the declared primary.
    fn changed(&self, holder: Option<&'a Claim>) -> Option<IdentityChange> {
        if self.dispute.is_some() {
            return self.dispute;
        }
        let known = self.identity.filter(|_| !self.unchecked)?;
        let is_other = |claim: &&Claim| claim.role == Some(Role::Primary) && self.is_other_database(claim);
        let other = match holder {
            Some(holder) => Some(holder).filter(is_other),
            None => self.claims.iter().filter(|claim| claim.declared).find(is_other),
        }?;
        let shown = other.identity.filter(|shown| *shown != known);
        Some(IdentityChange {
            known,
            disputed: false,
            shown,
        })
    }

    fn writes(
        &self,
        holder: Option<&Claim>,
        changed: Option<IdentityChange>,
        rules: Rules<'_>,
        now: Moment,
    ) -> Writes {
        if changed.is_some() && holder.is_some() {
            return Writes::Held;
        }
        let may = |claim: &&Claim| {
            let is_primary = claim.role == Some(Role::Primary) || SeededFault::StandbyKeepsWrites.is_on();
            is_primary && !self.is_other_database(claim) && !self.is_below(claim)
        };
        let Some(claim) = holder.filter(may) else {
            return Writes::Withdrawn;
        };
        // One that is proven to take writes is not lost, even while its circuit is open.
        if claim.well || claim.answers {
            Writes::Served
        } else if claim.is_lost(rules.failover_timeout, now) {
            Self::lost(rules.failover)
        } else {
            Writes::Held
        }
    }

    /// Of a holder that is silent, or not found any more.
    const fn lost(failover: &Failover) -> Writes {
        match failover.on_primary_loss {
            OnPrimaryLoss::Hold => Writes::Held,
            OnPrimaryLoss::Withdraw => Writes::Withdrawn,
        }
    }

    fn writable(&self) -> impl Iterator<Item = &'a Claim> {
        self.claims
            .iter()
            .filter(|claim| claim.writes() && self.belongs(claim))
    }

    /// Whether the holder tells nothing and did not go down, while a server that may follow is on a timeline above the mark.
    fn is_unproven(&self, holding: &Holding, holder: Option<&Claim>, rules: Rules<'_>) -> bool {
        let tells_nothing = |claim: &Claim| claim.role == Some(Role::Primary) && claim.cannot_be_checked;
        let mut others = self.followers(holding, rules.pinned());
        rules.warm && holder.is_some_and(tells_nothing) && others.any(|claim| self.is_above(claim))
    }

    /// The present holder or its successor; and, while it is silent, until when it may be.
    fn holder(
        &self,
        holding: &Holding,
        rules: Rules<'_>,
        (first, now): (FirstHolder<'a>, Moment),
    ) -> (Option<&'a Claim>, Option<Moment>) {
        let pinned = rules.pinned();
        let successor = || self.successor(holding, rules, now);
        let successor_or = |present| {
            let (successor, again) = successor();
            (successor.or(Some(present)), again)
        };
        if let Some(found) = self.found(holding, rules, pinned) {
            return (Some(found), None);
        }
        let present = self.present(holding).filter(|claim| claim.declared || !pinned);
        let Some(present) = present else {
            return match rules.awaited {
                Some(Patience::Unbounded) => (None, None),
                Some(Patience::Until(until)) if now < until => (None, Some(until)),
                _ => {
                    let (successor, again) = successor();
                    let found = successor.or(self.first(holding));
                    let again = [again, first.again].into_iter().flatten().min();
                    (found.or(first.holder), again.filter(|_| found.is_none()))
                }
            };
        };
        if let Some(name) = self
            .another_name(holding, present)
            .filter(|name| name.declared || !pinned)
        {
            return (Some(name), None);
        }
        if let Some(since) = present
            .moved_at
            .filter(|_| self.stays_at(holding, present).is_some())
        {
            let until = since + rules.failover_timeout;
            return if now < until {
                (Some(present), Some(until))
            } else {
                successor_or(present)
            };
        }
        if present.role == Some(Role::Standby) || self.is_other_database(present) || self.is_below(present) {
            return successor_or(present);
        }
        if present.writes() && self.belongs(present) {
            return (Some(present), None);
        }
        let Some(since) = present.failing_since else {
            return (Some(present), None);
        };
        let until = since + rules.failover_timeout;
        if now < until && !SeededFault::FollowedAtOnce.is_on() {
            return (Some(present), Some(until));
        }
        successor_or(present)
    }

    fn present(&self, holding: &Holding) -> Option<&'a Claim> {
        let holder = holding.holder.as_ref()?;
        self.claims.iter().find(|claim| claim.target == *holder)
    }

    /// Without a holder the declared primary is it, once it takes writes.
    fn first(&self, holding: &Holding) -> Option<&'a Claim> {
        self.writable().find(|claim| self.may_be_first(holding, claim))
    }

    fn may_be_first(&self, holding: &Holding, claim: &Claim) -> bool {
        let is_standby = claim.role == Some(Role::Standby);
        let is_it = claim.declared && self.belongs(claim) && (is_standby || self.is_current(claim));
        is_it && !self.is_contested(holding, claim)
    }

    /// Known to be on a newer timeline than any holder before.
    fn is_above(&self, claim: &Claim) -> bool {
        matches!((claim.timeline, self.timeline), (Some(its), Some(high)) if its > high)
    }

    /// Not on an older timeline than the last holder.
    fn is_current(&self, claim: &Claim) -> bool {
        self.timeline
            .is_none_or(|high| claim.timeline.is_some_and(|its| its >= high))
    }

    /// Known to be on an older timeline than the last holder: an old primary at a new address, or one that was set back.
    fn is_below(&self, claim: &Claim) -> bool {
        let below = |its: u32| self.timeline.is_some_and(|high| its < high);
        claim.role == Some(Role::Primary) && claim.timeline.is_some_and(below)
    }

    /// The endpoint that a person named, unless that word was obeyed before.
    fn accepted(&self, holding: &Holding, failover: &Failover) -> Option<&'a Claim> {
        let word = failover.accept_primary.as_ref()?;
        if holding.accepted.as_ref() == Some(word) {
            return None;
        }
        let moves = failover.primary_role == PrimaryRole::Follow;
        self.writable()
            .find(|claim| claim.target.endpoint == *word && (moves || claim.declared))
    }
}

#[cfg(test)]
mod tests;
