//! Servers whose address the Service of a route cannot carry.

use super::*;
use crate::cluster::Families;
use crate::fixture;
use crate::routing::{Class, DefaultDestination, Destination, Least, Region};

const G: Is = Is::Good;
const DEDICATED: ReadFallback = ReadFallback::DedicatedReplicas;

/// The replicas have IPv6 addresses where their ids begin with `v6`, all other servers IPv4 ones; `ro` carries one family.
fn carrying(replicas: &[&str], route: &str, families: Families) -> Case {
    let mut policy = policy(replicas);
    policy.cluster.families.insert(route.to_owned(), families);
    policy
}

fn plan_of(policy: &Case, are: &[Is]) -> RoutingPlan {
    reads_knowing(policy, are, |_, judgement| {
        if judgement.target.endpoint.as_str().starts_with("v6") {
            judgement.address = judgement.address.map(|_| "2001:db8::6".parse().unwrap());
        }
    })
}

fn ro(policy: &Case, are: &[Is]) -> String {
    words("ro", &plan_of(policy, are).ro)
}

#[test]
fn a_service_of_one_family_leads_to_servers_of_this_family_alone() {
    for (families, expected) in [
        (Families::V4, "ro Served a=100 v6=100(not in slice)"),
        (Families::V6, "ro Served a=100(not in slice) v6=100"),
        (Families::Both, "ro Served a=100 v6=100"),
    ] {
        let policy = carrying(&["a", "v6"], "ro", families);
        assert_eq!(ro(&policy, &[G, G, G]), expected, "{families:?}");
    }
    let policy = carrying(&["a", "v6"], "ro", Families::V4);
    let in_uris = |are: &[Is]| -> Vec<bool> {
        let members = plan_of(&policy, are).ro.members.into_iter();
        members.map(|member| member.in_uris).collect()
    };
    assert_eq!(in_uris(&[G, G, G]), [true, true], "they need no Service");
    assert_eq!(in_uris(&[G, G, Is::HalfOpen(0)]), [true, false], "it returns");
    assert_eq!(
        in_uris(&[G, OPEN, G]),
        [false, true],
        "the primary stands in by the Service alone"
    );
    let elsewhere = carrying(&["a", "v6"], "rw", Families::V4);
    assert_eq!(ro(&elsewhere, &[G, G, G]), "ro Served a=100 v6=100", "no Service");
}

#[test]
fn a_server_that_is_not_carried_does_not_count_as_one_that_serves() {
    let mut policy = carrying(&["v6"], "ro", Families::V4);
    let fallback = "ro Fallback primary=100 v6=100(not in slice)";
    assert_eq!(ro(&policy, &[G, G]), fallback, "the primary stands in");
    assert_eq!(ro(&policy, &[G, ANSWERS]), "ro Fallback primary=100");
    policy.failover.read_fallback.clear();
    assert_eq!(
        ro(&policy, &[G, G]),
        "ro Served v6=100(not in slice)",
        "for clients that need no Service"
    );
    assert_eq!(ro(&policy, &[G, OPEN]), "ro Held v6=100(not in slice)");

    let mut policy = carrying(&["a", "v6"], "ro", Families::V4);
    policy.failover.min_healthy = Least::Count(2);
    assert_eq!(
        ro(&policy, &[G, G, G]),
        "ro Served a=100 primary=100 v6=100(not in slice)"
    );
    policy.failover.min_healthy = Least::Count(1);
    assert_eq!(
        ro(&policy, &[G, ANSWERS, G]),
        "ro Served a=100 v6=100(not in slice)",
        "admitted early, as nobody else serves"
    );
    policy.failover.read_fallback.clear();
    assert_eq!(
        ro(&policy, &[G, OPEN, G]),
        "ro Held a=100 v6=100(not in slice)",
        "nobody who is carried is well"
    );
}

#[test]
fn a_fallback_that_is_not_carried_is_passed_over() {
    let mut policy = carrying(&["a", "v6"], "ro", Families::V4);
    policy.endpoints[2].dedicated_to = vec!["analytics".into()];
    policy.failover.read_fallback = vec![DEDICATED, ReadFallback::Primary];
    assert_eq!(ro(&policy, &[G, OPEN, G]), "ro Fallback primary=100");
    let mut policy = carrying(&["v6"], "ro", Families::V6);
    assert_eq!(
        ro(&policy, &[G, OPEN]),
        "ro Held primary=100(not in slice) v6=100",
        "the primary is not carried"
    );
    policy.failover.read_fallback = vec![ReadFallback::LaggingReplicas, ReadFallback::Primary];
    policy.cluster.families.insert("ro".to_owned(), Families::V4);
    let behind = reads_knowing(&policy, &[G, Is::Behind], |at, judgement| {
        let step = crate::level::LagStep::of(std::time::Duration::from_mins(1), None);
        judgement.behind = (at == 1).then_some(step);
        if at == 1 {
            judgement.address = judgement.address.map(|_| "2001:db8::6".parse().unwrap());
        }
    });
    assert_eq!(words("ro", &behind.ro), "ro Fallback primary=100");
}

