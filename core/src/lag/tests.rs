use super::*;
use crate::fixture::at;

const SPAN: Duration = Duration::from_secs(34);
const BEAT: Duration = Duration::from_secs(2);

fn settings() -> LagSettings {
    crate::fixture::lag()
}

/// The primary on timeline 1 was at these positions at these seconds.
fn history(told: &[(u64, u64)]) -> WalHistory {
    let mut history = WalHistory::default();
    for (second, position) in told {
        history.primary_at(at(second * 1000), Lsn(*position), Some(1), SPAN);
    }
    history
}

fn behind(millis: u64, bytes: u64) -> Lag {
    let time = Duration::from_millis(millis);
    Lag::Behind {
        time,
        bytes: Some(bytes),
    }
}

#[test]
fn with_nothing_to_compare_with_lag_is_unknown() {
    assert_eq!(WalHistory::default().behind(Lsn(5), at(0)), Lag::Unknown);
}

#[test]
fn who_is_at_the_head_or_beyond_does_not_lag() {
    let history = history(&[(0, 100), (10, 200)]);
    for position in [200, 201, u64::MAX] {
        assert_eq!(history.behind(Lsn(position), at(3_600_000)), behind(0, 0));
    }
}

#[test]
fn an_idle_primary_makes_no_lag() {
    let mut idle = history(&[(0, 100)]);
    for second in 1..=3600 {
        idle.primary_at(at(second * 1000), Lsn(100), Some(1), SPAN);
        assert_eq!(idle.behind(Lsn(100), at(second * 1000)), behind(0, 0));
    }
    assert!(idle.positions.len() <= 2, "a rest is told by its two ends");
}

#[test]
fn lag_is_the_time_since_the_head_was_there_interpolated() {
    let history = history(&[(0, 100), (10, 200), (20, 1200)]);
    let cases = [
        (100, 20_000, 1100),
        (150, 15_000, 1050),
        (200, 10_000, 1000),
        (700, 5000, 500),
        (1190, 100, 10),
    ];
    for (position, millis, bytes) in cases {
        assert_eq!(
            history.behind(Lsn(position), at(20_000)),
            behind(millis, bytes),
            "{position}"
        );
    }
}

/// After a rest the head was there until it moved on, not when it arrived.
#[test]
fn the_newest_moment_at_which_the_head_was_there_counts() {
    let history = history(&[(0, 100), (1000, 100), (1002, 300)]);
    assert_eq!(history.behind(Lsn(100), at(1_002_000)), behind(2000, 200));
}

#[test]
fn log_that_never_arrived_counts() {
    let history = history(&[(0, 100), (10, 1100)]);
    // Received and replayed are equal; the primary is far ahead.
    assert_eq!(history.behind(Lsn(100), at(10_000)), behind(10_000, 1000));
}

#[test]
fn below_the_oldest_position_it_is_at_least() {
    let history = history(&[(10, 100), (20, 200)]);
    let time = Duration::from_secs(10);
    assert_eq!(
        history.behind(Lsn(99), at(20_000)),
        Lag::AtLeast {
            time,
            bytes: Some(101)
        }
    );
}

#[test]
fn a_newer_timeline_begins_a_new_history_and_forks_from_the_old_one() {
    let mut history = history(&[(0, 100), (10, 1000)]);
    history.primary_at(at(12_000), Lsn(1100), Some(2), SPAN);
    assert_eq!(history.head(), Some(Lsn(1100)));
    let branch = Branch {
        timeline: 2,
        first_seen: Lsn(1100),
    };
    assert_eq!(history.branch(), Some(branch));
}

#[test]
fn the_first_timeline_that_is_seen_forks_from_nothing() {
    let mut fresh = WalHistory::default();
    fresh.primary_at(at(0), Lsn(100), Some(5), SPAN);
    assert_eq!(fresh.branch(), None);
    let mut goes_on = WalHistory::on(Some(4));
    goes_on.primary_at(at(0), Lsn(100), Some(5), SPAN);
    let first_seen = goes_on.branch().map(|branch| branch.first_seen);
    assert_eq!(first_seen, Some(Lsn(100)), "it went on from timeline 4");
}

#[test]
fn a_primary_that_was_set_back_is_right() {
    let mut history = history(&[(0, 100), (10, 1000)]);
    history.primary_at(at(12_000), Lsn(500), Some(1), SPAN);
    assert_eq!(history.head(), Some(Lsn(500)));
    assert_eq!(history.behind(Lsn(900), at(12_000)), behind(0, 0));
}

