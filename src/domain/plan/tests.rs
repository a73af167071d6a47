use std::time::Duration;

use super::*;
use crate::domain::Moment;
use crate::domain::health::Health;
use crate::domain::policy::{
    BreakerSettings, ClientSettings, Host, Mode, Outputs, PolicyKey, Probing, TlsMode, Unresolved,
};
use crate::domain::policy::{SecretProblem, Strategy};
use crate::domain::role;

fn endpoint(id: &str, declared: Declared, last: u8) -> Endpoint {
    let address = IpAddr::from([198, 18, 0, last]);
    Endpoint {
        id: id.into(),
        declared,
        display_name: None,
        location: Some(Location {
            host: Host::Address(address),
            port: 5432,
        }),
        login: Err(Unresolved {
            secret: "none".to_owned(),
            problem: SecretProblem::NotFound,
        }),
        region: None,
        zone: None,
        weight: 1,
        priority: 1,
        max_connections: 15,
        active: true,
        tags: Vec::new(),
        clients: clients(),
    }
}

/// A primary and replicas of these names: 198.18.0.1, then .2, .3 and so on.
fn policy(replicas: &[&str]) -> Policy {
    let replicas = replicas
        .iter()
        .zip(2..)
        .map(|(id, last)| endpoint(id, Declared::Replica, last));
    Policy {
        key: PolicyKey::new("shop", "orders"),
        uid: "uid-1".to_owned(),
        generation: 1,
        mode: Mode::Enforce,
        retain: false,
        endpoints: std::iter::once(endpoint("primary", Declared::Primary, 1))
            .chain(replicas)
            .collect(),
        strategy: Strategy::RoundRobin,
        probing: Probing {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(2),
            failover_timeout: Duration::from_secs(5),
        },
        breaker: BreakerSettings {
            enabled: true,
            failure_threshold: 5,
            reset_timeout: Duration::from_secs(60),
            success_threshold: 3,
            traffic_steps: vec![Percent::new(10), Percent::new(50)],
        },
        read_fallback: vec![ReadFallback::Primary],
        outputs: Outputs {
            services: Some("orders".to_owned()),
            config_map: "orders-routing".to_owned(),
        },
        clients: clients(),
    }
}

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
    Refused,
}

fn health(endpoint: &Endpoint, is: Is) -> Health {
    let usual = match endpoint.declared {
        Declared::Primary => Role::Primary,
        Declared::Replica => Role::Standby,
    };
    let Some(Location {
        host: Host::Address(address),
        ..
    }) = endpoint.location
    else {
        return Health::default();
    };
    let well = Health {
        address: Some(address),
        role: Some(usual),
        system_identifier: Some(7),
        checked: true,
        admitted: true,
        ..Health::default()
    };
    let open = Circuit::Open {
        until: Moment::default(),
    };
    let failure = Some(FailureKind::ConnectRefused);
    match is {
        Is::Good => well,
        Is::Unknown => Health::default(),
        Is::Suspect => Health {
            suspicion: crate::domain::health::Suspicion::Out {
                since: Moment::default(),
                good: 0,
            },
            failure,
            ..well
        },
        Is::Open { answers } => Health {
            circuit: open,
            failure: failure.filter(|_| !answers),
            ..well
        },
        Is::HalfOpen(step) => Health {
            circuit: Circuit::HalfOpen { step, successes: 0 },
            ..well
        },
        Is::Writable => Health {
            role: Some(Role::Primary),
            ..well
        },
        Is::Standby => Health {
            role: Some(Role::Standby),
            ..well
        },
        Is::Foreign => Health {
            system_identifier: Some(8),
            ..well
        },
        Is::Refused => Health {
            failure: Some(FailureKind::AddressRefused),
            ..well
        },
    }
}

fn judge(policy: &Policy, are: &[Is]) -> Vec<Judgement> {
    let healths: Vec<_> = policy
        .endpoints
        .iter()
        .zip(are)
        .map(|(endpoint, is)| health(endpoint, *is))
        .collect();
    let identity = policy
        .endpoints
        .iter()
        .zip(&healths)
        .find_map(|(endpoint, health)| role::identity(endpoint, health));
    policy
        .endpoints
        .iter()
        .zip(&healths)
        .map(|(endpoint, health)| role::judge(endpoint, Some(health), identity, &policy.breaker))
        .collect()
}

/// The routes, in words: `rw Served primary` and `ro Served a=100 b=10(not in slice)`. Primary first in `are`.
fn routes(policy: &Policy, are: &[Is]) -> [String; 2] {
    let plan = plan(policy, &judge(policy, are));
    [words("rw", &plan.rw), words("ro", &plan.ro)]
}

fn words(name: &str, route: &Route) -> String {
    let member = |member: &Member| {
        let slice = if member.in_slice { "" } else { "(not in slice)" };
        format!(" {}={}{slice}", member.endpoint, member.weight)
    };
    let members: String = route.members.iter().map(member).collect();
    format!("{name} {:?}{members}", route.state)
}

