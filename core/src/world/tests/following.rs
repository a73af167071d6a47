//! Who follows the write primary, from samples to routes.

use super::restart::{remembered, restarted, restarted_as};
use super::*;
use crate::fixture::{Case, SYSTEM};
use crate::lag::Lag;
use crate::observation::{Load, Lsn};
use crate::policy::{IdentityRule, LagSource, PrimaryRole};
use crate::resolved::Pods;
use crate::write_primary::Holding;

/// What a plain login sees of a standby.
fn plain(lsn: u64) -> Sample {
    Sample {
        timeline: None,
        ..sample_at(Role::Standby, lsn)
    }
}

/// A server of this role on this timeline, as a member of `pg_monitor` sees it.
fn on(timeline: u32, role: Role, lsn: u64) -> Sample {
    Sample {
        timeline: Some(timeline),
        ..sample_at(role, lsn)
    }
}

impl Scene {
    /// Heartbeats of the three servers, each answered before the next one is asked: the standbys before the primary.
    fn round(&mut self, millis: u64, primary: Sample, standbys: [Sample; 2]) {
        for (id, told) in ["a", "b"].into_iter().zip(standbys) {
            self.hear(id, millis, Ok(told));
        }
        self.hear("primary", millis + 10, Ok(primary));
    }
}

#[test]
fn a_primary_that_was_restored_to_an_earlier_point_is_right_and_the_standbys_leave() {
    for timeline in [1, 2] {
        let mut scene = Scene::well();
        scene.decide();
        scene.hear("primary", 10_000, Err(Silence::Closed));
        scene.check("primary", 10_001, REFUSED);
        scene.hear("a", 12_000, Ok(plain(1000)));
        scene.hear("b", 12_000, Ok(plain(1000)));
        scene.decide();
        scene.check("primary", 13_000, Ok(on(timeline, Role::Primary, 900)));
        let decided = scene.decided();
        assert_eq!(words(&decided.plan), "rw primary; ro primary", "at once");
        let reasons = || decided.endpoints[1..].iter().map(|view| view.state.reason);
        assert!(reasons().all(|reason| reason == Reason::Diverged));
        // The log grows past what they have, and they stand where they were.
        for beat in 7..40_u64 {
            scene.round(
                beat * 2000,
                on(timeline, Role::Primary, 900 + beat * 10),
                [plain(1000), plain(1000)],
            );
        }
        assert!(
            matches!(&scene.routes()[..], "no change" | "rw primary; ro primary"),
            "being overtaken clears nothing"
        );
        let lag = scene
            .hear("a", 80_000, Ok(plain(1000)))
            .figures
            .iter()
            .find_map(|measured| measured.figures.as_ref()?.lag);
        assert_eq!(lag, None, "it is neither behind nor fresh");
        // Rebuilt: it replays what the primary tells.
        for beat in 41..45 {
            let head = 1000 + beat * 10;
            scene.round(
                beat * 2000,
                on(timeline, Role::Primary, head),
                [plain(head), plain(1000)],
            );
        }
        assert_eq!(scene.routes(), "rw primary; ro a");
    }
}

#[test]
fn who_follows_a_server_that_was_promoted_while_the_primary_lives_leaves() {
    let checkpoint = |timeline| Sample {
        checkpoint_timeline: Some(timeline),
        ..plain(1000)
    };
    for told in [on(2, Role::Standby, 1000), checkpoint(2)] {
        let mut scene = Scene::well();
        scene.decide();
        scene.hear("a", 10_000, Ok(on(2, Role::Primary, 1000)));
        scene.hear("b", 10_001, Ok(told));
        assert_eq!(scene.routes(), "rw primary; ro b");
        scene.hear("primary", 10_010, Ok(on(1, Role::Primary, 1000)));
        assert_eq!(scene.routes(), "rw primary; ro primary");
    }
}

