//! Another process decided, and its memory is read.

use super::*;
use crate::fixture::{SYSTEM, remembered};
use crate::transition::Transition;
use crate::write_primary::Holding;

fn recalled(holding: Holding) -> Event {
    Event::Recalled {
        key: policy().key.clone(),
        uid: policy().uid.clone(),
        memory: Memory {
            holding,
            ..Memory::default()
        },
        number: 1,
    }
}

fn held_by(id: &str, timeline: u32) -> Holding {
    Holding {
        identity: Some(SYSTEM),
        holder: Some(target(id)),
        timeline: Some(timeline),
        ..Holding::default()
    }
}

fn on(timeline: u32, role: Role) -> Result<Sample, FailureKind> {
    Ok(Sample {
        timeline: Some(timeline),
        ..sample(role)
    })
}

/// The memory of a process that found a writable beside the primary, and whether it had seen a as a standby.
fn recalled_writable(seen_as_standby: bool) -> Event {
    let state = TargetState {
        role: Some(Role::Primary),
        seen_as_standby,
        ..TargetState::unknown(Reason::WritableReplica)
    };
    let a = EndpointMemory {
        seen_as_standby: false,
        location: Some(location(2)),
        reason: Some(Reason::WritableReplica),
        classes: BTreeMap::new(),
        targets: vec![remembered(Some(address(2)), &state, at(0))],
    };
    Event::Recalled {
        key: policy().key.clone(),
        uid: policy().uid.clone(),
        memory: Memory {
            endpoints: [("a".into(), a)].into(),
            holding: held_by("primary", 1),
            answered: None,
        },
        number: 1,
    }
}

#[test]
fn writes_go_to_the_holder_that_another_process_wrote() {
    let mut scene = Scene::well();
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene.step(recalled(held_by("a", 2)), 10);
    scene.check("a", 11, on(2, Role::Primary));
    assert_eq!(scene.routes(), "rw a; ro b");
    // The old one still takes writes, on its own timeline.
    scene.check("primary", 12, on(1, Role::Primary));
    assert_eq!(scene.routes(), "no change");
}

/// Who writes waits for what is decided by the memory, though it may be what was decided without it.
#[test]
fn what_is_decided_by_a_memory_is_announced_by_its_number_though_it_is_the_same_as_before() {
    let mut scene = Scene::well();
    let memory = Memory {
        holding: scene.decided().holding,
        ..Memory::default()
    };
    for number in [4, 5] {
        let event = Event::Recalled {
            key: policy().key.clone(),
            uid: policy().uid.clone(),
            memory: memory.clone(),
            number,
        };
        let effects = scene.step(event, 10 * number);
        let [
            Announcement::Decided {
                decision,
                transitions,
                ..
            },
        ] = effects.writer.as_slice()
        else {
            panic!("{:?}", effects.writer);
        };
        assert_eq!((decision.recalled, transitions.len()), (number, 0));
    }
    assert!(
        scene.step(Event::AddressesChanged, 60).writer.is_empty(),
        "once for each memory"
    );
}

/// Which server takes the writes is known in milliseconds, however long it is until the next check.
#[test]
fn a_holder_that_is_remembered_by_another_process_is_checked_at_once() {
    let mut scene = Scene::well();
    scene.decide();
    let effects = scene.step(recalled(held_by("a", 2)), 10);
    let asked: Vec<_> = effects.prober.iter().collect();
    assert!(
        matches!(asked[..], [Instruction::Next { key, check }] if key.target == target("a") && check.at == Some(at(10))),
        "{asked:?}"
    );
    assert_eq!(scene.step(recalled(held_by("a", 2)), 20).prober, []);
}

#[test]
fn an_old_primary_does_not_take_the_writes_back_after_a_memory_was_read() {
    let mut scene = Scene::well();
    scene.step(recalled(held_by("a", 2)), 10);
    scene.check("a", 11, Err(FailureKind::ConnectRefused));
    scene.check("primary", 12, on(1, Role::Primary));
    let routes = scene.routes();
    assert!(!routes.starts_with("rw primary"), "{routes}");
}

/// It was seen before the policy was deleted, and waited for its turn.
#[test]
fn the_memory_of_a_policy_is_not_that_of_the_next_one_of_its_name() {
    let mut scene = Scene::default();
    let next = edited(|policy| policy.uid = "uid-2".to_owned());
    scene.apply(next, &Memory::default(), 0);
    let effects = scene.step(recalled(held_by("a", 2)), 10);
    assert!(effects.is_empty(), "{effects:?}");
}

#[test]
fn a_memory_of_an_unknown_policy_is_nobodys() {
    let mut world = World::default();
    assert!(world.advance(at(10), [recalled(held_by("a", 2))]).is_empty());
    assert_eq!(world.deadline(), None);
}

#[test]
fn who_another_process_saw_as_a_standby_may_follow() {
    for seen in [false, true] {
        let mut scene = Scene::new();
        scene.check("primary", 1, on(1, Role::Primary));
        scene.check("a", 2, on(2, Role::Primary));
        scene.check("b", 3, on(1, Role::Standby));
        scene.decide();
        scene.step(recalled_writable(seen), 10);
        scene.check("primary", 11, on(1, Role::Standby));
        let writes = if seen { "rw a" } else { "rw;" };
        let routes = scene.routes();
        assert!(routes.starts_with(writes), "{seen}: {routes}");
    }
}

#[test]
fn a_standby_that_this_process_never_reached_may_take_over_where_another_one_saw_it() {
    let mut scene = Scene::new();
    scene.check("primary", 1, on(1, Role::Primary));
    scene.check("a", 2, Err(FailureKind::TimedOut));
    scene.check("b", 3, on(1, Role::Standby));
    scene.decide();
    scene.step(recalled_writable(true), 10);
    scene.check("a", 11, on(2, Role::Primary));
    scene.check("primary", 12, on(1, Role::Standby));
    let routes = scene.routes();
    assert!(routes.starts_with("rw a"), "{routes}");
}

