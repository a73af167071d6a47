//! Stops, and what must survive them: of the control plane, one after the other, as all tests share it, and of the operator at
//! each of its writes. `cargo test` runs them only where they are named: `cargo test --test outage`, as `make test` does.

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/pair.rs"]
mod pair;

mod control_plane;
mod definition;
mod many;
mod stops;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use harness::ControlPlane;
use harness::stop::Stop;
use harness::suite::Suite;

const DEFINITION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crds/replicasetpolicies.distributary.dev.yaml"
);
/// How long after the API server the operator may be at work again. 10 s are promised; these tests run beside others, so
/// they allow for a machine that is busy.
const RECOVERED: Duration = Duration::from_secs(25);

fn main() -> ExitCode {
    match Stop::asked() {
        Some(stop) => stops::operator(&stop),
        None => harness::node::enter(tests),
    }
}

fn tests() -> ExitCode {
    let suite = Suite::new(|| async { ControlPlane::start_with(&[Path::new(DEFINITION)]).await });
    let suite = control_plane::tests(suite.one_at_a_time());
    let suite = many::tests(suite);
    let suite = stops::tests(suite);
    // Last: the garbage collector must see the definition come and go.
    definition::tests(suite).run()
}
