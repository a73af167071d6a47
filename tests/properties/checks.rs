//! When a server is checked next, and when its circuit opens.

use std::time::Duration;

use distributary_core::breaker::Circuit;
use distributary_core::health::Health;
use distributary_core::observation::{FailureClass, FailureKind, Observation, Role, Sample};
use distributary_core::policy::SHORTEST_ATTEMPT;
use distributary_core::{Moment, cadence};
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;
use super::support::arbitrary::{failures, settings, stories};

fn observation(started: Moment, takes: Duration, result: Option<FailureKind>) -> Observation {
    let mut sample = Sample::of(Role::Standby);
    sample.system_identifier = Some(7);
    Observation {
        started,
        ended: started + takes,
        address: None,
        result: result.map_or(Ok(sample), Err),
        sqlstate: None,
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn the_next_check_begins_after_this_one_and_has_20_ms(
        (breaker, probing) in settings(), story in stories(), spread in 0..=100_u8,
    ) {
        let mut health = Health::default();
        let mut next = (Moment::default(), cadence::first_attempt(&probing, &breaker));
        for (takes, result) in story {
            let seen = observation(next.0, Duration::from_millis(takes).min(next.1), result);
            health.observe(&seen, &breaker, &probing);
            let Some((at, timeout)) = cadence::next(&health, &seen, &probing, &breaker, spread) else {
                let class = health.failure.map(FailureKind::class);
                prop_assert_eq!(class, Some(FailureClass::RefusedAddress));
                return Ok(());
            };
            prop_assert!(at >= seen.ended);
            prop_assert!(timeout >= SHORTEST_ATTEMPT && timeout <= probing.timeout.max(SHORTEST_ATTEMPT));
            let watched = probing.interval.max(probing.failover_timeout);
            prop_assert!(at <= seen.ended + watched.max(Duration::from_millis(5)));
            next = (at, timeout);
        }
    }

    /// Whatever the kind and the length of the failures: the circuit opens within the failover timeout. What is too
    /// short for its attempts, each 20 ms and the 5 ms of a confirmation, may take that much longer.
    #[test]
    fn a_run_of_failures_trips_within_the_failover_timeout(
        (breaker, probing) in settings(),
        story in vec((prop_oneof![0..30_u64, 0..3000_u64, Just(u64::MAX)], any::<prop::sample::Index>()), 200),
    ) {
        let dead = [FailureKind::ConnectRefused, FailureKind::ConnectionReset, FailureKind::TimedOut, FailureKind::ServerFailing];
        let mut health = Health::default();
        health.admitted = true;
        let mut next = (Moment::default(), cadence::first_attempt(&probing, &breaker));
        let mut checks = 0;
        for (takes, kind) in story.iter().cycle() {
            let seen = observation(next.0, Duration::from_millis(*takes).min(next.1), Some(*kind.get(&dead)));
            health.observe(&seen, &breaker, &probing);
            checks += 1;
            if let Circuit::Open { .. } = health.breaker.circuit {
                let slack = Duration::from_millis(5 + 20);
                prop_assert!(seen.ended.since_start() <= probing.failover_timeout + slack, "tripped at {:?} of {:?}", seen.ended, probing);
                return Ok(());
            }
            prop_assert!(checks < 1000, "a run without an end");
            next = cadence::next(&health, &seen, &probing, &breaker, 0).unwrap();
        }
    }

    #[test]
    fn a_lost_server_is_not_asked_in_a_loop((breaker, probing) in settings(), first in failures(), then in failures()) {
        let mut health = Health::default();
        health.admitted = true;
        let mut next = (Moment::default(), Duration::ZERO);
        let mut checks: u32 = 0;
        while next.0.since_start() < Duration::from_secs(60) {
            let seen = observation(next.0, Duration::ZERO, Some(if checks == 0 { first } else { then }));
            health.observe(&seen, &breaker, &probing);
            checks += 1;
            let Some(instruction) = cadence::next(&health, &seen, &probing, &breaker, 0) else { return Ok(()) };
            next = instruction;
        }
        let pace = probing.interval.min(probing.failover_timeout).as_millis();
        let regular = u32::try_from(60_000 / pace.max(1)).unwrap() + 1;
        let per_run = breaker.failure_threshold + 40;
        prop_assert!(checks <= regular * 10 / 9 + per_run, "{checks} checks in a minute, {regular} would do");
    }
}
