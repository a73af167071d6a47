mod bodies;
mod outcomes;
mod together;

use serde_json::json;

use super::edit::{Addition, Address};
use super::*;

fn key() -> PolicyKey {
    PolicyKey::new("shop", "orders")
}

fn edit(body: &Value) -> Result<Edit, Refusal> {
    asked::read(body.to_string().as_bytes())?.edit("2026-01-01T00:00:00Z")
}

fn policy() -> Value {
    json!({
        "metadata": {"resourceVersion": "7", "uid": "u"},
        "spec": {"primary": {"id": "main"}, "replicas": [{"id": "a"}, {"id": "b", "weight": 2}]},
    })
}

fn operations(body: &Value, policy: &Value) -> Vec<Value> {
    let operations = edit(body).unwrap().operations(policy, Some("orders-c")).unwrap();
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
    let Ok(Edit::Add(Addition { address, .. })) = edit(&asked) else {
        panic!("it adds");
    };
    assert!(address == Address::Url(url.to_owned()));
    let change = asked::read(asked.to_string().as_bytes()).unwrap();
    assert!(!format!("{change:?}").contains("s3cret"));
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
    let drain = json!({"action": "update_replica", "replicaConfig": {"id": "b", "state": "Draining"}});
    let draining = json!({"op": "add", "path": "/spec/replicas/1/state", "value": "Draining"});
    assert_eq!(operations(&drain, &policy()), [draining]);
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
        let refusal = edit(&add(id)).unwrap().operations(&policy(), None).unwrap_err();
        assert_eq!((refusal.code, &*refusal.reason), (409, "AlreadyExists"), "{id}");
    }
    let mut unnamed = policy();
    unnamed["spec"]["primary"] = json!({});
    assert_eq!(
        edit(&add("primary"))
            .unwrap()
            .operations(&unnamed, None)
            .unwrap_err()
            .code,
        409
    );
    let gone = json!({"action": "remove_replica", "replicaId": "z"});
    assert_eq!(
        edit(&gone).unwrap().operations(&policy(), None).unwrap_err().code,
        404
    );
}

#[test]
fn a_new_url_takes_the_place_of_the_address_before() {
    let update = |url: &str| json!({"action": "update_replica", "replicaConfig": {"id": "b", "url": url}});
    let mut policy = policy();
    policy["spec"]["replicas"][1] = json!({
        "id": "b", "serviceRef": {"name": "db"},
        "connection": {"secretRef": {"name": "login"}, "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}}},
    });
    let at = |field: &str| format!("/spec/replicas/1/{field}");
    let connection = json!({
        "secretRef": {"name": "login"}, "database": "app",
        "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}, "mode": "Require"},
    });
    assert_eq!(
        operations(&update("postgresql://db-4.example/app?sslmode=require"), &policy),
        [
            json!({"op": "remove", "path": at("serviceRef")}),
            json!({"op": "add", "path": at("connection"), "value": connection}),
            json!({"op": "add", "path": at("host"), "value": "db-4.example"}),
            json!({"op": "add", "path": at("port"), "value": 5432}),
        ]
    );
    policy["spec"]["replicas"][1] = json!({"id": "b", "host": "h", "port": 5433});
    let reference = json!({"name": "orders-c", "key": "url"});
    assert_eq!(
        operations(&update("postgresql://app:s3cret@db-4.example"), &policy),
        [
            json!({"op": "remove", "path": at("host")}),
            json!({"op": "remove", "path": at("port")}),
            json!({"op": "add", "path": at("urlSecretRef"), "value": reference}),
        ]
    );
}

#[tokio::test]
async fn nothing_is_asked_about_what_is_no_name() {
    for (namespace, name) in [
        ("shop", "../orders"),
        ("shop", "a?b"),
        ("../x", "orders"),
        ("shop", ""),
    ] {
        let terms = Terms {
            way: &BY_PLUGIN,
            force: false,
            dry_run: false,
            secrets: None,
        };
        let nobody = tower::service_fn(|_: axum::http::Request<kube::client::Body>| async {
            Err::<axum::http::Response<kube::client::Body>, _>(std::io::Error::other("asked"))
        });
        let caller = AsCaller::over(kube::Client::new(nobody, "default"));
        let key = PolicyKey::new(namespace, name);
        let refusal = carry_out(caller, &key, &Edit::Remove("a".to_owned()), terms).await;
        assert_eq!(refusal.unwrap_err().code, 400, "{key}");
    }
}

#[test]
fn the_primary_is_an_endpoint_and_no_replica() {
    let fields = serde_json::Map::from_iter([("state".to_owned(), json!("Draining"))]);
    let update = |whose: Whose| {
        Edit::Update(Update {
            whose,
            fields: fields.clone(),
            address: None,
        })
    };
    let whose = Whose::Endpoint("main".to_owned());
    let operations = update(whose).operations(&policy(), None).unwrap();
    assert_eq!(operations[2]["path"], "/spec/primary/state");
    for whose in [Whose::Replica("main".to_owned()), Whose::Endpoint("z".to_owned())] {
        let refusal = update(whose).operations(&policy(), None).unwrap_err();
        assert_eq!(refusal.code, 404);
    }
}
