//! Answers as an operator gives them, of servers that are not there.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

#[expect(
    clippy::disallowed_methods,
    reason = "what is made up is of today, as the page tells ages"
)]
fn before(age: Duration) -> String {
    let at = jiff::Timestamp::try_from(SystemTime::now() - age).unwrap_or_default();
    format!("{at:.3}")
}

pub fn origin() -> Value {
    json!({
        "answeredBy": "distributary-7c9f6d5b8-x2k4q", "leader": "distributary-7c9f6d5b8-x2k4q",
        "observedAt": before(Duration::ZERO),
    })
}

const NAMES: [&str; 8] = [
    "orders", "payments", "stock", "search", "users", "mail", "ledger", "catalog",
];
const REGIONS: [&str; 4] = ["eu-central", "eu-west", "us-east", "ap-south"];

/// The item of a list with this number; of a hundred three are not ready, and five degraded.
pub fn item(number: usize) -> Value {
    let name = NAMES[number % NAMES.len()];
    let (ready, degraded) = match number % 100 {
        7 => (
            (
                "False",
                "NoPrimary",
                "No server is proven to be the write primary. primary: CircuitOpen (ConnectRefused).",
            ),
            (
                "True",
                "EndpointsNotServing",
                "primary: CircuitOpen (ConnectRefused).",
            ),
        ),
        38 | 71 => (
            (
                "False",
                "NoReadTarget",
                "NAME-ro keeps servers that are not well. replica-1: Lagging; replica-2: Lagging.",
            ),
            (
                "True",
                "EndpointsNotServing",
                "replica-1: Lagging; replica-2: Lagging.",
            ),
        ),
        3 | 19 | 44 | 60 | 92 => (
            ("True", "Routable", "Reads and writes are routed."),
            ("True", "EndpointsNotServing", "replica-2: Lagging, 14 s behind."),
        ),
        _ => (
            ("True", "Routable", "Reads and writes are routed."),
            ("False", "AllServing", "Every endpoint serves."),
        ),
    };
    let condition = |(status, reason, message): (&str, &str, &str)| json!({"status": status, "reason": reason, "message": message});
    let replicas = 2 + number % 3;
    let healthy = match (ready.0, degraded.0) {
        ("False", _) => 0,
        (_, "True") => replicas - 1,
        _ => replicas,
    };
    json!({
        "namespace": format!("team-{:02}", number / 25), "name": format!("{name}-{number:03}"),
        "healthy": ready.0 == "True", "healthyReplicas": healthy, "totalReplicas": replicas,
        "ready": condition(ready), "degraded": condition(degraded), "writePrimary": "primary",
        "regions": [REGIONS[number % 4], REGIONS[(number / 4) % 4]],
        "replicaUsagePercentage": 58 + number % 37, "averageResponseTime": 1.5 + f64::from(u32::try_from(number % 9).unwrap_or(0)) / 4.0,
        "worstLagMilliseconds": if degraded.0 == "True" { 14_000 } else { 20 + 13 * (number % 17) }, "connections": 12 + number % 90,
    })
}

