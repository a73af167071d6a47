//! Distributary routes PostgreSQL reads to replicas and writes to the primary, on Kubernetes.
//!
//! A pure core in the middle, thin shells around it, data moving one way:
//!
//! - [`api`]: the wire types of a `ReplicaSetPolicy`; [`validate`] makes a policy of them that cannot be wrong.
//! - [`domain`]: how it decides. Breaker, health, cadence, roles, plan, and [`domain::world`], which holds all state.
//! - [`rehearse`]: decisions from observations that a person writes down.
//! - [`render`]: from a plan to whole objects, the list of writes, the status.
//! - [`probe`]: checks servers over the PostgreSQL protocol.
//! - [`k8s`]: watches, reads Secrets, writes.
//! - [`runtime`]: the engine, which alone decides, and the wiring; [`admin`], [`metrics`], [`telemetry`], [`cli`].
//! - [`clock`]: the only place that reads time.

#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod k8s;
pub mod metrics;
pub mod probe;
pub mod rehearse;
pub mod render;
pub mod runtime;
pub mod telemetry;
pub mod validate;
