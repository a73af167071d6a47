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
//!
//! The holder is the write primary that is remembered. A server may take over if the newest check proves that the server is
//! writable, if it belongs to the same database system, if this policy saw it as a standby before or it is a pod that stands
//! in for one (`stands_in`), if `promotable` is not false, and if its timeline is not older than that of the last holder. So an old primary that returns never takes the writes
//! back by itself. A server is contested if it became writable while the holder was: an answer of the holder, asked for after
//! that of the server had come, proves it. Then the silence of the holder, which may restart, is no reason to follow the
//! server. The contest ends when the server is a standby again, when the holder is a proven standby, by `acceptPrimary`, or
//! when the holder is out for `failoverTimeout` and all other standbys that answer, at least two, follow the server on a
//! timeline above that of the holder. A holder on an older timeline, or of another database, counts as a standby; but if a
//! holder of another database took writes when it was last seen and no server takes over, the writes stay and a person is
//! asked. What the name of the holder means is in `name`, and who is the first one in `first`. `acceptPrimary` is the word of a person, and is obeyed once. Under `Pinned` only the declared primary may take over: for a Service, another pod.

mod contest;
mod first;
mod followers;
mod name;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::ids::{EndpointId, TargetId};
use super::moment::Moment;
use super::observation::Role;
use super::policy::{Failover, IdentityRule, OnPrimaryLoss, Policy, PrimaryRole};

/// What is remembered of the write primary from one decision to the next, and in the status from one process to the next.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holding {
    /// The system identifier of this database.
    pub identity: Option<u64>,
    pub holder: Option<TargetId>,
    /// Where the server was that took the writes; `None`: that is not known, or the endpoint is another one since an edit.
    pub server: Option<SocketAddr>,
    /// The highest timeline that a holder was seen on.
    pub timeline: Option<u32>,
    /// The word of `acceptPrimary` that was obeyed.
    pub accepted: Option<EndpointId>,
    /// Servers that became writable while the holder took the writes, as an answer of the holder proved that was asked for
    /// afterwards: silence of the holder is no reason to follow them.
    pub contested: BTreeSet<SocketAddr>,
}

/// What one target shows that may count for the writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub target: TargetId,
    pub server: SocketAddr,
    /// The address that stands for its server: every name of one server has the same.
    pub instance: SocketAddr,
    /// Since when its name leads there, where it led elsewhere before.
    pub moved_at: Option<Moment>,
    /// Of the declared primary; `by_service`: the Service behind it says who that is.
    pub declared: bool,
    pub by_service: bool,
    pub promotable: bool,
    pub role: Option<Role>,
    /// Its newest check was good, or found it without a free connection.
    pub answers: bool,
    /// When the newest answer was asked for that told its role.
    pub asked: Option<Moment>,
    /// When the answer came that showed it writable first, if none showed otherwise since.
    pub writable_since: Option<Moment>,
    /// Nothing says that it is down.
    pub well: bool,
    /// Nothing is heard of it: a login, TLS or a Secret is wrong, or the fault is ours. It did not go down before.
    pub cannot_be_checked: bool,
    /// Since when it is down, or back without having told its role.
    pub failing_since: Option<Moment>,
    pub identity: Option<u64>,
    /// It was of another database when the operator restarted, and has not told since.
    pub other_database: bool,
    pub timeline: Option<u32>,
    /// This policy saw this server as a standby of this database.
    pub was_standby: bool,
    /// It is a pod, and this policy saw a pod of its Service as a standby of this database.
    pub pod_of_standby: bool,
}

impl Claim {
    /// Its newest check proves that it takes writes.
    fn writes(&self) -> bool {
        self.role == Some(Role::Primary) && self.answers
    }

    /// It told this process so, after whatever made it the holder.
    fn is_proven(&self) -> bool {
        self.writes() && self.writable_since.is_some()
    }
}