/// A failover: the old primary told nothing since.
#[test]
fn who_follows_a_new_primary_before_the_operator_does_serves_on() {
    let mut scene = Scene::well();
    scene.decide();
    scene.hear("primary", 10_000, Err(Silence::Closed));
    scene.check("primary", 10_001, REFUSED);
    scene.hear("a", 11_000, Ok(on(2, Role::Primary, 1010)));
    scene.hear("b", 11_500, Ok(on(2, Role::Standby, 1010)));
    assert_eq!(scene.routes(), "rw primary; ro b");
    scene.now = at(15_001);
    assert_eq!(scene.routes(), "rw a; ro b");
    for beat in 8..20 {
        scene.hear("b", beat * 2000, Ok(on(2, Role::Standby, 1010)));
        scene.hear("a", beat * 2000 + 10, Ok(on(2, Role::Primary, 1010)));
    }
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn a_standby_that_has_more_than_the_one_that_was_promoted_leaves() {
    let mut scene = Scene::well();
    scene.decide();
    scene.hear("primary", 10_000, Err(Silence::Closed));
    scene.check("primary", 10_001, REFUSED);
    scene.hear("a", 11_000, Ok(on(2, Role::Primary, 1100)));
    scene.hear("b", 11_500, Ok(plain(1200)));
    scene.decide();
    scene.now = at(15_001);
    assert_eq!(scene.routes(), "rw a; ro b");
    scene.hear("b", 16_000, Ok(plain(1200)));
    scene.hear("a", 16_500, Ok(on(2, Role::Primary, 1100)));
    assert_eq!(scene.routes(), "rw a; ro a");
}

/// What was received and is not replayed is read by nobody; and where a server was promoted, the end of the old log may be
/// half a record, which a standby that follows throws away.
#[test]
fn what_a_standby_received_and_did_not_replay_proves_nothing() {
    let mut scene = Scene::well();
    scene.decide();
    let received = Sample {
        received: Some(Lsn(5000)),
        ..plain(1000)
    };
    scene.round(10_000, sample(Role::Primary), [received, plain(1000)]);
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn positions_of_another_database_are_not_compared() {
    let other = |role, lsn| Sample {
        system_identifier: Some(SYSTEM + 1),
        ..sample_at(role, lsn)
    };
    let mut scene = Scene::well();
    scene.decide();
    scene.check("a", 10_000, Ok(other(Role::Standby, 5000)));
    scene.hear("primary", 10_000, Ok(sample(Role::Primary)));
    assert_eq!(scene.reason("a"), Reason::IdentityMismatch);
    scene.check("a", 12_000, Ok(plain(1000)));
    assert_eq!(scene.routes(), "rw primary; ro a b", "at once");
    // The other way round: the primary shows another one.
    scene.check("primary", 14_000, Ok(other(Role::Primary, 5)));
    assert_eq!(
        scene.routes(),
        "rw primary; ro a b",
        "of the known one, and writes held"
    );
    scene.check("primary", 16_000, Ok(sample(Role::Primary)));
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn a_primary_below_the_mark_says_nothing_of_the_log() {
    let mut scene = Scene::well();
    scene.decide();
    scene.round(10_000, on(3, Role::Primary, 1000), [plain(1000), plain(1000)]);
    scene.decide();
    scene.round(12_000, on(2, Role::Primary, 500), [plain(1000), plain(1000)]);
    assert_eq!(scene.routes(), "rw; ro a b");
}

#[test]
fn without_a_checked_identity_timelines_are_not_compared() {
    let mut scene = Scene::default();
    scene.apply(
        edited(|policy| {
            policy.identity = IdentityRule::Unchecked;
            policy.failover.primary_role = PrimaryRole::Pinned;
        }),
        &Memory::default(),
        0,
    );
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.decide();
    let standby = || on(7, Role::Standby, 1000);
    scene.round(10_000, on(5, Role::Primary, 1000), [standby(), standby()]);
    scene.round(12_000, on(6, Role::Primary, 1000), [standby(), standby()]);
    assert_eq!(scene.routes(), "no change");
    scene.round(14_000, on(6, Role::Primary, 999), [standby(), plain(999)]);
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn servers_that_tell_no_positions_serve_on() {
    let mut scene = Scene::default();
    scene.apply(
        edited(|policy| {
            for endpoint in &mut policy.endpoints {
                endpoint.lag.source = LagSource::None;
            }
        }),
        &Memory::default(),
        0,
    );
    let silent = |role| Sample {
        system_identifier: Some(SYSTEM),
        ..Sample::of(role)
    };
    scene.check("primary", 1, Ok(silent(Role::Primary)));
    for id in ["a", "b"] {
        scene.check(id, 1, Ok(silent(Role::Standby)));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
    for beat in 1..20 {
        let standby = || silent(Role::Standby);
        scene.round(beat * 2000, silent(Role::Primary), [standby(), standby()]);
    }
    assert_eq!(scene.routes(), "no change");
}

/// A cascade: `b` streams from `a`, and is a little later.
#[test]
fn a_standby_of_a_standby_follows_too() {
    let mut scene = Scene::well();
    scene.decide();
    for beat in 1..20 {
        let head = 1000 + beat * 100;
        scene.round(
            beat * 2000,
            sample_at(Role::Primary, head),
            [plain(head - 100), plain(head - 150)],
        );
    }
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn a_standby_that_restarts_while_the_primary_is_idle_returns_at_once() {
    let mut scene = Scene::well();
    scene.decide();
    scene.hear("a", 10_000, Err(Silence::Closed));
    scene.check("a", 10_001, REFUSED);
    scene.check("a", 10_006, REFUSED);
    scene.now = at(10_100);
    assert_eq!(scene.routes(), "rw primary; ro b");
    scene.check("a", 11_000, Ok(plain(1000)));
    scene.check("a", 11_050, Ok(plain(1000)));
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

/// Whatever the write primary tells, `a` is promoted and holds the writes at 15 s, at 1100 on timeline 2.
fn failed_over() -> Scene {
    let mut scene = Scene::well();
    scene.decide();
    scene.hear("b", 4000, Ok(started(1, plain(1000))));
    scene.hear("primary", 10_000, Err(Silence::Closed));
    scene.check("primary", 10_001, REFUSED);
    scene.hear("a", 11_000, Ok(on(2, Role::Primary, 1100)));
    scene.decide();
    scene.now = at(15_001);
    assert_eq!(scene.routes(), "rw a; ro b");
    scene
}

fn started(started: i64, sample: Sample) -> Sample {
    Sample {
        load: Some(Load {
            sessions: 1,
            max_connections: 100,
            transactions: 1,
            started,
            ..Load::default()
        }),
        ..sample
    }
}

#[test]
fn an_old_primary_that_rejoins_with_a_lost_row_below_the_new_one_serves_nothing_before_it_follows() {
    for told in [plain(1050), on(1, Role::Standby, 1050)] {
        let mut scene = failed_over();
        scene.check("primary", 20_000, Ok(told.clone()));
        scene.check("primary", 20_050, Ok(told.clone()));
        assert_eq!(scene.reason("primary"), Reason::NotFollowing);
        let every = |scene: &Scene, id| scene.instruction(id).hold.map(|hold| hold.every);
        for id in ["primary", "a"] {
            assert_eq!(every(&scene, id), Some(Duration::from_millis(500)), "{id}");
        }
        assert_eq!(every(&scene, "b"), Some(Duration::from_secs(2)));
        for beat in 0..100 {
            let millis = 21_000 + beat * 500;
            scene.hear("primary", millis, Ok(told.clone()));
            scene.hear("b", millis, Ok(started(1, plain(1100 + beat))));
            scene.hear("a", millis + 10, Ok(on(2, Role::Primary, 1100 + beat)));
            assert_eq!(scene.routes(), "no change");
        }
        // Rebuilt: it replays what the new one tells, and told before.
        for beat in 100..102 {
            let millis = 21_000 + beat * 500;
            assert_eq!(scene.routes(), "no change");
            scene.hear("primary", millis, Ok(plain(1100 + beat)));
            scene.hear("a", millis + 10, Ok(on(2, Role::Primary, 1100 + beat)));
        }
        assert_eq!(scene.routes(), "rw a; ro b primary");
        assert_eq!(every(&scene, "a"), Some(Duration::from_secs(2)));
    }
}

#[test]
fn an_old_primary_that_rejoins_with_more_than_the_new_one_has_diverged() {
    let mut scene = failed_over();
    scene.check("primary", 20_000, Ok(plain(1200)));
    scene.check("primary", 20_050, Ok(plain(1200)));
    assert_eq!(scene.reason("primary"), Reason::NotFollowing);
    scene.hear("a", 20_500, Ok(on(2, Role::Primary, 1150)));
    assert_eq!(scene.reason("primary"), Reason::Diverged);
    scene.hear("primary", 21_000, Ok(plain(1200)));
    scene.hear("a", 21_500, Ok(on(2, Role::Primary, 1250)));
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn an_old_primary_whose_receiver_tells_the_new_timeline_serves_with_the_next_answer_of_the_new_one() {
    let mut scene = failed_over();
    scene.check("primary", 20_000, Ok(on(2, Role::Standby, 1100)));
    scene.check("primary", 20_050, Ok(on(2, Role::Standby, 1100)));
    assert_eq!(scene.reason("primary"), Reason::NotFollowing);
    scene.hear("a", 20_500, Ok(on(2, Role::Primary, 1100)));
    assert_eq!(scene.routes(), "rw a; ro b primary");
}

/// The servers of the first choice are those that the policy began with: there was no change.
#[test]
fn a_new_replica_has_to_follow_where_the_write_primary_changed_before() {
    let added = || {
        edited(|policy| {
            policy.generation = 3;
            policy.endpoints.push(endpoint("c", 4));
        })
    };
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(added(), &Memory::default(), 5000);
    scene.check("c", 5001, Ok(plain(1000)));
    assert_eq!(scene.routes(), "rw primary; ro a b c");
    let mut scene = failed_over();
    scene.apply(added(), &Memory::default(), 16_000);
    scene.check("c", 16_001, Ok(plain(1100)));
    assert_eq!(scene.reason("c"), Reason::NotFollowing);
    for beat in 0..3 {
        scene.hear("a", 16_500 + beat * 1000, Ok(on(2, Role::Primary, 1100)));
        scene.hear("c", 17_000 + beat * 1000, Ok(plain(1100)));
    }
    scene.hear("a", 20_000, Ok(on(2, Role::Primary, 1100)));
    assert_eq!(scene.routes(), "rw a; ro b c");
}

/// Who took the writes before the operator restarted is not known for each server: `primary` was nowhere in the status.
#[test]
fn after_a_restart_a_server_that_nobody_remembers_has_to_follow() {
    let mut scene = Scene::default();
    let mut known = remembered(&["a", "b"]);
    known.holding = holding_of_a();
    known.endpoints.get_mut(&EndpointId::from("a")).unwrap().targets[0].role = Some(Role::Primary);
    scene.apply(policy(), &known, 0);
    scene.check("a", 1, Ok(on(2, Role::Primary, 1000)));
    scene.check("b", 2, Ok(plain(1000)));
    scene.check("primary", 3, Err(FailureKind::TimedOut));
    assert_eq!(scene.routes(), "rw a; ro b");
    scene.hear("a", 2000, Ok(on(2, Role::Primary, 1100)));
    // It has a row that `a` lacks.
    scene.check("primary", 2500, Ok(plain(1050)));
    assert_eq!(scene.reason("primary"), Reason::NotFollowing);
}

fn holding_of_a() -> Holding {
    Holding {
        holder: Some(target("a")),
        server: Some((address(2), 5432).into()),
        timeline: Some(2),
        identity: Some(SYSTEM),
        ..Holding::default()
    }
}

/// The pod that held the writes is gone, and `a` took them: the operator learns so by itself.
#[test]
fn after_a_restart_without_the_remembered_holder_another_one_is_a_change() {
    let mut scene = Scene::default();
    let mut known = remembered(&["a", "b"]);
    known.holding.holder = Some(target("primary@198.18.0.7"));
    known.holding.server = Some((address(7), 5432).into());
    let without_pods = edited(|policy| {
        policy.of("primary").pods = Some(Pods {
            service: "pg".to_owned(),
            ready: Ok(Vec::new()),
        });
    });
    scene.apply(without_pods, &known, 0);
    scene.check("a", 1, Ok(on(2, Role::Primary, 1000)));
    scene.check("b", 2, Ok(started(1, plain(1000))));
    assert_eq!(scene.routes(), "rw a; ro b");
    // `b` restarts meanwhile, perhaps from another copy.
    scene.check("b", 4000, Ok(started(2, plain(1000))));
    assert_eq!(scene.reason("b"), Reason::NotFollowing);
}

/// Who answers first decides nothing: when everybody was checked it is known who started since.
#[test]
fn after_a_restart_with_another_pod_of_the_holder_who_served_serves_on() {
    let mut scene = Scene::default();
    let mut known = remembered(&["a", "b"]);
    known.holding.holder = Some(target("primary@198.18.0.7"));
    known.holding.server = Some((address(7), 5432).into());
    let pod = edited(|policy| {
        policy.of("primary").pods = Some(Pods {
            service: "pg".to_owned(),
            ready: Ok(vec![(address(8), 5432).into()]),
        });
    });
    scene.apply(pod, &known, 0);
    scene.check("primary@198.18.0.8", 1, Ok(on(1, Role::Primary, 1000)));
    assert_eq!(scene.routes(), waiting(2));
    for id in ["a", "b"] {
        scene.check(id, 2, Ok(started(1, plain(1000))));
    }
    assert_eq!(scene.routes(), "rw primary@198.18.0.8; ro a b");
}

#[test]
fn a_new_host_of_the_holder_is_another_write_primary() {
    let mut scene = Scene::well();
    scene.decide();
    scene.hear("b", 4000, Ok(started(1, plain(1000))));
    let moved = edited(|policy| policy.endpoints[0] = endpoint("primary", 31));
    scene.apply(moved, &Memory::default(), 10_000);
    scene.check("a", 10_100, good("a"));
    scene.check("primary", 10_200, Ok(on(1, Role::Primary, 1000)));
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene.hear("b", 11_000, Ok(started(2, plain(1000))));
    assert_eq!(scene.reason("b"), Reason::NotFollowing);
}

/// While the policy keeps a server out its status does not say whether it follows.
#[test]
fn after_a_restart_who_was_kept_out_by_the_policy_has_to_follow() {
    for reason in [Reason::Draining, Reason::Disabled] {
        let mut scene = restarted_as(|id, known| {
            if id == "a" {
                known.eligible = false;
                known.reason = Some(reason);
            }
        });
        scene.check("primary", 1, good("primary"));
        for id in ["a", "b"] {
            scene.check(id, 2, Ok(plain(1000)));
        }
        assert_eq!(scene.reason("a"), Reason::NotFollowing, "{reason}");
    }
}

/// However the server is found anew: there was no other write primary.
#[test]
fn a_server_that_had_diverged_has_to_follow_when_it_is_watched_anew() {
    type Edit = fn(&mut Case);
    let disabled: Edit = |policy| policy.endpoints[1].state = EndpointState::Disabled;
    let moved: Edit = |policy| policy.endpoints[1] = endpoint("a", 9);
    let stays: Edit = |_| {};
    for (edits, last) in [([disabled, stays], 2), ([moved, moved], 9), ([stays, stays], 9)] {
        let mut scene = Scene::well();
        scene.decide();
        scene.round(10_000, on(1, Role::Primary, 1000), [plain(1200), plain(1000)]);
        assert_eq!(scene.reason("a"), Reason::Diverged);
        for edit in edits {
            scene.apply(edited(edit), &Memory::default(), 20_000);
        }
        scene.found_at("a", 22_000, last, plain(1000));
        assert_eq!(scene.reason("a"), Reason::NotFollowing);
        for beat in 12..15 {
            scene.found_at("a", beat * 2000, last, plain(1000));
            scene.hear("primary", beat * 2000 + 10, Ok(on(1, Role::Primary, 1000)));
        }
        assert_eq!(scene.routes(), "rw primary; ro a b");
    }
}

#[test]
fn a_standby_that_restarts_after_a_failover_on_a_busy_primary_returns_at_once() {
    let mut scene = failed_over();
    // It replays a second later.
    let head = |beat: u64| 1100 + beat * 100;
    for beat in 1..10 {
        scene.hear("b", 15_000 + beat * 2000, Ok(started(1, plain(head(beat) - 50))));
        scene.hear("a", 16_000 + beat * 2000, Ok(on(2, Role::Primary, head(beat))));
    }
    assert_eq!(scene.routes(), "no change");
    scene.hear("b", 40_000, Err(Silence::Closed));
    scene.check("b", 40_001, REFUSED);
    scene.check("b", 40_006, REFUSED);
    scene.now = at(40_100);
    assert_eq!(scene.routes(), "rw a; ro a");
    scene.check("b", 41_000, Ok(started(2, plain(head(9) - 50))));
    scene.check("b", 41_050, Ok(started(2, plain(head(9) - 50))));
    assert_eq!(scene.routes(), "rw a; ro b");
}

#[test]
fn a_standby_that_restarted_while_the_write_primary_changed_has_to_follow() {
    let mut scene = failed_over();
    scene.hear("b", 16_000, Ok(started(1, plain(1000))));
    assert_eq!(scene.routes(), "no change", "the same server");
    let mut scene = failed_over();
    scene.hear("b", 16_000, Ok(started(2, plain(1000))));
    assert_eq!(scene.reason("b"), Reason::NotFollowing);
}

#[test]
fn a_rogue_that_becomes_a_standby_again_has_to_follow() {
    let mut scene = Scene::well();
    scene.decide();
    scene.hear("a", 10_000, Ok(on(2, Role::Primary, 1000)));
    scene.hear("primary", 10_010, Ok(on(1, Role::Primary, 1000)));
    assert_eq!(scene.routes(), "rw primary; ro b");
    scene.hear("a", 12_000, Ok(plain(1000)));
    assert_eq!(scene.reason("a"), Reason::NotFollowing);
    for beat in 0..3 {
        scene.hear("a", 13_000 + beat * 1000, Ok(plain(1000)));
        scene.hear("primary", 13_500 + beat * 1000, Ok(on(1, Role::Primary, 1000)));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn after_a_restart_with_all_standbys_a_little_behind_nobody_leaves() {
    let mut scene = restarted();
    scene.check("primary", 1, Ok(sample_at(Role::Primary, 2000)));
    for id in ["a", "b"] {
        scene.check(id, 2, Ok(plain(1900)));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
    for beat in 1..20 {
        let head = 2000 + beat * 100;
        scene.round(
            beat * 2000,
            sample_at(Role::Primary, head),
            [plain(head - 120), plain(head - 190)],
        );
    }
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn after_a_restart_while_the_primary_is_down_who_served_serves_on() {
    let mut scene = restarted();
    scene.check("primary", 1, REFUSED);
    scene.check("primary", 6, REFUSED);
    for id in ["a", "b"] {
        scene.check(id, 10, Ok(plain(1900)));
    }
    scene.now = at(100);
    assert_eq!(scene.routes(), "rw primary; ro a b");
    for beat in 1..30 {
        for id in ["a", "b"] {
            scene.hear(id, beat * 2000, Ok(plain(1900)));
        }
    }
    let words = scene.routes();
    assert!(
        matches!(&words[..], "no change" | "rw primary; ro a b"),
        "{words}"
    );
}

#[test]
fn after_a_restart_who_had_to_follow_and_a_former_write_primary_have_to() {
    let edits: [fn(&mut TargetMemory); 2] = [
        |known| known.reason = Some(Reason::NotFollowing),
        |known| {
            known.role = Some(Role::Primary);
            known.reason = Some(Reason::CircuitOpen);
        },
    ];
    for edit in edits {
        let mut scene = restarted_as(|id, known| {
            if id == "a" {
                known.eligible = false;
                edit(known);
            }
        });
        scene.check("primary", 1, good("primary"));
        for id in ["a", "b"] {
            scene.check(id, 2, Ok(plain(900)));
        }
        assert_eq!(scene.reason("a"), Reason::NotFollowing);
    }
}

/// Of one that told nothing when the operator ended it is not known whether the write primary changed meanwhile.
#[test]
fn after_a_restart_who_was_not_heard_before_has_to_follow() {
    let silent = [
        Some(Reason::Suspect),
        Some(Reason::CircuitOpen),
        Some(Reason::Starting),
        Some(Reason::StillStarting),
        Some(Reason::NameUnresolved),
        Some(Reason::NotCheckedYet),
        Some(Reason::ConfigurationFailed),
        Some(Reason::AddressRefused),
        None,
    ];
    for reason in silent {
        for role in [Some(Role::Standby), None] {
            let mut scene = restarted_as(|id, known| {
                if id == "a" {
                    (known.eligible, known.reason, known.role) = (false, reason, role);
                }
            });
            scene.check("primary", 1, good("primary"));
            for id in ["a", "b"] {
                scene.check(id, 2, Ok(plain(900)));
            }
            assert_eq!(scene.reason("a"), Reason::NotFollowing, "{reason:?} {role:?}");
            // It does.
            for beat in 1..5 {
                scene.hear("primary", beat * 2000, Ok(sample(Role::Primary)));
                scene.hear("a", beat * 2000 + 10, Ok(plain(1000)));
            }
            assert_eq!(scene.routes(), "rw primary; ro a b", "{reason:?} {role:?}");
        }
    }
    let well = [
        Reason::Lagging,
        Reason::ReplayStalled,
        Reason::WeightZero,
        Reason::FamilyNotServed,
    ];
    for reason in well {
        let mut scene = restarted_as(|id, known| {
            if id == "a" {
                (known.eligible, known.reason) = (false, Some(reason));
            }
        });
        scene.check("primary", 1, good("primary"));
        for id in ["a", "b"] {
            scene.check(id, 2, Ok(plain(900)));
        }
        assert_ne!(scene.reason("a"), Reason::NotFollowing, "{reason:?}");
    }
}

/// Nobody held the writes yet: the first choice is no change.
#[test]
fn after_a_restart_before_there_was_a_write_primary_nobody_has_to_follow() {
    let mut known = remembered(&["primary", "a", "b"]);
    known.holding = Holding::default();
    for memory in known.endpoints.values_mut() {
        let target = &mut memory.targets[0];
        (target.eligible, target.reason, target.role) = (false, Some(Reason::NotCheckedYet), None);
    }
    let mut scene = Scene::default();
    scene.apply(policy(), &known, 0);
    scene.check("primary", 1, good("primary"));
    for id in ["a", "b"] {
        scene.check(id, 2, Ok(plain(1000)));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

/// While the operator was down, the write primary changed, and the old one rejoined.
#[test]
fn after_a_restart_the_write_primary_of_before_is_a_former_one() {
    let mut scene = restarted();
    scene.check("primary", 1, Ok(plain(1050)));
    scene.check("a", 2, Ok(on(2, Role::Primary, 1100)));
    scene.check("b", 3, Ok(plain(1100)));
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw a; ro b");
    assert_eq!(decided.endpoints[0].state.reason, Reason::NotFollowing);
}

#[test]
fn who_has_to_follow_moves_no_head() {
    let mut scene = failed_over();
    scene.check("primary", 20_000, Ok(plain(1050)));
    scene.check("primary", 20_050, Ok(plain(1050)));
    scene.hear("a", 21_000, Ok(on(2, Role::Primary, 1100)));
    scene.hear("a", 22_000, Err(Silence::Closed));
    for beat in 0..20 {
        scene.hear("primary", 24_000 + beat * 2000, Ok(plain(9000)));
        let effects = scene.hear("b", 24_001 + beat * 2000, Ok(started(1, plain(1100))));
        let lag = effects.figures.iter().find_map(|it| it.figures.as_ref()?.lag);
        let none = Lag::Behind {
            time: Duration::ZERO,
            bytes: Some(0),
        };
        assert_eq!(lag, Some(none));
    }
}

#[test]
fn without_heartbeats_checks_follow_soon_until_it_is_proven() {
    let mut scene = Scene::default();
    scene.apply(
        edited(|policy| policy.probing.heartbeat = None),
        &Memory::default(),
        0,
    );
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.check("a", 1000, Ok(on(2, Role::Primary, 1000)));
    scene.decide();
    scene.check("a", 2000, Ok(plain(1000)));
    assert_eq!(scene.reason("a"), Reason::NotFollowing);
    let mut now = 2000;
    let mut checks = 0;
    while scene.routes() != "rw primary; ro a b" {
        let due = |id: &str| scene.due(id).since_start().as_millis();
        let next = if due("a") <= due("primary") {
            "a"
        } else {
            "primary"
        };
        now = u64::try_from(due(next)).unwrap().max(now + 1);
        assert!(now < 12_000, "soon");
        let told = if next == "a" {
            plain(1000)
        } else {
            sample(Role::Primary)
        };
        scene.check(next, now, Ok(told));
        checks += 1;
    }
    assert!(checks <= 8, "{checks}");
}
