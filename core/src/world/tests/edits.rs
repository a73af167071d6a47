//! A policy is edited while it runs.

use super::*;
use crate::breaker::Circuit;
use crate::fixture::{Case, SYSTEM};
use crate::health::Reason;
use crate::login::{SecretProblem, UnresolvedSecret};
use crate::policy::IdentityRule;

#[test]
fn an_added_replica_waits_for_its_first_good_check_and_others_never_notice() {
    let mut scene = Scene::well();
    scene.decide();
    let before = scene.wanted.clone();
    scene.apply(
        edited(|policy| policy.endpoints.push(endpoint("c", 4))),
        &Memory::default(),
        10,
    );
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene.check("c", 11, good("c"));
    assert_eq!(scene.routes(), "rw primary; ro a b c");
    for (id, wanted) in before {
        assert_eq!(scene.wanted[&id].incarnation, wanted.incarnation, "{id}");
    }
}

#[test]
fn a_removed_replica_leaves_at_once() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| {
            policy.endpoints.remove(1);
        }),
        &Memory::default(),
        10,
    );
    assert_eq!(scene.routes(), "rw primary; ro b");
    assert!(!scene.wanted.contains_key(&target("a")));
}

#[test]
fn a_disabled_replica_leaves_at_once_and_is_not_checked() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| policy.endpoints[1].state = EndpointState::Disabled),
        &Memory::default(),
        10,
    );
    assert_eq!(scene.routes(), "rw primary; ro b");
    assert!(!scene.wanted.contains_key(&target("a")));
}

#[test]
fn an_enabled_replica_returns_after_a_good_check_and_stale_answers_say_nothing() {
    let mut scene = Scene::well();
    scene.decide();
    let first = scene.wanted[&target("a")].incarnation;
    scene.apply(
        edited(|policy| policy.endpoints[1].state = EndpointState::Disabled),
        &Memory::default(),
        10,
    );
    scene.apply(edited(|policy| policy.generation = 3), &Memory::default(), 20);
    assert_eq!(scene.routes(), "rw primary; ro b");
    scene.check_incarnation("a", first, 21, good("a"));
    assert_eq!(scene.routes(), "no change");
    scene.check("a", 22, good("a"));
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn a_new_weight_is_decided_at_once_without_a_check() {
    let mut scene = Scene::well();
    scene.decide();
    let before = *scene.instruction("a");
    scene.apply(
        edited(|policy| policy.endpoints[1].weight = 0),
        &Memory::default(),
        10,
    );
    assert_eq!(scene.routes(), "rw primary; ro b");
    assert_eq!(*scene.instruction("a"), before, "the check that is due stays");
}

#[test]
fn a_new_host_is_another_server() {
    let mut scene = Scene::well();
    scene.decide();
    let first = scene.wanted[&target("a")].incarnation;
    scene.apply(
        edited(|policy| policy.endpoints[1] = endpoint("a", 9)),
        &Memory::default(),
        10,
    );
    let second = scene.wanted[&target("a")].incarnation;
    assert_ne!(first, second);
    assert_eq!(scene.due("a"), at(10));
    assert_eq!(scene.routes(), "rw primary; ro b", "unknown again");
    assert!(scene.check_incarnation("a", first, 11, good("a")).is_empty());
    assert_eq!(scene.routes(), "no change");
    scene.check("a", 12, good("a"));
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn a_url_that_comes_back_with_another_host_is_another_server() {
    let unread = |policy: &mut Case| {
        policy.of("a").location = None;
        policy.of("a").login = Err(UnresolvedSecret {
            secret: "url".to_owned(),
            problem: SecretProblem::NotFound,
        });
    };
    let host = |last| edited(move |policy| policy.endpoints[1].server = endpoint("a", last).server);
    let mut scene = Scene::well();
    scene.decide();
    let first = scene.wanted[&target("a")].incarnation;
    scene.apply(edited(unread), &Memory::default(), 10);
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw primary; ro a b");
    let told = decided.endpoints[1].location.clone();
    assert_eq!(told, Some(location(2)), "where it was is told on");
    scene.apply(host(2), &Memory::default(), 20);
    assert_eq!(scene.wanted[&target("a")].incarnation, first, "the same");
    scene.apply(edited(unread), &Memory::default(), 30);
    scene.apply(host(9), &Memory::default(), 40);
    assert_ne!(scene.wanted[&target("a")].incarnation, first);
    assert_eq!(scene.routes(), "rw primary; ro b");
}

fn passed_over(policy: &mut Case, first: &str, second: &str) {
    policy.of(second).login = Err(UnresolvedSecret {
        secret: "url".to_owned(),
        problem: SecretProblem::SameServer {
            first: first.into(),
            second: second.into(),
        },
    });
}

/// It serves there as another endpoint, and nobody would notice its end as this one.
#[test]
fn an_endpoint_whose_server_an_earlier_one_names_too_leaves_at_once_and_is_not_held() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| passed_over(policy, "a", "b")),
        &Memory::default(),
        10,
    );
    let RouteDecision { plan, endpoints, .. } = scene.decided();
    assert_eq!(words(&plan), "rw primary; ro a");
    assert_eq!(endpoints[2].state.reason, Reason::SameServer);
    assert!(!scene.wanted.contains_key(&target("b")));
}

