//! Lag, from samples to routes.

use super::*;
use crate::lag::Lag;
use crate::observation::{Load, Lsn, NoLag};
use crate::policy::LagSource;
use crate::routing::ReadFallback;
use crate::write_primary::Holding;

/// All at 1000, and routed.
fn settled() -> Scene {
    let mut scene = Scene::well();
    scene.beat(2000, [1000; 3]);
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene
}

#[test]
fn a_standby_past_the_bound_leaves_and_returns_below_recover() {
    let mut scene = settled();
    let mut head = 1000;
    let mut left = None;
    // The primary writes 100 bytes a second; `a` stands at 1000 until it is out, and then runs after it.
    for second in (4..=60).step_by(2) {
        head += 200;
        scene.beat(second * 1000, [head, 1000, head]);
        if scene.routes() == "rw primary; ro b" {
            left = Some(second);
            break;
        }
    }
    let left = left.expect("it leaves");
    assert!((32..=36).contains(&left), "out at {left} s");
    for (behind, expected) in [
        (2900, "no change"),
        (2500, "no change"),
        (2000, "no change"),
        (1600, "no change"),
        (1400, "rw primary; ro a b"),
        (0, "no change"),
    ] {
        head += 200;
        scene.now = at(scene.now.since_start().as_secs() * 1000 + 2000);
        scene.beat(
            scene.now.since_start().as_secs() * 1000,
            [head, head - behind, head],
        );
        // From stalled to lagging is no change of the routes.
        let routes = match scene.routes() {
            routes if routes == "rw primary; ro b" => "no change".to_owned(),
            routes => routes,
        };
        assert_eq!(routes, expected, "{behind} bytes behind");
    }
}

#[test]
fn a_standby_that_stands_still_says_so() {
    let mut scene = settled();
    for second in (4..=40).step_by(2) {
        scene.beat(second * 1000, [1000 + second * 100, 1000, 1000 + second * 100]);
    }
    assert_eq!(scene.reason("a"), Reason::ReplayStalled);
}

#[test]
fn a_standby_that_replays_on_far_behind_is_lagging() {
    let mut scene = settled();
    for second in (4..=50).step_by(2) {
        let head = 1000 + second * 100;
        scene.beat(second * 1000, [head, 1000 + second, head]);
    }
    assert_eq!(scene.reason("a"), Reason::Lagging);
}

#[test]
fn with_everybody_lagging_the_primary_reads_and_without_a_fallback_they_are_held() {
    for (fallback, expected) in [(true, "rw primary; ro primary"), (false, "rw primary; ro a b")] {
        let mut scene = Scene::default();
        let mut spec = policy();
        if !fallback {
            spec.failover.read_fallback.clear();
        }
        scene.apply(spec, &Memory::default(), 0);
        for id in ["primary", "a", "b"] {
            scene.check(id, 1, good(id));
        }
        scene.decide();
        for second in (2..=60).step_by(2) {
            let head = 1000 + second * 100;
            scene.beat(second * 1000, [head, 1000, 1000]);
        }
        let decided = scene.decided();
        assert_eq!(words(&decided.plan), expected, "fallback {fallback}");
    }
}

