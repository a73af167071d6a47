//! World and Writing of the operator against a simulated API server and simulated servers: plans of faults, drawn by chance,
//! and what must hold: at every step that the writes have one server, proven and logged before (S1, S2, S10), that reads are
//! never emptied (S3), objects of others stay (S5) and the memory goes back to nothing earlier (S6); when faults have ceased,
//! that everything is as it should be, and nothing is written (L1, L2, S7, S8).
//!
//! `PLANS` is the number of plans with one operator, and of those with two: 150 where it is not set; `FIRST` is the seed of the first one. A plan that fails is told by
//! its seed, and made as short as it can be; put under `simulation/scripts/` it stays as a test.

#[path = "simulation/mod.rs"]
mod simulation;

use simulation::script::{Fault, Script, Step, forgotten_list};
use simulation::{Seen, case, kept, plan, run};

/// So many plans by default.
const PLANS: u64 = 150;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

/// Attempts to make a plan that fails shorter.
const ATTEMPTS: usize = 60;

fn plans(operators: usize) -> Seen {
    let first = number("FIRST", 0);
    let mut all = Seen::default();
    for seed in first..first + number("PLANS", PLANS) {
        all += plan(seed, operators, ATTEMPTS).unwrap_or_else(|broken| panic!("plan {seed}: {broken}"));
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
        seen.expired,
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
    for (path, script) in kept() {
        run(&script, &case()).unwrap_or_else(|broken| panic!("{}: {broken}", path.display()));
    }
}

/// A failover whose operator ends at its `n`-th request, before it was carried out or after.
fn ending_at(n: usize, done: bool, (operator, operators): (usize, usize)) -> Script {
    let lasts = 3_000;
    let ends = Fault::KillAt {
        operator,
        n,
        done,
        lasts,
    };
    let crash = Fault::Crash {
        server: 0,
        lasts: 9_000,
    };
    let steps = [
        (0, ends),
        (10, crash),
        (1_000, Fault::Promote { server: 1 }),
        (200, Fault::Rejoin { server: 2, onto: 1 }),
        (12_000, Fault::Rejoin { server: 0, onto: 1 }),
    ];
    Script {
        seed: 7,
        operators,
        monitor: false,
        steps: steps.map(|(after, fault)| Step { after, fault }).into(),
        rest: 20_000,
    }
}

#[test]
fn an_operator_may_end_before_and_after_each_request_of_a_failover() {
    let mut ends = 0;
    for of in [(0, 1), (0, 2), (1, 2)] {
        for done in [false, true] {
            for n in 1.. {
                let script = ending_at(n, done, of);
                let seen = run(&script, &case()).unwrap_or_else(|broken| panic!("{script:?}: {broken}"));
                if seen.ends == 0 {
                    break;
                }
                ends += 1;
            }
        }
    }
    assert!(ends > 20, "{ends}");
}

/// The primary is lost, a standby is promoted, and from some moment on admission lets no status through, or no object.
fn held_up(admission: Fault, begins: u64, operators: usize) -> Script {
    let crash = Fault::Crash {
        server: 0,
        lasts: 20_000,
    };
    let mut faults = [
        (10, crash),
        (1_010, Fault::Promote { server: 1 }),
        (1_210, Fault::Rejoin { server: 2, onto: 1 }),
        (begins, admission),
        (40_000, Fault::Rejoin { server: 0, onto: 1 }),
    ];
    faults.sort_by_key(|(at, _)| *at);
    let mut before = 0;
    let steps = faults.map(|(at, fault)| {
        let after = at - std::mem::replace(&mut before, at);
        Step { after, fault }
    });
    Script {
        seed: begins,
        operators,
        monitor: false,
        steps: steps.into(),
        rest: 20_000,
    }
}

#[test]
fn a_failover_ends_well_though_admission_refuses_or_hangs() {
    for (status, refuses) in [(true, true), (true, false), (false, true), (false, false)] {
        for operators in [1, 2] {
            for begins in [0, 3_000, 6_000] {
                let lasts = 25_000;
                let admission = Fault::Admission {
                    status,
                    refuses,
                    lasts,
                };
                let script = held_up(admission, begins, operators);
                let seen = run(&script, &case()).unwrap_or_else(|broken| panic!("{script:?}: {broken}"));
                assert!(seen.moves > 0, "{script:?}");
            }
        }
    }
}

#[test]
fn a_list_that_is_forgotten_while_it_is_read_begins_anew() {
    let mut seen = Seen::default();
    for (seed, deletes) in (0..).zip([false, true, false, true]) {
        let script = Script {
            seed,
            operators: 1,
            monitor: false,
            steps: forgotten_list(0, 0, 2_000, deletes),
            rest: 60_000,
        };
        seen += run(&script, &case()).unwrap_or_else(|broken| panic!("{script:?}: {broken}"));
    }
    assert!(seen.lists > 4 && seen.expired > 0, "{seen:?}");
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
            let seen = run(&script, &case).unwrap_or_else(|broken| panic!("{broken}"));
            assert_eq!(seen.written, 0, "{fault:?}");
            leaders += seen.leaders - 1;
        }
        assert!(leaders > 0, "kind {seed}: the lease changed hands");
    }
}
