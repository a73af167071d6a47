//! Who holds the writes first, where the declared primary never answered or is a standby.

use super::*;
use crate::fixture::{Case, SYSTEM};
use crate::policy::PrimaryRole;

/// `a` takes writes, and `b` follows it.
struct Found {
    a: Result<Sample, FailureKind>,
    b: Result<Sample, FailureKind>,
    primary: Result<Sample, FailureKind>,
    /// Where it is declared.
    c: Option<Result<Sample, FailureKind>>,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            a: Ok(plain(Role::Primary)),
            b: Ok(plain(Role::Standby)),
            primary: REFUSED,
            c: None,
        }
    }
}

/// As a plain login sees it.
fn plain(role: Role) -> Sample {
    Sample {
        timeline: None,
        ..sample(role)
    }
}

impl Found {
    /// Everybody is checked every other second, in this order.
    fn check(&self, scene: &mut Scene, seconds: std::ops::Range<u64>) {
        for second in seconds.step_by(2) {
            let millis = second * 1000;
            scene.check("b", millis, self.b.clone());
            if let Some(c) = &self.c {
                scene.check("c", millis, c.clone());
            }
            scene.check("primary", millis + 10, self.primary.clone());
            scene.check("a", millis + 20, self.a.clone());
        }
    }

    fn scene(&self, case: Case, seconds: std::ops::Range<u64>) -> Scene {
        let mut scene = Scene::default();
        scene.apply(case, &Memory::default(), 0);
        self.check(&mut scene, seconds);
        scene
    }
}

