use serde_json::json;

use super::*;

fn service(name: &str, version: u64, policy: &str) -> Value {
    json!({
        "metadata": {
            "name": name,
            "namespace": "shop",
            "resourceVersion": version.to_string(),
            "labels": {"distributary.dev/policy": policy},
            "managedFields": [{"manager": "distributary"}],
        },
    })
}

fn key(policy: &str) -> PolicyKey {
    PolicyKey::new("shop", policy)
}

fn id(name: &str) -> ObjectId {
    ObjectId {
        kind: Kind::Service,
        name: name.to_owned(),
    }
}

/// The names and versions of a policy's objects.
fn of(objects: &ObservedObjects, policy: &str) -> Vec<(String, u64)> {
    objects
        .of(&key(policy))
        .iter()
        .map(|(id, object)| (id.name.clone(), version(object)))
        .collect()
}

fn one(name: &str, version: u64) -> Vec<(String, u64)> {
    vec![(name.to_owned(), version)]
}

#[test]
fn the_newer_one_wins_whoever_shows_it_first() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 9, "orders"));
    objects.seen(Kind::Service, service("rw", 10, "orders"));
    assert_eq!(of(&objects, "orders"), one("rw", 10));
    objects.seen(Kind::Service, service("rw", 9, "orders"));
    assert_eq!(
        of(&objects, "orders"),
        one("rw", 10),
        "an older one changes nothing"
    );
}

#[test]
fn an_older_deletion_is_ignored() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 10, "orders"));
    assert_eq!(objects.gone(Kind::Service, &service("rw", 9, "orders")), None);
    assert_eq!(of(&objects, "orders"), one("rw", 10));
    assert_eq!(
        objects.gone(Kind::Service, &service("rw", 11, "orders")),
        Some(key("orders"))
    );
    assert_eq!(of(&objects, "orders"), []);
}

#[test]
fn managed_fields_are_not_kept() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 1, "orders"));
    assert!(objects.of(&key("orders"))[&id("rw")]["metadata"]["managedFields"].is_null());
}

#[test]
fn an_object_without_our_label_is_nobodys() {
    let objects = ObservedObjects::default();
    let mut object = service("rw", 1, "orders");
    object["metadata"]["labels"] = json!({});
    assert_eq!(objects.seen(Kind::Service, object.clone()), None);
    objects.keep(&key("orders"), Kind::Service, object);
    assert_eq!(
        of(&objects, "orders"),
        one("rw", 1),
        "unless it is one of its names"
    );
}

#[test]
fn a_moved_label_moves_the_object() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 1, "orders"));
    objects.seen(Kind::Service, service("rw", 2, "crm"));
    assert_eq!(of(&objects, "orders"), []);
    assert_eq!(of(&objects, "crm"), one("rw", 2));
    assert_eq!(objects.owner_of_service("shop", "rw"), Some(key("crm")));
}

#[test]
fn a_list_removes_what_it_does_not_show() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 1, "orders"));
    objects.seen(Kind::Service, service("ro", 1, "orders"));
    objects.seen(Kind::ConfigMap, service("routing", 1, "orders"));
    objects.list_begins(Kind::Service, None);
    objects.seen(Kind::Service, service("ro", 1, "orders"));
    assert_eq!(objects.list_ends(Kind::Service, None), [key("orders")]);
    let names: Vec<_> = of(&objects, "orders").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["ro", "routing"], "of its kind alone");
}

#[test]
fn what_was_written_while_a_list_ran_stays() {
    let objects = ObservedObjects::default();
    objects.list_begins(Kind::Service, None);
    objects.seen(Kind::Service, service("rw", 5, "orders"));
    assert_eq!(objects.list_ends(Kind::Service, None), []);
    assert_eq!(of(&objects, "orders"), one("rw", 5));
}

#[test]
fn a_list_of_a_namespace_says_nothing_of_another() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 1, "orders"));
    objects.list_begins(Kind::Service, Some("crm"));
    assert_eq!(objects.list_ends(Kind::Service, Some("crm")), []);
    assert_eq!(of(&objects, "orders"), one("rw", 1));
}

#[test]
fn the_end_of_a_list_that_never_began_removes_nothing() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 1, "orders"));
    assert_eq!(objects.list_ends(Kind::Service, None), []);
    assert_eq!(of(&objects, "orders"), one("rw", 1));
}

#[test]
fn what_a_request_did_not_find_is_forgotten() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 1, "orders"));
    objects.absent("crm", &id("rw"));
    assert_eq!(of(&objects, "orders"), one("rw", 1));
    objects.absent("shop", &id("rw"));
    assert_eq!(of(&objects, "orders"), []);
}

#[test]
fn a_policy_that_is_gone_takes_its_objects_along() {
    let objects = ObservedObjects::default();
    objects.seen(Kind::Service, service("rw", 1, "orders"));
    objects.seen(Kind::Service, service("crm-rw", 1, "crm"));
    objects.forget(&key("orders"));
    assert_eq!(of(&objects, "orders"), []);
    assert_eq!(objects.owner_of_service("shop", "rw"), None);
    assert_eq!(of(&objects, "crm"), one("crm-rw", 1));
}

#[test]
fn a_version_that_is_no_number_counts_as_the_newest() {
    let mut object = service("rw", 1, "orders");
    object["metadata"]["resourceVersion"] = json!("opaque");
    assert_eq!(version(&object), u64::MAX);
}
