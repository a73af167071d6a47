//! The dashboard in a real Chromium. `cargo test` runs this only where it is named: `make test-dashboard` does.

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;

mod answers;
mod api;

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/kubectl/scene.rs"]
mod plugin;

mod chromium;
mod fleet;
mod history;
mod live;
mod local;
mod looks;
mod made_up;
mod stub;

use std::path::Path;
use std::process::ExitCode;

use harness::ControlPlane;
use harness::suite::Suite;

const DEFINITION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crds/replicasetpolicies.distributary.dev.yaml"
);

fn main() -> ExitCode {
    harness::node::enter(|| {
        let suite = Suite::new(|| async { ControlPlane::start_with(&[Path::new(DEFINITION)]).await });
        // Times are measured.
        let suite = history::tests(answers::tests(fleet::tests(suite)));
        looks::tests(local::tests(live::tests(suite)))
            .one_at_a_time()
            .run()
    })
}
