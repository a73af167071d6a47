mod outcomes;

use serde_json::json;

use super::patch::names_secret;
use super::*;

fn key() -> PolicyKey {
    PolicyKey::new("shop", "orders")
}

fn edit(body: &Value) -> Result<Edit, Problem> {
    asked::read(body.to_string().as_bytes())?.edit(&key(), "2026-01-01T00:00:00Z")
}

fn policy() -> Value {
    json!({
        "metadata": {"resourceVersion": "7", "uid": "u"},
        "spec": {"primary": {"id": "main"}, "replicas": [{"id": "a"}, {"id": "b", "weight": 2}]},
    })
}

fn operations(body: &Value, policy: &Value) -> Vec<Value> {
    let operations = edit(body).unwrap().operations(policy).unwrap();
    let mut operations = operations.as_array().unwrap().clone();
    for (field, value) in [("uid", "u"), ("resourceVersion", "7")] {
        let path = format!("/metadata/{field}");
        assert_eq!(
            operations.remove(0),
            json!({"op": "test", "path": path, "value": value})
        );
    }
    operations
}

#[test]
fn checks_are_asked_for_by_the_annotation() {
    let asked = json!({"action": "force_health_check"});
    let path = "/metadata/annotations/distributary.dev~1check-requested-at";
    let set = json!({"op": "add", "path": path, "value": "2026-01-01T00:00:00Z"});
    let mut policy = policy();
    let empty = json!({"op": "add", "path": "/metadata/annotations", "value": {}});
    assert_eq!(operations(&asked, &policy), [empty, set.clone()]);
    policy["metadata"]["annotations"] = json!({"a": "b"});
    assert_eq!(operations(&asked, &policy), [set]);
    assert!(!edit(&asked).unwrap().is_of_spec());
}

#[test]
fn a_url_without_a_password_is_in_the_policy_as_its_parts() {
    let asked = json!({"action": "add_replica", "replicaConfig": {
        "id": "c", "name": "Third", "url": "postgresql://db-3.example:5433/app?sslmode=verify-full", "region": "eu",
        "weight": 3, "maxConnections": 9, "enabled": true, "priority": 2,
    }});
    let added = json!({
        "id": "c", "displayName": "Third", "host": "db-3.example", "port": 5433, "region": "eu", "weight": 3,
        "maxConnections": 9, "priority": 2, "connection": {"database": "app", "tls": {"mode": "VerifyFull"}},
    });
    let add = json!({"op": "add", "path": "/spec/replicas/-", "value": added});
    assert_eq!(operations(&asked, &policy()), std::slice::from_ref(&add));
    let mut bare = policy();
    bare["spec"].as_object_mut().unwrap().remove("replicas");
    let list = json!({"op": "add", "path": "/spec/replicas", "value": []});
    assert_eq!(operations(&asked, &bare), [list, add]);
}

#[test]
fn a_url_with_a_password_is_in_a_secret_alone() {
    let url = "postgresql://app:s3cret@db-3.example:5433/app";
    let asked = json!({"action": "add_replica", "replicaConfig": {"id": "c", "url": url, "enabled": false}});
    let shown = operations(&asked, &policy());
    assert!(!format!("{shown:?}").contains("s3cret"), "{shown:?}");
    let reference = json!({"name": "orders-c", "key": "url"});
    assert_eq!(
        shown[0]["value"],
        json!({"id": "c", "urlSecretRef": reference, "state": "Disabled"})
    );
    let Ok(Edit::Add(Addition { secret, .. })) = edit(&asked) else {
        panic!("it adds");
    };
    assert_eq!(secret, Some(("orders-c".to_owned(), url.to_owned())));
    let change = asked::read(asked.to_string().as_bytes()).unwrap();
    assert!(!format!("{change:?}").contains("s3cret"));
    let with = json!({"spec": {"replicas": [shown[0]["value"]]}});
    assert!(names_secret(&with, "c", "orders-c") && !names_secret(&with, "c", "orders-d"));
}

#[test]
fn an_update_names_its_fields_and_a_removal_its_place() {
    let asked =
        json!({"action": "update_replica", "replicaConfig": {"id": "b", "weight": 5, "enabled": false}});
    assert_eq!(
        operations(&asked, &policy()),
        [
            json!({"op": "add", "path": "/spec/replicas/1/state", "value": "Disabled"}),
            json!({"op": "add", "path": "/spec/replicas/1/weight", "value": 5}),
        ]
    );
    for asked in [
        json!({"action": "remove_replica", "replicaId": "b"}),
        json!({"action": "remove_replica", "replicaConfig": {"id": "b"}}),
    ] {
        let remove = json!({"op": "remove", "path": "/spec/replicas/1"});
        assert_eq!(operations(&asked, &policy()), [remove]);
    }
}

#[test]
fn what_is_there_or_is_not_there_is_told() {
    let add =
        |id: &str| json!({"action": "add_replica", "replicaConfig": {"id": id, "url": "postgresql://h"}});
    for id in ["a", "main"] {
        let problem = edit(&add(id)).unwrap().operations(&policy()).unwrap_err();
        assert_eq!((problem.code, &*problem.reason), (409, "AlreadyExists"), "{id}");
    }
    let mut unnamed = policy();
    unnamed["spec"]["primary"] = json!({});
    assert_eq!(
        edit(&add("primary"))
            .unwrap()
            .operations(&unnamed)
            .unwrap_err()
            .code,
        409
    );
    let gone = json!({"action": "remove_replica", "replicaId": "z"});
    assert_eq!(edit(&gone).unwrap().operations(&policy()).unwrap_err().code, 404);
}

#[test]
fn a_wrong_body_is_told_without_its_text() {
    let config = |config: Value| json!({"action": "add_replica", "replicaConfig": config});
    let wrong = [
        json!({}),
        json!({"action": "drop_everything"}),
        json!({"action": "add_replica"}),
        json!({"action": "remove_replica"}),
        json!({"action": "remove_replica", "replicaId": "../x"}),
        json!({"action": "remove_replica", "replicaId": "a", "replicaConfig": {"id": "a"}}),
        json!({"action": "force_health_check", "replicaId": "a"}),
        json!({"action": "force_health_check", "s3cret": 1}),
        config(json!({"id": "c"})),
        config(json!({"id": "C", "url": "postgresql://h"})),
        config(json!({"id": "c", "url": "s3cret"})),
        config(json!({"id": "c", "url": "postgresql://user@h"})),
        config(json!({"id": "c", "url": "postgresql://h", "weight": "s3cret"})),
        json!({"action": "update_replica", "replicaConfig": {"id": "a"}}),
        json!({"action": "update_replica", "replicaConfig": {"id": "a", "url": "postgresql://h"}}),
    ];
    for body in wrong {
        let problem = edit(&body).err().unwrap_or_else(|| panic!("{body}"));
        assert_eq!(problem.code, 400, "{body}");
        assert!(!problem.message.contains("s3cret"), "{}", problem.message);
    }
}