fn writes(scene: &mut Scene) -> String {
    let routes = scene.decided().plan;
    words(&routes).split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn a_server_that_others_follow_is_the_first_holder_once_the_declared_primary_was_dead_for_three_timeouts() {
    let found = Found::default();
    let mut scene = found.scene(policy(), 0..14);
    assert_eq!(writes(&mut scene), "rw");
    scene.now = at(15_100);
    assert_eq!(writes(&mut scene), "rw a", "by the time alone");
    let decided = scene.world.policies.values().next().unwrap();
    assert_eq!(decided.holding.identity, Some(SYSTEM));
}

#[test]
fn a_server_that_a_declared_primary_follows_is_the_first_holder() {
    let found = Found {
        primary: Ok(plain(Role::Standby)),
        ..Found::default()
    };
    let mut scene = found.scene(policy(), 0..10);
    assert_eq!(writes(&mut scene), "rw a");
    // A member of pg_monitor sees it at once.
    let found = Found {
        a: Ok(sample(Role::Primary)),
        b: Ok(sample(Role::Standby)),
        primary: Ok(sample(Role::Standby)),
        c: None,
    };
    let mut scene = found.scene(policy(), 0..4);
    assert_eq!(writes(&mut scene), "rw a");
}

/// Nobody holds the writes by the evidence, until a person names one.
#[test]
fn where_anything_is_in_doubt_nobody_is_the_first_holder_until_a_person_says_so() {
    let ahead = Sample {
        lsn: Some(crate::observation::Lsn(2000)),
        ..plain(Role::Standby)
    };
    let other = Sample {
        system_identifier: Some(SYSTEM + 1),
        ..plain(Role::Standby)
    };
    let untold = Sample {
        system_identifier: None,
        ..plain(Role::Standby)
    };
    let doubts = [
        (
            "b does not answer",
            Found {
                b: REFUSED,
                ..Found::default()
            },
        ),
        (
            "b is ahead",
            Found {
                b: Ok(ahead),
                ..Found::default()
            },
        ),
        (
            "b is of another database",
            Found {
                b: Ok(other),
                ..Found::default()
            },
        ),
        (
            "b does not tell its database",
            Found {
                b: Ok(untold),
                ..Found::default()
            },
        ),
        (
            "two take writes",
            Found {
                b: Ok(plain(Role::Primary)),
                ..Found::default()
            },
        ),
        (
            "the declared primary lives",
            Found {
                primary: Err(FailureKind::AuthenticationFailed),
                ..Found::default()
            },
        ),
        (
            "its name is not found",
            Found {
                primary: Err(FailureKind::NameNotFound),
                ..Found::default()
            },
        ),
    ];
    for (doubt, found) in doubts {
        let mut scene = found.scene(policy(), 0..60);
        assert_eq!(writes(&mut scene), "rw", "{doubt}");
        scene.apply(
            edited(|policy| policy.failover.accept_primary = Some("a".into())),
            &Memory::default(),
            61_000,
        );
        assert_eq!(writes(&mut scene), "rw a", "{doubt}");
    }
}

#[test]
fn a_server_whose_circuit_is_open_is_the_first_holder_by_its_good_checks() {
    let mut scene = Found {
        a: Err(FailureKind::TimedOut),
        ..Found::default()
    }
    .scene(policy(), 0..8);
    Found::default().check(&mut scene, 8..20);
    assert_eq!(writes(&mut scene), "rw a");
}

#[test]
fn one_answer_of_another_kind_is_no_death() {
    let mut scene = Found {
        primary: Err(FailureKind::Starting),
        ..Found::default()
    }
    .scene(policy(), 0..4);
    Found::default().check(&mut scene, 4..60);
    assert_eq!(writes(&mut scene), "rw");
}

#[test]
fn a_server_that_may_not_follow_is_no_first_holder() {
    let pinned = edited(|policy| policy.failover.primary_role = PrimaryRole::Pinned);
    let not_promotable = edited(|policy| policy.endpoints[1].promotable = false);
    for case in [pinned, not_promotable] {
        let mut scene = Found::default().scene(case, 0..60);
        assert_eq!(writes(&mut scene), "rw");
    }
}

#[test]
fn a_declared_primary_that_comes_in_time_is_the_first_holder() {
    let mut scene = Found::default().scene(policy(), 0..14);
    scene.check("primary", 14_500, Ok(plain(Role::Primary)));
    assert_eq!(writes(&mut scene), "rw primary");
}

/// The declared primary told before `a` was known to take writes, and is slow to tell again.
#[test]
fn a_standby_that_was_not_compared_yet_may_be_ahead() {
    let at_position = |role, lsn| Sample {
        timeline: None,
        ..crate::fixture::sample_at(role, lsn)
    };
    let on_2 = |role| Sample {
        timeline: Some(2),
        ..sample(role)
    };
    for (slow, expected) in [(2000, "rw"), (1000, "rw a")] {
        let mut scene = Scene::new();
        scene.check("primary", 1, Ok(at_position(Role::Standby, slow)));
        scene.check("b", 1, Ok(sample(Role::Standby)));
        scene.check("a", 2000, Ok(on_2(Role::Primary)));
        scene.hear("b", 3000, Ok(on_2(Role::Standby)));
        scene.hear("a", 4000, Ok(on_2(Role::Primary)));
        assert_eq!(writes(&mut scene), "rw", "b follows");
        scene.hear("primary", 4100, Ok(at_position(Role::Standby, slow)));
        scene.hear("a", 6000, Ok(on_2(Role::Primary)));
        scene.decide();
        let newest = scene.seen.values().next().unwrap();
        let routes = words(&newest.state.decided().unwrap().plan);
        assert_eq!(routes.split(';').next(), Some(expected), "{slow}");
    }
}

/// `c` follows `a`, and the primary is dead: what `b` says of itself decides.
#[test]
fn one_that_follows_is_not_enough_where_another_one_speaks_against_it() {
    let ahead = Sample {
        lsn: Some(crate::observation::Lsn(2000)),
        ..plain(Role::Standby)
    };
    for (b, expected) in [
        (plain(Role::Standby), "rw a"),
        (plain(Role::Primary), "rw"),
        (ahead, "rw"),
    ] {
        let found = Found {
            b: Ok(b),
            c: Some(Ok(plain(Role::Standby))),
            ..Found::default()
        };
        let mut scene = found.scene(crate::fixture::policy(&["a", "b", "c"]), 0..60);
        assert_eq!(writes(&mut scene), expected);
    }
}
