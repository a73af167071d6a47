//! A registry that tells which metrics it has: one of prometheus-client leaves out those without a series.

use std::fmt::Write;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric, Registry, Unit};

const PREFIX: &str = "distributary";

#[derive(Debug)]
pub struct MetricRegistry {
    registry: Registry,
    descriptions: Vec<Description>,
}

/// What `/metrics` may show.
#[derive(Clone, Debug)]
pub struct Description {
    /// Of its series; those of a histogram add `_bucket`, `_sum` and `_count`.
    pub name: String,
    pub kind: MetricType,
}

impl Default for MetricRegistry {
    fn default() -> Self {
        Self {
            registry: Registry::with_prefix(PREFIX),
            descriptions: Vec::new(),
        }
    }
}

impl MetricRegistry {
    pub fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.describe(name, None, metric.metric_type());
        self.registry.register(name, help, metric);
    }

    pub fn add_with_unit(&mut self, name: &str, help: &str, unit: Unit, metric: impl Metric) {
        self.describe(name, Some(&unit), metric.metric_type());
        self.registry.register_with_unit(name, help, unit, metric);
    }

    /// Metrics of these names, units and types, whose series are made when they are asked for.
    pub fn add_collector<'a>(
        &mut self,
        metrics: impl IntoIterator<Item = (&'a str, Option<&'a Unit>, MetricType)>,
        collector: impl Collector,
    ) {
        for (name, unit, kind) in metrics {
            self.describe(name, unit, kind);
        }
        self.registry.register_collector(Box::new(collector));
    }

    fn describe(&mut self, name: &str, unit: Option<&Unit>, kind: MetricType) {
        let unit = unit.map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let total = match kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        let name = format!("{PREFIX}_{name}{unit}{total}");
        self.descriptions.push(Description { name, kind });
    }

    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    pub fn encode(&self, page: &mut impl Write) -> std::fmt::Result {
        text::encode(page, &self.registry)
    }
}
