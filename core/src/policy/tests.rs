use super::*;
use std::time::Duration;

use crate::fixture;
use crate::ids::PolicyKey;
use crate::percent::Percent;
use crate::routing::{Class, Destination, ReadFallback, Region};
use crate::server::Location;

#[test]
fn a_policy_is_named_with_its_namespace() {
    assert_eq!(PolicyKey::new("shop", "orders").to_string(), "shop/orders");
}

#[test]
fn how_far_behind_replicas_are_is_compared_where_they_may_stand_in() {
    let lagging = || vec![ReadFallback::LaggingReplicas];
    let mut policy = fixture::policy(&["a"]);
    policy.routing.classes = vec![fixture::class("c")];
    assert!(!policy.compares_lagging());
    policy.failover.read_fallback = lagging();
    assert!(policy.compares_lagging());
    policy.failover.read_fallback.clear();
    policy.routing.classes[0].read_fallback = Some(lagging());
    assert!(policy.compares_lagging(), "for a class");
}

#[test]
fn an_operator_that_takes_more_time_keeps_what_was_declared() {
    let policy = || Policy::new(PolicyParts::clone(&fixture::policy(&["a"]))).unwrap();
    let secs = Duration::from_secs;
    let before = policy().probing;
    assert_eq!(policy().checked_at_least(Duration::ZERO).probing, before);
    let as_fast = policy().checked_at_least(secs(2)).probing;
    assert_eq!((as_fast.heartbeat, as_fast.declared), (before.heartbeat, None));
    let slower = policy().checked_at_least(secs(3)).probing;
    assert_eq!((slower.interval, slower.heartbeat), (secs(30), Some(secs(3))));
    let declared = Pace {
        interval: secs(30),
        heartbeat: Some(secs(2)),
    };
    assert_eq!(slower.declared, Some(declared));
    // What is not well is looked at as seldom, where there is nothing to confirm.
    assert_eq!((before.watched(), slower.watched()), (secs(5), secs(5)));
    assert_eq!(before.at_least(secs(20)).watched(), secs(20));
    // Without a session it holds none.
    let without = Probing {
        heartbeat: None,
        ..before
    };
    let slower = without.at_least(secs(60));
    assert_eq!((slower.interval, slower.heartbeat), (secs(60), None));
}

/// What does not hold of the usual parts after an edit.
fn broken(edit: impl FnOnce(&mut PolicyParts)) -> Vec<InvalidPolicy> {
    let mut parts = PolicyParts::clone(&fixture::policy(&["a", "b"]));
    edit(&mut parts);
    Policy::new(parts).map_or_else(|broken| broken, |_| Vec::new())
}

#[test]
fn the_usual_parts_fit_together() {
    assert_eq!(broken(|_| {}), []);
}

#[test]
fn the_declared_primary_is_the_first_endpoint_and_no_other() {
    assert_eq!(
        broken(|parts| parts.endpoints.truncate(0)),
        [InvalidPolicy::Primary]
    );
    assert_eq!(
        broken(|parts| parts.endpoints.swap(0, 1)),
        [InvalidPolicy::Primary]
    );
    let second = |parts: &mut PolicyParts| parts.endpoints[1].declared = DeclaredRole::Primary;
    assert_eq!(broken(second), [InvalidPolicy::Primary]);
}

#[test]
fn an_id_is_used_once() {
    assert_eq!(
        broken(|parts| parts.endpoints[2].id = "a".into()),
        [InvalidPolicy::IdTwice {
            id: "a".into(),
            at: 2
        }]
    );
    assert_eq!(
        broken(|parts| parts.endpoints[1].id = "primary".into()),
        [InvalidPolicy::IdOfPrimary("primary".into())]
    );
}

#[test]
fn a_server_is_named_once_unless_it_is_disabled() {
    let same = |parts: &mut PolicyParts| {
        parts.endpoints[2].server = DeclaredServer::Host(fixture::location(2));
    };
    assert_eq!(
        broken(same),
        [InvalidPolicy::SameServer {
            first: "a".into(),
            second: "b".into()
        }]
    );
    let disabled = |parts: &mut PolicyParts| {
        same(parts);
        parts.endpoints[2].state = EndpointState::Disabled;
    };
    assert_eq!(broken(disabled), []);
    // Two URLs may lead anywhere.
    let urls = |parts: &mut PolicyParts| {
        for endpoint in &mut parts.endpoints {
            endpoint.server = DeclaredServer::Url;
        }
    };
    assert_eq!(broken(urls), []);
}

