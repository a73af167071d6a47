//! Simulated hours in milliseconds: what was routed when, while servers follow a script.
//!
//! A line of a table is a decision: `rw primary | ro a b:50 (c:10) | c Returning` has `b` at half its weight, and `c`
//! in routing.json, not in the EndpointSlice.

#[path = "timeline/failovers.rs"]
mod failovers;
#[path = "timeline/routing.rs"]
mod routing;
mod support;

use distributary_core::fixture::Case;
use distributary_core::observation::FailureKind;
use distributary_core::plan::RouteState;
use distributary_core::policy::OnPrimaryLoss;
use distributary_core::transition::Transition;
use distributary_core::world::Memory;
use support::log::Follows;
use support::policy;
use support::simulation::{Answer, REFUSED, STARTING, Simulation};

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

/// Out within an interval and the 5 ms of a confirmation, tripped within failoverTimeout from the first failed check.
#[test]
fn a_crashed_replica_leaves_within_an_interval_and_returns_step_by_step() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", REFUSED)
        .from(20.0, "a", Answer::Standby)
        .run(60.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.407  rw primary | ro b | a Suspect
           11.401  rw primary | ro b | a CircuitOpen
           21.402  rw primary | ro (a:10) b | a Returning
           23.402  rw primary | ro a:50 b | a Returning
           25.402  rw primary | ro a b
        ",
    );
    let left = simulation.left("a", 10.0).unwrap();
    assert!(left <= 10.0 + 1.0 + 0.007, "out at {left}");
    let tripped = simulation.tripped("a", 10.0).unwrap();
    assert!(tripped <= left + 2.0, "tripped at {tripped}");
}

#[test]
fn a_crash_under_the_default_times() {
    let mut simulation = Simulation::new(&usual());
    simulation
        .from(100.0, "a", REFUSED)
        .from(400.0, "a", Answer::Standby)
        .run(3600.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
          120.407  rw primary | ro b | a Suspect
          123.734  rw primary | ro b | a CircuitOpen
          423.735  rw primary | ro (a:10) b | a Returning
          438.735  rw primary | ro a:50 b | a Returning
          453.735  rw primary | ro a b
        ",
    );
    let left = simulation.left("a", 100.0).unwrap();
    assert!(left <= 100.0 + 30.0 + 0.007, "out at {left}");
    let tripped = simulation.tripped("a", 100.0).unwrap();
    assert!(tripped <= left + 5.0, "tripped at {tripped}");
}

#[test]
fn a_restart_of_a_second_and_a_half_costs_no_more_and_no_trip() {
    // Each begins shortly before a check.
    for (policy, begins) in [(fast(), 28.9), (usual(), 119.9)] {
        let mut simulation = Simulation::new(&policy);
        simulation
            .from(begins, "a", REFUSED)
            .from(begins + 1.2, "a", STARTING)
            .from(begins + 1.6, "a", Answer::Standby)
            .run(200.0);
        let left = simulation.left("a", begins).unwrap();
        let back = simulation.joined("a", left).unwrap();
        assert!(back <= begins + 1.6 + 0.6, "out from {left} to {back}");
        assert_eq!(simulation.tripped("a", 0.0), None, "{}", simulation.table());
    }
}

#[test]
fn a_quick_restart_as_a_table() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.3, "a", REFUSED)
        .from(10.8, "a", STARTING)
        .from(11.3, "a", Answer::Standby)
        .run(60.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.407  rw primary | ro b | a Suspect
           11.070  rw primary | ro b | a Starting
           11.572  rw primary | ro b | a Suspect
           11.624  rw primary | ro a b
        ",
    );
}

#[test]
fn a_connection_that_is_reset_once_costs_nothing() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", Answer::Fails(FailureKind::ConnectionReset))
        .from(10.408, "a", Answer::Standby)
        .run(60.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.407  rw primary | ro b | a Suspect
           10.468  rw primary | ro a b
        ",
    );
}

#[test]
fn a_frozen_replica_leaves_within_interval_and_failover_timeout() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", Answer::Silent)
        .from(40.0, "a", Answer::Standby)
        .run(80.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           11.900  rw primary | ro b | a CircuitOpen
           41.902  rw primary | ro (a:10) b | a Returning
           43.902  rw primary | ro a:50 b | a Returning
           45.902  rw primary | ro a b
        ",
    );
    let left = simulation.left("a", 10.0).unwrap();
    assert!(left <= 10.0 + 1.0 + 2.0, "out at {left}");
}

