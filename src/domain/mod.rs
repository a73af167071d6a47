//! How Distributary decides. Pure: no clock, no I/O, no Kubernetes types; time is an argument.

pub mod moment;
pub mod observation;
pub mod policy;
pub mod target;

pub use moment::Moment;
