//! The invariants of the decisions, over random policies, healths and stories. S3, S4 … are their names.

#[path = "properties/routing.rs"]
mod routing;
mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use distributary::render::{Kind, Manifest};
use distributary::writing::diff::{Observed, Write, diff};
use distributary_core::Moment;
use distributary_core::breaker::Circuit;
use distributary_core::cadence;
use distributary_core::class_states::ClassStates;
use distributary_core::cluster::Cluster;
use distributary_core::config_maps::{config_maps, largest};
use distributary_core::decision::DecisionState;
use distributary_core::fixture::{self, outputs};
use distributary_core::following::FollowingState;
use distributary_core::health::{Health, Reason, Standing};
use distributary_core::ids::{EndpointId, TargetId};
use distributary_core::judgement::Judgement;
use distributary_core::lag::{Freshness, Lag, Replay, ReplayReport, WalHistory};
use distributary_core::observation::{FailureClass, FailureKind, Lsn, Observation, Role, Sample};
use distributary_core::outputs::{Format, Outputs};
use distributary_core::plan::{Admission, RouteState, RoutingPlan, plan};
use distributary_core::policy::{
    DeclaredRole, DeclaredServer, Endpoint, EndpointState, LagSource, PrimaryRole, SHORTEST_ATTEMPT,
};
use distributary_core::role::Evidence;
use distributary_core::routing::ReadFallback;
use distributary_core::server::{Host, Location};
use distributary_core::table::{RoutingTable, Subject};
use distributary_core::write_primary::{Claim, Rules, WriteChoice, Writes, choose_write_primary};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::arbitrary::{
    Meddling, Situation, failures, healths, logs, meddlings, policies, replays, scripts, settings,
    situations, stories, works,
};
use support::rendered;
use support::simulation::Simulation;

/// So many cases that the whole file runs in seconds.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The moment of every situation.
const NOW: Moment = Moment::new(Duration::from_secs(20));

/// What the core decides in a situation.
struct Verdict {
    claims: Vec<Claim>,
    choice: WriteChoice,
    judgements: Vec<Judgement>,
    plan: RoutingPlan,
}

