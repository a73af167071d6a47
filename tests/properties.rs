//! The invariants of the decisions, over random policies, healths and stories. S3, S4 … are their names.

mod support;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary::domain::Moment;
use distributary::domain::breaker::Circuit;
use distributary::domain::cadence;
use distributary::domain::decision::DecisionState;
use distributary::domain::health::{Health, Standing};
use distributary::domain::observation::{FailureKind, Observation, Role, Sample};
use distributary::domain::plan::{Admission, Judgement, RoutingPlan, plan};
use distributary::domain::policy::{Declared, EndpointId, Policy};
use distributary::domain::role;
use distributary::render::diff::{Observed, Write, diff};
use distributary::render::{Kind, Manifest, render};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::arbitrary::{Meddling, failures, healths, meddlings, scripts, settings, situations, stories};
use support::simulation::Simulation;

/// So many cases that the whole file runs in seconds.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn judge(policy: &Policy, healths: &[Health]) -> Vec<Judgement> {
    let both = || policy.endpoints.iter().zip(healths);
    let identity = both().find_map(|(endpoint, health)| role::identity(endpoint, health));
    both()
        .map(|(endpoint, health)| role::judge(endpoint, Some(health), identity, &policy.breaker))
        .collect()
}

fn serves(plan: &RoutingPlan) -> bool {
    plan.ro.members.iter().any(|member| member.in_slice)
}

fn is_well(standing: Standing) -> bool {
    matches!(standing, Standing::Good | Standing::Returning { .. })
}

