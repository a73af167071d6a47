//! The command line as a user meets it: the binary, its answers and its exit codes; `check` with real PostgreSQL servers.

#[path = "../../api/tests/broken/mod.rs"]
mod broken;

mod check;
mod drill;
mod environment;
mod explain;
mod import;
mod invocation;
mod plan;

use std::process::ExitCode;

use harness::suite::Suite;

fn main() -> ExitCode {
    harness::node::enter(tests)
}

fn tests() -> ExitCode {
    let suite = Suite::new(|| async { Ok(()) });
    let suite = plan::tests(suite);
    let suite = explain::tests(suite);
    let suite = drill::tests(suite);
    let suite = import::tests(suite);
    let suite = environment::tests(suite);
    check::tests(suite).run()
}
