use super::*;
use crate::render::Kind;

const SECOND: Duration = Duration::from_secs(1);

/// One object that two operators write, and the clock.
struct Bench {
    rival: Rival,
    by: Installation,
    now: Moment,
    version: u64,
}

impl Bench {
    fn new() -> Self {
        let by = Installation {
            lease: Some("shop/one".to_owned()),
            ..Installation::default()
        };
        Self {
            rival: Rival::default(),
            by,
            now: Moment::new(1000 * SECOND),
            version: 1,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.rival.pass(self.now, &self.by);
    }

    fn writes(&mut self) {
        self.version += 1;
        let version = Version::new(self.version.to_string());
        let made = Some(Made::of(&self.seen(true, 1)));
        self.rival.wrote(Some(id()), version, made, self.now, &self.by);
    }

    fn seen(&self, by_operator: bool, digest: u8) -> ObservedObject<()> {
        ObservedObject {
            namespace: "shop".to_owned(),
            id: id(),
            uid: String::new(),
            version: Version::new(self.version.to_string()),
            policy: None,
            owned: true,
            lost_by: None,
            digest: Digest([digest; 32]),
            fixed: false,
            by_operator,
            slice: None,
            body: (),
        }
    }

    fn is_undone(&mut self) -> bool {
        self.version += 1;
        let seen = self.seen(true, 2);
        self.rival.meets(&seen, self.now, &self.by)
    }

    /// It writes, and is undone a second later, so often.
    fn fights(&mut self, times: usize) {
        for _ in 0..times {
            self.writes();
            self.pass(SECOND);
            assert!(self.is_undone());
        }
    }
}

fn id() -> ObjectId {
    ObjectId {
        kind: Kind::EndpointSlice,
        name: "orders-ro".to_owned(),
    }
}

#[test]
fn it_pauses_when_it_is_undone_for_the_third_time() {
    let mut bench = Bench::new();
    bench.fights(2);
    assert!(!bench.rival.pauses());
    bench.fights(1);
    assert!(bench.rival.pauses());
    assert_eq!(bench.rival.leases(&bench.by), Some(vec!["shop/one".to_owned()]));
    bench.rival.is_of("shop/two");
    assert_eq!(bench.rival.leases(&bench.by).unwrap().len(), 2);
}

#[test]
fn three_times_within_a_lease_duration_or_never() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        bench.fights(1);
        bench.pass(8 * SECOND);
    }
    assert!(!bench.rival.pauses());
}

#[test]
fn pauses_double_while_the_fight_goes_on_and_begin_anew_after_it() {
    let mut bench = Bench::new();
    bench.fights(3);
    for seconds in [30, 60, 120, 240, 480, 600, 600] {
        let most = seconds * SECOND;
        let until = bench.rival.until().unwrap();
        let pause = until.since(bench.now);
        assert!(pause <= most && pause >= most * 3 / 4, "{pause:?} of {most:?}");
        bench.pass(pause);
        assert!(!bench.rival.pauses(), "it tries");
        bench.fights(1);
        assert!(bench.rival.pauses());
    }
    bench.pass(600 * SECOND);
    bench.writes();
    bench.pass(15 * SECOND);
    assert_eq!(bench.rival.leases(&bench.by), None, "nobody undid it");
    bench.fights(3);
    assert!(bench.rival.until().unwrap().since(bench.now) <= 30 * SECOND);
}

#[test]
fn echoes_edits_of_people_and_what_was_there_before_do_not_count() {
    let mut bench = Bench::new();
    assert!(!bench.is_undone(), "it wrote nothing");
    bench.writes();
    let echo = bench.seen(true, 1);
    assert!(!bench.rival.meets(&echo, bench.now, &bench.by));
    let before = bench.seen(true, 2);
    assert!(
        !bench.rival.meets(&before, bench.now, &bench.by),
        "of no newer version"
    );
    bench.version += 1;
    let edited = bench.seen(false, 2);
    assert!(!bench.rival.meets(&edited, bench.now, &bench.by));
    let relabelled = bench.seen(true, 1);
    assert!(
        !bench.rival.meets(&relabelled, bench.now, &bench.by),
        "of the same content"
    );
    assert!(bench.is_undone());
    bench.version -= 1;
    assert!(!bench.is_undone(), "once for each version");
}

#[test]
fn a_write_without_an_answer_is_none_that_can_be_undone() {
    let mut bench = Bench::new();
    bench.writes();
    bench.rival.forget(Some(&id()));
    assert!(!bench.is_undone());
}

