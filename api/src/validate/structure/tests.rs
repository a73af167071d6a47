use serde_json::json;

use super::*;
use crate as api;

fn said(spec: Value) -> Vec<String> {
    let schema = &api::crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let found = misfits(&json!({"spec": spec}), schema);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn what_fits_is_left_alone_and_null_is_absent() {
    let spec = json!({"primary": {"host": "a", "zone": null}, "replicas": [{"id": "a", "host": "b"}], "mode": "Observe"});
    assert_eq!(said(spec), Vec::<String>::new());
}

#[test]
fn each_misfit_is_told_at_its_field() {
    let spec = json!({
        "primary": {"hots": "a", "port": 0, "tags": ["a", "a"]},
        "replicas": [{"id": ""}, {"id": ""}, {"port": "5432"}, {"id": "b"}, {"id": "b"}, {"id": "u:canary@h"}, {"id": "u:canary@h"}],
        "mode": "observe",
        "circuitBreaker": {"halfOpen": {"trafficSteps": []}},
    });
    assert_eq!(
        said(spec),
        [
            "spec.circuitBreaker.halfOpen.trafficSteps: should have at least 1 items",
            "spec.mode: supported values: \"Enforce\", \"Observe\", \"Suspend\"",
            "spec.primary.hots: unknown field: did you mean host?",
            "spec.primary.port: should be greater than or equal to 1",
            "spec.primary.tags[1]: Duplicate value: \"a\"",
            "spec.replicas[0].id: should be at least 1 chars long",
            "spec.replicas[1].id: should be at least 1 chars long",
            "spec.replicas[2].id: Required value",
            "spec.replicas[2].port: must be a number: write it without quotes",
            "spec.replicas[1]: Duplicate value",
            "spec.replicas[4]: Duplicate value: {\"id\":\"b\"}",
            "spec.replicas[6]: Duplicate value",
        ]
    );
    assert_eq!(said(json!({})), ["spec.primary: Required value"]);
}

#[test]
fn a_field_beside_the_spec_is_told_where_it_belongs() {
    let schema = &api::crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let object = json!({
        "apiVersion": "a", "kind": "b", "metadata": {}, "status": {}, "failover": null, "data": {}, "replicas": [],
        "spec": {"primary": {"host": "a"}},
    });
    let told: Vec<_> = misfits(&object, schema).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "data: unknown field",
            "replicas: unknown field: did you mean spec.replicas?",
        ]
    );
}

#[test]
fn a_value_of_another_type_is_told_what_it_must_be() {
    for (least, fits) in [
        (json!(1), true),
        (json!("50%"), true),
        (json!(1.5), false),
        (json!(true), false),
        (json!([1]), false),
    ] {
        let told = said(json!({"primary": {"host": "a"}, "failover": {"minHealthyReplicas": least}}));
        let expected = "spec.failover.minHealthyReplicas: must be a whole number or a text";
        assert_eq!(told, if fits { vec![] } else { vec![expected] }, "{least}");
    }
    let primary = json!({"host": "a", "promotable": "yes", "weight": 1.5, "connection": ["a"]});
    assert_eq!(
        said(json!({"primary": primary, "healthCheck": true})),
        [
            "spec.healthCheck: must be an object, not a word: write {interval: …}",
            "spec.primary.connection: must be an object, not a list: write {credentialsSecretRef: …}",
            "spec.primary.promotable: must be true or false, without quotes",
            "spec.primary.weight: must be a whole number",
        ]
    );
}

#[test]
fn a_message_says_what_to_write_instead() {
    let spec = json!({
        "primary": "canary.example.com",
        "replicas": {"id": "a"},
        "connection": {
            "credentialSecretRef": {"name": "a"},
            "credentialsSecretRef": "canary",
            "tls": {"caSecret": "canary"},
            "connectTimeout": 10,
            "database": 7,
            "user": "canary",
            "username": "canary",
            "password": "canary",
            "sslmode": "require",
            "sslrootcert": "ca.crt",
        },
        "circuitBreaker": {"state": true, "halfOpen": {"trafficSteps": 50}},
        "mode": 1,
        "healthCheck": {"interval": 10, "beat": "2s"},
        "identity": {"systemIdentifier": 7301},
    });
    assert_eq!(
        said(spec),
        [
            "spec.circuitBreaker.halfOpen.trafficSteps: must be a list: write [50]",
            "spec.circuitBreaker.state: supported values: \"Enabled\", \"Disabled\"",
            "spec.connection.connectTimeout: must be a duration such as 10s, not 10",
            "spec.connection.credentialSecretRef: unknown field: did you mean credentialsSecretRef?",
            "spec.connection.credentialsSecretRef: must be an object, not a text: write {name: …}",
            "spec.connection.database: must be text: write it in quotes, as \"7\"",
            "spec.connection.password: unknown field: user and password belong into a Secret: credentialsSecretRef",
            "spec.connection.sslmode: unknown field: did you mean tls.mode?",
            "spec.connection.sslrootcert: unknown field: did you mean tls.caSecretRef?",
            "spec.connection.tls.caSecret: unknown field: did you mean caSecretRef?",
            "spec.connection.user: unknown field: user and password belong into a Secret: credentialsSecretRef",
            "spec.connection.username: unknown field: user and password belong into a Secret: credentialsSecretRef",
            "spec.healthCheck.beat: unknown field",
            "spec.healthCheck.interval: must be a duration such as 10s, not 10",
            "spec.identity.systemIdentifier: must be text: write it in quotes, as \"7301\"",
            "spec.mode: supported values: \"Enforce\", \"Observe\", \"Suspend\"",
            "spec.primary: must be an object, not a text: write {host: …}",
            "spec.replicas: must be a list: write each item on a line that begins with a dash",
        ]
    );
    assert_eq!(said(Value::Null), ["spec: Required value"]);
}

