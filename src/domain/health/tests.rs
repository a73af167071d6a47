use std::time::Duration;

use super::*;

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 2));

fn breaker() -> BreakerSettings {
    BreakerSettings {
        enabled: true,
        failure_threshold: 5,
        reset_timeout: Duration::from_secs(60),
        success_threshold: 1,
        traffic_steps: vec![Percent::new(10), Percent::new(50)],
    }
}

fn probing() -> Probing {
    Probing {
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(2),
        failover_timeout: Duration::from_secs(5),
    }
}

fn good() -> Result<Sample, FailureKind> {
    Ok(Sample {
        role: Role::Standby,
        lsn: None,
        system_identifier: Some(7),
        timeline: Some(1),
    })
}

/// A target that saw these results, each at its millisecond.
fn seen(results: &[(u64, Result<Sample, FailureKind>)]) -> Health {
    let mut health = Health::default();
    for (millis, result) in results {
        let now = Moment::new(Duration::from_millis(*millis));
        let observation = Observation {
            started: now,
            ended: now,
            address: result.is_ok().then_some(ADDRESS),
            result: result.clone(),
        };
        health.observe(&observation, &breaker(), &probing());
    }
    health
}

/// A target that served, and then failed so, 5 ms apart.
fn served_then(failures: &[FailureKind]) -> Health {
    let failures = (0..).step_by(5).zip(failures).map(|(at, kind)| (at, Err(*kind)));
    seen(&[(0, good())].into_iter().chain(failures).collect::<Vec<_>>())
}

fn verdict(health: &Health) -> (Standing, Reason) {
    health.judge(&breaker())
}

const SERVING: (Standing, Reason) = (Standing::Good, Reason::Serving);
const OUT: Standing = Standing::Unhealthy { answers: false };

const HARD: [FailureKind; 3] = [
    FailureKind::ConnectRefused,
    FailureKind::ConnectionReset,
    FailureKind::ConnectionClosed,
];
const SOFT: [FailureKind; 5] = [
    FailureKind::TimedOut,
    FailureKind::Unreachable,
    FailureKind::ServerFailing,
    FailureKind::ProtocolViolation,
    FailureKind::ReplyTooLong,
];
const TRANSIENT: [FailureKind; 2] = [FailureKind::Starting, FailureKind::Stopping];
const CONFIGURATION: [FailureKind; 6] = [
    FailureKind::AuthenticationFailed,
    FailureKind::DatabaseMissing,
    FailureKind::TlsFailed,
    FailureKind::TlsNotOffered,
    FailureKind::PasswordMethodRefused,
    FailureKind::SecretUnresolved,
];
const NAME: [FailureKind; 2] = [FailureKind::NameNotFound, FailureKind::ResolverFailed];

#[test]
fn a_target_never_seen_is_unknown_and_not_well() {
    assert_eq!(
        verdict(&Health::default()),
        (Standing::Unproven, Reason::NotCheckedYet)
    );
}

#[test]
fn the_first_good_check_admits() {
    let health = seen(&[(0, good())]);
    assert_eq!(verdict(&health), SERVING);
    assert!(health.checked && health.admitted);
    assert_eq!(
        (health.address, health.role, health.system_identifier),
        (Some(ADDRESS), Some(Role::Standby), Some(7))
    );
}

#[test]
fn one_hard_sign_alone_takes_nobody_out() {
    for kind in HARD {
        let health = served_then(&[kind]);
        assert_eq!(verdict(&health), SERVING, "{kind}");
        assert_eq!(health.suspicion, Suspicion::Confirming, "{kind}");
    }
}

#[test]
fn a_hard_sign_that_another_one_confirms_takes_out() {
    for first in HARD {
        for second in HARD.into_iter().chain(TRANSIENT) {
            let health = served_then(&[first, second]);
            assert_eq!(verdict(&health).0, OUT, "{first}, {second}");
            assert!(
                matches!(health.circuit, Circuit::Closed { .. }),
                "{first}, {second}: suspect is no trip"
            );
        }
    }
}

#[test]
fn a_hard_sign_and_then_a_good_check_costs_nothing() {
    let health = seen(&[(0, good()), (1, Err(FailureKind::ConnectionReset)), (6, good())]);
    assert_eq!(verdict(&health), SERVING);
    assert_eq!(health.suspicion, Suspicion::None);
    assert_eq!(health.circuit, Circuit::default());
}

#[test]
fn soft_signs_take_nobody_out_before_the_circuit_opens() {
    for kind in SOFT {
        let health = served_then(&[kind; 10]);
        assert_eq!(verdict(&health), SERVING, "{kind}");
    }
}

#[test]
fn a_soft_sign_does_not_confirm_a_hard_one() {
    for kind in SOFT {
        let health = served_then(&[FailureKind::ConnectRefused, kind]);
        assert_eq!(verdict(&health), SERVING, "{kind}");
    }
}

#[test]
fn an_answer_of_another_kind_clears_a_hard_sign() {
    for kind in CONFIGURATION
        .into_iter()
        .chain([FailureKind::Saturated, FailureKind::OtherError])
    {
        let health = served_then(&[FailureKind::ConnectRefused, kind, FailureKind::ConnectRefused]);
        assert_eq!(health.suspicion, Suspicion::Confirming, "{kind}");
    }
}

#[test]
fn two_good_checks_in_a_row_bring_a_suspect_back() {
    let refused = || Err(FailureKind::ConnectRefused);
    let mut story = vec![(0, good()), (1, refused()), (6, refused()), (50, good())];
    assert_eq!(
        verdict(&seen(&story)),
        (Standing::Unhealthy { answers: true }, Reason::Suspect)
    );
    story.push((60, refused()));
    story.push((70, good()));
    assert_ne!(verdict(&seen(&story)), SERVING, "not in a row");
    story.push((80, good()));
    assert_eq!(verdict(&seen(&story)), SERVING);
}