#[test]
fn a_standby_that_is_held_tells_the_reason_beneath_and_the_lag_with_which_it_came() {
    let mut scene = Scene::default();
    let mut spec = policy();
    spec.failover.read_fallback.clear();
    scene.apply(spec, &Memory::default(), 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.decide();
    let mut told = Vec::new();
    for second in (2..=120).step_by(2) {
        let head = 1000 + second * 100;
        scene.beat(second * 1000, [head, 1000, 1000]);
        // A lag that moves alone is no decision.
        if let Some(state) = scene.decide() {
            let state = &state.endpoints().unwrap()[1].state;
            told.push((
                state.reason,
                state.despite,
                state.excess().map(|lag| lag.to_string()),
            ));
        }
    }
    let expected = [(
        Reason::Held,
        Some(Reason::ReplayStalled),
        Some("32 s > 30 s".to_owned()),
    )];
    assert_eq!(told, expected);
}

#[test]
fn lag_opens_no_circuit() {
    let mut scene = settled();
    for second in (4..=200).step_by(2) {
        scene.beat(second * 1000, [1000 + second * 100, 1000, 1000]);
    }
    let decided = scene.decided();
    assert_eq!(
        decided.endpoints[1].state.circuit,
        crate::breaker::Circuit::default()
    );
    assert_eq!(decided.endpoints[1].state.trips, 0);
}

/// The primary is silent: what was found before stands, and the replicas are compared with each other at most.
#[test]
fn while_the_primary_is_silent_verdicts_stand() {
    let mut scene = settled();
    scene.hear("primary", 3000, Err(Silence::Closed));
    scene.check("primary", 3001, REFUSED);
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw primary; ro a b");
    assert_eq!(
        decided.endpoints[0].state.reason,
        Reason::Held,
        "which is Degraded"
    );
    for second in (4..=300).step_by(2) {
        scene.hear("a", second * 1000, Ok(sample_at(Role::Standby, 1000)));
        scene.hear("b", second * 1000, Ok(sample_at(Role::Standby, 2000)));
        assert_eq!(scene.routes(), "no change", "at {second} s");
    }
}

#[test]
fn a_new_replica_is_not_served_before_it_is_known_to_be_fresh_and_soon_is() {
    let mut scene = Scene::new();
    scene.check("a", 1, good("a"));
    scene.check("b", 2, good("b"));
    scene.check("primary", 3, good("primary"));
    assert_eq!(
        scene.routes(),
        "rw primary; ro a b",
        "ready with the first checks"
    );
    let mut busy = Scene::new();
    busy.check("primary", 1, Ok(sample_at(Role::Primary, 5000)));
    busy.check("a", 2, Ok(sample_at(Role::Standby, 4990)));
    busy.check("b", 3, Ok(sample_at(Role::Standby, 4990)));
    assert_eq!(
        busy.routes(),
        "rw primary; ro primary",
        "how far they are behind is not known"
    );
    busy.beat(2000, [6000, 5990, 5990]);
    assert_eq!(busy.routes(), "rw primary; ro a b", "a heartbeat later it is");
}

#[test]
fn without_heartbeats_whole_checks_tell_the_lag_and_what_is_unknown_is_asked_again_soon() {
    let mut scene = Scene::default();
    let spec = edited(|policy| policy.probing.heartbeat = None);
    scene.apply(spec, &Memory::default(), 0);
    scene.check("primary", 1, Ok(sample_at(Role::Primary, 5000)));
    scene.check("a", 2, Ok(sample_at(Role::Standby, 4990)));
    scene.check("b", 3, Ok(sample_at(Role::Standby, 5000)));
    assert_eq!(scene.routes(), "rw primary; ro b");
    let again = scene.instruction("a");
    assert!(again.at == Some(at(1002)) && again.hold.is_none(), "{again:?}");
    assert!(scene.due("b") > at(20_000), "known: at its interval");
    scene.check("a", 1002, Ok(sample_at(Role::Standby, 5000)));
    assert_eq!(scene.routes(), "rw primary; ro a b");
    assert!(scene.due("a") > at(20_000), "known");
    // A primary has no lag, a standby that does not tell its position will not do so soon.
    scene.check("primary", 2000, Ok(sample_at(Role::Primary, 5000)));
    assert!(scene.due("primary") > at(20_000));
    let mut silent = Scene::default();
    let spec = edited(|policy| policy.probing.heartbeat = None);
    silent.apply(spec, &Memory::default(), 0);
    silent.check("a", 2, Ok(Sample::of(Role::Standby)));
    assert!(silent.due("a") > at(20_000));
    // With heartbeats the next one tells.
    let mut held = Scene::new();
    held.check("a", 2, good("a"));
    assert!(held.due("a") > at(20_000));
}

/// A server that never tells its position is not fresh, and says why; without lag to judge it serves.
#[test]
fn a_standby_that_does_not_tell_is_unknown_until_its_lag_is_not_asked_for() {
    let silent = || {
        Ok(Sample {
            system_identifier: Some(7),
            ..Sample::of(Role::Standby)
        })
    };
    let mut scene = Scene::new();
    scene.check("primary", 1, good("primary"));
    scene.check("a", 2, silent());
    scene.check("b", 3, good("b"));
    assert_eq!(scene.reason("a"), Reason::LagUnknown);
    let spec = edited(|policy| policy.endpoints[1].lag.source = LagSource::None);
    scene.apply(spec, &Memory::default(), 100);
    assert_eq!(scene.routes(), "rw primary; ro a b", "at once");
}

#[test]
fn the_answer_of_the_lag_query_is_judged_where_the_policy_asks_for_it() {
    let mut scene = Scene::default();
    let query = LagSource::Query("SELECT 1".into());
    let spec = edited(|policy| policy.endpoints[1].lag.source = query.clone());
    scene.apply(spec, &Memory::default(), 0);
    assert_eq!(scene.wanted[&target("a")].lag_query.as_deref(), Some("SELECT 1"));
    assert_eq!(scene.wanted[&target("b")].lag_query, None);
    let told = |seconds: Option<u64>| {
        let mut told = sample(Role::Standby);
        told.lag = seconds.map(|seconds| Ok(Duration::from_secs(seconds)));
        told
    };
    scene.check("primary", 1, good("primary"));
    scene.check("b", 2, good("b"));
    scene.check("a", 3, Ok(told(Some(3))));
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene.hear("a", 10_000, Ok(told(Some(31))));
    assert_eq!(scene.routes(), "rw primary; ro b");
    scene.hear("a", 20_000, Ok(told(Some(16))));
    assert_eq!(scene.routes(), "no change");
    scene.hear("a", 30_000, Ok(told(Some(15))));
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene.hear("a", 40_000, Ok(told(None)));
    assert_eq!(scene.routes(), "no change", "for a moment");
    scene.hear("a", 70_000, Ok(told(None)));
    assert_eq!(scene.reason("a"), Reason::LagUnknown, "for longer than max");
}

#[test]
fn what_a_lag_query_answers_is_told_while_it_leaves_the_lag_unknown() {
    let mut scene = Scene::default();
    let spec = edited(|policy| policy.endpoints[1].lag.source = LagSource::Query("SELECT 1".into()));
    scene.apply(spec, &Memory::default(), 0);
    let told = |lag: Result<Duration, NoLag>| {
        let mut told = sample(Role::Standby);
        told.lag = Some(lag);
        told
    };
    let shown = |scene: &mut Scene| {
        let decided = scene.decided();
        let view = decided.endpoints.iter().find(|view| view.id.as_str() == "a");
        let state = &view.unwrap().state;
        let answer = state.no_lag.as_ref().map(ToString::to_string);
        (state.reason, answer.unwrap_or_default())
    };
    scene.check("primary", 1, good("primary"));
    scene.check("b", 2, good("b"));
    scene.check("a", 3, Ok(told(Err(NoLag::Null))));
    let unknown = |answer: &str| (Reason::LagUnknown, answer.to_owned());
    assert_eq!(shown(&mut scene), unknown("NULL"));
    scene.hear("a", 2000, Ok(told(Err(NoLag::value("00:00:01")))));
    assert_eq!(shown(&mut scene), unknown("\"00:00:01\""));
    // A value that changes with every heartbeat makes no decision each time.
    let effects = scene.hear("a", 4000, Ok(told(Err(NoLag::value("00:00:03")))));
    assert!(effects.writer.is_empty(), "{effects:?}");
    scene.hear("a", 6000, Ok(told(Err(NoLag::refused("42P01")))));
    assert_eq!(shown(&mut scene), unknown("SQLSTATE 42P01"));
    scene.hear("a", 8000, Ok(told(Ok(Duration::ZERO))));
    assert_eq!(shown(&mut scene), (Reason::Serving, String::new()));
    // While its lag is still known nothing is to be told.
    let effects = scene.hear("a", 10_000, Ok(told(Err(NoLag::Null))));
    assert!(effects.writer.is_empty(), "{effects:?}");
}

#[test]
fn another_server_under_the_same_name_is_measured_anew() {
    let mut scene = settled();
    let observation = Observation {
        started: at(3000),
        ended: at(3000),
        address: Some(address(9)),
        result: Ok(Sample {
            system_identifier: Some(7),
            ..Sample::of(Role::Standby)
        }),
        sqlstate: None,
    };
    let incarnation = scene.wanted[&target("a")].incarnation;
    let event = Event::Observed(CheckAnswer {
        key: key("a"),
        incarnation,
        elsewhere: false,
        observation,
    });
    scene.step(event, 3000);
    assert_eq!(scene.reason("a"), Reason::LagUnknown);
}

/// Standbys on an older timeline move no head.
#[test]
fn a_heartbeat_of_the_primary_tells_what_was_not_known_of_standbys() {
    let mut scene = Scene::default();
    let remembered = Memory {
        holding: Holding {
            timeline: Some(2),
            ..Holding::default()
        },
        ..Memory::default()
    };
    scene.apply(policy(), &remembered, 0);
    let primary = |lsn| Sample {
        lsn,
        timeline: Some(2),
        ..sample(Role::Primary)
    };
    scene.check("primary", 1, Ok(primary(None)));
    for id in ["a", "b"] {
        scene.check(id, 2, good(id));
    }
    assert_eq!(
        scene.routes(),
        "rw primary; ro primary",
        "nothing to compare with"
    );
    scene.hear("primary", 2000, Ok(primary(Some(Lsn(1000)))));
    assert_eq!(scene.routes(), "rw primary; ro a b");
}

#[test]
fn with_a_bound_of_zero_who_is_one_heartbeat_behind_leaves() {
    let mut scene = Scene::default();
    let spec = edited(|policy| {
        for endpoint in &mut policy.endpoints {
            (endpoint.lag.max, endpoint.lag.recover) = (Duration::ZERO, Duration::ZERO);
        }
    });
    scene.apply(spec, &Memory::default(), 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    assert_eq!(scene.routes(), "rw primary; ro a b");
    for beat in 1..=4 {
        let head = 1000 + beat * 100;
        scene.beat(beat * 2000, [head, 1000, head]);
    }
    assert_eq!(scene.routes(), "rw primary; ro b");
}

#[test]
fn what_a_standby_received_moves_no_head_while_the_primary_tells() {
    let mut scene = settled();
    scene.hear("primary", 2000, Ok(sample(Role::Primary)));
    let mut ahead = sample(Role::Standby);
    ahead.received = Some(Lsn(5000));
    scene.hear("b", 4000, Ok(ahead));
    let effects = scene.hear("a", 4001, Ok(sample(Role::Standby)));
    let lag = effects
        .figures
        .iter()
        .find_map(|measured| measured.figures.as_ref()?.lag);
    let none = Lag::Behind {
        time: Duration::ZERO,
        bytes: Some(0),
    };
    assert_eq!(lag, Some(none));
}

/// A check of the write primary that takes 600 ms, as with a probe query: the position is that of its start.
fn slow_check(scene: &mut Scene, millis: u64, told: Sample) -> Effects {
    let incarnation = scene.wanted[&target("primary")].incarnation;
    let mut event = scene.checked("primary", incarnation, millis, Ok(told));
    if let Event::Observed(answer) = &mut event {
        answer.observation.ended = at(millis + 600);
    }
    scene.step(event, millis + 600)
}

/// The position in a check is older than that of a heartbeat which was asked for and answered meanwhile: no restore.
#[test]
fn checks_of_the_primary_that_heartbeats_overtake_hide_no_standby_that_stands_still() {
    let mut scene = settled();
    let head = |millis: u64| 1000 + millis / 10;
    let mut left = None;
    for second in (4..=300).step_by(2) {
        let millis = second * 1000;
        scene.beat(millis, [head(millis), head(millis.min(20_000)), head(millis)]);
        if second % 28 == 0 {
            let beat = millis + 300;
            scene.hear("primary", beat, Ok(sample_at(Role::Primary, head(beat))));
            slow_check(&mut scene, millis, sample_at(Role::Primary, head(millis)));
        }
        if scene.routes() == "rw primary; ro b" {
            left = Some(second);
            break;
        }
    }
    let left = left.expect("it leaves");
    assert!((50..=54).contains(&left), "out at {left} s");
}

/// Of figures that a check and a heartbeat tell the newest are shown: a counter never goes back.
#[test]
fn a_check_that_a_heartbeat_overtook_tells_no_older_load() {
    let mut scene = settled();
    let told = |transactions| Sample {
        load: Some(Load {
            sessions: 1,
            max_connections: 100,
            transactions,
            started: 0,
            ..Load::default()
        }),
        ..sample(Role::Primary)
    };
    scene.hear("primary", 4300, Ok(told(9)));
    let effects = slow_check(&mut scene, 4000, told(8));
    let [Measurement { figures, .. }] = effects.figures.as_slice() else {
        panic!("{effects:?}");
    };
    let figures = figures.unwrap();
    assert_eq!(figures.load.map(|load| load.transactions), Some(9));
    assert_eq!(figures.took, Some(Duration::from_millis(600)));
    assert_eq!(figures.measured, None, "its counters are older than those before");
}

/// All at 1000.
fn where_who_lags_may_stand_in() -> Scene {
    let mut scene = Scene::default();
    let spec = edited(|policy| {
        policy.failover.read_fallback = vec![ReadFallback::LaggingReplicas];
    });
    scene.apply(spec, &Memory::default(), 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    scene
}

#[test]
fn of_those_that_lag_the_least_far_serves_and_a_change_of_that_is_followed() {
    let mut scene = where_who_lags_may_stand_in();
    scene.decide();
    // Both stand still from the start; a moves on for a while.
    let mut seen = Vec::new();
    for beat in 1..=110_u64 {
        let head = 1000 + beat * 100;
        let a = if beat < 50 { head - 100 } else { 6000 };
        let b = if beat < 90 { 1100 } else { head - 1600 };
        scene.beat(beat * 2000, [head, a, b]);
        if let Some(DecisionState::Decided(decided)) = scene.decide() {
            let reads = words(&decided.plan);
            if seen.last() != Some(&reads) {
                seen.push(reads);
            }
        }
    }
    assert_eq!(
        seen,
        ["rw primary; ro a", "rw primary; ro b"],
        "b is out, then a too, which is less far behind, until b is"
    );
}

#[test]
fn who_falls_further_behind_than_another_one_hands_over_while_both_lag() {
    let mut scene = where_who_lags_may_stand_in();
    let mut seen = Vec::new();
    for beat in 1..=110_u64 {
        let head = 1000 + beat * 100;
        // a replays a tenth of the log, b all of it, 100 s late.
        scene.beat(
            beat * 2000,
            [
                head,
                1000 + beat * 10,
                (head - 99).max(6000) - 5000 + beat.min(50),
            ],
        );
        if let Some(DecisionState::Decided(decided)) = scene.decide() {
            let of = |at: usize| decided.endpoints[at].state.reason;
            seen.push((beat, words(&decided.plan), [of(1), of(2)]));
        }
    }
    let (beat, reads, _) = seen.last().unwrap();
    assert_eq!(reads, "rw primary; ro b", "{seen:#?}");
    let lagging = [Reason::Lagging; 2];
    let before = &seen[seen.len() - 2];
    assert_eq!(
        (&before.1[..], &before.2),
        ("rw primary; ro a b", &lagging),
        "{seen:#?}"
    );
    assert!(*beat > 70, "{seen:#?}");
}
