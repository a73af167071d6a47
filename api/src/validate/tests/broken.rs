//! A policy for every rule that it can break.

use super::*;

/// A rule, a spec that breaks it, and the field that the problem names.
pub type Broken = (&'static str, Value, &'static str);

fn broken() -> Vec<Broken> {
    [
        servers(),
        words(),
        connections(),
        settings(),
        lag(),
        identity(),
        routing::broken(),
    ]
    .concat()
}

fn servers() -> Vec<Broken> {
    let crowd: Vec<_> = (0..65)
        .map(|n| json!({"id": format!("r{n}"), "host": format!("198.18.1.{n}")}))
        .collect();
    vec![
        (
            rules::PRIMARY_ID,
            spec(&json!([{"id": "primary", "host": "198.18.0.2"}]), &json!({})),
            "spec.primary.id",
        ),
        (
            rules::ADDRESS,
            replica(&json!({"host": null})),
            "spec.replicas[0].host",
        ),
        (
            rules::ADDRESS,
            replica(&json!({"urlSecretRef": {"name": "s", "key": "k"}})),
            "spec.replicas[0].host",
        ),
        (
            rules::PORT_WITH_HOST,
            replica(&json!({"host": null, "port": 1, "urlSecretRef": {"name": "s", "key": "k"}})),
            "spec.replicas[0].port",
        ),
        (
            rules::PORT_WITH_HOST,
            replica(&json!({"host": null, "port": 1, "serviceRef": {"name": "s"}})),
            "spec.replicas[0].port",
        ),
        (
            rules::ADDRESS,
            replica(&json!({"serviceRef": {"name": "s"}})),
            "spec.replicas[0].host",
        ),
        (
            rules::SERVICE_NAME,
            replica(&json!({"host": null, "serviceRef": {"name": "a.b"}})),
            "spec.replicas[0].serviceRef.name",
        ),
        (
            rules::PORT,
            replica(&json!({"host": null, "serviceRef": {"name": "s", "port": 0}})),
            "spec.replicas[0].serviceRef.port",
        ),
        (
            rules::OTHER_NAMESPACE,
            replica(&json!({"host": "pg.other.svc"})),
            "spec.replicas[0].host",
        ),
        (
            rules::HOST,
            replica(&json!({"host": "127.0.0.1"})),
            "spec.replicas[0].host",
        ),
        (
            rules::HOST_FORM,
            replica(&json!({"host": "a b"})),
            "spec.replicas[0].host",
        ),
        (
            rules::SAME_SERVER,
            replica(&json!({"host": "198.18.0.1"})),
            "endpoint a",
        ),
        (
            rules::ID_FORM,
            replica(&json!({"id": "A"})),
            "spec.replicas[0].id",
        ),
        (
            rules::ID_ONCE,
            spec(
                &json!([{"id": "a", "host": "198.18.0.2"}, {"id": "a", "host": "198.18.0.3"}]),
                &json!({}),
            ),
            "spec.replicas[1].id",
        ),
        (
            rules::ID_ONCE,
            spec(&json!([{"host": "198.18.0.2"}]), &json!({})),
            "spec.replicas[0].id",
        ),
        (rules::REPLICAS, spec(&json!(crowd), &json!({})), "spec.replicas"),
        (rules::PORT, replica(&json!({"port": 0})), "spec.replicas[0].port"),
        (
            rules::WEIGHT,
            replica(&json!({"weight": 1001})),
            "spec.replicas[0].weight",
        ),
        (
            rules::PRIORITY,
            replica(&json!({"priority": 1001})),
            "spec.replicas[0].priority",
        ),
        (
            rules::MAX_CONNECTIONS,
            replica(&json!({"maxConnections": 0})),
            "spec.replicas[0].maxConnections",
        ),
    ]
}

fn words() -> Vec<Broken> {
    vec![
        (
            rules::REGION,
            replica(&json!({"region": "-"})),
            "spec.replicas[0].region",
        ),
        (
            rules::ZONE,
            replica(&json!({"zone": "a b"})),
            "spec.replicas[0].zone",
        ),
        (
            rules::TAGS,
            replica(&json!({"tags": ["fine", ""]})),
            "spec.replicas[0].tags",
        ),
    ]
}

