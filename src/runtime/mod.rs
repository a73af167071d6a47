//! The process: the engine, and the wiring of everything around it.

pub mod engine;
pub mod wiring;
