//! A server that takes writes while nobody holds them, and what the standbys prove to be to it.

use std::collections::BTreeMap;

use super::following::{Comparison, Finding, StandbyReport, WritableReport};
use super::ids::TargetId;

/// A server that takes writes while nobody holds them.
#[derive(Debug)]
pub struct Candidacy {
    pub target: TargetId,
    standbys: BTreeMap<TargetId, (Comparison, Option<Finding>)>,
}

impl Candidacy {
    #[must_use]
    pub const fn of(target: TargetId) -> Self {
        Self {
            target,
            standbys: BTreeMap::new(),
        }
    }

    /// Takes in an answer of a standby; whether another thing is known by it.
    pub fn standby(&mut self, id: &TargetId, report: StandbyReport) -> bool {
        let (comparison, finding) = self.standbys.entry(id.clone()).or_default();
        let found = comparison.standby(report, None);
        note(finding, found)
    }

    /// Takes in an answer of the server itself; whether another thing is known by it.
    pub fn writable(&mut self, report: WritableReport) -> bool {
        let mut changed = false;
        for (comparison, finding) in self.standbys.values_mut() {
            let found = comparison.writable(report, None);
            changed |= note(finding, found);
        }
        changed
    }

    /// Whether one of these standbys is proven to follow it, and none has log that it lacks.
    pub fn is_followed<'a>(&self, standbys: impl Iterator<Item = &'a TargetId>) -> bool {
        let finding = |id| self.standbys.get(id).and_then(|(_, finding)| *finding);
        let findings: Vec<_> = standbys.map(finding).collect();
        let follows =
            |found: &Option<Finding>| matches!(found, Some(Finding::Follows | Finding::SameTimeline));
        findings.iter().any(follows) && !findings.contains(&Some(Finding::Diverged))
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
