//! Objects of others.

use serde_json::json;

use super::bench::{Bench, on_port, with};
use crate::render::ObjectId;
use crate::render::reading::{Version, observed};
use crate::writing::*;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::policy::Mode;

fn place(kind: Kind, name: &str) -> Place {
    Place {
        namespace: "shop".to_owned(),
        id: ObjectId {
            kind,
            name: name.to_owned(),
        },
    }
}

/// Everything is as after a restore from a backup, an orphaning delete, or `Retain`: of a policy that is no more.
fn lose(bench: &mut Bench) {
    for (place, mut object) in bench.server.objects.clone() {
        object["metadata"]["annotations"]["distributary.dev/policy-uid"] = json!("uid-0");
        object["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("ownerReferences");
        bench.server.put(place, object);
    }
}

fn foreign(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name, "ownerReferences": [{"kind": "Cluster", "uid": "uid-9", "controller": true}]}})
}

/// Another owner has a Service of this name.
fn occupy(bench: &mut Bench, name: &str) {
    bench.server.put(place(Kind::Service, name), foreign(name));
}

#[test]
fn a_service_of_another_owner_gets_no_slice_of_ours() {
    let mut bench = Bench::new();
    occupy(&mut bench, "orders-ro");
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.serve();
    let slices: Vec<_> = bench
        .server
        .objects
        .keys()
        .map(|place| place.id.name.as_str())
        .collect();
    assert_eq!(
        slices,
        ["orders-rw-ipv4-5432", "orders-ro", "orders-rw", "orders-routing"]
    );
    assert_eq!(bench.condition("Programmed"), "NameConflict");
    assert_eq!(bench.condition("Stalled"), "NameConflict");
    // Nothing tells that it is gone.
    bench.server.objects.remove(&place(Kind::Service, "orders-ro"));
    bench.pass(11);
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.2"]);
    assert_eq!(bench.condition("Programmed"), "Programmed");
}

#[test]
fn a_service_that_turns_foreign_loses_our_slices() {
    let mut bench = Bench::routed();
    occupy(&mut bench, "orders-ro");
    bench.echo();
    bench.serve();
    assert_eq!(bench.log()[0], "delete EndpointSlice orders-ro-ipv4-5432");
    assert_eq!(bench.condition("Programmed"), "NameConflict");
}

#[test]
fn a_conflict_is_looked_at_every_ten_seconds_and_told_once() {
    let mut bench = Bench::new();
    occupy(&mut bench, "orders-ro");
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.pass(65);
    let log = bench.log();
    let looks = log.iter().filter(|line| *line == "get Service orders-ro").count();
    assert_eq!(looks, 7, "{log:?}");
    assert_eq!(
        log.iter().filter(|line| line.starts_with("status N")).count(),
        1,
        "{log:?}"
    );
}

/// Both policies have the same prefix.
#[test]
fn the_objects_of_another_policy_are_not_ours_whatever_their_names_are() {
    let mut bench = Bench::new();
    let other = |name: &str| {
        json!({"metadata": {
            "name": name,
            "labels": {"distributary.dev/policy": "orders"},
            "ownerReferences": [{"kind": "ReplicaSetPolicy", "uid": "uid-2", "controller": true}],
        }})
    };
    for (kind, name) in [
        (Kind::Service, "orders-rw"),
        (Kind::Service, "orders-ro"),
        (Kind::ConfigMap, "orders-routing"),
        (Kind::EndpointSlice, "orders-rw-ipv4-5432"),
    ] {
        bench.server.put(place(kind, name), other(name));
    }
    bench.echo();
    let before = bench.server.objects.clone();
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.pass(30);
    assert_eq!(bench.server.objects, before);
    assert_eq!(bench.condition("Programmed"), "NameConflict");
}

#[test]
fn slices_of_others_for_our_services_are_told_until_they_are_gone() {
    let mut bench = Bench::routed();
    for (slices, told) in [
        (vec!["theirs".to_owned()], "ForeignEndpoints"),
        (vec![], "Programmed"),
    ] {
        bench.take(Input::Foreign {
            namespace: "shop".to_owned(),
            service: "orders-ro".to_owned(),
            slices,
        });
        bench.serve();
        assert_eq!(bench.condition("Programmed"), told);
    }
}

