//! Distributary routes PostgreSQL reads to replicas and writes to the primary, on Kubernetes.
//!
//! A pure core in the middle, thin shells around it, data moving one way:
//!
//! - [`distributary_api`]: the wire types of a `ReplicaSetPolicy`, and `validate`, which makes a policy of them that cannot
//!   be wrong; a crate of its own.
//! - [`distributary_core`]: how it decides, a crate of its own.
//! - [`distributary_probe`]: checks servers over the PostgreSQL protocol, a crate of its own.
//! - [`rehearse`]: decisions from observations that a person writes down.
//! - [`render`]: from a plan to whole objects and the status.
//! - [`writing`]: what to send to the API server, and when.
//! - `k8s`: intake, which watches and reads, and the desk, which carries out what `writing` asks for.
//! - `change`: changes of a policy, as whoever asks for them.
//! - `engine`: the one task that decides; `process` makes every part and connects them; `http`, `admin`, [`http_api`],
//!   [`dashboard`], [`metrics`], `telemetry`, [`cli`], [`kubectl`].
//! - `clock`: the prober's clock and the wall clock, the only place here that reads time.
//!
//! Public is what the binary, the tests and the benchmarks use. Other programs use the crates.

#![forbid(unsafe_code)]

mod admin;
mod change;
pub mod cli;
mod clock;
pub mod dashboard;
pub mod engine;
mod http;
pub mod http_api;
mod k8s;
pub mod kubectl;
pub mod metrics;
mod process;
pub mod rehearse;
pub mod render;
mod telemetry;
pub mod writing;

pub use k8s::clients::Clients;
pub use k8s::memory;
