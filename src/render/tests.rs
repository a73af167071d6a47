mod advice;

use super::*;
use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{self, Declaration, Secrets, Services};
use distributary_core::cluster::Cluster;
use distributary_core::ids::TargetId;
use distributary_core::plan::{Admission, Member, Route, RouteState, RoutingPlan};

fn declared(more: &Value) -> Declaration {
    let mut object = serde_json::json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
        "spec": {
            "primary": {"host": "198.18.0.1"},
            "replicas": [{"id": "a", "host": "a.example.com"}, {"id": "b", "host": "2001:db8::3", "zone": "z"}],
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    let object: ReplicaSetPolicy = serde_json::from_value(object).unwrap();
    let endpoints = validate::resolve(&object, &Secrets::new(), &Services::new());
    validate::policy(&object)
        .unwrap()
        .with(endpoints, Cluster::default())
}

fn member(id: &str, address: &str, in_slice: bool) -> Member {
    Member {
        target: TargetId::host(id.into()),
        address: address.parse().unwrap(),
        port: 5432,
        weight: 100,
        in_slice,
        in_uris: in_slice,
        carried: true,
        order: 0,
        admission: Admission::Eligible,
    }
}

fn plan(ro: Vec<Member>) -> RoutingPlan {
    let route = |members| Route {
        state: RouteState::Served,
        members,
    };
    RoutingPlan {
        rw: route(vec![member("primary", "198.18.0.1", true)]),
        ro: route(ro),
        ..RoutingPlan::default()
    }
}

fn body<'a>(manifests: &'a Manifests, name: &str) -> &'a Value {
    let found = manifests.objects.iter().find(|object| object.id.name == name);
    &found.unwrap_or_else(|| panic!("no {name}")).body
}

fn names(manifests: &Manifests) -> Vec<&str> {
    manifests
        .objects
        .iter()
        .map(|object| object.id.name.as_str())
        .collect()
}

fn rendered(ro: Vec<Member>) -> Manifests {
    rendered_of(&declared(&Value::Null), ro)
}

fn rendered_of(declared: &Declaration, ro: Vec<Member>) -> Manifests {
    render(&Subject {
        policy: &declared.policy,
        resolved: &declared.resolved,
        outputs: &declared.outputs,
        plan: &plan(ro),
    })
}

#[test]
fn each_family_and_port_has_a_slice_of_its_own() {
    let mut other_port = member("a", "198.18.0.2", true);
    other_port.port = 6432;
    let manifests = rendered(vec![
        member("a", "198.18.0.2", true),
        member("b", "2001:db8::3", true),
        other_port,
    ]);
    assert_eq!(
        names(&manifests),
        [
            "orders-rw-ipv4-5432",
            "orders-rw",
            "orders-ro-ipv4-5432",
            "orders-ro-ipv4-6432",
            "orders-ro-ipv6-5432",
            "orders-ro",
            "orders-routing",
        ]
    );
    assert_eq!(body(&manifests, "orders-ro-ipv6-5432")["addressType"], "IPv6");
    assert_eq!(body(&manifests, "orders-ro-ipv4-6432")["ports"][0]["port"], 6432);
}

#[test]
fn a_slice_holds_an_address_once_and_nobody_who_is_not_in_it() {
    let manifests = rendered(vec![
        member("a", "198.18.0.2", true),
        member("b", "198.18.0.2", true),
        member("c", "198.18.0.4", false),
    ]);
    let slice = body(&manifests, "orders-ro-ipv4-5432");
    let expected = serde_json::json!([{"addresses": ["198.18.0.2"], "conditions": {"ready": true}}]);
    assert_eq!(slice["endpoints"], expected);
}

#[test]
fn an_empty_route_has_one_empty_slice() {
    let manifests = rendered(Vec::new());
    let slice = body(&manifests, "orders-ro-ipv4-5432");
    assert_eq!(slice["endpoints"], serde_json::json!([]));
}

#[test]
fn the_zone_of_an_endpoint_is_in_its_slice() {
    let manifests = rendered(vec![member("b", "2001:db8::3", true)]);
    assert_eq!(
        body(&manifests, "orders-ro-ipv6-5432")["endpoints"][0]["zone"],
        "z"
    );
}

#[test]
fn a_service_has_no_selector_and_leads_to_the_slices_of_its_name() {
    let manifests = rendered(Vec::new());
    for name in ["orders-rw", "orders-ro"] {
        let service = body(&manifests, name);
        assert!(service["spec"].get("selector").is_none());
        let slice = body(&manifests, &format!("{name}-ipv4-5432"));
        assert_eq!(slice["metadata"]["labels"][labels::SERVICE_NAME], name);
        assert_eq!(slice["ports"][0]["name"], service["spec"]["ports"][0]["name"]);
    }
}

