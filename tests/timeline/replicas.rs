//! Replicas that fail and come back, seen by checks.

use distributary_core::observation::FailureKind;

use super::support::policy;
use super::support::simulation::{Answer, REFUSED, STARTING, Simulation};
use super::{SERVERS, assert_table, fast, held, usual};

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