/// Two take the writes, and the host of the holder is edited.
fn edited_in_a_split() -> Scene {
    let mut scene = Scene::well();
    scene.decide();
    let promoted = Sample {
        timeline: Some(2),
        ..sample(Role::Primary)
    };
    scene.check("a", 10_000, Ok(promoted));
    assert_eq!(scene.routes(), "rw primary; ro b");
    let moved = edited(|policy| policy.endpoints[0] = endpoint("primary", 31));
    scene.apply(moved, &Memory::default(), 10_100);
    assert_eq!(scene.routes(), "rw; ro b", "unknown again, and nobody takes over");
    scene
}

/// `a` was promoted while the primary takes writes, as its answer proves.
fn contested() -> Scene {
    let mut scene = Scene::well();
    scene.decide();
    scene.check("a", 10_000, Ok(promoted()));
    scene.check("primary", 10_100, good("primary"));
    assert_eq!(scene.holding().contested.len(), 1);
    scene
}

fn promoted() -> Sample {
    Sample {
        timeline: Some(2),
        ..sample(Role::Primary)
    }
}

/// A person takes it out to look at it, and puts it back while the primary restarts.
#[test]
fn a_contested_server_that_was_not_routed_for_a_while_is_contested_all_the_same() {
    for state in [EndpointState::Draining, EndpointState::Disabled] {
        let mut scene = contested();
        let out = edited(|policy| policy.endpoints[1].state = state);
        scene.apply(out, &Memory::default(), 11_000);
        scene.check("primary", 12_000, good("primary"));
        scene.check("b", 12_000, good("b"));
        let holding = scene.holding();
        assert!(holding.contested_endpoints.contains(&"a".into()), "{state:?}");
        scene.check("primary", 13_000, REFUSED);
        scene.check("primary", 13_010, REFUSED);
        // Also where the operator restarted meanwhile.
        let mut again = Scene::default();
        let mut known = crate::world::tests::restart::remembered(&["primary", "a", "b"]);
        known.holding = holding;
        again.apply(policy(), &known, 13_000);
        again.check("b", 13_100, good("b"));
        again.check("primary", 13_100, REFUSED);
        scene.apply(policy(), &Memory::default(), 14_000);
        for mut scene in [scene, again] {
            scene.check("a", 14_100, Ok(promoted()));
            scene.check("primary", 20_000, REFUSED);
            scene.check("primary", 20_100, REFUSED);
            assert_eq!(scene.holding().holder, Some(target("primary")), "{state:?}");
        }
    }
}

/// A person takes it out of the policy, or names another host, and goes back on that while the primary restarts.
#[test]
fn a_contested_server_that_was_another_one_for_a_while_was_no_standby_when_it_returns() {
    let removed = |policy: &mut Case| {
        policy.endpoints.remove(1);
    };
    let elsewhere = |policy: &mut Case| policy.endpoints[1] = endpoint("a", 9);
    for out in [edited(removed), edited(elsewhere)] {
        let mut scene = contested();
        scene.apply(out, &Memory::default(), 11_000);
        scene.check("primary", 12_000, good("primary"));
        scene.check("b", 12_000, good("b"));
        scene.check("primary", 13_000, REFUSED);
        scene.check("primary", 13_010, REFUSED);
        scene.apply(policy(), &Memory::default(), 14_000);
        scene.check("a", 14_100, Ok(promoted()));
        scene.check("primary", 20_000, REFUSED);
        scene.check("primary", 20_100, REFUSED);
        assert_eq!(scene.holding().holder, Some(target("primary")));
        // A standby again, it may be promoted as any other one.
        scene.check("a", 21_000, good("a"));
        scene.check("a", 22_000, Ok(promoted()));
        assert_eq!(scene.holding().holder, Some(target("a")));
    }
}

