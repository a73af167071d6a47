use super::*;
use crate::fixture::at;

/// Answers at these moments, in milliseconds; both ask and answer within one.
#[derive(Default)]
struct Pair {
    following: Following,
    branch: Option<Branch>,
    timeline: Option<u32>,
    started: Option<i64>,
}

impl Pair {
    fn standby(&mut self, millis: u64, replayed: u64) -> FollowingState {
        self.tells(StandbyReport {
            replayed: Some(Lsn(replayed)),
            ..report(millis)
        })
    }

    fn tells(&mut self, report: StandbyReport) -> FollowingState {
        self.following.standby(report, self.started, self.branch);
        self.following.state()
    }

    fn primary(&mut self, millis: u64, position: u64) -> FollowingState {
        self.primary_tells(millis, Some(position))
    }

    fn primary_tells(&mut self, millis: u64, position: Option<u64>) -> FollowingState {
        let report = WritableReport {
            asked: at(millis),
            came: at(millis + 1),
            position: position.map(Lsn),
            timeline: self.timeline,
        };
        self.following.primary(report, self.branch);
        self.following.state()
    }
}

fn report(millis: u64) -> StandbyReport {
    StandbyReport {
        asked: at(millis),
        came: at(millis + 1),
        replayed: None,
        receives: None,
        checkpoint: None,
    }
}

const PRESUMED: FollowingState = FollowingState::Presumed;
const REQUIRED: FollowingState = FollowingState::Required;
const FOLLOWS: FollowingState = FollowingState::Follows;
const DIVERGED: FollowingState = FollowingState::Diverged;

#[test]
fn who_replayed_past_a_primary_that_is_asked_later_has_log_that_the_primary_lacks() {
    let mut pair = Pair::default();
    assert_eq!(pair.standby(0, 100), PRESUMED);
    assert_eq!(pair.primary(10, 99), DIVERGED);
}

#[test]
fn who_is_ahead_of_a_primary_that_was_asked_before_proves_nothing() {
    let mut pair = Pair::default();
    pair.primary(0, 50);
    assert_eq!(pair.standby(10, 100), PRESUMED);
    let mut under_way = Pair::default();
    under_way.standby(10, 100);
    assert_eq!(under_way.primary(11, 50), PRESUMED, "asked when the answer came");
    assert_eq!(under_way.primary(12, 100), PRESUMED, "at the same position");
}

#[test]
fn a_position_is_reached_by_an_answer_that_was_asked_for_after_it_was_told() {
    for (asked, expected) in [(501, PRESUMED), (502, FOLLOWS)] {
        let mut pair = Pair::default();
        pair.standby(0, 100);
        pair.primary(500, 100);
        // The first of the two that are to be reached was told at 501.
        pair.standby(asked, 100);
        pair.primary(1000, 100);
        pair.standby(1500, 100);
        assert_eq!(pair.primary(2000, 100), expected, "asked at {asked}");
    }
}

#[test]
fn the_second_position_is_one_that_was_asked_for_after_the_first_was_reached() {
    for (asked, expected) in [(600, PRESUMED), (601, PRESUMED), (602, FOLLOWS)] {
        let mut pair = Pair::default();
        pair.standby(0, 50);
        pair.primary(100, 100);
        pair.standby(300, 90);
        // The answer that shows the first came at 601.
        pair.standby(600, 100);
        pair.primary(asked, 110);
        pair.standby(700, 110);
        assert_eq!(pair.primary(800, 110), expected, "asked at {asked}");
    }
}

/// What it had reached counts although a newer answer, which is not compared yet, has taken the place of that one.
#[test]
fn a_position_that_was_reached_is_compared_with_a_primary_that_is_asked_later() {
    for (asked, expected) in [(600, PRESUMED), (601, PRESUMED), (602, DIVERGED)] {
        let mut pair = Pair::default();
        pair.standby(0, 50);
        pair.primary(100, 100);
        pair.standby(300, 90);
        // The answer that shows it there came at 601.
        pair.standby(600, 100);
        pair.standby(650, 100);
        assert_eq!(pair.primary(asked, 95), expected, "asked at {asked}");
    }
}

