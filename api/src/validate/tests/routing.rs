//! Classes, regions, fallbacks.

use super::*;
use distributary_core::routing::{
    Class, DefaultDestination, Destination, Priority, PriorityDestination, Routing, Selector, ZoneHints,
};

fn class(edit: &Value) -> Value {
    let mut class = json!({"name": "c"});
    for (key, value) in edit.as_object().into_iter().flatten() {
        class[key] = value.clone();
    }
    with(&json!({"routing": {"classes": [class]}}))
}

fn routing(more: &Value) -> Routing {
    valid(with(more)).routing.clone()
}

fn operations<'a>(routing: &'a Routing, name: &str) -> &'a [String] {
    &routing.class(&name.into()).unwrap().operations
}

#[test]
fn what_says_nothing_is_as_built_in() {
    assert_eq!(routing(&json!({})), Routing::default());
    assert_eq!(routing(&json!({"routing": {}})), Routing::default());
}

#[test]
fn a_declared_class_takes_its_operations_from_the_built_in_ones() {
    let routing =
        routing(&json!({"routing": {"classes": [{"name": "exports", "operations": ["export", "audit"]}]}}));
    let names: Vec<_> = routing
        .classes
        .iter()
        .map(|class| (class.name.as_str(), class.declared))
        .collect();
    assert_eq!(
        names,
        [
            ("analytics", false),
            ("exports", true),
            ("primary-preferred", false),
            ("write", false)
        ]
    );
    assert_eq!(operations(&routing, "exports"), ["export", "audit"]);
    assert_eq!(
        operations(&routing, "analytics"),
        ["analytics", "reports", "dashboard", "search"]
    );
}

#[test]
fn a_class_of_a_built_in_name_takes_its_place() {
    let routing = routing(&json!({"routing": {"classes": [
        {"name": "analytics", "maxLag": "5m"},
        {"name": "write", "operations": ["insert"]},
        {"name": "other", "operations": ["search"]},
    ]}}));
    assert_eq!(
        operations(&routing, "analytics"),
        ["analytics", "reports", "dashboard", "export"],
        "its usual ones, less what others name"
    );
    assert_eq!(operations(&routing, "write"), ["insert"]);
    let write = routing.class(&"write".into()).unwrap();
    assert_eq!((write.destination, write.declared), (Destination::Primary, true));
    assert_eq!(
        routing.class(&"analytics".into()).unwrap().max_lag,
        Some(Duration::from_mins(5))
    );
    assert_eq!(routing.classes.len(), 4);
}

#[test]
fn everything_of_a_class_is_taken() {
    let routing = valid(class(&json!({
        "operations": ["audit"],
        "target": "ReplicasOnly",
        "replicaSelector": {"tags": ["analytics"], "ids": ["primary"]},
        "maxLag": "0s",
        "probeQuery": "SELECT 1",
        "readFallback": ["LaggingReplicas"],
    })))
    .routing
    .clone();
    let expected = Class {
        name: "c".into(),
        declared: true,
        operations: vec!["audit".to_owned()],
        destination: Destination::ReplicasOnly,
        selector: Selector {
            tags: vec!["analytics".to_owned()],
            ids: vec!["primary".into()],
        },
        max_lag: Some(Duration::ZERO),
        read_fallback: Some(vec![ReadFallback::LaggingReplicas]),
        probe_query: Some("SELECT 1".into()),
    };
    assert_eq!(routing.class(&"c".into()), Some(&expected));
    let usual = valid(class(&json!({}))).routing.clone();
    assert_eq!(
        usual.class(&"c".into()).unwrap().destination,
        Destination::Replicas
    );
}

#[test]
fn switches_and_priorities_are_taken() {
    let routing = routing(&json!({"routing": {
        "replicas": "Disabled",
        "defaultTarget": "Primary",
        "retryAttempts": 0,
        "priorities": {"critical": "Primary", "low": "Replicas"},
    }}));
    assert!(!routing.replicas);
    assert_eq!(
        (routing.default_destination, routing.retry_attempts),
        (DefaultDestination::Primary, 0)
    );
    let priorities: Vec<_> = routing.priorities.into_iter().collect();
    assert_eq!(
        priorities,
        [
            (Priority::Critical, PriorityDestination::Primary),
            (Priority::Low, PriorityDestination::Replicas)
        ]
    );
}

#[test]
fn a_number_and_a_percentage_of_healthy_replicas_are_kept_apart() {
    let least = |least: Value| {
        valid(with(&json!({"failover": {"minHealthyReplicas": least}})))
            .failover
            .min_healthy
    };
    assert_eq!(least(json!(1)), Least::Count(1));
    assert_eq!(least(json!(64)), Least::Count(64));
    assert_eq!(least(json!("1%")), Least::Percent(Percent::new(1)));
    assert_eq!(least(json!("100%")), Least::Percent(Percent::FULL));
}

#[test]
fn regions_of_endpoints_count_under_geographic_alone() {
    let replicas = json!([
        {"id": "a", "host": "198.18.0.2", "region": "west"},
        {"id": "b", "host": "198.18.0.3", "region": "east"},
        {"id": "c", "host": "198.18.0.4", "region": "north"},
    ]);
    let names = |strategy: &str| {
        let balancing = json!({"strategy": strategy, "regions": [{"name": "east", "failover": ["west"]}]});
        let routing = valid(spec(&replicas, &json!({"loadBalancing": balancing})))
            .routing
            .clone();
        assert_eq!(routing.regions[0].failover, ["west"]);
        let names = routing.regions.iter().map(|region| region.name.clone());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("RoundRobin"), "east");
    assert_eq!(names("Geographic"), "east north west");
}

#[test]
fn hints_and_services_are_as_declared() {
    assert_eq!(routing(&json!({})).zone_hints, ZoneHints::Disabled);
    let hints = routing(&json!({"loadBalancing": {"zoneHints": "Auto"}})).zone_hints;
    assert_eq!(hints, ZoneHints::Auto);
    let outputs = |services: Value| outputs_of(with(&json!({"outputs": {"services": services}})));
    let usual = outputs(json!({}));
    assert!(usual.per_class && usual.per_region);
    let off = outputs(json!({"perClass": "Disabled", "perRegion": "Disabled"}));
    assert!(!off.per_class && !off.per_region);
}

#[test]
fn bounds_of_an_endpoint_alone_make_a_delayed_standby() {
    let own = |own: Value| {
        let replica = json!({"id": "a", "host": "198.18.0.2", "replicationLag": own});
        valid(spec(&json!([replica]), &json!({}))).endpoints[1].lag.own
    };
    assert!(own(json!({"max": "1h"})) && own(json!({"maxBytes": "1Gi"})));
    assert!(!own(json!({"source": "None"})) && !own(json!({"recover": "1s"})));
}
