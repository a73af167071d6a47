//! Who takes the writes.
//!
//! | the holder            | somebody else                        | writes                                   |
//! |-----------------------|--------------------------------------|------------------------------------------|
//! | proves that it writes | whoever                              | stay                                     |
//! | proves a standby      | exactly one may follow               | move                                     |
//! | proves a standby      | nobody, or more than one             | are withdrawn                            |
//! | silent                | exactly one, after `failoverTimeout` | move                                     |
//! | silent                | nobody, or more than one             | held or withdrawn, as `onPrimaryLoss` says |
//!
//! May follow: proven writable by its newest check, of the same database system, seen as its standby before, not
//! `promotable: false`, and not on an older timeline than the last holder. So an old primary that returns never takes
//! the writes back by itself. `acceptPrimary` is a person's word, obeyed once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::moment::Moment;
use super::observation::Role;
use super::policy::{EndpointId, Failover, IdentityRule, OnPrimaryLoss, PrimaryRole};
use super::target::TargetId;

/// What is kept of the primary from decision to decision, and in the status from process to process.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tenure {
    /// The system identifier of this database.
    pub identity: Option<u64>,
    pub holder: Option<TargetId>,
    /// The highest timeline that a holder was seen on.
    pub timeline: Option<u32>,
    /// The word of `acceptPrimary` that was obeyed.
    pub accepted: Option<EndpointId>,
}

/// What one target shows that may count for the writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub target: TargetId,
    pub server: SocketAddr,
    /// Of the declared primary; `by_service`: the Service behind it says who that is.
    pub declared: bool,
    pub by_service: bool,
    pub promotable: bool,
    pub role: Option<Role>,
    /// Its newest check was good, and nothing speaks against it since.
    pub answers: bool,
    /// Neither suspicion nor circuit keeps it out.
    pub well: bool,
    pub failing_since: Option<Moment>,
    pub identity: Option<u64>,
    pub timeline: Option<u32>,
    /// This policy saw this server as a standby of this database.
    pub was_standby: bool,
}

impl Claim {
    fn writes(&self) -> bool {
        self.role == Some(Role::Primary) && self.answers
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

/// The answer of one election.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Election {
    pub tenure: Tenure,
    pub writes: Writes,
    /// Servers that take writes at once, the holder among them, where there are two or more.
    pub split: Vec<TargetId>,
    /// The declared primary shows this identifier instead of the known one.
    pub shown: Option<u64>,
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
}

/// Decides who takes the writes. `claims` are in declared order.
#[must_use]
pub fn elect(before: &Tenure, claims: &[Claim], rules: Rules<'_>, now: Moment) -> Election {
    let mut tenure = before.clone();
    tenure.learn_identity(claims, rules.identity);
    let shown = shown_instead(&tenure, claims, rules.identity);
    let ballot = Ballot {
        identity: tenure.identity,
        unchecked: rules.identity == IdentityRule::Unchecked,
        timeline: tenure.timeline,
        claims,
    };
    let (holder, again) = ballot.holder(&tenure, rules, now);
    let accepted = ballot.accepted(&tenure, rules.failover);
    if rules.failover.accept_primary.is_none() {
        tenure.accepted = None;
    }
    let holder = match accepted {
        Some(claim) => {
            tenure.accepted.clone_from(&rules.failover.accept_primary);
            tenure.timeline = claim.timeline;
            Some(claim)
        }
        None => holder,
    };
    let writes = match holder {
        Some(claim) if claim.role == Some(Role::Primary) && claim.well => Writes::Served,
        Some(claim) if claim.role == Some(Role::Primary) => match rules.failover.on_primary_loss {
            OnPrimaryLoss::Hold => Writes::Held,
            OnPrimaryLoss::Withdraw => Writes::Withdrawn,
        },
        _ => Writes::Withdrawn,
    };
    if let Some(claim) = holder {
        tenure.holder = Some(claim.target.clone());
        if claim.role == Some(Role::Primary) {
            tenure.timeline = tenure.timeline.max(claim.timeline);
        }
    }
    Election {
        writes,
        split: ballot.split(),
        shown,
        again,
        tenure,
    }
}

impl Tenure {
    fn learn_identity(&mut self, claims: &[Claim], rule: IdentityRule) {
        let identity = match rule {
            IdentityRule::Declared(identity) => Some(identity),
            IdentityRule::Unchecked => None,
            IdentityRule::Learned => self.identity.or_else(|| {
                let mut declared = claims.iter().filter(|claim| claim.declared && claim.writes());
                declared.find_map(|claim| claim.identity)
            }),
        };
        if self.identity.is_some() && identity.is_some() && identity != self.identity {
            // Another database: timelines and words of the old one mean nothing.
            *self = Self::default();
        }
        self.identity = identity;
    }
}

/// The identifier that the declared primary shows where it is not the known one.
fn shown_instead(tenure: &Tenure, claims: &[Claim], rule: IdentityRule) -> Option<u64> {
    let known = tenure.identity.filter(|_| rule != IdentityRule::Unchecked)?;
    let mut declared = claims.iter().filter(|claim| claim.declared && claim.answers);
    declared.find_map(|claim| claim.identity.filter(|shown| *shown != known))
}

/// The claims with what they are measured by.
struct Ballot<'a> {
    identity: Option<u64>,
    unchecked: bool,
    timeline: Option<u32>,
    claims: &'a [Claim],
}