/// Two sessions that are asked in step: the newest answer of the standby always comes after the primary was asked.
#[test]
fn sessions_in_step_are_compared_all_the_same() {
    let mut pair = Pair::default();
    pair.standby(0, 100);
    pair.standby(500, 100);
    assert_eq!(pair.primary(500, 99), DIVERGED);
    let mut later = Pair::default();
    later.standby(0, 100);
    later.standby(500, 120);
    later.primary(500, 110);
    later.standby(1000, 120);
    assert_eq!(later.primary(1000, 115), DIVERGED, "by the second answer");
}

#[test]
fn being_overtaken_clears_nothing_and_following_does() {
    let mut pair = Pair::default();
    pair.standby(0, 100);
    assert_eq!(pair.primary(10, 50), DIVERGED);
    for round in 1..20 {
        pair.standby(round * 1000, 100);
        assert_eq!(pair.primary(round * 1000 + 500, 100 + round * 10), DIVERGED);
    }
    let mut seen = Vec::new();
    for round in 20..24 {
        seen.push(pair.standby(round * 1000, 100 + round * 10));
        seen.push(pair.primary(round * 1000 + 500, 110 + round * 10));
    }
    let expected = [DIVERGED; 3].into_iter().chain([FOLLOWS; 5]).collect::<Vec<_>>();
    assert_eq!(seen, expected);
}

#[test]
fn two_positions_that_the_primary_told_are_to_be_reached_one_after_the_other() {
    let mut pair = Pair::default();
    pair.primary(0, 100);
    pair.standby(1000, 100);
    assert_eq!(pair.primary(2000, 110), PRESUMED, "the first to be reached");
    assert_eq!(pair.standby(3000, 109), PRESUMED);
    assert_eq!(pair.primary(4000, 150), PRESUMED, "it is the first still");
    pair.standby(5000, 110);
    assert_eq!(pair.primary(6000, 160), PRESUMED, "the second one");
    pair.standby(7000, 160);
    assert_eq!(pair.primary(8000, 160), FOLLOWS);
}

#[test]
fn on_an_idle_primary_three_rounds_prove_it() {
    let mut pair = Pair::default();
    let mut seen = Vec::new();
    for round in 0..3 {
        pair.standby(round * 1000, 100);
        seen.push(pair.primary(round * 1000 + 500, 100));
    }
    assert_eq!(seen, [PRESUMED, PRESUMED, FOLLOWS]);
}

#[test]
fn a_primary_that_went_back_under_the_last_position_proves_the_opposite() {
    let mut pair = Pair::default();
    for round in 0..2 {
        pair.standby(round * 1000, 100);
        pair.primary(round * 1000 + 500, 100);
    }
    pair.standby(2000, 100);
    // The newest answer of the standby comes after the primary was asked.
    pair.standby(2500, 100);
    pair.standby(3500, 100);
    assert_eq!(pair.primary(3500, 99), DIVERGED);
}

#[test]
fn its_receiver_tells_whom_it_follows_if_no_position_says_otherwise() {
    let mut pair = Pair {
        timeline: Some(2),
        ..Pair::default()
    };
    let receives = |millis, timeline, replayed| StandbyReport {
        receives: Some(timeline),
        replayed: Some(Lsn(replayed)),
        ..report(millis)
    };
    pair.tells(receives(0, 1, 50));
    assert_eq!(pair.primary(100, 100), PRESUMED, "merely behind");
    pair.tells(receives(1000, 2, 50));
    assert_eq!(pair.primary(1100, 100), FOLLOWS);
    pair.tells(receives(2000, 2, 200));
    assert_eq!(pair.primary(2100, 150), DIVERGED);
    pair.tells(receives(3000, 2, 200));
    assert_eq!(
        pair.primary(3100, 250),
        DIVERGED,
        "on one timeline they went apart before"
    );
}

#[test]
fn who_is_on_a_newer_timeline_than_a_primary_that_is_asked_later_follows_somebody_else() {
    for told in [
        StandbyReport {
            receives: Some(3),
            ..report(0)
        },
        StandbyReport {
            receives: Some(2),
            checkpoint: Some(3),
            ..report(0)
        },
    ] {
        let mut pair = Pair {
            timeline: Some(2),
            ..Pair::default()
        };
        assert_eq!(pair.tells(told), PRESUMED);
        assert_eq!(pair.primary(100, 100), DIVERGED, "{told:?}");
    }
}

