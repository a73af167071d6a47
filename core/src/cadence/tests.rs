use super::*;
use crate::breaker::{Breaker, Run};
use crate::fixture::{address, breaker, probing};
use crate::observation::{Role, Sample, Silence};

const MILLIS: Duration = Duration::from_millis(1);

fn at(millis: u32) -> Moment {
    Moment::new(MILLIS * millis)
}

fn good() -> Result<Sample, FailureKind> {
    Ok(Sample::of(Role::Standby))
}

fn of_circuit(circuit: Circuit) -> Health {
    Health {
        breaker: Breaker::restored(circuit, 0, at(0)),
        ..Health::default()
    }
}

/// Takes in one check, and asks for the next one: its distance from the end, and its deadline.
fn after(
    health: &mut Health,
    times: (u32, u32),
    result: Result<Sample, FailureKind>,
) -> Option<(Duration, Duration)> {
    after_with(&probing(), health, times, result)
}

fn after_with(
    probing: &Probing,
    health: &mut Health,
    (started, ended): (u32, u32),
    result: Result<Sample, FailureKind>,
) -> Option<(Duration, Duration)> {
    let observation = Observation {
        started: at(started),
        ended: at(ended),
        address: None,
        result,
        sqlstate: None,
    };
    health.observe(&observation, &breaker(), probing);
    let (next, timeout) = next(health, &observation, probing, &breaker(), 0)?;
    assert!(next >= at(ended), "the next check begins after this one");
    Some((next.since(at(ended)), timeout))
}

#[test]
fn a_role_that_may_have_one_connection_holds_no_session() {
    let mut health = Health {
        address: Some(address(1)),
        admitted: true,
        ..Health::default()
    };
    let mut held = |limit| {
        health.role_limit = limit;
        hold(&health, &probing(), &breaker(), false).is_some()
    };
    assert_eq!(
        [None, Some(0), Some(1), Some(2), Some(3)].map(&mut held),
        [true, true, false, true, true]
    );
}

#[test]
fn the_interval_is_shortened_by_at_most_a_tenth_and_never_exceeded() {
    let interval = Duration::from_secs(10);
    assert_eq!(shortened(interval, 0), interval);
    assert_eq!(shortened(interval, 100), Duration::from_secs(9));
    assert_eq!(shortened(interval, 255), Duration::from_secs(9));
}

#[test]
fn checks_that_are_good_follow_each_other_by_the_interval_from_start_to_start() {
    let next = after(&mut Health::default(), (0, 40), good());
    assert_eq!(next, Some((MILLIS * 29_960, Duration::from_secs(1))));
}

#[test]
fn a_refused_connection_is_looked_at_again_after_5_ms() {
    let mut health = Health::default();
    let (gap, _) = after(&mut health, (0, 1), Err(FailureKind::ConnectRefused)).unwrap();
    assert_eq!(gap, MILLIS * 5);
}

#[test]
fn a_missed_deadline_is_looked_at_again_when_the_next_failure_counts() {
    let mut health = Health::default();
    let (gap, timeout) = after(&mut health, (0, 100), Err(FailureKind::TimedOut)).unwrap();
    assert_eq!(gap.as_millis(), 233, "333 ms from the start of the run");
    assert_eq!(timeout.as_millis(), 1166, "what is left, in four parts");
}

#[test]
fn looks_at_a_suspect_grow_apart_but_miss_no_failure_that_counts() {
    let mut health = Health::default();
    let (mut now, mut gaps) = (0, Vec::new());
    loop {
        let (gap, _) = after(&mut health, (now, now), Err(FailureKind::ConnectRefused)).unwrap();
        if let Circuit::Open { .. } = health.breaker.circuit {
            break;
        }
        // The clock has whole milliseconds here.
        gaps.push(u32::try_from(gap.as_millis()).unwrap() + 1);
        now += gaps.last().unwrap();
    }
    assert!(gaps.iter().all(|gap| *gap <= 501), "{gaps:?}");
    assert!(gaps.len() < 25 && now <= 5000, "{now}: {gaps:?}");
}

/// Each check is reset at its deadline: the gaps between looks must not eat the time of the last attempts.
#[test]
fn slow_resets_trip_by_the_end_of_the_window() {
    let short = Probing {
        failover_timeout: Duration::from_secs(1),
        ..probing()
    };
    let mut health = Health::default();
    let (mut now, mut allowed) = (0, 200);
    loop {
        let ended = now + allowed;
        let next = after_with(
            &short,
            &mut health,
            (now, ended),
            Err(FailureKind::ConnectionReset),
        );
        if let Circuit::Open { .. } = health.breaker.circuit {
            assert!(ended <= 1000, "tripped after {ended} ms");
            return;
        }
        let (gap, timeout) = next.unwrap();
        now = ended + u32::try_from(gap.as_millis()).unwrap();
        allowed = u32::try_from(timeout.as_millis()).unwrap();
    }
}

