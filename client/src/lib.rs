//! Routes the reads and writes of a program to the servers of a [Distributary] policy, for every single query: with the operator, by
//! the routing table that it writes, or embedded, without one.
//!
//! [Distributary]: https://github.com/distributary/distributary

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod budget;
mod builder;
mod connection;
mod credentials;
mod embedded;
mod error;
mod file;
mod follower;
mod gate;
mod latency;
mod query;
mod reads;
mod router;
mod routes;
mod server;
mod session;
mod shared;
mod snapshot;
mod stats;
mod token;
mod wire;
mod writes;

pub use builder::RouterBuilder;
pub use credentials::Credentials;
pub use distributary_api as api;
pub use distributary_core::breaker::CircuitState;
pub use distributary_core::observation::FailureKind;
pub use distributary_core::routing::{Destination, Priority};
pub use distributary_core::table::{NoRoute, RoutingTable};
pub use error::{Error, FailureReason, SettingsError, TargetFailure, WriteOutcome};
pub use follower::Follower;
pub use query::Query;
pub use router::{Explanation, Router};
pub use session::{Freshness, Session};
pub use stats::{Health, Stats, TargetStats};
pub use token::{InvalidToken, Token};
pub use tokio_postgres;
