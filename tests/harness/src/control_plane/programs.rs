//! Where the programs of the control plane are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The file of a program: in the directory that `KUBEBUILDER_ASSETS` names when it is there, else where
/// `make controlplane` puts it.
///
/// # Errors
/// When it is nowhere: the message says how to make it.
pub fn path(program: &str) -> Result<PathBuf> {
    let found = directories()
        .into_iter()
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("{program} is not built; `make controlplane` builds it in target/controlplane/bin"),
    }
}

fn directories() -> Vec<PathBuf> {
    let assets = ["KUBEBUILDER_ASSETS", "DISTRIBUTARY_CONTROLPLANE"]
        .into_iter()
        .filter_map(env::var_os);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let targets = [Some(repository.join("target")), target].into_iter().flatten();
    assets
        .map(PathBuf::from)
        .chain(targets.map(|target| target.join("controlplane/bin")))
        .collect()
}