#[test]
fn a_replica_that_freezes_for_a_moment_stays() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", Answer::Silent)
        .from(11.2, "a", Answer::SlowStandby(400))
        .run(60.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
        ",
    );
}

#[test]
fn a_failure_while_half_open_opens_again() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", REFUSED)
        .from(20.0, "a", Answer::Standby)
        .from(22.0, "a", REFUSED)
        .from(30.0, "a", Answer::Standby)
        .run(60.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.407  rw primary | ro b | a Suspect
           11.401  rw primary | ro b | a CircuitOpen
           21.402  rw primary | ro (a:10) b | a Returning
           22.401  rw primary | ro b | a CircuitOpen
           42.402  rw primary | ro (a:10) b | a Returning
           44.402  rw primary | ro a:50 b | a Returning
           46.402  rw primary | ro a b
        ",
    );
}

#[test]
fn all_replicas_down_sends_reads_to_the_primary_and_back() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", REFUSED)
        .from(20.0, "b", REFUSED)
        .from(40.0, "a", Answer::Standby)
        .from(41.0, "b", Answer::Standby)
        .run(80.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.407  rw primary | ro b | a Suspect
           11.401  rw primary | ro b | a CircuitOpen
           20.407  rw primary | ro [Fallback] primary | a CircuitOpen, b Suspect
           21.401  rw primary | ro [Fallback] primary | a CircuitOpen, b CircuitOpen
           40.402  rw primary | ro a | a AdmittedEarly, b CircuitOpen
           41.402  rw primary | ro a:10 | a AdmittedEarly, b CircuitOpen
           41.402  rw primary | ro a:10 b:10 | a AdmittedEarly, b AdmittedEarly
           43.402  rw primary | ro a:50 (b:10) | a Returning, b Returning
           43.402  rw primary | ro a:50 b:50 | a Returning, b Returning
           45.402  rw primary | ro a b:50 | b Returning
           45.402  rw primary | ro a b
        ",
    );
}

/// The operator's own network, perhaps: who served is held, and serves again as soon as it answers.
#[test]
fn everybody_silent_changes_no_address() {
    let mut simulation = Simulation::new(&fast());
    // Not all in one moment: it decides after each.
    for (id, silent) in [("primary", 10.0), ("a", 10.0), ("b", 10.5)] {
        simulation
            .from(silent, id, Answer::Silent)
            .from(60.0, id, usual_answer(id));
    }
    simulation.run(90.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           11.900  rw primary | ro b | a CircuitOpen
           11.900  rw [Held] primary | ro b | primary Held, a CircuitOpen
           12.900  rw [Held] primary | ro [Held] a b primary | primary Held, a Held, b Held
           60.402  rw [Held] primary | ro a | primary Held, a AdmittedEarly, b CircuitOpen
           60.402  rw [Held] primary | ro a b | primary Held, a AdmittedEarly, b AdmittedEarly
           60.402  rw primary | ro a b | primary AdmittedEarly, a AdmittedEarly, b AdmittedEarly
           61.902  rw primary | ro a:10 b | primary AdmittedEarly, a AdmittedEarly, b AdmittedEarly
           61.902  rw primary | ro a:10 b | primary Returning, a AdmittedEarly, b AdmittedEarly
           62.902  rw primary | ro a:10 b:10 | primary Returning, a AdmittedEarly, b AdmittedEarly
           63.902  rw primary | ro a:50 (b:10) | primary Returning, a Returning, b Returning
           64.902  rw primary | ro a:50 b:50 | primary Returning, a Returning, b Returning
           65.902  rw primary | ro a b:50 | primary Returning, b Returning
           65.902  rw primary | ro a b:50 | b Returning
           66.902  rw primary | ro a b
        ",
    );
}

fn usual_answer(id: &str) -> Answer {
    if id == "primary" {
        Answer::Primary
    } else {
        Answer::Standby
    }
}

#[test]
fn a_silent_primary_is_held() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "primary", REFUSED)
        .from(40.0, "primary", Answer::Primary)
        .run(80.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.407  rw [Held] primary | ro a b | primary Held
           40.402  rw primary | ro a b | primary AdmittedEarly
           41.402  rw primary | ro a b | primary Returning
           45.402  rw primary | ro a b
        ",
    );
}