#[test]
fn standbys_move_the_head_only_while_the_primary_is_silent() {
    let mut history = history(&[(0, 100)]);
    let silence = BEAT * 4;
    history.standby_at(at(8000), Lsn(900), Some(1), silence, SPAN);
    assert_eq!(history.head(), Some(Lsn(100)), "it told 8 s ago");
    history.standby_at(at(8001), Lsn(900), Some(2), silence, SPAN);
    assert_eq!(history.head(), Some(Lsn(100)), "another timeline");
    history.standby_at(at(8001), Lsn(900), Some(1), silence, SPAN);
    assert_eq!(history.head(), Some(Lsn(900)));
    history.standby_at(at(9000), Lsn(950), None, silence, SPAN);
    assert_eq!(
        history.head(),
        Some(Lsn(950)),
        "a standby seldom tells its timeline"
    );
}

#[test]
fn what_happened_in_a_long_gap_is_not_told_by_a_straight_line() {
    let mut gap = history(&[(0, 100), (3600, 1_000_100)]);
    assert!(matches!(gap.behind(Lsn(500_000), at(3_600_000)), Lag::AtLeast { time, .. } if time.is_zero()));
    gap = history(&[(0, 100), (3600, 100)]);
    assert_eq!(
        gap.behind(Lsn(100), at(3_600_000)),
        behind(0, 0),
        "a rest is no gap"
    );
}

#[test]
fn the_ring_covers_its_span_and_is_bounded() {
    for step in [10, 100, 265, 266, 2000] {
        let mut history = WalHistory::default();
        for n in 0..50_000_u64 {
            // It rests now and then.
            let position = n - n % 3 % 2;
            history.primary_at(at(n * step), Lsn(position), Some(1), SPAN);
            assert!(history.positions.len() <= MOST_POSITIONS);
        }
        let now = at(49_999 * step);
        let oldest = history.positions[0].0;
        assert!(
            now.since(oldest) >= SPAN,
            "every {step} ms: {:?}",
            now.since(oldest)
        );
    }
}

#[test]
fn a_long_span_makes_short_lags_no_less_exact() {
    let week = Duration::from_hours(168);
    let mut history = WalHistory::default();
    // Uneven: in bursts of ten heartbeats.
    let position = |beat: u64| (beat / 10) * 1000 + (beat % 10) / 7 * 900;
    let beats = 200_000_u64;
    for beat in 0..=beats {
        history.primary_at(at(beat * 2000), Lsn(position(beat)), Some(1), week);
        assert!(history.positions.len() <= MOST_POSITIONS);
    }
    let now = at(beats * 2000);
    for behind in [1, 5, 15, 100, 1000, 10_000, 100_000] {
        let left = beats - behind;
        // The newest moment at which the head was there.
        let newest = (left..=beats)
            .take_while(|beat| position(*beat) == position(left))
            .last()
            .unwrap();
        let exact = Duration::from_secs((beats - newest) * 2);
        let Lag::Behind { time, .. } = history.behind(Lsn(position(left)), now) else {
            panic!("{behind} heartbeats behind");
        };
        assert!(
            time.abs_diff(exact) <= exact / APART + Duration::from_secs(2),
            "{time:?} for {exact:?}"
        );
    }
}

#[test]
fn out_of_order_nothing_is_taken_in() {
    let mut history = history(&[(0, 100), (10, 1000)]);
    history.primary_at(at(5000), Lsn(2000), Some(1), SPAN);
    assert_eq!(history.head(), Some(Lsn(1000)), "an older moment");
    history.standby_at(at(100_000), Lsn(900), Some(1), BEAT, SPAN * 10);
    assert_eq!(
        history.behind(Lsn(550), at(100_000)),
        behind(95_000, 450),
        "a lower position"
    );
    history.primary_at(at(10_000), Lsn(1500), Some(1), SPAN);
    assert_eq!(history.head(), Some(Lsn(1500)), "the same moment is in order");
}

#[test]
fn a_rest_ends_where_it_ends() {
    // 100 was reached at 10 s, not at any time before 30 s.
    let mut history = history(&[(0, 0), (10, 100), (30, 100)]);
    assert_eq!(history.behind(Lsn(50), at(30_000)), behind(25_000, 50));
    history.primary_at(at(32_000), Lsn(100), Some(1), SPAN);
    assert_eq!(history.positions.len(), 3, "its two ends, and what was before");
}