#[test]
fn a_field_in_the_wrong_place_is_told_its_place() {
    let spec = json!({
        "primary": {"host": "a", "enabled": true, "pool": 5, "promote": true},
        "database": "shop", "tls": {}, "classes": [], "regions": [], "strategy": "Weighted", "caSecretRef": {},
        "heartbeat": "1s", "minHealthyReplicas": 1, "name": "a", "role": "Follow", "unheardOf": 1,
        "circuitBreaker": {"enabled": true, "threshold": 3},
        "replicationLag": {"maxLag": "3s"},
    });
    assert_eq!(
        said(spec),
        [
            "spec.caSecretRef: unknown field: did you mean connection.tls.caSecretRef?",
            "spec.circuitBreaker.enabled: unknown field: did you mean state: Enabled or Disabled?",
            "spec.circuitBreaker.threshold: unknown field: did you mean failureThreshold?",
            "spec.classes: unknown field: did you mean routing.classes?",
            "spec.database: unknown field: did you mean connection.database?",
            "spec.heartbeat: unknown field: did you mean healthCheck.heartbeat?",
            "spec.minHealthyReplicas: unknown field: did you mean failover.minHealthyReplicas?",
            "spec.name: unknown field",
            "spec.primary.enabled: unknown field: did you mean state: Active or Disabled?",
            "spec.primary.pool: unknown field: did you mean maxConnections?",
            "spec.primary.promote: unknown field",
            "spec.regions: unknown field: did you mean loadBalancing.regions?",
            "spec.replicationLag.maxLag: unknown field: did you mean replicationLag.max?",
            "spec.role: unknown field: did you mean failover.primaryRole?",
            "spec.strategy: unknown field: did you mean loadBalancing.strategy?",
            "spec.tls: unknown field: did you mean connection.tls?",
            "spec.unheardOf: unknown field",
        ]
    );
}

#[test]
fn what_no_field_says_is_told_where_it_comes_from() {
    let spec = json!({
        "primary": {"host": "a"},
        "replicas": [{"id": "a", "host": "b", "role": "replica", "name": "East"}, {"id": "c", "serviceRef": {"name": "pg", "namespace": "b"}}],
        "connection": {
            "credentialsSecretRef": {"name": "a", "namespace": "b"},
            "tls": {"enabled": true, "ca": "canary"},
        },
    });
    assert_eq!(
        said(spec),
        [
            "spec.connection.credentialsSecretRef.namespace: unknown field: the object is always of the namespace of the policy",
            "spec.connection.tls.ca: unknown field: did you mean caSecretRef?",
            "spec.connection.tls.enabled: unknown field: did you mean mode: Disable or VerifyFull?",
            "spec.replicas[0].name: unknown field: did you mean displayName?",
            "spec.replicas[0].role: unknown field: the checks find which role a server has",
            "spec.replicas[1].serviceRef.namespace: unknown field: the object is always of the namespace of the policy",
        ]
    );
}

#[test]
fn what_an_endpoint_does_not_have_is_told_where_it_belongs() {
    let spec = json!({"primary": {
        "hostname": "a", "name": "b", "url": "postgresql://u:canary@h", "password": "canary", "sslmode": "require", "dbname": "c",
    }});
    assert_eq!(
        said(spec),
        [
            "spec.primary.dbname: unknown field: did you mean connection.database?",
            "spec.primary.hostname: unknown field: did you mean host?",
            "spec.primary.name: unknown field: did you mean id?",
            "spec.primary.password: unknown field: user and password belong into a Secret: connection.credentialsSecretRef",
            "spec.primary.sslmode: unknown field: did you mean connection.tls.mode?",
            "spec.primary.url: unknown field: a URL belongs into a Secret: urlSecretRef",
        ]
    );
}
