//! The demo: a policy, two replicas, and which servers answer reads while the replicas fail. `make demo` runs it.
//!
//! It asserts every step and exits 1 when one fails. With `KEEP` set it leaves everything running until ^C.

#![forbid(unsafe_code)]

mod cast;
mod history;
mod policy;
mod reads;
mod screen;
mod setting;
mod story;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use harness::wait::Stopwatch;
use harness::{node, suite};

use screen::{Steps, say};
use setting::Setting;

/// The root of the repository, where `crds/` and `deploy/` are.
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn main() -> ExitCode {
    node::enter(demo)
}

fn demo() -> ExitCode {
    match suite::runtime().block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    env::set_current_dir(REPOSITORY).context("go to the repository")?;
    let clock = Stopwatch::start();
    let mut steps = Steps::new(clock);
    let setting = setting::start(&mut steps).await?;
    let played = story::play(&mut steps, &setting, clock).await;
    if played.is_err() {
        show_log(&setting);
    }
    played?;
    steps.end();
    if env::var_os("KEEP").is_some_and(|keep| !keep.is_empty()) {
        keep(&setting).await?;
    }
    Ok(())
}

fn show_log(setting: &Setting) {
    let log = setting.operator.daemon();
    eprintln!("the end of the operator's log:\n{}", log.log_tail(20));
}

/// Says how to reach everything from another terminal, and waits for ^C.
async fn keep(setting: &Setting) -> Result<()> {
    let (enter, kubectl) = (node::enter_command(), setting.kubectl_script()?);
    let log = setting.operator.daemon().log_path();
    println!("\nEverything is left running until ^C. From another terminal, as root:\n");
    say(&command(&enter, &kubectl, "get rsp,services,endpointslices"));
    say(&command(&enter, &kubectl, "get rsp orders -o yaml"));
    say(&command(&enter, &kubectl, "edit rsp orders"));
    for route in ["ro", "rw"] {
        say(&format!("{enter} psql {}", setting.uri(route).await?));
    }
    say(&format!("{enter} tail -f {}", log.display()));
    tokio::signal::ctrl_c().await.context("wait for ^C")?;
    println!("\nStopping everything.");
    Ok(())
}

fn command(enter: &str, kubectl: &Path, arguments: &str) -> String {
    format!("{enter} {} {arguments}", kubectl.display())
}
