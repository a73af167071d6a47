//! What the API server takes and refuses, and the words in which it refuses.

#[path = "admission/routing.rs"]
mod routing;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use distributary_api::rules;
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "invalid_policies_are_refused_in_words",
            invalid_policies_are_refused,
        )
        .test("valid_policies_are_stored_as_written", valid_policies_are_stored)
        .test("the_largest_policy_is_admitted", the_largest_policy_is_admitted)
        .test(
            "an_absent_read_fallback_and_an_empty_one_are_kept_apart",
            read_fallbacks_are_kept_apart,
        )
        .test(
            "defaults_enter_outside_of_lists_only",
            defaults_enter_outside_of_lists,
        )
        .test("null_means_absent", null_means_absent)
        .test(
            "an_unknown_field_is_refused_by_kubectl",
            an_unknown_field_is_refused,
        )
        .test(
            "the_rules_are_affordable_at_twice_the_replicas",
            the_rules_are_affordable,
        )
        .test("kubectl_explain_reads_well", kubectl_explain_reads_well)
}

/// A change of [`minimal`] and the answer to it.
pub struct Refused {
    pub set: &'static str,
    pub to: Value,
    /// `FIELD: MESSAGE`, every one that the API server gives.
    pub says: Vec<String>,
}

/// The field that was set has no valid value; the API server quotes it.
fn value(set: &'static str, to: Value, rule: &str) -> Refused {
    let says = vec![format!("{set}: Invalid value: {to}: {rule}")];
    Refused { set, to, says }
}

/// A rule over several fields, told at one of them.
fn rule(set: &'static str, to: Value, field: &str, rule: &str) -> Refused {
    Refused {
        set,
        to,
        says: vec![format!("{field}: Invalid value: {rule}")],
    }
}

/// The schema's own bounds, told at the field that was set; the API server repeats its name.
fn bound(set: &'static str, to: Value, must: &str) -> Refused {
    let says = vec![format!("{set}: Invalid value: {to}: {set} in body {must}")];
    Refused { set, to, says }
}

/// Anything else.
fn says(set: &'static str, to: Value, says: &[&str]) -> Refused {
    Refused {
        set,
        to,
        says: says.iter().map(ToString::to_string).collect(),
    }
}

fn long(length: usize) -> Value {
    json!("a".repeat(length))
}