#[test]
fn what_somebody_changes_or_deletes_is_put_back() {
    let mut bench = Bench::routed();
    let slice = place(Kind::EndpointSlice, "orders-ro-ipv4-5432");
    let mut object = bench.server.objects[&slice].clone();
    object["endpoints"] = json!([{"addresses": ["203.0.113.9"]}]);
    bench.server.put(slice.clone(), object);
    bench.echo();
    bench.serve();
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.2"]);
    bench.log();
    let gone = observed(Kind::EndpointSlice, bench.server.objects.remove(&slice).unwrap());
    bench.take(Input::Lost {
        place: slice,
        version: gone.version,
    });
    bench.pass(1);
    assert_eq!(bench.log(), ["create EndpointSlice orders-ro-ipv4-5432"]);
}

#[test]
fn what_an_older_watch_shows_changes_nothing() {
    let mut bench = Bench::routed();
    let slice = place(Kind::EndpointSlice, "orders-ro-ipv4-5432");
    let old = observed(Kind::EndpointSlice, bench.server.objects[&slice].clone());
    bench.decide(with(1, &[]));
    bench.serve();
    bench.log();
    bench.take(Input::Lost {
        place: slice,
        version: old.version.clone(),
    });
    bench.take(Input::Seen(Box::new(old)));
    bench.pass(1);
    assert_eq!(bench.log(), [""; 0]);
}

#[test]
fn a_status_that_another_writer_changed_is_put_back_and_no_object_is_written() {
    let mut bench = Bench::routed();
    let mut status = bench.server.status.clone();
    status.memory = None;
    status.conditions.clear();
    bench.server.write_status(status);
    bench.see_status();
    bench.serve();
    assert_eq!(bench.log(), ["status Programmed"]);
    assert_eq!(bench.condition("Programmed"), "Programmed");
    assert!(bench.server.status.memory.is_some());
    assert_eq!(bench.recalled, 0);
}

#[test]
fn what_a_new_list_does_not_show_is_read() {
    let slice = place(Kind::EndpointSlice, "orders-ro-ipv4-5432");
    // It is newer than the list: nothing is written.
    let mut bench = Bench::routed();
    bench.list_without(Kind::EndpointSlice, "orders-ro-ipv4-5432");
    bench.serve();
    assert_eq!(bench.log(), ["get EndpointSlice orders-ro-ipv4-5432"]);
    // It is gone, though an answer to us was the last that anybody saw of it.
    bench.server.objects.remove(&slice);
    bench.list_without(Kind::EndpointSlice, "orders-ro-ipv4-5432");
    bench.pass(1);
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.2"]);
    assert_eq!(
        bench.log()[..2],
        [
            "get EndpointSlice orders-ro-ipv4-5432",
            "create EndpointSlice orders-ro-ipv4-5432"
        ]
    );
    // Other kinds, and other namespaces, are none of its business.
    bench.take(Input::Listed {
        kind: Kind::EndpointSlice,
        namespace: Some("crm".to_owned()),
        places: BTreeSet::new(),
    });
    assert_eq!(bench.requests(), [""; 0]);
}

#[test]
fn after_a_restore_of_etcd_smaller_versions_are_the_newest() {
    let mut bench = Bench::routed();
    bench.server.restore();
    bench.echo();
    bench.decide(with(2, &[1]));
    bench.pass(2);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.1"]);
    assert_eq!(bench.condition("Programmed"), "Programmed");
    bench.log();
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);
}

#[test]
fn a_name_that_becomes_free_is_taken_at_once() {
    let mut bench = Bench::new();
    let (of_before, map) = (
        json!({"metadata": {
            "name": "orders-routing",
            "labels": {"distributary.dev/policy": "orders"},
            "ownerReferences": [{"kind": "ReplicaSetPolicy", "uid": "uid-0", "controller": true}],
        }}),
        place(Kind::ConfigMap, "orders-routing"),
    );
    bench.server.put(map.clone(), of_before);
    bench.echo();
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.serve();
    assert_eq!(bench.condition("Programmed"), "NameConflict");
    let version = bench.server.objects[&map]["metadata"]["resourceVersion"].clone();
    bench.server.objects.remove(&map);
    bench.take(Input::Lost {
        place: map,
        version: Version::new(version.as_str().unwrap()),
    });
    bench.serve();
    assert_eq!(bench.condition("Programmed"), "Programmed");
}

