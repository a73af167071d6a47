use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn document() -> Value {
    let endpoint = |id: &str, lag: u64| {
        json!({
            "id": id, "role": "Standby", "circuit": "Closed", "eligible": true, "reason": "Serving", "effectiveWeight": 1,
            "since": "2026-01-01T00:00:00Z", "lag": {"milliseconds": lag},
        })
    };
    let mut primary = endpoint("primary", 9_000);
    primary["address"] = json!("10.0.0.1");
    primary["port"] = json!(5433);
    let mut pods = endpoint("replica-2", 40);
    let pod = |address: &str, eligible: bool| {
        json!({
            "address": address, "role": "Standby", "circuit": "Closed", "eligible": eligible, "reason": "Serving",
            "effectiveWeight": 1,
        })
    };
    pods["targets"] = json!([
        pod("10.1.0.1", true),
        pod("10.1.0.2", false),
        pod("10.1.0.3", true)
    ]);
    json!({
        "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
        "metadata": {"namespace": "shop", "name": "orders"},
        "spec": {
            "primary": {"host": "pg-0.example.com"},
            "replicas": [
                {"id": "replica-1", "host": "pg-1.example.com"},
                {"id": "replica-2", "serviceRef": {"name": "pg"}},
                {"id": "replica-3", "serviceRef": {"name": "other"}},
            ],
        },
        "status": {
            "endpoints": [primary, endpoint("replica-1", 120), pods],
            "routes": [
                {"name": "rw", "state": "Served", "endpoints": ["primary"]},
                {"name": "ro", "state": "Served", "endpoints": ["replica-1", "replica-2", "replica-3"]},
            ],
        },
    })
}

fn object<T: DeserializeOwned>() -> T {
    serde_json::from_value(document()).unwrap()
}

#[test]
fn a_route_leads_to_what_is_known_of_its_servers() {
    let answer = policy(&object());
    let targets = |route: &str| {
        let targets = answer.routing.routes[route].targets.clone().unwrap();
        let told = targets
            .into_iter()
            .map(|it| format!("{} {}:{}", it.endpoint.unwrap(), it.address, it.port));
        told.collect::<Vec<_>>()
    };
    assert_eq!(targets("rw"), ["primary 10.0.0.1:5433"]);
    assert_eq!(
        targets("ro"),
        [
            "replica-1 pg-1.example.com:5432",
            "replica-2 10.1.0.1:5432",
            "replica-2 10.1.0.3:5432",
            "replica-3 other:5432",
        ]
    );
}

#[test]
fn the_worst_lag_is_that_of_a_replica() {
    assert_eq!(item(&object()).worst_lag_milliseconds, Some(120));
    assert_eq!(policy(&object()).statistics.worst_lag_milliseconds, Some(120));
    // The declared primary is one once another server takes the writes.
    let mut moved = document();
    moved["status"]["primary"] = json!({"id": "replica-1", "declared": "primary"});
    let moved: Policy = serde_json::from_value(moved).unwrap();
    assert_eq!(item(&moved).worst_lag_milliseconds, Some(9_000));
}

#[test]
fn what_must_happen_next_is_what_explain_says() {
    let mut object: ReplicaSetPolicy = object();
    let primary = &mut object.status.as_mut().unwrap().endpoints[0].server;
    (primary.role, primary.reason) = ("Primary".to_owned(), "Held".to_owned());
    primary.held_despite = Some("CircuitOpen".to_owned());
    let server = policy(&object).endpoints.swap_remove(0);
    assert_eq!(server.held_despite.as_deref(), Some("CircuitOpen"));
    let next = server.next.unwrap();
    assert!(
        next.starts_with("Bring the server back. If it is lost, "),
        "{next}"
    );
}

#[test]
fn a_policy_of_a_later_version_is_listed() {
    let mut later = document();
    later["spec"]["loadBalancing"] = json!({"strategy": "Later"});
    later["spec"]["replicas"][0]["region"] = json!("eu-west");
    let later: Policy = serde_json::from_value(later).unwrap();
    let item = item(&later);
    assert_eq!(
        (item.name.as_str(), item.regions),
        ("orders", Some(vec!["eu-west".to_owned()]))
    );
}
