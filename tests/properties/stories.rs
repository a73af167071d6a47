//! Whole stories over simulated time, and the lag in them.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary_core::Moment;
use distributary_core::breaker::Circuit;
use distributary_core::decision::DecisionState;
use distributary_core::health::Reason;
use distributary_core::ids::{EndpointId, TargetId};
use distributary_core::lag::{Freshness, Lag, Replay, ReplayReport, WalHistory};
use distributary_core::observation::{Lsn, Role};
use distributary_core::plan::Admission;
use distributary_core::policy::{Endpoint, LagSource, PrimaryRole};
use distributary_core::routing::ReadFallback;
use proptest::collection::vec;
use proptest::prelude::*;

use super::support;
use super::support::arbitrary::{logs, policies, scripts, works};
use super::support::simulation::Simulation;
use super::{cases, serves};

proptest! {
    #![proptest_config(cases(60))]

    /// S2, S3 and S4 along whole stories, and S9: who is routed has shown itself.
    #[test]
    fn stories_keep_the_invariants(policy in policies(), script in scripts()) {
        let mut simulation = Simulation::new(&policy);
        let ids: BTreeMap<usize, String> = policy.endpoints.iter().map(|endpoint| endpoint.id.to_string()).enumerate().collect();
        for (seconds, at, answer) in script {
            if let Some(id) = ids.get(&at) {
                simulation.from(seconds, id, answer);
            }
        }
        simulation.run(90.0);
        let pinned = policy.failover.primary_role == PrimaryRole::Pinned;
        let mut holder: Option<EndpointId> = None;
        let dedicated_may = policy.failover.read_fallback.contains(&ReadFallback::DedicatedReplicas);
        let valid = policy.policy();
        for (_, decided) in simulation.plans() {
            let (plan, endpoints) = (&decided.plan, &decided.endpoints);
            prop_assert!(plan.rw.members.len() <= 1);
            for view in endpoints {
                let target = TargetId::host(view.id.clone());
                let (reads, writes) = plan.membership(&target);
                prop_assert_eq!(view.state.eligible, plan.member(&valid, &target).is_some());
                let general = policy.endpoint(&view.id).is_some_and(|endpoint| endpoint.serves(None));
                if let Some(member) = reads.filter(|_| !general && view.state.role == Some(Role::Standby)) {
                    prop_assert_eq!(member.admission, Admission::Fallback, "dedicated: {:?}", view);
                    prop_assert!(dedicated_may);
                }
                let open = matches!(view.state.circuit, Circuit::Open { .. });
                if open && let Some(member) = reads {
                    prop_assert!(member.admission != Admission::Eligible, "{view:?}");
                    prop_assert!(member.admission == Admission::Held || view.state.failure.is_none(), "{view:?}");
                }
                prop_assert!(writes.is_none() || view.state.role == Some(Role::Primary));
            }
            let well = endpoints.iter().any(|view| {
                let may = |endpoint: &Endpoint| endpoint.weight > 0 && (endpoint.serves(None) || dedicated_may);
                let may = policy.endpoint(&view.id).is_some_and(may);
                view.healthy && view.state.role == Some(Role::Standby) && may
            });
            prop_assert!(!well || serves(plan));
            let next = decided.holding.holder.as_ref().map(|holder| holder.endpoint.clone());
            if let (Some(old), false) = (holder.as_ref().filter(|old| next.as_ref() != Some(*old)), pinned) {
                let left = endpoints.iter().find(|view| view.id == *old).unwrap();
                let takes_writes = left.state.reason == Reason::WritableReplica && left.state.failure.is_none();
                prop_assert!(!takes_writes, "{left:?}\n{}", simulation.table());
            }
            holder = next;
        }
    }

    /// S9: after a restart without a single answer nothing is decided, so routes stay.
    #[test]
    fn while_all_is_unknown_nothing_is_decided(policy in policies(), script in scripts()) {
        let mut before = Simulation::new(&policy);
        for (seconds, at, answer) in script {
            if let Some(endpoint) = policy.endpoints.get(at) {
                before.from(seconds, endpoint.id.as_str(), answer);
            }
        }
        before.run(30.0);
        let simulation = Simulation::restarted(&policy, before.memory());
        let watched = policy.endpoints.iter().any(Endpoint::is_watched);
        for (_, decision) in &simulation.decisions {
            let waits = matches!(decision.state, DecisionState::Waiting { .. });
            prop_assert!(!watched || waits);
        }
    }

    /// Lag is no failure.
    #[test]
    fn lag_opens_no_circuit_and_is_the_same_whatever_wall_clocks_say(work in works(), jumps in any::<u32>()) {
        let run = |wall_clock| {
            let mut simulation = Simulation::new(&support::policy(SERVERS));
            simulation.wall_clock = wall_clock;
            for (seconds, at, follows, rate) in &work {
                simulation.wal.writes(*seconds, *rate);
                simulation.wal.follows(*seconds, ["primary", "a", "b"][*at], *follows);
            }
            simulation.run(400.0);
            simulation
        };
        let simulation = run(None);
        for (_, decided) in simulation.plans() {
            for view in &decided.endpoints {
                prop_assert_eq!(view.state.circuit, Circuit::default());
                prop_assert_eq!(view.state.trips, 0);
            }
            prop_assert!(serves(&decided.plan));
        }
        let other = run(Some(jumps));
        prop_assert_eq!(&simulation.log, &other.log);
        prop_assert_eq!(simulation.most_lag, other.most_lag);
    }

    #[test]
    fn an_idle_primary_makes_no_lag_for_hours(hours in 1..5_u32, heartbeat in 1..60_u32) {
        let policy = support::policy(&format!("{SERVERS}\nhealthCheck: {{heartbeat: {heartbeat}s, interval: 60s}}"));
        let mut simulation = Simulation::new(&policy);
        simulation.run(f64::from(hours) * 3600.0);
        prop_assert_eq!(simulation.most_lag, 0);
        prop_assert_eq!(simulation.log.len(), 1);
    }
}

