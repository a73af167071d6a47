use super::*;

use crate::fixture::{self, address, at, breaker, probing};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 2));

fn sample() -> Sample {
    fixture::sample(Role::Standby)
}

fn good() -> Result<Sample, FailureKind> {
    Ok(sample())
}

/// A target that saw these results, each at its millisecond.
fn seen(results: &[(u64, Result<Sample, FailureKind>)]) -> Health {
    let mut health = Health::default();
    for (millis, result) in results {
        let now = at(*millis);
        let observation = Observation {
            started: now,
            ended: now,
            address: result.is_ok().then_some(ADDRESS),
            result: result.clone(),
            sqlstate: None,
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
const SOFT: [FailureKind; 6] = [
    FailureKind::TimedOut,
    FailureKind::Unreachable,
    FailureKind::ServerFailing,
    FailureKind::UpstreamLost,
    FailureKind::ProtocolViolation,
    FailureKind::ReplyTooLong,
];
const TRANSIENT: [FailureKind; 2] = [FailureKind::Starting, FailureKind::Stopping];
const CONFIGURATION: [FailureKind; 17] = [
    FailureKind::AuthenticationFailed,
    FailureKind::DatabaseMissing,
    FailureKind::ConnectNotGranted,
    FailureKind::DatabaseClosed,
    FailureKind::CertificateExpired,
    FailureKind::CertificateNotYetValid,
    FailureKind::CertificateIssuerUnknown,
    FailureKind::CertificateNameMismatch,
    FailureKind::CertificateUnsupported,
    FailureKind::TlsModeTooLow,
    FailureKind::TlsFailed,
    FailureKind::TlsNotOffered,
    FailureKind::PoolerRefused,
    FailureKind::PasswordMethodRefused,
    FailureKind::ScramIterationsRefused,
    FailureKind::SecretNotForHost,
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
        assert_eq!(health.suspicion, Suspicion::Confirming { since: at(0) }, "{kind}");
    }
}

#[test]
fn a_hard_sign_that_another_one_confirms_takes_out() {
    for first in HARD {
        let confirming = HARD
            .into_iter()
            .filter(|kind| *kind != FailureKind::ConnectionClosed);
        for second in confirming.chain(TRANSIENT) {
            let health = served_then(&[first, second]);
            assert_eq!(verdict(&health).0, OUT, "{first}, {second}");
            assert!(
                matches!(health.breaker.circuit, Circuit::Closed { .. }),
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
    assert_eq!(health.breaker.circuit, Circuit::default());
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
    // After a loss the refusal of a pooler is one more.
    let configuration = CONFIGURATION
        .into_iter()
        .filter(|kind| *kind != FailureKind::PoolerRefused);
    for kind in configuration.chain([FailureKind::Saturated, FailureKind::OtherError]) {
        let health = served_then(&[FailureKind::ConnectRefused, kind, FailureKind::ConnectRefused]);
        let since = at(10);
        assert_eq!(health.suspicion, Suspicion::Confirming { since }, "{kind}");
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

/// What a server itself sends, whatever keeps it from a good answer.
const ALIVE: [FailureKind; 6] = [
    FailureKind::Saturated,
    FailureKind::AuthenticationFailed,
    FailureKind::DatabaseMissing,
    FailureKind::ConnectNotGranted,
    FailureKind::DatabaseClosed,
    FailureKind::OtherError,
];

#[test]
fn two_errors_in_a_row_that_the_server_itself_sent_bring_a_suspect_back() {
    let crashed = [FailureKind::ConnectRefused; 2];
    for kind in ALIVE {
        let first = served_then(&[&crashed[..], &[kind]].concat());
        assert_eq!(
            verdict(&first),
            (OUT, Reason::Suspect),
            "{kind}: one is not enough"
        );
        for second in ALIVE {
            let health = served_then(&[&crashed[..], &[kind, second]].concat());
            assert_eq!(verdict(&health).0, Standing::Good, "{kind}, {second}");
        }
        let mut health = served_then(&[&crashed[..], &[kind]].concat());
        check(&mut health, 100, good());
        assert_eq!(verdict(&health), SERVING, "{kind}, and then a good check");
        let again = [&crashed[..], &[kind, FailureKind::ConnectRefused, kind]].concat();
        assert_eq!(verdict(&served_then(&again)).0, OUT, "{kind}: not in a row");
    }
}

#[test]
fn a_failure_that_no_server_sent_as_an_error_ends_no_suspicion() {
    let proves = |kind: &FailureKind| ALIVE.contains(kind);
    let others = CONFIGURATION.into_iter().chain(SOFT).chain(NAME);
    for kind in others.filter(|kind| !proves(kind)) {
        let health = served_then(&[
            FailureKind::ConnectRefused,
            FailureKind::ConnectRefused,
            kind,
            kind,
            kind,
        ]);
        assert_eq!(verdict(&health).0, OUT, "{kind}");
    }
}

#[test]
fn a_server_that_is_back_without_telling_its_role_proves_none_and_is_silent_since_it_went_down() {
    let mut health = seen(&[(0, good())]);
    assert_eq!(health.silent_since(), None);
    for (millis, kind) in [
        (100, FailureKind::ConnectRefused),
        (105, FailureKind::ConnectRefused),
    ] {
        check(&mut health, millis, Err(kind));
    }
    assert_eq!(health.silent_since(), Some(at(100)));
    for millis in [1000, 1005, 60_000] {
        check(&mut health, millis, Err(FailureKind::Saturated));
    }
    assert_eq!(verdict(&health), (Standing::Good, Reason::Saturated));
    assert!(health.is_well() && !health.proves_role());
    assert_eq!(health.silent_since(), Some(at(100)));
    // What was asked for before it went down says nothing.
    health.hear(ADDRESS, at(50), at(60_001), Ok(&sample()));
    assert_eq!(health.silent_since(), Some(at(100)));
    // A heartbeat tells it, too.
    hear(&mut health, 61_000, Ok(&sample()));
    assert_eq!(health.silent_since(), None);
    assert!(health.proves_role());
}

/// A crash that two good checks end, at this second.
fn crash_and_return(health: &mut Health, second: u64) {
    let refused = || Err(FailureKind::ConnectRefused);
    for (millis, result) in [(0, refused()), (5, refused()), (500, good()), (550, good())] {
        check(health, second * 1000 + millis, result);
    }
}

#[test]
fn the_tenth_suspicion_within_ten_minutes_is_a_trip() {
    let mut health = seen(&[(0, good())]);
    for crash in 1..10 {
        crash_and_return(&mut health, crash * 60);
        assert_eq!(verdict(&health), SERVING, "crash {crash}");
    }
    let mut tenth = health.clone();
    crash_and_return(&mut tenth, 600);
    assert_eq!(verdict(&tenth).1, Reason::CircuitOpen);
    assert_eq!(tenth.breaker.circuit, Circuit::Open { until: at(660_005) });
    assert_eq!((tenth.breaker.trips(), tenth.suspicion), (1, Suspicion::None));
    // The first one was ten minutes ago.
    let mut later = health.clone();
    crash_and_return(&mut later, 660);
    assert_eq!(verdict(&later), SERVING);
    // A restart of the server is a suspicion, too.
    check(&mut health, 600_000, Err(FailureKind::Starting));
    assert_eq!(verdict(&health).1, Reason::CircuitOpen);
}

#[test]
fn a_server_that_goes_on_so_after_its_trip_is_tripped_by_its_next_suspicion_for_longer() {
    let mut health = seen(&[(0, good())]);
    for crash in 1..=10 {
        crash_and_return(&mut health, crash);
    }
    assert_eq!(verdict(&health).1, Reason::CircuitOpen);
    for second in 0..=6 {
        check(&mut health, 80_000 + second * 1000, good());
    }
    assert_eq!(verdict(&health), SERVING);
    crash_and_return(&mut health, 100);
    assert_eq!(health.breaker.circuit, Circuit::Open { until: at(220_005) });
    assert_eq!(health.breaker.trips(), 2);
}

#[test]
fn starting_and_stopping_are_out_at_once_and_count_nothing() {
    for kind in TRANSIENT {
        let health = served_then(&[kind; 100]);
        assert_eq!(verdict(&health), (OUT, Reason::Starting), "{kind}");
        assert_eq!(health.breaker.circuit, Circuit::default(), "{kind}");
    }
}

#[test]
fn a_server_that_starts_for_longer_than_failover_timeout_is_told_apart() {
    for kind in TRANSIENT {
        for (first, standing) in [(good(), OUT), (Err(kind), Standing::Unproven)] {
            let mut health = seen(&[(0, first), (1000, Err(kind))]);
            let since = health.failing_since.unwrap();
            check(&mut health, 4999, Err(kind));
            assert_eq!(verdict(&health), (standing, Reason::Starting), "{kind}");
            let late = since.since_start().as_millis() + 5000;
            check(&mut health, late.try_into().unwrap(), Err(kind));
            assert_eq!(verdict(&health), (standing, Reason::StillStarting), "{kind}");
            assert_eq!(health.breaker.circuit, Circuit::default(), "{kind}");
            check(&mut health, 20_000, good());
            assert_ne!(verdict(&health).1, Reason::StillStarting, "{kind}");
        }
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
    assert!(matches!(health.breaker.circuit, Circuit::Open { .. }));
    assert_eq!(health.suspicion, Suspicion::None);
    assert_eq!(verdict(&health), (OUT, Reason::CircuitOpen));
}

#[test]
fn an_open_circuit_whose_newest_check_is_good_answers() {
    let until = at(60_000);
    let health = Health {
        breaker: Breaker::restored(Circuit::Open { until }, 1, at(0)),
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
            breaker: Breaker::restored(circuit, 1, at(0)),
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
    assert_eq!(health.breaker.circuit, Circuit::default());
}

#[test]
fn an_error_that_says_nothing_of_health_stays() {
    let health = served_then(&[FailureKind::OtherError; 100]);
    assert_eq!(verdict(&health), (Standing::Good, Reason::AnswersWithError));
    assert_eq!(health.breaker.circuit, Circuit::default());
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
        assert_eq!(health.breaker.circuit, Circuit::default(), "{kind}");
        assert_eq!(health.address, Some(ADDRESS), "{kind}: the last good one holds");
    }
}

#[test]
fn a_name_that_is_lost_while_the_circuit_is_half_open_takes_out_until_it_is_found_again() {
    for kind in NAME {
        let mut health = seen(&[(0, good())]);
        health.breaker.circuit = Circuit::HalfOpen {
            step: 1,
            successes: 0,
        };
        let returning = verdict(&health);
        check(&mut health, 1000, Err(kind));
        assert_eq!(verdict(&health), (OUT, Reason::NameUnresolved), "{kind}");
        check(&mut health, 2000, good());
        assert_eq!(verdict(&health), returning, "{kind}: it counted nothing");
    }
}

#[test]
fn a_role_is_proven_while_there_is_no_free_connection_unless_the_server_was_down() {
    let proves = |failures: &[FailureKind]| served_then(failures).proves_role();
    assert!(proves(&[]));
    assert!(proves(&[FailureKind::Saturated]));
    assert!(!proves(&[FailureKind::TimedOut]));
    assert!(!proves(&[FailureKind::OtherError]));
    let crashed = [FailureKind::ConnectRefused; 2];
    assert!(!proves(&[&crashed[..], &[FailureKind::Saturated]].concat()));
    assert!(!seen(&[(0, Err(FailureKind::Saturated))]).proves_role());
}

/// Another process decided so: it has seen the server serve.
#[test]
fn who_is_decided_to_take_the_writes_has_proven_itself_where_it_was_found() {
    let found = |address| {
        let mut health = Health {
            address,
            ..Health::default()
        };
        health.presume_primary(at(0));
        verdict(&health)
    };
    assert_eq!(found(Some(ADDRESS)), SERVING);
    assert_eq!(found(None), (Standing::Unproven, Reason::NotCheckedYet));
}

#[test]
fn a_refused_address_is_wrong_whatever_was_before() {
    let refused = Err(FailureKind::AddressRefused);
    for story in [vec![], vec![(0, good())], vec![(0, Err(FailureKind::Starting))]] {
        let story: Vec<_> = story.into_iter().chain([(9, refused.clone())]).collect();
        assert_eq!(
            verdict(&seen(&story)),
            (Standing::Excluded, Reason::AddressRefused),
            "{story:?}"
        );
    }
}

#[test]
fn role_and_identity_are_those_of_the_newest_good_check() {
    let primary = Ok(Sample::of(Role::Primary));
    let health = seen(&[(0, good()), (1, primary), (2, Err(FailureKind::ConnectRefused))]);
    assert_eq!(health.role, Some(Role::Primary));
    assert_eq!(
        health.system_identifier,
        Some(7),
        "a server that does not tell this time is still the same"
    );
}

#[test]
fn what_is_unhealthy_or_returns_is_held_as_it_was_and_nothing_else_is() {
    let returning = |share| Standing::Returning {
        share: Percent::new(share),
        last: false,
    };
    for before in [Standing::Good, returning(10)] {
        for standing in [OUT, Standing::Behind, returning(50)] {
            assert_eq!(standing.held(before), before);
        }
        for standing in [Standing::Excluded, Standing::Unproven, Standing::Good] {
            assert_eq!(standing.held(before), standing);
        }
        assert_eq!(before.in_route(), before);
    }
    assert_eq!(OUT.in_route(), Standing::Good);
}

#[test]
fn a_connection_that_is_accepted_and_closed_confirms_nothing() {
    for first in HARD {
        let health = served_then(&[first, FailureKind::ConnectionClosed]);
        assert_eq!(verdict(&health), SERVING, "{first}");
    }
}

/// What the held session said, asked and answered at this millisecond.
fn hear(health: &mut Health, millis: u64, told: Result<&Sample, Silence>) -> bool {
    health.hear(ADDRESS, at(millis), at(millis), told)
}

fn check(health: &mut Health, millis: u64, result: Result<Sample, FailureKind>) {
    let observation = Observation {
        started: at(millis),
        ended: at(millis),
        address: result.is_ok().then_some(ADDRESS),
        result,
        sqlstate: None,
    };
    health.observe(&observation, &breaker(), &probing());
}

#[test]
fn a_session_that_closes_is_a_hard_sign_and_asks_for_a_check_at_once() {
    for (answer, expected) in [
        (Err(FailureKind::ConnectRefused), Reason::Suspect),
        (Err(FailureKind::ConnectionReset), Reason::Suspect),
        (Err(FailureKind::Stopping), Reason::Starting),
        (Err(FailureKind::Starting), Reason::Starting),
        (Err(FailureKind::TimedOut), Reason::Serving),
        (good(), Reason::Serving),
    ] {
        let mut health = seen(&[(0, good())]);
        assert!(hear(&mut health, 10, Err(Silence::Closed)));
        assert_eq!(verdict(&health), SERVING, "not confirmed yet");
        check(&mut health, 11, answer.clone());
        assert_eq!(verdict(&health).1, expected, "{answer:?}");
        assert!(
            matches!(health.breaker.circuit, Circuit::Closed { .. }),
            "no trip"
        );
    }
}

#[test]
fn a_session_that_an_administrator_ends_again_and_again_costs_nothing() {
    let mut health = seen(&[(0, good())]);
    for second in 1..=100 {
        assert!(hear(&mut health, second * 1000, Err(Silence::Closed)));
        check(&mut health, second * 1000 + 2, good());
        assert_eq!(verdict(&health), SERVING);
        assert_eq!(health.suspicion, Suspicion::None);
    }
}

#[test]
fn a_missed_heartbeat_asks_for_a_check_and_takes_nobody_out() {
    let mut health = seen(&[(0, good())]);
    assert!(hear(&mut health, 1000, Err(Silence::Missed)));
    assert_eq!(verdict(&health), SERVING);
    assert_eq!(health.suspicion, Suspicion::None);
}

#[test]
fn the_failover_timeout_begins_with_the_heartbeat_that_was_missed() {
    let mut health = seen(&[(0, good())]);
    hear(&mut health, 1000, Err(Silence::Missed));
    check(&mut health, 2000, Err(FailureKind::TimedOut));
    assert_eq!(health.failing_since, Some(at(1000)));
    let Circuit::Closed { run: Some(run) } = health.breaker.circuit else {
        panic!("{:?}", health.breaker.circuit);
    };
    assert_eq!(run.started, at(1000));
    check(&mut health, 3000, good());
    check(&mut health, 9000, Err(FailureKind::TimedOut));
    assert_eq!(
        health.failing_since,
        Some(at(9000)),
        "a good check ends the doubt"
    );
}

#[test]
fn a_good_heartbeat_clears_no_failed_check() {
    let mut health = served_then(&[FailureKind::ConnectRefused, FailureKind::ConnectRefused]);
    let before = verdict(&health);
    assert!(!hear(&mut health, 100, Ok(&sample())));
    assert_eq!(verdict(&health), before);
    assert_eq!(health.failure, Some(FailureKind::ConnectRefused));
    assert!(matches!(health.breaker.circuit, Circuit::Closed { run: Some(_) }));
}

#[test]
fn a_heartbeat_tells_the_role() {
    let mut health = seen(&[(0, good())]);
    hear(&mut health, 100, Ok(&fixture::sample(Role::Primary)));
    assert_eq!(health.role, Some(Role::Primary));
}

#[test]
fn a_session_to_another_address_says_nothing() {
    let mut health = seen(&[(0, good())]);
    let before = health.clone();
    let primary = fixture::sample(Role::Primary);
    for told in [Ok(&primary), Err(Silence::Closed), Err(Silence::Missed)] {
        assert!(!health.hear(address(99), at(10), at(11), told));
    }
    assert_eq!(health, before);
}

#[test]
fn an_answer_that_was_asked_for_before_the_newest_one_is_out_of_date() {
    let mut health = seen(&[(0, good())]);
    check(&mut health, 200, Ok(fixture::sample(Role::Primary)));
    health.hear(ADDRESS, at(100), at(300), Ok(&sample()));
    assert_eq!(health.role, Some(Role::Primary));
    hear(&mut health, 400, Ok(&sample()));
    assert_eq!(health.role, Some(Role::Standby));
}

#[test]
fn a_target_whose_circuit_is_open_is_not_checked_because_of_its_session() {
    let mut health = Health {
        breaker: Breaker::restored(Circuit::Open { until: at(60_000) }, 1, at(0)),
        address: Some(ADDRESS),
        ..Health::default()
    };
    for silence in [Silence::Closed, Silence::Missed] {
        assert!(!hear(&mut health, 10, Err(silence)), "{silence:?}");
    }
}

#[test]
fn another_address_is_another_server() {
    let mut health = seen(&[(0, good())]);
    let observation = Observation {
        started: at(1),
        ended: at(1),
        address: Some(address(9)),
        result: Ok(Sample::of(Role::Standby)),
        sqlstate: None,
    };
    health.observe(&observation, &breaker(), &probing());
    assert_eq!(health.address, Some(address(9)));
    assert_eq!(
        (health.system_identifier, health.timeline),
        (None, None),
        "the new one did not tell"
    );
}

#[test]
fn a_pooler_that_was_seen_once_is_one_until_the_address_is_another() {
    let mut health = seen(&[(0, good())]);
    assert!(!health.pooled);
    let pooled = Sample {
        pooled: true,
        ..sample()
    };
    hear(&mut health, 1, Ok(&pooled));
    check(&mut health, 2, good());
    assert!(health.pooled);
    let elsewhere = Observation {
        started: at(3),
        ended: at(3),
        address: Some(address(9)),
        result: good(),
        sqlstate: None,
    };
    health.observe(&elsewhere, &breaker(), &probing());
    assert!(!health.pooled);
}

#[test]
fn whether_a_primary_is_read_only_is_what_it_told_last() {
    let mut health = seen(&[(0, good())]);
    let told = |read_only| Sample {
        read_only,
        ..fixture::sample(Role::Primary)
    };
    check(&mut health, 1, Ok(told(true)));
    assert!(health.read_only);
    check(&mut health, 2, Err(FailureKind::TimedOut));
    assert!(health.read_only);
    hear(&mut health, 3, Ok(&told(false)));
    assert!(!health.read_only);
}

#[test]
fn the_timeline_of_a_standby_says_nothing_of_the_primary_that_it_became() {
    let mut health = seen(&[(0, good())]);
    check(&mut health, 1, Ok(Sample::of(Role::Primary)));
    assert_eq!(health.timeline, None);
    let mut told = fixture::sample(Role::Primary);
    told.timeline = Some(2);
    check(&mut health, 2, Ok(told));
    assert_eq!(health.timeline, Some(2));
}

#[test]
fn an_identity_from_before_a_restart_is_wrong_until_it_tells_again() {
    let mut health = Health {
        other_database: true,
        ..Health::default()
    };
    check(&mut health, 1, Err(FailureKind::TimedOut));
    check(&mut health, 2, Ok(Sample::of(Role::Standby)));
    assert!(health.other_database, "it did not tell");
    check(&mut health, 3, good());
    assert!(!health.other_database, "what it shows now counts");
}

#[test]
fn since_when_it_is_down_is_kept_until_it_is_back_in_the_routes() {
    let refused = || Err(FailureKind::ConnectRefused);
    let mut story = vec![(0, good()), (10, refused()), (15, refused()), (30, refused())];
    assert_eq!(seen(&story).failing_since, Some(at(10)));
    story.push((40, good()));
    assert_eq!(
        seen(&story).failing_since,
        Some(at(10)),
        "one good check is not enough"
    );
    story.push((50, good()));
    assert_eq!(seen(&story).failing_since, None);
}

#[test]
fn a_server_that_told_its_role_while_it_was_out_is_silent_since_then() {
    let refused = || Err(FailureKind::ConnectRefused);
    let mut story = vec![(0, good()), (10, refused()), (15, refused()), (30, refused())];
    assert_eq!(seen(&story).silent_since(), Some(at(10)));
    story.extend([(40, good()), (50, refused())]);
    assert_eq!(
        (seen(&story).failing_since, seen(&story).silent_since()),
        (Some(at(10)), Some(at(40))),
        "it is out since 10, and proved what it is at 40"
    );
}

#[test]
fn a_good_check_ends_an_outage_whose_circuit_is_still_open() {
    let mut health = seen(&[(0, good())]);
    fails_for(&mut health, 10..16, FailureKind::TimedOut);
    assert_eq!(verdict(&health), (OUT, Reason::CircuitOpen));
    assert_eq!(health.failing_since, Some(at(10_000)));
    check(&mut health, 20_000, Err(FailureKind::Saturated));
    assert_eq!(health.failing_since, Some(at(10_000)), "it told no role");
    check(&mut health, 25_000, good());
    assert_eq!(
        (verdict(&health).1, health.failing_since),
        (Reason::CircuitOpen, None)
    );
    check(&mut health, 30_000, Err(FailureKind::TimedOut));
    assert_eq!(health.silent_since(), Some(at(30_000)));
}

#[test]
fn who_answers_at_all_is_not_down() {
    for kind in CONFIGURATION
        .into_iter()
        .chain([FailureKind::Saturated, FailureKind::OtherError])
    {
        let health = served_then(&[kind; 3]);
        assert_eq!(health.failing_since, None, "{kind}");
        assert!(health.is_well(), "{kind}");
    }
    for kind in NAME.into_iter().chain([FailureKind::AddressRefused]) {
        let health = served_then(&[kind]);
        assert_eq!(health.failing_since, Some(at(0)), "{kind}");
        assert!(!health.is_well(), "{kind}");
    }
}

#[test]
fn a_doubt_ends_with_any_answer() {
    for answer in [
        FailureKind::Saturated,
        FailureKind::TlsFailed,
        FailureKind::OtherError,
    ] {
        let mut health = seen(&[(0, good())]);
        hear(&mut health, 1000, Err(Silence::Missed));
        check(&mut health, 1500, Err(FailureKind::TimedOut));
        // For an hour the server answers so; its heartbeats are good.
        for second in 2..3600 {
            check(&mut health, second * 1000, Err(answer));
        }
        assert_eq!(health.failing_since, None);
        for millis in [3_600_000, 3_600_020] {
            check(&mut health, millis, Err(FailureKind::TimedOut));
        }
        assert!(
            matches!(health.breaker.circuit, Circuit::Closed { .. }),
            "{answer}: {:?}",
            health.breaker.circuit
        );
    }
}

#[test]
fn what_the_operator_itself_lacks_is_no_sign_of_death_nor_of_life() {
    let ours = FailureKind::OutOfResources;
    let health = served_then(&[ours; 9]);
    assert_eq!(verdict(&health), (Standing::Good, Reason::ConfigurationHeld));
    assert!(health.is_well() && health.failing_since.is_none());
    assert_eq!(
        verdict(&seen(&[(0, Err(ours))])),
        (Standing::Unproven, Reason::ConfigurationFailed)
    );
    // Neither does it end a suspicion, a doubt or a count.
    let suspect = served_then(&[FailureKind::ConnectRefused, FailureKind::ConnectRefused, ours]);
    assert_eq!(verdict(&suspect), (OUT, Reason::Suspect));
    let mut counted = served_then(&[FailureKind::TimedOut]);
    let before = counted.clone();
    check(&mut counted, 2000, Err(ours));
    assert_eq!(counted.breaker, before.breaker);
    assert_eq!(counted.failing_since, before.failing_since);
    let mut doubted = seen(&[(0, good())]);
    hear(&mut doubted, 1000, Err(Silence::Missed));
    check(&mut doubted, 2000, Err(ours));
    assert!(doubted.doubted_since.is_some());
}

#[test]
fn a_session_that_closes_moves_no_suspicion_that_there_is() {
    // The sign that is being confirmed keeps its time.
    let mut health = served_then(&[]);
    hear(&mut health, 10, Err(Silence::Closed));
    hear(&mut health, 20, Err(Silence::Closed));
    assert_eq!(health.suspicion, Suspicion::Confirming { since: at(10) });
    // A check that begins with it is an answer to it.
    check(&mut health, 10, good());
    assert_eq!(health.suspicion, Suspicion::None);
    // One that is out stays out.
    let mut health = served_then(&[FailureKind::ConnectRefused, FailureKind::ConnectRefused]);
    assert_eq!(verdict(&health).0, OUT);
    hear(&mut health, 20, Err(Silence::Closed));
    assert_eq!(verdict(&health).0, OUT);
}

#[test]
fn what_never_answered_for_the_failover_timeout_has_an_open_circuit() {
    let failures = (0..).step_by(1000).map(|at| (at, Err(FailureKind::TimedOut)));
    let health = seen(&failures.take(8).collect::<Vec<_>>());
    assert_eq!(verdict(&health), (Standing::Unproven, Reason::CircuitOpen));
}

#[test]
fn a_server_cannot_be_checked_when_its_failure_says_nothing_of_its_health() {
    for kind in CONFIGURATION
        .into_iter()
        .chain([FailureKind::OtherError, FailureKind::OutOfResources])
    {
        assert!(served_then(&[kind]).cannot_be_checked(), "{kind}");
        let down = served_then(&[FailureKind::ConnectRefused, FailureKind::ConnectRefused, kind]);
        assert!(!down.cannot_be_checked(), "{kind}: it went down before");
    }
    for kind in HARD.into_iter().chain(SOFT).chain(TRANSIENT).chain(NAME) {
        assert!(!served_then(&[kind]).cannot_be_checked(), "{kind}");
    }
    let full = served_then(&[FailureKind::Saturated]);
    assert!(!full.cannot_be_checked(), "its role stands");
}

/// New connections lead elsewhere: through an address that was given to another server, or a balancer.
#[test]
fn a_session_with_another_server_says_nothing_of_the_one_that_checks_reach() {
    let mut other = fixture::sample(Role::Standby);
    other.system_identifier = Some(8);
    let mut health = seen(&[(0, good()), (1, Ok(other))]);
    let before = health.clone();
    let mut held = fixture::sample(Role::Primary);
    held.system_identifier = Some(7);
    let check = health.hear(ADDRESS, at(2), at(2), Ok(&held));
    assert_eq!(health, before);
    assert!(check, "which of them it is, a new connection shows");
    let mut same = fixture::sample(Role::Primary);
    same.system_identifier = Some(8);
    assert!(!health.hear(ADDRESS, at(3), at(3), Ok(&same)));
    assert_eq!(health.role, Some(Role::Primary));
}

/// So many seconds in which every check ends so.
fn fails_for(health: &mut Health, seconds: std::ops::Range<u64>, kind: FailureKind) {
    for second in seconds {
        let now = at(second * 1000);
        let observation = Observation {
            started: now,
            ended: now,
            address: None,
            result: Err(kind),
            sqlstate: None,
        };
        health.observe(&observation, &breaker(), &probing());
    }
}

/// As PgBouncer does, which asks its server for passwords.
#[test]
fn a_pooler_that_lost_the_session_and_refuses_logins_has_lost_its_server() {
    for silence in [Silence::Closed, Silence::Missed] {
        let mut health = seen(&[(0, good())]);
        hear(&mut health, 500, Err(silence));
        fails_for(&mut health, 1..60, FailureKind::PoolerRefused);
        assert_eq!(verdict(&health), (OUT, Reason::CircuitOpen), "{silence:?}");
        assert_eq!(health.failure, Some(FailureKind::UpstreamLost));
    }
    for kind in HARD.into_iter().chain(SOFT) {
        let mut health = seen(&[(0, good()), (500, Err(kind))]);
        fails_for(&mut health, 1..60, FailureKind::PoolerRefused);
        assert_eq!(verdict(&health).0, OUT, "{kind}");
        assert_eq!(health.failure, Some(FailureKind::UpstreamLost), "{kind}");
    }
}

/// It is full, or the password is another one.
#[test]
fn a_pooler_that_refuses_logins_and_answers_the_session_stays() {
    let mut health = seen(&[(0, good())]);
    hear(&mut health, 300, Err(Silence::Missed));
    hear(&mut health, 600, Ok(&sample()));
    fails_for(&mut health, 1..60, FailureKind::PoolerRefused);
    assert_eq!(verdict(&health), (Standing::Good, Reason::ConfigurationHeld));
    assert_eq!(health.failure, Some(FailureKind::PoolerRefused));

    let mut health = seen(&[(0, good())]);
    hear(&mut health, 300, Err(Silence::Closed));
    for forget in [Health::resume, Health::arrive] {
        let mut health = health.clone();
        forget(&mut health);
        fails_for(&mut health, 1..60, FailureKind::PoolerRefused);
        assert_eq!(verdict(&health), (Standing::Good, Reason::ConfigurationHeld));
    }
    // An administrator ended the session, as a good check shows.
    let observation = Observation {
        started: at(400),
        ended: at(400),
        address: Some(ADDRESS),
        result: good(),
        sqlstate: None,
    };
    health.observe(&observation, &breaker(), &probing());
    fails_for(&mut health, 1..60, FailureKind::PoolerRefused);
    assert_eq!(verdict(&health), (Standing::Good, Reason::ConfigurationHeld));
}
