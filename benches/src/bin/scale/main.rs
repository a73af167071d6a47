//! What thousands of endpoints and policies cost, answered by a stub. `make bench-scale`.
//!
//! FIGURES (all, separated by commas: see [`Figure`]), each with a control plane of its own; SETTLE seconds after a start
//! (40). What else a figure takes from the environment is told in its file.

mod cold;
mod connections;
mod cost;
mod endpoints;
mod flips;
mod followers;
mod foreign;
mod growth;
mod plugin;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use benches::crowd::stub;
use benches::option;
use harness::{Operator, node, wait};
use nix::unistd::Pid;

/// The counter of the operator's writes.
const WRITES: &str = "distributary_writes_total";

/// What is measured at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    Endpoints,
    EndpointsTls,
    Flips,
    Followers,
    Cold,
    Connections,
    Foreign,
    Growth,
    Plugin,
}

impl Figure {
    const ALL: [Self; 9] = [
        Self::Endpoints,
        Self::EndpointsTls,
        Self::Flips,
        Self::Followers,
        Self::Cold,
        Self::Connections,
        Self::Foreign,
        Self::Growth,
        Self::Plugin,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::EndpointsTls => "endpoints-tls",
            Self::Flips => "flips",
            Self::Followers => "followers",
            Self::Cold => "cold",
            Self::Connections => "connections",
            Self::Foreign => "foreign",
            Self::Growth => "growth",
            Self::Plugin => "plugin",
        }
    }

    async fn measure(self) -> Result<()> {
        match self {
            Self::Endpoints => endpoints::measure(false).await,
            Self::EndpointsTls => endpoints::measure(true).await,
            Self::Flips => flips::measure().await,
            Self::Followers => followers::measure().await,
            Self::Cold => cold::measure().await,
            Self::Connections => connections::measure().await,
            Self::Foreign => foreign::measure().await,
            Self::Growth => growth::measure().await,
            Self::Plugin => plugin::measure().await,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    // The stub is this program, started again inside the node by the benchmark.
    if arguments
        .get(1)
        .is_some_and(|argument| argument == stub::ARGUMENT)
    {
        return stub::main(&arguments[2..]);
    }
    node::enter(|| benches::run(bench()))
}

async fn bench() -> Result<()> {
    for figure in figures(&option("FIGURES", "all".to_owned())?)? {
        println!("--- {}", figure.name());
        figure.measure().await.context(figure.name())?;
        println!();
    }
    Ok(())
}

fn figures(text: &str) -> Result<Vec<Figure>> {
    if text == "all" {
        return Ok(Figure::ALL.to_vec());
    }
    let figure = |name: &str| Figure::ALL.into_iter().find(|figure| figure.name() == name);
    let named: Option<Vec<_>> = text.split(',').map(figure).collect();
    match named {
        Some(figures) => Ok(figures),
        None => bail!(
            "FIGURES={text}: the figures are {}",
            Figure::ALL.map(Figure::name).join(", ")
        ),
    }
}

fn pid(operator: &Operator) -> Result<Pid> {
    operator.daemon().pid().context("the operator does not run")
}

/// One whole check of every endpoint, and some more.
async fn settle() -> Result<()> {
    let time = Duration::from_secs_f64(option("SETTLE", 40.0)?);
    wait::pass(time, "what the start left to do is done by then").await;
    Ok(())
}
