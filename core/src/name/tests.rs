use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| address(text)).collect()
}

const OLD: &str = "198.18.0.1";
const NEW: &str = "198.18.0.2";

/// What a name led to: at each second an answer with these addresses, none: a failed lookup.
struct Story {
    name: KnownName,
    now: u64,
}

impl Story {
    fn new(answers: &[&[&str]]) -> Self {
        let mut story = Self {
            name: KnownName::default(),
            now: 0,
        };
        story.goes_on(answers);
        story
    }

    fn goes_on(&mut self, answers: &[&[&str]]) {
        for answer in answers {
            self.now += 1;
            self.name.answer(&addresses(answer), SECOND, at(self.now));
        }
    }

    /// The same answer again and again.
    fn says(&mut self, answer: &[&str], times: usize) {
        self.goes_on(&vec![answer; times]);
    }

    /// The addresses for who uses this one.
    fn found(&self, keep: &str) -> Vec<IpAddr> {
        self.name.addresses(Some(address(keep)), at(self.now)).unwrap()
    }

    fn left(&self, text: &str) -> bool {
        self.name.has_left(address(text), at(self.now))
    }

    fn rotates(&self) -> bool {
        self.name.rotates(at(self.now))
    }
}

#[test]
fn an_address_leaves_after_two_answers_without_it() {
    let mut story = Story::new(&[&[OLD], &[NEW]]);
    assert!(!story.left(OLD));
    assert_eq!(story.found(OLD), addresses(&[OLD, NEW]));
    assert_eq!(story.found(NEW), addresses(&[NEW]), "who uses another one");
    story.goes_on(&[&[NEW]]);
    assert!(story.left(OLD));
    assert_eq!(story.found(OLD), addresses(&[NEW]));
}

#[test]
fn an_address_that_one_answer_lacked_begins_anew() {
    let story = Story::new(&[&[OLD], &[NEW], &[OLD], &[NEW]]);
    assert!(!story.left(OLD) && !story.rotates());
}

#[test]
fn failed_lookups_keep_what_was_known_for_its_time() {
    let mut story = Story::new(&[&[OLD], &[], &[NEW], &[], &[]]);
    assert!(!story.left(OLD), "one answer lacks it");
    assert_eq!(story.found(OLD), addresses(&[OLD, NEW]));
    story.name.fail(FailureKind::ResolverFailed, at(60));
    story.now = 61;
    assert_eq!(story.found(OLD), addresses(&[NEW]), "a minute after its answer");
    story.now = 63;
    let none = story.name.addresses(Some(address(OLD)), at(63));
    assert_eq!(none, Err(FailureKind::ResolverFailed));
    assert!(!story.left(OLD), "failures alone prove nothing");
}

#[test]
fn an_answer_says_nothing_of_a_family_that_it_lacks() {
    let v6 = "2001:db8::1";
    let mut story = Story::new(&[&[OLD, v6], &[NEW], &[NEW], &[NEW]]);
    assert!(story.left(OLD) && !story.left(v6));
    assert_eq!(story.found(OLD), addresses(&[NEW, v6]));
    story.goes_on(&[&["2001:db8::2"], &["2001:db8::2"]]);
    assert!(story.left(v6) && !story.left(NEW));
    story.goes_on(&[&["::ffff:198.18.0.9"], &["::ffff:198.18.0.9"]]);
    assert!(story.left(NEW), "a mapped address is of IPv4");
}

#[test]
fn who_uses_an_address_from_before_the_first_lookup_keeps_it_for_two_answers() {
    let mut story = Story::new(&[]);
    story.name.assume(address(OLD), at(0));
    assert_eq!(story.found(OLD), addresses(&[OLD]));
    story.goes_on(&[&[NEW]]);
    assert_eq!(story.found(OLD), addresses(&[OLD, NEW]));
    story.goes_on(&[&[NEW]]);
    assert!(story.left(OLD));
    story.name.assume(address("198.18.0.3"), at(2));
    assert!(story.left("198.18.0.3"), "the answers are known");
}

#[test]
fn an_address_that_was_never_the_names_is_elsewhere() {
    assert!(!Story::new(&[]).left(OLD), "nobody asked yet");
    assert!(Story::new(&[&[NEW]]).left(OLD));
}

#[test]
fn a_name_whose_old_address_returns_rotates_and_its_answers_of_a_minute_count_together() {
    let mut story = Story::new(&[&[OLD], &[NEW], &[NEW]]);
    assert!(!story.rotates());
    story.goes_on(&[&[OLD]]);
    assert!(story.rotates());
    story.says(&[NEW], 59);
    assert!(!story.left(OLD) && !story.left(NEW));
    assert_eq!(story.found(NEW), addresses(&[OLD, NEW]));
    story.goes_on(&[&[NEW]]);
    assert!(story.left(OLD), "no answer of a minute has it");
    assert_eq!(story.found(OLD), addresses(&[NEW]));
}

#[test]
fn a_name_rotates_no_more_once_no_address_returned_for_ten_minutes() {
    let mut story = Story::new(&[&[OLD], &[NEW], &[NEW], &[OLD]]);
    // One after the other with three in between is a return each time.
    for _ in 0..300 {
        story.goes_on(&[&[NEW], &[NEW], &[OLD]]);
        assert!(story.rotates() && !story.left(OLD) && !story.left(NEW));
    }
    story.says(&[OLD], 599);
    assert!(story.rotates());
    story.goes_on(&[&[OLD]]);
    assert!(!story.rotates());
    // One that comes back later than that moved twice.
    story.goes_on(&[&[NEW], &[NEW]]);
    assert!(story.left(OLD));
    story.says(&[NEW], 599);
    story.goes_on(&[&[OLD]]);
    assert!(!story.rotates());
}