#[test]
fn a_config_map_that_somebody_made_immutable_is_made_anew() {
    let mut bench = Bench::routed();
    let map = place(Kind::ConfigMap, "orders-routing");
    let mut object = bench.server.objects[&map].clone();
    object["immutable"] = json!(true);
    bench.server.put(map.clone(), object);
    bench.echo();
    bench.serve();
    assert_eq!(
        bench.log(),
        [
            "delete ConfigMap orders-routing",
            "create ConfigMap orders-routing"
        ]
    );
    assert!(bench.server.objects[&map]["immutable"].is_null());
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);
}

#[test]
fn one_that_is_immutable_again_at_once_is_made_anew_less_and_less_often() {
    let mut bench = Bench::new();
    bench.server.undoes = Some("orders-routing".to_owned());
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.pass(60);
    let log = bench.log();
    let made = log
        .iter()
        .filter(|line| *line == "create ConfigMap orders-routing");
    assert!(made.count() < 16, "{log:?}");
}

#[test]
fn what_a_policy_of_the_name_left_is_adopted_in_place() {
    let mut before = Bench::routed();
    lose(&mut before);
    let dead = place(Kind::EndpointSlice, "orders-ro-ipv4-6432");
    let slice = lost_slice(&before);
    before.server.put(dead.clone(), slice);
    before.server.status = ReplicaSetPolicyStatus::default();
    let mut bench = Bench::on(before.server, Mode::Enforce);
    bench.declare();
    bench.pass(5);
    assert_eq!(bench.log(), [""; 0], "until the first decision it stays as it is");
    bench.decide(with(1, &[2]));
    bench.pass(5);
    let log = bench.log();
    assert!(!log.iter().any(|line| line.starts_with("create")), "{log:?}");
    let deleted: Vec<_> = log.iter().filter(|line| line.starts_with("delete")).collect();
    assert_eq!(deleted, ["delete EndpointSlice orders-ro-ipv4-6432"]);
    for (place, object) in &bench.server.objects {
        assert_eq!(
            object["metadata"]["ownerReferences"][0]["uid"], "uid-1",
            "{place:?}"
        );
    }
    assert_eq!(bench.condition("Programmed"), "Programmed");
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);
    // What comes later, as a restore does it one by one.
    let slice = lost_slice(&bench);
    bench.server.put(dead, slice);
    bench.echo();
    bench.serve();
    assert_eq!(bench.log(), ["delete EndpointSlice orders-ro-ipv4-6432"]);
}

/// A slice that a policy that is no more left for a Service of ours.
fn lost_slice(bench: &Bench) -> serde_json::Value {
    let mut slice = bench.server.objects[&place(Kind::EndpointSlice, "orders-ro-ipv4-5432")].clone();
    slice["metadata"]["name"] = json!("orders-ro-ipv4-6432");
    slice["metadata"]["annotations"]["distributary.dev/policy-uid"] = json!("uid-0");
    let metadata = slice["metadata"].as_object_mut().unwrap();
    metadata.remove("ownerReferences");
    metadata.remove("uid");
    slice
}

/// What is needed by no name stays, also where `Retain` left it on purpose.
#[test]
fn what_is_not_surely_of_a_policy_of_the_name_that_is_gone_is_left_alone() {
    let map = place(Kind::ConfigMap, "orders-routing");
    let change = |change: fn(&mut serde_json::Value)| {
        let mut bench = Bench::routed();
        lose(&mut bench);
        let mut object = bench.server.objects[&map].clone();
        change(&mut object["metadata"]);
        bench.server.put(map.clone(), object.clone());
        let mut bench = Bench::on(bench.server, Mode::Enforce);
        bench.declare();
        bench.decide(with(1, &[2]));
        bench.pass(5);
        let is = bench.server.objects[&map]["metadata"].clone();
        let is_left = is["annotations"] == object["metadata"]["annotations"];
        (is_left, bench.condition("Programmed"))
    };
    let conflict = (true, "NameConflict".to_owned());
    assert_eq!(change(|_| {}), (false, "Programmed".to_owned()));
    let of_another = change(|it| it["labels"]["distributary.dev/policy"] = json!("other"));
    assert_eq!(of_another, conflict);
    let controlled = |it: &mut serde_json::Value| {
        it["ownerReferences"] = json!([{"kind": "Cluster", "uid": "uid-9", "controller": true}]);
    };
    assert_eq!(change(controlled), conflict);
    let of_nobody = |it: &mut serde_json::Value| {
        it["annotations"]
            .as_object_mut()
            .unwrap()
            .remove("distributary.dev/policy-uid");
    };
    assert_eq!(change(of_nobody), conflict);
    let by_others = change(|it| it["labels"]["app.kubernetes.io/managed-by"] = json!("Helm"));
    assert_eq!(by_others, conflict);
}

