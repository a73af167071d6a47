//! The ConfigMap of the environment variables beside that of the routes, and one that would hold more than it can.

use serde_json::json;

use super::bench::{Bench, with};
use crate::render::Kind;
use crate::render::config_map;
use crate::writing::Place;
use distributary_core::outputs::Format;

const ROUTING: &str = "orders-routing";
const ENVIRONMENT: &str = "orders-env";

fn place(name: &str) -> Place {
    Place {
        namespace: "shop".to_owned(),
        id: config_map::id(name),
    }
}

fn keys(bench: &Bench, name: &str) -> Vec<String> {
    let data = bench.server.objects[&place(name)]["data"].as_object();
    data.into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

/// The policy has another generation, with these formats.
fn with_formats(bench: &mut Bench, formats: &[Format]) {
    bench.outputs.formats = formats.to_vec();
    bench.declare_generation(2);
    bench.decide_generation(2, with(1, &[2]));
    bench.serve();
}

#[test]
fn the_variables_have_a_config_map_of_their_own_after_the_slices() {
    let mut bench = Bench::new();
    bench.outputs.formats = Format::ALL.to_vec();
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.serve();
    let log = bench.log();
    assert_eq!(
        log[log.len() - 3..],
        [
            "create ConfigMap orders-routing",
            "create ConfigMap orders-env",
            "status Programmed"
        ]
    );
    assert!(!keys(&bench, ENVIRONMENT).contains(&"routing.json".to_owned()));
    bench.echo();
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);
}

/// Version 0.1.0 wrote the variables beside `routing.json`.
#[test]
fn variables_that_an_earlier_version_wrote_leave_the_config_map_of_the_routes() {
    let mut bench = Bench::routed();
    let mut object = bench.server.objects[&place(ROUTING)].clone();
    let before = object["metadata"]["annotations"]["distributary.dev/keys"].clone();
    object["metadata"]["annotations"]["distributary.dev/keys"] =
        json!(format!("DATABASE_URL,{}", before.as_str().unwrap()));
    object["data"]["DATABASE_URL"] = json!("postgresql://198.18.0.1:5432/postgres");
    object["data"]["OTHERS"] = json!("x");
    bench.server.put(place(ROUTING), object);
    bench.echo();
    with_formats(&mut bench, &[Format::Libpq, Format::Env]);
    let routing = keys(&bench, ROUTING);
    assert!(!routing.contains(&"DATABASE_URL".to_owned()), "{routing:?}");
    assert!(routing.contains(&"OTHERS".to_owned()), "{routing:?}");
    assert!(keys(&bench, ENVIRONMENT).contains(&"DATABASE_URL".to_owned()));
}

#[test]
fn without_the_format_its_config_map_goes() {
    let mut bench = Bench::routed();
    with_formats(&mut bench, &[Format::Env]);
    bench.log();
    with_formats(&mut bench, &[Format::Jdbc]);
    assert!(bench.log().contains(&"delete ConfigMap orders-env".to_owned()));
}

#[test]
fn both_config_maps_change_their_names() {
    let mut bench = Bench::routed();
    with_formats(&mut bench, &[Format::Env]);
    (bench.outputs.config_map, bench.outputs.environment) = ("app".to_owned(), "app-env".to_owned());
    bench.declare_generation(3);
    bench.decide_generation(3, with(1, &[2]));
    bench.serve();
    let of_maps = bench
        .server
        .objects
        .keys()
        .filter(|place| place.id.kind == Kind::ConfigMap);
    let names: Vec<_> = of_maps.map(|place| place.id.name.as_str()).collect();
    assert_eq!(names, ["app", "app-env"]);
}

#[test]
fn a_config_map_of_variables_that_is_of_others_is_left_alone_and_told() {
    let mut bench = Bench::routed();
    let foreign = json!({"metadata": {"name": ENVIRONMENT, "namespace": "shop"}, "data": {"A": "b"}});
    bench.server.put(place(ENVIRONMENT), foreign);
    bench.echo();
    with_formats(&mut bench, &[Format::Jdbc, Format::Env]);
    assert_eq!(bench.condition("Programmed"), "NameConflict");
    assert_eq!(keys(&bench, ENVIRONMENT), ["A"]);
    assert!(keys(&bench, ROUTING).contains(&"jdbc-rw".to_owned()));
}

#[test]
fn a_config_map_that_would_be_too_large_stays_as_it_is_and_the_routes_go_on() {
    let mut bench = Bench::routed();
    let before = bench.server.objects[&place(ROUTING)].clone();
    bench.large = true;
    bench.declare_generation(2);
    bench.decide_generation(2, with(2, &[1]));
    bench.serve();
    bench.pass(1);
    let log = bench.log();
    assert!(!log.iter().any(|line| line.contains("ConfigMap")), "{log:?}");
    assert!(
        log.contains(&"update EndpointSlice orders-rw-ipv4-5432".to_owned()),
        "{log:?}"
    );
    assert_eq!(bench.server.objects[&place(ROUTING)], before);
    assert_eq!(bench.condition("Programmed"), "TooLarge");
    assert_eq!(bench.condition("Stalled"), "TooLarge");
    bench.echo();
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);

    bench.large = false;
    bench.declare_generation(3);
    bench.decide_generation(3, with(2, &[1]));
    bench.serve();
    assert_eq!(bench.condition("Programmed"), "Programmed");
    assert_ne!(bench.server.objects[&place(ROUTING)], before);
}

/// What follows from the slices is told, also while the ConfigMap does not follow.
#[test]
fn a_failover_is_told_while_the_config_map_is_too_large() {
    let mut bench = Bench::new();
    bench.large = true;
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.serve();
    bench.pass(1);
    assert!(!bench.server.objects.contains_key(&place(ROUTING)));
    bench.decide(with(2, &[1]));
    bench.serve();
    bench.pass(1);
    let told: Vec<_> = bench
        .server
        .status
        .failovers
        .iter()
        .map(|it| it.kind.as_str())
        .collect();
    assert_eq!(told, ["PrimaryMoved"]);
}
