mod classes;
mod dedicated;
mod families;

use crate::policy::DeclaredServer;
use std::net::IpAddr;

use super::*;
use crate::Moment;
use crate::breaker::{Breaker, Circuit};
use crate::class_states::ClassStates;
use crate::fixture::{Case, SYSTEM, policy};
use crate::following::FollowingState;
use crate::health::{Health, Reason};
use crate::ids::TargetId;
use crate::lag::Replay;
use crate::observation::{FailureKind, Role};
use crate::policy::{
    DeclaredRole, Endpoint, EndpointState, IdentityRule, OnPrimaryLoss, OnReadLoss, PrimaryRole,
};
use crate::role::Evidence;
use crate::routing::ReadFallback;
use crate::server::Location;
use crate::write_primary::Holding;
use crate::write_primary::{Claim, Rules, choose_write_primary};

/// What an endpoint's checks say.
#[derive(Clone, Copy, Debug)]
enum Is {
    Good,
    Unknown,
    Suspect,
    /// Its circuit is open; its newest check was good or not.
    Open {
        answers: bool,
    },
    /// At this traffic step.
    HalfOpen(usize),
    Writable,
    Standby,
    /// Of another database system.
    Foreign,
    /// How far it is behind is not known.
    Behind,
    /// Open, answering, and behind.
    OpenBehind,
    Refused,
}

fn health(endpoint: &Endpoint, is: Is) -> Health {
    let mut health = Health::default();
    let DeclaredServer::Host(Location {
        host: crate::server::Host::Address(address),
        ..
    }) = endpoint.server
    else {
        return health;
    };
    health.address = Some(address);
    health.role = Some(if endpoint.declared == DeclaredRole::Primary {
        Role::Primary
    } else {
        Role::Standby
    });
    health.system_identifier = Some(SYSTEM);
    (health.checked, health.admitted) = (true, true);
    let now = Moment::default();
    let circuit = |circuit| Breaker::restored(circuit, 1, now);
    let refused = Some(FailureKind::ConnectRefused);
    match is {
        Is::Good | Is::Behind => {}
        Is::Unknown => health = Health::default(),
        Is::Suspect => {
            health.suspicion = crate::suspicion::Suspicion::Out {
                since: now,
                answers: 0,
            };
            health.failure = refused;
        }
        Is::Open { answers } => {
            health.breaker = circuit(Circuit::Open { until: now });
            health.failure = refused.filter(|_| !answers);
        }
        Is::OpenBehind => health.breaker = circuit(Circuit::Open { until: now }),
        Is::HalfOpen(step) => health.breaker = circuit(Circuit::HalfOpen { step, successes: 0 }),
        Is::Writable => health.role = Some(Role::Primary),
        Is::Standby => health.role = Some(Role::Standby),
        Is::Foreign => health.system_identifier = Some(SYSTEM + 1),
        Is::Refused => health.failure = Some(FailureKind::AddressRefused),
    }
    health
}

/// The declared primary held the writes before.
fn holding() -> Holding {
    Holding {
        identity: Some(SYSTEM),
        holder: Some(TargetId::host("primary".into())),
        ..Holding::default()
    }
}

fn judge_after(before: &Holding, policy: &Case, are: &[Is]) -> (Vec<Judgement>, WriteChoice) {
    let policy = policy.policy();
    let targets: Vec<_> = policy
        .endpoints
        .iter()
        .zip(are)
        .map(|(endpoint, is)| {
            let replay = match is {
                Is::Behind | Is::OpenBehind => Replay::default(),
                _ => Replay::fresh_since(Moment::default()),
            };
            (
                TargetId::host(endpoint.id.clone()),
                endpoint,
                health(endpoint, *is),
                replay,
            )
        })
        .collect();
    let class_states = ClassStates::default();
    let known = || {
        targets.iter().map(|(id, endpoint, health, replay)| Evidence {
            id,
            endpoint,
            by_service: false,
            pod_of_standby: false,
            port: Some(5432),
            health,
            replay,
            following: FollowingState::default(),
            class_states: &class_states,
        })
    };

    let claims: Vec<Claim> = known().filter_map(|known| known.claim(|_| true)).collect();
    let choice = choose_write_primary(before, &claims, Rules::of(&policy), Moment::default());
    let judgements = known()
        .map(|known| known.judge(&policy, &choice.holding))
        .collect();
    (judgements, choice)
}

