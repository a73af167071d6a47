//! Who may hold the writes first, in place of a declared primary that never answered or answers as a standby.

use std::collections::BTreeMap;

use super::policy::PolicyState;
use super::watched::WatchedTarget;
use crate::following::{Comparison, Finding, StandbyReport, WritableReport};
use crate::ids::TargetId;
use crate::moment::Moment;
use crate::observation::{Role, Sample};
use crate::policy::DeclaredRole;
use crate::write_primary::FirstEvidence;

/// A server that takes writes while nobody holds them, and what the standbys are to it.
#[derive(Debug)]
pub(super) struct Candidacy {
    pub(super) target: TargetId,
    standbys: BTreeMap<TargetId, (Comparison, Option<Finding>)>,
}

impl PolicyState {
    /// Takes in an answer of a server while nobody holds the writes. Whether another thing is known by it.
    pub(super) fn consider(&mut self, id: &TargetId, sample: &Sample, asked: Moment, came: Moment) -> bool {
        if self.holding.holder.is_some() {
            return self.candidacy.take().is_some();
        }
        if sample.role == Role::Standby {
            let report = StandbyReport::of(sample, asked, came);
            if let Some(candidacy) = self.candidacy.as_mut() {
                let (comparison, finding) = candidacy.standbys.entry(id.clone()).or_default();
                let found = comparison.standby(report, None);
                return note(finding, found);
            }
            return false;
        }
        let declared = self
            .policy
            .endpoint(&id.endpoint)
            .map(|endpoint| endpoint.declared);
        if declared == Some(DeclaredRole::Primary) {
            return false;
        }
        let firsts = self.aliases.firsts();
        let is_same = |known: &TargetId| {
            known == id || (firsts.contains_key(id) && firsts.get(known) == firsts.get(id))
        };
        let is_new = self
            .candidacy
            .as_ref()
            .is_none_or(|known| !is_same(&known.target));
        let candidacy = if is_new {
            self.candidacy.insert(Candidacy {
                target: id.clone(),
                standbys: BTreeMap::new(),
            })
        } else {
            let Some(candidacy) = self.candidacy.as_mut() else {
                return false;
            };
            candidacy
        };
        let report = WritableReport {
            asked,
            came,
            position: sample.lsn,
            timeline: sample.timeline,
        };
        let mut changed = false;
        for (comparison, finding) in candidacy.standbys.values_mut() {
            let found = comparison.writable(report, None);
            changed |= note(finding, found);
        }
        changed
    }

    /// What there is for the one that takes writes.
    pub(super) fn first_evidence(&self) -> Option<FirstEvidence<'_>> {
        let candidacy = self.candidacy.as_ref()?;
        let declared = |id: &TargetId| {
            let endpoint = self.policy.endpoint(&id.endpoint);
            endpoint.is_some_and(|endpoint| endpoint.declared == DeclaredRole::Primary)
        };
        let (primary, others): (Vec<_>, Vec<_>) = self.targets.iter().partition(|(id, _)| declared(id));
        let answered = |endpoint: &crate::policy::Endpoint| {
            let mut own = others
                .iter()
                .filter(|(id, _)| id.endpoint == endpoint.id)
                .peekable();
            own.peek().is_some() && own.all(|(_, target)| target.health.proves_role())
        };
        let mut rest = self
            .policy
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.declared != DeclaredRole::Primary);
        if primary.is_empty() || !rest.all(answered) {
            return None;
        }
        let mut dead_since = None;
        for (_, target) in primary {
            let health = &target.health;
            if health.role == Some(Role::Standby) && health.proves_role() {
                continue;
            }
            dead_since = dead_since.max(Some(health.only_dead_since?));
        }
        let finding = |(id, target): &(&TargetId, &WatchedTarget)| {
            let standby = target.health.role == Some(Role::Standby) && target.health.proves_role();
            standby.then(|| candidacy.standbys.get(*id).and_then(|(_, finding)| *finding))
        };
        let findings: Vec<_> = self.targets.iter().filter_map(|known| finding(&known)).collect();
        let follows =
            |found: &Option<Finding>| matches!(found, Some(Finding::Follows | Finding::SameTimeline));
        let followed = findings.iter().any(follows);
        (followed && !findings.contains(&Some(Finding::Diverged))).then_some(FirstEvidence {
            dead_since,
            followed: &candidacy.target,
        })
    }
}

/// What was found stands until a proof of following.
fn note(known: &mut Option<Finding>, found: Option<Finding>) -> bool {
    let stays = match known {
        Some(Finding::Diverged) => found != Some(Finding::Follows),
        Some(Finding::Follows) => found == Some(Finding::SameTimeline),
        _ => false,
    };
    let is_new = found.is_some() && *known != found && !stays;
    if is_new {
        *known = found;
    }
    is_new
}
