//! Bodies that are wrong, and what is told of them.

use serde_json::json;

use super::*;

const ID: &str = "must be a DNS-1123 label of at most 40 characters: lower-case letters, digits and '-'";

/// Bodies whose own fields are wrong, each with what must be told.
fn wrong_changes() -> Vec<(Value, String)> {
    vec![
        (json!([]), "the body must be an object".to_owned()),
        (json!({}), "action must be given".to_owned()),
        (
            json!({"action": "s3cret"}),
            "action must be one of force_health_check, add_replica, update_replica, remove_replica"
                .to_owned(),
        ),
        (
            json!({"action": "force_health_check", "s3cret": 1}),
            "the body must have no field but action, replicaConfig, replicaId, force".to_owned(),
        ),
        (
            json!({"action": "force_health_check", "force": "s3cret"}),
            "force must be true or false".to_owned(),
        ),
        (
            json!({"action": "force_health_check", "replicaId": "a"}),
            "replicaConfig and replicaId must be left out of force_health_check".to_owned(),
        ),
        (
            json!({"action": "add_replica"}),
            "replicaConfig must be given for add_replica and update_replica".to_owned(),
        ),
        (
            json!({"action": "add_replica", "replicaConfig": "s3cret"}),
            "replicaConfig must be an object".to_owned(),
        ),
        (
            json!({"action": "update_replica", "replicaId": "a", "replicaConfig": {"id": "a"}}),
            "replicaId must be left out but for remove_replica: the id is replicaConfig.id".to_owned(),
        ),
        (
            json!({"action": "remove_replica"}),
            "replicaId must be given for remove_replica".to_owned(),
        ),
        (
            json!({"action": "remove_replica", "replicaId": "../s3cret"}),
            format!("replicaId {ID}"),
        ),
        (
            json!({"action": "remove_replica", "replicaId": "a", "replicaConfig": {"id": "a"}}),
            "replicaConfig must be left out of remove_replica where replicaId is given".to_owned(),
        ),
    ]
}

/// The same of the fields of a replica.
fn wrong_replicas() -> Vec<(Value, String)> {
    let of = |action: &str, config: Value| json!({"action": action, "replicaConfig": config});
    let add = |config: Value| of("add_replica", config);
    let update = |config: Value| of("update_replica", config);
    let url = "postgresql://h";
    vec![
        (add(json!({"url": url})), "replicaConfig.id must be given".to_owned()),
        (add(json!({"id": 7, "url": url})), format!("replicaConfig.id {ID}")),
        (add(json!({"id": "S3CRET", "url": url})), format!("replicaConfig.id {ID}")),
        (
            add(json!({"id": "c"})),
            "replicaConfig.url must be given for add_replica".to_owned(),
        ),
        (
            add(json!({"id": "c", "url": "s3cret"})),
            "replicaConfig.url must begin with postgresql:// or jdbc:postgresql://".to_owned(),
        ),
        (
            update(json!({"id": "a", "url": "s3cret"})),
            "replicaConfig.url must begin with postgresql:// or jdbc:postgresql://".to_owned(),
        ),
        (
            add(json!({"id": "c", "url": "postgresql://s3cret@h"})),
            "replicaConfig.url must have a password where it has a user: leave the user out where the login of the policy is meant".to_owned(),
        ),
        (
            add(json!({"id": "c", "url": url, "s3cret": 1})),
            "replicaConfig must have no field but id, name, url, region, weight, maxConnections, enabled, state, priority".to_owned(),
        ),
        (
            add(json!({"id": "c", "url": url, "weight": "s3cret"})),
            "replicaConfig.weight must be a whole number from 0 to 1000".to_owned(),
        ),
        (
            update(json!({"id": "a", "weight": 1001})),
            "replicaConfig.weight must be a whole number from 0 to 1000".to_owned(),
        ),
        (
            update(json!({"id": "a", "priority": -1})),
            "replicaConfig.priority must be a whole number from 0 to 1000".to_owned(),
        ),
        (
            update(json!({"id": "a", "maxConnections": 0})),
            "replicaConfig.maxConnections must be a whole number from 1 to 100000".to_owned(),
        ),
        (
            update(json!({"id": "a", "name": ""})),
            "replicaConfig.name must be a text of 1 to 63 characters".to_owned(),
        ),
        (
            update(json!({"id": "a", "region": null})),
            "replicaConfig.region must be a text of 1 to 63 characters".to_owned(),
        ),
        (
            update(json!({"id": "a", "enabled": "s3cret"})),
            "replicaConfig.enabled must be true or false".to_owned(),
        ),
        (
            update(json!({"id": "a", "state": "s3cret"})),
            "replicaConfig.state must be one of Active, Draining, Disabled".to_owned(),
        ),
        (
            update(json!({"id": "a", "state": "Active", "enabled": true})),
            "replicaConfig.enabled must be left out where replicaConfig.state is given".to_owned(),
        ),
        (
            update(json!({"id": "a"})),
            "replicaConfig must have a field beside id for update_replica".to_owned(),
        ),
    ]
}

/// No text of the body is told: it may have a password.
#[test]
fn a_wrong_body_is_told_by_the_field_and_what_must_hold() {
    for (body, told) in wrong_changes().into_iter().chain(wrong_replicas()) {
        let refusal = edit(&body).err().unwrap_or_else(|| panic!("{body}"));
        assert_eq!((refusal.code, &refusal.message), (400, &told), "{body}");
        assert!(
            !refusal.message.to_lowercase().contains("s3cret"),
            "{}",
            refusal.message
        );
    }
    let cut = asked::read(b"{\"action\": \"s3cr").err().unwrap();
    assert_eq!(cut.message, "the body must be JSON: look at line 1, column 16");
}
