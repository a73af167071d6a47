//! Standbys that fall behind.

use distributary_core::plan::RouteState;

use super::held;
use super::support::log::Follows;
use super::support::simulation::Simulation;

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
