//! OpenMetrics of the process. docs/metrics.md lists them for people.

mod registry;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use distributary_core::decision::{Decision, DecisionState, EndpointView};
use distributary_core::health::Reason;
use distributary_core::ids::PolicyKey;
use distributary_core::lag::Lag;
use distributary_core::observation::{FailureKind, Observation};
use distributary_core::target::ProbeKey;
use distributary_core::world::Figures;
use registry::MetricRegistry;

/// The result of a check: `Good`, or the name of a failure.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CheckLabels {
    result: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EndpointLabels {
    namespace: String,
    policy: String,
    endpoint: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PolicyLabels {
    namespace: String,
    policy: String,
}

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

/// All metrics. Series of an endpoint end with its policy.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<MetricRegistry>,
    checks: Family<CheckLabels, Counter>,
    check_seconds: Histogram,
    late_seconds: Histogram,
    latency: Family<EndpointLabels, Gauge<f64, AtomicU64>>,
    eligible: Family<EndpointLabels, Gauge>,
    weight: Family<EndpointLabels, Gauge>,
    healthy: Family<PolicyLabels, Gauge>,
    lag: Family<EndpointLabels, Gauge<f64, AtomicU64>>,
    lag_bytes: Family<EndpointLabels, Gauge>,
    sessions: Family<EndpointLabels, Gauge>,
    transactions: Family<EndpointLabels, Gauge>,
    writes: Family<WriteLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    watch_failures: Family<WatchLabels, Counter>,
}

