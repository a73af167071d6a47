//! The operator restarts, and remembers what the status says.

use super::*;
use crate::breaker::Circuit;
use crate::fixture::{Case, SYSTEM, remembered as remembered_target};
use crate::plan::RouteState;
use crate::policy::{IdentityRule, LagSource, Strategy};
use crate::transition::Transition;
use crate::write_primary::Holding;

/// What the status says of a target that served.
fn served(id: &str) -> TargetMemory {
    let address = policy()
        .resolved()
        .location(&id.into())
        .and_then(|location| location.host.to_string().parse().ok());
    let state = TargetState {
        role: Some(if id == "primary" {
            Role::Primary
        } else {
            Role::Standby
        }),
        ..serving()
    };
    remembered_target(address, &state, at(0))
}

/// What the status says of these endpoints, all of which served, after `edit`.
fn remembered_as(ids: &[&str], edit: impl Fn(&str, &mut TargetMemory)) -> Memory {
    let one = |id: &&str| {
        let location = policy().resolved().location(&EndpointId::from(*id))?.clone();
        let mut known = served(id);
        edit(id, &mut known);
        let endpoint = EndpointMemory {
            seen_as_standby: false,
            location: Some(location),
            reason: known.reason,
            classes: BTreeMap::default(),
            targets: vec![known],
        };
        Some((EndpointId::from(*id), endpoint))
    };
    Memory {
        endpoints: ids.iter().filter_map(one).collect(),
        holding: Holding {
            identity: Some(SYSTEM),
            holder: Some(target("primary")),
            timeline: Some(1),
            ..Holding::default()
        },
        answered: None,
    }
}

pub fn remembered(ids: &[&str]) -> Memory {
    remembered_as(ids, |_, _| {})
}

pub fn restarted() -> Scene {
    restarted_as(|_, _| {})
}

pub fn restarted_as(edit: impl Fn(&str, &mut TargetMemory)) -> Scene {
    let mut scene = Scene::default();
    scene.apply(policy(), &remembered_as(&["primary", "a", "b"], edit), 0);
    scene
}

