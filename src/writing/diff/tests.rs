use serde_json::json;

use super::*;
use crate::render::{Kind, labels};

const UID: &str = "uid-1";

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"distributary.dev/policy": "orders"},
        "annotations": {"distributary.dev/policy-uid": UID},
        "ownerReferences": [{"kind": "ReplicaSetPolicy", "name": "orders", "uid": UID, "controller": true}],
    })
}

fn manifest(kind: Kind, name: &str, rest: &Value) -> Manifest {
    let mut body = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata(name)});
    for (key, value) in rest.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let id = ObjectId {
        kind,
        name: name.to_owned(),
    };
    Manifest { id, body }
}

fn slice(name: &str, addresses: &[&str]) -> Manifest {
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    let ports = json!([{"name": "postgres", "port": 5432, "protocol": "TCP"}]);
    let rest = json!({"addressType": "IPv4", "endpoints": endpoints, "ports": ports});
    manifest(Kind::EndpointSlice, name, &rest)
}

fn service(name: &str) -> Manifest {
    let spec = json!({
        "type": "ClusterIP",
        "ipFamilyPolicy": "PreferDualStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "ports": [{"name": "postgres", "port": 5432}],
    });
    manifest(Kind::Service, name, &json!({"spec": spec}))
}

fn config_map(data: &Value) -> Manifest {
    let mut map = manifest(Kind::ConfigMap, "orders-routing", &json!({"data": data}));
    let keys: Vec<_> = data
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    map.body["metadata"]["annotations"][labels::KEYS] = json!(keys.join(","));
    map
}

/// What the API server has after it took `manifests`.
fn observed(manifests: &[Manifest]) -> Observed {
    let stored = |manifest: &Manifest| {
        let mut body = manifest.body.clone();
        body["metadata"]["uid"] = json!(format!("uid of {}", manifest.id.name));
        body["metadata"]["resourceVersion"] = json!("41");
        (manifest.id.clone(), body)
    };
    manifests.iter().map(stored).collect()
}

/// `observed` with one object changed by somebody else.
fn meddled(manifest: &Manifest, meddle: impl FnOnce(&mut Value)) -> Observed {
    let mut all = observed(std::slice::from_ref(manifest));
    if let Some(body) = all.get_mut(&manifest.id) {
        meddle(body);
    }
    all
}

/// The body that the one write, an update, puts.
fn put(manifest: &Manifest, observed: &Observed) -> Value {
    let diff = diff(std::slice::from_ref(manifest), observed, UID);
    match diff.writes.as_slice() {
        [Write::Update(update)] => update.body.clone(),
        other => panic!("one update, not {other:?}"),
    }
}

fn words(diff: &Diff) -> Vec<String> {
    diff.writes
        .iter()
        .map(|write| format!("{} {}", write.verb(), write.id().name))
        .collect()
}

#[test]
fn what_is_as_it_should_be_needs_no_write() {
    let desired = [
        slice("orders-rw-ipv4-5432", &["198.18.0.1"]),
        service("orders-rw"),
        config_map(&json!({"routing.json": "{}"})),
    ];
    let diff = diff(&desired, &observed(&desired), UID);
    assert_eq!(diff, Diff::default());
}

#[test]
fn what_is_missing_is_created_and_what_differs_is_updated() {
    let (missing, changed) = (
        slice("orders-rw-ipv4-5432", &["198.18.0.1"]),
        slice("orders-ro-ipv4-5432", &["198.18.0.2"]),
    );
    let there = observed(&[slice("orders-ro-ipv4-5432", &["198.18.0.3"])]);
    let diff = diff(&[missing.clone(), changed], &there, UID);
    assert_eq!(
        words(&diff),
        ["create orders-rw-ipv4-5432", "update orders-ro-ipv4-5432"]
    );
    assert_eq!(diff.writes[0], Write::Create(missing));
}

