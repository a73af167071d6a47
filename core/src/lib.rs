//! How Distributary decides. Pure: no clock, no I/O, no Kubernetes types; time is an argument.

#![forbid(unsafe_code)]

pub mod address;
pub mod aliases;
pub mod breaker;
pub mod cadence;
pub mod candidacy;
pub mod class_states;
pub mod cluster;
pub mod config_maps;
pub mod decision;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod following;
pub mod formats;
pub mod health;
pub mod hosts;
pub mod ids;
pub mod jitter;
pub mod judgement;
pub mod lag;
pub mod lag_reading;
pub mod level;
pub mod login;
pub mod moment;
pub mod name;
pub mod observation;
pub mod outputs;
pub mod percent;
pub mod plan;
pub mod policy;
pub mod resolved;
pub mod role;
pub mod routing;
pub mod seeded;
pub mod server;
pub mod sqlstate;
pub mod statistics;
pub mod suspicion;
pub mod table;
pub mod target;
pub mod transition;
mod words;
pub mod world;
pub mod write_primary;

pub use moment::Moment;
