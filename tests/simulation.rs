//! World and Writing of the operator against a simulated API server and simulated servers: plans of faults, drawn by chance,
//! and what must hold: at every step that the writes have one server, proven and logged before (S1, S2, S10), that reads are
//! never emptied (S3), objects of others stay (S5) and the memory goes back to nothing earlier (S6); when faults have ceased,
//! that everything is as it should be, and nothing is written (L1, L2, S7, S8).
//!
//! `PLANS` is the number of plans with one operator, and of those with two: 150 where it is not set; `FIRST` is the seed of the first one. A plan that fails is told by
//! its seed, and made as short as it can be; put under `simulation/scripts/` it stays as a test.

#[path = "simulation/api.rs"]
mod api;
#[path = "simulation/laws.rs"]
mod laws;
#[path = "simulation/operator.rs"]
mod operator;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/script.rs"]
mod script;
#[path = "simulation/servers.rs"]
mod servers;
mod support;

use std::cell::Cell;
use std::path::Path;

use distributary_core::fixture::{self, Case};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use run::Seen;
use script::{Fault, Script, Step, scripts};

/// So many plans by default.
const PLANS: u64 = 150;

fn case() -> Case {
    fixture::policy(&["a", "b"])
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

/// The shortest script that fails as the plan of this seed does.
fn plan(seed: u64, operators: usize) -> Result<Seen, String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let case = case();
    let seen = Cell::new(Seen::default());
    let found = runner.run(&scripts(operators), |script| {
        seen.set(run::run(&script, &case).map_err(TestCaseError::fail)?);
        Ok(())
    });
    found.map(|()| seen.get()).map_err(|error| match error {
        TestError::Fail(reason, script) => format!(
            "plan {seed}: {}\n{reason}",
            serde_yaml::to_string(&script).expect("a script is YAML")
        ),
        TestError::Abort(reason) => reason.to_string(),
    })
}

fn plans(operators: usize) -> Seen {
    let first = number("FIRST", 0);
    let mut all = Seen::default();
    for seed in first..first + number("PLANS", PLANS) {
        all += plan(seed, operators).unwrap_or_else(|broken| panic!("{broken}"));
    }
    println!("{all:?}");
    all
}

/// Plans that meet nothing of what matters prove nothing. A few alone may do so.
fn reaches(seen: &Seen, operators: usize) {
    let leaders = if operators > 1 { seen.leaders } else { 1 };
    let rare = [
        seen.moves,
        seen.conflicts,
        seen.late,
        seen.ends,
        seen.lists,
        leaders,
    ];
    let few = number("PLANS", PLANS) < PLANS;
    assert!(few || rare.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn one_operator_keeps_the_invariants_whatever_befalls_it() {
    reaches(&plans(1), 1);
}

#[test]
fn two_operators_keep_the_invariants_whatever_befalls_them() {
    reaches(&plans(2), 2);
}

#[test]
fn scripts_that_failed_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/scripts");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("it is readable");
        let script: Script =
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        run::run(&script, &case()).unwrap_or_else(|broken| panic!("{}: {broken}", path.display()));
        count += 1;
    }
    assert!(count > 0, "there are scripts");
}

/// S7: whoever leads, the same is written.
#[test]
fn a_change_of_leaders_writes_nothing() {
    let case = case();
    let ends = |operator| {
        [
            Fault::Terminate {
                operator,
                lasts: 3_000,
            },
            Fault::Kill {
                operator,
                lasts: 3_000,
            },
            Fault::Stop {
                operator,
                lasts: 40_000,
            },
            Fault::Pause {
                operator,
                lasts: 40_000,
            },
            Fault::Cut {
                operator,
                lasts: 40_000,
            },
        ]
    };
    let kinds = ends(0).into_iter().zip(ends(1));
    for (seed, (first, second)) in (0..).zip(kinds) {
        let mut leaders = 0;
        for fault in [first, second] {
            let steps = [0, 60_000].map(|after| Step {
                after,
                fault: fault.clone(),
            });
            let script = Script {
                seed,
                operators: 2,
                monitor: false,
                steps: steps.into(),
                rest: 30_000,
            };
            let seen = run::run(&script, &case).unwrap_or_else(|broken| panic!("{broken}"));
            assert_eq!(seen.written, 0, "{fault:?}");
            leaders += seen.leaders - 1;
        }
        assert!(leaders > 0, "kind {seed}: the lease changed hands");
    }
}