#[test]
fn a_contest_ends_while_the_server_is_not_routed_when_it_is_a_standby() {
    let mut scene = contested();
    let out = edited(|policy| policy.endpoints[1].state = EndpointState::Draining);
    scene.apply(out, &Memory::default(), 11_000);
    scene.check("a", 12_000, good("a"));
    assert!(scene.holding().contested_endpoints.is_empty());
}

#[test]
fn an_edit_of_the_host_of_a_contested_server_ends_its_contest() {
    let none = |scene: &Scene| {
        let holding = scene.holding();
        holding.contested.is_empty() && holding.contested_endpoints.is_empty()
    };
    let moved = |policy: &mut Case| policy.endpoints[1] = endpoint("a", 9);
    let mut scene = contested();
    let known = scene.holding();
    scene.apply(edited(moved), &Memory::default(), 11_000);
    scene.check("a", 11_100, good("a"));
    assert!(none(&scene));
    let mut scene = contested();
    let out = edited(|policy| policy.endpoints[1].state = EndpointState::Draining);
    scene.apply(out, &Memory::default(), 11_000);
    scene.apply(edited(moved), &Memory::default(), 11_100);
    scene.check("a", 11_200, good("a"));
    assert!(none(&scene));
    // While the operator was down.
    let mut scene = Scene::default();
    let mut memory = crate::world::tests::restart::remembered(&["primary", "a", "b"]);
    memory.holding = known;
    scene.apply(edited(moved), &memory, 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    assert!(none(&scene));
}

#[test]
fn a_new_host_of_the_holder_gets_the_writes_with_its_first_good_check() {
    let mut scene = edited_in_a_split();
    scene.check("primary", 10_200, good("primary"));
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn a_new_host_of_the_holder_that_is_out_for_the_failover_timeout_is_followed() {
    let mut scene = edited_in_a_split();
    scene.check("primary", 10_200, Err(FailureKind::TimedOut));
    assert_eq!(scene.routes(), "rw; ro b");
    scene.wait_for_deadline();
    assert_eq!(scene.now, at(15_200));
    assert_eq!(scene.routes(), "rw a; ro b");
}

#[test]
fn a_new_host_of_the_holder_that_is_a_standby_is_followed() {
    let mut scene = edited_in_a_split();
    scene.check("primary", 10_200, good("a"));
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b");
    let reason = decided.endpoints[0].state.reason;
    assert_eq!(
        reason,
        Reason::NotFollowing,
        "it came while the write primary changed"
    );
}

#[test]
fn a_new_port_is_another_server() {
    let mut scene = Scene::well();
    scene.decide();
    let port = |policy: &mut Case| {
        if let Some(location) = &mut policy.of("a").location {
            location.port = 6432;
        }
    };
    scene.apply(edited(port), &Memory::default(), 10);
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn another_declared_primary_moves_nothing_while_the_old_one_takes_writes() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| {
            policy.endpoints[0].declared = DeclaredRole::Replica;
            policy.endpoints[1].declared = DeclaredRole::Primary;
            policy.endpoints.swap(0, 1);
        }),
        &Memory::default(),
        10,
    );
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

/// Two endpoints exchange their hosts.
fn exchanged(one: usize, other: usize) -> Case {
    edited(|policy| {
        let server = policy.endpoints[one].server.clone();
        policy.endpoints[one].server = policy.endpoints[other].server.clone();
        policy.endpoints[other].server = server;
    })
}

/// The policy is edited before the switchover: the server that takes the writes was never a standby.
#[test]
fn two_endpoints_that_exchange_their_hosts_leave_the_writes_on_their_server() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(exchanged(0, 1), &Memory::default(), 10);
    let (decision, transitions) = scene.decision().unwrap();
    let decided = decision.state.decided().unwrap();
    assert_eq!(words(&decided.plan), "rw a; ro b primary");
    assert_eq!(decided.plan.rw.members[0].address, address(1));
    assert!(decided.proven, "what it told is known");
    let moved = |change: &Transition| matches!(change, Transition::PrimaryMoved { .. });
    assert!(!transitions.iter().any(moved), "{transitions:?}");
    assert_eq!((scene.due("primary"), scene.due("a")), (at(10), at(10)));
    scene.check("primary", 1000, Ok(promoted()));
    assert_eq!(scene.routes(), "rw a; ro b");
    scene.check("a", 1100, good("a"));
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn a_policy_that_is_brought_in_line_with_a_failover_moves_nothing() {
    let mut scene = Scene::well();
    scene.decide();
    scene.check("primary", 10_000, REFUSED);
    scene.check("primary", 10_010, REFUSED);
    scene.check("a", 11_000, Ok(promoted()));
    scene.now = at(15_001);
    assert_eq!(scene.routes(), "rw a; ro b");
    let before = scene.wanted[&target("a")].incarnation;
    scene.apply(exchanged(0, 1), &Memory::default(), 16_000);
    assert_eq!(scene.routes(), "rw primary; ro b");
    assert_eq!(scene.holding().server, Some((address(2), 5432).into()));
    // What was asked under the old id says nothing of the server that has it now.
    assert_ne!(scene.wanted[&target("a")].incarnation, before);
    assert_ne!(scene.wanted[&target("primary")].incarnation, before);
}

#[test]
fn an_endpoint_that_gets_another_id_is_the_same_server() {
    let mut scene = Scene::well();
    scene.decide();
    let renamed = |policy: &mut Case| {
        for (endpoint, id) in policy.endpoints.iter_mut().zip(["first", "second"]) {
            endpoint.id = id.into();
        }
    };
    scene.apply(edited(renamed), &Memory::default(), 10);
    assert_eq!(scene.routes(), "rw first; ro b second");
    assert!(!scene.wanted.contains_key(&target("primary")));
}

#[test]
fn a_contested_server_is_contested_under_another_id_too() {
    let mut scene = contested();
    scene.apply(exchanged(1, 2), &Memory::default(), 11_000);
    assert_eq!(
        scene.holding().contested,
        BTreeSet::from([(address(2), 5432).into()])
    );
    scene.check("primary", 13_000, REFUSED);
    scene.check("primary", 13_010, REFUSED);
    scene.check("b", 14_100, Ok(promoted()));
    scene.check("primary", 20_000, REFUSED);
    scene.check("primary", 20_100, REFUSED);
    assert_eq!(scene.holding().holder, Some(target("primary")));
}

#[test]
fn a_new_login_is_checked_now_and_changes_no_route() {
    let mut scene = Scene::well();
    scene.decide();
    let before = scene.wanted.clone();
    scene.apply(
        edited(|policy| policy.of("a").login = Ok(login("probe"))),
        &Memory::default(),
        10,
    );
    assert_eq!(scene.due("a"), at(10), "a rotated Secret is used at once");
    assert_eq!(scene.wanted[&target("a")].login.user, "probe");
    assert_eq!(
        scene.wanted[&target("a")].incarnation,
        before[&target("a")].incarnation
    );
    assert!(scene.instruction("a").number > before[&target("a")].check.number);
    assert!(scene.due("b") > at(10), "others never notice");
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn a_login_that_is_lost_holds_what_is_served() {
    let mut scene = Scene::well();
    scene.decide();
    let unresolved = UnresolvedSecret {
        secret: "credentials".to_owned(),
        problem: SecretProblem::NotFound,
    };
    scene.apply(
        edited(|policy| policy.of("a").login = Err(unresolved)),
        &Memory::default(),
        10,
    );
    let RouteDecision { plan, endpoints, .. } = scene.decided();
    assert_eq!(words(&plan), "rw primary; ro a b");
    assert_eq!(endpoints[1].state.reason, Reason::ConfigurationHeld);
    assert!(
        !scene.wanted.contains_key(&target("a")),
        "there is nothing to check with"
    );
}

#[test]
fn a_login_that_was_never_had_does_not_hold_up_the_others() {
    let mut scene = Scene::default();
    let unresolved = UnresolvedSecret {
        secret: "credentials".to_owned(),
        problem: SecretProblem::NotFound,
    };
    scene.apply(
        edited(|policy| policy.of("a").login = Err(unresolved)),
        &Memory::default(),
        0,
    );
    scene.check("primary", 1, good("primary"));
    scene.check("b", 2, good("b"));
    let RouteDecision { plan, endpoints, .. } = scene.decided();
    assert_eq!(words(&plan), "rw primary; ro b");
    assert_eq!(endpoints[1].state.reason, Reason::ConfigurationFailed);
}

#[test]
fn a_new_interval_keeps_the_state_and_is_used_at_once() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| policy.probing.interval = Duration::from_secs(1)),
        &Memory::default(),
        10,
    );
    assert_eq!(scene.routes(), "rw primary; ro a b");
    for id in ["primary", "a", "b"] {
        assert_eq!(scene.due(id), at(1010), "{id}");
    }
}