#[test]
fn a_primary_that_turns_standby_leaves_rw_and_serves_reads() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "primary", Answer::Standby)
        .from(20.0, "primary", Answer::Primary)
        .run(30.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.402  rw [Empty] | ro a b primary | primary PrimaryInRecovery
           20.402  rw primary | ro a b
        ",
    );
}

#[test]
fn a_promoted_replica_takes_neither_reads_nor_writes() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", Answer::Primary)
        .from(20.0, "a", Answer::Standby)
        .run(30.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.402  rw primary | ro b | a WritableReplica
           20.402  rw primary | ro b | a NotFollowing
           25.402  rw primary | ro a b
        ",
    );
}

#[test]
fn a_saturated_replica_stays() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", Answer::Fails(FailureKind::Saturated))
        .from(20.0, "a", Answer::Standby)
        .run(30.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.401  rw primary | ro a b | a Saturated
           20.402  rw primary | ro a b
        ",
    );
}

#[test]
fn a_lost_name_takes_out_and_returns_with_its_first_good_check() {
    let mut simulation = Simulation::new(&fast());
    simulation
        .from(10.0, "a", Answer::Fails(FailureKind::NameNotFound))
        .from(20.0, "a", Answer::Standby)
        .run(30.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.401  rw primary | ro b | a NameUnresolved
           20.402  rw primary | ro a b
        ",
    );
}

/// Up 3 s, down 3 s, a hundred times: the breaker keeps it out, mostly.
#[test]
fn a_flapping_replica_makes_a_bounded_number_of_decisions() {
    let mut simulation = Simulation::new(&fast());
    for cycle in 0..100 {
        let begins = 10.0 + 6.0 * f64::from(cycle);
        simulation
            .from(begins, "a", REFUSED)
            .from(begins + 3.0, "a", Answer::Standby);
    }
    simulation.run(610.0);
    let routes = simulation.log.len();
    assert!(routes <= 120, "{routes} changes in 10 minutes");
    let decisions = simulation.decisions.len();
    assert!(decisions <= 4 * 100, "{decisions} decisions");
    let checks = simulation.checks;
    assert!(checks <= 3 * 700, "{checks} checks");
}

/// Restarts of a second, every 3 s: the tenth within ten minutes is a trip.
#[test]
fn a_replica_that_restarts_every_3_s_costs_at_most_20_writes_of_a_slice_in_ten_minutes() {
    for policy in [fast(), held()] {
        let mut simulation = Simulation::new(&policy);
        for cycle in 0..200 {
            let begins = 10.0 + 3.0 * f64::from(cycle);
            simulation
                .from(begins, "a", REFUSED)
                .from(begins + 1.0, "a", Answer::Standby);
        }
        simulation.run(610.0);
        let plans: Vec<_> = simulation.plans().collect();
        let changes = plans.windows(2).filter(|pair| {
            let in_slice = |at: usize| {
                pair[at]
                    .1
                    .plan
                    .ro
                    .members
                    .iter()
                    .any(|member| member.in_slice && member.target.endpoint.as_str() == "a")
            };
            in_slice(0) != in_slice(1)
        });
        assert!((18..=20).contains(&changes.count()), "{}", simulation.table());
        let tripped = simulation.tripped("a", 0.0).expect("a trip");
        assert!(tripped > 35.0, "tripped at {tripped}");
    }
}

/// With `Withdraw` the writes come back with a server that is full, as it takes those that have a session.
#[test]
fn a_primary_that_restarts_into_too_many_clients_takes_its_writes_back() {
    let mut policy = held();
    policy.failover.on_primary_loss = OnPrimaryLoss::Withdraw;
    let mut simulation = Simulation::new(&policy);
    simulation
        .from(10.0, "primary", REFUSED)
        .from(12.0, "primary", Answer::Fails(FailureKind::Saturated))
        .run(600.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.001  rw [Empty] | ro a b | primary Suspect
           12.052  rw primary | ro a b | primary Saturated
        ",
    );
}

