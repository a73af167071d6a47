//! World and Writing of operators against a simulated API server and simulated servers, and the plans of faults that befall
//! them: for the simulation itself, and for the faults of the protocol that it must find.

mod api;
mod laws;
mod operator;
mod run;
pub mod script;
mod servers;
mod wire;

use std::path::{Path, PathBuf};

use distributary_core::fixture::{self, Case};
use distributary_core::policy::DeclaredServer;
use distributary_core::server::{Host, Location};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
pub use run::{Seen, run};
use script::Script;

/// The policy that is routed.
pub fn case() -> Case {
    let mut case = fixture::policy(&["a", "b"]);
    for (endpoint, server) in case.endpoints.iter_mut().zip(0..) {
        endpoint.server = DeclaredServer::Host(Location {
            host: Host::Address(servers::address(server)),
            port: 5432,
        });
    }
    case
}

/// A script that breaks an invariant, and which one.
#[derive(Debug)]
pub struct Broken {
    pub script: Script,
    pub reason: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let script = serde_yaml::to_string(&self.script).map_err(|_| std::fmt::Error)?;
        write!(f, "{script}\n{}", self.reason)
    }
}

/// Runs the plan of this seed. One that fails is made shorter, in so many attempts.
pub fn plan(seed: u64, operators: usize, attempts: usize) -> Result<Seen, Broken> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let drawn = script::scripts(operators).new_tree(&mut runner);
    let (mut drawn, case) = (drawn.expect("every script may be drawn"), case());
    let try_it = |script: Script| run(&script, &case).map_err(|reason| Broken { script, reason });
    let mut broken = match try_it(drawn.current()) {
        Ok(seen) => return Ok(seen),
        Err(broken) => broken,
    };
    let mut shorter = drawn.simplify();
    for _ in 0..attempts {
        if !shorter {
            break;
        }
        shorter = match try_it(drawn.current()) {
            Ok(_) => drawn.complicate(),
            Err(found) => {
                broken = found;
                drawn.simplify()
            }
        };
    }
    Err(broken)
}

/// The scripts that failed once, in the order of their names.
pub fn kept() -> Vec<(PathBuf, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/scripts");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let mut kept: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("it is readable");
            let script = serde_yaml::from_str(&text);
            let script = script.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, script)
        })
        .collect();
    kept.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(!kept.is_empty(), "there are scripts");
    kept
}