fn names() -> Vec<Refused> {
    vec![
        rule("metadata.name", json!("1orders"), "<nil>", rules::NAME),
        rule("metadata.name", json!("a.b"), "<nil>", rules::NAME),
        rule("metadata.name", long(41), "<nil>", rules::NAME),
        value("spec.primary.id", json!("Primary"), rules::ID_FORM),
        value("spec.replicas[0].id", json!("-a"), rules::ID_FORM),
        says(
            "spec.replicas[0].id",
            long(41),
            &["spec.replicas[0].id: Too long: may not be more than 40 bytes"],
        ),
        says(
            "spec.replicas[0].id",
            json!(""),
            &[
                "spec.replicas[0].id: Invalid value: \"\": spec.replicas[0].id in body should be at least 1 chars long",
                &format!("spec.replicas[0].id: Invalid value: \"\": {}", rules::ID_FORM),
            ],
        ),
        says(
            "spec.replicas[0].id",
            Value::Null,
            &["spec.replicas[0].id: Required value"],
        ),
        says(
            "spec.replicas[1].id",
            json!("replica-1"),
            &["spec.replicas[1]: Duplicate value: {\"id\":\"replica-1\"}"],
        ),
        rule(
            "spec.replicas[0].id",
            json!("primary"),
            "spec.primary.id",
            rules::PRIMARY_ID,
        ),
        rule(
            "spec.primary.id",
            json!("replica-2"),
            "spec.primary.id",
            rules::PRIMARY_ID,
        ),
        bound(
            "spec.replicas[0].displayName",
            json!(""),
            "should be at least 1 chars long",
        ),
        says(
            "spec.replicas[0].displayName",
            long(64),
            &["spec.replicas[0].displayName: Too long: may not be more than 63 bytes"],
        ),
        value("spec.replicas[0].region", json!("us east"), rules::REGION),
        value("spec.replicas[0].zone", json!("-"), rules::ZONE),
        rule(
            "spec.replicas[0].tags",
            json!(["good", "not good"]),
            "spec.replicas[0].tags",
            rules::TAGS,
        ),
        says(
            "spec.replicas[0].tags",
            json!(["a", "a"]),
            &["spec.replicas[0].tags[1]: Duplicate value: \"a\""],
        ),
        says(
            "spec.replicas[0].tags",
            (0..17).map(|tag| format!("tag-{tag}")).collect(),
            &["spec.replicas[0].tags: Too many: 17: must have at most 16 items"],
        ),
        value(
            "spec.outputs.services.namePrefix",
            json!("Orders"),
            rules::NAME_PREFIX,
        ),
        value(
            "spec.outputs.services.namePrefix",
            json!("a.b"),
            rules::NAME_PREFIX,
        ),
        value(
            "spec.outputs.services.namePrefix",
            json!("1a"),
            rules::NAME_PREFIX,
        ),
        says(
            "spec.outputs.services.namePrefix",
            long(41),
            &["spec.outputs.services.namePrefix: Too long: may not be more than 40 bytes"],
        ),
        value(
            "spec.outputs.configMap.name",
            json!("a..b"),
            rules::CONFIG_MAP_NAME,
        ),
        value("spec.outputs.configMap.name", json!("A"), rules::CONFIG_MAP_NAME),
    ]
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn servers() -> Vec<Refused> {
    let mut cases = vec![
        says("spec.primary", Value::Null, &["spec.primary: Required value"]),
        rule(
            "spec.primary.host",
            Value::Null,
            "spec.primary.host",
            rules::ADDRESS,
        ),
        rule(
            "spec.replicas[0].host",
            Value::Null,
            "spec.replicas[0].host",
            rules::ADDRESS,
        ),
        rule(
            "spec.replicas[0].urlSecretRef",
            json!({"name": "a", "key": "b"}),
            "spec.replicas[0].host",
            rules::ADDRESS,
        ),
        rule(
            "spec.replicas[0]",
            json!({"id": "replica-1", "urlSecretRef": {"name": "a", "key": "b"}, "port": 5432}),
            "spec.replicas[0].port",
            rules::PORT_WITH_HOST,
        ),
        rule(
            "spec.replicas[0].serviceRef",
            json!({"name": "pg"}),
            "spec.replicas[0].host",
            rules::ADDRESS,
        ),
        rule(
            "spec.replicas[0]",
            json!({"id": "replica-1", "serviceRef": {"name": "pg"}, "urlSecretRef": {"name": "a", "key": "b"}}),
            "spec.replicas[0].host",
            rules::ADDRESS,
        ),
        rule(
            "spec.primary",
            json!({"serviceRef": {"name": "pg"}, "port": 5432}),
            "spec.primary.port",
            rules::PORT_WITH_HOST,
        ),
        rule(
            "spec.replicas",
            json!([{"id": "a", "serviceRef": {"name": "pg"}}, {"id": "b", "serviceRef": {"name": "pg", "port": 5432}}]),
            "spec.replicas",
            rules::SAME_SERVER,
        ),
        // A server that is draining is still checked.
        rule(
            "spec.replicas[1]",
            json!({"id": "replica-2", "host": "pg-1.example.com", "state": "Draining"}),
            "spec.replicas",
            rules::SAME_SERVER,
        ),
        rule(
            "spec.replicas[1].host",
            json!("pg-1.example.com"),
            "spec.replicas",
            rules::SAME_SERVER,
        ),
        rule(
            "spec.replicas[1].host",
            json!("pg-0.example.com"),
            "spec.replicas",
            rules::SAME_SERVER,
        ),
        rule(
            "spec.replicas[1]",
            json!({"id": "replica-2", "host": "pg-1.example.com", "port": 5432}),
            "spec.replicas",
            rules::SAME_SERVER,
        ),
        says(
            "spec.replicas[0].host",
            long(254),
            &["spec.replicas[0].host: Too long: may not be more than 253 bytes"],
        ),
        bound(
            "spec.replicas[0].port",
            json!(0),
            "should be greater than or equal to 1",
        ),
        bound(
            "spec.replicas[0].port",
            json!(65536),
            "should be less than or equal to 65535",
        ),
        says(
            "spec.replicas[0].port",
            json!("5432"),
            &["spec.replicas[0].port: Invalid value: \"string\": \
               spec.replicas[0].port in body must be of type integer: \"string\""],
        ),
        bound(
            "spec.replicas[0].weight",
            json!(-1),
            "should be greater than or equal to 0",
        ),
        bound(
            "spec.replicas[0].weight",
            json!(1001),
            "should be less than or equal to 1000",
        ),
        bound(
            "spec.replicas[0].priority",
            json!(-1),
            "should be greater than or equal to 0",
        ),
        bound(
            "spec.replicas[0].priority",
            json!(1001),
            "should be less than or equal to 1000",
        ),
        bound(
            "spec.replicas[0].maxConnections",
            json!(0),
            "should be greater than or equal to 1",
        ),
        bound(
            "spec.replicas[0].maxConnections",
            json!(100_001),
            "should be less than or equal to 100000",
        ),
        says(
            "spec.replicas[0].state",
            json!("Off"),
            &[
                "spec.replicas[0].state: Unsupported value: \"Off\": supported values: \"Active\", \"Draining\", \"Disabled\"",
            ],
        ),
        says(
            "spec.replicas",
            (0..65)
                .map(|n| json!({"id": format!("replica-{n}"), "host": format!("pg-{n}")}))
                .collect(),
            &["spec.replicas: Too many: 65: must have at most 64 items"],
        ),
    ];
    for name in ["Pg", "a.b", "-a", "a_b"] {
        let told = format!(
            "spec.replicas[0].serviceRef.name: Invalid value: \"{name}\": {}",
            rules::SERVICE_NAME
        );
        let service = json!({"id": "replica-1", "serviceRef": {"name": name}});
        cases.push(says("spec.replicas[0]", service, &[&told]));
    }
    for (service, told) in [
        (
            json!({"name": "a".repeat(64)}),
            "spec.primary.serviceRef.name: Too long: may not be more than 63 bytes",
        ),
        (json!({}), "spec.primary.serviceRef.name: Required value"),
        (
            json!({"name": "pg", "port": 0}),
            "spec.primary.serviceRef.port: Invalid value: 0: \
             spec.primary.serviceRef.port in body should be greater than or equal to 1",
        ),
        (
            json!({"name": "pg", "port": 65536}),
            "spec.primary.serviceRef.port: Invalid value: 65536: \
             spec.primary.serviceRef.port in body should be less than or equal to 65535",
        ),
    ] {
        cases.push(says("spec.primary", json!({"serviceRef": service}), &[told]));
    }
    for host in [
        "a b",
        "-a",
        "a..b",
        "a/b",
        "a:5432",
        "[2001:db8::1]",
        "256.1.1.1",
        "127.1",
        "2001:db8::g",
        "::ffff:127.0.0.1",
    ] {
        cases.push(value("spec.replicas[0].host", json!(host), rules::HOST_FORM));
    }
    let unroutable = [
        "127.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
    ];
    for host in unroutable
        .into_iter()
        .chain(["::", "::1", "fe80::1", "ff02::1", "localhost", "LocalHost."])
    {
        cases.push(value("spec.primary.host", json!(host), rules::HOST));
        cases.push(value("spec.replicas[0].host", json!(host), rules::HOST));
    }
    cases
}

fn logins() -> Vec<Refused> {
    let modes = "supported values: \"Disable\", \"Require\", \"VerifyCA\", \"VerifyFull\"";
    let tls = |mode: &str, reference: &str| json!({"mode": mode, reference: {"name": "a"}});
    vec![
        bound(
            "spec.connection.database",
            json!(""),
            "should be at least 1 chars long",
        ),
        says(
            "spec.connection.database",
            long(64),
            &["spec.connection.database: Too long: may not be more than 63 bytes"],
        ),
        value(
            "spec.connection.connectTimeout",
            json!("999ms"),
            rules::CONNECT_TIMEOUT,
        ),
        value(
            "spec.connection.connectTimeout",
            json!("5m1ms"),
            rules::CONNECT_TIMEOUT,
        ),
        value(
            "spec.connection.connectTimeout",
            json!("10"),
            rules::CONNECT_TIMEOUT,
        ),
        value(
            "spec.replicas[0].connection.connectTimeout",
            json!("1.5s"),
            rules::CONNECT_TIMEOUT,
        ),
        says(
            "spec.connection.tls.mode",
            json!("Prefer"),
            &[&format!(
                "spec.connection.tls.mode: Unsupported value: \"Prefer\": {modes}"
            )],
        ),
        rule(
            "spec.connection.tls",
            tls("Require", "caSecretRef"),
            "spec.connection.tls.caSecretRef",
            rules::CA_NEEDS_VERIFY,
        ),
        rule(
            "spec.replicas[0].connection.tls",
            tls("Disable", "caSecretRef"),
            "spec.replicas[0].connection.tls.caSecretRef",
            rules::CA_NEEDS_VERIFY,
        ),
        rule(
            "spec.primary.connection.tls",
            tls("Disable", "clientCertSecretRef"),
            "spec.primary.connection.tls.clientCertSecretRef",
            rules::CLIENT_CERT_NEEDS_TLS,
        ),
        value(
            "spec.connection.credentialsSecretRef.name",
            json!("Probe"),
            rules::SECRET_NAME,
        ),
        value(
            "spec.connection.tls.clientCertSecretRef.name",
            json!("a..b"),
            rules::SECRET_NAME,
        ),
        says(
            "spec.connection.credentialsSecretRef",
            json!({}),
            &["spec.connection.credentialsSecretRef.name: Required value"],
        ),
        says(
            "spec.connection.tls.caSecretRef",
            json!({"name": "a", "key": "c/d"}),
            &[&format!(
                "spec.connection.tls.caSecretRef.key: Invalid value: \"c/d\": {}",
                rules::SECRET_KEY
            )],
        ),
    ]
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn times() -> Vec<Refused> {
    let steps = "spec.circuitBreaker.halfOpen.trafficSteps";
    let mut cases = vec![
        bound(
            "spec.circuitBreaker.failureThreshold",
            json!(0),
            "should be greater than or equal to 1",
        ),
        bound(
            "spec.circuitBreaker.failureThreshold",
            json!(101),
            "should be less than or equal to 100",
        ),
        bound(
            "spec.circuitBreaker.halfOpen.successThreshold",
            json!(0),
            "should be greater than or equal to 1",
        ),
        bound(
            "spec.circuitBreaker.halfOpen.successThreshold",
            json!(101),
            "should be less than or equal to 100",
        ),
        value(
            "spec.circuitBreaker.maxResetTimeout",
            json!("24h1ms"),
            rules::MAX_RESET_TIMEOUT,
        ),
        value(
            "spec.circuitBreaker.maxResetTimeout",
            json!("10"),
            rules::MAX_RESET_TIMEOUT,
        ),
        rule(
            "spec.circuitBreaker.maxResetTimeout",
            json!("59s999ms"),
            "spec.circuitBreaker.maxResetTimeout",
            rules::RESET_TIMEOUTS,
        ),
        // Attempts of less than 20ms.
        rule(
            "spec.healthCheck.failoverTimeout",
            json!("99ms"),
            "spec.healthCheck.failoverTimeout",
            rules::ATTEMPT,
        ),
        says(
            "spec.healthCheck.interval",
            json!(30),
            &["spec.healthCheck.interval: Invalid value: \"integer\": \
               spec.healthCheck.interval in body must be of type string: \"integer\""],
        ),
        rule(
            "spec.circuitBreaker.halfOpen.trafficSteps",
            json!([50, 10]),
            steps,
            rules::TRAFFIC_STEPS,
        ),
        rule(
            "spec.circuitBreaker.halfOpen.trafficSteps",
            json!([10, 10]),
            steps,
            rules::TRAFFIC_STEPS,
        ),
        says(
            "spec.circuitBreaker.halfOpen.trafficSteps",
            json!([]),
            &[&format!(
                "{steps}: Invalid value: 0: {steps} in body should have at least 1 items"
            )],
        ),
        says(
            "spec.circuitBreaker.halfOpen.trafficSteps",
            json!([0]),
            &[&format!(
                "{steps}[0]: Invalid value: 0: {steps}[0] in body should be greater than or equal to 1"
            )],
        ),
        says(
            "spec.circuitBreaker.halfOpen.trafficSteps",
            json!([101]),
            &[&format!(
                "{steps}[0]: Invalid value: 101: {steps}[0] in body should be less than or equal to 100"
            )],
        ),
        says(
            "spec.circuitBreaker.halfOpen.trafficSteps",
            json!([1, 2, 3, 4, 5, 6, 7, 8, 9]),
            &[&format!("{steps}: Too many: 9: must have at most 8 items")],
        ),
    ];
    for (field, short, long, rule) in [
        ("spec.healthCheck.interval", "99ms", "1h1ms", rules::INTERVAL),
        ("spec.healthCheck.timeout", "19ms", "1m1ms", rules::TIMEOUT),
        (
            "spec.healthCheck.failoverTimeout",
            "",
            "10m1ms",
            rules::FAILOVER_TIMEOUT,
        ),
        ("spec.healthCheck.heartbeat", "99ms", "1h1ms", rules::HEARTBEAT),
        (
            "spec.circuitBreaker.resetTimeout",
            "99ms",
            "1h1ms",
            rules::RESET_TIMEOUT,
        ),
        ("spec.replicationLag.max", "", "168h1ms", rules::LAG_MAX),
        (
            "spec.replicas[0].replicationLag.max",
            "",
            "168h1ms",
            rules::LAG_MAX,
        ),
        ("spec.replicationLag.recover", "", "", rules::LAG_RECOVER),
    ] {
        let malformed = ["5", "s", "1d", "-1s", "1.5s", "1m 30s", "100000s", "1s1s1s1s1s"];
        for text in malformed
            .into_iter()
            .chain([short, long])
            .filter(|text| !text.is_empty())
        {
            cases.push(value(field, json!(text), rule));
        }
    }
    cases
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn lag() -> Vec<Refused> {
    let recover = "spec.replicationLag.recover";
    let query = "spec.replicationLag.lagQuery";
    // The policy's own, with what the first replica has for its own.
    let both = |policys: Value, own: Value| {
        let mut spec = minimal()["spec"].clone();
        spec["replicationLag"] = policys;
        spec["replicas"][0]["replicationLag"] = own;
        spec
    };
    let primary = |own: Value| json!({"host": "pg-0.example.com", "replicationLag": own});
    let mut cases = vec![
        rule(
            "spec.replicationLag",
            json!({"max": "10s", "recover": "10s1ms"}),
            recover,
            rules::RECOVER,
        ),
        says(
            "spec.replicationLag",
            json!({"max": "168h", "recover": "168h1ms"}),
            &[
                &format!("{recover}: Invalid value: \"168h1ms\": {}", rules::LAG_RECOVER),
                &format!("{recover}: Invalid value: {}", rules::RECOVER),
            ],
        ),
        // Above the default of max.
        rule(
            "spec.replicationLag",
            json!({"recover": "31s"}),
            recover,
            rules::RECOVER,
        ),
        rule(
            "spec.replicas[0].replicationLag",
            json!({"recover": "31s"}),
            "spec.replicas",
            rules::RECOVER,
        ),
        rule(
            "spec.replicas[0].replicationLag",
            json!({"max": "0s", "recover": "1ms"}),
            "spec.replicas[0].replicationLag.recover",
            rules::RECOVER,
        ),
        rule(
            "spec",
            both(json!({"recover": "15s"}), json!({"max": "10s"})),
            "spec.replicas",
            rules::RECOVER,
        ),
        rule(
            "spec",
            both(json!({"max": "10s"}), json!({"recover": "15s"})),
            "spec.replicas",
            rules::RECOVER,
        ),
        rule(
            "spec.primary",
            primary(json!({"recover": "31s"})),
            "spec.primary.replicationLag.recover",
            rules::RECOVER,
        ),
        rule(
            "spec.replicationLag",
            json!({"source": "Wal", "lagQuery": "SELECT 0"}),
            query,
            rules::LAG_QUERY_NEEDS_SOURCE,
        ),
        rule(
            "spec.replicationLag",
            json!({"lagQuery": "SELECT 0"}),
            query,
            rules::LAG_QUERY_NEEDS_SOURCE,
        ),
        rule(
            "spec.replicas[0].replicationLag",
            json!({"lagQuery": "SELECT 0"}),
            "spec.replicas",
            rules::LAG_QUERY_NEEDS_SOURCE,
        ),
        rule(
            "spec.primary",
            primary(json!({"lagQuery": "SELECT 0"})),
            "spec.primary.replicationLag.lagQuery",
            rules::LAG_QUERY_NEEDS_SOURCE,
        ),
        rule(
            "spec.replicas[0].replicationLag",
            json!({"source": "None", "lagQuery": "SELECT 0"}),
            "spec.replicas[0].replicationLag.lagQuery",
            rules::LAG_QUERY_NEEDS_SOURCE,
        ),
        rule(
            "spec.replicationLag",
            json!({"source": "Query"}),
            query,
            rules::LAG_QUERY_MISSING,
        ),
        rule(
            "spec.replicas[0].replicationLag",
            json!({"source": "Query"}),
            "spec.replicas",
            rules::LAG_QUERY_MISSING,
        ),
        rule(
            "spec.primary",
            primary(json!({"source": "Query"})),
            "spec.primary.replicationLag.lagQuery",
            rules::LAG_QUERY_MISSING,
        ),
        says(
            "spec.replicationLag",
            json!({"source": "Query", "lagQuery": "a".repeat(1025)}),
            &["spec.replicationLag.lagQuery: Too long: may not be more than 1024 bytes"],
        ),
        says(
            "spec.replicationLag.maxBytes",
            json!(1),
            &["spec.replicationLag.maxBytes: Invalid value: \"integer\": \
               spec.replicationLag.maxBytes in body must be of type string: \"integer\""],
        ),
    ];
    for text in ["SELECT 0;", "SELECT 0; DROP TABLE a", " "] {
        let told = format!("{query}: Invalid value: \"{text}\": {}", rules::LAG_QUERY);
        let lag = json!({"source": "Query", "lagQuery": text});
        cases.push(says("spec.replicationLag", lag, &[&told]));
    }
    for bytes in [
        "-1",
        "1.5Gi",
        "1Ei",
        "1 Mi",
        "100m",
        "1e3",
        "1mi",
        "1125899906842625",
        "1025Ti",
        "2P",
    ] {
        cases.push(value(
            "spec.replicationLag.maxBytes",
            json!(bytes),
            rules::LAG_MAX_BYTES,
        ));
    }
    cases
}

fn identities() -> Vec<Refused> {
    let identifier = "spec.identity.systemIdentifier";
    let role = "spec.failover.primaryRole";
    let unchecked = |failover: Value| {
        let mut spec = minimal()["spec"].clone();
        spec["identity"] = json!({"check": "None"});
        spec["failover"] = failover;
        spec
    };
    let mut cases = vec![
        rule("spec.identity.check", json!("None"), role, rules::PINNED),
        rule("spec", unchecked(json!({})), role, rules::PINNED),
        rule(
            "spec",
            unchecked(json!({"primaryRole": "Follow"})),
            role,
            rules::PINNED,
        ),
        rule(
            "spec.failover.acceptPrimary",
            json!("replica-3"),
            "spec.failover.acceptPrimary",
            rules::ACCEPT_PRIMARY,
        ),
        says(
            "spec.failover.acceptPrimary",
            long(41),
            &["spec.failover.acceptPrimary: Too long: may not be more than 40 bytes"],
        ),
    ];
    let mut spec = unchecked(json!({"primaryRole": "Pinned"}));
    spec["identity"]["systemIdentifier"] = json!("1");
    cases.push(rule("spec", spec, identifier, rules::IDENTIFIER_NEEDS_CHECK));
    for text in [
        "0",
        "01",
        "-1",
        "a",
        "1.5",
        "18446744073709551616",
        "99999999999999999999",
    ] {
        cases.push(value(identifier, json!(text), rules::SYSTEM_IDENTIFIER));
    }
    cases.push(says(
        identifier,
        json!("1".repeat(21)),
        &["spec.identity.systemIdentifier: Too long: may not be more than 20 bytes"],
    ));
    cases
}

fn choices() -> Vec<Refused> {
    let choice = |set: &'static str, field: &str, to: Value, supported: &[&str]| {
        let supported: Vec<_> = supported.iter().map(|word| format!("\"{word}\"")).collect();
        let says = vec![format!(
            "{field}: Unsupported value: \"Other\": supported values: {}",
            supported.join(", ")
        )];
        Refused { set, to, says }
    };
    let other = || json!("Other");
    vec![
        choice(
            "spec.mode",
            "spec.mode",
            other(),
            &["Enforce", "Observe", "Suspend"],
        ),
        choice(
            "spec.deletionPolicy",
            "spec.deletionPolicy",
            other(),
            &["Delete", "Retain"],
        ),
        choice(
            "spec.loadBalancing.strategy",
            "spec.loadBalancing.strategy",
            other(),
            &["RoundRobin", "Weighted", "LeastConnections", "Geographic"],
        ),
        choice(
            "spec.circuitBreaker.state",
            "spec.circuitBreaker.state",
            other(),
            &["Enabled", "Disabled"],
        ),
        choice(
            "spec.outputs.services.state",
            "spec.outputs.services.state",
            other(),
            &["Enabled", "Disabled"],
        ),
        choice(
            "spec.identity.check",
            "spec.identity.check",
            other(),
            &["SystemIdentifier", "None"],
        ),
        choice(
            "spec.failover.primaryRole",
            "spec.failover.primaryRole",
            other(),
            &["Follow", "Pinned"],
        ),
        choice(
            "spec.failover.onPrimaryLoss",
            "spec.failover.onPrimaryLoss",
            other(),
            &["Hold", "Withdraw"],
        ),
        choice(
            "spec.replicas[0].replicationLag.source",
            "spec.replicas[0].replicationLag.source",
            other(),
            &["Wal", "Query", "None"],
        ),
        choice(
            "spec.failover.readFallback",
            "spec.failover.readFallback[0]",
            json!(["Other"]),
            &["LaggingReplicas", "Primary"],
        ),
        says(
            "spec.failover.readFallback",
            json!(["Primary", "Primary"]),
            &["spec.failover.readFallback[1]: Duplicate value: \"Primary\""],
        ),
    ]
}

/// Every case.
pub fn refused() -> Vec<Refused> {
    let cases = [
        names(),
        servers(),
        logins(),
        times(),
        lag(),
        identities(),
        choices(),
        routing::refused(),
    ];
    cases.into_iter().flatten().collect()
}

async fn invalid_policies_are_refused(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("refused").await?;
    let api = policies(plane.client(), &namespace);
    create(&api, &minimal(), true)
        .await
        .context("the policy that the cases change")?;
    let mut wrong = vec![];
    for Refused { set, to, says } in refused() {
        let mut policy = minimal();
        put(&mut policy, set, to.clone());
        let answer = create(&api, &policy, true).await;
        let mut said = answer.map_or_else(|error| causes(&error), |_| Ok(vec!["accepted".to_owned()]))?;
        let mut expected = says;
        said.sort();
        expected.sort();
        if said != expected {
            wrong.push(format!(
                "{set} = {to}:\n  expected {expected:?}\n  was      {said:?}"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What is wrong with an object, as `FIELD: MESSAGE`. Without the note that rules wait for a valid schema.
fn causes(error: &kube::Error) -> Result<Vec<String>> {
    let kube::Error::Api(status) = error else {
        bail!("no answer: {error}")
    };
    ensure!(status.code == 422, "{} {}", status.code, status.message);
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let told = causes.filter(|cause| !cause.message.contains("some validation rules were not checked"));
    Ok(told
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect())
}

#[allow(clippy::too_many_lines, reason = "a table")]
async fn valid_policies_are_stored(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("valid").await?;
    let api = policies(plane.client(), &namespace);
    let mut cases = vec![
        ("metadata.name", long(40)),
        ("spec.replicas", json!([])),
        ("spec.replicas[0].port", json!(65535)),
        ("spec.replicas[0].weight", json!(0)),
        ("spec.replicas[0].priority", json!(0)),
        ("spec.replicas[0].tags", json!([])),
        ("spec.replicas[0].state", json!("Disabled")),
        ("spec.primary.id", json!("pg-0")),
        // The same server, as long as only one of them is active.
        (
            "spec.replicas[1]",
            json!({"id": "replica-2", "host": "pg-1.example.com", "state": "Disabled"}),
        ),
        (
            "spec.replicas[1]",
            json!({"id": "replica-2", "host": "pg-1.example.com", "port": 5433}),
        ),
        (
            "spec.replicas[0]",
            json!({"id": "0", "urlSecretRef": {"name": "a.b", "key": "A_b-c.d"}}),
        ),
        ("spec.connection.tls", json!({})),
        (
            "spec.connection.tls",
            json!({"caSecretRef": {"name": "a"}, "clientCertSecretRef": {"name": "b"}}),
        ),
        ("spec.connection.tls", json!({"mode": "Disable"})),
        (
            "spec.connection.tls",
            json!({"mode": "Require", "clientCertSecretRef": {"name": "b"}}),
        ),
        (
            "spec.connection.tls",
            json!({"mode": "VerifyCA", "caSecretRef": {"name": "a", "key": "ca.pem"}}),
        ),
        (
            "spec.connection.tls",
            json!({"mode": "VerifyFull", "caSecretRef": {"name": "a"}}),
        ),
        ("spec.connection.connectTimeout", json!("1s")),
        ("spec.connection.connectTimeout", json!("5m")),
        (
            "spec.healthCheck",
            json!({"interval": "100ms", "timeout": "20ms", "failoverTimeout": "100ms"}),
        ),
        (
            "spec.healthCheck",
            json!({"interval": "59m59s1000ms", "timeout": "1m", "failoverTimeout": "10m"}),
        ),
        (
            "spec.circuitBreaker",
            json!({"state": "Disabled", "failureThreshold": 100, "resetTimeout": "1h"}),
        ),
        (
            "spec.circuitBreaker.halfOpen.trafficSteps",
            json!([1, 2, 3, 4, 5, 6, 99, 100]),
        ),
        ("spec.replicas[0].state", json!("Draining")),
        ("spec.replicas[0].promotable", json!(false)),
        (
            "spec.replicas",
            json!([{"id": "a", "serviceRef": {"name": "0pg"}}, {"id": "b", "serviceRef": {"name": "0pg", "port": 1}}]),
        ),
        ("spec.healthCheck.heartbeat", json!("0s")),
        ("spec.healthCheck.heartbeat", json!("0h0ms")),
        ("spec.healthCheck.heartbeat", json!("100ms")),
        ("spec.healthCheck.heartbeat", json!("1h")),
        // The default of maxResetTimeout grows with it.
        ("spec.circuitBreaker.resetTimeout", json!("11m")),
        (
            "spec.circuitBreaker",
            json!({"resetTimeout": "100ms", "maxResetTimeout": "100ms"}),
        ),
        ("spec.circuitBreaker.maxResetTimeout", json!("24h")),
        ("spec.replicationLag", json!({})),
        ("spec.replicationLag", json!({"max": "0s", "recover": "0s"})),
        ("spec.replicationLag", json!({"max": "168h", "recover": "168h"})),
        ("spec.replicationLag", json!({"recover": "30s", "source": "None"})),
        (
            "spec.replicationLag",
            json!({"source": "Query", "lagQuery": "SELECT 0"}),
        ),
        ("spec.replicas[0].replicationLag", json!({"max": "0s"})),
        (
            "spec.identity",
            json!({"systemIdentifier": "18446744073709551615"}),
        ),
        (
            "spec.identity",
            json!({"systemIdentifier": "9999999999999999999"}),
        ),
        ("spec.failover", json!({"acceptPrimary": "primary"})),
        ("spec.failover", json!({"acceptPrimary": "replica-2"})),
        (
            "spec.failover",
            json!({"primaryRole": "Pinned", "onPrimaryLoss": "Withdraw"}),
        ),
        ("spec.outputs", json!({"services": {"state": "Disabled"}})),
        (
            "spec.outputs",
            json!({"services": {"namePrefix": "a"}, "configMap": {"name": "0.a"}}),
        ),
    ];
    cases.extend(routing::accepted());
    for bytes in [
        "0",
        "1",
        "256Mi",
        "1G",
        "1P",
        "1Pi",
        "1125899906842624",
        "1024Ti",
        "007k",
    ] {
        cases.push(("spec.replicationLag.maxBytes", json!(bytes)));
    }
    for host in [
        "a",
        "pg.shop.svc.cluster.local.",
        "A_b-c.example.com",
        "example.com.",
        "10.0.0.1",
        "2001:db8::1",
        "fd00::1",
        "1.example.com",
    ] {
        cases.push(("spec.replicas[0].host", json!(host)));
    }
    let spec = |more: Value| {
        let mut spec = minimal()["spec"].clone();
        for (field, value) in more.as_object().into_iter().flatten() {
            put(&mut spec, field, value.clone());
        }
        ("spec", spec)
    };
    let asked = json!({"source": "Query", "lagQuery": "SELECT 0"});
    cases.extend([
        spec(json!({"identity": {"check": "None"}, "failover": {"primaryRole": "Pinned"}})),
        spec(json!({"replicationLag": {"max": "1m"}, "replicas[0].replicationLag": {"recover": "1m"}})),
        spec(json!({"replicationLag": {"max": "1m", "recover": "40s"}, "primary.replicationLag": {"max": "40s"}})),
        spec(json!({"replicationLag": asked, "replicas[0].replicationLag": {"lagQuery": "SELECT 1"}})),
        spec(json!({"replicationLag": asked, "replicas[0].replicationLag": {"source": "Wal"}})),
        spec(json!({"replicationLag": asked, "replicas[0].replicationLag": {"source": "Query"}})),
    ]);
    for (set, to) in cases {
        let mut policy = minimal();
        put(&mut policy, set, to.clone());
        let stored = create(&api, &policy, true)
            .await
            .with_context(|| format!("{set} = {to}"))?;
        ensure!(
            contains(&stored["spec"], &policy["spec"]),
            "{set} = {to} was stored as {}",
            stored["spec"]
        );
    }
    Ok(())
}

async fn the_largest_policy_is_admitted(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("largest").await?;
    let api = policies(plane.client(), &namespace);
    let name = |length: usize| "n".repeat(length);
    let connection = json!({
        "database": name(63),
        "connectTimeout": "0h1m59s1000ms",
        "credentialsSecretRef": {"name": name(253)},
        "tls": {
            "mode": "VerifyFull",
            "caSecretRef": {"name": name(253), "key": name(253)},
            "clientCertSecretRef": {"name": name(253)},
        },
    });
    let lag = json!({
        "max": "0h0m59s1000ms",
        "maxBytes": "1125899906842624",
        "recover": "0h0m59s1000ms",
        "source": "Query",
        "lagQuery": name(1024),
    });
    let server = |number: usize| {
        json!({
            "id": format!("{}{number:02}", name(38)),
            "displayName": name(63),
            "host": format!("{}.{}.{}.{}{number:02}", name(63), name(63), name(63), name(59)),
            "port": 65535,
            "region": name(63),
            "zone": name(63),
            "weight": 1000,
            "priority": 1000,
            "maxConnections": 100_000,
            "state": "Active",
            "promotable": true,
            "replicationLag": lag,
            "tags": (10..26).map(|tag| format!("{}{tag}", name(61))).collect::<Vec<_>>(),
            "connection": connection,
        })
    };
    let mut policy = minimal();
    policy["metadata"]["name"] = json!(name(40));
    policy["spec"] = json!({
        "mode": "Enforce",
        "deletionPolicy": "Retain",
        "connection": connection,
        "primary": server(64),
        "replicas": (0..64).map(server).collect::<Vec<_>>(),
        "loadBalancing": {
            "strategy": "Weighted",
            "regions": (10..26).map(|region| json!({
                "name": format!("{}{region}", name(17)),
                "failover": (10..26).map(|other| format!("{}{other}", name(61))).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "zoneHints": "Auto",
        },
        "routing": routing::largest(name),
        "identity": {"check": "SystemIdentifier", "systemIdentifier": "18446744073709551615"},
        "replicationLag": lag,
        "healthCheck": {"interval": "0h0m59s1000ms", "heartbeat": "0h0m59s1000ms", "timeout": "0h0m1s1000ms", "failoverTimeout": "0h9m59s1000ms"},
        "circuitBreaker": {
            "state": "Enabled",
            "failureThreshold": 100,
            "resetTimeout": "0h59m59s1000ms",
            "maxResetTimeout": "0h59m59s1000ms",
            "halfOpen": {"successThreshold": 100, "trafficSteps": [1, 2, 3, 4, 5, 6, 99, 100]},
        },
        "failover": {
            "readFallback": ["LaggingReplicas", "Primary"],
            "minHealthyReplicas": "100%",
            "primaryRole": "Follow",
            "onPrimaryLoss": "Withdraw",
            "acceptPrimary": format!("{}63", name(38)),
        },
        "outputs": {"services": {"state": "Enabled", "namePrefix": name(40), "perClass": "Enabled", "perRegion": "Auto"}, "configMap": {"name": name(253)}},
    });
    let stored = create(&api, &policy, false).await?;
    ensure!(stored["spec"] == policy["spec"], "stored as {}", stored["spec"]);
    Ok(())
}

async fn read_fallbacks_are_kept_apart(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("fallback").await?;
    let api = policies(plane.client(), &namespace);
    for (name, failover) in [
        ("absent", json!({})),
        ("empty", json!({"readFallback": []})),
        ("primary", json!({"readFallback": ["Primary"]})),
    ] {
        let mut policy = minimal();
        policy["metadata"]["name"] = json!(name);
        policy["spec"]["failover"] = failover.clone();
        create(&api, &policy, false).await?;
        let stored = api.get(name).await?.data["spec"]["failover"].clone();
        let kept = stored.get("readFallback") == failover.get("readFallback");
        ensure!(kept, "{name} was stored as {stored}");
    }
    let mut policy = minimal();
    policy["metadata"]["name"] = json!("nothing");
    create(&api, &policy, false).await?;
    ensure!(
        api.get("nothing").await?.data["spec"].get("failover").is_none(),
        "failover was made up"
    );
    Ok(())
}

async fn defaults_enter_outside_of_lists(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("defaults").await?;
    let api = policies(plane.client(), &namespace);
    let stored = create(&api, &minimal(), true).await?;
    let expected = json!({
        "mode": "Enforce",
        "deletionPolicy": "Delete",
        "primary": {"host": "pg-0.example.com"},
        "replicas": minimal()["spec"]["replicas"],
        "loadBalancing": {"strategy": "RoundRobin", "zoneHints": "Disabled"},
        "healthCheck": {"interval": "30s", "heartbeat": "2s", "timeout": "2s", "failoverTimeout": "5s"},
        "circuitBreaker": {
            "state": "Enabled",
            "failureThreshold": 5,
            "resetTimeout": "60s",
            "halfOpen": {"successThreshold": 3, "trafficSteps": [10, 50]},
        },
    });
    ensure!(stored["spec"] == expected, "stored as {}", stored["spec"]);
    Ok(())
}

async fn null_means_absent(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("null").await?;
    let api = policies(plane.client(), &namespace);
    let mut policy = minimal();
    let nulls = [
        "spec.mode",
        "spec.connection",
        "spec.failover.readFallback",
        "spec.primary.state",
        "spec.replicas[0].tags",
        "spec.replicas[0].connection.tls.mode",
    ];
    for field in nulls {
        put(&mut policy, field, Value::Null);
    }
    let stored = create(&api, &policy, true).await?["spec"].clone();
    ensure!(!stored.to_string().contains("null"), "stored as {stored}");
    ensure!(
        stored["mode"] == "Enforce" && stored["failover"].get("readFallback").is_none(),
        "stored as {stored}"
    );
    Ok(())
}

async fn an_unknown_field_is_refused(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("unknown").await?;
    let mut policy = minimal();
    policy["spec"]["replicas"][0]["wieght"] = json!(3);
    let answer = plane.apply(&namespace, &policy.to_string()).await;
    let Err(error) = answer else { bail!("accepted") };
    let message = format!("{error:#}");
    ensure!(message.contains("wieght"), "{message}");
    Ok(())
}

async fn the_rules_are_affordable(plane: Arc<ControlPlane>) -> Result<()> {
    let mut crd = distributary_api::crd();
    crd["metadata"]["name"] = json!("replicasetpolicies.affordable.distributary.dev");
    crd["spec"]["group"] = json!("affordable.distributary.dev");
    let replicas = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas/maxItems";
    let most = crd.pointer_mut(replicas).context("no bound of replicas")?;
    ensure!(*most == 64, "at most {most} replicas");
    *most = json!(128);
    let api: Api<CustomResourceDefinition> = Api::all(plane.client());
    api.create(
        &PostParams {
            dry_run: true,
            ..PostParams::default()
        },
        &serde_json::from_value(crd)?,
    )
    .await?;
    Ok(())
}

async fn kubectl_explain_reads_well(plane: Arc<ControlPlane>) -> Result<()> {
    // A short name is known a moment after the definition is established.
    let explain = || plane.kubectl(&["explain", "rsp.spec", "--recursive"]);
    let text = wait::eventually("kubectl to know rsp", Duration::from_secs(20), explain).await?;
    for line in [
        "replicas\t<[]Object>",
        "id\t<string> -required-",
        "enum: Disable, Require, VerifyCA, VerifyFull",
    ] {
        ensure!(text.contains(line), "no {line:?} in\n{text}");
    }
    for path in [
        "rsp",
        "rsp.spec",
        "rsp.spec.replicas",
        "rsp.spec.connection.tls",
        "rsp.status",
        "rsp.status.endpoints",
    ] {
        let text = plane.kubectl(&["explain", path]).await?;
        for blemish in ["<no description>", "<no value>", "<nil>", "crate::"] {
            ensure!(!text.contains(blemish), "{blemish:?} in {path}:\n{text}");
        }
    }
    Ok(())
}

/// One primary and two replicas.
pub fn minimal() -> Value {
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders"},
        "spec": {
            "primary": {"host": "pg-0.example.com"},
            "replicas": [
                {"id": "replica-1", "host": "pg-1.example.com"},
                {"id": "replica-2", "host": "pg-2.example.com"},
            ],
        },
    })
}

/// Sets `spec.replicas[0].id` and the like. The API server takes null for absent.
pub fn put(object: &mut Value, field: &str, to: Value) {
    let path = field.replace('[', ".").replace(']', "");
    let place = path
        .split('.')
        .fold(object, |place, key| match key.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[key],
        });
    *place = to;
}

/// Untyped, so that what the types would not hold can be sent and seen.
fn policies(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("distributary.dev", "v1alpha1", "ReplicaSetPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "replicasetpolicies");
    Api::namespaced_with(client, namespace, &resource)
}

async fn create(api: &Api<DynamicObject>, policy: &Value, dry_run: bool) -> Result<Value, kube::Error> {
    let object = serde_json::from_value(policy.clone()).map_err(kube::Error::SerdeError)?;
    let stored = api
        .create(
            &PostParams {
                dry_run,
                ..PostParams::default()
            },
            &object,
        )
        .await?;
    Ok(stored.data)
}

/// Whether `whole` has everything that `part` has; lists are compared item by item.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        _ => whole == part,
    }
}
