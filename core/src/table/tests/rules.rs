//! The rows of the table of rules, each by its number.

use super::*;
use crate::routing::{self, DefaultDestination, Destination, Priority, PriorityDestination};

/// Classes `audit` (ReplicasOnly) and `reports` (Replicas) beside the built-in ones, the region `east`, and three priorities.
pub fn table() -> RoutingTable {
    made(|policy| {
        let class = |name: &str, destination| routing::Class {
            destination,
            ..fixture::class(name)
        };
        let classes = &mut policy.routing.classes;
        classes.push(class("audit", Destination::ReplicasOnly));
        classes.push(class("reports", Destination::Replicas));
        classes.sort_by(|a, b| a.name.cmp(&b.name));
        policy.routing.regions = vec![routing::Region {
            name: "east".to_owned(),
            failover: Vec::new(),
        }];
        policy.routing.priorities = [
            (Priority::Critical, PriorityDestination::Primary),
            (Priority::High, PriorityDestination::PrimaryPreferred),
            (Priority::Low, PriorityDestination::Replicas),
        ]
        .into();
    })
}

/// The same while nobody is well for writes.
pub fn lost(mut table: RoutingTable) -> RoutingTable {
    table.routes.get_mut("rw").unwrap().state = RouteState::Held;
    table
}

const READ: Request<'static> = Request {
    operation: None,
    class: None,
    region: None,
    priority: None,
    read_only: true,
    prefer_primary: false,
};

fn class(name: &str) -> Request<'_> {
    Request {
        class: Some(name),
        ..Request::default()
    }
}

fn operation(name: &str) -> Request<'_> {
    Request {
        operation: Some(name),
        ..Request::default()
    }
}

#[track_caller]
fn takes(table: &RoutingTable, request: Request<'_>, route: &str, destination: Destination) {
    let choice = table
        .route(&request)
        .map(|choice| (choice.route, choice.destination));
    assert_eq!(choice, Ok((route, destination)), "{request:?}");
}

#[test]
fn a_choice_names_the_class_whose_route_it_is() {
    let table = table();
    for (request, expected) in [
        (class("reports"), Some("reports")),
        (operation("search"), Some("analytics")),
        (class("write"), None),
        (READ, None),
    ] {
        let choice = table.route(&request).unwrap();
        assert_eq!(choice.class, expected, "{request:?}");
    }
}

#[test]
fn row_1_a_class_that_there_is_not_is_refused_with_those_that_there_are() {
    let error = table().route(&class("exports")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no class exports: there are analytics, audit, primary-preferred, reports, write"
    );
}

#[test]
fn row_2_what_belongs_to_a_class_of_the_primary_is_on_rw_whatever_else_is_said() {
    let table = table();
    for request in [operation("create"), class("write")] {
        takes(&table, request, "rw", Destination::Primary);
        for priority in Priority::ALL {
            let wished = Request {
                priority: Some(*priority),
                region: Some("nowhere"),
                read_only: true,
                prefer_primary: true,
                ..request
            };
            takes(&table, wished, "rw", Destination::Primary);
        }
    }
    let both = Request {
        class: Some("reports"),
        ..operation("deleteMany")
    };
    takes(&table, both, "rw", Destination::Primary);
}

#[test]
fn row_3_what_no_class_names_is_a_write_unless_it_is_read_only() {
    let table = table();
    takes(&table, Request::default(), "rw", Destination::Primary);
    takes(&table, operation("findMany"), "rw", Destination::Primary);
    let low = Request {
        priority: Some(Priority::Low),
        region: Some("east"),
        ..operation("findMany")
    };
    takes(&table, low, "rw", Destination::Primary);
    let read = Request {
        read_only: true,
        ..operation("findMany")
    };
    takes(&table, read, "ro", Destination::Replicas);
}

#[test]
fn row_4_a_priority_of_the_primary_takes_any_read_to_rw() {
    let table = table();
    for request in [READ, class("reports"), class("audit"), operation("search")] {
        let critical = Request {
            priority: Some(Priority::Critical),
            ..request
        };
        takes(&table, critical, "rw", Destination::Primary);
    }
}

#[test]
fn row_5_a_priority_that_prefers_the_primary_takes_rw_while_it_is_served() {
    let high = Request {
        priority: Some(Priority::High),
        ..class("reports")
    };
    takes(&table(), high, "rw", Destination::PrimaryPreferred);
}

