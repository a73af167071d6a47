//! Primaries that fail, and who takes the writes then.

use distributary_core::observation::FailureKind;
use distributary_core::policy::OnPrimaryLoss;
use distributary_core::transition::Transition;

use super::support::simulation::{Answer, REFUSED, Simulation};
use super::{assert_table, fast, held};

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
