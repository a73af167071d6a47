//! OpenMetrics of the process. docs/metrics.md lists them for people.

mod policies;
mod registry;
mod series;
mod statuses;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;

use crate::clock::Clock;
use crate::engine::{BOUNDS, Board, CheckCounts};
use crate::render::reading::Version;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::PolicyKey;
use policies::PolicySeries;
pub use registry::Description;
use registry::MetricRegistry;
use statuses::Statuses;
pub use watches::WatchFigure;
use watches::Watches;

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

type RequestTimes = Family<WriteLabels, Histogram, fn() -> Histogram>;

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
    statuses: Statuses,
    watches: Watches,
    requests: RequestTimes,
    to_write: Histogram,
}

impl Metrics {
    /// Metrics of the policies on `board`, and of all `checks`; `per_endpoint`: also those of each endpoint.
    #[must_use]
    pub fn new(board: Board, checks: &CheckCounts, clock: Clock, per_endpoint: bool) -> Self {
        let (statuses, watches) = (Statuses::default(), Watches::new(clock));
        let requests = RequestTimes::new_with_constructor(|| Histogram::new(BOUNDS));
        let to_write = Histogram::new(BOUNDS);
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
        all.add_collector(
            policies::described(per_endpoint),
            PolicySeries {
                board,
                statuses: statuses.clone(),
                leader: leader.clone(),
                per_endpoint,
            },
        );
        all.add_collector(
            [(watches::NAME, Some(&Unit::Seconds), MetricType::Gauge)],
            watches.clone(),
        );
        all.add_with_unit(
            "api_request_duration",
            "Time of a request to the API server, by kind and verb",
            Unit::Seconds,
            Family::clone(&requests),
        );
        all.add_with_unit(
            "decision_to_write",
            "Time from a decision to the first accepted write of an EndpointSlice that follows from it",
            Unit::Seconds,
            to_write.clone(),
        );
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        all.add("build", "The program", Info::new(version));
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
            statuses,
            watches,
            requests,
            to_write,
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

    /// A watch shows the status of a policy.
    pub fn saw_status(&self, key: &PolicyKey, uid: &str, version: &Version, status: &ReplicaSetPolicyStatus) {
        self.statuses.saw(key, uid, version, status);
    }

    /// A policy is gone.
    pub fn forget(&self, key: &PolicyKey) {
        self.statuses.forget(key);
    }

    /// A request to the API server about objects of a kind was answered, or was given up, after so long.
    pub fn requested(&self, kind: &'static str, verb: &'static str, took: Duration) {
        let labels = WriteLabels { kind, verb };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The first slice was written that follows from a decision, so long after it.
    pub fn decided_and_wrote(&self, took: Duration) {
        self.to_write.observe(took.as_secs_f64());
    }

    /// A watch of objects of a kind begins; it is one of the watches until the value is dropped.
    #[must_use]
    pub fn watch(&self, kind: &'static str) -> WatchFigure {
        self.watches.begin(kind)
    }

    pub fn watch_failed(&self, kind: &'static str, category: &'static str) {
        self.watch_failures
            .get_or_create(&WatchLabels { kind, category })
            .inc();
    }
}

#[cfg(test)]
mod tests;
