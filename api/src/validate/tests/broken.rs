//! A policy for every rule that it can break.

#[path = "../../../tests/broken/mod.rs"]
mod table;

use super::*;
use table::{Case, Validated};

/// What validation says of a case.
fn validated(case: &Case) -> Validated {
    let mut object = structure::without_null(case.policy());
    object["metadata"]["namespace"] = json!("shop");
    let Ok(object) = serde_json::from_value::<crate::ReplicaSetPolicy>(object) else {
        return Validated::Unreadable;
    };
    let problems = policy(&object).err();
    let told = problems
        .unwrap_or_default()
        .into_iter()
        .map(|problem| (problem.field, problem.rule.to_owned()));
    Validated::Problems(told.collect())
}

#[test]
fn a_broken_rule_is_named_with_its_field() {
    let cases = table::cases(rules::ALL);
    assert!(cases.len() > 300, "{} cases", cases.len());
    for case in cases {
        assert_eq!(validated(&case), case.validate, "{} = {}", case.set, case.to);
    }
}

#[test]
fn every_broken_policy_is_seen_by_validation_or_by_admission() {
    for case in table::cases(rules::ALL) {
        let seen = case.validate != Validated::Problems(Vec::new());
        assert!(seen || !case.admission.is_empty(), "{} = {}", case.set, case.to);
    }
}

#[test]
fn a_name_that_a_service_cannot_have_is_refused() {
    for name in ["Orders", "1orders", &"o".repeat(41), "a.b", ""] {
        let mut object = object(with(&json!({})));
        object.metadata.name = Some(name.to_owned());
        let problems = policy(&object).unwrap_err();
        assert_eq!(problems[0].rule, rules::NAME, "{name}");
    }
}

#[test]
fn every_rule_is_broken_by_a_policy_of_the_table() {
    let cases = table::cases(rules::ALL);
    let breaks = |rule: &str| {
        let is = |case: &Case| matches!(&case.validate, Validated::Problems(all) if all.iter().any(|(_, text)| text == rule));
        cases.iter().any(is)
    };
    for (name, rule) in rules::ALL {
        assert!(breaks(rule), "no policy breaks {name}: {rule}");
    }
}

#[test]
fn every_broken_rule_is_told_at_once() {
    let spec = spec(
        &json!([{"id": "A", "host": "198.18.0.1", "weight": 5000}]),
        &json!({"healthCheck": {"interval": "1ms"}}),
    );
    let told: Vec<_> = problems(spec).into_iter().map(|problem| problem.rule).collect();
    assert_eq!(
        told,
        [rules::ID_FORM, rules::WEIGHT, rules::SAME_SERVER, rules::INTERVAL]
    );
}

#[test]
fn a_problem_of_the_policys_connection_is_told_once() {
    let spec = spec(
        &json!([{"id": "a", "host": "198.18.0.2"}, {"id": "b", "host": "198.18.0.3"}]),
        &json!({"connection": {"database": ""}}),
    );
    assert_eq!(problems(spec).len(), 1);
}

#[test]
fn a_message_names_the_field_and_what_must_hold() {
    let problems = problems(replica(&json!({"weight": 1001})));
    assert_eq!(
        problems[0].to_string(),
        "spec.replicas[0].weight: weight must be between 0 and 1000"
    );
}

#[test]
fn a_url_in_place_of_a_host_is_told_where_it_belongs_and_not_shown() {
    let told: Vec<_> = problems(replica(
        &json!({"host": "postgresql://u:canary@pg-1.example.com/a"}),
    ))
    .iter()
    .map(ToString::to_string)
    .collect();
    assert_eq!(
        told,
        [
            "spec.replicas[0].host: host must not be a URL: a URL belongs into a Secret, which urlSecretRef names"
        ]
    );
}

#[test]
fn of_two_endpoints_of_one_server_both_are_named_and_of_two_with_one_id_the_id() {
    let told = |replicas: Value| -> Vec<_> {
        let problems = problems(spec(&replicas, &json!({})));
        problems.iter().map(ToString::to_string).collect()
    };
    let same = json!([{"id": "a", "host": "198.18.0.2"}, {"id": "b", "host": "198.18.0.2"}, {"id": "c", "host": "198.18.0.2"}]);
    assert_eq!(
        told(same),
        [
            format!("endpoint b: {}: a and b", rules::SAME_SERVER),
            format!("endpoint c: {}: a and c", rules::SAME_SERVER),
        ]
    );
    let twice = json!([{"id": "a", "host": "198.18.0.2"}, {"id": "a", "host": "198.18.0.3"}]);
    assert_eq!(
        told(twice),
        [format!("spec.replicas[1].id: {}: a", rules::ID_ONCE)]
    );
}

#[test]
fn addresses_that_no_slice_may_hold_are_refused() {
    for host in [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.1.1",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "localhost",
        "LOCALHOST.",
        "255.255.255.255",
        "db.localhost",
    ] {
        let problems = problems(replica(&json!({"host": host})));
        assert_eq!(problems[0].rule, rules::HOST, "{host}");
    }
    for host in ["10.0.0.1", "2001:db8::1", "db.example.com.", "db_1"] {
        valid(replica(&json!({"host": host})));
    }
}

#[test]
fn hosts_that_are_no_name_are_refused() {
    for host in [
        "",
        "::ffff:127.0.0.1",
        "::ffff:198.18.0.1",
        "a..b",
        "-a",
        "a-",
        "300.1.1.1",
        "a/b",
        "ü.example.com",
        &"a".repeat(64),
    ] {
        let problems = problems(replica(&json!({"host": host})));
        assert_eq!(problems[0].rule, rules::HOST_FORM, "{host}");
    }
}

#[test]
fn bounds_are_inclusive() {
    valid(replica(
        &json!({"weight": 1000, "priority": 1000, "maxConnections": 100_000, "port": 65535}),
    ));
    valid(with(&json!({
        "healthCheck": {"heartbeat": "1h"},
        "circuitBreaker": {"resetTimeout": "1h", "maxResetTimeout": "24h"},
        "replicationLag": {"max": "168h", "maxBytes": "1Pi", "recover": "168h", "source": "Query", "lagQuery": "x".repeat(1024)},
        "failover": {"acceptPrimary": "primary"},
    })));
    valid(with(&json!({
        "healthCheck": {"interval": "100ms", "timeout": "20ms", "failoverTimeout": "100ms"},
        "circuitBreaker": {"resetTimeout": "1h", "halfOpen": {"successThreshold": 100, "trafficSteps": [1, 100]}},
    })));
}
