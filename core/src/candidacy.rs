//! A server that takes writes while nobody holds them, or beside a holder that is silent, and what the standbys prove to be
//! to it.

use std::collections::BTreeMap;

use super::following::{Comparison, FollowingState, StandbyReport, WritableReport};
use super::ids::TargetId;

/// A server that takes writes and may be followed.
#[derive(Debug)]
pub struct Candidacy {
    pub target: TargetId,
    standbys: BTreeMap<TargetId, (Comparison, FollowingState)>,
}

impl Candidacy {
    #[must_use]
    pub const fn of(target: TargetId) -> Self {
        Self {
            target,
            standbys: BTreeMap::new(),
        }
    }

    /// Takes in an answer of a standby. It proves nothing before the server itself is asked again.
    pub fn standby(&mut self, id: &TargetId, report: StandbyReport) {
        let (comparison, _) = self.standbys.entry(id.clone()).or_default();
        comparison.standby(report, None);
    }

    /// Takes in an answer of the server itself; whether another thing is known by it.
    pub fn writable(&mut self, report: WritableReport) -> bool {
        let mut changed = false;
        for (comparison, state) in self.standbys.values_mut() {
            let before = (*state, comparison.is_made());
            *state = state.after(comparison.writable(report, None));
            changed |= (*state, comparison.is_made()) != before;
        }
        changed
    }

    /// Whether this standby is proven to follow it.
    pub fn is_followed_by(&self, standby: &TargetId) -> bool {
        let known = self.standbys.get(standby);
        known.is_some_and(|(_, state)| *state == FollowingState::Follows)
    }

    /// Whether one of these standbys is proven to follow it, and none has log that it lacks: each was compared with it.
    pub fn is_followed<'a>(&self, standbys: impl Iterator<Item = &'a TargetId>) -> bool {
        let compared = standbys.map(|id| {
            let (comparison, state) = self.standbys.get(id)?;
            comparison.is_made().then_some(*state)
        });
        let states: Option<Vec<_>> = compared.collect();
        states.is_some_and(|states| {
            states.contains(&FollowingState::Follows) && !states.contains(&FollowingState::Diverged)
        })
    }
}

#[cfg(test)]
mod tests;
