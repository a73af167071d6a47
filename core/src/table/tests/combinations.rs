//! All that a request may say, together.

use super::rules::{lost, table};
use super::*;
use crate::routing::{Destination, Priority};

/// Every combination of what a request may say: a write is on `rw`, a route that is told is there, and only an unknown class or
/// region has none.
#[test]
fn every_request_has_a_route_that_is_there_and_no_write_leaves_rw() {
    const NAMES: [Option<&str>; 9] = [
        None,
        Some(""),
        Some("create"),
        Some("search"),
        Some("findMany"),
        Some("write"),
        Some("audit"),
        Some("east"),
        Some("primary-preferred"),
    ];
    let priorities = Priority::ALL.iter().copied().map(Some).chain([None]);
    for table in [table(), lost(table()), made(|_| {})] {
        let mut count = 0;
        for (priority, flags) in priorities
            .clone()
            .flat_map(|it| (0..4).map(move |flags| (it, flags)))
        {
            for (operation, class) in NAMES
                .iter()
                .flat_map(|it| NAMES.iter().map(move |other| (it, other)))
            {
                for region in NAMES {
                    let request = Request {
                        operation: *operation,
                        class: *class,
                        region,
                        priority,
                        read_only: flags & 1 == 1,
                        prefer_primary: flags & 2 == 2,
                    };
                    holds(&table, &request);
                    count += 1;
                }
            }
        }
        assert_eq!(count, 5 * 4 * 9 * 9 * 9);
    }
}

fn holds(table: &RoutingTable, request: &Request<'_>) {
    let known = |name: &str| table.classes.iter().any(|class| class.name == name);
    let unnamed = request.class.is_none() && !matches!(request.operation, Some("create" | "search"));
    match table.route(request) {
        Ok(routed) => {
            assert!(table.routes.contains_key(routed.route), "{request:?}");
            let write = request.operation == Some("create")
                || request.class == Some("write")
                || unnamed && !request.read_only;
            assert!(
                !write || routed.route == "rw" && routed.destination == Destination::Primary,
                "{request:?}"
            );
        }
        Err(NoRoute::UnknownClass { class, .. }) => assert!(!known(&class), "{request:?}"),
        Err(NoRoute::UnknownRegion { region, .. }) => {
            assert!(unnamed && request.region == Some(&*region), "{request:?}");
        }
    }
}