impl Metrics {
    #[must_use]
    #[allow(clippy::new_without_default, reason = "made once, by the wiring")]
    pub fn new() -> Self {
        let buckets = [
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        ];
        let mut metrics = Self {
            registry: Arc::default(),
            checks: Family::default(),
            check_seconds: Histogram::new(buckets),
            late_seconds: Histogram::new(buckets),
            latency: Family::default(),
            eligible: Family::default(),
            weight: Family::default(),
            healthy: Family::default(),
            lag: Family::default(),
            lag_bytes: Family::default(),
            sessions: Family::default(),
            transactions: Family::default(),
            writes: Family::default(),
            errors: Family::default(),
            watch_failures: Family::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }

    fn register(&self) -> MetricRegistry {
        let mut all = MetricRegistry::default();
        all.add("checks", "Checks of servers, by result", self.checks.clone());
        all.add_with_unit(
            "check_duration",
            "Time of a whole check",
            Unit::Seconds,
            self.check_seconds.clone(),
        );
        all.add_with_unit(
            "check_lateness",
            "Time from the moment at which a check was due to its start",
            Unit::Seconds,
            self.late_seconds.clone(),
        );
        all.add_with_unit(
            "endpoint_check_duration",
            "Time of the newest good check",
            Unit::Seconds,
            self.latency.clone(),
        );
        all.add(
            "endpoint_eligible",
            "1 if the endpoint is in a route",
            self.eligible.clone(),
        );
        all.add(
            "endpoint_weight",
            "Share of the reads in hundredths",
            self.weight.clone(),
        );
        all.add(
            "policy_healthy_endpoints",
            "Endpoints of a policy that are well",
            self.healthy.clone(),
        );
        all.add_with_unit(
            "endpoint_lag",
            "How far a standby is behind; of one whose lag is older than the history, at least",
            Unit::Seconds,
            self.lag.clone(),
        );
        all.add_with_unit(
            "endpoint_lag",
            "How far a standby is behind",
            Unit::Bytes,
            self.lag_bytes.clone(),
        );
        all.add(
            "endpoint_sessions",
            "Client sessions of others on the server",
            self.sessions.clone(),
        );
        all.add(
            "endpoint_transactions",
            "Transactions ended since the server's statistics began, all databases",
            self.transactions.clone(),
        );
        all.add(
            "writes",
            "Writes to the API server, by kind and verb",
            self.writes.clone(),
        );
        all.add("errors", "Failed passes, by category", self.errors.clone());
        all.add(
            "watch_failures",
            "Lists and watches that failed or were silent, by kind and category",
            self.watch_failures.clone(),
        );
        all
    }

    /// The name of every metric, whether it has a series or not, as the lines `# TYPE` of `/metrics` tell it.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.registry.names()
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

    /// A check has ended, whether it still concerns anybody or not.
    pub fn observed(&self, observation: &Observation) {
        let result = observation
            .result
            .as_ref()
            .map_or_else(ToString::to_string, |_| "Good".to_owned());
        self.checks.get_or_create(&CheckLabels { result }).inc();
        let time: Duration = observation.ended.since(observation.started);
        self.check_seconds.observe(time.as_secs_f64());
    }

    /// A check began so long after it was due.
    pub fn late(&self, late: Duration) {
        self.late_seconds.observe(late.as_secs_f64());
    }

    /// What a target told; of the pods behind one Service, the newest. `None`: nobody tells anything.
    pub fn measured(&self, key: &ProbeKey, figures: Option<&Figures>) {
        let labels = endpoint(&key.policy, key.target.endpoint.as_str());
        let Some(figures) = figures else {
            return self.silenced(&labels);
        };
        if let Some(took) = figures.took {
            self.latency.get_or_create(&labels).set(took.as_secs_f64());
        }
        if let Some(Lag::Behind { time, bytes } | Lag::AtLeast { time, bytes }) = figures.lag {
            self.lag.get_or_create(&labels).set(time.as_secs_f64());
            match bytes {
                Some(bytes) => {
                    self.lag_bytes.get_or_create(&labels).set(count(bytes));
                }
                None => {
                    self.lag_bytes.remove(&labels);
                }
            }
        } else {
            self.lag.remove(&labels);
            self.lag_bytes.remove(&labels);
        }
        if let Some(load) = figures.load {
            self.sessions.get_or_create(&labels).set(i64::from(load.sessions));
            self.transactions
                .get_or_create(&labels)
                .set(count(load.transactions));
        } else {
            self.sessions.remove(&labels);
            self.transactions.remove(&labels);
        }
    }

    /// Replaces what `before` said of the policy; an endpoint that is gone leaves no series, and one that nobody asks
    /// none of what it told.
    pub fn decided(&self, key: &PolicyKey, before: Option<&Decision>, after: &Decision) {
        let declared = before.iter().flat_map(|before| &before.policy.endpoints);
        for gone in declared.filter(|known| after.policy.endpoint(&known.id).is_none()) {
            self.remove(&endpoint(key, gone.id.as_str()));
        }
        if after.state == DecisionState::Suspended {
            for declared in &after.policy.endpoints {
                self.silenced(&endpoint(key, declared.id.as_str()));
            }
        }
        let Some(endpoints) = after.state.endpoints() else {
            return;
        };
        for view in endpoints {
            let labels = endpoint(key, view.id.as_str());
            if is_asked_by_nobody(view) {
                self.silenced(&labels);
            }
            self.eligible
                .get_or_create(&labels)
                .set(i64::from(view.state.eligible));
            self.weight
                .get_or_create(&labels)
                .set(i64::from(view.state.weight));
        }
        let healthy = endpoints.iter().filter(|view| view.healthy).count();
        self.healthy
            .get_or_create(&policy(key))
            .set(i64::try_from(healthy).unwrap_or(i64::MAX));
    }

    /// Ends the series of a policy.
    pub fn forget(&self, key: &PolicyKey, last: Option<&Decision>) {
        for declared in last.iter().flat_map(|last| &last.policy.endpoints) {
            self.remove(&endpoint(key, declared.id.as_str()));
        }
        self.healthy.remove(&policy(key));
    }

    fn remove(&self, labels: &EndpointLabels) {
        self.eligible.remove(labels);
        self.weight.remove(labels);
        self.silenced(labels);
    }

    /// Ends the series of what an endpoint told.
    fn silenced(&self, labels: &EndpointLabels) {
        self.latency.remove(labels);
        self.lag.remove(labels);
        self.lag_bytes.remove(labels);
        self.sessions.remove(labels);
        self.transactions.remove(labels);
    }

    pub fn wrote(&self, kind: &'static str, verb: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind, verb }).inc();
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

fn is_asked_by_nobody(view: &EndpointView) -> bool {
    matches!(view.state.reason, Reason::Disabled | Reason::NoReadyPod)
        || view.state.failure == Some(FailureKind::SecretUnresolved)
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn endpoint(key: &PolicyKey, id: &str) -> EndpointLabels {
    EndpointLabels {
        namespace: key.namespace.clone(),
        policy: key.name.clone(),
        endpoint: id.to_owned(),
    }
}

fn policy(key: &PolicyKey) -> PolicyLabels {
    PolicyLabels {
        namespace: key.namespace.clone(),
        policy: key.name.clone(),
    }
}

#[cfg(test)]
mod tests;