#[test]
fn a_request_for_checks_that_another_process_answered_is_told() {
    let mut scene = Scene::well();
    let holding = scene.decided().holding;
    let event = Event::Recalled {
        key: policy().key.clone(),
        uid: policy().uid.clone(),
        memory: Memory {
            holding,
            answered: Some("now".to_owned()),
            ..Memory::default()
        },
        number: 1,
    };
    scene.step(event, 10);
    let (decision, _) = scene.decision().expect("another answer");
    assert_eq!(decision.answered.as_deref(), Some("now"));
}

#[test]
fn with_a_memory_of_another_database_a_policy_begins_anew() {
    let mut scene = Scene::well();
    scene.decide();
    let before = scene.wanted[&target("a")].incarnation;
    let other = Holding {
        identity: Some(SYSTEM + 1),
        ..held_by("primary", 1)
    };
    let effects = scene.step(recalled(other), 10);
    let [Instruction::Want { wanted, .. }] = effects.prober.as_slice() else {
        panic!("{effects:?}");
    };
    assert!(wanted.iter().all(|order| order.incarnation != before));
    assert_eq!(scene.decide(), Some(DecisionState::Waiting { unchecked: 3 }));
}

#[test]
fn what_was_due_is_decided_at_its_own_moment_before_later_events_are_taken() {
    let mut scene = Scene::well();
    scene.decide();
    // A sign of a crash makes the decision wait; nothing confirms it.
    scene.hear("a", 100, Err(Silence::Closed));
    let due = scene.world.deadline().unwrap();
    assert!(due > at(100) && due < at(1000));
    let effects = scene.world.advance(at(1000), []);
    assert!(effects.writer.is_empty(), "{effects:?}");
    assert_eq!(scene.world.deadline(), None);
}

/// The moves of the writes that are told since they were asked for last.
fn moves(scene: &mut Scene) -> Vec<String> {
    let changes = scene.decision().map(|(_, changes)| changes).unwrap_or_default();
    let moved = |change: &Transition| match change {
        Transition::PrimaryMoved { from, to } => Some(format!("{from} to {to}")),
        _ => None,
    };
    changes.iter().filter_map(moved).collect()
}

/// A process that follows sees a promoted while it cannot reach the primary. Nobody is told of its own choice.
fn chose_a_while_it_followed() -> Scene {
    let mut scene = Scene::well();
    scene.decide();
    scene.check("primary", 10_000, REFUSED);
    scene.check("primary", 10_010, REFUSED);
    scene.hear("a", 11_000, on(2, Role::Primary).map_err(|_| Silence::Missed));
    scene.now = at(15_001);
    assert_eq!(moves(&mut scene), ["primary to a"]);
    scene
}

#[test]
fn a_move_is_told_from_where_the_memory_of_the_other_process_says() {
    let mut scene = chose_a_while_it_followed();
    scene.step(recalled(held_by("primary", 1)), 20_000);
    assert_eq!(moves(&mut scene), ["primary to a"]);
}

#[test]
fn a_choice_that_nobody_wrote_is_no_move_back() {
    let mut scene = chose_a_while_it_followed();
    for millis in [18_000, 18_100] {
        scene.check("primary", millis, on(1, Role::Primary));
    }
    scene.step(recalled(held_by("primary", 1)), 20_000);
    scene.check("primary", 20_010, on(1, Role::Primary));
    assert!(moves(&mut scene).is_empty());
    let newest = scene.seen.values().next().unwrap();
    assert!(words(&newest.state.decided().unwrap().plan).starts_with("rw primary;"));
}

/// What this process heard of it before the other one decided says nothing of it.
#[test]
fn the_holder_of_a_memory_is_no_standby_by_an_older_answer() {
    let mut scene = Scene::well();
    scene.decide();
    scene.step(recalled(held_by("a", 2)), 10);
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b");
    assert!(!decided.proven);
    let mut late = scene.heard("a", 11, Ok(sample(Role::Standby)));
    if let Event::Heard(heard) = &mut late {
        heard.started = at(9);
    }
    scene.step(late, 11);
    assert_eq!(scene.routes(), "no change", "asked for before");
    scene.check("a", 12, on(2, Role::Primary));
    assert!(scene.decided().proven);
}

/// It may have been set back or restarted since: only an answer that was asked for afterwards proves that it takes the writes.
#[test]
fn the_holder_of_a_memory_is_not_proven_by_an_older_answer() {
    let mut scene = Scene::new();
    scene.check("primary", 1, on(1, Role::Primary));
    scene.check("a", 2, on(1, Role::Standby));
    scene.check("b", 3, on(1, Role::Standby));
    scene.check("a", 4, on(1, Role::Primary));
    scene.decide();
    scene.step(recalled(held_by("a", 1)), 10);
    let decided = scene.decided();
    assert_eq!(
        (words(&decided.plan).as_str(), decided.proven),
        ("rw a; ro b", false)
    );
    assert!(
        decided.holding.contested.is_empty(),
        "nor does it contest anybody"
    );
    let mut late = scene.heard("a", 11, on(1, Role::Primary).map_err(|_| Silence::Missed));
    if let Event::Heard(heard) = &mut late {
        heard.started = at(9);
    }
    scene.step(late, 11);
    assert_eq!(scene.routes(), "no change", "asked for before");
    scene.check("a", 12, on(1, Role::Primary));
    assert!(scene.decided().proven);
}