impl<'a> Ballot<'a> {
    /// Of this database, or the declared primary that does not tell.
    fn belongs(&self, claim: &Claim) -> bool {
        self.unchecked
            || match (self.identity, claim.identity) {
                (Some(known), Some(shown)) => known == shown,
                _ => claim.declared,
            }
    }

    fn writable(&self) -> impl Iterator<Item = &'a Claim> {
        self.claims
            .iter()
            .filter(|claim| claim.writes() && self.belongs(claim))
    }

    fn split(&self) -> Vec<TargetId> {
        let servers: BTreeSet<_> = self.writable().map(|claim| claim.server).collect();
        if servers.len() < 2 {
            return Vec::new();
        }
        self.writable().map(|claim| claim.target.clone()).collect()
    }

    /// The present holder or its successor; and, while it is silent, until when it may be.
    fn holder(&self, tenure: &Tenure, rules: Rules<'_>, now: Moment) -> (Option<&'a Claim>, Option<Moment>) {
        if rules.failover.primary_role == PrimaryRole::Pinned {
            return (self.pinned(tenure), None);
        }
        let successor = || self.successor(tenure).filter(|_| rules.warm);
        let Some(present) = self.present(tenure) else {
            return (successor().or_else(|| self.first()), None);
        };
        if present.writes() && self.belongs(present) {
            return (Some(present), None);
        }
        if present.role == Some(Role::Standby) {
            return (successor().or(Some(present)), None);
        }
        let Some(since) = present.failing_since.filter(|_| !present.well) else {
            return (Some(present), None);
        };
        let until = since + rules.failover_timeout;
        if now < until {
            return (Some(present), Some(until));
        }
        (successor().or(Some(present)), None)
    }

    fn present(&self, tenure: &Tenure) -> Option<&'a Claim> {
        let holder = tenure.holder.as_ref()?;
        self.claims.iter().find(|claim| claim.target == *holder)
    }

    /// Without a holder the declared primary is it, once it takes writes.
    fn first(&self) -> Option<&'a Claim> {
        let new = |claim: &&Claim| claim.declared && self.belongs(claim) && self.is_current(claim);
        self.writable().find(new)
    }

    fn pinned(&self, tenure: &Tenure) -> Option<&'a Claim> {
        let declared = || self.claims.iter().filter(|claim| claim.declared);
        let writable = declared().find(|claim| claim.writes() && self.belongs(claim));
        let before = || self.present(tenure).filter(|claim| claim.declared);
        writable.or_else(before).or_else(|| declared().next())
    }

    /// The one server that may follow; `None` where there are more.
    fn successor(&self, tenure: &Tenure) -> Option<&'a Claim> {
        let named = |claim: &Claim| claim.declared && claim.by_service;
        let told =
            |claim: &Claim| self.unchecked || (self.identity.is_some() && claim.identity == self.identity);
        let may = |claim: &&Claim| {
            claim.promotable
                && claim.well
                && told(claim)
                && self.is_current(claim)
                && (claim.was_standby || named(claim))
        };
        let others = || {
            self.writable()
                .filter(|claim| Some(&claim.target) != tenure.holder.as_ref())
                .filter(may)
        };
        let servers: BTreeSet<_> = others().map(|claim| claim.server).collect();
        others().next().filter(|_| servers.len() == 1)
    }

    /// Not on an older timeline than the last holder.
    fn is_current(&self, claim: &Claim) -> bool {
        self.timeline
            .is_none_or(|high| claim.timeline.is_some_and(|its| its >= high))
    }

    /// The endpoint that a person named, unless that word was obeyed before.
    fn accepted(&self, tenure: &Tenure, failover: &Failover) -> Option<&'a Claim> {
        let word = failover.accept_primary.as_ref()?;
        if tenure.accepted.as_ref() == Some(word) {
            return None;
        }
        self.writable().find(|claim| claim.target.endpoint == *word)
    }
}

#[cfg(test)]
mod tests;
