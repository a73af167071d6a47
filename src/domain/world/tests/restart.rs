//! The operator restarts, and remembers what the status says.

use super::*;
use crate::domain::health::Reason;
use crate::domain::plan::RouteState;

/// What the status says of an endpoint that served.
fn remembered(ids: &[&str]) -> Remembered {
    let one = |id: &&str| {
        let endpoint = policy().endpoint(&EndpointId::from(*id)).cloned()?;
        let location = endpoint.location?;
        let role = if *id == "primary" {
            Role::Primary
        } else {
            Role::Standby
        };
        let known = RememberedEndpoint {
            host: Some(location.host.to_string()),
            port: Some(location.port),
            address: location.host.to_string().parse().ok(),
            role: Some(role),
            eligible: true,
            reason: "Serving".to_owned(),
        };
        Some((EndpointId::from(*id), known))
    };
    ids.iter().filter_map(one).collect()
}

fn restarted() -> Scene {
    let mut scene = Scene::default();
    scene.apply(policy(), &remembered(&["primary", "a", "b"]), 0);
    scene
}

#[test]
fn after_a_restart_routes_stay_until_everyone_was_checked() {
    let mut scene = restarted();
    assert_eq!(scene.routes(), format!("{WAITING}3 }}"));
    scene.check("primary", 1, good("primary"));
    scene.check("a", 2, REFUSED);
    scene.check("a", 8, REFUSED);
    assert_eq!(
        scene.routes(),
        format!("{WAITING}1 }}"),
        "merely unhealthy, it is held"
    );
    scene.check("b", 9, good("b"));
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn after_a_restart_what_is_proven_wrong_leaves_at_once() {
    let mut scene = restarted();
    scene.check("a", 1, Ok(sample(Role::Primary)));
    let Some(DecisionState::Decided { plan, endpoints }) = scene.decide() else {
        panic!("decides");
    };
    assert_eq!(words(&plan), "rw primary; ro b", "the others stay, unchecked");
    assert_eq!(endpoints[1].reason, Reason::WritableReplica);
}

#[test]
fn after_a_restart_a_primary_that_is_a_standby_leaves_rw_at_once() {
    let mut scene = restarted();
    scene.check("primary", 1, Ok(sample(Role::Standby)));
    assert_eq!(scene.routes(), "rw; ro a b primary");
}

#[test]
fn after_a_restart_the_last_address_is_preferred() {
    let scene = restarted();
    assert_eq!(scene.instruction("a").prefer, Some(address(2)));
}

#[test]
fn what_is_remembered_of_another_server_says_nothing() {
    let mut scene = Scene::default();
    let moved = edited(|policy| policy.endpoints[1] = endpoint("a", 9));
    scene.apply(moved, &remembered(&["primary", "a", "b"]), 0);
    assert_eq!(scene.instruction("a").prefer, None);
    for id in ["primary", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.check("a", 2, Err(FailureKind::AuthenticationFailed));
    assert_eq!(scene.routes(), "rw primary; ro b", "it never served");
}

#[test]
fn what_served_before_a_restart_is_held_by_a_fault_of_configuration() {
    let mut scene = restarted();
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, Err(FailureKind::AuthenticationFailed));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn with_nobody_reachable_after_a_restart_who_served_is_held() {
    let mut scene = restarted();
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, REFUSED);
        scene.check(id, 7, REFUSED);
    }
    let Some(DecisionState::Decided { plan, .. }) = scene.decide() else {
        panic!("decides");
    };
    assert_eq!(words(&plan), "rw primary; ro a b primary");
    assert_eq!(
        (plan.rw.state, plan.ro.state),
        (RouteState::Held, RouteState::Held)
    );
}