#[test]
fn the_owner_does_not_block_deletion_and_retain_has_none() {
    let owned = rendered(Vec::new());
    let retain = declared(&serde_json::json!({"deletionPolicy": "Retain"}));
    let kept = rendered_of(&retain, Vec::new());
    for object in &owned.objects {
        let owner = &object.body["metadata"]["ownerReferences"][0];
        assert_eq!(
            (&owner["uid"], &owner["controller"]),
            (&"uid-1".into(), &true.into())
        );
        assert_eq!(owner["blockOwnerDeletion"], false);
    }
    for object in &kept.objects {
        let metadata = &object.body["metadata"];
        assert!(metadata.get("ownerReferences").is_none());
        assert_eq!(metadata["annotations"][labels::POLICY_UID], "uid-1");
    }
}

#[test]
fn every_object_has_what_the_policy_asks_for_beside_our_own() {
    let metadata = serde_json::json!({
        "labels": {"app.kubernetes.io/part-of": "shop", "cost-center": "42"}, "annotations": {"example.com/note": "a, b"},
    });
    let asks = declared(&serde_json::json!({"outputs": {"metadata": metadata}}));
    for (plain, asked) in rendered(Vec::new())
        .objects
        .iter()
        .zip(rendered_of(&asks, Vec::new()).objects)
    {
        let mut expected = plain.body["metadata"].clone();
        expected["labels"]["app.kubernetes.io/part-of"] = "shop".into();
        expected["labels"]["cost-center"] = "42".into();
        expected["annotations"]["example.com/note"] = "a, b".into();
        expected["annotations"][labels::LABELS] = "app.kubernetes.io/part-of,cost-center".into();
        expected["annotations"][labels::ANNOTATIONS] = "example.com/note".into();
        assert_eq!(asked.body["metadata"], expected, "{}", plain.id);
    }
}

#[test]
fn no_policy_may_ask_for_a_key_that_is_ours() {
    let keys = labels::ALL
        .iter()
        .chain(labels::REFUSED)
        .filter(|name| name.contains('/'));
    for key in keys.filter(|key| **key != labels::PREFIX) {
        for of in ["labels", "annotations"] {
            let object = serde_json::json!({
                "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
                "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
                "spec": {"primary": {"host": "198.18.0.1"}, "outputs": {"metadata": {of: {*key: "x"}}}},
            });
            let object: ReplicaSetPolicy = serde_json::from_value(object).unwrap();
            let problems = validate::policy(&object).unwrap_err();
            assert_eq!(problems[0].field, format!("spec.outputs.metadata.{of}[{key}]"));
        }
    }
}

#[test]
fn a_uri_names_hosts_as_declared_and_who_is_in_the_slice() {
    let manifests = rendered(vec![
        member("a", "198.18.0.2", true),
        member("b", "2001:db8::3", true),
        member("primary", "198.18.0.1", false),
    ]);
    let map = body(&manifests, "orders-routing");
    assert_eq!(
        map["data"]["libpq-ro"],
        "postgresql://a.example.com:5432,[2001:db8::3]:5432/postgres?connect_timeout=10&sslmode=verify-full&target_session_attrs=any"
    );
    assert_eq!(
        map["data"]["libpq-rw"],
        "postgresql://198.18.0.1:5432/postgres?connect_timeout=10&sslmode=verify-full&target_session_attrs=read-write"
    );
}

#[test]
fn each_format_has_its_keys_and_none_has_a_password() {
    let declared = declared(&serde_json::json!({
        "outputs": {"configMap": {"formats": ["Jdbc", "Env"]}},
        "routing": {"retryAttempts": 3},
    }));
    let ro = vec![member("a", "198.18.0.2", true), member("b", "2001:db8::3", true)];
    let manifests = rendered_of(&declared, ro);
    let data = ["orders-env", "orders-routing"].map(|name| &body(&manifests, name)["data"]);
    let lines: Vec<_> = data
        .iter()
        .flat_map(|data| data.as_object().unwrap())
        .filter(|(key, _)| *key != "routing.json")
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
        .collect();
    assert_eq!(
        lines,
        [
            "DATABASE_READ_REPLICA_1_URL=postgresql://a.example.com:5432/postgres?sslmode=verify-full",
            "DATABASE_READ_REPLICA_2_URL=postgresql://[2001:db8::3]:5432/postgres?sslmode=verify-full",
            "DATABASE_URL=postgresql://198.18.0.1:5432/postgres?sslmode=verify-full",
            "DB_CIRCUIT_BREAKER_ENABLED=true",
            "DB_CIRCUIT_BREAKER_RESET_TIMEOUT=60000",
            "DB_CIRCUIT_BREAKER_THRESHOLD=5",
            "DB_DEFAULT_TO_REPLICA=true",
            "DB_FAILOVER_TIMEOUT=5000",
            "DB_HEALTH_CHECK_INTERVAL=30000",
            "DB_LOAD_BALANCING_STRATEGY=round_robin",
            "DB_PRIMARY_MAX_CONNECTIONS=20",
            "DB_PRIMARY_TIMEOUT=10000",
            "DB_READ_REPLICAS_ENABLED=true",
            "DB_REPLICA_1_ENABLED=true",
            "DB_REPLICA_1_MAX_CONNECTIONS=15",
            "DB_REPLICA_2_ENABLED=true",
            "DB_REPLICA_2_MAX_CONNECTIONS=15",
            "DB_RETRY_ATTEMPTS=3",
            "jdbc-ro=jdbc:postgresql://a.example.com:5432,[2001:db8:0:0:0:0:0:3]:5432/postgres?connectTimeout=10&sslmode=verify-full&targetServerType=any&loadBalanceHosts=true",
            "jdbc-rw=jdbc:postgresql://198.18.0.1:5432/postgres?connectTimeout=10&sslmode=verify-full&targetServerType=primary",
        ]
    );
}