#[test]
fn what_is_older_than_the_span_is_left_out_and_nothing_else() {
    for step in [1, 2, 5] {
        let told: Vec<_> = (0..=100 / step).map(|n| (n * step, n * step)).collect();
        let history = history(&told);
        let end = 100 / step * step;
        // The newest of those beyond the span stays, for what lies between it and the next one.
        let oldest = (end - SPAN.as_secs() - 1) / step * step;
        assert_eq!(
            history.positions[0],
            (at(oldest * 1000), Lsn(oldest)),
            "every {step} s"
        );
        assert_eq!(
            history.behind(Lsn(oldest), at(end * 1000)),
            behind((end - oldest) * 1000, end - oldest)
        );
        let below = history.behind(Lsn(oldest - 1), at(end * 1000));
        assert!(matches!(below, Lag::AtLeast { .. }), "{below:?}");
    }
}

#[test]
fn a_gap_of_just_the_span_is_none() {
    let span = SPAN.as_secs();
    let history = history(&[(0, 100), (span, 200)]);
    assert_eq!(history.behind(Lsn(150), at(span * 1000)), behind(17_000, 50));
}

/// The head moves by leaps, after rests of any length: a straight line through one is as wrong as can be.
fn leaps(beat: u64) -> u64 {
    let bit = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
    (1..=20_u64)
        .map(|level| (beat >> level) * (1 << level) * bit(level + 3))
        .sum()
}

#[test]
fn while_there_is_room_every_position_counts() {
    let mut history = WalHistory::default();
    for beat in 0..400_u64 {
        history.primary_at(at(beat * 10), Lsn(beat * beat), Some(1), SPAN);
    }
    for beat in 1..400 {
        let exact = behind((399 - beat) * 10, 399 * 399 - beat * beat);
        assert_eq!(history.behind(Lsn(beat * beat), at(3990)), exact, "{beat}");
    }
}

#[test]
fn what_is_left_out_makes_a_lag_wrong_by_a_sixteenth_at_most() {
    let mut history = WalHistory::default();
    let (beats, span) = (100_000_u64, Duration::from_hours(72));
    for beat in 0..=beats {
        history.primary_at(at(beat * 2000), Lsn(leaps(beat)), Some(1), span);
    }
    let now = at(beats * 2000);
    for beat in (0..beats)
        .rev()
        .step_by(37)
        .filter(|beat| leaps(*beat) < leaps(*beat + 1))
    {
        let exact = now.since(at(beat * 2000));
        let Lag::Behind { time, .. } = history.behind(Lsn(leaps(beat)), now) else {
            panic!("at {beat}");
        };
        let bound = exact / APART + Duration::from_secs(2);
        assert!(time.abs_diff(exact) <= bound, "{time:?} for {exact:?}, at {beat}");
    }
}

#[test]
fn a_history_that_is_too_long_for_its_exactness_is_bounded_all_the_same() {
    // Ever closer to the newest one, so that none is told by its neighbours.
    let end = Moment::new(Duration::from_secs(u64::MAX / 16));
    let left = std::iter::successors(Some(end.since_start()), |left| Some(*left / 100 * 93));
    let moments = left.take(600).map(|left| end.since(Moment::new(left)));
    let mut history = WalHistory {
        positions: moments.map(Moment::new).zip((0..).map(Lsn)).collect(),
        ..WalHistory::default()
    };
    history.leave_out(APART);
    assert!(history.positions.len() > MOST_POSITIONS);
    let newest = history.positions.back().copied();
    history.thin();
    assert!(history.positions.len() <= MOST_POSITIONS && history.positions.len() > MOST_POSITIONS / 4);
    assert_eq!(history.positions.back().copied(), newest);
    history.leave_out(1);
    assert_eq!(history.positions.len(), 2);
}

/// A standby that is told of its position every heartbeat.
struct Standby {
    history: WalHistory,
    replay: Replay,
    settings: LagSettings,
    second: u64,
}

impl Standby {
    fn new(settings: LagSettings) -> Self {
        Self {
            history: WalHistory::default(),
            replay: Replay::default(),
            settings,
            second: 0,
        }
    }

    /// A heartbeat later: the primary is at `head`, it replayed up to `position`.
    fn beat(&mut self, head: u64, position: u64) -> Freshness {
        self.second += 2;
        let now = at(self.second * 1000);
        self.history.primary_at(now, Lsn(head), Some(1), SPAN);
        self.tell(Some(position), None)
    }

