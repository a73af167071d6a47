//! Names that lead elsewhere, and names that rotate.

use super::*;
use crate::observation::{FailureClass, Observation};
use crate::target::{NameAnswer, NameState};
use strum::VariantArray as _;

/// Where `a` leads now.
const NEW: u8 = 9;

impl Scene {
    fn named(&mut self, id: &str, millis: u64, state: NameState) -> Effects {
        let incarnation = self.wanted[&target(id)].incarnation;
        let event = Event::Named(NameAnswer {
            key: key(id),
            incarnation,
            state,
        });
        self.step(event, millis)
    }

    /// The name of `a` leads elsewhere, or is back.
    fn led(&mut self, millis: u64, elsewhere: bool) -> Effects {
        let state = NameState {
            left: elsewhere.then(|| address(2)),
            rotates: false,
        };
        self.named("a", millis, state)
    }

    /// A check of `a` where its name leads now.
    fn check_elsewhere(&mut self, millis: u64, result: Result<Sample, FailureKind>) -> Effects {
        let observed = CheckAnswer {
            key: key("a"),
            incarnation: self.wanted[&target("a")].incarnation,
            elsewhere: true,
            observation: Observation {
                started: at(millis),
                ended: at(millis),
                address: Some(address(NEW)),
                result,
                sqlstate: None,
            },
        };
        self.step(Event::Observed(observed), millis)
    }

    fn address_of_a(&mut self) -> Option<std::net::IpAddr> {
        let held = self.instruction("a").hold.map(|hold| hold.address);
        assert_eq!(
            held,
            self.instruction("a").prefer,
            "the session is where the server is"
        );
        held
    }
}

/// `a` was well, and its name leads elsewhere from 1 s on.
fn led_away() -> Scene {
    let mut scene = Scene::well();
    scene.decide();
    scene.led(1000, true);
    scene
}

#[test]
fn a_name_that_leads_elsewhere_is_checked_there_at_once_and_changes_nothing_yet() {
    let mut scene = Scene::well();
    scene.decide();
    let effects = scene.led(1000, true);
    assert_eq!(effects.prober.len(), 1);
    assert_eq!(scene.due("a"), at(1000));
    assert_eq!(scene.address_of_a(), Some(address(2)));
    assert_eq!(scene.routes(), "no change");
    // It is told once.
    assert!(scene.led(1001, true).is_empty());
    // A check that was under way is not the one.
    scene.check_incarnation("a", scene.wanted[&target("a")].incarnation, 999, good("a"));
    assert!(scene.due("a") <= at(1000));
}

#[test]
fn a_failed_check_elsewhere_says_nothing_of_the_server() {
    for kind in FailureKind::VARIANTS {
        let mut scene = led_away();
        for round in 1..=20 {
            let now = 1000 + round * 10_000;
            scene.check_elsewhere(now, Err(*kind));
            // The old server is checked as one that is watched closely, not at the interval.
            assert_eq!(scene.due("a"), at(now + 5000), "{kind}");
            scene.check("a", now + 5000, good("a"));
            assert_eq!(scene.due("a"), at(now + 10_000), "{kind}");
        }
        assert_eq!(scene.address_of_a(), Some(address(2)), "{kind}");
        assert_eq!(scene.routes(), "no change", "{kind}");
    }
}

#[test]
fn a_good_check_elsewhere_moves_the_target() {
    let mut scene = led_away();
    scene.check_elsewhere(1001, good("a"));
    assert_eq!(scene.address_of_a(), Some(address(NEW)));
    assert_eq!(scene.due("a"), at(31_001));
    let views = scene.decided().endpoints;
    let view = views.iter().find(|view| view.id.as_str() == "a").unwrap();
    assert_eq!(view.address, Some(address(NEW)));
    // What is told of the address from before asks for nothing.
    scene.led(1002, true);
    assert_eq!(scene.due("a"), at(31_001));
}

#[test]
fn the_circuit_of_the_old_server_is_not_that_of_the_new_one() {
    let mut scene = Scene::well();
    scene.decide();
    for millis in [1000, 4000, 7000] {
        scene.check("a", millis, Err(FailureKind::TimedOut));
    }
    assert_eq!(scene.reason("a"), Reason::CircuitOpen);
    scene.led(8000, true);
    scene.check_elsewhere(8001, good("a"));
    assert_eq!(scene.reason("a"), Reason::Serving);
}

#[test]
fn a_name_that_is_back_is_checked_at_the_interval_again() {
    let mut scene = led_away();
    scene.check_elsewhere(1001, REFUSED);
    scene.led(2000, false);
    scene.check("a", 6001, good("a"));
    assert_eq!(scene.due("a"), at(36_001));
    // And elsewhere once more.
    scene.led(7000, true);
    assert_eq!(scene.due("a"), at(7000));
}

#[test]
fn an_old_server_that_goes_down_leaves_while_its_name_leads_to_nobody() {
    let mut scene = led_away();
    scene.check_elsewhere(1001, REFUSED);
    scene.hear("a", 3000, Err(Silence::Closed));
    assert_eq!(scene.due("a"), at(3000));
    scene.check_elsewhere(3001, REFUSED);
    assert!(
        scene.due("a") <= at(3010),
        "the old server has its turn soon: {:?}",
        scene.due("a")
    );
    assert_eq!(scene.routes(), "no change");
    scene.check("a", 3007, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn a_failed_check_elsewhere_takes_no_figures_away() {
    let mut scene = Scene::default();
    scene.apply(
        edited(|policy| policy.probing.heartbeat = None),
        &Memory::default(),
        0,
    );
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.led(1000, true);
    let ends = |effects: Effects| {
        let [measured] = effects.figures.as_slice() else {
            panic!("{effects:?}");
        };
        assert_eq!(measured.failure, Some(FailureClass::Dead { hard: true }));
        measured.silent
    };
    assert!(!ends(scene.check_elsewhere(1001, REFUSED)));
    assert!(ends(scene.check("a", 6001, REFUSED)));
}

#[test]
fn what_lookups_say_of_a_target_that_is_not_known_is_ignored() {
    let mut scene = Scene::well();
    scene.decide();
    let state = NameState {
        left: Some(address(2)),
        rotates: true,
    };
    let said = |id: &str, incarnation| {
        Event::Named(NameAnswer {
            key: key(id),
            incarnation,
            state,
        })
    };
    assert!(scene.step(said("a", Incarnation(99)), 10).is_empty());
    assert!(scene.step(said("nobody", Incarnation(1)), 10).is_empty());
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn a_name_that_rotates_is_told_and_changes_no_route() {
    let mut scene = Scene::well();
    let before = words(&scene.decided().plan);
    for rotates in [true, false] {
        let state = NameState { left: None, rotates };
        scene.named("a", 10, state);
        let decided = scene.decided();
        assert_eq!(words(&decided.plan), before);
        let told: Vec<_> = decided
            .endpoints
            .iter()
            .map(|view| view.state.name_rotates)
            .collect();
        assert_eq!(told, [false, rotates, false]);
    }
}
