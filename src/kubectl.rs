//! The plugin of kubectl: the same binary, called `kubectl-distributary`. One file for each subcommand; `explain`, `plan` and
//! `drill` are those of [`crate::cli`].

mod act;
mod add;
mod api_ca;
mod cluster;
mod completion;
mod dashboard;
mod endpoint;
mod error;
mod figures;
mod force_check;
mod health;
mod listed;
mod live;
mod output;
mod report;
mod routes;
mod stats;
mod status;
mod wait;
mod watching;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::{self, ExitStatus};
use cluster::Where;
use distributary_core::policy::EndpointState;
use error::Error;

/// The name that kubectl calls the plugin by.
const PLUGIN: &str = "kubectl-distributary";

/// The name that kubectl calls for completions.
const COMPLETION: &str = "kubectl_complete-distributary";

/// The first argument of the plugin that asks for the same, as the script of the archive gives it.
const COMPLETE: &str = "__complete";

/// See and change how PostgreSQL reads are routed, with your own rights.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl distributary",
    bin_name = "kubectl distributary",
    version,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(flatten)]
    place: Where,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Health(health::Arguments),
    Status(status::Arguments),
    Stats(stats::Arguments),
    Routes(routes::Arguments),
    Explain(cli::explain::Arguments),
    Plan(cli::plan::Arguments),
    Drill(cli::drill::Arguments),
    ForceCheck(force_check::Arguments),
    /// Take a server out of the routes: it is checked on, and gets no new connections.
    ///
    /// The status counts the sessions that are left on it. Needs the rights to get and patch the policy. Exit codes: 0; 1 it failed.
    Drain(endpoint::Arguments),
    /// Take a server into the routes, as far as it is well.
    ///
    /// Needs the rights to get and patch the policy. Exit codes: 0; 1 it failed.
    Enable(endpoint::Arguments),
    /// Take a server out of the routes and the checks.
    ///
    /// Needs the rights to get and patch the policy. Exit codes: 0; 1 it failed.
    Disable(endpoint::Arguments),
    /// Set the share of a server in the reads, under the strategy Weighted.
    ///
    /// Needs the rights to get and patch the policy. Exit codes: 0; 1 it failed.
    Weigh(endpoint::WeighArguments),
    Add(Box<add::Arguments>),
    /// Remove a replica from a policy, and the Secret that add made for it.
    ///
    /// Needs the rights to get and patch the policy; where the replica has a Secret, also those to get and delete it. Exit codes: 0; 1 it failed.
    Remove(endpoint::Arguments),
    Report(report::Arguments),
    Wait(wait::Arguments),
    Dashboard(dashboard::Arguments),
    ApiCa(api_ca::Arguments),
}

/// The name of every command of the plugin.
#[must_use]
pub fn command_names() -> Vec<String> {
    let command = Arguments::command();
    let names = command.get_subcommands().map(|it| it.get_name().to_owned());
    names.collect()
}

/// Runs the plugin where the process was called by its name; `None`: it was called by another.
#[must_use]
pub fn main() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let called = words.next()?;
    let name = Path::new(&called).file_stem()?;
    let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let asked = match words.split_first() {
        _ if name == COMPLETION => Some(&words[..]),
        Some((first, rest)) if name == PLUGIN && first == COMPLETE => Some(rest),
        _ => None,
    };
    if let Some(asked) = asked {
        completion::main(asked);
        return Some(ExitCode::SUCCESS);
    }
    (name == PLUGIN).then(plugin)
}

fn plugin() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return error::of_command_line(&error),
    };
    match run(&arguments.place, &arguments.command) {
        Ok(ended) => ExitCode::from(ended as u8),
        Err(error) => error.print(),
    }
}

fn run(place: &Where, command: &Command) -> Result<ExitStatus, Error> {
    match command {
        Command::Health(arguments) => block_on(health::run(place, arguments)),
        Command::Status(arguments) => block_on(status::run(place, arguments)),
        Command::Stats(arguments) => block_on(stats::run(place, arguments)),
        Command::Routes(arguments) => block_on(routes::run(place, arguments)),
        Command::Explain(arguments) => Ok(cli::explain::main(arguments, &place.connection())?),
        Command::Plan(arguments) => Ok(cli::plan::main(arguments, &place.connection())?),
        Command::Drill(arguments) => Ok(cli::drill::main(arguments)?),
        Command::ForceCheck(arguments) => block_on(force_check::run(place, arguments)),
        Command::Drain(arguments) => block_on(endpoint::set(place, arguments, EndpointState::Draining)),
        Command::Enable(arguments) => block_on(endpoint::set(place, arguments, EndpointState::Active)),
        Command::Disable(arguments) => block_on(endpoint::set(place, arguments, EndpointState::Disabled)),
        Command::Weigh(arguments) => block_on(endpoint::weigh(place, arguments)),
        Command::Add(arguments) => block_on(add::run(place, arguments)),
        Command::Remove(arguments) => block_on(endpoint::remove(place, arguments)),
        Command::Report(arguments) => block_on(report::run(place, arguments)),
        Command::Wait(arguments) => block_on(wait::run(place, arguments)),
        Command::Dashboard(arguments) => block_on(dashboard::run(place, arguments)),
        Command::ApiCa(arguments) => block_on(api_ca::run(place, arguments)),
    }
}

/// A runtime for a command that talks to a cluster.
fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    cli::block_on(async { Ok(work.await) })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_flags_of_kubectl_are_taken_before_and_after_a_command() {
        for line in [
            "kubectl-distributary -n shop --context prod explain orders",
            "kubectl-distributary explain orders -n shop --context prod",
        ] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(arguments.place.namespace.as_deref(), Some("shop"), "{line}");
            let Command::Explain(_) = arguments.command else {
                panic!("{line}");
            };
        }
    }
}
