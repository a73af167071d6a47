//! `distributary crd`: prints the CustomResourceDefinition.

use std::io::Write;
use std::process::ExitCode;

use super::{fail, yaml};
use distributary_api as api;

/// Print the CustomResourceDefinition as YAML.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub fn main(_: &Arguments) -> ExitCode {
    let text = match yaml::text(&api::crd()) {
        Ok(text) => text,
        Err(error) => return fail(&error),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}