fn judge(policy: &Case, are: &[Is]) -> (Vec<Judgement>, WriteChoice) {
    judge_after(&holding(), policy, are)
}

fn planned(policy: &Case, are: &[Is]) -> RoutingPlan {
    let (judgements, choice) = judge(policy, are);
    plan(&policy.policy(), &policy.cluster, &judgements, &choice)
}

/// The routes, in words: `rw Served primary` and `ro Served a=100 b=10(not in slice)`. Primary first in `are`.
fn routes(policy: &Case, are: &[Is]) -> [String; 2] {
    let plan = planned(policy, are);
    [words("rw", &plan.rw), words("ro", &plan.ro)]
}

fn words(name: &str, route: &Route) -> String {
    let member = |member: &Member| {
        let slice = if member.in_slice { "" } else { "(not in slice)" };
        format!(" {}={}{slice}", member.target, member.weight)
    };
    let members: String = route.members.iter().map(member).collect();
    format!("{name} {:?}{members}", route.state)
}

fn reads(policy: &Case, are: &[Is]) -> String {
    let [_, reads] = routes(policy, are);
    reads
}

/// The reads where more is known of some targets, by their place.
fn reads_knowing(policy: &Case, are: &[Is], know: impl Fn(usize, &mut Judgement)) -> RoutingPlan {
    let (mut judgements, choice) = judge(policy, are);
    for (at, judgement) in judgements.iter_mut().enumerate() {
        know(at, judgement);
    }
    plan(&policy.policy(), &policy.cluster, &judgements, &choice)
}

fn writes(policy: &Case, are: &[Is]) -> String {
    let [writes, _] = routes(policy, are);
    writes
}

const OPEN: Is = Is::Open { answers: false };
const ANSWERS: Is = Is::Open { answers: true };

#[test]
fn no_replica() {
    let policy = policy(&[]);
    assert_eq!(
        routes(&policy, &[Is::Good]),
        ["rw Served primary=100", "ro Fallback primary=100"]
    );
    assert_eq!(
        routes(&policy, &[Is::Suspect]),
        ["rw Held primary=100", "ro Held primary=100"]
    );
    assert_eq!(routes(&policy, &[Is::Unknown]), ["rw Empty", "ro Empty"]);
}

#[test]
fn one_replica() {
    let policy = policy(&["a"]);
    let cases = [
        (Is::Good, "ro Served a=100"),
        (Is::Suspect, "ro Fallback primary=100"),
        (OPEN, "ro Fallback primary=100"),
        (ANSWERS, "ro Served a=100"),
        (Is::HalfOpen(0), "ro Served a=10"),
        (Is::HalfOpen(1), "ro Served a=50"),
        (Is::Unknown, "ro Fallback primary=100"),
        (Is::Writable, "ro Fallback primary=100"),
        (Is::Foreign, "ro Fallback primary=100"),
        (Is::Behind, "ro Fallback primary=100"),
        (Is::OpenBehind, "ro Fallback primary=100"),
        (Is::Refused, "ro Fallback primary=100"),
    ];
    for (is, expected) in cases {
        assert_eq!(reads(&policy, &[Is::Good, is]), expected, "{is:?}");
    }
}

#[test]
fn two_replicas() {
    let policy = policy(&["a", "b"]);
    let cases = [
        ([Is::Good, Is::Good], "ro Served a=100 b=100"),
        ([Is::Suspect, Is::Good], "ro Served b=100"),
        ([OPEN, Is::Good], "ro Served b=100"),
        ([ANSWERS, Is::Good], "ro Served b=100"),
        ([Is::HalfOpen(0), Is::Good], "ro Served a=10(not in slice) b=100"),
        ([Is::HalfOpen(1), Is::Good], "ro Served a=50 b=100"),
        ([Is::HalfOpen(0), Is::Suspect], "ro Served a=10"),
        (
            [Is::HalfOpen(0), Is::HalfOpen(1)],
            "ro Served a=10(not in slice) b=50",
        ),
        ([ANSWERS, Is::Suspect], "ro Served a=100"),
        ([ANSWERS, Is::HalfOpen(0)], "ro Served a=100 b=10"),
        ([Is::Suspect, OPEN], "ro Fallback primary=100"),
        ([Is::Behind, Is::Good], "ro Served b=100"),
        ([Is::Behind, ANSWERS], "ro Served b=100"),
        ([Is::Behind, Is::Behind], "ro Fallback primary=100"),
    ];
    for ([a, b], expected) in cases {
        assert_eq!(reads(&policy, &[Is::Good, a, b]), expected, "{a:?}, {b:?}");
    }
}