fn judge(situation: &Situation) -> Verdict {
    let Situation {
        policy,
        known,
        holding,
        standbys,
        following,
    } = situation;
    let policy = policy.policy();
    let ids: Vec<_> = policy
        .endpoints
        .iter()
        .map(|endpoint| TargetId::host(endpoint.id.clone()))
        .collect();
    let class_states = ClassStates::default();
    let known = || {
        let following = following
            .iter()
            .copied()
            .chain(std::iter::repeat(FollowingState::default()));
        let all = ids.iter().zip(&policy.endpoints).zip(known).zip(following);
        all.map(|(((id, endpoint), (health, replay)), following)| Evidence {
            id,
            endpoint,
            by_service: false,
            pod_of_standby: false,
            port: Some(5432),
            health,
            replay,
            following,
            class_states: &class_states,
        })
    };
    let claims: Vec<_> = known()
        .zip(standbys)
        .filter_map(|(known, was)| known.claim(|_: SocketAddr| *was))
        .collect();
    let choice = choose_write_primary(holding, &claims, Rules::of(&policy), NOW);
    let judgements: Vec<_> = known()
        .map(|known| known.judge(&policy, &choice.holding))
        .collect();
    let plan = plan(&policy, &Cluster::default(), &judgements, &choice);
    Verdict {
        claims,
        choice,
        judgements,
        plan,
    }
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
    fn who_is_not_well_is_routed_only_early_or_held(situation in situations()) {
        let policy = &situation.policy;
        let Verdict { judgements, plan, choice, .. } = judge(&situation);
        let of = |id: &TargetId| judgements.iter().find(|judgement| judgement.target == *id);
        for member in &plan.ro.members {
            let judgement = of(&member.target).unwrap();
            let nobody_is_well = !judgements.iter().any(|other| {
                let endpoint = policy.endpoint(&other.target.endpoint).unwrap();
                let in_use = other.role == Some(Role::Standby) && endpoint.weight > 0 && endpoint.serves(None);
                in_use && matches!(other.standing, Standing::Good | Standing::Returning { last: true, .. })
            });
            let general = policy.endpoint(&member.target.endpoint).unwrap().serves(None);
            let dedicated_may = policy.failover.read_fallback.contains(&ReadFallback::DedicatedReplicas);
            let stands_in = member.admission == Admission::Fallback || judgement.role == Some(Role::Primary);
            prop_assert!(general || stands_in, "dedicated: {member:?}");
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
                    if judgement.role == Some(Role::Standby) {
                        prop_assert!(!general && is_well(judgement.standing) && dedicated_may);
                        continue;
                    }
                    prop_assert_eq!(judgement.role, Some(Role::Primary));
                    prop_assert_eq!(choice.holding.holder.as_ref(), Some(&member.target));
                }
                Admission::Held => prop_assert!(nobody_is_well),
            }
        }
    }

    /// S3.
    #[test]
    fn reads_are_never_without_a_target_while_anyone_is_well(situation in situations()) {
        let policy = &situation.policy;
        let Verdict { judgements, plan, choice, .. } = judge(&situation);
        let falls_back = |to| policy.failover.read_fallback.contains(&to);
        let allowed = |judgement: &Judgement| {
            let endpoint = policy.endpoint(&judgement.target.endpoint).unwrap();
            let by_role = match judgement.role {
                Some(Role::Standby) => endpoint.serves(None) || falls_back(ReadFallback::DedicatedReplicas),
                Some(Role::Primary) => {
                    choice.holding.holder.as_ref() == Some(&judgement.target) && falls_back(ReadFallback::Primary)
                }
                None => false,
            };
            by_role && endpoint.weight > 0 && is_well(judgement.standing)
        };
        if judgements.iter().any(allowed) {
            prop_assert!(serves(&plan), "{judgements:#?}");
        }
    }

    /// Lag that is not known to be within its bound is never served as if it were.
    #[test]
    fn who_is_not_proven_fresh_is_at_most_held(situation in situations()) {
        let Verdict { judgements, plan, .. } = judge(&situation);
        for (judgement, (health, replay)) in judgements.iter().zip(&situation.known) {
            let endpoint = situation.policy.endpoint(&judgement.target.endpoint).unwrap();
            let judged = endpoint.lag.source != LagSource::None && health.role == Some(Role::Standby);
            if judged && replay.freshness != Freshness::Fresh {
                prop_assert!(!is_well(judgement.standing), "{judgement:?}");
                if let (Some(member), _) = plan.membership(&judgement.target) {
                    prop_assert_eq!(member.admission, Admission::Held);
                    prop_assert_eq!(plan.ro.state, RouteState::Held);
                }
            }
        }
    }

    /// S1, S2.
    #[test]
    fn writes_have_at_most_one_target_which_proved_itself(situation in situations()) {
        let Verdict { claims, judgements, plan, choice } = judge(&situation);
        prop_assert!(plan.rw.members.len() <= 1);
        let claim = |id: &TargetId| claims.iter().find(|claim| claim.target == *id);
        for member in &plan.rw.members {
            let judgement = judgements.iter().find(|judgement| judgement.target == member.target).unwrap();
            prop_assert_eq!(judgement.role, Some(Role::Primary));
            prop_assert!(judgement.standing != Standing::Excluded);
            prop_assert!(member.in_slice && member.weight == 100);
            prop_assert_eq!(choice.holding.holder.as_ref(), Some(&member.target));
            let moved = situation.holding.holder.as_ref() != Some(&member.target);
            let proven = claim(&member.target).is_some_and(|claim| claim.answers && claim.identity == Some(7));
            let declared = claim(&member.target).is_some_and(|claim| claim.declared && claim.answers);
            prop_assert!(!moved || proven || declared, "{member:?}");
        }
    }

    /// S2.
    #[test]
    fn writes_never_leave_a_holder_that_proves_to_take_them(situation in situations()) {
        let Verdict { claims, choice, .. } = judge(&situation);
        let before = situation.holding.holder.as_ref();
        let Some(holder) = claims.iter().find(|claim| Some(&claim.target) == before) else { return Ok(()) };
        let pinned = situation.policy.failover.primary_role == PrimaryRole::Pinned;
        let proven = holder.role == Some(Role::Primary) && holder.answers && holder.identity == Some(7);
        let below = matches!((holder.timeline, situation.holding.timeline), (Some(its), Some(mark)) if its < mark);
        let below = below && holder.role == Some(Role::Primary);
        if proven && !below && (holder.declared || !pinned) {
            prop_assert_eq!(choice.holding.holder.as_ref(), before);
        }
        if choice.holding.holder.as_ref() != before && !pinned {
            let next = claims.iter().find(|claim| Some(&claim.target) == choice.holding.holder.as_ref()).unwrap();
            let silent_for = holder.failing_since.map(|since| NOW.since(since));
            let long = silent_for.is_some_and(|time| time >= situation.policy.probing.failover_timeout);
            let proven_not = holder.role == Some(Role::Standby) || holder.identity == Some(8) || below;
            prop_assert!(proven_not || long, "{holder:?}");
            prop_assert!(next.promotable && next.was_standby && next.answers);
            prop_assert!(situation.holding.timeline.is_none_or(|mark| next.timeline >= Some(mark)), "{next:?}");
        }
        prop_assert!(choice.holding.timeline >= situation.holding.timeline, "a high-water mark");
        if below && choice.holding.holder.as_ref() == before && choice.changed.is_none() {
            prop_assert_eq!(choice.writes, Writes::Withdrawn);
        }
    }

    #[test]
    fn who_is_proven_wrong_not_active_or_of_weight_0_is_never_sent_a_read(situation in situations()) {
        let Verdict { judgements, plan, choice, .. } = judge(&situation);
        for judgement in &judgements {
            let endpoint = situation.policy.endpoint(&judgement.target.endpoint).unwrap();
            let (reads, writes) = plan.membership(&judgement.target);
            if judgement.standing == Standing::Excluded || endpoint.state != EndpointState::Active {
                prop_assert!(reads.is_none() && writes.is_none(), "{judgement:?}");
            }
            let holds = choice.holding.holder.as_ref() == Some(&judgement.target);
            let other_writer = !holds && judgement.role == Some(Role::Primary);
            if endpoint.weight == 0 || judgement.standing == Standing::Unproven || other_writer {
                prop_assert!(reads.is_none(), "{judgement:?}");
            }
            prop_assert!(reads.is_none_or(|member| member.weight > 0));
        }
    }

    #[test]
    fn the_order_of_judgements_changes_no_byte(situation in situations(), by in 0..5_usize) {
        let policy = &situation.policy;
        let Verdict { mut judgements, choice, plan: straight, .. } = judge(&situation);
        let straight = rendered(policy, &outputs(), &straight);
        let by = by % judgements.len();
        judgements.rotate_left(by);
        judgements.reverse();
        let other = rendered(policy, &outputs(), &plan(&policy.policy(), &policy.cluster, &judgements, &choice));
        let bytes = |objects: &[Manifest]| objects.iter().map(|object| object.body.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(bytes(&straight.objects), bytes(&other.objects));
        prop_assert_eq!(straight.revision, other.revision);
    }

    #[test]
    fn another_healthy_replica_never_empties_reads(situation in situations()) {
        let before = judge(&situation).plan;
        let mut wider = situation.clone();
        let mut added = situation.policy.endpoints[0].clone();
        (added.id, added.declared, added.weight) = ("added".into(), DeclaredRole::Replica, 1);
        added.state = EndpointState::Active;
        added.server = DeclaredServer::Host(fixture::location(200));
        added.dedicated_to.clear();
        wider.policy.endpoints.push(added);
        let mut health = Health::default();
        health.address = Some(IpAddr::from([198, 18, 1, 1]));
        health.role = Some(Role::Standby);
        (health.checked, health.admitted) = (true, true);
        wider.known.push((health, Replay::fresh_since(NOW)));
        wider.standbys = vec![true; 6];
        wider.standbys[..5].copy_from_slice(&situation.standbys[..5]);
        wider.standbys.truncate(wider.known.len());
        let after = judge(&wider).plan;
        prop_assert!(serves(&after));
        prop_assert_eq!(before.rw, after.rw);
    }

    #[test]
    fn no_plan_makes_a_larger_config_map_than_the_largest(situation in situations()) {
        let outputs = Outputs { formats: Format::ALL.to_vec(), ..outputs() };
        let plan = judge(&situation).plan;
        let mut named = situation.policy;
        for endpoint in &mut named.endpoints {
            let host = Host::Name(format!("{}.example.com", endpoint.id));
            endpoint.server = DeclaredServer::Host(Location { host, port: 5432 });
        }
        let (policy, resolved) = (named.policy(), named.resolved());
        let subject = Subject { policy: &policy, resolved: &resolved, outputs: &outputs, plan: &plan };
        let actual = &config_maps(&outputs, &RoutingTable::new(&subject))[0];
        let largest = largest(&policy, &resolved, &outputs);
        prop_assert!(actual.bytes() <= largest.bytes(), "{actual:#?} is larger than {largest:#?}");
    }

    /// S7.
    #[test]
    fn what_was_rendered_needs_no_write(situation in situations()) {
        let manifests = rendered(&situation.policy, &outputs(), &judge(&situation).plan);
        let observed: Observed = manifests.objects.iter().map(|object| (object.id.clone(), object.body.clone())).collect();
        let diff = diff(&manifests.objects, &observed, &situation.policy.uid);
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
        situation in situations(),
        earlier in vec((healths(), replays()), 5),
        meddlings in vec(meddlings(), 12),
        services in any::<bool>(),
    ) {
        let mut was = situation.clone();
        was.known = earlier;
        was.known.truncate(situation.known.len());
        let before = rendered(&was.policy, &outputs(), &judge(&was).plan);
        let mut observed = Observed::new();
        for (object, by) in before.objects.iter().zip(meddlings.iter().cycle()) {
            if !by.lost {
                let mut body = object.body.clone();
                meddle(object.id.kind, &mut body, by);
                observed.insert(object.id.clone(), body);
            }
        }
        let policy = &situation.policy;
        let mut outputs = outputs();
        if !services {
            outputs.services = None;
        }
        let desired = rendered(policy, &outputs, &judge(&situation).plan).objects;
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
    fn nothing_is_written_to_an_object_that_is_not_ours(situation in situations(), other_database in vec(any::<bool>(), 12)) {
        let policy = &situation.policy;
        let desired = rendered(policy, &outputs(), &judge(&situation).plan).objects;
        let mut observed = Observed::new();
        for (object, other_database) in desired.iter().zip(other_database) {
            if other_database {
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