#[test]
fn who_hears_that_another_one_pauses_prevails_until_that_one_is_silent() {
    let mut bench = Bench::new();
    for (version, seconds) in [(2, 60), (3, 120), (4, 240)] {
        let version = Version::new(version.to_string());
        bench.rival.hears(&version, bench.now, &bench.by);
        bench.rival.hears(&version, bench.now, &bench.by);
        let length = bench.rival.until().unwrap().since(bench.now);
        assert_eq!(length, seconds * SECOND);
        assert!(!bench.rival.pauses() && bench.rival.leases(&bench.by).is_some());
        bench.pass(seconds * SECOND / 2);
    }
    // It tries again: one undone write is a sign as well, however many objects it undoes.
    bench.fights(1);
    let length = bench.rival.until().unwrap().since(bench.now);
    assert_eq!(length, 480 * SECOND);
    bench.fights(1);
    assert_eq!(bench.rival.until().unwrap().since(bench.now), length);
    bench.pass(length);
    assert_eq!(bench.rival.leases(&bench.by), None);
}

#[test]
fn who_prevails_takes_what_is_undone_after_a_long_rest_for_a_sign() {
    let mut bench = Bench::new();
    bench.writes();
    bench.rival.hears(&Version::new("9"), bench.now, &bench.by);
    bench.pass(50 * SECOND);
    bench
        .rival
        .wrote(None, Version::new("1"), None, bench.now, &bench.by);
    bench.version = 10;
    assert!(bench.is_undone());
    assert_eq!(bench.rival.until().unwrap().since(bench.now), 120 * SECOND);
    assert!(!bench.rival.pauses());
}

#[test]
fn who_begins_to_lead_in_a_fight_pauses_at_the_first_sign_of_it() {
    let mut bench = Bench::new();
    assert!(bench.rival.begins(true, bench.now, &bench.by));
    assert!(!bench.rival.begins(true, bench.now, &bench.by), "once");
    assert!(!bench.rival.pauses() && bench.rival.leases(&bench.by).is_some());
    bench.fights(1);
    assert!(bench.rival.pauses());
    let pause = bench.rival.until().unwrap().since(bench.now);
    assert!(pause > 40 * SECOND && pause <= 60 * SECOND, "{pause:?}");

    let mut bench = Bench::new();
    bench.rival.begins(true, bench.now, &bench.by);
    bench.pass(15 * SECOND);
    assert_eq!(bench.rival.leases(&bench.by), None, "nobody undid anything");
    bench.fights(2);
    assert!(!bench.rival.pauses());

    let mut bench = Bench::new();
    assert!(!bench.rival.begins(false, bench.now, &bench.by));
    assert_eq!(bench.rival.leases(&bench.by), None);
}

#[test]
fn who_takes_the_owner_of_an_object_away_is_no_operator() {
    let mut bench = Bench::new();
    bench.writes();
    bench.version += 1;
    let orphan = ObservedObject {
        owned: false,
        ..bench.seen(true, 2)
    };
    assert!(!bench.rival.meets(&orphan, bench.now, &bench.by));
}

#[test]
fn a_status_that_says_that_they_fight_is_told_once_and_then_counts() {
    let mut bench = Bench::new();
    let mut meets = |fights: bool, at: u64| {
        let (wrote, seen) = (Version::new(at.to_string()), Version::new((at + 1).to_string()));
        bench.rival.wrote(None, wrote, None, bench.now, &bench.by);
        if fights {
            bench.rival.hears(&seen, bench.now, &bench.by);
        }
        bench.rival.meets_status(&seen, fights, bench.now, &bench.by)
    };
    assert!(!meets(true, 2));
    assert!(meets(false, 4));
    assert!(meets(true, 6));
}

#[test]
fn while_it_pauses_each_object_moves_the_writes_once_in_five_seconds() {
    let mut bench = Bench::new();
    bench.rival.moves(&id(), bench.now);
    assert_eq!(bench.rival.waits([&id()], bench.now), None, "it does not pause");
    bench.fights(3);
    bench.rival.moves(&id(), bench.now);
    let next = bench.now + 5 * SECOND;
    assert_eq!(bench.rival.waits([&id()], bench.now), Some(next));
    let other = ObjectId {
        name: "orders-rw-ipv6-5432".to_owned(),
        ..id()
    };
    assert_eq!(
        bench.rival.waits([&other], bench.now),
        None,
        "one move is several objects"
    );
    bench.pass(5 * SECOND);
    assert_eq!(bench.rival.waits([&id()], bench.now), None);
}

#[test]
fn it_rests_once_the_status_says_why() {
    let mut bench = Bench::new();
    bench.rival.told();
    bench.fights(3);
    assert!(bench.rival.pauses() && !bench.rival.rests());
    bench.rival.told();
    assert!(bench.rival.rests());
}
