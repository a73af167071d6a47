use super::*;
use std::time::Duration;

use crate::fixture;
use crate::ids::PolicyKey;
use crate::percent::Percent;
use crate::routing::ReadFallback;
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
    assert_eq!(broken(same), [InvalidPolicy::SameServer("b".into())]);
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
fn servers_that_do_not_tell_who_they_are_are_not_followed() {
    let unchecked = |parts: &mut PolicyParts| parts.identity = IdentityRule::Unchecked;
    assert_eq!(broken(unchecked), [InvalidPolicy::FollowsUnchecked]);
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
    for steps in [&[][..], &[50, 50], &[50, 10]] {
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
    assert_eq!(broken(twice), [InvalidPolicy::ClassTwice("c".into())]);
    let operation = |parts: &mut PolicyParts| {
        parts.routing.classes = ["c", "d"].map(fixture::class).into();
        for class in &mut parts.routing.classes {
            class.operations = vec!["audit".to_owned()];
        }
    };
    assert_eq!(
        broken(operation),
        [InvalidPolicy::OperationTwice("audit".to_owned())]
    );
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
    let of_endpoints: Vec<_> = both.iter().map(InvalidPolicy::is_of_endpoints).collect();
    assert_eq!(of_endpoints, [true, false]);
}