#[test]
fn an_update_names_uid_and_resource_version_as_observed() {
    let there = observed(&[slice("s", &["198.18.0.3"])]);
    let body = put(&slice("s", &["198.18.0.2"]), &there);
    assert_eq!(body["metadata"]["uid"], "uid of s");
    assert_eq!(body["metadata"]["resourceVersion"], "41");
}

/// Withdraw first; then rw, ro and the other slices as rendered, Services, the ConfigMap, deletions.
#[test]
fn writes_are_in_a_safe_order() {
    let before = [
        slice("ro-4", &["198.18.0.2", "198.18.0.3"]),
        slice("rw-4", &["198.18.0.1"]),
        slice("ro-old", &["198.18.0.9"]),
        service("orders-old"),
        config_map(&json!({"routing.json": "1"})),
    ];
    let after = [
        config_map(&json!({"routing.json": "2"})),
        service("orders-ro"),
        slice("rw-4", &["198.18.0.7"]),
        slice("rw-6", &["198.18.0.8"]),
        slice("ro-4", &["198.18.0.2"]),
    ];
    assert_eq!(
        words(&diff(&after, &observed(&before), UID)),
        [
            "delete ro-old",
            "update ro-4",
            "update rw-4",
            "create rw-6",
            "create orders-ro",
            "update orders-routing",
            "delete orders-old",
        ]
    );
}

#[test]
fn a_slice_that_loses_one_and_gains_another_does_not_go_first() {
    let before = [
        slice("a", &["198.18.0.2", "198.18.0.3"]),
        slice("b", &["198.18.0.4"]),
    ];
    let after = [
        slice("b", &["198.18.0.5"]),
        slice("a", &["198.18.0.2", "198.18.0.6"]),
    ];
    assert_eq!(
        words(&diff(&after, &observed(&before), UID)),
        ["update b", "update a"]
    );
}

#[test]
fn a_delete_names_what_it_means() {
    let there = observed(&[service("old")]);
    let diff = diff(&[], &there, UID);
    let [Write::Delete { id, uid, version }] = diff.writes.as_slice() else {
        panic!("{diff:?}");
    };
    assert_eq!(
        (id.name.as_str(), uid.as_str(), version.as_str()),
        ("old", "uid of old", "41")
    );
}

#[test]
fn foreign_labels_and_annotations_are_kept_and_ours_replaced() {
    let desired = service("orders-rw");
    let there = meddled(&desired, |body| {
        body["metadata"]["labels"] = json!({"team": "shop", "distributary.dev/old": "x"});
        body["metadata"]["annotations"]["note"] = json!("keep");
    });
    let body = put(&desired, &there);
    assert_eq!(
        body["metadata"]["labels"],
        json!({"team": "shop", "distributary.dev/policy": "orders"})
    );
    assert_eq!(body["metadata"]["annotations"]["note"], "keep");
}

/// `desired` with a label and an annotation that the policy asks for.
fn asked(desired: &Manifest, label: &str, annotation: &str) -> Manifest {
    let mut asked = desired.clone();
    let metadata = &mut asked.body["metadata"];
    metadata["labels"][label] = json!("42");
    metadata["annotations"][annotation] = json!("a note");
    metadata["annotations"][labels::LABELS] = json!(label);
    metadata["annotations"][labels::ANNOTATIONS] = json!(annotation);
    asked
}

