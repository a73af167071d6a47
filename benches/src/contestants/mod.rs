//! Those who decide which server gets reads, each with a front of its own.

mod distributary;
mod haproxy;
mod pgpool;
mod program;

pub use distributary::{Distributary, Policy, policies};
pub use haproxy::Haproxy;
pub use pgpool::{PGPOOL_ROLE, Pgpool};