#[test]
fn three_replicas() {
    let policy = policy(&["a", "b", "c"]);
    let cases = [
        ([Is::Good, Is::Good, Is::Good], "ro Served a=100 b=100 c=100"),
        ([Is::Good, Is::Suspect, OPEN], "ro Served a=100"),
        ([Is::HalfOpen(1), Is::Good, OPEN], "ro Served a=50 b=100"),
        ([Is::Unknown, Is::Unknown, Is::Good], "ro Served c=100"),
        ([OPEN, OPEN, OPEN], "ro Fallback primary=100"),
    ];
    for ([a, b, c], expected) in cases {
        assert_eq!(reads(&policy, &[Is::Good, a, b, c]), expected);
    }
}

#[test]
fn with_nobody_well_those_that_served_are_held() {
    let policy = policy(&["a", "b"]);
    assert_eq!(
        routes(&policy, &[Is::Suspect, Is::Suspect, OPEN]),
        ["rw Held primary=100", "ro Held a=100 b=100 primary=100"]
    );
}

#[test]
fn of_those_that_are_held_who_answers_goes_first() {
    let policy = policy(&["a", "b", "c"]);
    let held = |are: [Is; 4]| reads(&policy, &are);
    let s = Is::Suspect;
    assert_eq!(held([s, Is::Behind, OPEN, s]), "ro Held a=100", "also who lags");
    assert_eq!(held([s, Is::OpenBehind, s, Is::Behind]), "ro Held a=100 c=100");
    assert_eq!(
        held([s, OPEN, s, OPEN]),
        "ro Held a=100 b=100 c=100 primary=100",
        "nobody answers"
    );
}

#[test]
fn with_nobody_well_reads_are_withdrawn_where_the_policy_says_so() {
    let mut policy = policy(&["a", "b"]);
    policy.failover.read_fallback.clear();
    policy.failover.on_read_loss = OnReadLoss::Withdraw;
    for are in [[Is::Behind, OPEN], [Is::Suspect, OPEN], [Is::Behind, Is::Behind]] {
        assert_eq!(reads(&policy, &[Is::Good, are[0], are[1]]), "ro Empty", "{are:?}");
    }
    assert_eq!(
        reads(&policy, &[Is::Good, ANSWERS, OPEN]),
        "ro Served a=100",
        "who is admitted early serves"
    );
    policy.failover.read_fallback = vec![ReadFallback::Primary];
    assert_eq!(
        reads(&policy, &[Is::Good, Is::Behind, OPEN]),
        "ro Fallback primary=100"
    );
    assert_eq!(
        routes(&policy, &[Is::Suspect, Is::Behind, OPEN]),
        ["rw Held primary=100", "ro Empty"],
        "the route of writes is another matter"
    );
}

#[test]
fn what_is_proven_wrong_leaves_even_if_the_route_is_then_empty() {
    let mut policy = policy(&["a", "b", "c"]);
    policy.failover.read_fallback.clear();
    let are = [Is::Good, Is::Writable, Is::Foreign, Is::Refused];
    assert_eq!(reads(&policy, &are), "ro Empty");
}

#[test]
fn an_open_fallback_that_answers_takes_over_before_anybody_is_held() {
    let policy = policy(&["a"]);
    assert_eq!(
        routes(&policy, &[ANSWERS, Is::Suspect]),
        ["rw Served primary=100", "ro Fallback primary=100"]
    );
}

#[test]
fn an_empty_fallback_means_nobody() {
    let mut policy = policy(&["a"]);
    policy.failover.read_fallback.clear();
    assert_eq!(reads(&policy, &[Is::Good, Is::Suspect]), "ro Held a=100");
    assert_eq!(reads(&policy, &[Is::Good, Is::Unknown]), "ro Empty");
}

#[test]
fn the_admission_says_on_what_ground() {
    let policy = policy(&["a"]);
    let admission = |are: &[Is]| planned(&policy, are).ro.members[0].admission;
    assert_eq!(admission(&[Is::Good, Is::Good]), Admission::Eligible);
    assert_eq!(admission(&[Is::Good, ANSWERS]), Admission::Early);
    assert_eq!(admission(&[Is::Good, Is::HalfOpen(0)]), Admission::Early);
    assert_eq!(admission(&[Is::Good, OPEN]), Admission::Fallback);
    assert_eq!(admission(&[OPEN, OPEN]), Admission::Held);
}

