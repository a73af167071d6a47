//! A fake PostgreSQL server, for unit tests, cluster tests and benchmarks.
//!
//! - [`Fake`]: a listener that gives each connection to a function or a [`script`]; it counts connections and bytes, keeps
//!   what clients said, and closes connections of one address or of all.
//! - [`Session`]: one connection; TLS, the login, messages both ways. While it waits it keeps no buffer, so that one
//!   process can hold thousands.
//! - [`script`]: what a server does, step by step; the scripts of servers that mean ill.
//! - [`Standing`]: what a server tells of itself, and its answers to the questions of a check.
//! - [`wire`]: the messages of a server, as bytes.

#![forbid(unsafe_code)]

mod connections;
mod fake;
mod password;
pub mod script;
mod session;
mod standing;
mod tls;
pub mod wire;

pub use connections::{Counts, Memory};
pub use fake::Fake;
pub use password::Verifier;
pub use script::Step;
pub use session::{Opening, Session};
pub use standing::Standing;
pub use tls::Tls;

#[cfg(test)]
mod tests;
