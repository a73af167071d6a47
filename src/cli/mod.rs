//! The command line: one file for each subcommand.

mod api;
pub(crate) mod archive;
mod check;
pub(crate) mod cluster;
mod crd;
mod credentials;
pub(crate) mod difference;
pub(crate) mod documents;
pub(crate) mod drill;
pub(crate) mod endpoints;
pub(crate) mod explain;
mod import;
mod kubeconfig;
pub(crate) mod lease;
mod loopback;
pub(crate) mod output;
pub(crate) mod plan;
mod planned;
mod policy_file;
mod proxy;
mod routes;
mod run;
mod terms;
mod url_parameters;
mod verify;
mod yaml;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::k8s::clients::{self, Clients};
use crate::k8s::error::CallError;
use crate::telemetry;
use cluster::Connection;
use distributary_core::ids::PolicyKey;
pub use import::known_variables;

/// Routes PostgreSQL reads to replicas, on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "distributary", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Arguments>),
    Plan(plan::Arguments),
    Check(check::Arguments),
    Explain(explain::Arguments),
    Drill(drill::Arguments),
    Import(import::Arguments),
    Verify(verify::Arguments),
    Crd(crd::Arguments),
}

/// How a command ended; docs/cli.md tells when. A command line that cannot be understood ends with 2, by clap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExitStatus {
    /// What was asked for is done, and all is well.
    Well = 0,
    /// Somebody or something is not well.
    Unwell = 4,
    /// There are differences.
    Different = 5,
}

/// Why a command could not do what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}", .0.join("\nerror: "))]
    Invalid(Vec<String>),
    #[error("{0}")]
    Unusable(String),
    #[error("there is no ReplicaSetPolicy {0} in the cluster")]
    Missing(PolicyKey),
    #[error("{what}")]
    Failed {
        what: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] std::io::Error),
}

impl Error {
    /// The policy, or what belongs to it, is not valid.
    pub(crate) fn invalid(problem: impl Into<String>) -> Self {
        Self::Invalid(vec![problem.into()])
    }

    /// Whether the API server refuses it to the caller.
    pub(crate) fn is_forbidden(&self) -> bool {
        let Self::Failed { source, .. } = self else {
            return false;
        };
        let refused = source.downcast_ref::<CallError>();
        refused.is_some_and(|error| error.code() == 403)
    }

    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Failed { .. } | Self::Unreadable(..) | Self::Unusable(_) | Self::Missing(_) => 1,
            Self::Invalid(_) => 3,
        }
    }
}

/// The name of every command.
#[must_use]
pub fn command_names() -> Vec<String> {
    let command = Arguments::command();
    let names = command.get_subcommands().map(|it| it.get_name().to_owned());
    names.collect()
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    main_over(Clients::infer)
}

/// The same, where `run` reaches the API server through `clients`.
#[must_use]
pub fn main_over<F>(clients: impl FnOnce() -> F) -> ExitCode
where
    F: Future<Output = Result<Clients, clients::Error>>,
{
    let ended = match Arguments::parse().command {
        Command::Run(arguments) => return run::main(*arguments, clients),
        Command::Crd(arguments) => return crd::main(&arguments),
        Command::Plan(arguments) => plan::main(&arguments, &Connection::default()),
        Command::Check(arguments) => check::main(&arguments),
        Command::Explain(arguments) => explain::main(&arguments, &Connection::default()),
        Command::Drill(arguments) => drill::main(&arguments),
        Command::Import(arguments) => import::main(&arguments),
        Command::Verify(arguments) => verify::main(&arguments),
    };
    match ended {
        Ok(ended) => ExitCode::from(ended as u8),
        Err(error) => {
            fail(&error);
            ExitCode::from(error.code())
        }
    }
}

/// Prints an error with its causes, once, as `error: what: why`.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {}", output::printable(&telemetry::chain(error)));
    ExitCode::FAILURE
}

/// Says something that the user should know beside the result.
fn warn(what: &str) {
    eprintln!("warning: {}", output::printable(what));
}

/// A runtime for a command that talks to servers.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Failed {
            what: "cannot start".to_owned(),
            source: source.into(),
        })?;
    runtime.block_on(work)
}