#[test]
fn a_host_is_the_same_in_upper_and_lower_case_and_a_service_is_no_host() {
    use crate::server::Host;
    let named = |name: &str, port| Location {
        host: Host::Name(name.to_owned()),
        port,
    };
    let key = |name: &str, port| DeclaredServer::Host(named(name, port)).key();
    assert_eq!(key("PG.example.com", 5432), key("pg.example.com", 5432));
    assert_ne!(key("pg.example.com", 5432), key("pg.example.com", 5433));
    let service = |port| DeclaredServer::Service {
        service: "pg".to_owned(),
        location: named("pg.shop.svc", port),
    };
    assert_eq!(service(5432).key(), service(5432).key());
    assert_ne!(service(5432).key(), service(5433).key());
    assert_ne!(service(5432).key(), key("pg", 5432));
    assert_eq!(DeclaredServer::Url.key(), None);
}

#[test]
fn the_accepted_primary_is_declared() {
    let accepts =
        |id: &'static str| move |parts: &mut PolicyParts| parts.failover.accept_primary = Some(id.into());
    assert_eq!(broken(accepts("b")), []);
    assert_eq!(broken(accepts("c")), [InvalidPolicy::AcceptedUnknown]);
}

#[test]
fn writes_do_not_move_between_servers_that_do_not_tell_who_they_are() {
    let unchecked = |parts: &mut PolicyParts| parts.identity = IdentityRule::Unchecked;
    assert_eq!(broken(unchecked), [InvalidPolicy::MovesUnchecked]);
    let pinned = |parts: &mut PolicyParts| {
        unchecked(parts);
        parts.failover.primary_role = PrimaryRole::Pinned;
    };
    assert_eq!(broken(pinned), []);
}

#[test]
fn a_breaker_counts_and_its_steps_rise() {
    assert_eq!(
        broken(|parts| parts.breaker.failure_threshold = 0),
        [InvalidPolicy::FailureThreshold]
    );
    assert_eq!(
        broken(|parts| parts.breaker.success_threshold = 0),
        [InvalidPolicy::SuccessThreshold]
    );
    for steps in [&[][..], &[50, 50], &[50, 10], &[0, 50]] {
        let steps = |parts: &mut PolicyParts| {
            parts.breaker.traffic_steps = steps.iter().copied().map(Percent::new).collect();
        };
        assert_eq!(broken(steps), [InvalidPolicy::TrafficSteps]);
    }
}

#[test]
fn as_many_attempts_as_the_breaker_counts_fit_into_the_failover_timeout() {
    let timeout = |time: Duration| move |parts: &mut PolicyParts| parts.probing.failover_timeout = time;
    assert_eq!(broken(timeout(SHORTEST_ATTEMPT * 5)), []);
    let short = SHORTEST_ATTEMPT * 5 - Duration::from_nanos(1);
    assert_eq!(broken(timeout(short)), [InvalidPolicy::Attempts { threshold: 5 }]);
}

#[test]
fn a_class_and_an_operation_are_there_once() {
    let twice = |parts: &mut PolicyParts| {
        parts.routing.classes = vec![fixture::class("c"), fixture::class("c")];
    };
    let class = "c".into();
    assert_eq!(broken(twice), [InvalidPolicy::ClassTwice { class, at: 1 }]);
    let operation = |parts: &mut PolicyParts| {
        parts.routing.classes = ["c", "d"].map(fixture::class).into();
        for class in &mut parts.routing.classes {
            class.operations = vec!["audit".to_owned()];
        }
    };
    assert_eq!(
        broken(operation),
        [InvalidPolicy::OperationTwice {
            operation: "audit".to_owned(),
            at: [0, 1],
        }]
    );
}