fn connections() -> Vec<Broken> {
    let long = "x".repeat(64);
    vec![
        (
            rules::DATABASE,
            with(&json!({"connection": {"database": long}})),
            "spec.connection.database",
        ),
        (
            rules::DATABASE,
            replica(&json!({"connection": {"database": ""}})),
            "spec.replicas[0].connection.database",
        ),
        (
            rules::CONNECT_TIMEOUT,
            with(&json!({"connection": {"connectTimeout": "500ms"}})),
            "spec.connection.connectTimeout",
        ),
        (
            rules::CONNECT_TIMEOUT,
            replica(&json!({"connection": {"connectTimeout": "6m"}})),
            "spec.replicas[0].connection.connectTimeout",
        ),
        (
            rules::CA_NEEDS_VERIFY,
            with(&json!({"connection": {"tls": {"mode": "Require", "caSecretRef": {"name": "ca"}}}})),
            "spec.connection.tls.caSecretRef",
        ),
        (
            rules::CLIENT_CERT_NEEDS_TLS,
            with(&json!({"connection": {"tls": {"mode": "Disable", "clientCertSecretRef": {"name": "c"}}}})),
            "spec.connection.tls.clientCertSecretRef",
        ),
        (
            rules::SECRET_NAME,
            with(&json!({"connection": {"credentialsSecretRef": {"name": "../x"}}})),
            "spec.connection.credentialsSecretRef.name",
        ),
        (
            rules::SECRET_NAME,
            with(&json!({"connection": {"tls": {"clientCertSecretRef": {"name": "A"}}}})),
            "spec.connection.tls.clientCertSecretRef.name",
        ),
        (
            rules::SECRET_NAME,
            replica(&json!({"host": null, "urlSecretRef": {"name": "", "key": "k"}})),
            "spec.replicas[0].urlSecretRef.name",
        ),
        (
            rules::SECRET_KEY,
            replica(&json!({"host": null, "urlSecretRef": {"name": "s", "key": "a/b"}})),
            "spec.replicas[0].urlSecretRef.key",
        ),
        (
            rules::SECRET_KEY,
            with(&json!({"connection": {"tls": {"caSecretRef": {"name": "ca", "key": ""}}}})),
            "spec.connection.tls.caSecretRef.key",
        ),
    ]
}

fn settings() -> Vec<Broken> {
    vec![
        (
            rules::INTERVAL,
            with(&json!({"healthCheck": {"interval": "99ms"}})),
            "spec.healthCheck.interval",
        ),
        (
            rules::TIMEOUT,
            with(&json!({"healthCheck": {"timeout": "61s"}})),
            "spec.healthCheck.timeout",
        ),
        (
            rules::FAILOVER_TIMEOUT,
            with(&json!({"healthCheck": {"failoverTimeout": "11m"}})),
            "spec.healthCheck.failoverTimeout",
        ),
        (
            rules::ATTEMPT,
            with(&json!({"healthCheck": {"failoverTimeout": "99ms"}})),
            "spec.healthCheck.failoverTimeout",
        ),
        (
            rules::HEARTBEAT,
            with(&json!({"healthCheck": {"heartbeat": "99ms"}})),
            "spec.healthCheck.heartbeat",
        ),
        (
            rules::HEARTBEAT,
            with(&json!({"healthCheck": {"heartbeat": "0"}})),
            "spec.healthCheck.heartbeat",
        ),
        (
            rules::MAX_RESET_TIMEOUT,
            with(&json!({"circuitBreaker": {"maxResetTimeout": "25h"}})),
            "spec.circuitBreaker.maxResetTimeout",
        ),
        (
            rules::RESET_TIMEOUTS,
            with(&json!({"circuitBreaker": {"maxResetTimeout": "59s"}})),
            "spec.circuitBreaker.maxResetTimeout",
        ),
        (
            rules::FAILURE_THRESHOLD,
            with(&json!({"circuitBreaker": {"failureThreshold": 0}})),
            "spec.circuitBreaker.failureThreshold",
        ),
        (
            rules::RESET_TIMEOUT,
            with(&json!({"circuitBreaker": {"resetTimeout": "2h"}})),
            "spec.circuitBreaker.resetTimeout",
        ),
        (
            rules::SUCCESS_THRESHOLD,
            with(&json!({"circuitBreaker": {"halfOpen": {"successThreshold": 101}}})),
            "spec.circuitBreaker.halfOpen.successThreshold",
        ),
        (
            rules::TRAFFIC_STEPS,
            with(&json!({"circuitBreaker": {"halfOpen": {"trafficSteps": [50, 10]}}})),
            "spec.circuitBreaker.halfOpen.trafficSteps",
        ),
        (
            rules::TRAFFIC_STEPS,
            with(&json!({"circuitBreaker": {"halfOpen": {"trafficSteps": []}}})),
            "spec.circuitBreaker.halfOpen.trafficSteps",
        ),
        (
            rules::NAME_PREFIX,
            with(&json!({"outputs": {"services": {"namePrefix": "1"}}})),
            "spec.outputs.services.namePrefix",
        ),
        (
            rules::CONFIG_MAP_NAME,
            with(&json!({"outputs": {"configMap": {"name": "A"}}})),
            "spec.outputs.configMap.name",
        ),
        (
            rules::INTERVAL,
            with(&json!({"healthCheck": {"interval": "1d"}})),
            "spec.healthCheck.interval",
        ),
    ]
}