#[test]
fn libpq_16_chooses_among_the_hosts_of_reads() {
    let manifests = rendered(vec![member("a", "198.18.0.2", true)]);
    let data = &body(&manifests, "orders-routing")["data"];
    let of = |key: &str| data[key].as_str().unwrap().to_owned();
    assert_eq!(
        of("libpq16-ro"),
        format!("{}&load_balance_hosts=random", of("libpq-ro"))
    );
    assert_eq!(of("libpq16-rw"), of("libpq-rw"));
}

#[test]
fn the_keys_of_the_config_map_are_named_by_its_annotation() {
    let manifests = rendered(Vec::new());
    let map = body(&manifests, "orders-routing");
    let keys: Vec<_> = map["data"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(map["metadata"]["annotations"][labels::KEYS], keys.join(","));
}

#[test]
fn the_revision_changes_if_and_only_if_the_document_does() {
    let one = rendered(vec![member("a", "198.18.0.2", true)]);
    let same = rendered(vec![member("a", "198.18.0.2", true)]);
    let mut lighter = member("a", "198.18.0.2", true);
    lighter.weight = 50;
    let other = rendered(vec![lighter]);
    assert_eq!(one, same);
    assert_ne!(one.revision, other.revision);
    let text = body(&one, "orders-routing")["data"]["routing.json"]
        .as_str()
        .unwrap();
    let document: Value = serde_json::from_str(text).unwrap();
    assert_eq!(document["revision"], one.revision.as_str());
}

#[test]
fn every_name_is_short_enough_for_the_longest_prefix() {
    let prefix = "p".repeat(40);
    let longest = names::endpoint_slice(&prefix, "ro", names::Family::V4, 65_535, 99);
    assert!(longest.len() <= 63, "{longest}");
}

fn many(count: u16) -> Vec<Member> {
    let address = |number: u16| format!("10.0.{}.{}", number / 250, number % 250 + 1);
    (0..count)
        .map(|number| member("a", &address(number), true))
        .collect()
}

fn slices_of_reads(manifests: &Manifests) -> std::collections::BTreeMap<String, Vec<String>> {
    let of_reads = manifests
        .objects
        .iter()
        .filter(|object| object.id.name.starts_with("orders-ro-ipv4"));
    let addresses = |object: &Manifest| {
        let endpoints = object.body["endpoints"].as_array().unwrap();
        endpoints
            .iter()
            .map(|endpoint| endpoint["addresses"].to_string())
            .collect()
    };
    of_reads
        .map(|object| (object.id.name.clone(), addresses(object)))
        .collect()
}

#[test]
fn no_slice_has_more_than_100_endpoints_and_nobody_is_lost() {
    for count in [1, 100, 101, 200, 1000, 5000] {
        let slices = slices_of_reads(&rendered(many(count)));
        assert!(slices.contains_key("orders-ro-ipv4-5432"), "{count}");
        assert_eq!(
            slices.len() == 1,
            count <= 100,
            "{count} in {} slices",
            slices.len()
        );
        assert!(slices.values().all(|slice| slice.len() <= 100), "{count}");
        let mut all: Vec<_> = slices.into_values().flatten().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), usize::from(count));
    }
    let names: Vec<_> = slices_of_reads(&rendered(many(150))).into_keys().collect();
    assert_eq!(names, ["orders-ro-ipv4-5432", "orders-ro-ipv4-5432-2"]);
}

#[test]
fn who_comes_or_goes_changes_one_slice_of_many() {
    let all = many(300);
    let before = slices_of_reads(&rendered(all.clone()));
    for gone in [0, 17, 299] {
        let mut left = all.clone();
        left.remove(gone);
        let after = slices_of_reads(&rendered(left));
        let changed = before
            .iter()
            .filter(|(name, slice)| after.get(*name) != Some(slice));
        assert_eq!((changed.count(), after.len()), (1, before.len()));
    }
}

/// A field that a newer version of Kubernetes adds is looked at before it is anybody's.
#[test]
fn every_field_of_a_service_is_ours_refused_or_left_for_a_reason() {
    let schema = schemars::schema_for!(k8s_openapi::api::core::v1::ServiceSpec);
    let mut all: Vec<_> = schema.as_value()["properties"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    let left = services::LEFT.iter().map(|(field, _)| field);
    let mut known: Vec<_> = services::FIELDS
        .iter()
        .chain(services::REFUSED)
        .chain(left)
        .collect();
    all.sort();
    known.sort();
    assert_eq!(all, known);
}