#[test]
fn who_went_on_with_the_older_timeline_past_the_beginning_of_the_newer_one_has_diverged() {
    let mut pair = Pair {
        timeline: Some(2),
        branch: Some(Branch {
            timeline: 2,
            first_seen: Lsn(100),
        }),
        ..Pair::default()
    };
    let on = |millis, receives, replayed| StandbyReport {
        receives,
        checkpoint: Some(1),
        replayed: Some(Lsn(replayed)),
        ..report(millis)
    };
    assert_eq!(pair.tells(on(0, Some(1), 100)), PRESUMED, "merely behind");
    assert_eq!(
        pair.tells(on(1000, None, 101)),
        PRESUMED,
        "a checkpoint may be an old one"
    );
    assert_eq!(
        pair.tells(on(1500, Some(2), 101)),
        PRESUMED,
        "on the newer one itself"
    );
    assert_eq!(pair.tells(on(2000, Some(1), 101)), DIVERGED);
}

#[test]
fn without_positions_the_receiver_is_all_that_tells() {
    let told = |millis| StandbyReport {
        receives: Some(2),
        ..report(millis)
    };
    for position in [None, Some(100)] {
        let mut pair = Pair {
            following: Following::recalled(DIVERGED),
            timeline: Some(2),
            ..Pair::default()
        };
        pair.tells(told(0));
        assert_eq!(pair.primary_tells(100, position), FOLLOWS);
    }
}

#[test]
fn the_proof_is_of_one_write_primary() {
    let mut pair = Pair {
        following: Following::recalled(FOLLOWS),
        ..Pair::default()
    };
    pair.standby(0, 100);
    pair.following.begin_anew();
    assert_eq!(pair.following.state(), PRESUMED);
    assert_eq!(
        pair.primary(10, 50),
        PRESUMED,
        "what was told before is not compared"
    );
    let mut diverged = Following::recalled(DIVERGED);
    diverged.begin_anew();
    assert_eq!(diverged.state(), REQUIRED);
}

#[test]
fn who_took_writes_has_to_prove_and_its_receiver_is_enough() {
    let mut pair = Pair {
        timeline: Some(2),
        ..Pair::default()
    };
    pair.following.takes_writes();
    assert_eq!(pair.standby(0, 50), REQUIRED);
    assert_eq!(
        pair.primary(100, 100),
        REQUIRED,
        "below the primary, which shows nothing"
    );
    pair.following.begin_anew();
    assert_eq!(pair.standby(200, 50), REQUIRED);
    let receives = StandbyReport {
        receives: Some(2),
        replayed: Some(Lsn(50)),
        ..report(1000)
    };
    assert_eq!(pair.tells(receives), REQUIRED);
    assert_eq!(pair.primary(1100, 100), FOLLOWS);
}

#[test]
fn after_a_change_who_told_the_same_start_before_it_needs_no_proof() {
    let told_before = || {
        let mut pair = Pair {
            started: Some(1),
            ..Pair::default()
        };
        pair.standby(0, 50);
        pair.following.begin_anew();
        pair
    };
    assert_eq!(told_before().standby(1000, 50), PRESUMED);
    let mut restarted = told_before();
    restarted.started = Some(2);
    assert_eq!(restarted.standby(1000, 50), REQUIRED);
    let mut new = Pair {
        following: Following::watched(true),
        ..Pair::default()
    };
    assert_eq!(new.standby(1000, 50), REQUIRED);
    let mut unseen = Pair::default();
    unseen.following.begin_anew();
    assert_eq!(unseen.standby(1000, 50), REQUIRED);
}

#[test]
fn a_proof_outlives_restarts_of_the_standby() {
    let mut pair = Pair {
        started: Some(1),
        following: Following::watched(true),
        ..Pair::default()
    };
    for round in 0..3 {
        pair.standby(round * 1000, 100);
        pair.primary(round * 1000 + 500, 100);
    }
    pair.started = Some(2);
    assert_eq!(pair.standby(4000, 50), FOLLOWS);
}

#[test]
fn where_one_of_the_two_tells_no_positions_nothing_has_to_be_proven() {
    let required = || Pair {
        following: Following::watched(true),
        ..Pair::default()
    };
    assert_eq!(required().tells(report(0)), PRESUMED);
    let mut pair = required();
    pair.standby(0, 50);
    assert_eq!(pair.primary_tells(100, None), PRESUMED);
    assert_eq!(pair.primary_tells(200, Some(100)), REQUIRED, "until it tells");
}
