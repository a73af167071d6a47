use serde_json::from_value;

use super::*;

/// It shows what a reader will see.
const README: &str = include_str!("../../../../README.md");

fn ago(seconds: i64) -> String {
    let now = timestamp().as_second();
    Timestamp::from_second(now - seconds).unwrap().to_string()
}

/// A primary, a replica that is well, and one that is down.
fn object() -> Policy {
    let endpoint = |id: &str, role: &str, reason: &str, since: i64| {
        json!({
            "id": id, "role": role, "circuit": "Closed", "eligible": reason == "Serving", "reason": reason,
            "effectiveWeight": 100, "since": ago(since),
        })
    };
    let mut down = endpoint("replica-2", "Unknown", "CircuitOpen", 1_230);
    down["circuit"] = json!("Open");
    down["failure"] = json!("ConnectRefused");
    let condition = |type_: &str, reason: &str, message: &str| {
        json!({
            "type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": ago(1_230),
        })
    };
    from_value(json!({
        "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
        "metadata": {"namespace": "shop", "name": "orders", "generation": 1},
        // Of a later version.
        "spec": {"primary": {"host": "pg-0.example.com"}, "loadBalancing": {"strategy": "Later"}},
        "status": {
            "observedGeneration": 1,
            "conditions": [condition("Ready", "Routable", "Reads and writes are routed.")],
            "primary": {"id": "primary", "declared": "primary"},
            "endpoints": [
                endpoint("primary", "Primary", "Serving", 700_000),
                endpoint("replica-1", "Standby", "Serving", 10_870),
                down,
            ],
            "routes": [{"name": "ro", "state": "Served", "endpoints": ["replica-1"]}],
        },
    }))
    .unwrap()
}

fn answer() -> PolicyAnswer {
    let server = |id: &str, role: &str, reason: &str| {
        json!({
            "id": id, "state": "Active", "role": role, "reason": reason, "weight": 1, "priority": 1,
            "maxConnections": 15,
        })
    };
    let with = |id: &str, role: &str, sessions: u32, rate: f64| {
        let mut server = server(id, role, "Serving");
        server["connections"] = json!(sessions);
        server["serverMaxConnections"] = json!(200);
        server["statistics"] = json!({
            "tenSeconds": {"transactions": rate}, "minute": {}, "fiveMinutes": {}, "errors": {},
        });
        server
    };
    let mut standby = with("replica-1", "Standby", 41, 480.2);
    standby["lagMilliseconds"] = json!(120);
    from_value(json!({
        "namespace": "shop", "name": "orders", "conditions": [], "reasons": [], "routing": {"routes": {}},
        "endpoints": [
            with("primary", "Primary", 12, 210.4), standby, server("replica-2", "Unknown", "CircuitOpen"),
        ],
        "statistics": {}, "history": [], "answeredBy": "distributary-0", "observedAt": ago(0),
    }))
    .unwrap()
}

#[test]
fn the_readme_shows_what_the_command_prints() {
    let text = View::new(&object(), Some(&answer())).text(false);
    let (_, shown) = README
        .split_once("$ kubectl distributary status orders\n")
        .unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert!(shown.lines().count() >= 5, "{shown}");
    for part in shown.split("\n\n") {
        assert!(
            text.contains(part.trim_end()),
            "README.md shows\n{part}\nand the command prints\n{text}"
        );
    }
}

#[test]
fn without_figures_nothing_is_made_up() {
    let text = View::new(&object(), None).text(false);
    let line = text.lines().find(|line| line.starts_with("replica-1 ")).unwrap();
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(
        cells,
        ["replica-1", "Standby", "-", "-", "-", "Serving", "3h1m"],
        "{text}"
    );
}