/// Where writes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writes {
    /// To the holder.
    Served,
    /// The holder is silent: the route stays.
    Held,
    /// Nowhere.
    Withdrawn,
}

/// The primary is of another database than it was; or the servers do not agree on one, and none is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IdentityChange {
    /// The identifier of this database; where none is known, the one that the declared primary does not show.
    pub known: u64,
    /// Whether `known` is only what others show: nothing is learned.
    pub disputed: bool,
    /// `None`: it showed another one before the operator restarted, and has not told since.
    pub shown: Option<u64>,
}

/// Who takes the writes, as chosen from the claims.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WriteChoice {
    pub holding: Holding,
    pub writes: Writes,
    /// Servers that take writes at once, the holder among them, where there are two or more.
    pub split: Vec<TargetId>,
    /// The holder shows another identifier than the known one, and nobody may follow: the writes stay.
    pub changed: Option<IdentityChange>,
    /// The holder cannot be checked, although nothing says that it is down, and a server that may follow it is writable on a
    /// newer timeline than any holder before: the writes stay, and both are in `split`.
    pub unproven: bool,
    /// Whether the holder told this process that it takes writes.
    pub proven: bool,
    /// Where the route stays: the name of the holder leads elsewhere, and who is there has not proved that it may take the writes.
    pub stays_at: Option<SocketAddr>,
    /// When the holder has been silent for long enough.
    pub again: Option<Moment>,
}

/// The rules of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub identity: IdentityRule,
    pub failover: &'a Failover,
    pub failover_timeout: Duration,
    /// Whether every target was checked: before, nobody new takes the writes.
    pub warm: bool,
    /// Whether the holder was a pod that has left its Service.
    pub left: bool,
    /// How long a holder is awaited that is another server since an edit, and had no good check yet; `None`: there is none.
    pub awaited: Option<Patience>,
    /// Of a declared primary that never answered, or answers as a standby: what may make another server the first holder.
    pub first: Option<FirstEvidence<'a>>,
    /// The servers of the route of the writes as it was found, while the holder is known by a memory alone.
    pub found: Option<&'a BTreeSet<SocketAddr>>,
}

/// What may make another server than the declared primary the first holder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FirstEvidence<'a> {
    /// Since when every check of the declared primary has found it dead; `None`: it answers as a standby.
    pub dead_since: Option<Moment>,
    /// The one server that takes writes and that a standby is proven to follow, where none is ahead of it and every server
    /// of all other endpoints answered.
    pub followed: &'a TargetId,
}

/// Who holds the writes first.
#[derive(Clone, Copy, Debug, Default)]
struct FirstHolder<'a> {
    holder: Option<&'a Claim>,
    /// When the declared primary has been awaited for long enough.
    again: Option<Moment>,
}

/// How long a holder is awaited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// No check of it failed yet.
    Unbounded,
    /// It is out for `failoverTimeout` then.
    Until(Moment),
}

impl<'a> Rules<'a> {
    /// Those of a policy whose targets were all checked.
    #[must_use]
    pub fn of(policy: &'a Policy) -> Self {
        Self {
            identity: policy.identity,
            failover: &policy.failover,
            failover_timeout: policy.probing.failover_timeout,
            warm: true,
            left: false,
            awaited: None,
            first: None,
            found: None,
        }
    }
}

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
    holding.contested = contenders.contested(&holding, rules, now);
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
        contenders.writes(holder, changed, rules.failover)
    };
    if let Some(claim) = holder {
        if accepted.is_some() || holding.holder.as_ref() != Some(&claim.target) {
            holding.contested.clear();
        }
        holding.holder = Some(claim.target.clone());
        holding.server = stays_at.or(Some(claim.server));
        let tells =
            claim.role == Some(Role::Primary) && stays_at.is_none() && !contenders.is_other_database(claim);
        if tells && !contenders.unchecked {
            holding.timeline = holding.timeline.max(claim.timeline);
        }
    }
    WriteChoice {
        writes,
        split: contenders.split(&holding, unproven),
        changed,
        unproven,
        stays_at,
        proven: stays_at.is_none() && holder.is_some_and(|claim| claim.writable_since.is_some()),
        again,
        holding,
    }
}