const SERVERS: &str = "
primary: {host: 198.18.0.1}
replicas:
- {id: a, host: 198.18.0.2}
- {id: b, host: 198.18.0.3}
";
const SPAN: Duration = Duration::from_secs(34);

proptest! {
    #![proptest_config(cases(500))]

    /// Whoever is where the head was at a sample lags by the time since then: never less, and too much by no more than
    /// the samples, or the positions that are kept, are apart.
    #[test]
    fn the_error_of_lag_is_bounded(log in logs(), at in any::<prop::sample::Index>(), later in 0..4000_u64) {
        let mut history = WalHistory::default();
        let (mut millis, mut position) = (0, 1000);
        let mut samples = Vec::new();
        for (gap, written) in &log {
            (millis, position) = (millis + gap, position + written);
            samples.push((millis, position));
            history.primary_at(moment(millis), Lsn(position), Some(1), SPAN);
        }
        let (_, replayed) = *at.get(&samples);
        let now = millis + later;
        let newest = samples.iter().rev().find(|(_, position)| *position == replayed).unwrap().0;
        let truth = Duration::from_millis(now - newest);
        match history.behind(Lsn(replayed), moment(now)) {
            Lag::Unknown => prop_assert!(false, "there is a history"),
            Lag::Behind { time, bytes } if replayed == position => {
                prop_assert_eq!((time, bytes), (Duration::ZERO, Some(0)));
            }
            Lag::Behind { time, bytes } => {
                prop_assert_eq!(bytes, Some(position - replayed));
                let widest = log.iter().map(|(gap, _)| *gap).max().unwrap();
                let error = Duration::from_millis(widest) + SPAN / 64;
                prop_assert!(time.abs_diff(truth) <= error, "{time:?}, truly {truth:?}");
            }
            Lag::AtLeast { time, .. } => prop_assert!(time <= truth + SPAN / 64, "{time:?}, truly {truth:?}"),
        }
    }

    /// A verdict stands for three heartbeats, and what is past the bound does not become fresh.
    #[test]
    fn verdicts_flip_at_least_three_heartbeats_apart(lags in vec(0..60_u64, 1..200), beat in 1..10_u64) {
        let mut settings = support::policy(SERVERS).endpoints[1].lag.clone();
        settings.source = LagSource::Query("SELECT 0".into());
        let (mut replay, beat) = (Replay::default(), Duration::from_secs(beat));
        let (mut now, mut flipped, mut before) = (moment(0), None, Freshness::Unknown);
        for lag in lags {
            now = now + beat;
            let told = ReplayReport { moment: now, position: None, queried: Some(Duration::from_secs(lag)) };
            replay.observe(told, &WalHistory::default(), &settings, beat);
            if replay.freshness != before {
                if let Some(at) = flipped {
                    prop_assert!(now.since(at) >= beat * 3, "{before:?} to {:?}", replay.freshness);
                }
                let fits = if replay.freshness == Freshness::Fresh { lag <= 30 } else { lag > 30 };
                prop_assert!(fits, "{:?} at {lag} s", replay.freshness);
                (flipped, before) = (Some(now), replay.freshness);
            }
        }
    }
}

fn moment(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}
