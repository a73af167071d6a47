//! Classes, regions and fallbacks.

use super::{Value, json};

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
