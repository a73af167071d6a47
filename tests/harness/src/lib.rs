//! What tests, demo and benchmarks share: a node of a real Kubernetes cluster and real PostgreSQL servers.
//!
//! - [`node`]: namespaces of our own; everything in them ends with the program.
//! - [`suite`]: tests that share one control plane, run side by side on one runtime.
//! - [`control_plane`]: etcd, kube-apiserver, kube-controller-manager and kube-proxy, as they are.
//! - [`postgres`]: a primary with streaming replicas, and the faults that befall them.
//! - [`operator`]: the operator's own binary.
//! - [`stop`]: an operator that stops at its n-th request to the API server.
//! - [`dns`]: the node's name server.
//! - [`gate`]: a way to the API server on which a request is held, or which is cut.
//! - [`link`], [`rogue`](postgres::rogue): a slow way to a server; a server that means ill.
//! - [`load`]: what takes the processors away from everybody.
//! - [`page`]: the figures of a page of metrics.
//! - [`reader`]: a client that reads through a Service and counts.
//! - [`wait`], [`watch`]: waiting for a condition with a deadline; nothing else in the tests sleeps.
//!
//! A program that uses the harness calls [`node::enter`] first thing in its `main`.

#![forbid(unsafe_code)]

pub mod api;
pub mod certificates;
pub mod control_plane;
pub mod dns;
pub mod gate;
pub mod link;
pub mod load;
pub mod node;
pub mod operator;
pub mod page;
pub mod postgres;
pub mod process;
pub mod reader;
pub mod stop;
pub mod suite;
pub mod wait;
pub mod watch;
pub mod web;
pub mod webhook;

pub use control_plane::ControlPlane;
pub use operator::Operator;
pub use postgres::{PgCluster, Postgres};
pub use reader::Reader;