#[test]
fn an_address_that_returns_at_ten_minutes_shows_a_rotation() {
    for (later, rotates) in [(600, true), (601, false)] {
        let mut story = Story::new(&[&[OLD], &[NEW], &[NEW]]);
        story.now = later;
        story.goes_on(&[&[OLD]]);
        assert_eq!(story.rotates(), rotates, "{later} s");
    }
}

#[test]
fn a_rotating_name_loses_no_address_by_failed_lookups() {
    let mut story = Story::new(&[&[OLD], &[NEW], &[NEW], &[OLD], &[NEW], &[NEW]]);
    story.says(&[], 55);
    assert!(!story.left(OLD), "the newest answer came two seconds after it");
}

#[test]
fn an_answer_is_used_for_its_ttl_and_a_failure_for_a_second() {
    for (ttl, current) in [(0, 1), (1, 1), (30, 30), (u64::MAX, 86_400)] {
        let mut name = KnownName::default();
        assert!(!name.is_current(at(0)));
        name.answer(&addresses(&[OLD]), Duration::from_secs(ttl), at(5));
        assert!(
            name.is_current(at(5 + current) - Duration::from_millis(1)),
            "{ttl}"
        );
        assert!(!name.is_current(at(5 + current)), "{ttl}");
        assert!(name.addresses(None, at(5 + current) - SECOND).is_ok(), "{ttl}");
        name.fail(FailureKind::NameNotFound, at(5));
        assert!(!name.is_current(at(6)), "{ttl}");
    }
}

#[test]
fn lookups_repeat_at_the_ttl_at_least_a_second_and_at_most_the_interval_apart() {
    for (ttl, interval, apart) in [(0, 30, 1), (5, 30, 5), (300, 30, 30), (5, 0, 1)] {
        let interval = Duration::from_secs(interval);
        let mut name = KnownName::default();
        assert_eq!(name.due(interval), at(0));
        name.fail(FailureKind::ResolverFailed, at(10));
        assert_eq!(
            name.due(interval),
            at(10) + interval.max(SECOND),
            "no TTL is known"
        );
        name.answer(&addresses(&[OLD]), Duration::from_secs(ttl), at(20));
        assert_eq!(name.due(interval), at(20 + apart));
        name.fail(FailureKind::ResolverFailed, at(40));
        assert_eq!(name.due(interval), at(40 + apart));
    }
}

#[test]
fn answers_are_in_order_and_once_and_at_most_64() {
    let story = Story::new(&[&["198.18.0.9", "2001:db8::1", "::ffff:198.18.0.1", "198.18.0.9"]]);
    let expected = addresses(&["198.18.0.1", "198.18.0.9", "2001:db8::1"]);
    assert_eq!(story.found("198.18.0.7"), expected);

    let many: Vec<IpAddr> = (0..=99).map(|last| [198, 18, 0, last].into()).collect();
    let mut name = KnownName::default();
    name.answer(&many, SECOND, at(1));
    assert_eq!(name.addresses(None, at(1)).unwrap(), many[..64]);
}

/// One past the 64th is in the answer all the same.
#[test]
fn an_address_that_others_push_aside_stays() {
    let mut name = KnownName::default();
    let late: IpAddr = [198, 18, 0, 99].into();
    name.answer(&[late], SECOND, at(1));
    let many: Vec<IpAddr> = (0..=99).map(|last| [198, 18, 0, last].into()).collect();
    for second in 1..40 {
        name.answer(&many, SECOND, at(4 * second));
        name.answer(&many[..1], SECOND, at(4 * second + 1));
    }
    assert!(!name.has_left(late, at(160)), "never missed twice in a row");
    assert!(name.addresses(Some(late), at(160)).unwrap().contains(&late));
}

#[test]
fn of_a_name_that_changes_without_end_the_newest_addresses_are_remembered() {
    let mut name = KnownName::default();
    for second in 0..1000_u64 {
        let bytes = u16::try_from(second).unwrap().to_be_bytes();
        name.answer(&[[198, 18, bytes[0], bytes[1]].into()], SECOND, at(second));
    }
    assert_eq!(name.addresses.len(), REMEMBERED);
    assert!(name.addresses.contains_key(&address("198.18.3.231")));
    assert!(!name.addresses.contains_key(&address("198.18.0.0")));
}

#[test]
fn a_name_is_forgotten_when_no_address_may_be_used_or_return() {
    let mut name = KnownName::default();
    assert_eq!(name.end(), None);
    name.fail(FailureKind::NameNotFound, at(1));
    assert_eq!(name.end(), Some(at(2)));
    name.answer(&addresses(&[OLD]), SECOND, at(3));
    assert_eq!(name.end(), Some(at(603)));
    name.answer(&addresses(&[OLD]), Duration::from_hours(1), at(4));
    assert_eq!(name.end(), Some(at(4 + 3 * 3600)));
}

#[test]
fn a_shorter_ttl_shortens_nothing() {
    let mut name = KnownName::default();
    name.answer(&addresses(&[OLD]), Duration::from_mins(5), at(0));
    name.answer(&addresses(&[OLD]), SECOND, at(10));
    name.fail(FailureKind::ResolverFailed, at(20));
    assert!(name.addresses(None, at(899)).is_ok());
    assert!(name.addresses(None, at(900)).is_err());
}

#[test]
fn an_answer_outlives_the_resolver_for_three_ttls_and_at_least_a_minute() {
    for (ttl, bound) in [(0, 60), (20, 60), (21, 63), (300, 900), (u64::MAX, 86_400)] {
        assert_eq!(stale_bound(Duration::from_secs(ttl)), Duration::from_secs(bound));
    }
}
