//! No table ends the process: what can be read can be used, and the rest is refused.

use serde_json::{Value, json};

use super::*;
use crate::query::Query;

/// Xorshift: one seed gives one series.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap_or_default()
    }
}

/// A table of a primary and two replicas.
pub fn table() -> Value {
    let connection = json!({
        "database": "orders", "sslmode": "disable",
        "connectTimeoutSeconds": 5, "connectTimeoutMilliseconds": 5000,
    });
    let endpoint = |id: &str, declared: &str| {
        json!({
            "id": id, "declared": declared, "active": true, "state": "Active", "host": "192.0.2.1", "port": 5432,
            "weight": 1, "priority": 0, "maxConnections": 20, "tags": [], "connection": connection, "routes": ["ro"],
        })
    };
    let target = |id: &str| {
        json!({
            "endpoint": id, "address": "192.0.2.1", "port": 5432, "weight": 100, "inSlice": true, "order": 0,
            "admission": "Eligible",
        })
    };
    json!({
        "version": "routing.distributary.dev/v1", "policy": {"namespace": "shop", "name": "orders"},
        "revision": "0".repeat(64), "strategy": "LeastConnections", "connection": connection, "replicas": true,
        "defaultTarget": "Replicas", "retryAttempts": 2,
        "healthCheck": {"intervalMilliseconds": 2000, "failoverTimeoutMilliseconds": 5000},
        "circuitBreaker": {
            "enabled": true, "failureThreshold": 5, "resetTimeoutMilliseconds": 60000,
            "maxResetTimeoutMilliseconds": 600_000, "successThreshold": 3, "trafficSteps": [25, 50],
        },
        "readFallback": ["Primary"], "classes": [], "defaultRoute": "ro", "priorities": {}, "regions": [],
        "routes": {
            "rw": {"state": "Served", "targets": [target("primary")]},
            "ro": {"state": "Served", "targets": [target("a"), target("b")]},
        },
        "endpoints": [endpoint("primary", "Primary"), endpoint("a", "Replica"), endpoint("b", "Replica")],
    })
}

fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                pointers(value, format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

fn settings() -> PoolSettings {
    PoolSettings {
        application_name: "test".to_owned(),
        credentials: Some(Credentials::of("app".to_owned(), None)),
        ca: None,
        share: 1,
        age: Duration::MAX,
        idle: Duration::MAX,
    }
}

/// Whether it was read; it is used then.
fn survives(document: &Value) -> bool {
    let Ok(table) = RoutingTable::read(&document.to_string()) else {
        return false;
    };
    let logins = BTreeMap::new();
    let snapshot = Snapshot::new(Told { table, logins }, None, &settings(), Clock::new());
    let snapshot = snapshot.expect("what is read can be used");
    for (name, route) in &snapshot.table.routes {
        let picker = snapshot.picker(name).expect("each route has one");
        assert_eq!(
            picker.targets().count(),
            route.targets.len(),
            "no target is passed over"
        );
        for _ in 0..5 {
            assert_eq!(picker.pick(&[], None).is_some(), !route.targets.is_empty());
        }
    }
    for server in snapshot.servers() {
        let now = Clock::new().now();
        for _ in 0..200 {
            server.gate.failed(now, now);
            server.gate.succeeded(now + Duration::from_secs(100_000_000));
        }
    }
    let query = Query::new().read_only();
    if let Ok(choice) = snapshot.table.route(&query.request()) {
        let _ = snapshot.table.primary_stands_in(&choice);
    }
    true
}

/// `FUZZ=1000000` for so many tables.
#[tokio::test]
async fn fuzz_no_table_ends_the_process() {
    let asked = std::env::var("FUZZ").ok().and_then(|count| count.parse().ok());
    let (whole, mut random, mut read) = (table(), Random(0x0D15_7817), 0);
    assert!(survives(&whole));
    let odd = [
        json!(0),
        json!(1),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(100_000),
        json!(255),
        json!(-1),
        json!("a"),
        json!(""),
        json!("::1"),
        json!([]),
        json!(null),
        json!(false),
    ];
    let mut places = Vec::new();
    pointers(&whole, String::new(), &mut places);
    for _ in 0..asked.unwrap_or(500) {
        let mut document = whole.clone();
        for _ in 0..=random.below(2) {
            let place = &places[random.below(places.len())];
            let Some(value) = document.pointer_mut(place) else {
                continue;
            };
            match value {
                // Many of one kind.
                Value::Array(items) if !items.is_empty() && random.below(2) == 0 => {
                    let first = items[0].clone();
                    items.resize([2, 100, 4500][random.below(3)], first);
                }
                value => *value = odd[random.below(odd.len())].clone(),
            }
        }
        read += u32::from(survives(&document));
    }
    assert!(read > 20, "{read} were read");
}

#[tokio::test]
async fn a_table_of_which_each_fault_ended_the_process_is_refused_or_used() {
    let edited = |pointer: &str, value: Value| {
        let mut document = table();
        *document.pointer_mut(pointer).expect("it is there") = value;
        document
    };
    assert!(!survives(&edited("/endpoints/1/maxConnections", json!(u32::MAX))));
    assert!(!survives(&edited(
        "/routes/ro/targets/0/endpoint",
        json!("elsewhere")
    )));
    let many: Vec<_> = (1..=4500)
        .map(|weight| {
            let mut target = table()["routes"]["ro"]["targets"][0].clone();
            target["weight"] = json!(weight);
            target
        })
        .collect();
    assert!(survives(&edited("/routes/ro/targets", json!(many))));
}
