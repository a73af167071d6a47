//! Replicas that are dedicated to classes.

use super::*;
use crate::fixture;
use crate::percent::Percent;
use crate::routing::{Class, Destination, Least, Region, Routing, Selector};

const G: Is = Is::Good;
const DEDICATED: ReadFallback = ReadFallback::DedicatedReplicas;

/// The last replica is dedicated to `analytics`, which is built in.
fn dedicated(replicas: &[&str]) -> Case {
    let mut policy = policy(replicas);
    dedicate(&mut policy, replicas.len());
    policy
}

fn dedicate(policy: &mut Case, at: usize) {
    policy.endpoints[at].dedicated_to = vec!["analytics".into()];
}

fn analytics(policy: &Case, are: &[Is]) -> String {
    class_route(policy, are, "analytics")
}

fn class_route(policy: &Case, are: &[Is], name: &str) -> String {
    words(name, &planned(policy, are).classes[&name.into()])
}

#[test]
fn a_dedicated_replica_is_in_the_route_of_its_class_alone() {
    let mut policy = dedicated(&["a", "d"]);
    policy.routing.classes.push(fixture::class("other"));
    policy.routing.regions = vec![Region {
        name: "east".to_owned(),
        failover: Vec::new(),
    }];
    let are = [G; 3];
    assert_eq!(reads(&policy, &are), "ro Served a=100");
    assert_eq!(analytics(&policy, &are), "analytics Served d=100");
    assert_eq!(class_route(&policy, &are, "other"), "other Served a=100");
    let plan = planned(&policy, &are);
    assert_eq!(words("east", &plan.regions["east"]), "east Served a=100");
    let without_primary = [OPEN, G, G];
    assert_eq!(
        class_route(&policy, &without_primary, "primary-preferred"),
        "primary-preferred Served a=100"
    );
}

#[test]
fn a_class_is_served_by_any_general_replica_while_none_of_its_own_is_eligible() {
    let policy = dedicated(&["a", "d"]);
    assert_eq!(analytics(&policy, &[G, G, OPEN]), "analytics Fallback a=100");
    assert_eq!(
        analytics(&policy, &[G, G, Is::HalfOpen(0)]),
        "analytics Fallback a=100 d=10(not in slice)"
    );
    assert_eq!(
        analytics(&policy, &[G, OPEN, ANSWERS]),
        "analytics Fallback d=100",
        "admitted early in its own class"
    );
    assert_eq!(
        analytics(&policy, &[G, OPEN, OPEN]),
        "analytics Fallback primary=100"
    );
}

#[test]
fn a_selector_of_the_class_chooses_among_its_own_and_the_general_replicas() {
    let mut policy = dedicated(&["a", "b", "d"]);
    policy.endpoints[1].tags = vec!["x".to_owned()];
    policy.routing.classes[0].selector = Selector {
        tags: vec!["x".to_owned()],
        ids: Vec::new(),
    };
    assert_eq!(analytics(&policy, &[G; 4]), "analytics Served a=100");
    policy.routing.classes[0].selector.ids = vec!["d".into()];
    assert_eq!(analytics(&policy, &[G; 4]), "analytics Served a=100 d=100");
    let other = Class {
        selector: policy.routing.classes[0].selector.clone(),
        ..fixture::class("other")
    };
    policy.routing.classes.push(other);
    assert_eq!(
        class_route(&policy, &[G; 4], "other"),
        "other Served a=100",
        "nobody selects what is dedicated to others"
    );
}

