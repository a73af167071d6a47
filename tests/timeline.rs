//! Simulated hours in milliseconds: what was routed when, while servers follow a script.
//!
//! A line of a table is a decision: `rw primary | ro a b:50 (c:10) | c Returning` has `b` at half its weight, and `c`
//! in routing.json, not in the EndpointSlice.

#[path = "timeline/failovers.rs"]
mod failovers;
#[path = "timeline/lag.rs"]
mod lag;
#[path = "timeline/primaries.rs"]
mod primaries;
#[path = "timeline/replicas.rs"]
mod replicas;
#[path = "timeline/routing.rs"]
mod routing;
#[path = "timeline/sessions.rs"]
mod sessions;
mod support;

use distributary_core::fixture::Case;
use distributary_core::world::Memory;
use support::policy;
use support::simulation::{Answer, REFUSED, Simulation};

const SERVERS: &str = "
primary: {host: 198.18.0.1}
replicas:
- {id: a, host: 198.18.0.2}
- {id: b, host: 198.18.0.3}
";

/// Every time at its default but the heartbeat: interval 30s, timeout 2s, failoverTimeout 5s, 5 failures, resetTimeout 60s,
/// 3 successes. No session is held.
fn usual() -> Case {
    policy(&format!("{SERVERS}\nhealthCheck: {{heartbeat: 0s}}"))
}

/// Every time at its default, a heartbeat every 2 s among them.
fn held() -> Case {
    policy(SERVERS)
}

/// As a person sets it who wants to be fast, without a held session.
fn fast() -> Case {
    policy(&format!(
        "{SERVERS}
healthCheck: {{interval: 1s, heartbeat: 0s, timeout: 500ms, failoverTimeout: 2s}}
circuitBreaker: {{failureThreshold: 3, resetTimeout: 10s, halfOpen: {{successThreshold: 2, trafficSteps: [10, 50]}}}}
"
    ))
}

fn assert_table(simulation: &Simulation, expected: &str) {
    let lines = |text: &str| {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>()
    };
    let table = simulation.table();
    assert_eq!(lines(&table), lines(expected), "\n{table}");
}

#[test]
fn an_idle_hour_changes_nothing_and_keeps_the_interval() {
    let mut simulation = Simulation::new(&usual());
    simulation.run(3600.0);
    assert_eq!(simulation.log.len(), 1, "{}", simulation.table());
    let least = 3 * 3600 / 30;
    assert!(
        (least..=least * 10 / 9).contains(&simulation.checks),
        "{} checks",
        simulation.checks
    );
}

/// `b` is down while the operator restarts: it stays in the routes until everyone was checked.
#[test]
fn a_restart_of_the_operator_changes_routes_once() {
    let mut before = Simulation::new(&fast());
    before.run(5.0);
    let mut simulation = Simulation::restarted(&fast(), before.memory());
    simulation
        .from(0.0, "a", Answer::SlowStandby(300))
        .from(0.0, "b", REFUSED)
        .run(30.0);
    assert_table(
        &simulation,
        "
            0.400  waiting for 3
            0.407  waiting for 1
            0.700  rw primary | ro a | b Suspect
            1.401  rw primary | ro a | b CircuitOpen
        ",
    );
}

#[test]
fn a_replica_promoted_while_the_operator_was_away_leaves_before_the_others_answer() {
    let mut before = Simulation::new(&fast());
    before.run(5.0);
    let mut simulation = Simulation::restarted(&fast(), before.memory());
    simulation
        .from(0.0, "a", Answer::SlowStandby(300))
        .from(0.0, "b", Answer::Primary)
        .run(5.0);
    assert_table(
        &simulation,
        "
            0.400  waiting for 3
            0.402  rw primary | ro a | b WritableReplica
        ",
    );
}

#[test]
fn edits_while_it_runs_touch_only_what_they_name() {
    let mut simulation = Simulation::new(&fast());
    let added = policy(&format!(
        "{SERVERS}- {{id: c, host: 198.18.0.4}}
healthCheck: {{interval: 1s, heartbeat: 0s, timeout: 500ms, failoverTimeout: 2s}}
"
    ));
    simulation.run(5.0).edit(&added, Memory::default());
    simulation.run(10.0).edit(&usual(), Memory::default());
    simulation.run(15.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
            5.000  rw primary | ro a b | c NotCheckedYet
            5.002  rw primary | ro a b c
           10.000  rw primary | ro a b
        ",
    );
}