fn lag() -> Vec<Broken> {
    let policys = |lag: Value| with(&json!({"replicationLag": lag}));
    let own = |lag: Value| replica(&json!({"replicationLag": lag}));
    vec![
        (
            rules::LAG_MAX,
            policys(json!({"max": "169h"})),
            "spec.replicationLag.max",
        ),
        (
            rules::LAG_MAX,
            own(json!({"max": "5"})),
            "spec.replicas[0].replicationLag.max",
        ),
        (
            rules::LAG_RECOVER,
            policys(json!({"recover": "1d"})),
            "spec.replicationLag.recover",
        ),
        (
            rules::RECOVER,
            policys(json!({"recover": "31s"})),
            "spec.replicationLag.recover",
        ),
        (
            rules::RECOVER,
            own(json!({"max": "0s", "recover": "1ms"})),
            "spec.replicas[0].replicationLag.recover",
        ),
        (
            rules::LAG_MAX_BYTES,
            policys(json!({"maxBytes": "1.5Gi"})),
            "spec.replicationLag.maxBytes",
        ),
        (
            rules::LAG_QUERY,
            policys(json!({"source": "Query", "lagQuery": "SELECT 0; SELECT 1"})),
            "spec.replicationLag.lagQuery",
        ),
        (
            rules::LAG_QUERY,
            own(json!({"source": "Query", "lagQuery": "x".repeat(1025)})),
            "spec.replicas[0].replicationLag.lagQuery",
        ),
        (
            rules::LAG_QUERY_NEEDS_SOURCE,
            policys(json!({"lagQuery": "SELECT 0"})),
            "spec.replicationLag.lagQuery",
        ),
        (
            rules::LAG_QUERY_MISSING,
            policys(json!({"source": "Query"})),
            "spec.replicationLag.lagQuery",
        ),
    ]
}

fn identity() -> Vec<Broken> {
    vec![
        (
            rules::SYSTEM_IDENTIFIER,
            with(&json!({"identity": {"systemIdentifier": "18446744073709551616"}})),
            "spec.identity.systemIdentifier",
        ),
        (
            rules::SYSTEM_IDENTIFIER,
            with(&json!({"identity": {"systemIdentifier": "+1"}})),
            "spec.identity.systemIdentifier",
        ),
        (
            rules::IDENTIFIER_NEEDS_CHECK,
            with(&json!({"identity": {"check": "None", "systemIdentifier": "1"}})),
            "spec.identity.systemIdentifier",
        ),
        (
            rules::PINNED,
            with(&json!({"identity": {"check": "None"}})),
            "spec.failover.primaryRole",
        ),
        (
            rules::PINNED,
            with(&json!({"identity": {"check": "None"}, "failover": {"primaryRole": "Follow"}})),
            "spec.failover.primaryRole",
        ),
        (
            rules::ACCEPT_PRIMARY,
            with(&json!({"failover": {"acceptPrimary": "a"}})),
            "spec.failover.acceptPrimary",
        ),
    ]
}

#[test]
fn a_broken_rule_is_named_with_its_field() {
    for (rule, spec, field) in broken() {
        let problems = problems(spec);
        let expected = Problem {
            field: field.to_owned(),
            rule,
        };
        assert!(problems.contains(&expected), "{expected}\nfound {problems:?}");
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

/// The constants of the rules, as their source has them.
#[test]
fn every_rule_is_broken_by_a_policy_above() {
    let source = include_str!("../../rules.rs");
    let mut shown: Vec<_> = broken().into_iter().map(|(rule, ..)| rule).collect();
    shown.push(rules::NAME);
    let texts = source
        .split("pub const ")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1));
    let mut count = 0;
    for text in texts {
        assert!(shown.contains(&text), "no policy above breaks: {text}");
        count += 1;
    }
    assert!(count > 30, "{count} rules");
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
        [rules::WEIGHT, rules::ID_FORM, rules::SAME_SERVER, rules::INTERVAL]
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
