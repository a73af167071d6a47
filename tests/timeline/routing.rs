//! Classes, regions and fallbacks over time: behind `ro` a line has the routes of classes and regions.

use distributary_core::plan::RouteState;

use super::support::log::Follows;
use super::support::policy;
use super::support::simulation::{Answer, REFUSED, Simulation};
use super::{assert_table, fast};

/// [`fast`] with more of the spec.
fn fast_with(more: &str) -> distributary_core::fixture::Case {
    policy(&format!(
        "
primary: {{host: 198.18.0.1}}
healthCheck: {{interval: 1s, heartbeat: 0s, timeout: 500ms, failoverTimeout: 2s}}
circuitBreaker: {{failureThreshold: 3, resetTimeout: 10s, halfOpen: {{successThreshold: 2, trafficSteps: [10, 50]}}}}
{more}"
    ))
}

#[test]
fn a_region_is_lost_and_comes_back_step_by_step() {
    let policy = fast_with(
        "
replicas:
- {id: a, host: 198.18.0.2, region: east}
- {id: b, host: 198.18.0.3, region: west}
loadBalancing: {strategy: Geographic}
",
    );
    let mut simulation = Simulation::new(&policy);
    simulation
        .from(10.0, "a", REFUSED)
        .from(20.0, "a", Answer::Standby)
        .run(60.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b | ro-east a (b) | ro-west b (a)
           10.407  rw primary | ro b | ro-east b | ro-west b | a Suspect
           11.401  rw primary | ro b | ro-east b | ro-west b | a CircuitOpen
           21.402  rw primary | ro (a:10) b | ro-east (a:10) b | ro-west b (a:10) | a Returning
           23.402  rw primary | ro a:50 b | ro-east a:50 (b) | ro-west b (a:50) | a Returning
           25.402  rw primary | ro a b | ro-east a (b) | ro-west b (a)
        ",
    );
}

#[test]
fn a_class_leaves_its_replica_and_returns_to_it() {
    let policy = fast_with(
        "
replicas:
- {id: a, host: 198.18.0.2, tags: [reports]}
- {id: b, host: 198.18.0.3}
routing: {classes: [{name: reports, replicaSelector: {tags: [reports]}}]}
",
    );
    let mut simulation = Simulation::new(&policy);
    simulation
        .from(10.0, "a", REFUSED)
        .from(11.5, "a", Answer::Standby)
        .run(30.0);
    assert_table(
        &simulation,
        "
            0.402  rw primary | ro a b | reports a
           10.407  rw primary | ro b | reports [Fallback] b | a Suspect
           11.401  rw primary | ro b | reports [Fallback] b | a CircuitOpen
           21.402  rw primary | ro (a:10) b | reports [Fallback] (a:10) b | a Returning
           23.402  rw primary | ro a:50 b | reports a:50 | a Returning
           25.402  rw primary | ro a b | reports a
        ",
    );
}

/// Both standbys are behind, one more than the other, in waves: the one that is less behind serves, and few changes are
/// made.
#[test]
fn waves_of_lag_move_the_fallback_seldom() {
    let policy = policy(
        "
primary: {host: 198.18.0.1}
replicas:
- {id: a, host: 198.18.0.2}
- {id: b, host: 198.18.0.3}
failover: {readFallback: [LaggingReplicas, Primary]}
",
    );
    let mut simulation = Simulation::new(&policy);
    simulation.wal.writes(0.0, 1_000_000);
    simulation.wal.follows(100.0, "b", Follows::Behind(150_000));
    for wave in 0..100 {
        let begins = 100.0 + f64::from(wave) * 10.0;
        simulation.wal.follows(begins, "a", Follows::Behind(60_000));
        simulation.wal.follows(begins + 5.0, "a", Follows::Behind(66_000));
    }
    simulation.run(1100.0);
    let settled: Vec<_> = simulation.plans().filter(|(at, _)| *at > 300.0).collect();
    assert!(settled.len() <= 3, "{}", simulation.table());
    let (_, last) = simulation.plans().last().unwrap();
    assert_eq!(last.plan.ro.state, RouteState::Fallback);
    let serving: Vec<_> = last.plan.ro.serving().iter().map(ToString::to_string).collect();
    assert_eq!(serving, ["a"], "{}", simulation.table());
}

/// Every replica restarts in turn, and there should be two: whoever is missing is replaced by the primary.
#[test]
fn a_rolling_restart_never_leaves_fewer_than_asked_for() {
    let policy = fast_with(
        "
replicas:
- {id: a, host: 198.18.0.2}
- {id: b, host: 198.18.0.3}
failover: {minHealthyReplicas: 2}
",
    );
    let mut simulation = Simulation::new(&policy);
    for (at, id) in [(10.0, "a"), (30.0, "b")] {
        simulation
            .from(at, id, REFUSED)
            .from(at + 5.0, id, Answer::Standby);
    }
    simulation.run(80.0);
    for (at, decided) in simulation.plans() {
        let serving = decided.plan.ro.serving();
        assert!(serving.len() >= 2, "{serving:?} at {at}\n{}", simulation.table());
        assert_eq!(decided.plan.ro.state, RouteState::Served, "at {at}");
    }
    let helped = simulation
        .plans()
        .filter(|(_, decided)| !decided.plan.ro.stand_ins().is_empty());
    assert!(helped.count() >= 2, "{}", simulation.table());
    assert_eq!(fast().failover.min_healthy.of(2), 1, "the default asks for one");
}