#[test]
fn a_new_threshold_keeps_an_open_circuit() {
    let mut scene = Scene::well();
    for millis in [100, 3000, 6000] {
        scene.check("a", millis, REFUSED);
    }
    assert_eq!(scene.routes(), "rw primary; ro b");
    scene.apply(
        edited(|policy| policy.breaker.failure_threshold = 50),
        &Memory::default(),
        6100,
    );
    let RouteDecision { endpoints, .. } = scene.decided();
    assert!(matches!(endpoints[1].state.circuit, Circuit::Open { .. }));
}

#[test]
fn suspended_nobody_is_checked_and_nothing_is_decided() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| policy.mode = Mode::Suspend),
        &Memory::default(),
        10,
    );
    assert!(scene.wanted.is_empty());
    assert_eq!(scene.decide(), Some(DecisionState::Suspended));
}

/// All are well, and the policy was suspended for a while, and is another one now.
fn resumed(edit: impl Fn(&mut Case)) -> Scene {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| policy.mode = Mode::Suspend),
        &Memory::default(),
        10,
    );
    scene.decide();
    let other = edited(|policy| {
        policy.generation = 3;
        edit(policy);
    });
    scene.apply(other, &Memory::default(), 90_000);
    scene
}

#[test]
fn resumed_routes_wait_until_everyone_was_checked_again() {
    let mut scene = resumed(|_| {});
    assert_eq!(scene.due("a"), at(90_000));
    assert_eq!(scene.routes(), waiting(3));
    for id in ["primary", "a"] {
        scene.check(id, 90_001, good(id));
    }
    scene.check("b", 90_002, REFUSED);
    scene.check("b", 90_008, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro a");
}

/// One failed before the pause, which begins no run of those after it.
fn failing() -> Scene {
    let mut scene = Scene::well();
    scene.decide();
    for id in ["primary", "a"] {
        scene.hear(id, 9000, Err(Silence::Missed));
        scene.check(id, 10_000, Err(FailureKind::TimedOut));
    }
    scene.hear("b", 10_000, Err(Silence::Closed));
    scene
}

#[test]
fn a_failure_before_a_suspension_counts_no_longer_after_it() {
    let mut scene = failing();
    let suspend = |policy: &mut Case| policy.mode = Mode::Suspend;
    scene.apply(edited(suspend), &Memory::default(), 10_001);
    scene.decide();
    let hour = 3_600_000;
    scene.apply(edited(|policy| policy.generation = 3), &Memory::default(), hour);
    for id in ["primary", "a"] {
        scene.check(id, hour, Err(FailureKind::TimedOut));
    }
    scene.check("b", hour, REFUSED);
    scene.now = at(hour + 100);
    assert_eq!(words(&scene.decided().plan), "rw primary; ro a b");
    scene.check("b", hour + 1000, good("b"));
    let mut promoted = sample(Role::Primary);
    promoted.timeline = Some(2);
    scene.check("a", hour + 2000, Ok(promoted));
    scene.check("primary", hour + 3000, Err(FailureKind::TimedOut));
    assert_eq!(scene.routes(), "rw primary; ro b", "its circuit is open");
    scene.wait_for_deadline();
    assert_eq!(scene.now, at(hour + 5000), "the failover timeout began anew");
    assert_eq!(scene.routes(), "rw a; ro b");
}

#[test]
fn a_failure_before_a_login_was_lost_counts_no_longer_when_it_is_there_again() {
    let mut scene = failing();
    let lost = |policy: &mut Case| {
        for id in ["primary", "a", "b"] {
            policy.of(id).login = Err(UnresolvedSecret {
                secret: "credentials".to_owned(),
                problem: SecretProblem::NotFound,
            });
        }
    };
    scene.apply(edited(lost), &Memory::default(), 10_100);
    assert_eq!(scene.reason("a"), Reason::ConfigurationHeld);
    let hour = 3_600_000;
    scene.apply(policy(), &Memory::default(), hour);
    for id in ["primary", "a"] {
        scene.check(id, hour, Err(FailureKind::TimedOut));
    }
    scene.check("b", hour, REFUSED);
    scene.now = at(hour + 100);
    assert_eq!(words(&scene.decided().plan), "rw primary; ro a b");
}

#[test]
fn a_refused_address_is_checked_again_after_any_edit() {
    let mut scene = Scene::well();
    scene.decide();
    scene.check("a", 5, Err(FailureKind::AddressRefused));
    let before = *scene.instruction("a");
    assert_eq!((before.at, before.hold), (None, None), "nor a session");
    scene.apply(
        edited(|policy| policy.endpoints[1].priority = 7),
        &Memory::default(),
        10,
    );
    let after = scene.instruction("a");
    assert!(after.number > before.number, "{before:?}, then {after:?}");
    assert!(!scene.check("a", 11, good("a")).is_empty(), "it is checked on");
}

#[test]
fn resumed_who_is_wrong_leaves_at_once_and_who_served_is_held() {
    let mut scene = resumed(|_| {});
    scene.check("a", 90_001, Ok(sample(Role::Primary)));
    assert_eq!(scene.routes(), "rw primary; ro b");
    // While another one is not checked yet, who was fresh is held as it was.
    let mut scene = resumed(|policy| policy.endpoints.push(endpoint("c", 4)));
    scene.falls_behind("b", 90_001);
    scene.check("a", 150_000, Ok(sample(Role::Primary)));
    assert_eq!(scene.routes(), "rw primary; ro b");
    scene.check("c", 150_001, good("c"));
    assert_eq!(
        scene.routes(),
        "rw primary; ro primary",
        "b lags, and how far c is behind is not known"
    );
}

#[test]
fn an_edit_of_something_else_forgets_no_failure() {
    let mut scene = Scene::well();
    scene.decide();
    scene.check("a", 10_000, Err(FailureKind::TimedOut));
    scene.apply(
        edited(|policy| policy.endpoints[2].weight = 2),
        &Memory::default(),
        11_000,
    );
    scene.check("a", 14_900, Err(FailureKind::TimedOut));
    scene.check("a", 15_000, Err(FailureKind::TimedOut));
    assert_eq!(scene.reason("a"), Reason::CircuitOpen);
}

#[test]
fn new_deadlines_and_heartbeats_are_used_at_once() {
    let mut scene = Scene::well();
    let before = *scene.instruction("a");
    scene.apply(
        edited(|policy| {
            policy.probing.timeout /= 4;
            policy.probing.heartbeat = Some(Duration::from_millis(700));
        }),
        &Memory::default(),
        10,
    );
    let after = scene.instruction("a");
    assert_eq!(after.timeout, before.timeout / 4);
    assert_eq!(after.hold.unwrap().every, Duration::from_millis(700));
    assert_eq!(after.number, before.number + 1);
}

#[test]
fn to_declare_the_identity_of_a_database_that_told_none_loses_nothing() {
    let untold = |role| {
        Ok(Sample {
            system_identifier: None,
            ..sample(role)
        })
    };
    let mut scene = Scene::new();
    scene.check("primary", 1, untold(Role::Primary));
    scene.check("a", 2, untold(Role::Standby));
    scene.check("b", 3, untold(Role::Standby));
    assert_eq!(scene.routes(), "rw primary; ro a b");
    let declared = edited(|policy| policy.identity = IdentityRule::Declared(SYSTEM));
    scene.apply(declared, &Memory::default(), 10);
    assert_eq!(scene.routes(), "rw primary; ro a b");
    // Another database than the known one is begun anew.
    let mut scene = Scene::well();
    scene.decide();
    let other = edited(|policy| policy.identity = IdentityRule::Declared(SYSTEM + 1));
    scene.apply(other, &Memory::default(), 10);
    assert_eq!(scene.routes(), waiting(3));
}
