//! A registry that tells which metrics it has: one of prometheus-client leaves out those without a series.

use std::fmt::Write;

use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry, Unit};

const PREFIX: &str = "distributary";

#[derive(Debug)]
pub struct MetricRegistry {
    registry: Registry,
    names: Vec<String>,
}

impl Default for MetricRegistry {
    fn default() -> Self {
        Self {
            registry: Registry::with_prefix(PREFIX),
            names: Vec::new(),
        }
    }
}

impl MetricRegistry {
    pub fn add(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.names.push(format!("{PREFIX}_{name}"));
        self.registry.register(name, help, metric);
    }

    pub fn add_with_unit(&mut self, name: &str, help: &str, unit: Unit, metric: impl Metric) {
        self.names.push(format!("{PREFIX}_{name}_{}", unit.as_str()));
        self.registry.register_with_unit(name, help, unit, metric);
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn encode(&self, page: &mut impl Write) -> std::fmt::Result {
        text::encode(page, &self.registry)
    }
}