proptest! {
    #![proptest_config(cases(1500))]

    /// S4.
    #[test]
    fn who_is_not_well_is_routed_only_early_or_held((policy, healths) in situations()) {
        let judgements = judge(&policy, &healths);
        let plan = plan(&policy, &judgements);
        let of = |id: &EndpointId| judgements.iter().find(|judgement| judgement.endpoint == *id);
        for member in &plan.ro.members {
            let judgement = of(&member.endpoint).unwrap();
            let nobody_is_well = !judgements.iter().any(|other| {
                let endpoint = policy.endpoint(&other.endpoint).unwrap();
                let in_use = other.role == Some(Role::Standby) && endpoint.weight > 0;
                in_use && matches!(other.standing, Standing::Good | Standing::Returning { last: true, .. })
            });
            match member.admission {
                Admission::Eligible => prop_assert!(is_well(judgement.standing)),
                Admission::Early => {
                    let closed = matches!(judgement.circuit, Circuit::Closed { .. });
                    prop_assert!(!closed);
                    prop_assert!(judgement.failure.is_none() || is_well(judgement.standing));
                    prop_assert!(nobody_is_well);
                }
                Admission::Fallback => {
                    let answers = judgement.standing == Standing::Unhealthy { answers: true };
                    prop_assert!(is_well(judgement.standing) || answers);
                    prop_assert!(nobody_is_well);
                    prop_assert_eq!(judgement.role, Some(Role::Primary));
                }
                Admission::Held => prop_assert!(nobody_is_well),
            }
        }
    }

    /// S3.
    #[test]
    fn reads_are_never_without_a_target_while_anyone_is_well((policy, healths) in situations()) {
        let judgements = judge(&policy, &healths);
        let any = |role, declared: Option<Declared>| {
            judgements.iter().any(|judgement| {
                let endpoint = policy.endpoint(&judgement.endpoint).unwrap();
                judgement.role == Some(role)
                    && endpoint.weight > 0
                    && declared.is_none_or(|declared| declared == endpoint.declared)
                    && is_well(judgement.standing)
            })
        };
        let fallback = !policy.read_fallback.is_empty() && any(Role::Primary, Some(Declared::Primary));
        if any(Role::Standby, None) || fallback {
            prop_assert!(serves(&plan(&policy, &judgements)), "{judgements:#?}");
        }
    }

    /// S1, S2.
    #[test]
    fn writes_have_at_most_one_target_and_never_a_standby((policy, healths) in situations()) {
        let judgements = judge(&policy, &healths);
        let plan = plan(&policy, &judgements);
        prop_assert!(plan.rw.members.len() <= 1);
        for member in &plan.rw.members {
            let judgement = judgements.iter().find(|judgement| judgement.endpoint == member.endpoint).unwrap();
            prop_assert_eq!(judgement.role, Some(Role::Primary));
            prop_assert_eq!(policy.endpoint(&member.endpoint).unwrap().declared, Declared::Primary);
            prop_assert!(member.in_slice && member.weight == 100);
        }
    }

    #[test]
    fn who_is_proven_wrong_disabled_or_of_weight_0_is_never_sent_a_read((policy, healths) in situations()) {
        let judgements = judge(&policy, &healths);
        let plan = plan(&policy, &judgements);
        for judgement in &judgements {
            let endpoint = policy.endpoint(&judgement.endpoint).unwrap();
            let (reads, writes) = plan.membership(&judgement.endpoint);
            if judgement.standing == Standing::Wrong || !endpoint.active {
                prop_assert!(reads.is_none() && writes.is_none(), "{judgement:?}");
            }
            let writable_replica = endpoint.declared == Declared::Replica && judgement.role == Some(Role::Primary);
            if endpoint.weight == 0 || judgement.standing == Standing::Unproven || writable_replica {
                prop_assert!(reads.is_none(), "{judgement:?}");
            }
            prop_assert!(reads.is_none_or(|member| member.weight > 0));
        }
    }

    #[test]
    fn the_order_of_judgements_changes_no_byte((policy, healths) in situations(), by in 0..5_usize) {
        let mut judgements = judge(&policy, &healths);
        let straight = render(&policy, &plan(&policy, &judgements));
        let by = by % judgements.len();
        judgements.rotate_left(by);
        judgements.reverse();
        let other = render(&policy, &plan(&policy, &judgements));
        let bytes = |objects: &[Manifest]| objects.iter().map(|object| object.body.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(bytes(&straight.objects), bytes(&other.objects));
        prop_assert_eq!(straight.revision, other.revision);
    }

    #[test]
    fn another_healthy_replica_never_empties_reads((policy, mut healths) in situations()) {
        let before = plan(&policy, &judge(&policy, &healths));
        let mut wider = policy.clone();
        let mut added = policy.endpoints[0].clone();
        (added.id, added.declared, added.weight, added.active) = ("added".into(), Declared::Replica, 1, true);
        wider.endpoints.push(added);
        healths.push(Health {
            address: Some(IpAddr::from([198, 18, 1, 1])),
            role: Some(Role::Standby),
            checked: true,
            admitted: true,
            ..Health::default()
        });
        let after = plan(&wider, &judge(&wider, &healths));
        prop_assert!(serves(&after));
        prop_assert_eq!(before.rw, after.rw);
    }

    /// S7.
    #[test]
    fn what_was_rendered_needs_no_write((policy, healths) in situations()) {
        let manifests = render(&policy, &plan(&policy, &judge(&policy, &healths)));
        let observed: Observed = manifests.objects.iter().map(|object| (object.id.clone(), object.body.clone())).collect();
        let diff = diff(&manifests.objects, &observed, &policy.uid);
        prop_assert!(diff.writes.is_empty() && diff.conflicts.is_empty(), "{diff:#?}");
    }
}

fn meddle(kind: Kind, body: &mut Value, by: &Meddling) {
    let metadata = &mut body["metadata"];
    if by.label {
        metadata["labels"]["team"] = json!("shop");
    }
    if by.annotation {
        metadata["annotations"]["note"] = json!("keep");
    }
    if by.dropped_label {
        metadata["labels"]["distributary.dev/old"] = json!("x");
    }
    match kind {
        Kind::Service => {
            if by.selector {
                body["spec"]["selector"] = json!({"app": "other"});
            }
            if by.external {
                body["spec"]["externalIPs"] = json!(["203.0.113.9"]);
            }
            if by.allocated {
                body["spec"]["clusterIP"] = json!("198.19.0.7");
            }
        }
        Kind::ConfigMap if by.data => body["data"]["extra"] = json!("theirs"),
        Kind::EndpointSlice if by.data => body["endpoints"] = json!([]),
        Kind::ConfigMap | Kind::EndpointSlice => {}
    }
}

/// What the API server does with the writes.
fn apply(observed: &mut Observed, writes: Vec<Write>) {
    for write in writes {
        match write {
            Write::Create(manifest) => assert!(observed.insert(manifest.id, manifest.body).is_none(), "409"),
            Write::Update(manifest) => assert!(observed.insert(manifest.id, manifest.body).is_some(), "404"),
            Write::Delete { id, .. } => assert!(observed.remove(&id).is_some(), "404"),
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    /// L1: from any earlier plan, whatever others did, one round of writes leads to the desired state, and keeps what
    /// is not ours.
    #[test]
    fn one_round_of_writes_converges_and_keeps_what_is_foreign(
        (policy, healths) in situations(),
        earlier in vec(healths(), 5),
        meddlings in vec(meddlings(), 12),
        services in any::<bool>(),
    ) {
        let before = render(&policy, &plan(&policy, &judge(&policy, &earlier)));
        let mut observed = Observed::new();
        for (object, by) in before.objects.iter().zip(meddlings.iter().cycle()) {
            if !by.lost {
                let mut body = object.body.clone();
                meddle(object.id.kind, &mut body, by);
                observed.insert(object.id.clone(), body);
            }
        }
        let mut policy = policy;
        if !services {
            policy.outputs.services = None;
        }
        let desired = render(&policy, &plan(&policy, &judge(&policy, &healths))).objects;
        let met = observed.clone();
        let first = diff(&desired, &observed, &policy.uid);
        prop_assert!(first.conflicts.is_empty());
        apply(&mut observed, first.writes);
        let second = diff(&desired, &observed, &policy.uid);
        prop_assert!(second.writes.is_empty(), "{:#?}", second.writes);
        prop_assert_eq!(observed.keys().cloned().collect::<Vec<_>>(), {
            let mut ids: Vec<_> = desired.iter().map(|object| object.id.clone()).collect();
            ids.sort();
            ids
        });
        for (id, body) in &observed {
            let Some(was) = met.get(id) else { continue };
            for (part, key) in [("labels", "team"), ("annotations", "note")] {
                prop_assert_eq!(&body["metadata"][part][key], &was["metadata"][part][key]);
            }
            prop_assert_eq!(&body["data"]["extra"], &was["data"]["extra"]);
            prop_assert_eq!(&body["spec"]["clusterIP"], &was["spec"]["clusterIP"]);
            prop_assert!(body["metadata"]["labels"]["distributary.dev/old"].is_null());
            prop_assert!(body["spec"]["selector"].is_null() && body["spec"]["externalIPs"].is_null());
        }
    }

    /// S5.
    #[test]
    fn nothing_is_written_to_an_object_that_is_not_ours((policy, healths) in situations(), foreign in vec(any::<bool>(), 12)) {
        let desired = render(&policy, &plan(&policy, &judge(&policy, &healths))).objects;
        let mut observed = Observed::new();
        for (object, foreign) in desired.iter().zip(foreign) {
            if foreign {
                let mut body = object.body.clone();
                body["metadata"]["ownerReferences"][0]["uid"] = json!("another");
                body["data"] = json!({"changed": "yes"});
                observed.insert(object.id.clone(), body);
            }
        }
        let diff = diff(&desired, &observed, &policy.uid);
        for write in &diff.writes {
            prop_assert!(!observed.contains_key(write.id()));
        }
        prop_assert_eq!(diff.conflicts.len(), observed.len());
    }
}

fn observation(started: Moment, takes: Duration, result: Option<FailureKind>) -> Observation {
    let sample = Sample {
        role: Role::Standby,
        lsn: None,
        system_identifier: Some(7),
        timeline: None,
    };
    Observation {
        started,
        ended: started + takes,
        address: None,
        result: result.map_or(Ok(sample), Err),
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
                prop_assert_eq!(health.failure, Some(FailureKind::AddressRefused));
                return Ok(());
            };
            prop_assert!(at >= seen.ended);
            prop_assert!(timeout >= cadence::SHORTEST_ATTEMPT && timeout <= probing.timeout.max(cadence::SHORTEST_ATTEMPT));
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
        let mut health = Health { admitted: true, ..Health::default() };
        let mut next = (Moment::default(), cadence::first_attempt(&probing, &breaker));
        let mut checks = 0;
        for (takes, kind) in story.iter().cycle() {
            let seen = observation(next.0, Duration::from_millis(*takes).min(next.1), Some(*kind.get(&dead)));
            health.observe(&seen, &breaker, &probing);
            checks += 1;
            if let Circuit::Open { .. } = health.circuit {
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
        let mut health = Health { admitted: true, ..Health::default() };
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

proptest! {
    #![proptest_config(cases(60))]

    /// S3 and S4 along whole stories, and S9: who is routed has shown itself.
    #[test]
    fn stories_keep_the_invariants((policy, _) in situations(), script in scripts()) {
        let policy = Arc::new(policy);
        let mut simulation = Simulation::new(&policy);
        let ids: BTreeMap<usize, String> = policy.endpoints.iter().map(|endpoint| endpoint.id.to_string()).enumerate().collect();
        for (seconds, at, answer) in script {
            if let Some(id) = ids.get(&at) {
                simulation.from(seconds, id, answer);
            }
        }
        simulation.run(90.0);
        for (_, decision) in &simulation.decisions {
            let DecisionState::Decided { plan, endpoints } = &decision.state else { continue };
            prop_assert!(plan.rw.members.len() <= 1);
            for view in endpoints {
                let (reads, writes) = plan.membership(&view.id);
                prop_assert_eq!(view.eligible, reads.is_some() || writes.is_some());
                let open = matches!(view.circuit, Circuit::Open { .. });
                if open && let Some(member) = reads {
                    prop_assert!(member.admission != Admission::Eligible, "{view:?}");
                    prop_assert!(member.admission == Admission::Held || view.failure.is_none(), "{view:?}");
                }
                prop_assert!(writes.is_none() || view.role == Some(Role::Primary));
            }
            let well = endpoints.iter().any(|view| {
                let weight = policy.endpoint(&view.id).map_or(0, |endpoint| endpoint.weight);
                view.healthy && view.role == Some(Role::Standby) && weight > 0
            });
            prop_assert!(!well || serves(plan));
        }
    }

    /// S9: after a restart without a single answer nothing is decided, so routes stay.
    #[test]
    fn while_all_is_unknown_nothing_is_decided((policy, _) in situations(), script in scripts()) {
        let policy = Arc::new(policy);
        let mut before = Simulation::new(&policy);
        for (seconds, at, answer) in script {
            if let Some(endpoint) = policy.endpoints.get(at) {
                before.from(seconds, endpoint.id.as_str(), answer);
            }
        }
        before.run(30.0);
        let simulation = Simulation::restarted(&policy, before.remembered());
        let active = policy.endpoints.iter().any(|endpoint| endpoint.active);
        for (_, decision) in &simulation.decisions {
            let waits = matches!(decision.state, DecisionState::Waiting { .. });
            prop_assert!(!active || waits);
        }
    }
}