/// A pod that is gone: first it refuses, then its name is gone as well.
#[test]
fn a_name_that_is_lost_within_a_run_is_not_looked_up_in_a_loop() {
    for first in [FailureKind::ConnectRefused, FailureKind::TimedOut] {
        let mut health = Health::default();
        after(&mut health, (0, 1), Err(first)).unwrap();
        for now in [1000, 6000, 12_000] {
            let (gap, _) = after(&mut health, (now, now), Err(FailureKind::NameNotFound)).unwrap();
            assert_eq!(gap, Duration::from_secs(5), "after {first}, at {now}");
        }
        // Nor does the operator go round in circles while it lacks something.
        let (gap, _) = after(&mut health, (18_000, 18_000), Err(FailureKind::OutOfResources)).unwrap();
        assert_eq!(gap, Duration::from_secs(5), "after {first}");
    }
}

#[test]
fn an_error_after_a_reset_is_not_asked_for_every_5_ms() {
    let mut health = Health::default();
    after(&mut health, (0, 0), Err(FailureKind::ConnectionReset)).unwrap();
    let (gap, _) = after(&mut health, (5, 5), Err(FailureKind::ServerFailing)).unwrap();
    assert_eq!(gap.as_millis(), 328, "when the next failure counts");
}

#[test]
fn the_second_good_check_of_a_suspect_follows_soon() {
    let mut health = Health::default();
    after(&mut health, (0, 0), Err(FailureKind::Starting)).unwrap();
    let (gap, _) = after(&mut health, (5, 7), good()).unwrap();
    assert_eq!(gap, SECOND_LOOK);
}

#[test]
fn an_open_circuit_is_checked_by_the_failover_timeout_and_at_its_end() {
    let mut health = of_circuit(Circuit::Open { until: at(60_000) });
    for (now, gap) in [(10_000, 5000), (57_000, 3000), (59_999, 1)] {
        let next = after(&mut health, (now, now), Err(FailureKind::TimedOut)).unwrap();
        assert_eq!(next.0, MILLIS * gap, "at {now}");
    }
}

#[test]
fn an_address_that_is_refused_is_not_checked_again() {
    let mut health = Health::default();
    assert_eq!(after(&mut health, (0, 0), Err(FailureKind::AddressRefused)), None);
}

#[test]
fn so_many_first_attempts_fit_into_the_failover_timeout_as_the_breaker_counts() {
    assert_eq!(first_attempt(&probing(), &breaker()), Duration::from_secs(1));
    let tight = Probing {
        failover_timeout: MILLIS * 40,
        ..probing()
    };
    assert_eq!(first_attempt(&tight, &breaker()), SHORTEST_ATTEMPT);
}

#[test]
fn a_run_near_its_end_keeps_the_shortest_attempt() {
    let run = Run {
        started: at(0),
        counted: 4,
        newest: at(4000),
    };
    let mut health = of_circuit(Circuit::Closed { run: Some(run) });
    let observation = Observation {
        started: at(4999),
        ended: at(4999),
        address: None,
        result: Err(FailureKind::TimedOut),
        sqlstate: None,
    };
    health.failure = Some(FailureKind::TimedOut);
    let (_, timeout) = next(&health, &observation, &probing(), &breaker(), 0).unwrap();
    assert_eq!(timeout, SHORTEST_ATTEMPT);
}

/// What to hold beside the checks of a target in this state, `edit`ed from a good one.
fn held(edit: impl FnOnce(&mut Health), urgent: bool) -> Option<Hold> {
    let mut health = Health {
        address: Some(address(2)),
        admitted: true,
        ..Health::default()
    };
    edit(&mut health);
    hold(&health, &probing(), &breaker(), urgent)
}

#[test]
fn a_session_is_held_from_the_first_good_check_until_the_target_is_down() {
    let expected = Hold {
        address: address(2),
        every: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
    };
    assert_eq!(held(|_| {}, false), Some(expected));
    assert_eq!(held(|health| health.admitted = false, false), None, "never good");
    assert_eq!(held(|health| health.address = None, false), None);
    let out = |health: &mut Health| {
        health.suspicion = Suspicion::Out {
            since: at(0),
            answers: 0,
        }
    };
    assert_eq!(held(out, false), None, "a suspect is asked by checks");
    let open = |health: &mut Health| health.breaker = of_circuit(Circuit::Open { until: at(9) }).breaker;
    assert_eq!(held(open, false), None);
    let confirming = |health: &mut Health| health.suspicion = Suspicion::Confirming { since: at(0) };
    assert_eq!(held(confirming, false), Some(expected));
}

