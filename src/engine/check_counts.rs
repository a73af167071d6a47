//! How checks went: their results and times, counted since the process began.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use distributary_core::observation::Observation;

/// From 1 ms to 5 s.
pub const BOUNDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// The result of a check: `Good`, or the word of a failure.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct CheckLabels {
    result: String,
}

/// The counts of all checks. Clones are of the same counts.
#[derive(Clone, Debug)]
pub struct CheckCounts {
    pub by_result: Family<CheckLabels, Counter>,
    /// The time of a whole check.
    pub seconds: Histogram,
    /// From the moment at which a check was due to its start.
    pub late_seconds: Histogram,
}

impl Default for CheckCounts {
    fn default() -> Self {
        Self {
            by_result: Family::default(),
            seconds: Histogram::new(BOUNDS),
            late_seconds: Histogram::new(BOUNDS),
        }
    }
}

impl CheckCounts {
    /// A check has ended, whether it still concerns anybody or not; it began so long after it was due.
    pub fn count(&self, observation: &Observation, late: Duration) {
        let result = match &observation.result {
            Ok(_) => "Good",
            Err(failure) => failure.word(),
        };
        let result = result.to_owned();
        self.by_result.get_or_create(&CheckLabels { result }).inc();
        let time = observation.ended.since(observation.started);
        self.seconds.observe(time.as_secs_f64());
        self.late_seconds.observe(late.as_secs_f64());
    }
}
