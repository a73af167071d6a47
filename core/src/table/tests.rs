use super::*;
use crate::fixture;
use crate::ids::TargetId;
use crate::outputs::Outputs;
use crate::plan::{self, Admission, Member, RouteState, RoutingPlan};
use crate::policy::PolicyParts;

mod combinations;
mod earlier;
mod meant;
mod mutated;
mod rules;
mod text;

fn member(endpoint: &str, last: u8) -> Member {
    Member {
        target: TargetId::host(endpoint.into()),
        address: fixture::address(last),
        port: 5432,
        weight: 100,
        in_slice: true,
        in_uris: true,
        carried: true,
        order: 0,
        admission: Admission::Eligible,
    }
}

fn of(members: Vec<Member>) -> plan::Route {
    plan::Route {
        state: RouteState::Served,
        members,
    }
}

/// The primary takes the writes; `a` and `b` serve the reads, those of every class that may read from replicas and those of
/// every region too.
fn plan_of(policy: &PolicyParts) -> RoutingPlan {
    let reads = || of(vec![member("a", 2), member("b", 3)]);
    let classes = policy.routing.classes.iter();
    RoutingPlan {
        rw: of(vec![member("primary", 1)]),
        ro: reads(),
        classes: classes.map(|class| (class.name.clone(), reads())).collect(),
        regions: policy
            .routing
            .regions
            .iter()
            .map(|region| (region.name.clone(), reads()))
            .collect(),
    }
}

fn made(change: impl FnOnce(&mut fixture::Case)) -> RoutingTable {
    let mut policy = fixture::policy(&["a", "b"]);
    change(&mut policy);
    table_of(&policy, &fixture::outputs())
}

#[test]
fn a_built_in_class_that_an_endpoint_is_dedicated_to_has_a_service() {
    let dedicated = |to: &'static str| made(move |policy| policy.endpoints[2].dedicated_to = vec![to.into()]);
    let services = |table: &RoutingTable| -> Vec<_> {
        let routes = table.routes.values();
        routes
            .filter_map(|route| Some(route.service.as_ref()?.name.clone()))
            .collect()
    };
    let table = dedicated("analytics");
    assert_eq!(services(&table), ["orders-analytics", "orders-ro", "orders-rw"]);
    assert_eq!(table.endpoints[2].dedicated_to, ["analytics"]);
    assert!(table.endpoints[1].dedicated_to.is_empty());
    let class = table.classes.iter().find(|class| class.name == "analytics");
    assert!(class.is_some_and(|class| class.built_in));
    assert_eq!(services(&made(|_| {})), ["orders-ro", "orders-rw"]);
    let off = Outputs {
        per_class: false,
        ..fixture::outputs()
    };
    let mut policy = fixture::policy(&["a", "b"]);
    policy.endpoints[2].dedicated_to = vec!["analytics".into()];
    assert_eq!(services(&table_of(&policy, &off)), ["orders-ro", "orders-rw"]);
    let names = |outputs: &Outputs| named::services(&policy.policy(), outputs);
    assert_eq!(
        names(&fixture::outputs()),
        ["orders-rw", "orders-ro", "orders-analytics"]
    );
    assert_eq!(names(&off), ["orders-rw", "orders-ro"]);
}

#[test]
fn a_table_says_nothing_of_dedication_where_there_is_none() {
    let text = serde_json::to_string(&made(|_| {})).unwrap();
    assert!(!text.contains("dedicatedTo"), "{text}");
    let read: RoutingTable = serde_json::from_str(&text).unwrap();
    assert!(
        read.endpoints
            .iter()
            .all(|endpoint| endpoint.dedicated_to.is_empty())
    );
}

fn table_of(policy: &fixture::Case, outputs: &Outputs) -> RoutingTable {
    RoutingTable::new(&Subject {
        policy: &policy.policy(),
        resolved: &policy.resolved(),
        outputs,
        plan: &plan_of(policy),
    })
}