#[test]
fn a_replica_that_lags_or_is_dedicated_stands_in_for_nobody_unless_the_fallback_says_so() {
    let mut policy = dedicated(&["a", "d"]);
    policy.failover.read_fallback.clear();
    assert_eq!(reads(&policy, &[G, Is::Unknown, G]), "ro Empty");
    assert_eq!(
        reads(&policy, &[G, OPEN, G]),
        "ro Held a=100",
        "who is held is no dedicated one"
    );
    policy.failover.read_fallback = vec![ReadFallback::LaggingReplicas];
    assert_eq!(reads(&policy, &[G, OPEN, Is::Behind]), "ro Held a=100");
    policy.failover.read_fallback = vec![DEDICATED];
    assert_eq!(reads(&policy, &[G, OPEN, G]), "ro Fallback d=100");
    assert_eq!(reads(&policy, &[G, OPEN, Is::HalfOpen(0)]), "ro Fallback d=10");
    for is in [OPEN, ANSWERS, Is::Suspect, Is::Behind] {
        assert_eq!(
            reads(&policy, &[G, OPEN, is]),
            "ro Held a=100",
            "{is:?}: not eligible"
        );
    }
    assert_eq!(reads(&policy, &[G, G, G]), "ro Served a=100", "not needed");
}

#[test]
fn members_of_the_fallback_are_added_in_order_until_enough_serve() {
    let mut policy = dedicated(&["a", "d"]);
    policy.failover.read_fallback = vec![DEDICATED, ReadFallback::Primary];
    assert_eq!(reads(&policy, &[G, OPEN, G]), "ro Fallback d=100");
    assert_eq!(reads(&policy, &[G, OPEN, OPEN]), "ro Fallback primary=100");
    policy.failover.read_fallback.reverse();
    assert_eq!(reads(&policy, &[G, OPEN, G]), "ro Fallback primary=100");
    assert_eq!(reads(&policy, &[OPEN, OPEN, G]), "ro Fallback d=100");
    policy.failover.min_healthy = Least::Count(3);
    assert_eq!(
        reads(&policy, &[G, G, G]),
        "ro Served a=100 d=100 primary=100",
        "added, not swapped in"
    );
}

#[test]
fn of_the_dedicated_replicas_those_of_the_lowest_priority_stand_in() {
    let mut policy = dedicated(&["a", "d", "e", "f"]);
    for at in [2, 3, 4] {
        dedicate(&mut policy, at);
    }
    policy.failover.read_fallback = vec![DEDICATED];
    policy.endpoints[4].priority = 2;
    let are = [G, OPEN, G, G, G];
    assert_eq!(reads(&policy, &are), "ro Fallback d=100 e=100");
    policy.endpoints[2].priority = 2;
    assert_eq!(reads(&policy, &are), "ro Fallback e=100");
    policy.failover.min_healthy = Least::Count(2);
    assert_eq!(reads(&policy, &are), "ro Fallback e=100 d=100 f=100");
}

#[test]
fn a_class_may_fall_back_to_what_is_dedicated_to_another_one() {
    let mut policy = dedicated(&["d"]);
    policy.routing.classes.push(Class {
        read_fallback: Some(vec![DEDICATED]),
        destination: Destination::ReplicasOnly,
        ..fixture::class("other")
    });
    assert_eq!(class_route(&policy, &[G, G], "other"), "other Fallback d=100");
    assert_eq!(reads(&policy, &[G, G]), "ro Fallback primary=100");
}

#[test]
fn a_dedicated_replica_counts_for_its_class_alone() {
    let mut policy = dedicated(&["a", "b", "d"]);
    policy.failover.min_healthy = Least::Percent(Percent::new(100));
    assert_eq!(reads(&policy, &[G; 4]), "ro Served a=100 b=100");
    assert_eq!(analytics(&policy, &[G; 4]), "analytics Served d=100");
    policy.failover.min_healthy = Least::Percent(Percent::new(50));
    assert_eq!(
        reads(&policy, &[G, G, OPEN, G]),
        "ro Served a=100",
        "one of two, and not of three"
    );
    policy.failover.min_healthy = Least::Count(3);
    assert_eq!(
        reads(&policy, &[G; 4]),
        "ro Served a=100 b=100 primary=100",
        "the dedicated one is no third"
    );
    assert_eq!(
        analytics(&policy, &[G, G, G, OPEN]),
        "analytics Fallback a=100 b=100 primary=100",
        "of its class it would be the third"
    );
}

