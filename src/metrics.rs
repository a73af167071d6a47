//! OpenMetrics of the process. docs/metrics.md lists them for people.

mod policies;
mod registry;

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

use crate::engine::{Board, CheckCounts};
use policies::{OF_ENDPOINTS, OF_POLICIES, PolicySeries};
pub use registry::Description;
use registry::MetricRegistry;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WriteLabels {
    kind: &'static str,
    verb: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ErrorLabels {
    category: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WatchLabels {
    kind: &'static str,
    category: &'static str,
}

/// All metrics: what is counted, and what the board shows.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<MetricRegistry>,
    writes: Family<WriteLabels, Counter>,
    undone: Counter,
    errors: Family<ErrorLabels, Counter>,
    watch_failures: Family<WatchLabels, Counter>,
    leader: Gauge,
    lease_transitions: Counter,
}

impl Metrics {
    /// Metrics of the policies on `board`, and of all `checks`.
    #[must_use]
    pub fn new(board: Board, checks: &CheckCounts) -> Self {
        let (writes, errors, watch_failures) = (Family::default(), Family::default(), Family::default());
        let (leader, lease_transitions, undone) = (Gauge::default(), Counter::default(), Counter::default());
        let mut all = MetricRegistry::default();
        all.add("checks", "Checks of servers, by result", checks.by_result.clone());
        all.add_with_unit(
            "check_duration",
            "Time of a whole check",
            Unit::Seconds,
            checks.seconds.clone(),
        );
        all.add_with_unit(
            "check_lateness",
            "Time from the moment at which a check was due to its start",
            Unit::Seconds,
            checks.late_seconds.clone(),
        );
        let of_endpoints = OF_ENDPOINTS.iter().map(|kind| (kind.name, kind.unit.as_ref()));
        let of_policies = OF_POLICIES.iter().map(|kind| (kind.name, kind.unit.as_ref()));
        all.add_collector(
            of_endpoints.chain(of_policies),
            PolicySeries {
                board,
                leader: leader.clone(),
            },
        );
        all.add(
            "writes",
            "Writes to the API server, by kind and verb",
            Family::clone(&writes),
        );
        all.add(
            "undone_writes",
            "Writes of objects and statuses that another operator undid",
            undone.clone(),
        );
        all.add("errors", "Failed passes, by category", Family::clone(&errors));
        all.add(
            "watch_failures",
            "Lists and watches that failed or were silent, by kind and category",
            Family::clone(&watch_failures),
        );
        all.add("leader", "1 if this process writes", leader.clone());
        all.add(
            "lease_transitions",
            "Times that this process began to lead",
            lease_transitions.clone(),
        );
        Self {
            leader,
            lease_transitions,
            registry: Arc::new(all),
            writes,
            undone,
            errors,
            watch_failures,
        }
    }

    /// Every metric, whether it has a series or not.
    #[must_use]
    pub fn descriptions(&self) -> &[Description] {
        self.registry.descriptions()
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// Only if a metric cannot be written as text, which is a fault of this module.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        self.registry.encode(&mut page)?;
        Ok(page)
    }

    /// Whether this process writes: series of policies and endpoints are shown by the one that does.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// It has taken the lease.
    pub fn took_lease(&self) {
        self.lease_transitions.inc();
    }

    pub fn wrote(&self, kind: &'static str, verb: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind, verb }).inc();
    }

    /// Another operator undid a write.
    pub fn undone(&self) {
        self.undone.inc();
    }

    pub fn failed(&self, category: &'static str) {
        self.errors.get_or_create(&ErrorLabels { category }).inc();
    }

    pub fn watch_failed(&self, kind: &'static str, category: &'static str) {
        self.watch_failures
            .get_or_create(&WatchLabels { kind, category })
            .inc();
    }
}

#[cfg(test)]
mod tests;
