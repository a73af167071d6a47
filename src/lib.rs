#![forbid(unsafe_code)]
pub mod api;
pub mod clock;
pub mod domain;
pub mod validate;
