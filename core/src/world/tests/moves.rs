//! The name of the write primary leads elsewhere.

use super::*;
use crate::fixture::{Case, SYSTEM};
use crate::plan::RouteState;
use crate::policy::{OnPrimaryLoss, PrimaryRole};
use crate::server::{Host, Location};

/// A server of this role on this timeline.
fn on(timeline: u32, role: Role) -> Sample {
    Sample {
        timeline: Some(timeline),
        ..sample(role)
    }
}

/// All endpoints are declared by names.
fn named(edit: impl FnOnce(&mut Case)) -> Case {
    edited(|policy| {
        for id in ["primary", "a", "b"] {
            policy.of(id).location = Some(Location {
                host: Host::Name(format!("{id}.example.com")),
                port: 5432,
            });
        }
        edit(policy);
    })
}

/// The primary is at .1, `a` at .2, `b` at .3.
fn settled_as(edit: impl FnOnce(&mut Case)) -> Scene {
    let mut scene = Scene::default();
    scene.apply(named(edit), &Memory::default(), 0);
    for (id, last, role) in [
        ("primary", 1, Role::Primary),
        ("a", 2, Role::Standby),
        ("b", 3, Role::Standby),
    ] {
        scene.found_at(id, 1, last, on(1, role));
    }
    assert_eq!(writes(&mut scene), "Served primary .1");
    scene
}

fn settled() -> Scene {
    settled_as(|_| {})
}

/// The route of the writes: its state, its endpoint, and where it leads.
fn writes(scene: &mut Scene) -> String {
    scene.decide();
    let decision = scene.seen.values().next().unwrap();
    let rw = &decision.state.decided().unwrap().plan.rw;
    let word = match rw.state {
        RouteState::Served => "Served",
        RouteState::Held => "Held",
        RouteState::Fallback | RouteState::Empty => return "nowhere".to_owned(),
    };
    let [member] = &rw.members[..] else {
        panic!("{rw:?}");
    };
    let address = member.address.to_string();
    format!(
        "{word} {} .{}",
        member.target,
        address.rsplit('.').next().unwrap()
    )
}

#[test]
fn until_who_is_at_the_new_address_takes_writes_the_old_one_stays() {
    let mut scene = settled();
    scene.found_at("primary", 1000, 50, on(1, Role::Standby));
    assert_eq!(writes(&mut scene), "Held primary .1");
    // It needs not to have been seen as a standby by this policy.
    scene.found_at("primary", 2000, 50, on(2, Role::Primary));
    assert_eq!(writes(&mut scene), "Served primary .50");
}

#[test]
fn a_name_that_leads_to_a_server_that_takes_writes_moves_them_at_once() {
    let mut scene = settled();
    scene.found_at("primary", 1000, 50, on(2, Role::Primary));
    assert_eq!(writes(&mut scene), "Served primary .50");
}

#[test]
fn a_name_that_leads_to_an_old_primary_or_to_another_database_moves_nothing() {
    let other = Sample {
        system_identifier: Some(SYSTEM + 1),
        ..on(3, Role::Primary)
    };
    for told in [on(1, Role::Primary), other] {
        let mut scene = settled();
        scene.found_at("primary", 1000, 50, on(2, Role::Primary));
        scene.decide();
        scene.found_at("primary", 2000, 60, told);
        assert_eq!(writes(&mut scene), "Held primary .50");
        let mark = scene.world.policies.values().next().unwrap().holding.timeline;
        assert_eq!(mark, Some(2));
    }
}

#[test]
fn the_policy_says_whether_a_server_that_is_not_found_any_more_keeps_the_writes() {
    let mut scene = settled_as(|policy| policy.failover.on_primary_loss = OnPrimaryLoss::Withdraw);
    scene.found_at("primary", 1000, 50, on(1, Role::Standby));
    assert_eq!(writes(&mut scene), "nowhere");
}

#[test]
fn one_that_may_follow_is_followed_after_the_failover_timeout() {
    let mut scene = settled();
    scene.found_at("primary", 1000, 50, on(1, Role::Standby));
    scene.found_at("a", 1500, 2, on(2, Role::Primary));
    assert_eq!(writes(&mut scene), "Held primary .1");
    scene.now = at(6100);
    assert_eq!(writes(&mut scene), "Served a .2");
}

/// Nothing can prove there that it follows: no name leads to the write primary any more.
#[test]
fn a_standby_that_the_name_of_the_holder_leads_to_serves_no_reads() {
    let mut scene = settled();
    scene.check("primary", 10_000, REFUSED);
    scene.check("primary", 10_010, REFUSED);
    scene.found_at("a", 11_000, 2, on(2, Role::Primary));
    scene.decide();
    scene.now = at(15_001);
    assert_eq!(writes(&mut scene), "Served a .2");
    let stuck = Sample {
        timeline: None,
        ..sample(Role::Standby)
    };
    scene.found_at("a", 20_000, 50, stuck);
    let decided = scene.decided();
    assert_eq!(decided.plan.rw.state, RouteState::Held);
    assert_eq!(words(&decided.plan), "rw a; ro b");
    assert_eq!(decided.endpoints[1].state.reason, Reason::NotFollowing);
    // It is promoted: the writes move with the name.
    scene.found_at("a", 21_000, 50, on(3, Role::Primary));
    assert_eq!(writes(&mut scene), "Served a .50");
}