#[test]
fn row_6_a_mapped_priority_that_does_not_lead_to_the_primary_leaves_the_usual_route() {
    let high = Request {
        priority: Some(Priority::High),
        ..class("reports")
    };
    takes(&lost(table()), high, "reports", Destination::Replicas);
    let low = Request {
        priority: Some(Priority::Low),
        prefer_primary: true,
        region: Some("east"),
        ..READ
    };
    takes(&table(), low, "ro-east", Destination::Replicas);
}

#[test]
fn a_priority_that_the_policy_does_not_map_changes_nothing() {
    let medium = Request {
        priority: Some(Priority::Medium),
        ..class("reports")
    };
    takes(&table(), medium, "reports", Destination::Replicas);
    let preferring = Request {
        prefer_primary: true,
        ..medium
    };
    takes(
        &table(),
        preferring,
        "primary-preferred",
        Destination::PrimaryPreferred,
    );
}

#[test]
fn row_7_a_read_that_prefers_the_primary_takes_primary_preferred() {
    for request in [READ, class("reports"), operation("search")] {
        let preferring = Request {
            prefer_primary: true,
            region: Some("east"),
            ..request
        };
        for table in [table(), lost(table())] {
            takes(
                &table,
                preferring,
                "primary-preferred",
                Destination::PrimaryPreferred,
            );
        }
    }
}

#[test]
fn row_7_a_class_that_the_policy_keeps_from_the_primary_stays_away_from_it() {
    let preferring = Request {
        prefer_primary: true,
        ..class("audit")
    };
    takes(&table(), preferring, "audit", Destination::ReplicasOnly);
}

#[test]
fn row_7_is_rw_while_that_is_served_where_the_policy_gives_the_name_to_replicas() {
    let table = || {
        let mut table = table();
        let mut classes = table.classes.iter_mut();
        classes
            .find(|class| class.name == "primary-preferred")
            .unwrap()
            .destination = Destination::Replicas;
        table
    };
    let preferring = Request {
        prefer_primary: true,
        region: Some("east"),
        ..READ
    };
    takes(&table(), preferring, "rw", Destination::PrimaryPreferred);
    takes(&lost(table()), preferring, "ro-east", Destination::Replicas);
}

#[test]
fn row_8_a_class_has_its_own_route_whatever_the_region() {
    let table = table();
    let request = Request {
        region: Some("nowhere"),
        ..class("reports")
    };
    takes(&table, request, "reports", Destination::Replicas);
    takes(&table, class("audit"), "audit", Destination::ReplicasOnly);
    takes(&table, operation("export"), "analytics", Destination::Replicas);
    takes(
        &table,
        operation("transaction"),
        "primary-preferred",
        Destination::PrimaryPreferred,
    );
}

#[test]
fn row_8_a_class_that_is_named_goes_before_the_one_that_has_the_operation() {
    let request = Request {
        class: Some("audit"),
        ..operation("search")
    };
    takes(&table(), request, "audit", Destination::ReplicasOnly);
}

#[test]
fn row_9_a_region_without_a_route_is_refused_with_those_that_have_one() {
    let request = Request {
        region: Some("mars-1"),
        ..READ
    };
    let told = |table: &RoutingTable| table.route(&request).unwrap_err().to_string();
    let there_is_none = "there is no region mars-1 in loadBalancing.regions";
    assert_eq!(told(&table()), format!("{there_is_none}: there is east"));
    assert_eq!(told(&made(|_| {})), there_is_none);
}

#[test]
fn row_10_a_region_has_its_own_route_for_reads_that_no_class_names() {
    let request = Request {
        region: Some("east"),
        ..READ
    };
    takes(&table(), request, "ro-east", Destination::Replicas);
}

#[test]
fn row_11_any_other_read_takes_the_default_route() {
    takes(&table(), READ, "ro", Destination::Replicas);
}

#[test]
fn the_default_target_and_the_master_switch_are_told_beside_the_same_routes() {
    let to_primary = made(|policy| policy.routing.default_destination = DefaultDestination::Primary);
    takes(&to_primary, READ, "ro", Destination::Primary);
    takes(
        &to_primary,
        class("analytics"),
        "analytics",
        Destination::Replicas,
    );
    let off = made(|policy| policy.routing.replicas = false);
    takes(&off, class("analytics"), "analytics", Destination::Primary);
}
