//! What every HTTP port of the process is made of: it listens, and bounds what a client can cost.

pub mod connections;
mod exposition;
mod listening;

pub use connections::{Lasting, Limits, Transport, serve};
pub use exposition::Exposition;
pub use listening::listen;

/// The type of the page of metrics.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