impl Holding {
    /// What of it holds under this rule: of another database timelines, holders and words mean nothing.
    #[must_use]
    pub fn under(self, rule: IdentityRule) -> Self {
        match rule {
            IdentityRule::Learned => self,
            // Timelines of databases that may be others say nothing of each other.
            IdentityRule::Unchecked => Self {
                identity: None,
                timeline: None,
                ..self
            },
            IdentityRule::Declared(identity) if self.identity.is_none_or(|known| known == identity) => Self {
                identity: Some(identity),
                ..self
            },
            IdentityRule::Declared(identity) => Self {
                identity: Some(identity),
                ..Self::default()
            },
        }
    }

    /// Whether a server that shows this identifier is of another database.
    #[must_use]
    pub fn is_other_database(&self, shown: Option<u64>) -> bool {
        matches!((self.identity, shown), (Some(known), Some(shown)) if known != shown)
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

    fn writes(&self, holder: Option<&Claim>, changed: Option<IdentityChange>, failover: &Failover) -> Writes {
        if changed.is_some() && holder.is_some() {
            return Writes::Held;
        }
        let may = |claim: &&Claim| {
            claim.role == Some(Role::Primary) && !self.is_other_database(claim) && !self.is_below(claim)
        };
        let Some(claim) = holder.filter(may) else {
            return Writes::Withdrawn;
        };
        // One that is proven to take writes is not lost, even while its circuit is open.
        if claim.well || claim.answers {
            Writes::Served
        } else {
            Self::lost(failover)
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
        let pinned = rules.failover.primary_role == PrimaryRole::Pinned;
        let mut others = self.followers(holding, pinned);
        rules.warm && holder.is_some_and(tells_nothing) && others.any(|claim| self.is_above(claim))
    }

    /// The present holder or its successor; and, while it is silent, until when it may be.
    fn holder(
        &self,
        holding: &Holding,
        rules: Rules<'_>,
        (first, now): (FirstHolder<'a>, Moment),
    ) -> (Option<&'a Claim>, Option<Moment>) {
        let pinned = rules.failover.primary_role == PrimaryRole::Pinned;
        let successor = || self.successor(holding, pinned).filter(|_| rules.warm);
        if let Some(found) = self.found(holding, rules, pinned) {
            return (Some(found), None);
        }
        let present = self.present(holding).filter(|claim| claim.declared || !pinned);
        let Some(present) = present else {
            return match rules.awaited {
                Some(Patience::Unbounded) => (None, None),
                Some(Patience::Until(until)) if now < until => (None, Some(until)),
                _ => {
                    let declared = self.first();
                    let again = first.again.filter(|_| declared.is_none());
                    (successor().or(declared).or(first.holder), again)
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
                (successor().or(Some(present)), None)
            };
        }
        if present.role == Some(Role::Standby) || self.is_other_database(present) || self.is_below(present) {
            return (successor().or(Some(present)), None);
        }
        if present.writes() && self.belongs(present) {
            return (Some(present), None);
        }
        let Some(since) = present.failing_since else {
            return (Some(present), None);
        };
        let until = since + rules.failover_timeout;
        if now < until {
            return (Some(present), Some(until));
        }
        (successor().or(Some(present)), None)
    }

    fn present(&self, holding: &Holding) -> Option<&'a Claim> {
        let holder = holding.holder.as_ref()?;
        self.claims.iter().find(|claim| claim.target == *holder)
    }

    /// Without a holder the declared primary is it, once it takes writes.
    fn first(&self) -> Option<&'a Claim> {
        let new = |claim: &&Claim| claim.declared && self.belongs(claim) && self.is_current(claim);
        self.writable().find(new)
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
