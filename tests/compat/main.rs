//! Each major version of PostgreSQL that can be had, standbys of every sort, servers that refuse much, and Patroni. What
//! this needs beside the other tests `tests/compat/install` installs: `make compat`.

mod cloudnative_pg;
#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;
mod pace;
mod patroni;
mod replay;
mod servers;
mod standbys;
mod versions;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use harness::ControlPlane;
use harness::suite::Suite;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn main() -> ExitCode {
    harness::node::enter(|| {
        let suite = Suite::new(|| async {
            let definition = Path::new(HERE).join("crds/replicasetpolicies.distributary.dev.yaml");
            ControlPlane::start_with(&[&definition]).await
        });
        let suite = patroni::tests(suite);
        let suite = cloudnative_pg::tests(suite);
        let suite = versions::tests(suite);
        let suite = standbys::tests(suite);
        let suite = replay::tests(suite);
        servers::tests(suite).run()
    })
}

/// Where `tests/compat/install` puts what it installs.
fn installed() -> PathBuf {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(HERE).join("target"), PathBuf::from);
    target.join("compat")
}
