use super::*;
use crate::fixture::at;
use crate::observation::Lsn;

fn id(name: &str) -> TargetId {
    TargetId::host(name.into())
}

/// Standbys that receive timeline 2, beside a server that takes writes on it; each asks and answers within a millisecond.
struct Scene(Candidacy);

impl Scene {
    fn new() -> Self {
        Self(Candidacy::of(id("a")))
    }

    fn standby(&mut self, name: &str, millis: u64, replayed: Option<u64>) {
        let report = StandbyReport {
            asked: at(millis),
            came: at(millis + 1),
            replayed: replayed.map(Lsn),
            receives: Some(2),
            checkpoint: None,
        };
        self.0.standby(&id(name), report);
    }

    fn writable(&mut self, millis: u64, position: u64) -> bool {
        self.0.writable(WritableReport {
            asked: at(millis),
            came: at(millis + 1),
            position: Some(Lsn(position)),
            timeline: Some(2),
        })
    }

    fn is_followed_by(&self, names: &[&str]) -> bool {
        let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
        self.0.is_followed(ids.iter())
    }
}

#[test]
fn a_standby_on_its_timeline_follows_it_once_it_was_asked_after_it() {
    let mut scene = Scene::new();
    scene.standby("b", 0, Some(50));
    assert!(!scene.is_followed_by(&["b"]));
    assert!(scene.writable(10, 100));
    assert!(scene.is_followed_by(&["b"]));
    assert!(!scene.is_followed_by(&["c"]), "who is no standby any more");
}

#[test]
fn who_follows_it_tells_nothing_new_by_following_it_again() {
    let mut scene = Scene::new();
    for round in 0..6 {
        scene.standby("b", round * 1000, Some(100));
        assert_eq!(scene.writable(round * 1000 + 500, 100), round == 0);
    }
}

#[test]
fn one_that_follows_is_not_enough_before_the_others_are_compared() {
    let mut scene = Scene::new();
    scene.standby("b", 0, Some(50));
    assert!(scene.writable(10, 100));
    assert!(!scene.is_followed_by(&["b", "c"]), "c told nothing");
    // It does not tell what it receives: nothing is proven of it, and it is not ahead.
    scene.0.standby(
        &id("c"),
        StandbyReport {
            asked: at(20),
            came: at(21),
            replayed: Some(Lsn(60)),
            receives: None,
            checkpoint: None,
        },
    );
    assert!(!scene.is_followed_by(&["b", "c"]), "it told after the other one");
    assert!(scene.writable(30, 100), "that it is not ahead is new");
    assert!(scene.is_followed_by(&["b", "c"]));
}

/// The receiver tells the timeline that it asks for, too.
#[test]
fn who_has_log_that_it_lacks_is_not_cleared_by_its_timeline() {
    let mut scene = Scene::new();
    scene.standby("b", 0, Some(50));
    scene.standby("c", 0, Some(101));
    assert!(scene.writable(10, 100));
    assert!(!scene.is_followed_by(&["b", "c"]), "one speaks against it");
    scene.standby("c", 1000, Some(101));
    assert!(!scene.writable(1010, 200), "merely overtaken");
    assert!(!scene.is_followed_by(&["b", "c"]));
    scene.standby("c", 2000, None);
    assert!(
        scene.writable(2010, 200),
        "of a standby that tells no position it is a proof"
    );
    assert!(scene.is_followed_by(&["b", "c"]));
}

#[test]
fn what_two_standbys_prove_at_once_is_one_thing_that_is_new() {
    let mut scene = Scene::new();
    for name in ["b", "c"] {
        scene.standby(name, 0, Some(100));
    }
    assert!(scene.writable(10, 100));
    assert!(!scene.writable(20, 100), "compared with no newer answer");
}
