//! How Distributary asks PostgreSQL servers what they are: whole checks, and held sessions beside them, over the protocol
//! of PostgreSQL. It never decides what an answer means: that is [`distributary_core`].
//!
//! Who uses it: the operator, `distributary check`, and programs that check and decide by themselves. It needs nothing of
//! Kubernetes.
//!
//! A [`Registry`] keeps two tasks for each wanted server. One waits for its instruction's moment and for a free place, runs
//! one whole check under one deadline, sends what it found, and waits for the next instruction. The other holds one
//! session, asks it at every heartbeat, and tells when it closes. For each name of servers one more task looks it up, and
//! tells when it leads elsewhere. What to ask of which server comes from
//! [`World::advance`](distributary_core::world::World::advance), and what was found goes back there:
//!
//! ```text
//! wanted set, next check ──► registry ─┬─► checks ─► check ─► dns ─► login ─► tls ─► guard ─► query
//!                                      ├─► names ──────────┘    │          └───────► classify
//!                                      └─► held ────────────────┘
//! Checked, Heard, Named ◄──────────────────┘
//! ```
//!
//! # Guarantees
//! - Never two checks of one target at once, and no check outlives its deadline or its target.
//! - A server, however hostile, costs one question at most its deadline and 256 KiB of answer, and is never told a password
//!   in clear text or as MD5.
//! - What a server says reaches no log above debug; a password reaches none.
//! - No check connects to an address that [`AddressRules`] refuse. A session is held where its instruction says, which is
//!   where a good check was.
//! - Every question is asked in a read-only transaction ([`statements`]).
//!
//! # Errors
//! A failed check is an answer, not an error: a [`FailureKind`](distributary_core::observation::FailureKind), by SQLSTATE,
//! by kind of I/O error and by type, never by the text of a message.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod address;
mod certificates;
mod check;
mod checks;
mod cidr;
mod classify;
mod clock;
mod conversation;
mod dial;
mod dns;
mod guard;
mod held;
mod limits;
mod login;
mod names;
mod panics;
mod places;
mod query;
mod registry;
mod subscribers;
mod tls;
mod zone;

#[cfg(test)]
mod fixture;

pub use address::AddressRules;
pub use certificates::CertificateReader;
pub use cidr::{Cidr, InvalidCidr};
pub use clock::{Alarm, Clock};
pub use dial::{Dialer, LoginGuard, ServerStream, answers, meaning};
pub use dns::{Resolver, cluster_domain};
pub use limits::Limits;
pub use query::statements;
pub use registry::Registry;
pub use zone::ClusterZone;
