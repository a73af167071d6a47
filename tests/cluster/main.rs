//! The operator on a real control plane, with real PostgreSQL servers: one control plane, a namespace per test.

mod acting;
mod admission;
mod api;
mod classes;
mod clients;
mod command_line;
mod contests;
mod divergence;
mod edits;
mod failovers;
mod fallback;
mod faults;
mod fixture;
mod health;
mod hostile;
mod kubectl;
mod lag;
mod leaders;
mod load;
mod modes;
mod names;
mod network;
mod objects;
mod packaging;
mod pair;
mod poolers;
mod primary;
mod process;
mod readme;
mod reads;
mod refusals;
mod rerouting;
mod rivals;
mod rogues;
mod rollout;
mod routers;
mod routes;
mod secrets;
mod services;
mod sessions;
mod statistics;
mod tenants;
mod tutorial;
mod watches;
mod writes;

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
    let suite = process::tests(suite);
    let suite = tenants::tests(suite);
    let suite = routers::tests(suite);
    let suite = routes::tests(suite);
    let suite = rerouting::tests(suite);
    let suite = failovers::tests(suite);
    let suite = load::tests(suite);
    let suite = statistics::tests(suite);
    let suite = faults::tests(suite);
    let suite = health::tests(suite);
    let suite = classes::tests(suite);
    let suite = clients::tests(suite);
    let suite = rogues::tests(suite);
    let suite = hostile::tests(suite);
    let suite = network::tests(suite);
    let suite = names::tests(suite);
    let suite = tutorial::tests(suite);
    let suite = rollout::tests(suite);
    let suite = readme::tests(suite);
    let suite = acting::tests(suite);
    let suite = poolers::tests(suite);
    let suite = sessions::tests(suite);
    let suite = watches::tests(suite);
    let suite = writes::tests(suite);
    let suite = leaders::tests(suite);
    let suite = rivals::tests(suite);
    let suite = lag::tests(suite);
    let suite = divergence::tests(suite);
    let suite = fallback::tests(suite);
    let suite = primary::tests(suite);
    let suite = contests::tests(suite);
    let suite = secrets::tests(suite);
    let suite = services::tests(suite);
    let suite = objects::tests(suite);
    let suite = refusals::tests(suite);
    let suite = modes::tests(suite);
    let suite = edits::tests(suite);
    let suite = command_line::tests(suite);
    let suite = kubectl::tests(suite);
    let suite = admission::tests(suite);
    let suite = api::tests(suite);
    packaging::tests(suite).run()
}
