//! Classes, regions and fallbacks.

use super::{Refused, Value, json, rule, rules, says};

#[allow(clippy::too_many_lines, reason = "a table")]
pub fn refused() -> Vec<Refused> {
    let class = |fields: Value| {
        let mut class = json!({"name": "c"});
        for (key, value) in fields.as_object().into_iter().flatten() {
            class[key] = value.clone();
        }
        json!({"classes": [class]})
    };
    let name = |name: &str| Refused {
        set: "spec.routing",
        to: json!({"classes": [{"name": name}]}),
        says: vec![format!(
            "spec.routing.classes[0].name: Invalid value: \"{name}\": {}",
            rules::CLASS_NAME
        )],
    };
    let regions = |regions: Value| json!({"regions": regions});
    vec![
        name("rw"),
        name("ro"),
        name("routing"),
        name("ro-east"),
        name("Reports"),
        rule(
            "spec.routing",
            class(json!({"operations": ["a b"]})),
            "spec.routing.classes[0].operations",
            rules::OPERATIONS,
        ),
        rule(
            "spec.routing",
            class(json!({"target": "Primary", "probeQuery": "SELECT 1"})),
            "spec.routing.classes[0].target",
            rules::CLASS_OF_PRIMARY,
        ),
        rule(
            "spec.routing",
            class(json!({"target": "ReplicasOnly", "readFallback": ["Primary"]})),
            "spec.routing.classes[0].readFallback",
            rules::REPLICAS_ONLY,
        ),
        rule(
            "spec.routing",
            class(json!({"replicaSelector": {}})),
            "spec.routing.classes[0].replicaSelector.tags",
            rules::SELECTOR,
        ),
        Refused {
            set: "spec.routing",
            to: class(json!({"maxLag": "169h"})),
            says: vec![format!(
                "spec.routing.classes[0].maxLag: Invalid value: \"169h\": {}",
                rules::CLASS_MAX_LAG
            )],
        },
        Refused {
            set: "spec.routing",
            to: class(json!({"probeQuery": "SELECT 1; SELECT 2"})),
            says: vec![format!(
                "spec.routing.classes[0].probeQuery: Invalid value: \"SELECT 1; SELECT 2\": {}",
                rules::PROBE_QUERY
            )],
        },
        says(
            "spec.routing",
            class(json!({"readFallback": ["Primary", "Primary"]})),
            &["spec.routing.classes[0].readFallback[1]: Duplicate value: \"Primary\""],
        ),
        least_quoted(json!(0)),
        least_quoted(json!("0%")),
        least_quoted(json!("half")),
        least_quoted(json!("101%")),
        Refused {
            set: "spec.loadBalancing",
            to: regions(json!([{"name": "us_east"}])),
            says: vec![format!(
                "spec.loadBalancing.regions[0].name: Invalid value: \"us_east\": {}",
                rules::REGION_NAME
            )],
        },
        rule(
            "spec.loadBalancing",
            regions(json!([{"name": "east", "failover": ["east"]}])),
            "spec.loadBalancing.regions[0].failover",
            rules::REGION_FAILOVER,
        ),
        rule(
            "spec",
            json!({
                "primary": {"host": "pg-0.example.com", "region": "US_East"},
                "loadBalancing": {"strategy": "Geographic"},
            }),
            "spec.loadBalancing.strategy",
            rules::GEOGRAPHIC,
        ),
        rule(
            "spec",
            json!({
                "primary": {"host": "pg-0.example.com"},
                "replicas": [{"id": "a", "host": "pg-1.example.com", "region": "a-region-of-20-chars"}],
                "loadBalancing": {"strategy": "Geographic"},
            }),
            "spec.loadBalancing.strategy",
            rules::GEOGRAPHIC,
        ),
    ]
}

/// The API server quotes the value.
fn least_quoted(least: Value) -> Refused {
    Refused {
        set: "spec.failover",
        says: vec![format!(
            "spec.failover.minHealthyReplicas: Invalid value: {least}: {}",
            rules::MIN_HEALTHY
        )],
        to: json!({"minHealthyReplicas": least}),
    }
}

pub fn accepted() -> Vec<(&'static str, Value)> {
    let failover = |least: Value| ("spec.failover", json!({"minHealthyReplicas": least}));
    vec![
        failover(json!(1)),
        failover(json!(64)),
        failover(json!("1%")),
        failover(json!("100%")),
        (
            "spec.failover",
            json!({"readFallback": ["LaggingReplicas", "Primary"]}),
        ),
        (
            "spec.routing",
            json!({"classes": [{"name": "analytics", "replicaSelector": {"tags": ["analytics"]}, "maxLag": "5m"}]}),
        ),
        (
            "spec.routing",
            json!({"replicas": "Disabled", "defaultTarget": "Primary", "retryAttempts": 0, "priorities": {"critical": "Primary"}}),
        ),
        (
            "spec.loadBalancing",
            json!({"strategy": "Geographic", "regions": [{"name": "0-region-of-19-char", "failover": ["US_East"]}], "zoneHints": "Auto"}),
        ),
        ("spec.loadBalancing", json!({"strategy": "LeastConnections"})),
    ]
}

/// As much as fits into routing.
pub fn largest(name: impl Fn(usize) -> String) -> Value {
    let classes: Vec<_> = (10..26)
        .map(|class| {
            json!({
                "name": format!("{}{class}", name(20)),
                "operations": (10..74).map(|operation| format!("{}{class}{operation}", name(59))).collect::<Vec<_>>(),
                "target": "Replicas",
                "replicaSelector": {
                    "tags": (10..26).map(|tag| format!("{}{tag}", name(61))).collect::<Vec<_>>(),
                    "ids": (10..64).map(|id| format!("{}{id}", name(38))).collect::<Vec<_>>(),
                },
                "maxLag": "0h0m59s1000ms",
                "probeQuery": name(1024),
                "readFallback": ["LaggingReplicas", "Primary"],
            })
        })
        .collect();
    json!({
        "replicas": "Enabled",
        "defaultTarget": "Replicas",
        "retryAttempts": 10,
        "classes": classes,
        "priorities": {"critical": "Primary", "high": "PrimaryPreferred", "medium": "Replicas", "low": "Replicas"},
    })
}
