//! Classes, regions, fallbacks.

use super::broken::Broken;
use super::*;
use distributary_core::routing::{Class, Priority, Routing, Selector, Target, ZoneHints};

fn class(edit: &Value) -> Value {
    let mut class = json!({"name": "c"});
    for (key, value) in edit.as_object().into_iter().flatten() {
        class[key] = value.clone();
    }
    with(&json!({"routing": {"classes": [class]}}))
}

fn regions(regions: &Value) -> Value {
    with(&json!({"loadBalancing": {"regions": regions}}))
}

pub fn broken() -> Vec<Broken> {
    let many = |of: fn(usize) -> Value| (0..17).map(of).collect::<Vec<_>>();
    let long = "c".repeat(23);
    let classes = "spec.routing.classes";
    let at = |name: &str| -> &'static str { format!("{classes}[0].{name}").leak() };
    [
        of_fallbacks(),
        vec![
            (
                rules::FORMATS,
                with(&json!({"outputs": {"configMap": {"formats": ["Jdbc", "Jdbc"]}}})),
                "spec.outputs.configMap.formats",
            ),
            (
                rules::RETRY_ATTEMPTS,
                with(&json!({"routing": {"retryAttempts": 11}})),
                "spec.routing.retryAttempts",
            ),
            (
                rules::CLASSES,
                with(&json!({"routing": {"classes": many(|n| json!({"name": format!("c{n}")}))}})),
                classes,
            ),
            (rules::CLASS_NAME, class(&json!({"name": "rw"})), at("name")),
            (rules::CLASS_NAME, class(&json!({"name": "ro-east"})), at("name")),
            (rules::CLASS_NAME, class(&json!({"name": "routing"})), at("name")),
            (rules::CLASS_NAME, class(&json!({"name": "Reports"})), at("name")),
            (rules::CLASS_NAME, class(&json!({"name": long})), at("name")),
            (
                rules::CLASS_ONCE,
                with(&json!({"routing": {"classes": [{"name": "c"}, {"name": "c"}]}})),
                "spec.routing.classes[1].name",
            ),
            (
                rules::OPERATION_ONCE,
                with(&json!({"routing": {"classes": [
                    {"name": "a", "operations": ["audit"]},
                    {"name": "b", "operations": ["export", "audit"]},
                ]}})),
                "spec.routing.classes[1].operations",
            ),
            (
                rules::OPERATIONS,
                class(&json!({"operations": ["a b"]})),
                at("operations"),
            ),
            (
                rules::CLASS_OF_PRIMARY,
                class(&json!({"target": "Primary", "maxLag": "5m"})),
                at("target"),
            ),
            (
                rules::CLASS_OF_PRIMARY,
                class(&json!({"name": "write", "readFallback": []})),
                at("target"),
            ),
            (
                rules::REPLICAS_ONLY,
                class(&json!({"target": "ReplicasOnly", "readFallback": ["Primary"]})),
                at("readFallback"),
            ),
            (
                rules::READ_FALLBACK_ONCE,
                class(&json!({"readFallback": ["Primary", "Primary"]})),
                at("readFallback"),
            ),
            (
                rules::SELECTOR,
                class(&json!({"replicaSelector": {}})),
                at("replicaSelector.tags"),
            ),
            (
                rules::SELECTOR_TAGS,
                class(&json!({"replicaSelector": {"tags": ["a b"]}})),
                at("replicaSelector.tags"),
            ),
            (
                rules::SELECTOR_IDS,
                class(&json!({"replicaSelector": {"ids": ["nobody"]}})),
                at("replicaSelector.ids"),
            ),
            (
                rules::PROBE_QUERY,
                class(&json!({"probeQuery": "SELECT 1; SELECT 2"})),
                at("probeQuery"),
            ),
            (
                rules::CLASS_MAX_LAG,
                class(&json!({"maxLag": "169h"})),
                at("maxLag"),
            ),
        ],
        of_regions(),
    ]
    .concat()
}

fn of_fallbacks() -> Vec<Broken> {
    let least = |least: Value| {
        (
            rules::MIN_HEALTHY,
            with(&json!({"failover": {"minHealthyReplicas": least}})),
            "spec.failover.minHealthyReplicas",
        )
    };
    vec![
        least(json!(0)),
        least(json!(65)),
        least(json!(-1)),
        least(json!("0%")),
        least(json!("101%")),
        least(json!("050%")),
        least(json!("50")),
        least(json!("half")),
    ]
}

fn of_regions() -> Vec<Broken> {
    let many: Vec<_> = (0..17).map(|n| json!({"name": format!("r{n}")})).collect();
    let here = |region: &str| {
        let replica = json!([{"id": "a", "host": "198.18.0.2", "region": region}]);
        spec(&replica, &json!({"loadBalancing": {"strategy": "Geographic"}}))
    };
    let first = "spec.loadBalancing.regions[0]";
    let at = |name: &str| -> &'static str { format!("{first}.{name}").leak() };
    vec![
        (
            rules::REGIONS,
            regions(&json!(many)),
            "spec.loadBalancing.regions",
        ),
        (
            rules::REGIONS,
            regions(&json!([{"name": "east"}, {"name": "east"}])),
            "spec.loadBalancing.regions",
        ),
        (
            rules::REGION_NAME,
            regions(&json!([{"name": "r".repeat(20)}])),
            at("name"),
        ),
        (
            rules::REGION_NAME,
            regions(&json!([{"name": "us_east"}])),
            at("name"),
        ),
        (
            rules::REGION_FAILOVER,
            regions(&json!([{"name": "east", "failover": ["east"]}])),
            at("failover"),
        ),
        (
            rules::REGION_FAILOVER,
            regions(&json!([{"name": "east", "failover": ["west", "west"]}])),
            at("failover"),
        ),
        (rules::GEOGRAPHIC, here("US_East"), "spec.loadBalancing.strategy"),
        (
            rules::GEOGRAPHIC,
            here("a-region-of-20-chars"),
            "spec.loadBalancing.strategy",
        ),
    ]
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
    assert_eq!((write.target, write.declared), (Target::Primary, true));
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
        target: Target::ReplicasOnly,
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
    assert_eq!(usual.class(&"c".into()).unwrap().target, Target::Replicas);
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
        (routing.default_target, routing.retry_attempts),
        (Target::Primary, 0)
    );
    let priorities: Vec<_> = routing.priorities.into_iter().collect();
    assert_eq!(
        priorities,
        [
            (Priority::Critical, Target::Primary),
            (Priority::Low, Target::Replicas)
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
