//! Texts for clients, made from the plan.

pub mod libpq;
