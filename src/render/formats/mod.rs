//! Texts for clients, made from the plan.

pub mod env;
pub mod jdbc;
pub mod libpq;