#[test]
fn a_write_primary_that_is_not_carried_is_in_no_slice() {
    let mut policy = carrying(&["a"], "rw", Families::V6);
    let rw = |policy: &Case, is| words("rw", &plan_of(policy, &[is, G]).rw);
    assert_eq!(rw(&policy, G), "rw Served primary=100(not in slice)");
    assert_eq!(rw(&policy, OPEN), "rw Held primary=100(not in slice)");
    let plan = plan_of(&policy, &[G, G]);
    assert!(!plan.rw.members[0].carried);
    policy.cluster.families.insert("rw".to_owned(), Families::Both);
    assert_eq!(rw(&policy, G), "rw Served primary=100");
}

#[test]
fn a_route_that_leads_to_the_primary_goes_by_its_own_service() {
    let mut policy = carrying(&["a", "v6"], "rw", Families::V4);
    for (name, destination) in [
        ("first", Destination::PrimaryPreferred),
        ("second", Destination::PrimaryPreferred),
    ] {
        policy.routing.classes.push(Class {
            destination,
            ..fixture::class(name)
        });
    }
    policy.cluster.families.insert("second".to_owned(), Families::V6);
    policy.routing.default_destination = DefaultDestination::Primary;
    policy.cluster.families.insert("ro".to_owned(), Families::V6);
    let plan = plan_of(&policy, &[G, G, G]);
    let class = |name: &str| words(name, &plan.classes[&name.into()]);
    assert_eq!(class("first"), "first Served primary=100");
    assert_eq!(
        class("second"),
        "second Served a=100(not in slice) v6=100",
        "the primary does not serve through it"
    );
    assert_eq!(words("ro", &plan.ro), "ro Served primary=100(not in slice)");
    assert_eq!(words("rw", &plan.rw), "rw Served primary=100");
}

#[test]
fn each_class_and_each_region_has_a_service_of_its_own() {
    let mut policy = carrying(&["a", "v6"], "c", Families::V4);
    policy.routing.classes.push(fixture::class("c"));
    policy.routing.regions = vec![Region {
        name: "east".to_owned(),
        failover: Vec::new(),
    }];
    policy.cluster.families.insert("ro-east".to_owned(), Families::V6);
    let plan = plan_of(&policy, &[G, G, G]);
    assert_eq!(
        words("c", &plan.classes[&"c".into()]),
        "c Served a=100 v6=100(not in slice)"
    );
    assert_eq!(
        words("east", &plan.regions["east"]),
        "east Served a=100(not in slice) v6=100"
    );
    assert_eq!(words("ro", &plan.ro), "ro Served a=100 v6=100");
}

#[test]
fn a_near_server_that_is_not_carried_keeps_no_farther_one_out() {
    let mut policy = carrying(&["a", "v6"], "ro-east", Families::V4);
    policy.routing.regions = vec![Region {
        name: "east".to_owned(),
        failover: Vec::new(),
    }];
    policy.endpoints[1].region = Some("west".to_owned());
    policy.endpoints[2].region = Some("east".to_owned());
    let plan = plan_of(&policy, &[G, G, G]);
    assert_eq!(
        words("east", &plan.regions["east"]),
        "east Served v6=100(not in slice) a=100"
    );
    policy.failover.read_fallback.clear();
    policy.endpoints[1].state = EndpointState::Draining;
    policy.endpoints.push(fixture::endpoint("v6-far", 9));
    policy.endpoints[3].region = Some("west".to_owned());
    let plan = plan_of(&policy, &[G, G, G, G]);
    let east = &plan.regions["east"];
    assert_eq!(
        words("east", east),
        "east Served v6=100(not in slice) v6-far=100(not in slice)"
    );
    let in_uris: Vec<_> = east.members.iter().map(|member| member.in_uris).collect();
    assert_eq!(in_uris, [true, false], "the nearest");
}

#[test]
fn the_replicas_that_a_class_selects_must_be_carried_to_be_enough() {
    let mut policy = carrying(&["a", "v6"], "analytics", Families::V4);
    policy.endpoints[2].dedicated_to = vec!["analytics".into()];
    let plan = plan_of(&policy, &[G, G, G]);
    assert_eq!(
        words("analytics", &plan.classes[&"analytics".into()]),
        "analytics Fallback a=100 v6=100(not in slice)"
    );
}
