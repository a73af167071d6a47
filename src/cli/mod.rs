//! The command line: one file for each subcommand.

mod crd;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::telemetry;

/// Routes PostgreSQL reads to replicas, on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "distributary", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Crd(crd::Arguments),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => run::main(arguments),
        Command::Crd(arguments) => crd::main(&arguments),
    }
}

/// Prints an error with its causes, once, as `error: what: why`.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {}", telemetry::chain(error));
    ExitCode::FAILURE
}
