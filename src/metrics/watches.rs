//! How long nothing was heard of watches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::clock::Clock;
use distributary_core::moment::Moment;

pub const NAME: &str = "watch_silent";

/// When each watch was heard last. Clones are of the same.
#[derive(Clone, Debug)]
pub struct Watches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    numbers: AtomicU64,
    heard: Mutex<BTreeMap<(&'static str, u64), Moment>>,
}

/// A watch, until it is dropped.
#[derive(Debug)]
pub struct WatchFigure {
    watches: Watches,
    kind: &'static str,
    number: u64,
}

impl Watches {
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Shared {
            clock,
            numbers: AtomicU64::default(),
            heard: Mutex::default(),
        }))
    }

    /// A watch of objects of a kind begins.
    pub fn begin(&self, kind: &'static str) -> WatchFigure {
        let figure = WatchFigure {
            watches: self.clone(),
            kind,
            number: self.0.numbers.fetch_add(1, Ordering::Relaxed),
        };
        figure.heard();
        figure
    }
}

impl WatchFigure {
    /// The API server answers it.
    pub fn heard(&self) {
        let shared = &self.watches.0;
        let now = shared.clock.now();
        shared.heard.lock().insert((self.kind, self.number), now);
    }
}

impl Drop for WatchFigure {
    fn drop(&mut self) {
        self.watches.0.heard.lock().remove(&(self.kind, self.number));
    }
}

impl Collector for Watches {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = self.0.clock.now();
        let mut longest = BTreeMap::<&str, f64>::new();
        for ((kind, _), heard) in self.0.heard.lock().iter() {
            let silent = longest.entry(kind).or_default();
            *silent = silent.max(now.since(*heard).as_secs_f64());
        }
        if longest.is_empty() {
            return Ok(());
        }
        let help = "Time since a watch of objects of the kind was answered last, of the most silent one";
        let unit = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor(NAME, help, unit, MetricType::Gauge)?;
        for (kind, silent) in longest {
            ConstGauge::new(silent).encode(family.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}