    /// It tells its position before the primary does.
    fn tells_before_the_primary(&mut self) {
        self.tell(Some(1000), None);
        self.history.primary_at(at(1), Lsn(1000), Some(1), SPAN);
        self.replay.reconsider(&self.history, &self.settings, BEAT);
    }

    fn tell(&mut self, position: Option<u64>, queried: Option<Duration>) -> Freshness {
        let now = at(self.second * 1000);
        let told = ReplayReport {
            moment: now,
            position: position.map(Lsn),
            queried,
        };
        self.replay.observe(told, &self.history, &self.settings, BEAT);
        self.replay.freshness
    }
}

#[test]
fn a_standby_begins_unknown_and_is_fresh_with_its_first_figure() {
    let mut standby = Standby::new(settings());
    assert_eq!(standby.replay.freshness, Freshness::Unknown);
    assert_eq!(standby.tell(None, None), Freshness::Unknown);
    assert_eq!(
        standby.tell(Some(5), None),
        Freshness::Unknown,
        "nothing to compare with"
    );
    assert_eq!(standby.beat(1000, 1000), Freshness::Fresh);
}

#[test]
fn what_was_unknown_is_known_when_the_primary_tells() {
    let mut standby = Standby::new(settings());
    standby.tells_before_the_primary();
    assert_eq!(standby.replay.freshness, Freshness::Fresh);
}

#[test]
fn what_is_known_at_last_is_known_for_the_bound() {
    let mut standby = Standby::new(settings());
    standby.tells_before_the_primary();
    standby.second = 20;
    assert_eq!(
        standby.tell(None, None),
        Freshness::Fresh,
        "it tells nothing any more"
    );
    standby.second = 40;
    standby.history.primary_at(at(40_000), Lsn(1000), Some(1), SPAN);
    assert_eq!(standby.tell(None, None), Freshness::Unknown);
}

#[test]
fn while_the_primary_is_silent_what_was_found_before_a_restart_stands() {
    for (replay, found) in [
        (Replay::fresh_since(at(0)), Freshness::Fresh),
        (Replay::lagging_since(at(0)), Freshness::Lagging),
    ] {
        let mut standby = Standby::new(settings());
        standby.replay = replay;
        for second in [2, 20, 40, 4000] {
            standby.second = second;
            assert_eq!(standby.tell(Some(1000), None), found, "after {second} s");
        }
    }
}

#[test]
fn other_bounds_are_applied_to_the_newest_figure_at_once() {
    let within = |max: u64| LagSettings {
        max: Duration::from_secs(max),
        recover: Duration::from_secs(max / 2),
        ..settings()
    };
    let mut standby = Standby::new(within(10));
    for head in (1000..=1800).step_by(100) {
        standby.beat(head, 1000);
    }
    assert_eq!(standby.replay.lag, Some(behind(16_000, 800)));
    assert_eq!(standby.replay.freshness, Freshness::Stalled, "past 10 s");
    let by = |max| standby.replay.by(&within(max));
    assert_eq!(by(40).freshness, Freshness::Fresh, "below the recovery");
    assert_eq!(
        by(20).freshness,
        Freshness::Fresh,
        "it was never out by this bound"
    );
    assert_eq!(by(8).freshness, Freshness::Lagging);
}

#[test]
fn an_earlier_verdict_delays_none_by_other_bounds() {
    let within = |max: u64| LagSettings {
        max: Duration::from_secs(max),
        recover: Duration::from_secs(1),
        ..settings()
    };
    let mut standby = Standby::new(within(10));
    for head in (1000..=1600).step_by(100) {
        standby.beat(head, 1000);
    }
    assert_eq!(standby.replay.lag, Some(behind(12_000, 600)));
    assert_eq!(standby.replay.freshness, Freshness::Stalled, "just now");
    standby.settings = within(13);
    standby.replay = standby.replay.by(&standby.settings);
    assert_eq!(standby.replay.freshness, Freshness::Fresh);
    assert_eq!(
        standby.beat(1700, 1000),
        Freshness::Stalled,
        "14 s, a heartbeat later"
    );
}

#[test]
fn a_verdict_may_turn_after_just_three_heartbeats() {
    let mut standby = Standby::new(LagSettings {
        max: Duration::from_secs(3),
        recover: Duration::from_secs(1),
        ..settings()
    });
    let seen: Vec<_> = (1000..=1300)
        .step_by(100)
        .map(|head| standby.beat(head, 1000))
        .collect();
    assert_eq!(standby.replay.lag, Some(behind(6000, 300)));
    let fresh = Freshness::Fresh;
    assert_eq!(
        seen,
        [fresh, fresh, fresh, Freshness::Stalled],
        "past 3 s before that"
    );
}