/// It lives, and nobody knows as what: who was promoted meanwhile is followed.
#[test]
fn a_primary_that_is_back_without_telling_its_role_does_not_keep_the_writes_from_a_promoted_server() {
    let mut simulation = Simulation::new(&held());
    simulation
        .from(10.0, "primary", REFUSED)
        .from(12.0, "primary", Answer::Fails(FailureKind::Saturated))
        .from(13.0, "a", Answer::Promoted(2))
        .run(600.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           10.001  rw [Held] primary | ro a b | primary Held
           12.052  rw primary | ro a b | primary Saturated
           14.403  rw primary | ro b | primary Saturated, a WritableReplica
           15.000  rw a | ro b | primary WritableReplica
        ",
    );
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

#[test]
fn a_disabled_breaker_brings_back_with_the_first_good_check() {
    let disabled = policy(&format!(
        "{SERVERS}
healthCheck: {{interval: 1s, heartbeat: 0s, timeout: 500ms, failoverTimeout: 2s}}
circuitBreaker: {{state: Disabled, failureThreshold: 3, resetTimeout: 10s}}
"
    ));
    let mut simulation = Simulation::new(&disabled);
    simulation
        .from(10.0, "a", Answer::Silent)
        .from(20.0, "a", Answer::Standby)
        .run(30.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b
           11.900  rw primary | ro b | a CircuitOpen
           20.402  rw primary | ro a b
        ",
    );
}

// With held sessions.

/// The session closes with the server: out within milliseconds, whatever the interval.
#[test]
fn a_crash_is_seen_as_it_happens() {
    let mut simulation = Simulation::new(&held());
    simulation.from(100.0, "a", REFUSED).run(101.0);
    let left = simulation.left("a", 100.0).unwrap();
    assert!(left <= 100.010, "out at {left}");
}

#[test]
fn a_restart_of_a_second_is_out_and_back_without_a_trip() {
    let mut simulation = Simulation::new(&held());
    simulation
        .from(100.0, "a", REFUSED)
        .from(100.7, "a", STARTING)
        .from(101.0, "a", Answer::Standby)
        .run(200.0);
    let back = simulation
        .joined("a", simulation.left("a", 100.0).unwrap())
        .unwrap();
    assert!(back <= 102.0, "{}", simulation.table());
    assert_eq!(simulation.tripped("a", 0.0), None);
}

#[test]
fn a_session_that_an_administrator_ends_every_second_changes_nothing() {
    let mut simulation = Simulation::new(&held());
    for second in 10..310 {
        for id in ["primary", "a", "b"] {
            simulation.terminate(f64::from(second), id);
        }
    }
    simulation.run(320.0);
    assert_eq!(simulation.log.len(), 1, "{}", simulation.table());
    assert!(
        simulation.checks > 800,
        "each is looked at: {} checks",
        simulation.checks
    );
}

#[test]
fn a_frozen_server_is_out_within_heartbeat_and_failover_timeout() {
    for begins in [100.0, 100.5, 101.3, 101.9] {
        let mut simulation = Simulation::new(&held());
        simulation.from(begins, "a", Answer::Silent).run(120.0);
        let left = simulation.left("a", begins).unwrap();
        assert!(
            left <= begins + 2.0 + 5.0 + 0.1,
            "frozen at {begins}, out at {left}"
        );
        assert!(left >= begins + 3.0, "slow is not dead: out at {left}");
    }
}

#[test]
fn an_hour_without_work_makes_no_lag_and_no_decision() {
    let mut simulation = Simulation::new(&held());
    simulation.run(3600.0);
    assert_eq!(simulation.log.len(), 1, "{}", simulation.table());
    let last = simulation
        .decisions
        .last()
        .map(|(moment, _)| moment.since_start().as_millis());
    assert_eq!(last, Some(402), "decided once, for good");
    assert_eq!(simulation.most_lag, 0);
}

/// Work comes and goes over an hour; the standbys are 3 s behind. A figure is at most a heartbeat too high.
#[test]
fn the_lag_of_a_busy_hour_is_true_within_a_heartbeat() {
    let mut simulation = Simulation::new(&held());
    for minute in 0..60 {
        let rate = if minute % 3 == 0 { 0 } else { 1_000_000 * minute };
        simulation
            .wal
            .writes(f64::from(u32::try_from(minute).unwrap()) * 60.0, rate);
    }
    for id in ["a", "b"] {
        simulation.wal.follows(0.0, id, Follows::Behind(3000));
    }
    simulation.run(3600.0);
    assert_eq!(simulation.log.len(), 1, "{}", simulation.table());
    assert!(
        (2900..=5100).contains(&simulation.most_lag),
        "{} ms",
        simulation.most_lag
    );
}

#[test]
fn a_standby_that_falls_behind_leaves_and_returns() {
    let mut simulation = Simulation::new(&held());
    simulation.wal.writes(0.0, 1_000_000);
    simulation.wal.follows(100.0, "a", Follows::Stalled);
    simulation.wal.follows(200.0, "a", Follows::Behind(20_000));
    simulation.wal.follows(300.0, "a", Follows::Behind(14_000));
    simulation.run(400.0);
    let left = simulation.left("a", 100.0).unwrap();
    assert!((130.0..=133.0).contains(&left), "past 30 s at {left}");
    let back = simulation.joined("a", left).unwrap();
    assert!((300.0..=303.0).contains(&back), "below 15 s at {back}");
    let reasons: Vec<_> = simulation
        .log
        .iter()
        .filter(|(_, words)| words.contains("Lagging"))
        .collect();
    assert_eq!(
        reasons.len(),
        1,
        "between the bounds it stays out:\n{}",
        simulation.table()
    );
}

/// Lag that waves around its bound: each verdict stands for three heartbeats, and between the bounds it stands on.
#[test]
fn waves_of_lag_make_few_decisions() {
    let mut simulation = Simulation::new(&held());
    simulation.wal.writes(0.0, 1_000_000);
    for wave in 0..300 {
        let begins = 100.0 + f64::from(wave) * 4.0;
        simulation.wal.follows(begins, "a", Follows::Behind(31_500));
        simulation.wal.follows(begins + 2.0, "a", Follows::Behind(27_000));
    }
    simulation.run(1300.0);
    assert!(simulation.log.len() <= 4, "{}", simulation.table());
}

#[test]
fn with_every_standby_behind_the_primary_reads_until_one_is_back() {
    let mut simulation = Simulation::new(&held());
    simulation.wal.writes(0.0, 1_000_000);
    for id in ["a", "b"] {
        simulation.wal.follows(100.0, id, Follows::Stalled);
    }
    simulation.wal.follows(200.0, "b", Follows::Behind(0));
    simulation.run(300.0);
    for (at, decided) in simulation.plans() {
        assert!(!decided.plan.ro.members.is_empty(), "at {at}");
        let expected = if (135.0..200.0).contains(&at) {
            RouteState::Fallback
        } else {
            decided.plan.ro.state
        };
        assert_eq!(decided.plan.ro.state, expected, "at {at}");
    }
    let fallback = |state| {
        let found = simulation
            .plans()
            .find(|(at, decided)| *at > 100.0 && decided.plan.ro.state == state);
        found.map(|(at, _)| at)
    };
    assert!(
        fallback(RouteState::Fallback).is_some_and(|at| (130.0..=135.0).contains(&at)),
        "{}",
        simulation.table()
    );
    assert!(
        simulation
            .joined("b", 150.0)
            .is_some_and(|at| (200.0..=203.0).contains(&at)),
        "{}",
        simulation.table()
    );
}

/// Up 3 s, down 3 s for ten minutes, seen at once each time.
#[test]
fn a_replica_that_flaps_under_a_held_session_is_damped_by_its_trips() {
    let mut simulation = Simulation::new(&policy(&format!(
        "{SERVERS}
healthCheck: {{failoverTimeout: 2s}}
circuitBreaker: {{failureThreshold: 3}}
"
    )));
    for cycle in 0..100 {
        let begins = 10.0 + 6.0 * f64::from(cycle);
        simulation
            .from(begins, "a", REFUSED)
            .from(begins + 3.0, "a", Answer::Standby);
    }
    simulation.run(610.0);
    let trips = simulation
        .log
        .windows(2)
        .filter(|pair| !pair[0].1.contains("CircuitOpen") && pair[1].1.contains("CircuitOpen"));
    let trips = trips.count();
    assert!((1..=5).contains(&trips), "{trips} trips:\n{}", simulation.table());
    assert!(
        simulation.log.len() <= 30,
        "{} changes:\n{}",
        simulation.log.len(),
        simulation.table()
    );
}

/// Each is down for 3 s, a second after the one before it is back.
#[test]
fn a_rolling_restart_of_all_replicas_never_empties_reads() {
    let mut simulation = Simulation::new(&policy(&format!("{SERVERS}- {{id: c, host: 198.18.0.4}}")));
    for (number, id) in (0_u8..).zip(["a", "b", "c"]) {
        let begins = 100.0 + f64::from(number) * 4.0;
        simulation
            .from(begins, id, REFUSED)
            .from(begins + 2.8, id, STARTING)
            .from(begins + 3.0, id, Answer::Standby);
    }
    simulation.run(300.0);
    for (at, decided) in simulation.plans() {
        assert!(
            decided.plan.ro.members.iter().any(|member| member.in_slice),
            "at {at}"
        );
        assert_eq!(
            decided.plan.ro.state,
            RouteState::Served,
            "two replicas are always left, at {at}"
        );
    }
    assert!(
        simulation
            .joined("c", simulation.left("c", 100.0).unwrap())
            .is_some_and(|at| at <= 112.0)
    );
    assert!(
        !simulation.table().contains("CircuitOpen"),
        "{}",
        simulation.table()
    );
}

#[test]
fn a_rolling_restart_of_two_that_overlap_uses_the_primary_only_while_nobody_is_left() {
    let mut simulation = Simulation::new(&held());
    for (begins, id) in [(100.0, "a"), (101.0, "b")] {
        simulation
            .from(begins, id, REFUSED)
            .from(begins + 3.0, id, Answer::Standby);
    }
    simulation.run(200.0);
    for (at, decided) in simulation.plans() {
        assert!(!decided.plan.ro.members.is_empty(), "at {at}");
        let both_down = (101.0..104.0).contains(&at);
        let fallback = decided.plan.ro.state == RouteState::Fallback;
        assert!(!fallback || both_down, "at {at}:\n{}", simulation.table());
    }
    assert!(simulation.table().contains("[Fallback] primary"));
}

/// The old primary dies, a standby is promoted, the old one returns as it was, and then as a standby.
#[test]
fn a_promotion_is_followed_and_an_old_primary_takes_nothing_back() {
    let mut simulation = Simulation::new(&held());
    simulation
        .from(100.0, "primary", REFUSED)
        .from(103.0, "a", Answer::Promoted(2))
        .from(200.0, "primary", Answer::Primary)
        .from(300.0, "primary", Answer::Standby)
        .run(400.0);
    let holder = |at: f64| {
        let plan = simulation.plans().take_while(|(moment, _)| *moment <= at).last();
        plan.map(|(_, decided)| {
            decided
                .plan
                .rw
                .members
                .iter()
                .map(|member| member.target.to_string())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        holder(104.9).unwrap(),
        ["primary"],
        "held for the failover timeout"
    );
    assert_eq!(
        holder(105.1).unwrap(),
        ["a"],
        "then it moves:\n{}",
        simulation.table()
    );
    for at in [190.0, 210.0, 290.0, 399.0] {
        assert_eq!(holder(at).unwrap(), ["a"], "at {at}:\n{}", simulation.table());
    }
    let moves = simulation
        .transitions
        .iter()
        .filter(|(_, change)| matches!(change, Transition::PrimaryMoved { .. }));
    assert_eq!(moves.count(), 1);
    let split: Vec<_> = simulation
        .transitions
        .iter()
        .filter_map(|(moment, change)| match change {
            Transition::SplitBrain { endpoints } => Some((moment.since_start().as_secs(), endpoints.len())),
            _ => None,
        })
        .collect();
    assert!(
        matches!(split.as_slice(), [(200..=206, 2), (300..=303, 0)]),
        "{split:?}"
    );
    for (at, decided) in simulation.plans() {
        assert!(decided.plan.rw.members.len() <= 1, "at {at}");
    }
    assert!(
        simulation.joined("primary", 300.0).is_some(),
        "it serves reads as a standby:\n{}",
        simulation.table()
    );
}

/// A switchover: the old primary is a standby at once.
#[test]
fn a_switchover_moves_the_writes_through_nowhere() {
    let mut simulation = Simulation::new(&held());
    simulation
        .from(100.0, "primary", Answer::Standby)
        .from(100.5, "a", Answer::Promoted(2))
        .run(120.0);
    let routes: Vec<_> = simulation
        .plans()
        .skip(1)
        .map(|(_, decided)| {
            decided
                .plan
                .rw
                .members
                .iter()
                .map(|member| member.target.to_string())
                .collect::<String>()
        })
        .collect();
    let mut steps = routes.clone();
    steps.dedup();
    assert!(
        steps == ["", "a"] || steps == ["primary", "", "a"] || steps == ["primary", "a"],
        "{steps:?}"
    );
    let moved = simulation.plans().find(|(_, decided)| {
        decided
            .plan
            .rw
            .members
            .first()
            .is_some_and(|member| member.target.to_string() == "a")
    });
    assert!(moved.is_some_and(|(at, _)| at <= 103.0), "{}", simulation.table());
}