/// A policy with a replica that lags, and one that is down; `age`: how it was so long ago.
pub fn policy(name: &str, age: Duration) -> Value {
    let phase = age.as_secs_f64() / 18.0;
    let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": before(Duration::from_secs(240))});
    let lagging = (14_000.0 - 60.0 * age.as_secs_f64()).max(40.0);
    let mut answer = json!({
        "namespace": "shop", "name": name, "generation": 7, "decision": "Decided", "writePrimary": "primary",
        "conditions": [
            condition("Ready", "True", "Routable", "Reads and writes are routed."),
            condition("Accepted", "True", "Valid", "The spec is valid."),
            condition("Programmed", "True", "Programmed", "The routes are written as decided."),
            condition("Degraded", "True", "EndpointsNotServing", "eu-west-2: Lagging, 14 s behind; us-east-1: CircuitOpen (ConnectRefused)."),
            condition("PrimaryReachable", "True", "Writable", "primary takes writes."),
            condition("ReadFallbackActive", "False", "NotNeeded", "Replicas serve the reads."),
            condition("SplitBrainSuspected", "False", "NotSuspected", "One server takes writes."),
        ],
        "reasons": [],
        "routing": {"revision": "5f1c9d22ab", "strategy": "LeastConnections", "routes": {
            "rw": {"state": "Served", "targets": [{"endpoint": "primary", "address": "10.4.0.10", "port": 5432}]},
            "ro": {"state": "Served", "targets": [{"endpoint": "eu-west-1", "address": "10.4.1.11", "port": 5432}, {"endpoint": "eu-central-2", "address": "10.4.0.12", "port": 5432}]},
            "analytics": {"state": "Fallback", "targets": [{"endpoint": "eu-central-2", "address": "10.4.0.12", "port": 5432}]},
        }},
        "endpoints": [
            server("primary", Some("Primary in Frankfurt"), "eu-central", "Primary", "Serving", 0.0, 182.0 + 30.0 * phase.sin(), 41),
            server("eu-central-2", None, "eu-central", "Standby", "Serving", 120.0 + 60.0 * (phase * 1.3).cos(), 410.0 + 60.0 * (phase * 0.7).cos(), 58),
            server("eu-west-1", None, "eu-west", "Standby", "Serving", 210.0 + 90.0 * phase.cos(), 366.0 + 40.0 * (phase * 1.1).sin(), 52),
            server("eu-west-2", None, "eu-west", "Standby", "Lagging", lagging, 12.0, 6),
            server("us-east-1", None, "us-east", "Unknown", "CircuitOpen", 0.0, 0.0, 0),
        ],
        "statistics": {"replicaUsagePercentage": 81.2, "averageResponseTime": 2.1, "connections": 157, "worstLagMilliseconds": lagging},
        "history": [
            {"at": before(Duration::from_secs(90_000)), "route": "rw", "kind": "PrimaryMoved", "from": ["eu-central-2"], "to": ["primary"], "reason": "eu-central-2: PrimaryInRecovery"},
            {"at": before(Duration::from_secs(7_300)), "route": "ro", "kind": "ReadFallback", "from": ["eu-west-1"], "to": ["primary"], "reason": "eu-west-1: Lagging"},
            {"at": before(Duration::from_secs(7_120)), "route": "ro", "kind": "ReadFallbackEnded", "from": ["primary"], "to": ["eu-west-1", "eu-central-2"], "reason": ""},
        ],
        "answeredBy": "distributary-7c9f6d5b8-x2k4q", "leader": "distributary-7c9f6d5b8-x2k4q",
    });
    answer["observedAt"] = json!(before(age));
    answer
}

#[expect(clippy::too_many_arguments, reason = "each is a column of the table above")]
fn server(
    id: &str,
    name: Option<&str>,
    region: &str,
    role: &str,
    reason: &str,
    lag: f64,
    rate: f64,
    sessions: u32,
) -> Value {
    let is_well = reason == "Serving";
    let is_known = role != "Unknown";
    let (means, next) = match reason {
        "Serving" => ("The server is well.", None),
        "Lagging" => (
            "The replica is further behind than replicationLag.max.",
            Some("Wait, or look at its load and its replication."),
        ),
        _ => (
            "The circuit of the server is open.",
            Some("Start the server, or see its log; its circuit closes by itself."),
        ),
    };
    let known = |value: f64| {
        if is_known {
            json!(value.round())
        } else {
            Value::Null
        }
    };
    json!({
        "id": id, "name": name, "state": "Active", "healthy": is_well, "eligible": is_well, "role": role, "reason": reason,
        "means": means, "next": next, "since": before(Duration::from_secs(if is_well { 90_000 } else { 240 })),
        "cannotTakeOver": null, "cannotTakeOverMeans": null,
        "failure": if is_known { Value::Null } else { json!("ConnectRefused") },
        "circuit": if is_known { "Closed" } else { "Open" }, "host": format!("{id}.pg.example"), "port": 5432, "address": null,
        "region": region, "weight": 1, "priority": 0, "maxConnections": 100,
        "lagMilliseconds": if role == "Standby" { json!(lag.round()) } else { Value::Null }, "lagBytes": null, "lagAtLeast": false,
        "responseTimeMilliseconds": if is_known { json!(1.8) } else { Value::Null },
        "connections": if is_known { json!(sessions) } else { Value::Null }, "serverMaxConnections": if is_known { json!(200) } else { Value::Null },
        "usableConnections": if is_known { json!(197) } else { Value::Null }, "transactions": null,
        "statistics": {
            "tenSeconds": {"transactions": known(rate), "sessions": null, "rowsReturned": null, "rowsChanged": null},
            "minute": {"transactions": null, "sessions": null, "rowsReturned": null, "rowsChanged": null},
            "fiveMinutes": {"transactions": null, "sessions": null, "rowsReturned": null, "rowsChanged": null},
            "responseTime": null, "errors": {}, "worstLagMilliseconds": null,
        },
    })
}
