//! Who takes the writes, from samples to routes.

use super::*;
use crate::fixture::{Case, SYSTEM};
use crate::plan::RouteState;
use crate::policy::{EndpointState, IdentityRule, OnPrimaryLoss, PrimaryRole};
use crate::transition::Transition;
use crate::write_primary::{IdentityChange, Obstacle};

fn settled() -> Scene {
    settled_as(|_| {})
}

fn settled_as(edit: impl FnOnce(&mut Case)) -> Scene {
    let mut scene = Scene::default();
    scene.apply(edited(edit), &Memory::default(), 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene
}

/// A server of this role on this timeline.
fn on(timeline: u32, role: Role) -> Sample {
    Sample {
        timeline: Some(timeline),
        ..sample(role)
    }
}

/// The primary's server is gone from `millis` on.
fn lose_primary(scene: &mut Scene, millis: u64) {
    scene.hear("primary", millis, Err(Silence::Closed));
    scene.check("primary", millis + 1, REFUSED);
}

#[test]
fn a_promotion_is_followed_when_the_old_primary_is_out_for_the_failover_timeout() {
    let mut scene = settled();
    lose_primary(&mut scene, 10_000);
    assert_eq!(scene.routes(), "rw primary; ro a b", "held");
    scene.hear("a", 11_000, Ok(on(2, Role::Primary)));
    assert_eq!(scene.routes(), "rw primary; ro b", "not yet");
    scene.wait_for_deadline();
    assert_eq!(
        scene.now,
        at(15_001),
        "the failover timeout after its first failed check"
    );
    let (decision, changes) = scene.decision().unwrap();
    let decided = decision.state.decided().unwrap();
    assert_eq!(words(&decided.plan), "rw a; ro b");
    assert_eq!(decided.holding.timeline, Some(2));
    let moved = Transition::PrimaryMoved {
        from: "primary".into(),
        to: "a".into(),
    };
    assert!(changes.contains(&moved), "{changes:?}");
}

/// The circuit of the primary opens at 15 s, until 75 s; it is back at 20 s.
fn returned_with_an_open_circuit(loss: OnPrimaryLoss) -> Scene {
    let mut scene = settled_as(|policy| policy.failover.on_primary_loss = loss);
    for millis in [10_000, 15_000] {
        scene.check("primary", millis, Err(FailureKind::TimedOut));
    }
    scene.check("primary", 20_000, good("primary"));
    scene.decide();
    scene
}

#[test]
fn a_primary_that_cannot_be_checked_since_a_good_check_keeps_the_writes() {
    for kind in [FailureKind::TlsFailed, FailureKind::OutOfResources] {
        let mut scene = returned_with_an_open_circuit(OnPrimaryLoss::Withdraw);
        scene.check("primary", 25_000, Err(kind));
        assert_eq!(scene.routes(), "rw primary; ro a b", "{kind}");
    }
}

#[test]
fn one_missed_deadline_is_no_outage_since_an_earlier_one_while_the_circuit_is_open() {
    for loss in [OnPrimaryLoss::Hold, OnPrimaryLoss::Withdraw] {
        let mut scene = returned_with_an_open_circuit(loss);
        scene.hear("a", 22_000, Ok(on(2, Role::Primary)));
        assert_eq!(scene.routes(), "rw primary; ro b");
        scene.check("primary", 25_000, Err(FailureKind::TimedOut));
        assert_eq!(
            scene.routes(),
            "rw primary; ro b",
            "{loss:?}: since 5 s it is silent"
        );
        scene.hear("a", 29_999, Ok(on(2, Role::Primary)));
        assert_eq!(scene.routes(), "no change");
        scene.wait_for_deadline();
        assert_eq!(scene.now, at(30_000));
        assert_eq!(scene.routes(), "rw a; ro b");
    }
}

#[test]
fn a_primary_whose_circuit_is_open_is_withdrawn_when_it_is_silent_for_the_failover_timeout() {
    let mut scene = returned_with_an_open_circuit(OnPrimaryLoss::Withdraw);
    scene.check("primary", 25_000, Err(FailureKind::TimedOut));
    assert_eq!(scene.routes(), "rw primary; ro a b", "slow is not dead");
    scene.wait_for_deadline();
    assert_eq!(scene.now, at(30_000));
    assert_eq!(scene.routes(), "rw; ro a b");
    // Alive, though it does not tell its role.
    scene.check("primary", 35_000, Err(FailureKind::Saturated));
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene.check("primary", 40_000, Err(FailureKind::TlsFailed));
    assert_eq!(scene.routes(), "rw; ro a b", "that proves no life");
    scene.check("primary", 45_000, good("primary"));
    assert_eq!(scene.routes(), "rw primary; ro a b");
    // A hard sign is believed at once, and what follows it does not speak against it.
    scene.check("primary", 50_000, REFUSED);
    assert_eq!(scene.routes(), "rw; ro a b");
}

#[test]
fn a_primary_that_went_down_is_withdrawn_though_its_next_check_only_misses_its_deadline() {
    let mut scene = settled_as(|policy| policy.failover.on_primary_loss = OnPrimaryLoss::Withdraw);
    lose_primary(&mut scene, 10_000);
    assert_eq!(scene.routes(), "rw; ro a b");
    for millis in [10_100, 12_000, 14_000] {
        scene.check("primary", millis, Err(FailureKind::TimedOut));
    }
    let withdrawn = |scene: &mut Scene| {
        let routes = scene.routes();
        assert!(routes == "no change" || routes.starts_with("rw;"), "{routes}");
    };
    withdrawn(&mut scene);
    let mut scene = settled_as(|policy| policy.failover.on_primary_loss = OnPrimaryLoss::Withdraw);
    lose_primary(&mut scene, 10_000);
    scene.check("primary", 11_000, Err(FailureKind::Saturated));
    assert_eq!(scene.routes(), "rw; ro a b");
    scene.check("primary", 11_050, Err(FailureKind::Saturated));
    assert_eq!(scene.routes(), "rw primary; ro a b", "the second in a row");
}

/// Somebody promotes a replica for a test; the primary proves afterwards that it takes the writes.
fn contested() -> Scene {
    let mut scene = settled();
    scene.hear("a", 10_000, Ok(on(2, Role::Primary)));
    scene.hear("primary", 11_000, Ok(on(1, Role::Primary)));
    scene
}

/// The routes and the number of contested servers of a new decision.
fn decided_contest(scene: &mut Scene) -> (String, usize) {
    let (decision, _) = scene.decision().unwrap();
    let decided = decision.state.decided().unwrap();
    (words(&decided.plan), decided.holding.contested.len())
}

#[test]
fn a_restart_of_the_primary_decides_no_contest() {
    let mut scene = contested();
    let decided = decided_contest(&mut scene);
    assert_eq!(decided, ("rw primary; ro b".to_owned(), 1));
    lose_primary(&mut scene, 20_000);
    scene.hear("a", 40_000, Ok(on(2, Role::Primary)));
    scene.check("a", 40_001, Ok(on(2, Role::Primary)));
    assert_eq!(scene.routes(), "rw primary; ro b", "held");
    scene.hear("a", 50_000, Ok(on(1, Role::Standby)));
    let ended = decided_contest(&mut scene);
    assert_eq!(ended, ("rw primary; ro b".to_owned(), 0));
}

/// New connections hang, and its session tells that it takes writes.
#[test]
fn a_heartbeat_of_a_primary_whose_checks_fail_contests_a_promotion() {
    let mut scene = settled();
    scene.check("primary", 10_000, Err(FailureKind::TimedOut));
    scene.hear("a", 11_000, Ok(on(2, Role::Primary)));
    assert_eq!(decided_contest(&mut scene), ("rw primary; ro b".to_owned(), 0));
    scene.hear("primary", 12_000, Ok(on(1, Role::Primary)));
    assert_eq!(decided_contest(&mut scene), ("rw primary; ro b".to_owned(), 1));
    scene.check("primary", 15_000, Err(FailureKind::TimedOut));
    assert_eq!(
        scene.routes(),
        "rw primary; ro b",
        "it proved that it takes writes after `a` did"
    );
    scene.check("a", 30_000, Ok(on(2, Role::Primary)));
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn a_promoted_server_whose_checks_fail_is_contested_too() {
    let mut scene = settled();
    scene.check("a", 10_000, Err(FailureKind::TimedOut));
    scene.hear("a", 11_000, Ok(on(2, Role::Primary)));
    scene.hear("primary", 12_000, Ok(on(1, Role::Primary)));
    assert_eq!(decided_contest(&mut scene), ("rw primary; ro b".to_owned(), 1));
    lose_primary(&mut scene, 13_000);
    scene.check("a", 13_500, Ok(on(2, Role::Primary)));
    scene.decide();
    scene.check("primary", 20_000, REFUSED);
    scene.check("a", 20_000, Ok(on(2, Role::Primary)));
    assert_eq!(holder(&mut scene), target("primary"));
}

/// What a plain login sees of a standby.
fn plain(lsn: u64) -> Result<Sample, Silence> {
    Ok(Sample {
        timeline: None,
        ..sample_at(Role::Standby, lsn)
    })
}

fn promoted_at(lsn: u64) -> Sample {
    Sample {
        timeline: Some(2),
        ..sample_at(Role::Primary, lsn)
    }
}

/// Beside the standbys `b` and `c`, `a` is promoted, and the primary proves afterwards that it takes the writes.
fn contested_beside_two() -> Scene {
    let mut scene = Scene::default();
    let mut case = policy();
    case.endpoints.push(endpoint("c", 4));
    scene.apply(case, &Memory::default(), 0);
    for id in ["primary", "a", "b", "c"] {
        scene.check(id, 1, good(id));
    }
    scene.hear("a", 10_000, Ok(promoted_at(1000)));
    scene.hear("primary", 11_000, Ok(on(1, Role::Primary)));
    assert_eq!(scene.decided().holding.contested.len(), 1);
    scene
}

/// Rounds a second apart, from this second on: `b` and `c` are where the closures say, and `a` is always at `head`.
fn rounds(
    scene: &mut Scene,
    seconds: std::ops::Range<u64>,
    replayed: impl Fn(u64) -> [u64; 2],
    head: impl Fn(u64) -> u64,
) {
    for second in seconds {
        let [b, c] = replayed(second);
        scene.hear("b", second * 1000, plain(b));
        scene.hear("c", second * 1000, plain(c));
        scene.hear("a", second * 1000 + 10, Ok(promoted_at(head(second))));
    }
}

/// As an HA tool has them do.
#[test]
fn all_others_end_a_contest_by_the_positions_that_they_reach() {
    let mut scene = contested_beside_two();
    lose_primary(&mut scene, 12_000);
    let head = |second: u64| 1000 + second * 10;
    rounds(&mut scene, 18..21, |second| [head(second - 1); 2], head);
    assert_eq!(holder(&mut scene), target("primary"), "once is not twice");
    rounds(&mut scene, 21..24, |second| [head(second - 1); 2], head);
    assert_eq!(holder(&mut scene), target("a"));
}

#[test]
fn a_contest_goes_on_while_one_of_the_others_is_not_proven_to_follow() {
    let mut scene = contested_beside_two();
    lose_primary(&mut scene, 12_000);
    let head = |second: u64| 1000 + second * 10;
    rounds(&mut scene, 18..40, |second| [head(second - 1), 1000], head);
    assert_eq!(holder(&mut scene), target("primary"), "c stands still");
    // It is repointed, and reaches the others.
    rounds(&mut scene, 40..46, |second| [head(second - 1); 2], head);
    assert_eq!(holder(&mut scene), target("a"));
}

/// Two logs that grow at one rate: what is reached while the primary answers proves nothing.
#[test]
fn positions_that_others_reached_before_the_last_answer_of_the_primary_end_no_contest() {
    let mut scene = contested_beside_two();
    let head = |second: u64| 1000 + second * 10;
    for second in 12..30 {
        rounds(
            &mut scene,
            second..second + 1,
            |second| [head(second - 1); 2],
            head,
        );
        scene.hear("primary", second * 1000 + 20, Ok(on(1, Role::Primary)));
    }
    lose_primary(&mut scene, 30_000);
    rounds(&mut scene, 30..40, |_| [head(29); 2], head);
    assert_eq!(holder(&mut scene), target("primary"));
    // A check is an answer too.
    let mut scene = contested_beside_two();
    lose_primary(&mut scene, 12_000);
    rounds(&mut scene, 13..16, |second| [head(second - 1); 2], head);
    scene.check("primary", 16_100, Ok(on(1, Role::Primary)));
    scene.check("primary", 16_200, REFUSED);
    scene.check("primary", 16_210, REFUSED);
    rounds(&mut scene, 17..30, |_| [head(16); 2], head);
    assert_eq!(holder(&mut scene), target("primary"));
}

/// What the last one reached says nothing of it.
#[test]
fn another_server_in_the_place_of_one_that_followed_has_to_prove_it_anew() {
    for edits in [true, false] {
        let mut scene = contested_beside_two();
        lose_primary(&mut scene, 12_000);
        let head = |second: u64| 1000 + second * 10;
        rounds(&mut scene, 13..17, |second| [head(second - 1); 2], head);
        let told = plain(head(16)).unwrap();
        if edits {
            let mut case = policy();
            case.generation = 2;
            case.endpoints.push(endpoint("c", 4));
            case.of("b").location = Some(location(9));
            scene.apply(case, &Memory::default(), 16_500);
            scene.check("b", 16_600, Ok(told));
        } else {
            scene.found_at("b", 16_600, 9, told);
        }
        scene.now = at(17_500);
        assert_eq!(holder(&mut scene), target("primary"), "edits: {edits}");
    }
}

#[test]
fn the_memory_keeps_a_contest() {
    let mut before = contested();
    let (decision, _) = before.decision().unwrap();
    let mut memory = restart::remembered(&["primary", "a", "b"]);
    memory.holding = decision.state.decided().unwrap().holding.clone();
    let mut scene = Scene::default();
    scene.apply(edited(|_| {}), &memory, 0);
    scene.check("primary", 1, REFUSED);
    scene.check("a", 1, Ok(on(2, Role::Primary)));
    scene.check("b", 1, good("b"));
    scene.check("primary", 9_000, REFUSED);
    scene.check("a", 20_000, Ok(on(2, Role::Primary)));
    assert!(scene.routes().starts_with("rw primary;"), "{}", scene.routes());
}

#[test]
fn a_switchover_is_followed_as_soon_as_the_old_primary_proves_a_standby() {
    let mut scene = settled();
    scene.hear("primary", 10_000, Ok(on(1, Role::Standby)));
    assert_eq!(scene.routes(), "rw; ro a b primary", "withdrawn first");
    scene.hear("a", 10_500, Ok(on(2, Role::Primary)));
    assert_eq!(scene.routes(), "rw a; ro b");
    primary_follows(&mut scene);
    assert_eq!(scene.routes(), "rw a; ro b primary", "the old one serves reads");
}

/// The old primary streams from `a`.
fn primary_follows(scene: &mut Scene) {
    scene.hear("primary", 11_000, Ok(on(2, Role::Standby)));
    scene.hear("a", 11_500, Ok(on(2, Role::Primary)));
}

/// Its address is that of an endpoint declared before it, by the URL in a Secret.
#[test]
fn the_writes_stay_on_the_server_of_a_holder_that_is_passed_over() {
    let mut scene = settled();
    scene.hear("primary", 10_000, Ok(on(1, Role::Standby)));
    scene.hear("b", 10_500, Ok(on(2, Role::Primary)));
    assert_eq!(scene.routes(), "rw b; ro a");
    let moved = |policy: &mut Case| {
        policy.of("a").location = Some(location(3));
        policy.endpoints[1].server = crate::policy::DeclaredServer::Url;
        policy.of("b").login = Err(crate::login::UnresolvedSecret {
            secret: "url".to_owned(),
            problem: crate::login::SecretProblem::SameServer {
                first: "a".into(),
                second: "b".into(),
            },
        });
    };
    scene.apply(edited(moved), &Memory::default(), 11_000);
    scene.check("a", 11_500, Ok(on(2, Role::Primary)));
    assert!(scene.routes().starts_with("rw a;"), "{}", scene.routes());
}

/// What it told before its heartbeat was missed says nothing of now, and a check takes its time.
#[test]
fn a_promoted_server_that_falls_silent_is_followed_when_it_answers() {
    let answers: [fn(&mut Scene); 2] = [
        |scene| drop(scene.hear("a", 15_100, Ok(on(2, Role::Primary)))),
        |scene| drop(scene.check("a", 15_100, Ok(on(2, Role::Primary)))),
    ];
    for answer in answers {
        let mut scene = settled();
        lose_primary(&mut scene, 10_000);
        scene.check("a", 11_000, Ok(on(2, Role::Primary)));
        scene.hear("a", 14_500, Err(Silence::Missed));
        scene.now = at(15_050);
        let decided = scene.decided();
        assert_eq!(words(&decided.plan), "rw primary; ro b");
        assert_eq!(decided.endpoints[1].state.obstacle, Some(Obstacle::NotProven));
        answer(&mut scene);
        assert_eq!(scene.routes(), "rw a; ro b");
    }
}

#[test]
fn an_old_primary_that_returns_takes_nothing_back() {
    let mut scene = settled();
    lose_primary(&mut scene, 10_000);
    scene.hear("a", 11_000, Ok(on(2, Role::Primary)));
    scene.decide();
    scene.wait_for_deadline();
    assert_eq!(scene.routes(), "rw a; ro b");
    scene.check("primary", 20_000, good("primary"));
    scene.check("primary", 20_100, good("primary"));
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b");
    assert_eq!(decided.endpoints[0].state.reason, Reason::WritableReplica);
    assert_eq!(decided.split, [EndpointId::from("a"), "primary".into()]);
    // Now the new one is lost: the old one is on an older timeline.
    scene.hear("a", 30_000, Err(Silence::Closed));
    scene.check("a", 30_001, REFUSED);
    scene.decide();
    scene.now = at(60_000);
    scene.check("a", 60_000, REFUSED);
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b", "held");
}

#[test]
fn the_writes_never_leave_a_holder_that_takes_them() {
    let mut scene = settled();
    scene.hear("a", 10_000, Ok(on(2, Role::Primary)));
    let (decision, changes) = scene.decision().unwrap();
    let decided = decision.state.decided().unwrap();
    assert_eq!(words(&decided.plan), "rw primary; ro b");
    assert_eq!(decided.split.len(), 2);
    assert!(
        changes
            .iter()
            .any(|change| matches!(change, Transition::SplitBrain { endpoints } if endpoints.len() == 2)),
        "{changes:?}"
    );
    // A person ends it.
    let spec = edited(|policy| {
        policy.generation = 3;
        policy.failover.accept_primary = Some("a".into());
    });
    scene.apply(spec, &Memory::default(), 20_000);
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b");
    assert_eq!(decided.holding.accepted, Some("a".into()));
}

/// It was slow for a while, well before it was promoted.
#[test]
fn who_was_promoted_while_its_circuit_is_open_is_followed() {
    let mut scene = settled();
    for millis in [10_000, 15_000] {
        scene.check("a", millis, Err(FailureKind::TimedOut));
    }
    scene.check("a", 20_000, Ok(on(1, Role::Standby)));
    lose_primary(&mut scene, 30_000);
    scene.check("a", 32_000, Ok(on(2, Role::Primary)));
    scene.decide();
    scene.wait_for_deadline();
    assert_eq!(scene.now, at(35_001));
    assert_eq!(scene.routes(), "rw a; ro b");
}

/// The primary is gone from 10 s on, and at 11 s both replicas were promoted.
fn two_promoted() -> Scene {
    let mut scene = settled();
    lose_primary(&mut scene, 10_000);
    for (id, timeline) in [("a", 2), ("b", 3)] {
        scene.hear(id, 11_000, Ok(on(timeline, Role::Primary)));
    }
    scene.decide();
    scene.wait_for_deadline();
    assert_eq!(holder(&mut scene), target("primary"), "two take writes");
    scene
}

/// As of now.
fn holder(scene: &mut Scene) -> TargetId {
    scene.advance([]);
    let state = scene.world.policies.values().next().unwrap();
    state.holding.holder.clone().unwrap()
}

#[test]
fn a_missed_deadline_of_one_of_two_that_were_promoted_makes_the_other_no_single_one() {
    let mut scene = two_promoted();
    scene.check("b", 20_000, Err(FailureKind::TimedOut));
    scene.hear("b", 21_000, Ok(on(3, Role::Primary)));
    assert_eq!(holder(&mut scene), target("primary"));
    scene.check("b", 22_000, Ok(on(3, Role::Primary)));
    scene.check("primary", 30_000, REFUSED);
    assert_eq!(holder(&mut scene), target("primary"));
}

#[test]
fn of_two_that_were_promoted_one_is_followed_when_the_other_is_out_for_the_failover_timeout() {
    let mut scene = two_promoted();
    scene.hear("b", 20_000, Err(Silence::Closed));
    scene.check("b", 20_001, REFUSED);
    assert_eq!(holder(&mut scene), target("primary"));
    scene.wait_for_deadline();
    assert_eq!(scene.now, at(25_001));
    assert_eq!(scene.routes(), "rw a; ro a");
}

/// Its held session tells that it takes writes; there is no free connection for a check.
#[test]
fn who_was_promoted_and_has_no_free_connection_is_followed() {
    let mut scene = settled();
    scene.check("a", 9000, Err(FailureKind::Saturated));
    lose_primary(&mut scene, 10_000);
    scene.hear("a", 11_000, Ok(on(2, Role::Primary)));
    scene.check("a", 14_000, Err(FailureKind::Saturated));
    scene.decide();
    scene.wait_for_deadline();
    assert_eq!(scene.routes(), "rw a; ro b");
}

#[test]
fn who_was_down_and_has_no_free_connection_is_not_followed() {
    let mut scene = settled();
    lose_primary(&mut scene, 10_000);
    scene.hear("a", 11_000, Ok(on(2, Role::Primary)));
    scene.hear("a", 12_000, Err(Silence::Closed));
    scene.check("a", 12_001, REFUSED);
    scene.check("a", 14_000, Err(FailureKind::Saturated));
    scene.check("a", 20_000, Err(FailureKind::Saturated));
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn who_is_not_promotable_never_takes_the_writes() {
    let mut scene = settled_as(|policy| policy.endpoints[1].promotable = false);
    lose_primary(&mut scene, 10_000);
    scene.hear("a", 11_000, Ok(on(2, Role::Primary)));
    scene.decide();
    scene.now = at(30_000);
    scene.check("primary", 30_000, REFUSED);
    assert_eq!(
        scene.routes(),
        "rw primary; ro b",
        "promotable: false never takes them"
    );
}

#[test]
fn pinned_writes_wait_for_the_declared_primary() {
    let mut scene = settled_as(|policy| policy.failover.primary_role = PrimaryRole::Pinned);
    scene.hear("primary", 10_000, Ok(on(1, Role::Standby)));
    scene.hear("a", 10_000, Ok(on(2, Role::Primary)));
    assert_eq!(scene.routes(), "rw; ro b primary");
    scene.hear("primary", 20_000, Ok(on(3, Role::Primary)));
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn a_lost_primary_is_withdrawn_where_the_policy_says_so_and_back_with_its_first_good_check() {
    let mut scene = settled_as(|policy| policy.failover.on_primary_loss = OnPrimaryLoss::Withdraw);
    lose_primary(&mut scene, 10_000);
    assert_eq!(scene.routes(), "rw; ro a b");
    scene.check("primary", 11_000, good("primary"));
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn another_identity_of_the_primary_holds_the_writes_until_a_person_sets_it() {
    let mut scene = settled();
    let mut upgraded = sample(Role::Primary);
    upgraded.system_identifier = Some(SYSTEM + 1);
    scene.check("primary", 10_000, Ok(upgraded.clone()));
    let asked = Some(IdentityChange {
        disputed: false,
        known: SYSTEM,
        shown: Some(SYSTEM + 1),
    });
    let decided = scene.decided();
    assert_eq!(
        (words(&decided.plan).as_str(), decided.changed),
        ("rw primary; ro a b", asked)
    );
    assert_eq!(decided.plan.rw.state, RouteState::Held);
    // It stays so while the primary is silent; reads go on among the others.
    scene.check("primary", 11_000, REFUSED);
    scene.check("primary", 12_000, REFUSED);
    scene.check("a", 13_000, REFUSED);
    scene.check("a", 13_010, REFUSED);
    let decided = scene.decided();
    assert_eq!(
        (words(&decided.plan).as_str(), decided.changed),
        ("rw primary; ro b", asked)
    );
    assert_eq!(decided.plan.ro.state, RouteState::Served);
    let spec = edited(|policy| {
        policy.generation = 3;
        policy.identity = IdentityRule::Declared(SYSTEM + 1);
    });
    scene.apply(spec, &Memory::default(), 20_000);
    assert_eq!(scene.routes(), waiting(3), "routes stay until all were checked");
    scene.check("primary", 20_001, Ok(upgraded));
    for id in ["a", "b"] {
        scene.check(id, 20_002, good(id));
    }
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw primary; ro primary");
    assert_eq!(decided.endpoints[1].state.reason, Reason::IdentityMismatch);
}

#[test]
fn reads_are_held_when_no_server_of_the_known_database_is_left() {
    let mut scene = settled();
    scene.hear("primary", 10_000, Ok(on(1, Role::Standby)));
    scene.hear("a", 10_500, Ok(on(2, Role::Primary)));
    primary_follows(&mut scene);
    assert_eq!(scene.routes(), "rw a; ro b primary");
    let upgraded = |role| {
        Ok(Sample {
            system_identifier: Some(SYSTEM + 1),
            ..sample(role)
        })
    };
    scene.check("a", 20_000, upgraded(Role::Primary));
    scene.check("primary", 20_100, upgraded(Role::Standby));
    assert_eq!(scene.routes(), "rw a; ro b");
    scene.check("b", 20_200, upgraded(Role::Standby));
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b", "the last one stays");
    assert_eq!(decided.plan.ro.state, RouteState::Held);
    assert_eq!(decided.endpoints[2].state.reason, Reason::IdentityMismatch);
    let spec = edited(|policy| {
        policy.generation = 3;
        policy.identity = IdentityRule::Declared(SYSTEM + 1);
        policy.failover.accept_primary = Some("a".into());
    });
    scene.apply(spec, &Memory::default(), 21_000);
    assert_eq!(scene.routes(), waiting(3));
    scene.check("a", 21_100, upgraded(Role::Primary));
    for id in ["primary", "b"] {
        scene.check(id, 21_100, upgraded(Role::Standby));
    }
    assert_eq!(scene.routes(), "rw a; ro b primary");
}

/// It returns with an empty volume, and a replica is promoted.
#[test]
fn the_writes_leave_a_primary_of_another_database_for_the_one_that_may_follow() {
    let mut scene = settled();
    lose_primary(&mut scene, 10_000);
    let mut emptied = sample_at(Role::Primary, 9_000_000);
    emptied.system_identifier = Some(SYSTEM + 1);
    scene.check("primary", 12_000, Ok(emptied.clone()));
    scene.check("primary", 12_100, Ok(emptied));
    assert_eq!(scene.routes(), "rw primary; ro a b", "nobody may follow yet");
    for id in ["a", "b"] {
        scene.hear(id, 60_000, Ok(sample(Role::Standby)));
    }
    assert_eq!(
        scene.routes(),
        "no change",
        "positions of another database make no lag"
    );
    scene.hear("a", 61_000, Ok(on(2, Role::Primary)));
    scene.check("b", 62_000, REFUSED);
    scene.check("b", 62_010, REFUSED);
    let decided = scene.decided();
    assert_eq!(
        (words(&decided.plan).as_str(), decided.changed),
        ("rw a; ro a", None)
    );
    assert_eq!(decided.endpoints[0].state.reason, Reason::IdentityMismatch);
}

/// A server that is disabled, or removed, is not held.
#[test]
fn routes_that_are_held_for_the_identity_obey_edits() {
    let mut scene = settled();
    let upgraded = |role| {
        Ok(Sample {
            system_identifier: Some(SYSTEM + 1),
            ..sample(role)
        })
    };
    scene.check("primary", 10_000, upgraded(Role::Primary));
    scene.decide();
    for id in ["a", "b"] {
        scene.check(id, 11_000, upgraded(Role::Standby));
    }
    assert_eq!(scene.routes(), "rw primary; ro b");
    let spec = edited(|policy| {
        policy.generation = 3;
        policy.endpoints[2].state = EndpointState::Draining;
    });
    scene.apply(spec, &Memory::default(), 20_000);
    assert_eq!(scene.routes(), "rw primary; ro");
}

#[test]
fn naming_the_identity_that_was_learned_changes_nothing() {
    let mut scene = settled();
    let before = scene.wanted.clone();
    let spec = edited(|policy| {
        policy.generation = 3;
        policy.identity = IdentityRule::Declared(SYSTEM);
    });
    scene.apply(spec, &Memory::default(), 10);
    assert_eq!(scene.routes(), "rw primary; ro a b");
    for (id, wanted) in before {
        assert_eq!(scene.wanted[&id].incarnation, wanted.incarnation, "{id}");
    }
}

#[test]
fn a_replica_of_another_database_gets_no_traffic_and_stays_out_while_it_is_silent() {
    let mut scene = settled();
    let mut other = sample(Role::Standby);
    other.system_identifier = Some(SYSTEM + 1);
    scene.check("a", 10_000, Ok(other));
    assert_eq!(scene.reason("a"), Reason::IdentityMismatch);
    for millis in [20_000, 21_000, 26_000, 32_000] {
        scene.check("a", millis, REFUSED);
    }
    for id in ["primary", "b"] {
        for millis in [40_000, 46_000, 52_000] {
            scene.check(id, millis, REFUSED);
        }
    }
    let decided = scene.decided();
    assert_eq!(decided.endpoints[1].state.reason, Reason::IdentityMismatch);
    assert_eq!(
        words(&decided.plan),
        "rw primary; ro b primary",
        "not even where nobody is well"
    );
}

#[test]
fn a_declared_primary_of_another_database_is_a_mismatch_where_another_one_holds_the_writes() {
    let mut scene = settled();
    scene.hear("primary", 10_000, Ok(on(1, Role::Standby)));
    scene.hear("a", 10_000, Ok(on(2, Role::Primary)));
    scene.decide();
    let mut rebuilt = sample(Role::Primary);
    rebuilt.system_identifier = Some(SYSTEM + 1);
    scene.check("primary", 20_000, Ok(rebuilt));
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b");
    assert_eq!(decided.endpoints[0].state.reason, Reason::IdentityMismatch);
}

#[test]
fn a_replica_that_went_another_way_gets_no_traffic() {
    let mut scene = settled();
    scene.hear("primary", 10_000, Ok(on(1, Role::Standby)));
    scene.hear("a", 10_000, Ok(on(2, Role::Primary)));
    scene.decide();
    scene.hear(
        "a",
        10_500,
        Ok(Sample {
            timeline: Some(2),
            ..sample_at(Role::Primary, 1500)
        }),
    );
    let beyond = |timeline| Sample {
        timeline,
        ..sample_at(Role::Standby, 2000)
    };
    scene.hear("b", 12_000, Ok(beyond(Some(1))));
    assert_eq!(scene.reason("b"), Reason::Diverged);
    scene.hear("b", 14_000, Ok(beyond(None)));
    assert_eq!(scene.routes(), "no change", "what was proven stands");
    let rebuilt = |lsn| Sample {
        timeline: Some(2),
        ..sample_at(Role::Standby, lsn)
    };
    for second in [16, 18, 20] {
        scene.hear("b", second * 1000, Ok(rebuilt(1500)));
        let head = Sample {
            timeline: Some(2),
            ..sample_at(Role::Primary, 1500)
        };
        scene.hear("a", second * 1000 + 10, Ok(head));
    }
    assert_eq!(scene.reason("b"), Reason::Serving, "rebuilt");
}

#[test]
fn a_name_that_is_lost_counts_as_the_loss_of_the_primary() {
    let mut scene = settled();
    scene.check("primary", 10_000, Err(FailureKind::NameNotFound));
    scene.hear("a", 11_000, Ok(on(2, Role::Primary)));
    scene.decide();
    scene.wait_for_deadline();
    assert_eq!(scene.routes(), "rw a; ro b");
}

#[test]
fn a_standby_follows_whatever_it_told_of_its_identity_where_none_is_known() {
    let untold = || Sample {
        system_identifier: None,
        ..sample(Role::Standby)
    };
    // It must tell once it takes writes.
    for then in [untold(), sample(Role::Standby)] {
        let mut scene = Scene::new();
        scene.check("primary", 1, good("primary"));
        scene.check("a", 2, Ok(then.clone()));
        scene.check("b", 3, good("b"));
        scene.decide();
        scene.check("primary", 10, Ok(sample(Role::Standby)));
        scene.check("a", 11, Ok(on(2, Role::Primary)));
        assert_eq!(scene.routes(), "rw a; ro b", "{then:?}");
    }
}

#[test]
fn what_keeps_a_server_from_taking_over_is_told_of_each() {
    let mut scene = Scene::default();
    let spec = |state| {
        edited(|policy| {
            policy.endpoints[1].promotable = false;
            policy.endpoints[2].state = state;
        })
    };
    scene.apply(spec(EndpointState::Active), &Memory::default(), 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    let told = |scene: &mut Scene| {
        let decided = scene.decided();
        let obstacles = decided.endpoints.iter().map(|view| view.state.obstacle);
        obstacles.collect::<Vec<_>>()
    };
    let (none, fixed) = (None, Some(Obstacle::NotPromotable));
    assert_eq!(told(&mut scene), [none, fixed, none]);
    scene.apply(spec(EndpointState::Draining), &Memory::default(), 10);
    assert_eq!(told(&mut scene), [none, fixed, Some(Obstacle::NotActive)]);
    // The old primary is gone, and returns as a standby.
    scene.apply(spec(EndpointState::Active), &Memory::default(), 20);
    scene.decided();
    lose_primary(&mut scene, 10_000);
    scene.decided();
    scene.hear("b", 11_000, Ok(on(2, Role::Primary)));
    scene.decided();
    scene.wait_for_deadline();
    assert_eq!(told(&mut scene), [Some(Obstacle::OlderTimeline), fixed, none]);
    scene.check("primary", 20_000, Ok(on(1, Role::Standby)));
    assert_eq!(told(&mut scene), [none, fixed, none]);
}

/// What a primary tells whose configuration makes transactions read-only.
fn read_only() -> Sample {
    Sample {
        read_only: true,
        ..on(1, Role::Primary)
    }
}

#[test]
fn a_primary_that_takes_no_writes_is_told_until_a_check_tells_otherwise() {
    let mut scene = settled();
    scene.check("primary", 10_000, Ok(read_only()));
    assert_eq!(scene.reason("primary"), Reason::ReadOnly);
    for (at, kind) in [
        (20_000, FailureKind::Saturated),
        (30_000, FailureKind::OtherError),
    ] {
        scene.check("primary", at, Err(kind));
        let told = scene.decided().endpoints[0].state.clone();
        assert_eq!((told.reason, told.failure), (Reason::ReadOnly, Some(kind)));
    }
    scene.check("primary", 40_000, Ok(on(1, Role::Primary)));
    assert_eq!(scene.reason("primary"), Reason::Serving);
}

#[test]
fn a_primary_that_takes_no_writes_is_told_while_its_circuit_is_not_closed() {
    let mut scene = settled();
    lose_primary(&mut scene, 10_000);
    for at in 1..7 {
        scene.check("primary", 10_000 + at * 1000, REFUSED);
    }
    assert_eq!(scene.reason("primary"), Reason::Held);
    scene.check("primary", 18_000, Ok(read_only()));
    assert_eq!(scene.reason("primary"), Reason::ReadOnly, "its circuit is open");
    scene.hear("primary", 19_000, Ok(on(1, Role::Primary)));
    assert_eq!(scene.reason("primary"), Reason::AdmittedEarly);
    // Reads fall to it, too.
    let mut newest = None;
    for at in 20..30 {
        for replica in ["a", "b"] {
            scene.check(replica, at * 1000, REFUSED);
        }
        scene.check("primary", at * 1000, Ok(on(1, Role::Primary)));
        newest = scene.decide().or(newest);
    }
    let Some(DecisionState::Decided(decided)) = newest else {
        panic!("{newest:?}");
    };
    assert_eq!(decided.plan.ro.state, RouteState::Fallback);
    assert_eq!(decided.endpoints[0].state.reason, Reason::AdmittedEarly);
}

/// It is restarted with a login that is refused: it lives, and nobody knows as what.
#[test]
fn a_contest_is_weighed_while_the_primary_is_back_without_its_role() {
    let mut scene = contested_beside_two();
    lose_primary(&mut scene, 12_000);
    for millis in [14_000, 14_050] {
        scene.check("primary", millis, Err(FailureKind::AuthenticationFailed));
    }
    let head = |second: u64| 1000 + second * 10;
    rounds(&mut scene, 18..26, |second| [head(second - 1); 2], head);
    assert_eq!(holder(&mut scene), target("a"));
}
