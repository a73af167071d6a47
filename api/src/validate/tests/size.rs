//! What the ConfigMap of the routes can hold.

use super::*;
use distributary_core::config_maps::{self, ConfigMap};
use distributary_core::plan;
use distributary_core::resolved::Resolved;
use distributary_core::table::{RoutingTable, Subject};

/// A name of 253 characters.
fn longest_host(number: u64) -> String {
    let labels = ["h".repeat(63), "h".repeat(63), "h".repeat(63), "h".repeat(57)];
    format!("{number:03}.{}", labels.join("."))
}

fn named(prefix: &str, length: usize, number: u64) -> String {
    format!("{prefix}{number:0>0$}", length - prefix.len())
}

/// The primary, replicas, classes and regions of this policy are at their bounds.
fn largest(formats: &Value) -> Value {
    let word = |number| named("w", 63, number);
    let endpoint = |number: u64| {
        json!({
            "id": named("r", 40, number),
            "displayName": "ü".repeat(63),
            "host": longest_host(number),
            "port": 65535,
            "region": named("e", 19, number % 16),
            "zone": word(number),
            "weight": 1000,
            "priority": 1000,
            "maxConnections": 100_000,
            "tags": (0..16).map(word).collect::<Vec<_>>(),
            "connection": {"database": "ü".repeat(63), "tls": {"mode": "VerifyFull"}, "connectTimeout": "5m"},
        })
    };
    let operation = |class: u64| move |number: u64| named("o", 63, class * 64 + number);
    let class = |number: u64| {
        json!({
            "name": named("c", 22, number),
            "operations": (0..64).map(operation(number)).collect::<Vec<_>>(),
            "target": "PrimaryPreferred",
        })
    };
    let region = |number: u64| {
        let others = (0..16).filter(|other| *other != number);
        json!({
            "name": named("e", 19, number),
            "failover": others.map(|other| named("e", 19, other)).collect::<Vec<_>>(),
        })
    };
    let mut primary = endpoint(64);
    primary["region"] = json!(named("e", 19, 0));
    json!({
        "primary": primary,
        "replicas": (0..64).map(endpoint).collect::<Vec<_>>(),
        "connection": {"database": "ü".repeat(63)},
        "loadBalancing": {"strategy": "Weighted", "regions": (0..16).map(region).collect::<Vec<_>>()},
        "routing": {"classes": (0..16).map(class).collect::<Vec<_>>()},
        "outputs": {"configMap": {"formats": formats}},
    })
}

#[test]
fn a_policy_whose_config_map_may_be_too_large_is_refused_with_its_figures() {
    for (formats, figures) in [
        (
            json!(["Libpq"]),
            "1381973 of at most 1048576 bytes (routing.json 733441, Libpq 648532)",
        ),
        (
            json!(["Jdbc", "Env", "Libpq"]),
            "1706533 of at most 1048576 bytes (routing.json 733441, Libpq 648532, Jdbc 324560)",
        ),
    ] {
        let told: Vec<_> = problems(largest(&formats))
            .iter()
            .map(ToString::to_string)
            .collect();
        let rule = rules::CONFIG_MAP_SIZE;
        assert_eq!(told, [format!("spec.outputs.configMap: {rule}: {figures}")]);
    }
}

#[test]
fn what_counts_is_what_is_routed() {
    let formats = json!(["Libpq", "Jdbc", "Env"]);
    valid(largest(&json!(["Env"])));
    let mut off = largest(&formats);
    off["routing"]["replicas"] = json!("Disabled");
    valid(off);
    let mut disabled = largest(&formats);
    for replica in disabled["replicas"].as_array_mut().unwrap().iter_mut().skip(16) {
        replica["state"] = json!("Disabled");
    }
    valid(disabled);
}

/// The longest host is that of a Secret, which validation does not read.
#[test]
fn a_host_that_a_secret_names_is_not_counted() {
    let mut policy = largest(&json!(["Libpq", "Jdbc"]));
    for replica in policy["replicas"].as_array_mut().unwrap() {
        let replica = replica.as_object_mut().unwrap();
        replica.retain(|field, _| {
            field != "host" && field != "port" && field != "displayName" && field != "tags"
        });
        replica.insert(
            "urlSecretRef".to_owned(),
            json!({"name": "url", "key": replica["id"]}),
        );
    }
    valid(policy);
}

/// docs/routing-json.md promises it.
#[test]
fn the_variables_of_the_largest_policy_need_no_more_than_128_kib() {
    let object = object(largest(&json!(["Env"])));
    let ValidPolicy { policy, outputs } = policy(&object).unwrap();
    let endpoints = resolve(&object, &Secrets::new(), &Services::new());
    let resolved = Resolved::new(endpoints, Cluster::default());
    let plan = plan::largest(&policy, &resolved);
    let table = RoutingTable::new(&Subject {
        policy: &policy,
        resolved: &resolved,
        outputs: &outputs,
        plan: &plan,
    });
    let maps = config_maps::config_maps(&outputs, &table);
    let bytes: Vec<_> = maps.iter().map(ConfigMap::bytes).collect();
    assert_eq!(bytes[0], 733_441);
    assert!(bytes[1] < 128 * 1024, "{bytes:?}");
}