/// Whichever is seen first, the writing server never changes.
#[test]
fn two_names_that_are_swapped_leave_the_writes_on_their_server() {
    let to_standby = |scene: &mut Scene, millis| scene.found_at("primary", millis, 2, on(1, Role::Standby));
    let to_primary = |scene: &mut Scene, millis| scene.found_at("a", millis, 1, on(1, Role::Primary));
    let mut scene = settled();
    to_standby(&mut scene, 1000);
    assert_eq!(writes(&mut scene), "Held primary .1");
    to_primary(&mut scene, 2000);
    assert_eq!(writes(&mut scene), "Served a .1");
    let mut scene = settled();
    to_primary(&mut scene, 1000);
    assert_eq!(writes(&mut scene), "Served primary .1");
    to_standby(&mut scene, 2000);
    assert_eq!(writes(&mut scene), "Served a .1");
    assert!(
        scene
            .seen
            .values()
            .next()
            .unwrap()
            .state
            .decided()
            .unwrap()
            .split
            .is_empty()
    );
}

#[test]
fn under_pinned_no_other_name_takes_the_writes() {
    let mut scene = settled_as(|policy| policy.failover.primary_role = PrimaryRole::Pinned);
    scene.found_at("primary", 1000, 2, on(1, Role::Standby));
    scene.found_at("a", 2000, 1, on(1, Role::Primary));
    assert_eq!(writes(&mut scene), "Held primary .1");
}

/// A name with two addresses of one server.
#[test]
fn another_address_of_the_same_server_is_no_move() {
    let mut scene = settled();
    scene.found_at("primary", 500, 1, started(5, on(1, Role::Primary)));
    scene.found_at("primary", 1000, 50, started(5, on(1, Role::Primary)));
    assert_eq!(writes(&mut scene), "Served primary .50");
    scene.found_at("primary", 2000, 1, started(5, on(1, Role::Standby)));
    assert_eq!(writes(&mut scene), "nowhere", "it is a standby itself");
}

#[test]
fn another_start_at_another_address_is_another_server() {
    let mut scene = settled();
    scene.found_at("primary", 500, 1, started(5, on(1, Role::Primary)));
    scene.found_at("primary", 1000, 50, started(6, on(1, Role::Standby)));
    assert_eq!(writes(&mut scene), "Held primary .1");
}

/// A virtual address that is lost, beside the server behind it.
#[test]
fn where_the_name_is_silent_another_name_of_the_server_takes_over() {
    let mut scene = settled();
    scene.found_at("primary", 1000, 1, started(5, on(1, Role::Primary)));
    scene.found_at("a", 1100, 2, started(5, on(1, Role::Primary)));
    assert_eq!(writes(&mut scene), "Served primary .1");
    scene.check("primary", 2000, REFUSED);
    scene.check("primary", 2010, REFUSED);
    assert_eq!(writes(&mut scene), "Held primary .1", "it has not answered since");
    scene.found_at("a", 2900, 2, started(5, on(1, Role::Primary)));
    assert_eq!(writes(&mut scene), "Held primary .1", "it may be shutting down");
    scene.found_at("a", 3100, 2, started(5, on(1, Role::Primary)));
    assert_eq!(writes(&mut scene), "Served a .2");
    // Another start is another server.
    let mut scene = settled();
    scene.found_at("primary", 1000, 1, started(5, on(1, Role::Primary)));
    scene.found_at("a", 1100, 2, started(6, on(1, Role::Primary)));
    scene.check("primary", 2000, REFUSED);
    scene.check("primary", 2010, REFUSED);
    scene.found_at("a", 3500, 2, started(6, on(1, Role::Primary)));
    assert_eq!(writes(&mut scene), "Held primary .1");
}

/// Its name was led elsewhere while no operator ran; or the policy was edited meanwhile.
#[test]
fn after_a_restart_the_remembered_address_stays_unless_the_policy_names_another_host() {
    for (host, expected) in [
        ("primary.example.com", "Held primary .1"),
        ("other.example.com", "nowhere"),
    ] {
        let mut known = crate::world::tests::restart::remembered(&["primary", "a", "b"]);
        known.holding.server = Some((address(1), 5432).into());
        let before = named(|_| {});
        for (id, endpoint) in &mut known.endpoints {
            endpoint.location = before.resolved().location(id).cloned();
        }
        let mut scene = Scene::default();
        let now = named(|policy| {
            policy.of("primary").location = Some(Location {
                host: Host::Name(host.to_owned()),
                port: 5432,
            });
        });
        scene.apply(now, &known, 0);
        scene.found_at("primary", 1, 50, on(1, Role::Standby));
        scene.found_at("a", 2, 2, on(1, Role::Standby));
        scene.found_at("b", 3, 3, on(1, Role::Standby));
        assert_eq!(writes(&mut scene), expected, "{host}");
    }
}
