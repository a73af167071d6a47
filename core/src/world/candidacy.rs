//! Who may hold the writes first, in place of a declared primary that never answered or answers as a standby; and whom others
//! follow of the servers that are contested.

use super::policy::PolicyState;
use super::watched::WatchedTarget;
use crate::candidacy::Candidacy;
use crate::following::{StandbyReport, WritableReport};
use crate::ids::TargetId;
use crate::moment::Moment;
use crate::observation::{Role, Sample};
use crate::policy::{DeclaredRole, Endpoint};
use crate::write_primary::FirstEvidence;

impl PolicyState {
    /// Takes in an answer of a server, for the choice of a first holder and for contests. Whether another thing is known by it.
    pub(super) fn consider(&mut self, id: &TargetId, sample: &Sample, asked: Moment, came: Moment) -> bool {
        if self.holding.holder.is_some() {
            return self.candidacy.take().is_some() | self.weigh(id, sample, asked, came);
        }
        if sample.role == Role::Standby {
            if let Some(candidacy) = &mut self.candidacy {
                candidacy.standby(id, StandbyReport::of(sample, asked, came));
            }
            return false;
        }
        if self.is_declared(id) {
            return false;
        }
        let firsts = self.aliases.firsts();
        let is_same = |known: &TargetId| {
            known == id || (firsts.contains_key(id) && firsts.get(known) == firsts.get(id))
        };
        if !self
            .candidacy
            .as_ref()
            .is_some_and(|known| is_same(&known.target))
        {
            self.candidacy = Some(Candidacy::of(id.clone()));
        }
        let candidacy = self.candidacy.as_mut();
        candidacy.is_some_and(|candidacy| candidacy.writable(report(sample, asked, came)))
    }

    /// Another server may stand where one did: what was found of that one says nothing of it.
    pub(super) fn forget_candidacies(&mut self) {
        self.candidacy = None;
        self.contests.clear();
    }

    /// Takes in an answer beside servers that take writes and are not the holder. Two logs that grow at one rate look alike: what others reached counts
    /// since the last answer of the holder, while it is silent.
    fn weigh(&mut self, id: &TargetId, sample: &Sample, asked: Moment, came: Moment) -> bool {
        let targets = &self.targets;
        let tells = |id: &TargetId| {
            let target = targets.get(id);
            target.is_some_and(|target| target.health.silent_since().is_none())
        };
        let holder = self.holding.holder.as_ref();
        if holder.is_none_or(|holder| holder == id || tells(holder)) {
            self.contests.clear();
            return false;
        }
        // Also of one whose contest has ended: without that it would begin anew.
        let writes = |id: &TargetId| {
            let target = targets.get(id);
            target.is_some_and(|target| target.health.role == Some(Role::Primary))
        };
        self.contests.retain(|id, _| writes(id));
        if sample.role == Role::Standby {
            for contest in self.contests.values_mut() {
                contest.standby(id, StandbyReport::of(sample, asked, came));
            }
            return false;
        }
        writes(id) && {
            let contest = self.contests.entry(id.clone());
            let contest = contest.or_insert_with(|| Candidacy::of(id.clone()));
            contest.writable(report(sample, asked, came))
        }
    }

    /// What there is for the one that takes writes.
    pub(super) fn first_evidence(&self) -> Option<FirstEvidence<'_>> {
        let candidacy = self.candidacy.as_ref()?;
        let (primary, others): (Vec<_>, Vec<_>) =
            self.targets.iter().partition(|(id, _)| self.is_declared(id));
        let answered = |endpoint: &Endpoint| {
            let mut own = others
                .iter()
                .filter(|(id, _)| id.endpoint == endpoint.id)
                .peekable();
            own.peek().is_some() && own.all(|(_, target)| target.health.proves_role())
        };
        let endpoints = self.policy.endpoints.iter();
        let mut rest = endpoints.filter(|endpoint| endpoint.declared != DeclaredRole::Primary);
        if primary.is_empty() || !rest.all(answered) {
            return None;
        }
        let mut dead_since = None;
        for (_, target) in primary {
            if !is_standby(target) {
                dead_since = dead_since.max(Some(target.health.only_dead_since?));
            }
        }
        let standbys = self.targets.iter().filter(|(_, target)| is_standby(target));
        candidacy
            .is_followed(standbys.map(|(id, _)| id))
            .then_some(FirstEvidence {
                dead_since,
                followed: &candidacy.target,
            })
    }

    fn is_declared(&self, id: &TargetId) -> bool {
        let endpoint = self.policy.endpoint(&id.endpoint);
        endpoint.is_some_and(|endpoint| endpoint.declared == DeclaredRole::Primary)
    }
}

const fn report(sample: &Sample, asked: Moment, came: Moment) -> WritableReport {
    WritableReport {
        asked,
        came,
        position: sample.lsn,
        timeline: sample.timeline,
    }
}

fn is_standby(target: &WatchedTarget) -> bool {
    target.health.role == Some(Role::Standby) && target.health.proves_role()
}
