use super::*;
use crate::fixture;

fn table_of(policy: &fixture::Case, outputs: &Outputs) -> RoutingTable {
    let (declared, resolved) = (policy.policy(), policy.resolved());
    RoutingTable::new(&Subject {
        policy: &declared,
        resolved: &resolved,
        outputs,
        plan: &plan::largest(&declared, &resolved),
    })
}

fn keys(map: &ConfigMap) -> Vec<&str> {
    map.documents().map(|document| document.name.as_str()).collect()
}

#[test]
fn the_variables_are_in_a_config_map_of_their_own() {
    let outputs = Outputs {
        formats: Format::ALL.to_vec(),
        ..fixture::outputs()
    };
    let maps = config_maps(&outputs, &table_of(&fixture::policy(&["a"]), &outputs));
    let [routing, environment] = maps.as_slice() else {
        panic!("two ConfigMaps");
    };
    assert_eq!(
        [&*routing.name, &*environment.name],
        ["orders-routing", "orders-env"]
    );
    assert!(keys(routing).contains(&ROUTING));
    assert!(!keys(routing).contains(&"DATABASE_URL"));
    assert!(keys(environment).contains(&"DATABASE_URL"));
}

/// POSIX: upper-case letters, digits and `_`, no digit first. `envFrom` of older versions of Kubernetes passes over others.
#[test]
fn every_key_of_the_environment_is_a_variable() {
    let outputs = Outputs {
        formats: Format::ALL.to_vec(),
        ..fixture::outputs()
    };
    let maps = config_maps(&outputs, &table_of(&fixture::policy(&["a", "b-c"]), &outputs));
    let environment = maps.iter().find(|map| map.name == "orders-env").unwrap();
    for key in keys(environment) {
        let inner = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(
            key.chars().all(inner) && !key.starts_with(|c: char| c.is_ascii_digit()),
            "{key}"
        );
    }
}

#[test]
fn without_the_format_there_is_no_environment() {
    let outputs = fixture::outputs();
    let maps = config_maps(&outputs, &table_of(&fixture::policy(&[]), &outputs));
    assert_eq!(maps.len(), 1);
}

fn holding(bytes: usize) -> ConfigMap {
    let contents = vec![
        Content {
            name: ROUTING,
            documents: vec![Document::new(ROUTING, "r".repeat(100))],
        },
        Content {
            name: "Libpq",
            documents: vec![
                Document::new("a", "u".repeat(bytes - 150)),
                Document::new("b", "u".repeat(50)),
            ],
        },
    ];
    let name = "orders-routing".to_owned();
    ConfigMap { name, contents }
}

#[test]
fn a_config_map_holds_1_mib_of_values_and_no_byte_more() {
    assert_eq!(holding(1_048_576).too_large(), None);
    let too_large = holding(1_048_577).too_large().unwrap();
    assert_eq!(
        too_large.to_string(),
        "1048577 of at most 1048576 bytes (routing.json 100, Libpq 1048477)"
    );
}

#[test]
fn of_a_route_for_a_region_the_uri_has_one_place_alone() {
    let mut policy = fixture::policy(&["a", "b", "c"]);
    for (endpoint, region) in
        policy
            .endpoints
            .iter_mut()
            .zip([None, Some("east"), Some("east"), Some("west")])
    {
        endpoint.region = region.map(ToOwned::to_owned);
    }
    policy.routing.regions = vec![crate::routing::Region {
        name: "west".to_owned(),
        failover: Vec::new(),
    }];
    let outputs = fixture::outputs();
    let table = table_of(&policy, &outputs);
    let in_uris = |route: &str| {
        let targets = table.routes[route].targets.iter();
        targets.filter(|it| it.is_in_uris()).count()
    };
    assert_eq!((in_uris("ro"), in_uris("ro-west")), (4, 2));
    assert_eq!(table.routes["ro-west"].targets.len(), 4);
}