#[test]
fn weights_are_in_hundredths_and_multiplied_by_the_share() {
    let mut policy = policy(&["a", "b"]);
    policy.strategy = Strategy::Weighted;
    policy.endpoints[1].weight = 1000;
    policy.endpoints[2].weight = 3;
    assert_eq!(
        reads(&policy, &[Is::Good, Is::Good, Is::HalfOpen(1)]),
        "ro Served a=100000 b=150"
    );
}

#[test]
fn round_robin_treats_every_weight_above_0_alike() {
    let mut policy = policy(&["a", "b"]);
    policy.endpoints[1].weight = 7;
    policy.endpoints[2].weight = 1000;
    assert_eq!(
        reads(&policy, &[Is::Good, Is::Good, Is::Good]),
        "ro Served a=100 b=100"
    );
}

#[test]
fn weight_0_is_never_sent_a_read() {
    for strategy in [Strategy::RoundRobin, Strategy::Weighted] {
        let mut policy = policy(&["a", "b"]);
        policy.strategy = strategy;
        policy.endpoints[1].weight = 0;
        assert_eq!(reads(&policy, &[Is::Good, Is::Good, Is::Good]), "ro Served b=100");
        assert_eq!(
            reads(&policy, &[Is::Good, Is::Good, Is::Suspect]),
            "ro Fallback primary=100"
        );
        policy.failover.read_fallback.clear();
        assert_eq!(reads(&policy, &[Is::Good, Is::Good, Is::Unknown]), "ro Empty");
        policy.failover.read_fallback = vec![ReadFallback::Primary];
        policy.endpoints[0].weight = 0;
        assert_eq!(
            reads(&policy, &[Is::Good, Is::Good, Is::Suspect]),
            "ro Held b=100",
            "a fallback of weight 0 takes no reads"
        );
    }
}

#[test]
fn a_primary_of_weight_0_takes_writes() {
    let mut policy = policy(&["a"]);
    policy.endpoints[0].weight = 0;
    policy.strategy = Strategy::Weighted;
    assert_eq!(writes(&policy, &[Is::Good, Is::Good]), "rw Served primary=100");
}

#[test]
fn writes_go_to_the_holder_and_a_silent_one_is_held() {
    let policy = policy(&["a"]);
    let cases = [
        (Is::Good, "rw Served primary=100"),
        (Is::HalfOpen(0), "rw Served primary=100"),
        (Is::Suspect, "rw Held primary=100"),
        (OPEN, "rw Held primary=100"),
        (ANSWERS, "rw Served primary=100"),
        (Is::Unknown, "rw Empty"),
        (Is::Standby, "rw Empty"),
        (Is::Refused, "rw Empty"),
    ];
    for (is, expected) in cases {
        assert_eq!(writes(&policy, &[is, Is::Good]), expected, "{is:?}");
    }
}

#[test]
fn a_silent_holder_is_withdrawn_where_the_policy_says_so() {
    let mut policy = policy(&["a"]);
    policy.failover.on_primary_loss = OnPrimaryLoss::Withdraw;
    for (is, expected) in [
        (Is::Good, "rw Served primary=100"),
        (ANSWERS, "rw Served primary=100"),
        (Is::Suspect, "rw Empty"),
        (OPEN, "rw Empty"),
    ] {
        assert_eq!(writes(&policy, &[is, Is::Good]), expected, "{is:?}");
    }
}

#[test]
fn a_holder_whose_circuit_is_open_but_who_takes_writes_is_admitted_early() {
    let policy = policy(&["a"]);
    let admission = |is| planned(&policy, &[is, Is::Good]).rw.members[0].admission;
    assert_eq!(admission(Is::Good), Admission::Eligible);
    assert_eq!(admission(ANSWERS), Admission::Early);
    assert_eq!(admission(OPEN), Admission::Held);
}

#[test]
fn a_writable_replica_serves_neither_reads_nor_writes() {
    let policy = policy(&["a", "b"]);
    assert_eq!(
        routes(&policy, &[Is::Good, Is::Writable, Is::Good]),
        ["rw Served primary=100", "ro Served b=100"]
    );
    assert_eq!(
        routes(&policy, &[Is::Suspect, Is::Writable, Is::Suspect]),
        ["rw Held primary=100", "ro Held b=100 primary=100"]
    );
}