#[test]
fn who_tells_nothing_after_a_restart_is_as_it_was_for_the_bound() {
    let mut standby = Standby::new(settings());
    standby.replay = Replay::fresh_since(at(0));
    for (second, expected) in [
        (8, Freshness::Fresh),
        (30, Freshness::Fresh),
        (38, Freshness::Unknown),
    ] {
        standby.second = second;
        standby
            .history
            .primary_at(at(second * 1000), Lsn(1000), Some(1), SPAN);
        assert_eq!(standby.tell(None, None), expected, "after {second} s");
    }
}

#[test]
fn where_a_query_tells_the_lag_positions_say_nothing_of_it() {
    let mut standby = Standby::new(LagSettings {
        source: LagSource::Query("SELECT 1".into()),
        ..settings()
    });
    standby.tells_before_the_primary();
    assert_eq!(standby.replay.freshness, Freshness::Unknown);
    for _ in 0..10 {
        standby.beat(1000, 1000);
        standby.tell(Some(1000), Some(Duration::from_secs(40)));
    }
    assert_eq!(
        standby.replay.freshness,
        Freshness::Lagging,
        "it replayed all there is"
    );
}

#[test]
fn without_a_figure_other_bounds_keep_what_is_fresh_alone() {
    let by = |replay: Replay| replay.by(&settings()).freshness;
    assert_eq!(by(Replay::fresh_since(at(0))), Freshness::Fresh);
    assert_eq!(by(Replay::lagging_since(at(0))), Freshness::Unknown);
    assert_eq!(by(Replay::default()), Freshness::Unknown);
}

#[test]
fn a_bound_below_four_heartbeats_makes_nobody_silent_who_tells_in_time() {
    let mut standby = Standby::new(LagSettings {
        max: Duration::from_secs(1),
        recover: Duration::from_millis(500),
        ..settings()
    });
    assert_eq!(standby.beat(1000, 1000), Freshness::Fresh);
    assert_eq!(standby.beat(1100, 1100), Freshness::Fresh);
    standby.second += 1;
    standby
        .history
        .primary_at(at(standby.second * 1000), Lsn(1200), Some(1), SPAN);
    standby.second += 7;
    assert_eq!(
        standby.tell(Some(1100), None),
        Freshness::Stalled,
        "the primary told 7 s ago"
    );
}

#[test]
fn at_least_is_not_fresh_and_past_the_bound_it_lags() {
    let mut standby = Standby::new(settings());
    let mut verdicts = Vec::new();
    for beat in 0..18 {
        verdicts.push(standby.beat(1000 + beat * 10, 500 + beat));
    }
    assert!(
        verdicts[..16]
            .iter()
            .all(|verdict| *verdict == Freshness::Unknown),
        "{verdicts:?}"
    );
    assert_eq!(verdicts[17], Freshness::Lagging);
}

/// It lags by 2 s more each heartbeat, then by 2 s less.
#[test]
fn it_is_out_past_max_and_back_at_recover() {
    let mut standby = Standby::new(settings());
    standby.beat(0, 0);
    let mut head = 0;
    let mut out_at = None;
    for beat in 1..=20 {
        head += 2000;
        if standby.beat(head, 1) != Freshness::Fresh {
            out_at = Some(beat * 2);
            break;
        }
    }
    assert!(matches!(out_at, Some(30..=34)), "{out_at:?}");
    let mut back = None;
    for lag in (0..=30).rev() {
        head += 2000;
        if standby.beat(head, head - lag * 1000) == Freshness::Fresh {
            back = Some(lag);
            break;
        }
    }
    assert_eq!(back, Some(15));
}

#[test]
fn bytes_have_a_bound_of_their_own() {
    let settings = LagSettings {
        max_bytes: Some(1000),
        ..settings()
    };
    assert_eq!(
        settings.recover_bytes(),
        Some(500),
        "the share that recover is of max"
    );
    let mut standby = Standby::new(settings);
    for beat in 1..5 {
        assert_eq!(standby.beat(beat * 1000, beat * 1000), Freshness::Fresh);
    }
    assert_eq!(standby.beat(10_000, 9000), Freshness::Fresh);
    assert_eq!(standby.beat(10_001, 9000), Freshness::Lagging);
    for _ in 0..5 {
        assert_ne!(standby.beat(10_001, 9500), Freshness::Fresh, "501 bytes");
    }
    assert_eq!(standby.beat(10_001, 9501), Freshness::Fresh);
}