#[test]
fn a_living_policy_loses_nothing_to_another_one() {
    let mut bench = Bench::routed();
    let slice = lost_slice(&bench);
    let living = BTreeMap::from([("uid-0".to_owned(), PolicyKey::new("shop", "crm"))]);
    let key = PolicyKey::new("shop", "orders");
    let seen = observed(Kind::EndpointSlice, slice);
    for (living, adopted) in [(&living, false), (&BTreeMap::new(), true)] {
        let owner = crate::writing::ownership::Owner {
            key: &key,
            uid: "uid-1",
            living,
            deleting: false,
        };
        assert_eq!((owner.may_adopt(&seen), owner.controls(&seen)), (adopted, false));
    }
    bench.log();
}

/// A policy whose routes are written, and which a finalizer keeps.
fn deleting() -> Bench {
    let mut bench = Bench::routed();
    bench.deleting = true;
    bench.declare_generation(2);
    bench.decide_generation(2, with(1, &[2]));
    bench.pass(5);
    let log = bench.log();
    assert!(log.iter().all(|line| line.starts_with("status")), "{log:?}");
    bench
}

fn take_away(bench: &mut Bench, place: Place) {
    bench.server.objects.remove(&place);
    let version = Version::new(u64::MAX.to_string());
    bench.take(Input::Lost { place, version });
}

#[test]
fn a_policy_that_is_being_deleted_is_routed_on_and_nothing_is_made_anew() {
    let mut bench = deleting();
    let service = place(Kind::Service, "orders-ro");
    let map = place(Kind::ConfigMap, "orders-routing");
    take_away(&mut bench, service.clone());
    take_away(&mut bench, map.clone());
    bench.decide_generation(2, with(1, &[2, 3]));
    bench.pass(60);
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.2", "198.18.0.3"]);
    assert!(!bench.server.objects.contains_key(&service));
    assert!(!bench.server.objects.contains_key(&map));
    // Another slice would have to be made: the old one leads to a server that takes no writes.
    bench.log();
    bench.decide_generation(2, on_port(2, 6432));
    bench.pass(60);
    let log = bench.log();
    assert!(!log.iter().any(|line| line.starts_with("create")), "{log:?}");
    let deleted: Vec<_> = log.iter().filter(|line| line.starts_with("delete")).collect();
    assert_eq!(deleted, ["delete EndpointSlice orders-rw-ipv4-5432"]);
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);
}

#[test]
fn of_a_policy_that_is_being_deleted_no_object_gets_its_owner_back() {
    let owners = |bench: &Bench, name: &str| {
        let slice = &bench.server.objects[&place(Kind::EndpointSlice, name)];
        slice["metadata"]["ownerReferences"].as_array().map(Vec::len)
    };
    let mut bench = deleting();
    let slice = place(Kind::EndpointSlice, "orders-ro-ipv4-5432");
    let mut orphan = bench.server.objects[&slice].clone();
    orphan["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("ownerReferences");
    bench.server.put(slice, orphan);
    bench.echo();
    bench.pass(5);
    assert_eq!(bench.log(), [""; 0]);
    bench.decide_generation(2, with(2, &[3]));
    bench.pass(5);
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.3"]);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    assert_eq!(owners(&bench, "orders-ro-ipv4-5432"), None);
    assert_eq!(owners(&bench, "orders-rw-ipv4-5432"), Some(1));
}

#[test]
fn a_policy_that_is_being_deleted_adopts_nothing_and_leaves_what_only_a_new_object_mends() {
    let mut bench = deleting();
    let dead = place(Kind::EndpointSlice, "orders-ro-ipv4-6432");
    let slice = lost_slice(&bench);
    bench.server.put(dead, slice);
    let map = place(Kind::ConfigMap, "orders-routing");
    let mut fixed = bench.server.objects[&map].clone();
    fixed["immutable"] = json!(true);
    bench.server.put(map, fixed);
    bench.echo();
    bench.pass(60);
    let log = bench.log();
    assert!(!log.iter().any(|line| line.starts_with("delete")), "{log:?}");
}
