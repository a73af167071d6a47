//! What the whole-system benchmarks share. docs/benchmarks.md says what each of them measures.
//!
//! - [`contest`]: the operator beside HAProxy and Pgpool-II, on the same servers, each with a reader of its own.
//! - [`contestants`]: one file for each of them; what they see goes into one [`journal`].
//! - [`crowd`]: thousands of policies, with one process behind all of their servers.
//! - [`faults`]: what befalls a server, and how it is mended.
//! - [`figures`]: medians, tables, JSON.
//! - [`offload`]: what routing reads to replicas brings, beside what else one can do.
//! - [`page`]: what the pages of the operator's metrics say.
//! - [`pair`]: two operators with one Lease.
//! - [`usage`]: processor time, memory and connections of a process.

#![forbid(unsafe_code)]

pub mod contest;
pub mod contestants;
pub mod crowd;
pub mod faults;
pub mod figures;
pub mod journal;
pub mod offload;
pub mod page;
pub mod pair;
pub mod routes;
pub mod usage;

use std::env;
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::{ControlPlane, node, suite};

/// The main function of a benchmark: runs it, and says on the terminal why it failed.
#[must_use]
pub fn run(benchmark: impl Future<Output = Result<()>>) -> ExitCode {
    match suite::runtime().block_on(benchmark) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A number, or the like, from the environment: `RUNS=5 make bench-failover`.
///
/// # Errors
/// When the variable is set to something else.
pub fn option<T: FromStr<Err: Display>>(name: &str, default: T) -> Result<T> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .map_err(|error| anyhow::anyhow!("{name}={text}: {error}")),
        _ => Ok(default),
    }
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A control plane that knows policies, with the operator's ServiceAccount and its rights, and a kubeconfig for it.
///
/// # Errors
/// When a program of the control plane is missing or does not start.
pub async fn control_plane() -> Result<(ControlPlane, PathBuf)> {
    let definition = root().join("crds/replicasetpolicies.distributary.dev.yaml");
    let plane = ControlPlane::start_with(&[definition.as_path()]).await?;
    let deploy = root().join("deploy");
    plane
        .kubectl(&["apply", "-k", deploy.to_str().context("a path in UTF-8")?])
        .await?;
    let kubeconfig = plane
        .service_account_kubeconfig("distributary-system", "distributary")
        .await?;
    Ok((plane, kubeconfig))
}

/// A random part of `most`, so that faults come at any moment between two periodic checks.
#[must_use]
pub fn some_of(most: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    most * u32::try_from(random).unwrap_or(0) / 1000
}

/// A directory of this node for the files of a contestant; every user may enter it.
///
/// # Errors
/// When it cannot be made.
pub fn directory(name: &str) -> Result<PathBuf> {
    node::data_subdir("bench")?;
    node::data_subdir(&format!("bench/{name}"))
}
