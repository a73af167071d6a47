//! Held sessions, the gathering of signs, requests for checks, draining.

use super::*;
use crate::cadence::HoldRule;
use crate::fixture::Case;
use crate::lag::Lag;
use crate::login::{SecretProblem, UnresolvedSecret};
use crate::observation::Load;

fn checks(effects: &Effects) -> Vec<(String, Moment)> {
    let check = |instruction: &Instruction| match instruction {
        Instruction::Next { key, check } => Some((key.target.to_string(), check.at?)),
        Instruction::Want { .. } => None,
    };
    effects.prober.iter().filter_map(check).collect()
}

fn settled() -> Scene {
    let mut scene = Scene::well();
    scene.decide();
    scene
}

#[test]
fn a_target_is_held_from_its_first_good_check_on() {
    let mut scene = Scene::new();
    assert_eq!(scene.instruction("a").hold, None);
    scene.check("a", 1, good("a"));
    let hold = scene.instruction("a").hold.unwrap();
    assert_eq!((hold.address, hold.every), (address(2), Duration::from_secs(2)));
}

#[test]
fn a_session_that_closes_makes_a_check_at_once_and_a_refusal_takes_out() {
    let mut scene = settled();
    let effects = scene.hear("a", 10_000, Err(Silence::Closed));
    assert_eq!(checks(&effects), [("a".to_owned(), at(10_000))]);
    assert_eq!(scene.routes(), "no change", "not confirmed");
    scene.check("a", 10_001, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro b");
    assert_eq!(scene.instruction("a").hold, None);
}

/// It may have been answered before the server crashed.
#[test]
fn a_check_that_was_under_way_when_the_session_closed_is_no_answer_to_that() {
    for result in [good("a"), Err(FailureKind::Saturated)] {
        let mut scene = settled();
        scene.hear("a", 10_000, Err(Silence::Closed));
        let observation = Observation {
            started: at(9999),
            ended: at(10_001),
            address: result.is_ok().then(|| address(2)),
            result,
            sqlstate: None,
        };
        let observed = CheckAnswer {
            key: key("a"),
            incarnation: scene.wanted[&target("a")].incarnation,
            elsewhere: false,
            observation,
        };
        scene.step(Event::Observed(observed), 10_001);
        assert_eq!(scene.due("a"), at(10_006), "another one follows at once");
        scene.check("a", 10_006, REFUSED);
        assert_eq!(scene.routes(), "rw primary; ro b");
    }
}

#[test]
fn a_session_that_an_administrator_ends_changes_nothing() {
    let mut scene = settled();
    for second in 1..=60 {
        scene.hear("a", second * 1000, Err(Silence::Closed));
        scene.check("a", second * 1000 + 2, good("a"));
        assert_eq!(scene.routes(), "no change");
    }
}

#[test]
fn a_heartbeat_that_changes_nothing_is_measured_and_decides_nothing() {
    let mut scene = settled();
    let effects = scene.hear("a", 2000, Ok(sample(Role::Standby)));
    let [Measurement { key, figures, .. }] = effects.figures.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(key.target, target("a"));
    let none = Lag::Behind {
        time: Duration::ZERO,
        bytes: Some(0),
    };
    assert_eq!(figures.unwrap().lag, Some(none));
    assert_eq!(scene.world.deadline(), None);
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn a_session_of_an_earlier_incarnation_or_address_says_nothing() {
    let mut scene = settled();
    let heard = |incarnation, last| {
        Event::Heard(SessionAnswer {
            key: key("a"),
            incarnation,
            address: address(last),
            started: at(10),
            ended: at(11),
            result: Ok(sample(Role::Primary)),
        })
    };
    let incarnation = scene.wanted[&target("a")].incarnation;
    assert!(
        scene
            .step(heard(Incarnation(incarnation.0 + 1), 2), 11)
            .is_empty()
    );
    let effects = scene.step(heard(incarnation, 99), 11);
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn an_answer_that_was_asked_for_before_the_newest_one_changes_nothing() {
    let mut scene = settled();
    scene.check("a", 20, good("a"));
    let late = SessionAnswer {
        key: key("a"),
        incarnation: scene.wanted[&target("a")].incarnation,
        address: address(2),
        started: at(10),
        ended: at(21),
        result: Ok(sample(Role::Primary)),
    };
    assert!(scene.step(Event::Heard(late), 21).is_empty());
    assert_eq!(scene.routes(), "no change");
}

/// Servers that go together leave together: a decision waits for signs that are about to be confirmed.
#[test]
fn a_zone_that_goes_is_one_decision() {
    let mut scene = settled();
    for id in ["a", "b"] {
        scene.hear(id, 1000, Err(Silence::Closed));
    }
    scene.check("a", 1001, REFUSED);
    assert_eq!(scene.routes(), "no change", "b is being asked");
    let wait = scene.world.deadline().unwrap().since(at(1001));
    assert!(wait <= Duration::from_millis(25), "{wait:?}");
    scene.check("b", 1002, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro primary");
    assert_eq!(scene.world.deadline(), None);
}

/// However many signs come, one after the other: nobody waits longer for them than 25 ms.
#[test]
fn signs_that_never_end_delay_a_decision_once() {
    let mut scene = settled();
    scene.hear("b", 1000, Err(Silence::Closed));
    for millis in 1000..1025 {
        // `b` flaps: a sign, a good check, a sign.
        let incarnation = scene.wanted[&target("b")].incarnation;
        let flaps = [
            scene.checked("b", incarnation, millis, good("b")),
            scene.heard("b", millis, Err(Silence::Closed)),
        ];
        scene.now = at(millis);
        scene.advance(flaps);
        if millis == 1001 {
            scene.check("a", millis, Ok(sample(Role::Primary)));
        }
        assert_eq!(scene.routes(), "no change", "at {millis}");
    }
    scene.now = at(1025);
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn a_sign_that_is_not_confirmed_is_waited_for_no_longer_than_25_ms() {
    let mut scene = settled();
    scene.hear("b", 1000, Err(Silence::Closed));
    scene.check("a", 1001, Ok(sample(Role::Primary)));
    assert_eq!(scene.routes(), "no change");
    scene.wait_for_deadline();
    assert_eq!(scene.routes(), "rw primary; ro b");
}

fn requested(request: &str) -> Case {
    edited(|policy| policy.check_request = Some(request.to_owned()))
}

#[test]
fn a_request_checks_every_target_at_once_and_is_answered_when_all_did() {
    let mut scene = settled();
    scene.apply(requested("2026-01-01T00:00:00Z"), &Memory::default(), 5000);
    for id in ["primary", "a", "b"] {
        assert_eq!(scene.due(id), at(5000), "{id}");
    }
    let (decision, _) = scene.decision().unwrap();
    assert_eq!(decision.answered, None);
    scene.check("primary", 5001, good("primary"));
    scene.check("a", 5002, Err(FailureKind::TimedOut));
    assert!(
        scene
            .decision()
            .is_none_or(|(decision, _)| decision.answered.is_none())
    );
    scene.check("b", 5003, good("b"));
    let (decision, _) = scene.decision().unwrap();
    assert_eq!(decision.answered.as_deref(), Some("2026-01-01T00:00:00Z"));
}

#[test]
fn a_check_that_began_before_the_request_does_not_answer_it() {
    let mut scene = settled();
    scene.apply(requested("now"), &Memory::default(), 5000);
    scene.decision();
    for id in ["primary", "a", "b"] {
        scene.check(id, 4999, good(id));
    }
    assert_eq!(scene.decision(), None);
    for id in ["primary", "a", "b"] {
        scene.check(id, 5001, good(id));
    }
    assert_eq!(scene.decision().unwrap().0.answered.as_deref(), Some("now"));
}

#[test]
fn a_request_that_the_status_answers_is_not_made_again_by_a_restart() {
    let mut scene = Scene::default();
    let remembered = Memory {
        answered: Some("then".to_owned()),
        ..Memory::default()
    };
    scene.apply(requested("then"), &remembered, 0);
    for id in ["primary", "a", "b"] {
        assert_eq!(scene.instruction(id).number, 0, "{id} is checked once anyway");
        scene.check(id, 1, good(id));
    }
    assert_eq!(scene.decision().unwrap().0.answered.as_deref(), Some("then"));
}

#[test]
fn a_request_waits_for_nobody_who_is_removed_or_cannot_be_checked() {
    let mut scene = settled();
    scene.apply(requested("now"), &Memory::default(), 5000);
    for id in ["primary", "a"] {
        scene.check(id, 5001, good(id));
    }
    let mut without_b = requested("now");
    without_b.endpoints.pop();
    scene.apply(without_b, &Memory::default(), 5002);
    assert_eq!(scene.decision().unwrap().0.answered.as_deref(), Some("now"));
}

#[test]
fn a_request_wakes_a_target_whose_address_is_refused() {
    let mut scene = settled();
    scene.check("a", 100, Err(FailureKind::AddressRefused));
    scene.decide();
    scene.apply(requested("now"), &Memory::default(), 5000);
    assert_eq!(scene.due("a"), at(5000));
}

#[test]
fn other_address_rules_wake_all_as_anybody_may_be_refused_now() {
    let mut scene = settled();
    scene.check("a", 100, Err(FailureKind::AddressRefused));
    let effects = scene.step(Event::AddressesChanged, 200);
    let woken = ["a", "b", "primary"].map(|id| (id.to_owned(), at(200)));
    assert_eq!(checks(&effects), woken);
}

fn draining() -> Case {
    edited(|policy| policy.endpoints[1].state = EndpointState::Draining)
}

fn with_sessions(sessions: u32) -> Result<Sample, Silence> {
    let mut told = sample(Role::Standby);
    told.load = Some(Load {
        sessions,
        max_connections: 100,
        transactions: 0,
        started: 0,
        ..Load::default()
    });
    Ok(told)
}

/// The sessions that a new decision tells, in words.
fn sessions(scene: &mut Scene) -> String {
    match scene.decide() {
        None => "no change".to_owned(),
        Some(DecisionState::Decided(decided)) => match decided.endpoints[1].sessions {
            Some(count) => count.to_string(),
            None => "not told".to_owned(),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_draining_target_leaves_the_routes_and_is_checked_on() {
    let mut scene = settled();
    scene.apply(draining(), &Memory::default(), 10);
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw primary; ro b");
    assert_eq!(decided.endpoints[1].state.reason, Reason::Draining);
    assert!(scene.wanted.contains_key(&target("a")));
    scene.apply(edited(|policy| policy.generation = 3), &Memory::default(), 20);
    assert_eq!(
        scene.routes(),
        "rw primary; ro a b",
        "it is known, and returns at once"
    );
}

#[test]
fn the_sessions_left_on_a_draining_target_are_counted_down_slowly_and_their_end_is_told_at_once() {
    let mut scene = settled();
    scene.apply(draining(), &Memory::default(), 10);
    assert_eq!(sessions(&mut scene), "not told");
    scene.hear("a", 1000, with_sessions(9));
    assert_eq!(sessions(&mut scene), "9");
    scene.hear("a", 2000, with_sessions(8));
    assert_eq!(sessions(&mut scene), "no change", "at most every 5 s");
    scene.hear("a", 6000, with_sessions(5));
    assert_eq!(sessions(&mut scene), "5");
    scene.hear("a", 7000, with_sessions(0));
    assert_eq!(sessions(&mut scene), "0");
    scene.hear("a", 20_000, with_sessions(0));
    assert_eq!(sessions(&mut scene), "no change", "no news");
}

#[test]
fn sessions_of_who_does_not_drain_are_no_transition() {
    let mut scene = settled();
    for count in 1..5 {
        scene.hear("a", u64::from(count) * 10_000, with_sessions(count));
        assert_eq!(scene.decide(), None);
    }
}

#[test]
fn a_draining_primary_holds_no_writes() {
    let mut scene = settled();
    let spec = edited(|policy| policy.endpoints[0].state = EndpointState::Draining);
    scene.apply(spec, &Memory::default(), 10);
    assert_eq!(scene.routes(), "rw; ro a b");
}

#[test]
fn a_request_does_not_wait_for_who_cannot_be_checked_any_more() {
    let mut scene = settled();
    scene.apply(requested("now"), &Memory::default(), 5000);
    let mut lost = requested("now");
    lost.of("a").login = Err(UnresolvedSecret {
        secret: "credentials".to_owned(),
        problem: SecretProblem::NotFound,
    });
    scene.apply(lost, &Memory::default(), 5001);
    for id in ["primary", "b"] {
        scene.check(id, 5002, good(id));
    }
    let (decision, _) = scene.decision().unwrap();
    assert_eq!(decision.answered.as_deref(), Some("now"));
}

/// It began before it was asked for, so it does not answer; nor does it put off the one that does.
#[test]
fn a_check_that_is_under_way_puts_off_neither_a_request_nor_a_new_login() {
    let login = |policy: &mut Case| policy.of("a").login = Ok(login("probe"));
    for spec in [requested("now"), edited(login)] {
        let mut scene = settled();
        scene.apply(spec, &Memory::default(), 5000);
        assert_eq!(scene.due("a"), at(5000));
        let under_way = |result| Observation {
            started: at(4999),
            ended: at(5001),
            address: Some(address(2)),
            result,
            sqlstate: None,
        };
        for result in [Err(FailureKind::AddressRefused), good("a")] {
            let observed = CheckAnswer {
                key: key("a"),
                incarnation: scene.wanted[&target("a")].incarnation,
                elsewhere: false,
                observation: under_way(result),
            };
            scene.step(Event::Observed(observed), 5001);
            assert_eq!(scene.due("a"), at(5001));
        }
        scene.check("a", 5002, good("a"));
        assert!(scene.due("a") > at(20_000), "it is answered");
    }
}

#[test]
fn while_the_primary_is_lost_everybody_else_is_asked_more_often() {
    let mut scene = settled();
    scene.hear("primary", 1000, Err(Silence::Closed));
    scene.check("primary", 1001, REFUSED);
    scene.decide();
    for id in ["a", "b"] {
        let every = scene.instruction(id).hold.unwrap().every;
        assert_eq!(every, Duration::from_millis(500), "{id}");
    }
    scene.check("primary", 1100, good("primary"));
    scene.check("primary", 1200, good("primary"));
    scene.decide();
    let every = scene.instruction("a").hold.unwrap().every;
    assert_eq!(every, Duration::from_secs(2));
}

/// A process that follows holds sessions by this rule.
fn following(rule: HoldRule) -> Scene {
    let mut scene = settled();
    scene.step(Event::HoldBy(rule), 1000);
    scene
}

#[test]
fn who_holds_no_sessions_while_it_follows_opens_them_when_it_leads() {
    let mut scene = following(HoldRule::Never);
    assert_eq!(scene.instruction("a").hold, None);
    scene.check("a", 2000, good("a"));
    assert_eq!(scene.instruction("a").hold, None);
    // New settings, and a policy that is new, are no reason to hold one.
    scene.apply(
        edited(|case| case.probing.interval = Duration::from_secs(20)),
        &Memory::default(),
        3000,
    );
    scene.check("a", 4000, good("a"));
    assert_eq!(scene.instruction("a").hold, None);
    let effects = scene.step(Event::HoldBy(HoldRule::Always), 5000);
    assert_eq!(effects.prober.len(), 3, "{effects:?}");
    assert!(scene.instruction("a").hold.is_some());
}

#[test]
fn a_follower_that_found_no_place_for_its_session_does_not_take_the_next_one_either() {
    let mut leader = settled();
    let effects = leader.hear("a", 2000, Err(Silence::Full));
    assert!(effects.is_empty(), "{effects:?}");
    assert!(leader.instruction("a").hold.is_some());

    let mut scene = following(HoldRule::WhileThereIsRoom);
    let due = scene.due("a");
    scene.hear("a", 2000, Err(Silence::Full));
    assert_eq!(scene.instruction("a").hold, None);
    assert_eq!(scene.due("a"), due, "it is no reason for a check");
    assert!(scene.instruction("b").hold.is_some());
    scene.check("a", 3000, good("a"));
    assert_eq!(scene.instruction("a").hold, None);
    assert_eq!(scene.routes(), "no change");
    scene.step(Event::HoldBy(HoldRule::Always), 4000);
    assert!(scene.instruction("a").hold.is_some());
}

#[test]
fn a_follower_leaves_the_place_for_a_session_to_the_leader_until_it_leads() {
    let full = Err(FailureKind::Saturated);
    let mut leader = settled();
    leader.check("a", 2000, full.clone());
    assert!(leader.instruction("a").hold.is_some(), "who leads keeps its own");

    let mut scene = following(HoldRule::WhileThereIsRoom);
    assert!(scene.instruction("a").hold.is_some());
    scene.check("a", 2000, full);
    assert_eq!(scene.instruction("a").hold, None);
    assert!(scene.instruction("b").hold.is_some());
    // The place that it left is not its own again.
    scene.check("a", 3000, good("a"));
    assert_eq!(scene.instruction("a").hold, None);
    scene.step(Event::HoldBy(HoldRule::Always), 4000);
    assert!(scene.instruction("a").hold.is_some());
}
