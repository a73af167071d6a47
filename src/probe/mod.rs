//! The prober: asks servers what they are, and never decides what it means.
//!
//! [`Registry`] keeps two tasks for each wanted server. One waits for its instruction's moment and for a free place, runs
//! one whole check ([`Checker`]) under one deadline, sends what it found, and waits for the next instruction. The other
//! holds one session, asks it at every heartbeat, and tells when it closes.
//!
//! ```text
//! wanted set, next check ──► registry ─┬─► checks ─► check ─► dns ─► login ─► tls ─► guard ─► query
//!                                      └─► held ────────────────┘          └───────► classify
//! Checked, Heard ◄─────────────────────────┘
//! ```
//!
//! # Guarantees
//! - Never two checks of one target at once, and no check outlives its deadline or its target.
//! - A server, however hostile, costs one question at most its deadline and [`guard::TOTAL_LIMIT`] bytes, and is never
//!   told a password in clear text or as MD5.
//! - What a server says reaches no log above debug.

pub mod address;
pub mod check;
pub mod checks;
pub mod classify;
pub mod conversation;
pub mod dns;
pub mod guard;
pub mod held;
pub mod login;
pub mod panics;
pub mod query;
pub mod registry;
pub mod subscribers;
pub mod tls;

#[cfg(test)]
mod fixture;

pub use address::AddressRules;
pub use check::Checker;
pub use dns::Resolver;
pub use registry::Registry;

/// How many checks may run at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// For all policies together, at least 1.
    pub operator: usize,
    /// For one policy, at least 1: a policy whose servers all hang takes no more of the others' places.
    pub policy: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operator: 256,
            policy: 16,
        }
    }
}
