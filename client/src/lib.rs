//! Routes the reads and writes of a program to the servers of a policy of Distributary, for every single query: by the routing table
//! that the operator writes, or embedded, by checking the servers and deciding in the process.
//!
//! ```no_run
//! use distributary_client::{Credentials, Error, Query, Router, Session};
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let router = Router::builder()
//!     .routing_file("/etc/routing/routing.json")
//!     .credentials(Credentials::from_files("/etc/login/username", "/etc/login/password")?)
//!     .connect()
//!     .await?;
//! let count = router
//!     .read(Query::operation("dashboard"), |session: Session| async move {
//!         let row = session.query_one("SELECT count(*) FROM orders", &[]).await?;
//!         Ok(row.get::<_, i64>(0))
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//! - A read runs in a session whose transactions are read-only. It is sent a second time only outside of a transaction, and only
//!   before the first answer of a server.
//! - A write is sent a second time only while no byte of it was sent. The error of every write says whether it was done.
//! - A connection on which anything is under way, or a transaction is open, is never used by another request.
//! - No password is sent in clear text or as MD5, and none is in an error, a log or a `Debug`.
//!
//! # Features
//! - `kube`: the routes of a ConfigMap, watched at the API server.
//!
//! # Versions
//! The crate follows semantic versioning: enums that may grow are `non_exhaustive`. Its least Rust is the `rust-version` of its
//! manifest; a newer one is a minor version. `routing.json` is read as every operator of version 1 of its form writes it; fields that
//! are not known are passed over, another version is refused in words.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod alarms;
mod budget;
mod builder;
mod checkout;
#[cfg(feature = "kube")]
mod config_map;
mod connection;
mod credentials;
mod declared;
mod embedded;
mod environment;
mod error;
mod explanation;
mod file;
mod follower;
mod followers;
mod gate;
mod held;
mod kinds;
mod lag;
mod latency;
mod memory;
mod policy_file;
mod query;
mod reads;
mod remembered;
mod router;
// For measuring; no part of what is promised.
#[doc(hidden)]
pub mod routes;
mod server;
mod service;
mod session;
mod shared;
mod snapshot;
mod stats;
mod token;
mod watched;
mod wire;
mod writes;

pub use builder::RouterBuilder;
pub use credentials::Credentials;
pub use distributary_api as api;
pub use distributary_core::breaker::CircuitState;
pub use distributary_core::observation::FailureKind;
pub use distributary_core::plan::{Admission, RouteState};
pub use distributary_core::routing::{Destination, Priority};
pub use distributary_core::table::{NoRoute, RoutingTable};
pub use error::{Error, FailureReason, SettingsError, TargetFailure, WriteOutcome};
pub use explanation::{ExplainedTarget, Explanation};
pub use follower::Follower;
pub use followers::Followers;
#[cfg(feature = "kube")]
pub use kube;
pub use memory::{FileMemory, Memory};
pub use query::Query;
pub use router::Router;
pub use session::{Freshness, Session};
pub use stats::{Health, Stats, TargetStats};
pub use token::{InvalidToken, Token};
pub use tokio_postgres;

/// The examples of the page.
#[cfg(doctest)]
#[doc = include_str!("../../docs/client.md")]
struct Page;