#[test]
fn after_a_restart_routes_stay_until_everyone_was_checked() {
    let mut scene = restarted();
    assert_eq!(scene.routes(), waiting(3));
    scene.check("primary", 1, good("primary"));
    scene.check("a", 2, REFUSED);
    scene.check("a", 8, REFUSED);
    assert_eq!(scene.routes(), waiting(1), "merely unhealthy, it is held");
    scene.check("b", 9, good("b"));
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn after_a_restart_what_is_proven_wrong_leaves_at_once() {
    let mut scene = restarted();
    scene.check("a", 1, Ok(sample(Role::Primary)));
    let state = scene.decide().unwrap();
    let RouteDecision { plan, endpoints, .. } = state.decided().unwrap();
    assert_eq!(words(plan), "rw primary; ro b", "the others stay, unchecked");
    assert_eq!(endpoints[1].state.reason, Reason::WritableReplica);
    assert!(!state.is_warm(), "nobody could take over with that");
    scene.check("primary", 2, good("primary"));
    scene.check("b", 3, good("b"));
    assert!(scene.decide().unwrap().is_warm());
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
fn a_url_that_cannot_be_read_after_a_restart_and_then_has_another_host_is_another_server() {
    let mut scene = Scene::default();
    let unread = edited(|policy| policy.of("a").location = None);
    scene.apply(unread, &remembered(&["primary", "a", "b"]), 0);
    for id in ["primary", "b"] {
        scene.check(id, 1, good(id));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene.apply(policy(), &Memory::default(), 10);
    assert_eq!(scene.routes(), "rw primary; ro a b", "where it was");
    let moved = edited(|policy| policy.endpoints[1] = endpoint("a", 9));
    let mut scene = Scene::default();
    let unread = edited(|policy| policy.of("a").location = None);
    scene.apply(unread, &remembered(&["primary", "a", "b"]), 0);
    for id in ["primary", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.decide();
    scene.apply(moved, &Memory::default(), 10);
    assert_eq!(scene.routes(), "rw primary; ro b");
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
    let RouteDecision { plan, .. } = scene.decided();
    assert_eq!(words(&plan), "rw primary; ro a b primary");
    assert_eq!(
        (plan.rw.state, plan.ro.state),
        (RouteState::Held, RouteState::Held)
    );
}

/// The whole check of everybody, each as it should be.
fn check_all(scene: &mut Scene, millis: u64) {
    for id in ["primary", "a", "b"] {
        scene.check(id, millis, good(id));
    }
}

fn open(left: Duration) -> impl Fn(&str, &mut TargetMemory) {
    move |id, known| {
        if id == "a" {
            known.eligible = false;
            known.reason = Some(Reason::CircuitOpen);
            known.circuit = Some(CircuitMemory::Open {
                until: Moment::default() + left,
            });
            known.trips = 2;
        }
    }
}

#[test]
fn an_open_circuit_stays_open_for_what_was_left() {
    let mut scene = restarted_as(open(Duration::from_secs(40)));
    check_all(&mut scene, 1);
    assert_eq!(scene.reason("a"), Reason::NotFollowing, "it was not heard before");
    scene.hear("primary", 10, Ok(sample(Role::Primary)));
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw primary; ro b");
    let view = &decided.endpoints[1];
    assert_eq!((view.state.reason, view.state.trips), (Reason::CircuitOpen, 2));
    assert_eq!(view.state.circuit, Circuit::Open { until: at(40_000) });
    scene.check("a", 40_000, good("a"));
    assert_eq!(scene.routes(), "rw primary; ro a b", "half-open at its last step");
    scene.check("a", 41_000, REFUSED);
    let Circuit::Open { until } = scene.decided().endpoints[1].state.circuit else {
        panic!("trips");
    };
    assert_eq!(until, at(41_000 + 4 * 60_000), "the third trip: four times 60 s");
}

#[test]
fn an_open_circuit_is_restored_for_no_longer_than_the_longest_pause() {
    let mut scene = restarted_as(open(Duration::from_hours(9)));
    check_all(&mut scene, 1);
    let until = at(10 * 60 * 1000);
    assert_eq!(
        scene.decided().endpoints[1].state.circuit,
        Circuit::Open { until }
    );
}

/// Of three steps, the one that the weight in the status shows.
#[test]
fn a_half_open_circuit_goes_on_at_its_traffic_step() {
    for (weight, declared, share, in_slice) in [
        (0, 1, 10, false),
        (10, 1, 10, false),
        (30, 1, 30, false),
        (50, 1, 50, true),
        (60, 2, 30, false),
        (100, 2, 50, true),
    ] {
        let known = remembered_as(&["primary", "a", "b"], |id, known| {
            if id == "a" {
                known.circuit = Some(CircuitMemory::HalfOpen);
                known.trips = 1;
                known.reason = Some(Reason::Returning);
                known.weight = weight;
            }
        });
        let mut scene = Scene::default();
        let spec = edited(|policy| {
            policy.strategy = Strategy::Weighted;
            policy.endpoints[1].weight = declared;
            policy.breaker.traffic_steps = [10, 30, 50].map(Percent::new).to_vec();
        });
        scene.apply(spec, &known, 0);
        // The writes are withdrawn before all were checked: the reads stay as they are.
        scene.check("primary", 1, Ok(sample(Role::Standby)));
        let expected = (u32::from(declared) * share, in_slice);
        let mut shown = || {
            let reads = scene.decided().plan.ro.members;
            let a = reads.iter().find(|member| member.target == target("a"));
            let shown = a.map(|a| (a.weight, a.in_slice));
            scene.check("a", 2, Err(FailureKind::TimedOut));
            shown
        };
        assert_eq!(shown(), Some(expected), "{weight}");
        assert_eq!(shown(), Some(expected), "{weight}: held as it was");
    }
}

#[test]
fn who_was_of_another_database_stays_out_until_it_tells_otherwise() {
    let mut scene = restarted_as(|id, known| {
        if id == "a" {
            known.eligible = false;
            known.reason = Some(Reason::IdentityMismatch);
        }
    });
    scene.check("primary", 1, good("primary"));
    scene.check("b", 2, good("b"));
    scene.check("a", 3, Err(FailureKind::TimedOut));
    assert_eq!(scene.reason("a"), Reason::IdentityMismatch, "silent");
    scene.check("a", 4, Ok(Sample::of(Role::Standby)));
    assert_eq!(scene.reason("a"), Reason::IdentityMismatch, "it does not tell");
    scene.check("a", 5, good("a"));
    assert_eq!(scene.routes(), "rw primary; ro a b", "it was rebuilt");
}

#[test]
fn a_primary_that_took_no_writes_is_told_until_it_tells_otherwise() {
    let mut scene = restarted_as(|id, known| {
        if id == "primary" {
            known.reason = Some(Reason::ReadOnly);
        }
    });
    scene.check("a", 1, good("a"));
    scene.check("b", 2, good("b"));
    scene.check("primary", 3, Err(FailureKind::Saturated));
    assert_eq!(scene.reason("primary"), Reason::ReadOnly);
    scene.check("primary", 4, good("primary"));
    assert_eq!(scene.reason("primary"), Reason::Serving);
}

#[test]
fn who_had_diverged_stays_out_until_it_is_proven_to_be_back() {
    let mut scene = restarted_as(|id, known| {
        if id == "a" {
            known.eligible = false;
            known.reason = Some(Reason::Diverged);
        }
    });
    let on = |timeline| Sample {
        timeline,
        ..sample(Role::Standby)
    };
    scene.check("primary", 1, good("primary"));
    scene.check("b", 2, good("b"));
    scene.check("a", 3, Ok(on(None)));
    assert_eq!(scene.reason("a"), Reason::Diverged, "it does not tell");
    scene.check("a", 4, Ok(on(Some(1))));
    scene.hear("primary", 10, Ok(sample(Role::Primary)));
    assert_eq!(
        scene.routes(),
        "no change",
        "so its receiver may tell before it is refused"
    );
    for beat in 1..3 {
        scene.hear("a", beat * 2000, Ok(on(None)));
        scene.hear("primary", beat * 2000 + 10, Ok(sample(Role::Primary)));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b", "it follows");
}

#[test]
fn a_primary_of_a_newer_timeline_forks_from_what_the_status_says() {
    let mut scene = restarted();
    let mut promoted = sample_at(Role::Primary, 500);
    promoted.timeline = Some(2);
    scene.check("primary", 1, Ok(promoted));
    scene.check("b", 2, good("b"));
    scene.check("a", 3, good("a"));
    let reasons: Vec<_> = scene
        .decided()
        .endpoints
        .iter()
        .map(|view| view.state.reason)
        .collect();
    assert_eq!(
        reasons,
        [Reason::Serving, Reason::Diverged, Reason::Diverged],
        "they replayed up to 1000 on timeline 1"
    );
}

/// Verdicts stand until the history covers `max`.
#[test]
fn after_a_restart_who_served_is_fresh_until_it_is_known_to_lag() {
    let mut scene = restarted();
    scene.check("primary", 0, Ok(sample_at(Role::Primary, 10_000)));
    scene.check("a", 0, Ok(sample_at(Role::Standby, 5000)));
    scene.check("b", 0, Ok(sample_at(Role::Standby, 10_000)));
    assert_eq!(scene.routes(), "rw primary; ro a b");
    for second in (2..=30).step_by(2) {
        scene.beat(second * 1000, [10_000, 5000, 10_000]);
    }
    assert_eq!(scene.routes(), "no change", "at least 30 s");
    scene.beat(32_000, [10_000, 5000, 10_000]);
    assert_eq!(scene.reason("a"), Reason::ReplayStalled);
}

#[test]
fn a_restart_while_the_declared_primary_shows_another_identity_holds_the_routes() {
    let mut scene = restarted();
    let mut other = sample(Role::Primary);
    other.system_identifier = Some(SYSTEM + 1);
    scene.check("primary", 1, Ok(other));
    let decided = scene.decided();
    let shown = decided.changed.map(|change| (change.known, change.shown));
    assert_eq!(shown, Some((SYSTEM, Some(SYSTEM + 1))));
    assert_eq!(words(&decided.plan), "rw primary; ro a b");
}

/// The status while routes are held for the identity: everybody was upgraded, and is in a route.
fn restarted_upgraded(spec: Case) -> Scene {
    let known = remembered_as(&["primary", "a", "b"], |_, known| {
        known.reason = Some(Reason::IdentityMismatch);
    });
    let mut scene = Scene::default();
    scene.apply(spec, &known, 0);
    scene
}

fn upgraded(id: &str) -> Sample {
    Sample {
        system_identifier: Some(SYSTEM + 1),
        ..good(id).unwrap()
    }
}

/// The routes that are held for the identity that the primary showed, and which one it was.
fn held_for_identity(scene: &mut Scene) -> (Option<u64>, String) {
    let decided = scene.decided();
    for view in &decided.endpoints {
        assert_eq!(view.state.reason, Reason::IdentityMismatch, "{}", view.id);
    }
    let change = decided.changed.expect("a person is asked");
    assert_eq!(change.known, SYSTEM);
    (change.shown, words(&decided.plan))
}

#[test]
fn routes_that_are_held_for_the_identity_are_held_on_after_a_restart() {
    let mut scene = restarted_upgraded(policy());
    let all = "rw primary; ro a b".to_owned();
    assert_eq!(scene.routes(), waiting(3));
    for id in ["a", "b"] {
        scene.check(id, 1, Ok(upgraded(id)));
    }
    scene.check("primary", 2, Err(FailureKind::TimedOut));
    scene.check("primary", 8000, Err(FailureKind::TimedOut));
    assert_eq!(
        held_for_identity(&mut scene),
        (None, all.clone()),
        "all were checked, and the primary does not tell"
    );
    scene.check("primary", 9000, Ok(upgraded("primary")));
    assert_eq!(held_for_identity(&mut scene), (Some(SYSTEM + 1), all));
}

#[test]
fn routes_that_are_held_for_the_identity_are_decided_again_when_the_primary_shows_the_known_one() {
    let mut scene = restarted_upgraded(policy());
    for id in ["primary", "a"] {
        scene.check(id, 1, good(id));
    }
    scene.check("b", 2, Ok(upgraded("b")));
    assert_eq!(scene.routes(), "rw primary; ro a");
}

#[test]
fn an_identity_that_is_set_while_the_operator_is_down_makes_everybody_new() {
    let mut scene = restarted_upgraded(edited(|policy| {
        policy.identity = IdentityRule::Declared(SYSTEM + 1);
    }));
    assert_eq!(scene.routes(), waiting(3));
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, Ok(upgraded(id)));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn another_identity_in_the_spec_forgets_who_held_the_writes() {
    let mut remembered = remembered(&["primary", "a", "b"]);
    remembered.holding.holder = Some(target("a"));
    remembered.holding.timeline = Some(9);
    let mut scene = Scene::default();
    let spec = edited(|policy| policy.identity = IdentityRule::Declared(SYSTEM + 1));
    scene.apply(spec, &remembered, 0);
    for id in ["primary", "a", "b"] {
        let mut told = good(id).unwrap();
        told.system_identifier = Some(SYSTEM + 1);
        scene.check(id, 1, Ok(told));
    }
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw primary; ro a b");
    assert_eq!(decided.holding.timeline, Some(1));
}

/// Both take writes: the way out is to stop the old one, also after a restart.
#[test]
fn who_was_a_standby_before_a_restart_may_follow_after_it() {
    for seen in [true, false] {
        let mut scene = restarted_as(|id, known| {
            if id == "a" {
                known.role = Some(Role::Primary);
                known.eligible = false;
                known.reason = Some(Reason::WritableReplica);
                known.seen_as_standby = seen;
            }
        });
        let mut promoted = sample(Role::Primary);
        promoted.timeline = Some(2);
        for id in ["primary", "b"] {
            scene.check(id, 1, good(id));
        }
        scene.check("a", 1, Ok(promoted.clone()));
        let decided = scene.decided();
        assert_eq!(words(&decided.plan), "rw primary; ro b");
        let told: Vec<_> = decided
            .endpoints
            .iter()
            .map(|view| view.state.seen_as_standby)
            .collect();
        assert_eq!(told, [false, seen, false]);
        scene.hear("primary", 20_000, Err(Silence::Closed));
        scene.check("primary", 20_001, REFUSED);
        scene.check("primary", 26_000, REFUSED);
        scene.check("a", 26_001, Ok(promoted));
        let expected = if seen { "rw a; ro b" } else { "rw primary; ro b" };
        assert_eq!(words(&scene.decided().plan), expected);
    }
}

#[test]
fn a_followed_primary_is_followed_on_after_a_restart() {
    let mut remembered = remembered_as(&["primary", "a", "b"], |id, known| match id {
        "a" => known.role = Some(Role::Primary),
        _ => known.role = Some(Role::Standby),
    });
    remembered.holding.holder = Some(target("a"));
    remembered.holding.timeline = Some(2);
    let mut scene = Scene::default();
    scene.apply(policy(), &remembered, 0);
    let on_2 = |role| {
        let mut told = sample(role);
        told.timeline = Some(2);
        Ok(told)
    };
    // The old primary returned while nobody looked.
    scene.check("primary", 1, good("primary"));
    scene.check("a", 2, on_2(Role::Primary));
    scene.check("b", 3, on_2(Role::Standby));
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b");
    assert_eq!(decided.endpoints[0].state.reason, Reason::WritableReplica);
    assert_eq!(decided.split.len(), 2);
}

/// A replica that was added while the operator was away: before it was checked, only what is wrong leaves.
fn with_c() -> Case {
    edited(|policy| policy.endpoints.push(endpoint("c", 4)))
}

#[test]
fn who_lagged_before_a_restart_is_not_held_as_if_it_had_been_fresh() {
    for (reason, behind, expected) in [
        // It was held, or served others: it is too far behind still.
        (Reason::Lagging, true, "rw primary; ro primary"),
        // It is merely unwell now, and held as it was.
        (Reason::Lagging, false, "rw primary; ro a"),
        // Fresh then, and too far behind by its first checks: it is held as it was.
        (Reason::Serving, true, "rw primary; ro a"),
    ] {
        let known = remembered_as(&["primary", "a", "b"], |id, known| {
            if id == "a" {
                known.reason = Some(reason);
            }
        });
        let mut scene = Scene::default();
        scene.apply(with_c(), &known, 0);
        if behind {
            scene.falls_behind("a", 1000);
        } else {
            scene.check("a", 1000, good("a"));
            scene.check("a", 2000, REFUSED);
            scene.check("a", 2008, REFUSED);
        }
        scene.check("b", 50_000, Ok(sample(Role::Primary)));
        assert_eq!(scene.routes(), expected, "{reason}, {behind}");
    }
}

#[test]
fn who_did_not_serve_before_a_restart_is_not_held_by_a_fault_of_configuration() {
    let known = remembered_as(&["primary", "a", "b"], |id, known| {
        if id == "a" {
            known.eligible = false;
            known.reason = Some(Reason::Suspect);
        }
    });
    let mut scene = Scene::default();
    let spec = edited(|policy| policy.endpoints[1].lag.source = LagSource::None);
    scene.apply(spec, &known, 0);
    for id in ["primary", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.check("a", 2, Err(FailureKind::AuthenticationFailed));
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn what_the_first_decision_finds_as_it_was_is_nothing_new() {
    let mut scene = restarted_as(|id, known| {
        if id == "b" {
            known.eligible = false;
            known.reason = Some(Reason::Suspect);
        }
    });
    for id in ["primary", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.check("a", 2, REFUSED);
    scene.hear("primary", 4, Ok(sample(Role::Primary)));
    scene.check("a", 8, REFUSED);
    let (_, transitions) = scene.decision().unwrap();
    let told: Vec<_> = transitions
        .iter()
        .filter_map(|change| match change {
            Transition::Endpoint { id, to, .. } => Some(format!("{id} {to}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["a Suspect", "b Serving"], "the primary serves as before");
}

#[test]
fn nobody_new_takes_the_writes_before_everybody_was_checked() {
    let mut scene = restarted();
    scene.check("primary", 1, Ok(sample(Role::Standby)));
    let mut promoted = sample(Role::Primary);
    promoted.timeline = Some(2);
    scene.check("a", 2, Ok(promoted));
    assert_eq!(
        words(&scene.decided().plan),
        "rw; ro b primary",
        "b may take writes, too"
    );
    scene.check("b", 3, good("b"));
    assert_eq!(scene.routes(), "rw a; ro b");
}

/// The moves of the writes in what is told.
fn moves(changes: &[Transition]) -> Vec<&Transition> {
    let is_move = |change: &&Transition| matches!(change, Transition::PrimaryMoved { .. });
    changes.iter().filter(is_move).collect()
}

#[test]
fn a_move_of_the_writes_by_the_first_decision_after_a_restart_is_told() {
    let mut scene = restarted();
    scene.check("primary", 1, Ok(sample(Role::Standby)));
    scene.check("b", 2, good("b"));
    scene.check("a", 3, on_2(Role::Primary));
    let (decision, changes) = scene.decision().unwrap();
    let plan = &decision.state.decided().unwrap().plan;
    assert_eq!(words(plan), "rw a; ro b");
    let moved = Transition::PrimaryMoved {
        from: "primary".into(),
        to: "a".into(),
    };
    assert_eq!(moves(&changes), [&moved]);
}

#[test]
fn a_holder_that_drains_and_never_answered_is_not_waited_for() {
    let draining = edited(|policy| policy.endpoints[0].state = EndpointState::Draining);
    for (policy, expected) in [(draining, "rw a; ro b"), (policy(), "rw; ro b")] {
        let known = remembered_as(&["primary", "a", "b"], |id, known| {
            if id == "primary" {
                known.address = None;
                known.role = None;
                known.eligible = false;
            }
        });
        let mut scene = Scene::default();
        scene.apply(policy, &known, 0);
        let mut promoted = sample(Role::Primary);
        promoted.timeline = Some(2);
        scene.check("primary", 1, Err(FailureKind::TimedOut));
        scene.check("a", 2, Ok(promoted));
        scene.check("b", 3, good("b"));
        assert_eq!(scene.routes(), expected);
    }
}

#[test]
fn who_had_no_weight_begins_at_the_first_step() {
    let spec = edited(|policy| {
        policy.endpoints[1].weight = 0;
        policy.breaker.traffic_steps = [10, 50].map(Percent::new).to_vec();
    });
    let mut known = served("a");
    (known.circuit, known.weight) = (Some(CircuitMemory::HalfOpen), 0);
    assert_eq!(
        known.breaker(&spec.policy(), &spec.endpoints[1], at(0)).circuit,
        FIRST_STEP
    );
}

/// A word of another version says nothing of how it is: it was in the route, and new checks lead on from the first step.
#[test]
fn a_circuit_in_an_unknown_word_is_never_taken_for_a_closed_one() {
    let mut known = served("a");
    (known.circuit, known.reason) = (None, None);
    let policy = policy();
    let breaker = known.breaker(&policy.policy(), &policy.endpoints[1], at(0));
    assert_eq!(breaker.circuit, FIRST_STEP);
    let own = ClassMemory {
        reason: None,
        circuit: None,
        share: Percent::FULL,
        trips: 0,
    };
    assert_eq!(own.breaker(&policy.breaker, at(0)).circuit, FIRST_STEP);
    let memory = remembered_as(&["primary", "a", "b"], |id, known| {
        if id == "a" {
            (known.circuit, known.reason) = (None, None);
        }
    });
    let mut scene = Scene::default();
    scene.apply(edited(|policy| policy.breaker.success_threshold = 2), &memory, 0);
    check_all(&mut scene, 1);
    let decided = scene.decided();
    let view = &decided.endpoints[1];
    assert_eq!((view.state.reason, view.state.weight), (Reason::Returning, 50));
    scene.check("a", 10_000, good("a"));
    assert_eq!(scene.decided().endpoints[1].state.reason, Reason::Serving);
}

/// A process ended between its write of the memory and that of the rest of the status: a was promoted.
fn restarted_after_a_promotion() -> Scene {
    let mut known = remembered(&["primary", "a", "b"]);
    known.holding.holder = Some(target("a"));
    known.holding.timeline = Some(2);
    let mut scene = Scene::default();
    scene.apply(policy(), &known, 0);
    scene
}

fn on_2(role: Role) -> Result<Sample, FailureKind> {
    let mut told = sample(role);
    told.timeline = Some(2);
    Ok(told)
}

#[test]
fn a_process_goes_by_the_memory_before_the_server_that_it_names_has_answered() {
    let mut scene = restarted_after_a_promotion();
    scene.check("primary", 1, good("primary"));
    scene.check("b", 2, good("b"));
    let decided = scene.decided();
    assert_eq!(
        words(&decided.plan),
        "rw a; ro b",
        "the old primary is not the holder"
    );
    assert!(!decided.proven);
    scene.check("a", 3, on_2(Role::Primary));
    let decided = scene.decided();
    assert_eq!(
        (words(&decided.plan).as_str(), decided.proven),
        ("rw a; ro b", true)
    );
}

#[test]
fn a_remembered_holder_that_never_answers_keeps_the_writes_unproven() {
    let mut scene = restarted_after_a_promotion();
    for (id, answer) in [("primary", good("primary")), ("b", good("b")), ("a", REFUSED)] {
        scene.check(id, 1, answer);
    }
    scene.check("a", 10, REFUSED);
    let decided = scene.decided();
    assert_eq!(
        (words(&decided.plan).as_str(), decided.proven),
        ("rw a; ro b", false)
    );
    scene.check("a", 9000, REFUSED);
    assert!(!scene.routes().starts_with("rw primary"));
}

#[test]
fn a_remembered_holder_that_proves_a_standby_loses_the_writes() {
    let mut scene = restarted_after_a_promotion();
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, on_2(Role::Standby));
    }
    assert!(scene.routes().starts_with("rw;"));
}

fn found(id: u8) -> Event {
    Event::Found {
        key: policy().key.clone(),
        uid: policy().uid.clone(),
        servers: [(address(id), 5432).into()].into(),
    }
}

/// The route of the writes was found to lead to a.
fn restarted_with_another_route() -> Scene {
    let mut scene = Scene::default();
    let mut known = remembered(&["primary", "a", "b"]);
    known.holding.timeline = Some(2);
    scene.apply(policy(), &known, 0);
    scene.step(found(2), 0);
    scene
}

/// It was found before the policy was deleted, and waited for its turn.
#[test]
fn where_the_route_of_a_policy_leads_is_nothing_to_the_next_one_of_its_name() {
    let mut scene = Scene::default();
    let mut known = remembered(&["primary", "a", "b"]);
    known.holding.timeline = Some(2);
    scene.apply(edited(|policy| policy.uid = "uid-2".to_owned()), &known, 0);
    scene.step(found(2), 0);
    scene.check("a", 1, on_2(Role::Primary));
    scene.check("b", 2, on_2(Role::Standby));
    scene.check("primary", 3, REFUSED);
    scene.check("primary", 10, REFUSED);
    assert_eq!(scene.decided().holding.holder, Some(target("primary")));
}

#[test]
fn who_is_in_the_route_holds_the_writes_where_the_remembered_holder_proves_nothing() {
    let mut scene = restarted_with_another_route();
    scene.check("a", 1, on_2(Role::Primary));
    scene.check("b", 2, on_2(Role::Standby));
    scene.check("primary", 3, REFUSED);
    scene.check("primary", 10, REFUSED);
    let (decision, changes) = scene.decision().unwrap();
    let decided = decision.state.decided().unwrap();
    assert_eq!(
        (words(&decided.plan).as_str(), decided.proven),
        ("rw a; ro b", true)
    );
    assert_eq!(decided.holding.holder, Some(target("a")));
    assert_eq!(
        moves(&changes),
        [] as [&Transition; 0],
        "the route leads there already"
    );
}

#[test]
fn who_is_in_the_route_below_the_mark_does_not_hold_the_writes() {
    let mut scene = restarted_with_another_route();
    scene.check("a", 1, good("a").map(|_| sample(Role::Primary)));
    scene.check("b", 2, on_2(Role::Standby));
    scene.check("primary", 3, REFUSED);
    let decided = scene.decided();
    assert_eq!(decided.holding.holder, Some(target("primary")));
    assert!(!decided.proven && decided.found == Some([(address(2), 5432).into()].into()));
}

#[test]
fn a_holder_that_proved_itself_once_is_not_replaced_by_who_is_in_the_route() {
    let mut scene = restarted_with_another_route();
    scene.check("primary", 1, on_2(Role::Primary));
    scene.check("a", 2, on_2(Role::Primary));
    scene.check("b", 3, on_2(Role::Standby));
    assert_eq!(scene.decided().holding.holder, Some(target("primary")));
    scene.check("primary", 4, REFUSED);
    scene.check("primary", 10, REFUSED);
    assert_eq!(scene.decided().holding.holder, Some(target("primary")));
}