#[test]
fn labels_and_annotations_that_the_policy_asks_for_come_are_put_back_and_go() {
    let plain = service("orders-rw");
    let asks = asked(&plain, "cost-center", "example.com/note");
    let of = |body: &Value, field: &str, key: &str| body["metadata"][field].get(key).cloned();
    let both = |body: &Value| {
        (
            of(body, "labels", "cost-center"),
            of(body, "annotations", "example.com/note"),
        )
    };
    let there = (Some(json!("42")), Some(json!("a note")));

    let before = meddled(&plain, |body| {
        body["metadata"]["labels"]["team"] = json!("shop");
    });
    assert_eq!(both(&put(&asks, &before)), there, "they come");
    let changed = meddled(&asks, |body| {
        body["metadata"]["labels"]["cost-center"] = json!("43");
    });
    assert_eq!(both(&put(&asks, &changed)), there, "they are put back");
    let removed = meddled(&asks, |body| {
        body["metadata"]["annotations"] = json!({labels::POLICY_UID: UID});
    });
    assert_eq!(both(&put(&asks, &removed)), there, "they are put back");
    assert_eq!(
        diff(
            std::slice::from_ref(&asks),
            &observed(std::slice::from_ref(&asks)),
            UID
        ),
        Diff::default()
    );

    let with_team = meddled(&asks, |body| {
        body["metadata"]["labels"]["team"] = json!("shop");
    });
    let body = put(&plain, &with_team);
    assert_eq!(both(&body), (None, None), "they go");
    assert_eq!(
        of(&body, "labels", "team"),
        Some(json!("shop")),
        "those of others stay"
    );
    let other = put(&asked(&plain, "owner", "example.com/other"), &with_team);
    assert_eq!(both(&other), (None, None), "others are asked for");
    assert_eq!(of(&other, "labels", "owner"), Some(json!("42")));
}

#[test]
fn a_foreign_label_alone_needs_no_write() {
    let desired = service("orders-rw");
    let there = meddled(&desired, |body| {
        body["metadata"]["labels"]["team"] = json!("shop");
    });
    assert_eq!(diff(&[desired], &there, UID), Diff::default());
}

/// Each of them changes where traffic goes.
#[test]
fn what_somebody_sets_on_a_service_of_ours_is_put_back() {
    for (field, value) in [
        ("type", json!("LoadBalancer")),
        ("ipFamilyPolicy", json!("SingleStack")),
        (
            "ports",
            json!([{"name": "postgres", "port": 5432, "nodePort": 30000}]),
        ),
        ("internalTrafficPolicy", json!("Local")),
        ("sessionAffinity", json!("ClientIP")),
        (
            "sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10}}),
        ),
        ("selector", json!({"app": "other"})),
        ("externalIPs", json!(["203.0.113.9"])),
        ("externalName", json!("example.com")),
        ("externalTrafficPolicy", json!("Local")),
        ("healthCheckNodePort", json!(30001)),
        ("publishNotReadyAddresses", json!(true)),
        ("trafficDistribution", json!("PreferSameNode")),
        ("loadBalancerIP", json!("203.0.113.9")),
        ("loadBalancerClass", json!("example.com/theirs")),
        ("loadBalancerSourceRanges", json!(["203.0.113.0/24"])),
        ("allocateLoadBalancerNodePorts", json!(false)),
    ] {
        let desired = service("orders-rw");
        let there = meddled(&desired, |body| body["spec"][field] = value);
        assert_eq!(put(&desired, &there)["spec"], desired.body["spec"], "{field}");
    }
}

#[test]
fn labels_by_which_proxies_pass_an_object_over_are_taken_away() {
    for label in [
        "service.kubernetes.io/service-proxy-name",
        "service.kubernetes.io/headless",
    ] {
        for desired in [
            service("orders-rw"),
            slice("orders-rw-ipv4-5432", &["198.18.0.1"]),
        ] {
            let there = meddled(&desired, |body| body["metadata"]["labels"][label] = json!(""));
            assert_eq!(
                put(&desired, &there)["metadata"]["labels"],
                desired.body["metadata"]["labels"],
                "{label}"
            );
        }
    }
}

