//! Replicas that fail and come back, seen by held sessions.

use distributary_core::plan::RouteState;

use super::support::policy;
use super::support::simulation::{Answer, REFUSED, STARTING, Simulation};
use super::{SERVERS, held};

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
