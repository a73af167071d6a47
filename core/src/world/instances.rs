//! Targets that are one server: under which of its names it is used.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::policy::PolicyState;
use super::watched::WatchedTarget;
use crate::health::{Reason, Standing};
use crate::ids::TargetId;
use crate::judgement::Judgement;
use crate::write_primary::Claim;

/// Which server each target is: the address that stands for it.
pub(super) struct Instances(BTreeMap<TargetId, SocketAddr>);

impl Instances {
    /// Notes in the claims which of them are of one server.
    pub(super) fn join(&self, claims: &mut [Claim]) {
        for claim in claims {
            if let Some(instance) = self.0.get(&claim.target) {
                claim.instance = *instance;
            }
        }
    }
}

impl PolicyState {
    /// Of targets that are one server, the lowest address of all of them stands for it.
    pub(super) fn instances(&self) -> Instances {
        let firsts = self.aliases.firsts();
        let server = |id: &TargetId| self.targets.get(id).and_then(WatchedTarget::server);
        let mut lowest = BTreeMap::<&TargetId, SocketAddr>::new();
        for (id, first) in &firsts {
            if let Some(server) = server(id) {
                let known = lowest.entry(first).or_insert(server);
                *known = server.min(*known);
            }
        }
        let instance = |(id, first): (&TargetId, &TargetId)| Some((id.clone(), *lowest.get(first)?));
        let mut instances: BTreeMap<_, _> = firsts.iter().filter_map(instance).collect();
        // Two names that lead to one address are one server, too.
        for (id, target) in &self.targets {
            if let Some(server) = target.server() {
                let others = firsts.iter().filter(|(other, _)| {
                    self.targets.get(*other).and_then(WatchedTarget::server) == Some(server)
                });
                let known = others.filter_map(|(_, first)| lowest.get(first)).min();
                instances
                    .entry(id.clone())
                    .or_insert_with(|| known.copied().unwrap_or(server));
            }
        }
        Instances(instances)
    }

    /// Of the targets that are one server, one is judged as it is, and the others are passed over: who may serve goes first, as
    /// of two that take writes the holder alone may, then by priority and id.
    pub(super) fn pass_over(&self, judgements: &mut [Judgement], Instances(instances): &Instances) {
        let mut groups = BTreeMap::<SocketAddr, Vec<usize>>::new();
        for (at, judgement) in judgements.iter().enumerate() {
            if let Some(instance) = instances.get(&judgement.target) {
                groups.entry(*instance).or_default().push(at);
            }
        }
        for group in groups.values().filter(|group| group.len() > 1) {
            let Some(first) = group.iter().copied().min_by_key(|at| self.rank(&judgements[*at])) else {
                continue;
            };
            let named = judgements[first].target.endpoint.clone();
            for at in group.iter().copied().filter(|at| *at != first) {
                let judgement = &mut judgements[at];
                // One that is not well says why itself.
                let serves = matches!(
                    judgement.standing,
                    Standing::Good | Standing::Returning { .. } | Standing::Behind
                );
                if serves || judgement.reason == Reason::WritableReplica {
                    (judgement.standing, judgement.health) = (Standing::Excluded, Standing::Excluded);
                    judgement.reason = Reason::SameServer;
                    judgement.same_as = Some(named.clone());
                }
            }
        }
    }

    /// The lowest one is used.
    fn rank<'a>(&self, judgement: &'a Judgement) -> (u8, u16, &'a TargetId) {
        let endpoint = self.policy.endpoint(&judgement.target.endpoint);
        let standing = match judgement.standing {
            Standing::Good => 0,
            Standing::Returning { .. } => 1,
            Standing::Behind => 2,
            Standing::Unhealthy { answers: true } => 3,
            Standing::Unhealthy { answers: false } => 4,
            Standing::Unproven => 5,
            Standing::Excluded => 6,
        };
        let priority = endpoint.map_or(u16::MAX, |endpoint| endpoint.priority);
        (standing, priority, &judgement.target)
    }
}