#[test]
fn what_no_update_can_mend_is_made_anew() {
    let map = config_map(&json!({"routing.json": "1"}));
    let immutable = meddled(&map, |body| body["immutable"] = json!(true));
    let route = service("orders-rw");
    let headless = meddled(&route, |body| body["spec"]["clusterIP"] = json!("None"));
    let servers = slice("s", &["198.18.0.1"]);
    let of_another_family = meddled(&servers, |body| body["addressType"] = json!("IPv6"));
    for (desired, there) in [(map, immutable), (route, headless), (servers, of_another_family)] {
        let name = desired.id.name.clone();
        assert_eq!(
            words(&diff(std::slice::from_ref(&desired), &there, UID)),
            [format!("delete {name}")]
        );
        assert_eq!(
            words(&diff(&[desired], &Observed::new(), UID)),
            [format!("create {name}")]
        );
    }
}

#[test]
fn allocated_fields_are_kept() {
    let desired = service("orders-rw");
    let there = meddled(&desired, |body| {
        body["spec"]["clusterIP"] = json!("198.19.0.7");
        body["spec"]["ipFamilies"] = json!(["IPv4"]);
        body["spec"]["ports"][0]["port"] = json!(1);
        body["status"] = json!({"loadBalancer": {}});
    });
    let body = put(&desired, &there);
    assert_eq!(body["spec"]["clusterIP"], "198.19.0.7");
    assert_eq!(body["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(body["spec"]["ports"], desired.body["spec"]["ports"]);
    assert_eq!(body["status"], json!({"loadBalancer": {}}));
}

#[test]
fn foreign_keys_of_the_config_map_are_kept_and_our_old_ones_go() {
    let there = {
        let before = config_map(&json!({"routing.json": "1", "libpq-old": "2"}));
        meddled(&before, |body| body["data"]["theirs"] = json!("3"))
    };
    let body = put(&config_map(&json!({"routing.json": "1"})), &there);
    assert_eq!(body["data"], json!({"routing.json": "1", "theirs": "3"}));
    assert_eq!(body["metadata"]["annotations"][labels::KEYS], "routing.json");
}

#[test]
fn a_changed_key_of_ours_is_put_back() {
    let desired = config_map(&json!({"routing.json": "1"}));
    let there = meddled(&desired, |body| body["data"] = json!({"routing.json": "forged"}));
    assert_eq!(put(&desired, &there)["data"], json!({"routing.json": "1"}));
}

#[test]
fn an_empty_list_that_the_server_leaves_out_is_equal() {
    let desired = slice("s", &[]);
    for absent in [json!(null), json!([])] {
        let there = meddled(&desired, |body| body["endpoints"] = absent);
        assert_eq!(diff(std::slice::from_ref(&desired), &there, UID), Diff::default());
    }
    let there = meddled(&desired, |body| {
        body.as_object_mut().unwrap().remove("endpoints");
    });
    assert_eq!(diff(&[desired], &there, UID), Diff::default());
}

#[test]
fn an_object_of_another_controller_is_a_conflict_and_is_left_alone() {
    let desired = service("orders-rw");
    for owner in [
        json!({"kind": "ReplicaSetPolicy", "name": "orders", "uid": "uid-2", "controller": true}),
        json!({"kind": "Cluster", "name": "pg", "uid": "uid-9", "controller": true}),
    ] {
        let there = meddled(&desired, |body| {
            body["metadata"]["ownerReferences"] = json!([owner]);
            body["spec"] = json!({"ports": []});
        });
        let diff = diff(std::slice::from_ref(&desired), &there, UID);
        assert_eq!(
            (diff.writes, diff.conflicts),
            (Vec::new(), vec![desired.id.clone()])
        );
    }
}

#[test]
fn an_object_of_nobody_is_a_conflict() {
    let desired = service("orders-rw");
    let there = meddled(&desired, |body| {
        body["metadata"] = json!({"name": "orders-rw", "labels": {"distributary.dev/policy": "orders"}});
    });
    assert_eq!(
        diff(std::slice::from_ref(&desired), &there, UID).conflicts,
        [desired.id]
    );
}

#[test]
fn a_foreign_object_is_never_deleted() {
    let there = meddled(&service("theirs"), |body| {
        body["metadata"]["ownerReferences"][0]["uid"] = json!("uid-2");
    });
    assert_eq!(diff(&[], &there, UID), Diff::default());
}

fn retained(mut manifest: Manifest) -> Manifest {
    if let Some(metadata) = manifest.body["metadata"].as_object_mut() {
        metadata.remove("ownerReferences");
    }
    manifest
}

#[test]
fn retained_objects_are_recognised_by_their_annotation() {
    let desired = retained(slice("s", &["198.18.0.2"]));
    let there = observed(&[retained(slice("s", &["198.18.0.3"]))]);
    assert_eq!(words(&diff(&[desired], &there, UID)), ["update s"]);
    assert_eq!(words(&diff(&[], &there, UID)), ["delete s"]);
}

#[test]
fn the_owner_comes_and_goes_with_the_deletion_policy_and_foreign_owners_stay() {
    let (owned, kept) = (service("s"), retained(service("s")));
    let foreign = json!({"kind": "Application", "name": "shop", "uid": "uid-5"});
    let there = meddled(&owned, |body| {
        body["metadata"]["ownerReferences"]
            .as_array_mut()
            .unwrap()
            .push(foreign.clone());
    });
    assert_eq!(
        put(&kept, &there)["metadata"]["ownerReferences"],
        json!([foreign])
    );
    let body = put(&kept, &observed(std::slice::from_ref(&owned)));
    assert!(body["metadata"].get("ownerReferences").is_none());
    assert_eq!(
        put(&owned, &observed(&[kept]))["metadata"]["ownerReferences"],
        owned.body["metadata"]["ownerReferences"]
    );
}

#[test]
fn what_is_equal_whatever_the_order_of_owners_needs_no_second_write() {
    let desired = service("s");
    let there = meddled(&desired, |body| {
        let foreign = json!({"kind": "Application", "name": "shop", "uid": "uid-5"});
        body["metadata"]["ownerReferences"]
            .as_array_mut()
            .unwrap()
            .push(foreign);
    });
    let first = diff(std::slice::from_ref(&desired), &there, UID);
    let mut after = there;
    for write in first.writes {
        if let Write::Update(update) = write {
            after.insert(update.id, update.body);
        }
    }
    assert_eq!(diff(&[desired], &after, UID), Diff::default());
}

#[test]
fn who_moves_to_another_slice_is_never_in_none() {
    let of_service = |name: &str, addresses: &[&str]| {
        let mut slice = slice(name, addresses);
        slice.body["metadata"]["labels"][labels::SERVICE_NAME] = json!("orders-ro");
        slice
    };
    let few = [of_service("ro", &["198.18.0.1", "198.18.0.2"])];
    let more = [
        of_service("ro", &["198.18.0.1"]),
        of_service("ro-2", &["198.18.0.2", "198.18.0.3"]),
    ];
    assert_eq!(
        words(&diff(&more, &observed(&few), UID)),
        ["create ro-2", "update ro"]
    );
    assert_eq!(
        words(&diff(&few, &observed(&more), UID)),
        ["update ro", "delete ro-2"]
    );
    // Whoever is to be nowhere goes first, as ever; another Service's slices are no other place.
    let fewer = [
        of_service("ro", &["198.18.0.1"]),
        of_service("ro-2", &["198.18.0.3", "198.18.0.4"]),
    ];
    let mut of_another = fewer.clone();
    of_another[1].body["metadata"]["labels"][labels::SERVICE_NAME] = json!("orders-rw");
    of_another[1].body["endpoints"] = json!([{"addresses": ["198.18.0.2"]}]);
    for desired in [fewer, of_another] {
        assert_eq!(
            words(&diff(&desired, &observed(&few), UID)),
            ["update ro", "create ro-2"]
        );
    }
    assert!(diff(&more, &observed(&more), UID).writes.is_empty());
}
