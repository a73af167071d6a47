use super::*;
use crate::fixture::class;

#[test]
fn a_class_is_found_by_its_name() {
    let routing = Routing {
        classes: vec![class("reports"), class("exports")],
        ..Routing::default()
    };
    let found = |name: &str| routing.class(&name.into()).map(|class| class.name.to_string());
    assert_eq!(found("exports").as_deref(), Some("exports"));
    assert_eq!(found("reports").as_deref(), Some("reports"));
    assert_eq!(found("report"), None);
}

#[test]
fn a_class_of_the_primary_has_the_route_of_the_writes() {
    for (destination, expected) in [
        (Destination::Primary, false),
        (Destination::PrimaryPreferred, true),
        (Destination::Replicas, true),
        (Destination::ReplicasOnly, true),
    ] {
        let class = Class {
            destination,
            ..class("c")
        };
        assert_eq!(class.has_route(), expected, "{destination}");
    }
}
