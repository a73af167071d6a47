//! Stops of the control plane, and what must survive them: one after the other, as all of them share it. `cargo test` runs
//! them only where they are named: `cargo test --test outage`, as `make test` does.

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;

mod definition;
mod many;
mod stops;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use harness::ControlPlane;
use harness::suite::Suite;

const DEFINITION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crds/replicasetpolicies.distributary.dev.yaml"
);
/// How long after the API server the operator may be at work again. 10 s are promised; these tests run beside others, so
/// they allow for a machine that is busy.
const RECOVERED: Duration = Duration::from_secs(25);

fn main() -> ExitCode {
    harness::node::enter(tests)
}

fn tests() -> ExitCode {
    let suite = Suite::new(|| async { ControlPlane::start_with(&[Path::new(DEFINITION)]).await });
    let suite = stops::tests(suite.one_at_a_time());
    let suite = many::tests(suite);
    // Last: the garbage collector must see the definition come and go.
    definition::tests(suite).run()
}