fn reads(policy: &Policy, are: &[Is]) -> String {
    let [_, reads] = routes(policy, are);
    reads
}

fn writes(policy: &Policy, are: &[Is]) -> String {
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
fn with_nobody_well_whoever_served_is_held() {
    let policy = policy(&["a", "b"]);
    assert_eq!(
        routes(&policy, &[Is::Suspect, Is::Suspect, OPEN]),
        ["rw Held primary=100", "ro Held a=100 b=100 primary=100"]
    );
}

#[test]
fn what_is_proven_wrong_leaves_even_if_the_route_is_then_empty() {
    let mut policy = policy(&["a", "b", "c"]);
    policy.read_fallback.clear();
    let are = [Is::Good, Is::Writable, Is::Foreign, Is::Refused];
    assert_eq!(reads(&policy, &are), "ro Empty");
}

#[test]
fn an_open_fallback_that_answers_takes_over_before_anybody_is_held() {
    let policy = policy(&["a"]);
    assert_eq!(
        routes(&policy, &[ANSWERS, Is::Suspect]),
        ["rw Held primary=100", "ro Fallback primary=100"]
    );
}

#[test]
fn an_empty_fallback_means_nobody() {
    let mut policy = policy(&["a"]);
    policy.read_fallback.clear();
    assert_eq!(reads(&policy, &[Is::Good, Is::Suspect]), "ro Held a=100");
    assert_eq!(reads(&policy, &[Is::Good, Is::Unknown]), "ro Empty");
}

#[test]
fn the_admission_says_on_what_ground() {
    let policy = policy(&["a"]);
    let admission = |are: &[Is]| plan(&policy, &judge(&policy, are)).ro.members[0].admission;
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
        policy.read_fallback.clear();
        assert_eq!(reads(&policy, &[Is::Good, Is::Good, Is::Unknown]), "ro Empty");
        policy.read_fallback = vec![ReadFallback::Primary];
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
fn writes_go_to_the_declared_primary_and_a_silent_one_is_held() {
    let policy = policy(&["a"]);
    let cases = [
        (Is::Good, "rw Served primary=100"),
        (Is::HalfOpen(0), "rw Served primary=100"),
        (Is::Suspect, "rw Held primary=100"),
        (OPEN, "rw Held primary=100"),
        (ANSWERS, "rw Held primary=100"),
        (Is::Unknown, "rw Empty"),
        (Is::Standby, "rw Empty"),
        (Is::Refused, "rw Empty"),
    ];
    for (is, expected) in cases {
        assert_eq!(writes(&policy, &[is, Is::Good]), expected, "{is:?}");
    }
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
    let judgements = judge(&policy, &[Is::Good, Is::Foreign, Is::Good]);
    assert_eq!(judgements[1].reason, Reason::IdentityMismatch);
    assert!(judgements[1].proven_wrong(&policy));
    assert_eq!(words("ro", &plan(&policy, &judgements).ro), "ro Served b=100");
}

#[test]
fn without_a_primary_no_identity_is_wrong() {
    let policy = policy(&["a", "b"]);
    assert_eq!(
        reads(&policy, &[Is::Unknown, Is::Foreign, Is::Good]),
        "ro Served a=100 b=100"
    );
}

#[test]
fn a_disabled_endpoint_is_in_no_route() {
    let mut policy = policy(&["a", "b"]);
    policy.endpoints[1].active = false;
    assert_eq!(reads(&policy, &[Is::Good, Is::Good, Is::Good]), "ro Served b=100");
    assert_eq!(
        reads(&policy, &[Is::Suspect, Is::Good, Is::Suspect]),
        "ro Held b=100 primary=100"
    );
    policy.endpoints[0].active = false;
    assert_eq!(writes(&policy, &[Is::Good, Is::Good, Is::Good]), "rw Empty");
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
    let mut judgements = judge(&policy, &[Is::Good, Is::HalfOpen(0), Is::Good, Is::Suspect]);
    let straight = plan(&policy, &judgements);
    judgements.reverse();
    assert_eq!(plan(&policy, &judgements), straight);
}

#[test]
fn two_targets_of_one_endpoint_are_ordered_by_address() {
    let policy = policy(&["a"]);
    let mut judgements = judge(&policy, &[Is::Good, Is::Good]);
    let mut other = judgements[1].clone();
    other.address = Some(IpAddr::from([198, 18, 0, 1]));
    judgements.push(other);
    let addresses: Vec<_> = plan(&policy, &judgements)
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
    let judgements = judge(&wide, &[Is::Good; 3]);
    assert_eq!(words("ro", &plan(&narrow, &judgements).ro), "ro Served a=100");
}

fn clients() -> ClientSettings {
    ClientSettings {
        database: "postgres".to_owned(),
        tls: TlsMode::VerifyFull,
        connect_timeout: Duration::from_secs(10),
    }
}