#[test]
fn starting_and_stopping_are_out_at_once_and_count_nothing() {
    for kind in TRANSIENT {
        let health = served_then(&[kind; 100]);
        assert_eq!(verdict(&health), (OUT, Reason::Starting), "{kind}");
        assert_eq!(health.circuit, Circuit::default(), "{kind}");
    }
}

#[test]
fn an_end_of_starting_is_two_good_checks() {
    let story = [
        (0, good()),
        (1, Err(FailureKind::Starting)),
        (2, good()),
        (3, good()),
    ];
    assert_ne!(verdict(&seen(&story[..3])), SERVING);
    assert_eq!(verdict(&seen(&story)), SERVING);
}

#[test]
fn failures_over_the_window_open_the_circuit_and_end_the_suspicion() {
    let refused = |at| (at, Err(FailureKind::ConnectRefused));
    let mut story = vec![(0, good())];
    story.extend((1..=5000).step_by(100).map(refused));
    let health = seen(&story);
    assert!(matches!(health.circuit, Circuit::Open { .. }));
    assert_eq!(health.suspicion, Suspicion::None);
    assert_eq!(verdict(&health), (OUT, Reason::CircuitOpen));
}

#[test]
fn an_open_circuit_whose_newest_check_is_good_answers() {
    let health = Health {
        circuit: Circuit::Open {
            until: Moment::new(Duration::from_secs(60)),
        },
        admitted: true,
        ..Health::default()
    };
    assert_eq!(
        verdict(&health),
        (Standing::Unhealthy { answers: true }, Reason::CircuitOpen)
    );
}

#[test]
fn a_half_open_circuit_returns_step_by_step() {
    let at_step = |step| {
        let circuit = Circuit::HalfOpen { step, successes: 0 };
        verdict(&Health {
            circuit,
            admitted: true,
            ..Health::default()
        })
    };
    let returning = |percent, last| {
        let share = Percent::new(percent);
        (Standing::Returning { share, last }, Reason::Returning)
    };
    assert_eq!(at_step(0), returning(10, false));
    assert_eq!(at_step(1), returning(50, true));
}

#[test]
fn a_saturated_server_stays() {
    let health = served_then(&[FailureKind::Saturated; 100]);
    assert_eq!(verdict(&health), (Standing::Good, Reason::Saturated));
    assert_eq!(health.circuit, Circuit::default());
}

#[test]
fn an_error_that_says_nothing_of_health_stays() {
    let health = served_then(&[FailureKind::OtherError; 100]);
    assert_eq!(verdict(&health), (Standing::Good, Reason::AnswersWithError));
    assert_eq!(health.circuit, Circuit::default());
}

#[test]
fn a_fault_of_configuration_holds_what_is_served() {
    for kind in CONFIGURATION {
        let health = served_then(&[kind; 100]);
        assert_eq!(
            verdict(&health),
            (Standing::Good, Reason::ConfigurationHeld),
            "{kind}"
        );
    }
}

#[test]
fn a_fault_of_configuration_does_not_admit_what_is_new() {
    for kind in CONFIGURATION {
        assert_eq!(
            verdict(&seen(&[(0, Err(kind))])),
            (Standing::Unproven, Reason::ConfigurationFailed),
            "{kind}"
        );
    }
}

#[test]
fn what_is_new_is_admitted_by_no_failure_and_says_why() {
    for (kind, reason) in [
        (FailureKind::ConnectRefused, Reason::Suspect),
        (FailureKind::TimedOut, Reason::Suspect),
        (FailureKind::Starting, Reason::Starting),
        (FailureKind::Saturated, Reason::Saturated),
        (FailureKind::OtherError, Reason::AnswersWithError),
        (FailureKind::NameNotFound, Reason::NameUnresolved),
    ] {
        assert_eq!(
            verdict(&seen(&[(0, Err(kind))])),
            (Standing::Unproven, reason),
            "{kind}"
        );
    }
}

#[test]
fn a_lost_name_is_not_well_and_counts_nothing() {
    for kind in NAME {
        let health = served_then(&[kind; 100]);
        assert_eq!(verdict(&health), (OUT, Reason::NameUnresolved), "{kind}");
        assert_eq!(health.circuit, Circuit::default(), "{kind}");
        assert_eq!(health.address, Some(ADDRESS), "{kind}: the last good one holds");
    }
}

#[test]
fn a_refused_address_is_wrong_whatever_was_before() {
    let refused = Err(FailureKind::AddressRefused);
    for story in [vec![], vec![(0, good())], vec![(0, Err(FailureKind::Starting))]] {
        let story: Vec<_> = story.into_iter().chain([(9, refused.clone())]).collect();
        assert_eq!(
            verdict(&seen(&story)),
            (Standing::Wrong, Reason::AddressRefused),
            "{story:?}"
        );
    }
}

#[test]
fn role_and_identity_are_those_of_the_newest_good_check() {
    let primary = Ok(Sample {
        role: Role::Primary,
        lsn: None,
        system_identifier: None,
        timeline: None,
    });
    let health = seen(&[(0, good()), (1, primary), (2, Err(FailureKind::ConnectRefused))]);
    assert_eq!(health.role, Some(Role::Primary));
    assert_eq!(
        health.system_identifier,
        Some(7),
        "a server that does not tell this time is still the same"
    );
}

#[test]
fn holding_lifts_what_is_unhealthy_and_nothing_else() {
    let held = |standing: Standing| standing.held();
    assert_eq!(held(OUT), Standing::Good);
    for standing in [Standing::Wrong, Standing::Unproven, Standing::Good] {
        assert_eq!(held(standing), standing);
    }
}