#[test]
fn the_figures_of_an_endpoint_are_in_their_bounds() {
    type Edit = fn(&mut Endpoint);
    let edits: [(Edit, InvalidPolicy); 5] = [
        (|it| it.weight = MOST_WEIGHT + 1, InvalidPolicy::Weight(1)),
        (|it| it.max_connections = 0, InvalidPolicy::NoConnections(1)),
        (
            |it| {
                it.server = DeclaredServer::Host(Location {
                    port: 0,
                    ..fixture::location(2)
                });
            },
            InvalidPolicy::Port(1),
        ),
        (
            |it| it.lag.recover = it.lag.max + Duration::from_nanos(1),
            InvalidPolicy::Recover(1),
        ),
        (
            |it| it.lag.source = LagSource::Query("".into()),
            InvalidPolicy::LagQuery(1),
        ),
    ];
    for (edit, expected) in edits {
        assert_eq!(broken(|parts| edit(&mut parts.endpoints[1])), [expected]);
    }
    let at_the_bound = |parts: &mut PolicyParts| {
        parts.endpoints[1].weight = MOST_WEIGHT;
        parts.endpoints[1].lag.recover = parts.endpoints[1].lag.max;
    };
    assert_eq!(broken(at_the_bound), []);
}

#[test]
fn a_circuit_stays_open_no_longer_at_first_than_at_most() {
    let longest = |time: Duration| move |parts: &mut PolicyParts| parts.breaker.max_reset_timeout = time;
    let reset = fixture::breaker().reset_timeout;
    assert_eq!(broken(longest(reset)), []);
    let shorter = reset - Duration::from_nanos(1);
    assert_eq!(broken(longest(shorter)), [InvalidPolicy::ResetTimeouts]);
}

/// What does not hold where there is one class, after an edit of it.
fn broken_class(edit: impl FnOnce(&mut Class)) -> Vec<InvalidPolicy> {
    broken(|parts| {
        let mut class = fixture::class("c");
        edit(&mut class);
        parts.routing.classes = vec![class];
    })
}

#[test]
fn a_class_has_a_route_of_its_own() {
    for name in ["rw", "ro", "ro-east"] {
        let named = broken_class(|class| class.name = name.into());
        assert_eq!(named, [InvalidPolicy::ClassName(0)], "{name}");
    }
    assert_eq!(broken_class(|class| class.name = "row".into()), []);
}

#[test]
fn a_selector_has_ids_of_endpoints() {
    let selects =
        |id: &'static str| move |class: &mut Class| class.selector.ids = vec!["b".into(), id.into()];
    assert_eq!(broken_class(selects("primary")), []);
    assert_eq!(broken_class(selects("c")), [InvalidPolicy::SelectorUnknown(0)]);
}

#[test]
fn an_endpoint_is_dedicated_to_classes_of_replicas_each_once() {
    let dedicated = |to: &[&str]| {
        broken(|parts| parts.endpoints[2].dedicated_to = to.iter().map(|&class| class.into()).collect())
    };
    assert_eq!(dedicated(&[]), []);
    assert_eq!(dedicated(&["analytics", "primary-preferred"]), []);
    let (class, at) = (|name: &str| name.into(), 2);
    assert_eq!(
        dedicated(&["analytics", "other", "write", "analytics"]),
        [
            InvalidPolicy::DedicatedUnknown {
                class: class("other"),
                at
            },
            InvalidPolicy::DedicatedToPrimary {
                class: class("write"),
                at
            },
            InvalidPolicy::DedicatedTwice {
                class: class("analytics"),
                at
            },
        ]
    );
}

#[test]
fn a_class_of_replicas_alone_does_not_fall_back_to_the_primary() {
    let falls_back = |to: ReadFallback| {
        move |class: &mut Class| {
            class.destination = Destination::ReplicasOnly;
            class.read_fallback = Some(vec![to]);
        }
    };
    assert_eq!(broken_class(falls_back(ReadFallback::LaggingReplicas)), []);
    assert_eq!(
        broken_class(falls_back(ReadFallback::Primary)),
        [InvalidPolicy::FallbackToPrimary(0)]
    );
}

#[test]
fn a_region_is_there_once() {
    let region = |name: &str| Region {
        name: name.to_owned(),
        failover: Vec::new(),
    };
    let twice = |parts: &mut PolicyParts| {
        parts.routing.regions = ["east", "west", "east"].map(region).into();
    };
    assert_eq!(broken(twice), [InvalidPolicy::RegionTwice("east".to_owned())]);
}

#[test]
fn everything_that_does_not_hold_is_told_and_in_words() {
    let both = broken(|parts| {
        parts.breaker.failure_threshold = 0;
        parts.endpoints[2].id = "a".into();
    });
    let words: Vec<_> = both.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "the id a must be used once",
            "failureThreshold must be at least 1"
        ]
    );
}
