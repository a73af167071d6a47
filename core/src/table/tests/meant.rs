//! How many endpoints are meant to serve a route: where none is, nobody has to be told that none does.

use super::*;
use crate::ids::EndpointId;
use crate::policy::EndpointState;
use crate::routing::{Class, Destination, Region, Selector};

/// The routes of a policy of the replicas `a` and `b` whose writes `holder` has, each with the number of its endpoints.
fn meant(holder: Option<&str>, change: impl FnOnce(&mut fixture::Case)) -> String {
    let mut policy = fixture::policy(&["a", "b"]);
    change(&mut policy);
    let (plan, holder) = (plan_of(&policy), holder.map(EndpointId::from));
    let routes = named::meant(&policy.policy(), &plan, holder.as_ref()).into_iter();
    let words: Vec<_> = routes.map(|(name, _, count)| format!("{name} {count}")).collect();
    words.join(", ")
}

#[test]
fn an_endpoint_that_is_not_active_or_has_no_weight_is_meant_for_no_reads() {
    assert_eq!(meant(None, |_| {}), "rw 1, ro 2");
    for state in [EndpointState::Disabled, EndpointState::Draining] {
        assert_eq!(
            meant(None, |policy| policy.endpoints[1].state = state),
            "rw 1, ro 1"
        );
    }
    let none = |policy: &mut fixture::Case| {
        policy.endpoints[1].weight = 0;
        policy.endpoints[2].state = EndpointState::Disabled;
    };
    assert_eq!(meant(None, none), "rw 1, ro 0");
}

#[test]
fn writes_are_of_their_holder_and_reads_of_the_others() {
    let disabled = |policy: &mut fixture::Case| policy.endpoints[0].state = EndpointState::Disabled;
    assert_eq!(meant(None, disabled), "rw 0, ro 2");
    assert_eq!(meant(Some("primary"), disabled), "rw 0, ro 2");
    assert_eq!(meant(Some("a"), disabled), "rw 1, ro 1");
    assert_eq!(meant(Some("a"), |_| {}), "rw 1, ro 2");
    assert_eq!(meant(Some("gone"), |_| {}), "rw 1, ro 2");
}

#[test]
fn reads_of_a_class_are_of_those_that_it_selects() {
    let dedicated = |policy: &mut fixture::Case| policy.endpoints[2].dedicated_to = vec!["analytics".into()];
    assert_eq!(meant(None, dedicated), "rw 1, ro 1, analytics 1");
    let off = |policy: &mut fixture::Case| {
        dedicated(policy);
        policy.endpoints[2].state = EndpointState::Disabled;
    };
    assert_eq!(meant(None, off), "rw 1, ro 1, analytics 0");
    let selected = |policy: &mut fixture::Case| {
        policy.routing.classes.push(Class {
            selector: Selector {
                ids: vec!["b".into()],
                ..Selector::default()
            },
            ..fixture::class("reports")
        });
    };
    assert_eq!(meant(None, selected), "rw 1, ro 2, reports 1");
}

#[test]
fn the_holder_of_the_writes_counts_where_reads_lead_to_it() {
    let preferred = |policy: &mut fixture::Case| {
        policy.routing.classes.push(Class {
            destination: Destination::PrimaryPreferred,
            ..fixture::class("careful")
        });
    };
    assert_eq!(meant(None, preferred), "rw 1, ro 2, careful 3");
    assert_eq!(
        meant(None, |policy| policy.routing.replicas = false),
        "rw 1, ro 1"
    );
    let regions = |policy: &mut fixture::Case| {
        policy.routing.regions = vec![Region {
            name: "east".to_owned(),
            failover: Vec::new(),
        }];
    };
    assert_eq!(meant(None, regions), "rw 1, ro 2, ro-east 2");
}