#[test]
fn a_primary_in_recovery_serves_reads_and_no_writes() {
    let policy = policy(&["a"]);
    assert_eq!(
        routes(&policy, &[Is::Standby, Is::Good]),
        ["rw Empty", "ro Served a=100 primary=100"]
    );
}

#[test]
fn a_replica_of_another_system_is_not_routed() {
    let policy = policy(&["a", "b"]);
    let (judgements, choice) = judge(&policy, &[Is::Good, Is::Foreign, Is::Good]);
    assert_eq!(judgements[1].reason, Reason::IdentityMismatch);
    assert!(judgements[1].is_excluded(&choice.holding));
    assert_eq!(
        words(
            "ro",
            &plan(&policy.policy(), &policy.cluster, &judgements, &choice).ro
        ),
        "ro Served b=100"
    );
}

#[test]
fn where_identity_is_not_checked_nobody_is_of_another_system() {
    let mut policy = policy(&["a", "b"]);
    policy.identity = IdentityRule::Unchecked;
    policy.failover.primary_role = PrimaryRole::Pinned;
    assert_eq!(
        reads(&policy, &[Is::Good, Is::Foreign, Is::Good]),
        "ro Served a=100 b=100"
    );
}

#[test]
fn without_a_primary_no_identity_is_wrong() {
    let policy = policy(&["a", "b"]);
    let are = [Is::Unknown, Is::Foreign, Is::Good];
    let (judgements, choice) = judge_after(&Holding::default(), &policy, &are);
    let plan = plan(&policy.policy(), &policy.cluster, &judgements, &choice);
    assert_eq!(words("ro", &plan.ro), "ro Served a=100 b=100");
}

#[test]
fn a_disabled_or_draining_endpoint_is_in_no_route() {
    for state in [EndpointState::Disabled, EndpointState::Draining] {
        let mut policy = policy(&["a", "b"]);
        policy.endpoints[1].state = state;
        assert_eq!(reads(&policy, &[Is::Good, Is::Good, Is::Good]), "ro Served b=100");
        assert_eq!(
            reads(&policy, &[Is::Suspect, Is::Good, Is::Suspect]),
            "ro Held b=100 primary=100"
        );
        policy.endpoints[0].state = state;
        assert_eq!(writes(&policy, &[Is::Good, Is::Good, Is::Good]), "rw Empty");
    }
}

#[test]
fn order_is_by_priority_then_id() {
    let mut policy = policy(&["c", "b", "a"]);
    policy.endpoints[1].priority = 0;
    policy.endpoints[2].priority = 9;
    assert_eq!(reads(&policy, &[Is::Good; 4]), "ro Served c=100 a=100 b=100");
}

#[test]
fn the_order_of_judgements_does_not_matter() {
    let policy = policy(&["a", "b", "c"]);
    let (mut judgements, choice) = judge(&policy, &[Is::Good, Is::HalfOpen(0), Is::Good, Is::Suspect]);
    let straight = plan(&policy.policy(), &policy.cluster, &judgements, &choice);
    judgements.reverse();
    assert_eq!(
        plan(&policy.policy(), &policy.cluster, &judgements, &choice),
        straight
    );
}

#[test]
fn two_targets_of_one_endpoint_are_ordered_by_address() {
    let policy = policy(&["a"]);
    let (mut judgements, choice) = judge(&policy, &[Is::Good, Is::Good]);
    let mut other = judgements[1].clone();
    other.address = Some(IpAddr::from([198, 18, 0, 1]));
    judgements.push(other);
    let addresses: Vec<_> = plan(&policy.policy(), &policy.cluster, &judgements, &choice)
        .ro
        .members
        .iter()
        .map(|member| member.address.to_string())
        .collect();
    assert_eq!(addresses, ["198.18.0.1", "198.18.0.2"]);
}

#[test]
fn a_judgement_of_an_endpoint_that_is_not_declared_is_ignored() {
    let (wide, narrow) = (policy(&["a", "b"]), policy(&["a"]));
    let (judgements, choice) = judge(&wide, &[Is::Good; 3]);
    assert_eq!(
        words(
            "ro",
            &plan(&narrow.policy(), &narrow.cluster, &judgements, &choice).ro
        ),
        "ro Served a=100"
    );
}
