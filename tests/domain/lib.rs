//! `src/domain` by itself. That it compiles shows that it needs no clock, no I/O and no Kubernetes types; that it does so
//! within a second lets `make mutants` change each of its rules and run its tests.

#![forbid(unsafe_code)]

#[path = "../../src/domain/mod.rs"]
pub mod domain;
