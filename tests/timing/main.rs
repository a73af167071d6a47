//! How long it takes, with no other tests beside these: what measures a time, or reads, runs alone; what waits for a bound of
//! seconds, with half a second to spare, runs beside one more of its kind. `cargo test` runs them only where they are named:
//! `cargo test --test timing`, as `make test` does.

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;

mod bounds;
mod burst;
mod busy;
mod crash;
mod deaths;
mod figures;
mod promotion;
mod rolling;
mod routers;

use std::path::Path;
use std::process::ExitCode;

use harness::ControlPlane;
use harness::suite::Suite;

fn main() -> ExitCode {
    harness::node::enter(tests)
}

fn tests() -> ExitCode {
    let definition = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crds/replicasetpolicies.distributary.dev.yaml"
    );
    let suite = Suite::new(move || async move { ControlPlane::start_with(&[Path::new(definition)]).await });
    // First who reads through kube-proxy, which is also told of the ends of earlier tests.
    let suite = rolling::tests(suite.at_once(2));
    let suite = crash::tests(suite);
    let suite = promotion::tests(suite);
    let suite = bounds::tests(suite);
    let suite = deaths::tests(suite);
    let suite = burst::tests(suite);
    let suite = routers::tests(suite);
    busy::tests(suite).run()
}