#[test]
fn zero_is_a_bound_and_not_set_is_none() {
    let zero = LagSettings {
        max: Duration::ZERO,
        recover: Duration::ZERO,
        max_bytes: Some(0),
        ..settings()
    };
    assert_eq!(zero.recover_bytes(), Some(0));
    let mut standby = Standby::new(zero);
    for beat in 1..6 {
        assert_eq!(
            standby.beat(beat * 10, beat * 10),
            Freshness::Fresh,
            "at the head it is fresh"
        );
    }
    assert_eq!(standby.beat(100, 99), Freshness::Lagging);
    assert_eq!(settings().recover_bytes(), None);
}

#[test]
fn verdicts_are_at_least_three_heartbeats_apart() {
    let settings = LagSettings {
        max_bytes: Some(100),
        ..settings()
    };
    let mut standby = Standby::new(settings);
    let mut flips = Vec::new();
    let mut before = Freshness::Unknown;
    for beat in 0..100_u64 {
        let head = 1_000_000 + beat;
        let position = if beat % 2 == 0 { head } else { head - 1000 };
        let verdict = standby.beat(head, position);
        if verdict != before {
            flips.push(beat);
            before = verdict;
        }
    }
    assert!(flips.len() > 5, "{flips:?}");
    assert!(flips.windows(2).all(|pair| pair[1] - pair[0] >= 3), "{flips:?}");
}

#[test]
fn replay_that_stands_still_while_the_head_moves_is_stalled() {
    let mut standby = Standby::new(settings());
    standby.beat(1000, 1000);
    let verdicts: Vec<_> = (1..30).map(|beat| standby.beat(1000 + beat, 1000)).collect();
    assert_eq!(verdicts.last(), Some(&Freshness::Stalled));
    assert!(!verdicts.contains(&Freshness::Lagging), "{verdicts:?}");
    assert_eq!(
        standby.beat(1030, 1001),
        Freshness::Lagging,
        "it moves, far behind"
    );
}

#[test]
fn while_the_primary_is_silent_what_was_found_stands() {
    let mut standby = Standby::new(settings());
    standby.beat(1000, 1000);
    for _ in 0..1000 {
        standby.second += 2;
        standby.history.standby_at(
            at(standby.second * 1000),
            Lsn(standby.second * 1000),
            None,
            BEAT * 4,
            SPAN,
        );
        let verdict = standby.tell(Some(1000), None);
        // Within `max` after it told last another standby is a measure, and this one is not past it yet.
        assert_eq!(verdict, Freshness::Fresh, "at {} s", standby.second);
    }
}

#[test]
fn without_a_figure_the_verdict_stands_for_max_and_is_then_unknown() {
    let mut standby = Standby::new(settings());
    standby.beat(1000, 1000);
    // It is known to be fresh for long; when the verdict changed last does not matter.
    for _ in 0..100 {
        standby.beat(1000, 1000);
    }
    let known = standby.second;
    for _ in 0..15 {
        standby.second += 2;
        standby
            .history
            .primary_at(at(standby.second * 1000), Lsn(1000), Some(1), SPAN);
        assert_eq!(
            standby.tell(None, None),
            Freshness::Fresh,
            "{} s later",
            standby.second - known
        );
    }
    standby.second += 2;
    standby
        .history
        .primary_at(at(standby.second * 1000), Lsn(1000), Some(1), SPAN);
    assert_eq!(standby.tell(None, None), Freshness::Unknown);
}

#[test]
fn a_query_tells_seconds_and_needs_no_position() {
    let query = LagSettings {
        source: LagSource::Query("SELECT 0".into()),
        ..settings()
    };
    let mut standby = Standby::new(query);
    let mut tell = |seconds| {
        standby.second += 10;
        standby.tell(None, Some(Duration::from_secs(seconds)))
    };
    assert_eq!(tell(30), Freshness::Fresh);
    assert_eq!(tell(31), Freshness::Lagging);
    assert_eq!(tell(16), Freshness::Lagging);
    assert_eq!(tell(15), Freshness::Fresh);
}

#[test]
fn without_a_source_everybody_is_fresh() {
    let none = LagSettings {
        source: LagSource::None,
        ..settings()
    };
    let mut standby = Standby::new(none);
    assert_eq!(standby.tell(None, None), Freshness::Fresh);
    assert_eq!(standby.replay.lag, None);
}
