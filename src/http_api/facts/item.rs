//! A policy among others.

use std::collections::BTreeSet;

use super::Facts;
use crate::http_api::answers::{PolicyItem, StateAnswer};

impl Facts {
    #[must_use]
    pub fn item(&self) -> PolicyItem {
        let summary = self.summary();
        let statistics = self.statistics();
        PolicyItem {
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            healthy: self.is_healthy(),
            ready: self.state("Ready"),
            degraded: self.state("Degraded"),
            write_primary: self.write_primary(),
            regions: self.regions(),
            healthy_replicas: summary.healthy,
            total_replicas: summary.total,
            replica_usage_percentage: statistics.replica_usage_percentage,
            average_response_time: statistics.average_response_time,
            worst_lag_milliseconds: statistics.worst_lag_milliseconds,
            connections: statistics.connections,
        }
    }

    fn state(&self, type_: &str) -> Option<StateAnswer> {
        let condition = self.condition(type_)?;
        Some(StateAnswer {
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
    }

    fn regions(&self) -> Option<Vec<String>> {
        let endpoints = &self.entry.as_ref()?.decision.policy.endpoints;
        let regions: BTreeSet<_> = endpoints
            .iter()
            .filter_map(|endpoint| endpoint.region.clone())
            .collect();
        Some(regions.into_iter().collect())
    }
}
