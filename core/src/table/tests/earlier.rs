//! `routing.json` as version 0.1.0 wrote it.

use super::*;
use crate::policy::EndpointState;
use crate::routing::{DefaultDestination, Priority};

const REPLICAS_OFF: &str = include_str!("replicas-off.0.1.0.json");
const GEOGRAPHIC: &str = include_str!("geographic.0.1.0.json");

#[test]
fn a_document_of_the_first_version_is_read_and_routes() {
    let table = RoutingTable::read(GEOGRAPHIC).unwrap();
    let route = |request: Request<'_>| table.route(&request).map(|choice| choice.route).unwrap();
    let read = Request {
        read_only: true,
        ..Request::default()
    };
    assert_eq!(route(Request::default()), "rw");
    assert_eq!(route(read), "ro");
    let region = Some("eu-west-1");
    assert_eq!(route(Request { region, ..read }), "ro-eu-west-1");
    let operation = |operation| Request {
        operation: Some(operation),
        ..Request::default()
    };
    assert_eq!(route(operation("reports")), "analytics");
    assert_eq!(route(operation("create")), "rw");
    let off = RoutingTable::read(REPLICAS_OFF).unwrap();
    let critical = Request {
        priority: Some(Priority::Critical),
        ..read
    };
    assert_eq!(off.route(&critical).unwrap().route, "rw");
}

#[test]
fn what_the_first_version_left_out_follows_from_the_rest() {
    let table = RoutingTable::read(GEOGRAPHIC).unwrap();
    assert!(table.replicas && table.health_check.is_none());
    assert_eq!(table.default_destination, DefaultDestination::Replicas);
    assert!(table.classes.iter().all(|class| class.built_in));
    assert_eq!(table.connection.connect_timeout_milliseconds, 10_000);
    let endpoint = &table.endpoints[1];
    assert_eq!(endpoint.connection.connect_timeout_milliseconds, 10_000);
    assert_eq!(endpoint.state, EndpointState::Active);
    // The nearest alone are in the slice of a region.
    let in_slice = |route: &str| {
        let targets = table.routes[route].targets.iter();
        targets.map(|target| target.in_slice).collect::<Vec<_>>()
    };
    assert_eq!(in_slice("ro"), [true, true, true]);
    assert_eq!(in_slice("ro-eu-west-1"), [true, false, false]);
}

#[test]
fn a_class_with_a_service_was_declared() {
    let table = RoutingTable::read(REPLICAS_OFF).unwrap();
    let classes = table.classes.iter();
    let built_in: Vec<_> = classes
        .map(|class| (class.name.as_str(), class.built_in))
        .collect();
    assert_eq!(
        built_in,
        [("analytics", false), ("primary-preferred", true), ("write", true)]
    );
}

#[test]
fn an_endpoint_that_was_not_active_is_disabled() {
    let text = GEOGRAPHIC.replacen("\"active\": true", "\"active\": false", 1);
    let table = RoutingTable::read(&text).unwrap();
    assert_eq!(table.endpoints[0].state, EndpointState::Disabled);
}

#[test]
fn its_revision_is_proven_as_it_stands() {
    assert!(is_intact(GEOGRAPHIC) && is_intact(REPLICAS_OFF));
}

#[test]
fn nothing_is_added_to_what_is_there() {
    let mut table = made(|_| {});
    table.replicas = false;
    table.default_destination = DefaultDestination::Primary;
    table.connection.connect_timeout_milliseconds = 1500;
    table.endpoints[1].state = EndpointState::Draining;
    table.classes[0].built_in = !table.classes[0].built_in;
    if let Some(route) = table.routes.get_mut("ro") {
        route.targets[0].in_slice = false;
    }
    assert_eq!(RoutingTable::read(&table.text()).unwrap(), table);
}

#[test]
fn what_has_another_form_is_refused_and_not_completed() {
    for text in [
        "{\"version\": \"routing.distributary.dev/v1\"}",
        "{\"version\": \"routing.distributary.dev/v1\", \"classes\": 1, \"routes\": [], \"endpoints\": {}, \"connection\": null}",
    ] {
        assert!(matches!(
            RoutingTable::read(text),
            Err(TableError::Malformed { .. })
        ));
    }
}
