//! What routing reads to replicas brings, and what is merely more hardware: `make bench-offload`.
//!
//! What decides is pure and has unit tests: [`arrivals`] and [`calamity`] (schedules by a seed, [`random`]), [`statistics`],
//! [`saturation`], [`ceilings`], [`right`] (whether an answer counts), [`record`] (the JSON), [`check`] (whether it fits together),
//! [`summary`], [`tables`], [`claims`], [`doubts`] and [`plot`] (what is told of it), [`arm`].
//!
//! What does it: [`cgroups`] and [`machine`] (quotas, cores), [`servers`], [`pool`] and [`front`] (how an arm reaches them), [`scene`]
//! (all of it started), [`generator`] (an open loop), [`blocks`], [`strategies`], [`availability`].

#![cfg_attr(
    test,
    expect(clippy::float_cmp, reason = "the figures of the tests are exact")
)]

pub mod arm;
pub mod arrivals;
pub mod availability;
pub mod blocks;
pub mod calamity;
pub mod ceilings;
pub mod cgroups;
pub mod check;
pub mod claims;
pub mod doubts;
#[cfg(test)]
mod example;
pub mod front;
pub mod generator;
pub mod machine;
pub mod plot;
pub mod pool;
pub mod random;
pub mod record;
pub mod right;
pub mod saturation;
pub mod scene;
pub mod servers;
pub mod statistics;
pub mod strategies;
pub mod summary;
pub mod tables;
