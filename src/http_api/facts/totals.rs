//! Figures of all servers of a policy together.

use distributary_core::decision::EndpointView;
use distributary_core::health::Reason;
use distributary_core::ids::TargetId;
use distributary_core::policy::DeclaredRole;

use super::{Facts, count, rounded};
use crate::http_api::answers::{ReplicaStatistics, ReplicaStats, ReplicaSummary, ServerAnswer};

impl Facts {
    pub(super) fn summary(&self) -> ReplicaSummary {
        let declared = self
            .declared()
            .filter(|endpoint| endpoint.declared == DeclaredRole::Replica);
        let decided = self.decided();
        let with = |has: fn(&EndpointView) -> bool| {
            let replicas = decided?.replicas().filter(|view| self.view(&view.id).is_some());
            Some(count(replicas.filter(|view| has(view)).count()))
        };
        let total = with(|_| true).or_else(|| self.entry.as_ref().map(|_| count(declared.count())));
        ReplicaSummary {
            total,
            healthy: with(EndpointView::is_healthy_replica),
            eligible: with(|view| view.state.eligible),
        }
    }

    pub(super) fn statistics(&self) -> ReplicaStatistics {
        let mut replicas = self.replica_servers();
        // A server that is known by two names counts once.
        replicas.retain(|server| server.reason.as_deref() != Some(Reason::SameServer.word()));
        let time = |server: &ServerAnswer| {
            let response = server.statistics.as_ref()?.response_time.as_ref()?;
            Some(response.mean_milliseconds)
        };
        let times: Vec<_> = replicas.iter().filter_map(time).collect();
        let share = self
            .entry
            .as_ref()
            .and_then(|entry| entry.replica_share(self.now));
        ReplicaStatistics {
            replica_usage_percentage: share.map(|share| rounded(share * 100.0)),
            average_response_time: mean(&times),
            connections: self.sessions(),
            worst_lag_milliseconds: replicas.iter().filter_map(|server| server.lag_milliseconds).max(),
        }
    }

    /// Of all servers that tell them; one that is known by two names counts once.
    fn sessions(&self) -> Option<u64> {
        let entry = self.entry.as_ref()?;
        let counted = |target: &TargetId| {
            let view = self.view(&target.endpoint);
            view.is_none_or(|view| view.state.same_as.is_none())
        };
        let told = entry.figures.iter().filter(|(target, _)| counted(target));
        let sessions = told.filter_map(|(_, figures)| Some(u64::from(figures.load?.sessions)));
        sessions.reduce(|all, own| all + own)
    }

    pub(super) fn replica_stats(&self) -> ReplicaStats {
        let summary = self.summary();
        ReplicaStats {
            total: summary.total,
            healthy: summary.healthy,
            statistics: self.statistics(),
            endpoints: self.replica_servers(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a policy has at most 64 replicas")]
fn mean(of: &[f64]) -> Option<f64> {
    (!of.is_empty()).then(|| rounded(of.iter().sum::<f64>() / of.len() as f64))
}