#[test]
fn a_former_primary_that_is_dedicated_serves_its_classes_as_a_standby() {
    let mut policy = policy(&["a"]);
    dedicate(&mut policy, 0);
    let are = [Is::Standby, G];
    assert_eq!(reads(&policy, &are), "ro Served a=100");
    assert_eq!(analytics(&policy, &are), "analytics Served primary=100");
    assert_eq!(
        routes(&policy, &[G, OPEN]),
        ["rw Served primary=100", "ro Fallback primary=100"],
        "as the write primary it takes the writes, and stands in for replicas"
    );
    assert_eq!(
        class_route(&policy, &[G, G], "primary-preferred"),
        "primary-preferred Served primary=100"
    );
}

#[test]
fn a_dedicated_replica_may_take_the_writes_over() {
    let mut policy = dedicated(&["a", "d"]);
    policy.failover.read_fallback = vec![ReadFallback::Primary];
    let before = Holding {
        holder: Some(TargetId::host("d".into())),
        ..holding()
    };
    let (judgements, choice) = judge_after(&before, &policy, &[Is::Standby, OPEN, Is::Writable]);
    let plan = plan(&policy.policy(), &policy.cluster, &judgements, &choice);
    assert_eq!(words("rw", &plan.rw), "rw Served d=100");
    assert_eq!(
        words("ro", &plan.ro),
        "ro Served primary=100",
        "the old primary is a general standby"
    );
}

#[test]
fn without_replicas_for_reads_dedication_changes_nothing() {
    let mut policy = dedicated(&["d"]);
    policy.routing = Routing {
        replicas: false,
        ..Routing::default()
    };
    assert_eq!(analytics(&policy, &[G, G]), "analytics Served primary=100");
}

#[test]
fn in_a_region_dedicated_replicas_come_after_all_others_in_the_order_of_the_fallback() {
    let mut policy = dedicated(&["a", "b", "d"]);
    policy.strategy = Strategy::Geographic;
    policy.routing.regions = ["east", "west"]
        .map(|name| Region {
            name: name.to_owned(),
            failover: Vec::new(),
        })
        .into();
    for (at, region) in [(1, "west"), (2, "east"), (3, "east")] {
        policy.endpoints[at].region = Some(region.to_owned());
    }
    let orders = |policy: &Case, are: &[Is]| -> Vec<String> {
        let plan = planned(policy, are);
        let members = plan.regions["east"].members.iter();
        members
            .map(|member| format!("{} {}", member.target, member.order))
            .collect()
    };
    policy.failover.min_healthy = Least::Count(4);
    policy.failover.read_fallback = vec![DEDICATED, ReadFallback::LaggingReplicas, ReadFallback::Primary];
    let behind = |policy: &Case| {
        let plan = reads_knowing(policy, &[G, G, Is::Behind, G], |at, judgement| {
            let step = crate::level::LagStep::of(std::time::Duration::from_mins(1), None);
            judgement.behind = (at == 2).then_some(step);
        });
        let members = plan.regions["east"].members.iter();
        members
            .map(|member| format!("{} {}", member.target, member.order))
            .collect::<Vec<_>>()
    };
    assert_eq!(behind(&policy), ["a 1", "d 3", "b 6", "primary 9"]);
    policy.failover.read_fallback = vec![ReadFallback::LaggingReplicas, DEDICATED, ReadFallback::Primary];
    assert_eq!(behind(&policy), ["a 1", "b 3", "d 6", "primary 9"]);
    policy.failover.read_fallback = vec![DEDICATED, ReadFallback::Primary];
    assert_eq!(orders(&policy, &[G, G, G, G]), ["b 0", "a 1", "d 3", "primary 6"]);
}