#[test]
fn a_heartbeat_of_0_holds_no_session() {
    let without = Probing {
        heartbeat: None,
        ..probing()
    };
    let health = Health {
        address: Some(address(2)),
        admitted: true,
        ..Health::default()
    };
    assert_eq!(hold(&health, &without, &breaker(), true), None);
}

#[test]
fn while_the_primary_is_lost_heartbeats_are_closer_and_never_wider_apart() {
    let every = |urgent| held(|_| {}, urgent).map(|hold| hold.every);
    assert_eq!(every(false), Some(Duration::from_secs(2)));
    assert_eq!(every(true), Some(URGENT));
    let fast = Probing {
        heartbeat: Some(MILLIS * 100),
        ..probing()
    };
    let health = Health {
        address: Some(address(2)),
        admitted: true,
        ..Health::default()
    };
    let hold = hold(&health, &fast, &breaker(), true).unwrap();
    assert_eq!(hold.every, MILLIS * 100);
}

#[test]
fn the_deadline_of_a_heartbeat_is_no_shorter_than_a_session_takes_to_open() {
    let tight = Probing {
        failover_timeout: MILLIS * 100,
        ..probing()
    };
    let health = Health {
        address: Some(address(2)),
        admitted: true,
        ..Health::default()
    };
    let hold = hold(&health, &tight, &breaker(), false).unwrap();
    assert_eq!(hold.timeout, SHORTEST_HEARTBEAT);
}

/// Frozen between two checks: the heartbeat's time counts, so the circuit opens a failover timeout after it.
#[test]
fn a_frozen_target_trips_a_failover_timeout_after_the_heartbeat_that_it_missed() {
    let mut health = Health::default();
    let good = Observation {
        started: at(0),
        ended: at(2),
        address: Some(address(2)),
        result: good(),
        sqlstate: None,
    };
    health.observe(&good, &breaker(), &probing());
    health.hear(address(2), at(10_000), at(11_000), Err(Silence::Missed));
    let (mut now, mut allowed) = (11_000, 1000);
    loop {
        let (_, ended) = (now, now + allowed);
        let next = after(&mut health, (now, ended), Err(FailureKind::TimedOut));
        if let Circuit::Open { .. } = health.breaker.circuit {
            assert!(ended <= 10_000 + 5000 + 20, "tripped at {ended}");
            return;
        }
        let (gap, timeout) = next.unwrap();
        now = ended + u32::try_from(gap.as_millis()).unwrap();
        allowed = u32::try_from(timeout.as_millis()).unwrap();
    }
}

/// Out for the failover timeout, it is looked at no more often than one whose circuit is open.
#[test]
fn who_neither_returns_nor_counts_is_asked_ever_more_seldom() {
    let mut health = Health::default();
    after(&mut health, (0, 0), Err(FailureKind::Starting)).unwrap();
    for (now, expected) in [(100, 100), (4999, 500), (5000, 5000), (60_000, 5000)] {
        let (gap, _) = after(&mut health, (now, now), Err(FailureKind::Starting)).unwrap();
        assert_eq!(gap, Duration::from_millis(expected), "at {now} ms");
    }
}

#[test]
fn who_answers_with_an_error_is_asked_again_after_the_failover_timeout() {
    for kind in [
        FailureKind::Saturated,
        FailureKind::OtherError,
        FailureKind::AuthenticationFailed,
    ] {
        let mut health = Health::default();
        let (gap, _) = after(&mut health, (100, 300), Err(kind)).unwrap();
        assert_eq!(
            gap,
            Duration::from_millis(4800),
            "{kind}: from the start of the check"
        );
    }
}

#[test]
fn an_open_circuit_is_looked_at_when_its_time_is_over_and_then_as_often_as_before() {
    let open = |until| Health {
        breaker: Breaker::restored(Circuit::Open { until: at(until) }, 1, at(0)),
        ..Health::default()
    };
    for (until, now, expected) in [
        (20_000, 1000, 5000),
        (20_000, 18_000, 2000),
        (20_000, 20_000, 5000),
        (20_000, 21_000, 5000),
    ] {
        let (gap, _) = after(&mut open(until), (now, now), Err(FailureKind::Saturated)).unwrap();
        assert_eq!(gap, Duration::from_millis(expected), "at {now} ms");
    }
}
