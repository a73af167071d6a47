//! What is learned where nothing is known yet: the identity of the database, and who holds the writes in place of a declared
//! primary that never answered, or answers as a standby.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{Claim, FirstHolder, Holding, IdentityChange, Rules};
use crate::moment::Moment;
use crate::observation::Role;
use crate::policy::{IdentityRule, PrimaryRole};

/// A declared primary is awaited for so many times `failoverTimeout` before another server may be the first holder.
const PATIENCE: u32 = 3;

impl Holding {
    /// The server that is the first holder by this evidence: all servers show one identifier, and it alone takes writes.
    pub(super) fn first_holder<'a>(
        &self,
        claims: &'a [Claim],
        rules: Rules<'_>,
        now: Moment,
    ) -> FirstHolder<'a> {
        let follow = rules.failover.primary_role == PrimaryRole::Follow;
        let open = rules.warm && follow && self.holder.is_none();
        let Some(evidence) = rules.first.filter(|_| open) else {
            return FirstHolder::default();
        };
        let answers = || claims.iter().filter(|claim| claim.answers);
        let shown: BTreeSet<_> = answers().map(|claim| claim.identity).collect();
        let writable: BTreeSet<_> = answers()
            .filter(|claim| claim.writes())
            .map(|claim| claim.instance)
            .collect();
        let one_database = shown.len() == 1
            && shown
                .iter()
                .all(|shown| shown.is_some() && !self.is_other_database(*shown));
        let may = |claim: &&Claim| claim.target == *evidence.followed && claim.promotable;
        let candidate = claims.iter().find(may).filter(|claim| claim.writes_now());
        let Some(candidate) = candidate.filter(|_| one_database && writable.len() == 1) else {
            return FirstHolder::default();
        };
        let awaited = evidence
            .dead_since
            .map(|since| since + rules.failover_timeout * PATIENCE);
        match awaited.filter(|until| now < *until) {
            Some(until) => FirstHolder {
                holder: None,
                again: Some(until),
            },
            None => FirstHolder {
                holder: Some(candidate),
                again: None,
            },
        }
    }

    /// From the declared primary, in whatever role it answers; or, where it shows none, from the one writable server of the
    /// endpoint that a person named. Where other servers contradict the declared primary, nothing is learned.
    pub(super) fn learn_identity(&mut self, claims: &[Claim], rules: Rules<'_>) -> Option<IdentityChange> {
        if rules.identity != IdentityRule::Learned || self.identity.is_some() || !rules.warm {
            return None;
        }
        let word = rules.failover.accept_primary.as_ref();
        let named = claims
            .iter()
            .filter(|claim| claim.writes() && word == Some(&claim.target.endpoint));
        let servers: BTreeSet<_> = named.clone().map(|claim| claim.instance).collect();
        let named = named
            .filter(|_| servers.len() == 1)
            .find_map(|claim| claim.identity);
        let declared = declared(claims);
        let shown = declared.and_then(|claim| claim.identity);
        let dispute = declared.and_then(|declared| contradicted(declared, claims));
        self.identity = match dispute {
            Some(_) => named,
            None => shown.or(named),
        };
        dispute.filter(|_| self.identity.is_none())
    }
}

/// The target of the declared primary that answers and tells an identifier, one that takes writes before others.
fn declared(claims: &[Claim]) -> Option<&Claim> {
    let tells = |claim: &&Claim| claim.declared && claim.answers && claim.identity.is_some();
    let told = || claims.iter().filter(tells);
    told().find(|claim| claim.writes()).or_else(|| told().next())
}

/// Two other servers agree on another identifier than the declared primary shows; or one that shows another one takes
/// writes, and the declared primary does not.
fn contradicted(declared: &Claim, claims: &[Claim]) -> Option<IdentityChange> {
    let mut others: BTreeMap<u64, BTreeSet<SocketAddr>> = BTreeMap::new();
    let mut writable = None;
    for claim in claims.iter().filter(|claim| claim.answers && !claim.declared) {
        let Some(shown) = claim.identity.filter(|shown| Some(*shown) != declared.identity) else {
            continue;
        };
        others.entry(shown).or_default().insert(claim.instance);
        writable = writable.or(claim.writes().then_some(shown));
    }
    let agreed = others.iter().find(|(_, servers)| servers.len() >= 2);
    let writable = writable.filter(|_| declared.role == Some(Role::Standby));
    let known = agreed.map(|(shown, _)| *shown).or(writable)?;
    Some(IdentityChange {
        known,
        disputed: true,
        shown: declared.identity,
    })
}
