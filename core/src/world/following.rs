//! Who follows the write primary, from samples.

use std::collections::BTreeSet;

use super::policy::{PolicyState, same_database};
use super::watched::WatchedTarget;
use crate::following::{Branch, StandbyReport, WritableReport};
use crate::ids::TargetId;
use crate::moment::Moment;
use crate::observation::{Role, Sample};
use crate::policy::IdentityRule;
use crate::write_primary::Holding;

impl PolicyState {
    /// Takes in that this target is a standby.
    pub(super) fn note_standby(&mut self, id: &TargetId, sample: &Sample, asked: Moment, came: Moment) {
        let (branch, identity) = (self.branch(), self.holding.identity);
        if let Some(target) = self.targets.get_mut(id)
            && same_database(identity, sample.system_identifier)
        {
            let report = StandbyReport::of(sample, asked, came);
            let started = sample.load.map(|load| load.started);
            target.following.standby(report, started, branch);
        }
    }

    /// Whether the log of the write primary is the one that all others have to follow: not of another database, nor below
    /// the mark.
    pub(super) fn is_of_the_log(&self, sample: &Sample) -> bool {
        let below = matches!((sample.timeline, self.holding.timeline), (Some(its), Some(high)) if its < high);
        !below && !self.holding.is_other_database(sample.system_identifier)
    }

    /// Compares all others with an answer of the write primary. Whether another thing is known of one of them by it.
    pub(super) fn compare(
        &mut self,
        primary: &TargetId,
        sample: &Sample,
        asked: Moment,
        came: Moment,
    ) -> bool {
        let branch = self.branch();
        let report = WritableReport {
            asked,
            came,
            position: sample.lsn,
            timeline: sample.timeline.filter(|_| self.compares_timelines()),
        };
        let mut changed = false;
        for (id, target) in &mut self.targets {
            let comparable = target.health.role == Some(Role::Standby)
                && same_database(target.health.system_identifier, sample.system_identifier);
            if id != primary && comparable {
                let before = target.following.state();
                target.following.primary(report, branch);
                changed |= target.following.state() != before;
            }
        }
        changed
    }

    /// Where another server is the write primary than before, nobody is proven to follow it; the first one is no change. Of
    /// those that live it is known then when they started, as everybody was checked.
    pub(super) fn follow_another(&mut self, holding: &Holding) {
        let Some(holder) = holding.holder.as_ref().filter(|_| self.warm) else {
            return;
        };
        let found = || self.targets.get(holder).and_then(WatchedTarget::server);
        let server = holding.server.or_else(found);
        if let Some((known, at)) = &mut self.upstream
            && known == holder
            && (at.is_none() || server.is_none() || *at == server)
        {
            *at = at.or(server);
        } else if self.upstream.replace((holder.clone(), server)).is_some() {
            self.newcomers_prove = true;
            for target in self.targets.values_mut() {
                target.following.begin_anew();
            }
        }
    }

    /// Those that are asked more often: who has to prove that it follows, and the write primary, until it is proven.
    pub(super) fn proving(&self) -> BTreeSet<TargetId> {
        let Some(holder) = &self.holding.holder else {
            return BTreeSet::new();
        };
        let proves = |(id, target): &(&TargetId, &WatchedTarget)| {
            let open = target.following.state().must_prove();
            open && *id != holder && target.health.role == Some(Role::Standby) && target.health.answers()
        };
        let proving = self.targets.iter().filter(proves);
        let mut asked: BTreeSet<_> = proving.map(|(id, _)| id.clone()).collect();
        if !asked.is_empty() {
            asked.insert(holder.clone());
        }
        asked
    }

    fn branch(&self) -> Option<Branch> {
        self.history.branch().filter(|_| self.compares_timelines())
    }

    /// Timelines of databases that may be others say nothing of each other.
    fn compares_timelines(&self) -> bool {
        self.policy.identity != IdentityRule::Unchecked
    }
}
