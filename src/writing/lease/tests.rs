use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;
use crate::render::reading::Version;
use crate::writing::tests::bench::now;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn terms() -> Terms {
    Terms::new(MS(15_000), MS(10_000), MS(2000)).unwrap()
}

/// A record of another process, as of a version.
fn of(holder: &str, seconds: i32, version: u64) -> LeaseRecord {
    LeaseRecord {
        holder: holder.to_owned(),
        seconds,
        acquired: Some(now(0).wall),
        renewed: Some(now(version).wall),
        transitions: 4,
        version: Some(Version::new(version.to_string())),
        metadata: Box::default(),
    }
}

/// A candidate `me` at second 1000, and what it asked for and told.
struct Bench {
    candidate: Candidate,
    now: Now,
    asked: Option<LeaseRequest>,
    told: Vec<String>,
    version: u64,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            candidate: Candidate::new("me".to_owned(), terms(), MS(40)),
            now: now(1000),
            asked: None,
            told: Vec::new(),
            version: 100,
        };
        bench.advance(None);
        bench
    }

    /// One that may stand and has read what there is.
    fn standing(found: Option<LeaseRecord>) -> Self {
        let mut bench = Self::new();
        bench.take(LeaseInput::MayStand);
        assert_eq!(bench.call(), LeaseCall::Read);
        bench.answer(LeaseAnswer::Lease(found));
        bench
    }

    /// One that leads since second 1000.
    fn leading() -> Self {
        let mut bench = Self::standing(None);
        bench.accept();
        assert_eq!(bench.told(), ["leads until 1015000"]);
        bench
    }

    fn advance(&mut self, input: Option<LeaseInput>) {
        for effect in self.candidate.advance(input, self.now) {
            let at = |until: Moment| until.since_start().as_millis();
            match effect {
                LeaseEffect::Request(request) => {
                    assert_eq!(self.asked.replace(request), None, "two requests at a time");
                }
                LeaseEffect::Leads { until } => self.told.push(format!("leads until {}", at(until))),
                LeaseEffect::Renewed { until } => self.told.push(format!("renewed until {}", at(until))),
                LeaseEffect::Follows => self.told.push("follows".to_owned()),
                LeaseEffect::Ended => self.told.push("ended".to_owned()),
            }
        }
    }

    fn take(&mut self, input: LeaseInput) {
        self.advance(Some(input));
    }

    fn answer(&mut self, answer: LeaseAnswer) {
        self.asked = None;
        self.take(LeaseInput::Answered(answer));
    }

    /// The write that is under way is accepted.
    fn accept(&mut self) -> LeaseRecord {
        let (LeaseCall::Create(mut record) | LeaseCall::Update(mut record)) = self.call() else {
            panic!("no write: {:?}", self.asked);
        };
        self.version += 1;
        record.version = Some(Version::new(self.version.to_string()));
        self.answer(LeaseAnswer::Lease(Some(record.clone())));
        record
    }

    fn call(&self) -> LeaseCall {
        self.asked.clone().expect("a request").call
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// Lets time go on to this millisecond, and wakes the candidate whenever it asks for it.
    fn pass_to(&mut self, millis: u64) {
        let end = Moment::new(MS(millis));
        while let Some(at) = self.candidate.deadline().filter(|at| *at <= end) {
            self.now.moment = at.max(self.now.moment);
            self.advance(None);
            assert!(
                self.candidate.deadline().is_none_or(|next| next > at),
                "it wakes for nothing"
            );
        }
        self.now.moment = end;
    }
}

#[test]
fn nobody_stands_before_the_first_lists() {
    let mut bench = Bench::new();
    bench.answer(LeaseAnswer::Lease(None));
    bench.pass_to(1_060_000);
    assert_eq!(bench.asked, None);
    bench.take(LeaseInput::MayStand);
    assert!(matches!(bench.call(), LeaseCall::Create(_)));
}

#[test]
fn an_absent_lease_is_created_and_held() {
    let mut bench = Bench::standing(None);
    let record = bench.accept();
    assert_eq!(
        (record.holder.as_str(), record.seconds, record.transitions),
        ("me", 15, 0)
    );
    assert_eq!(
        (record.acquired, record.renewed),
        (Some(now(1000).wall), Some(now(1000).wall))
    );
    assert_eq!(bench.told(), ["leads until 1015000"]);
}

#[test]
fn who_sees_the_lease_for_the_first_time_waits_a_whole_duration_of_the_record() {
    let mut bench = Bench::standing(Some(of("other", 30, 7)));
    bench.pass_to(1_030_039);
    assert_eq!(bench.asked, None);
    bench.pass_to(1_030_040);
    let LeaseCall::Update(record) = bench.call() else {
        panic!()
    };
    assert_eq!(record.version, Some(Version::new("7")));
    assert_eq!((record.seconds, record.transitions), (15, 5));
    assert_eq!(record.acquired, record.renewed);
}

#[test]
fn who_watched_all_along_counts_from_the_last_renewal() {
    let mut bench = Bench::standing(Some(of("other", 15, 7)));
    bench.pass_to(1_010_000);
    bench.take(LeaseInput::Seen(of("other", 15, 8)));
    // An echo, and an object of which something else changed, are no renewal.
    bench.pass_to(1_012_000);
    bench.take(LeaseInput::Seen(of("other", 15, 8)));
    let labelled = LeaseRecord {
        version: Some(Version::new("9")),
        metadata: Box::new(ObjectMeta {
            labels: Some(BTreeMap::from([("team".to_owned(), "shop".to_owned())])),
            ..ObjectMeta::default()
        }),
        ..of("other", 15, 8)
    };
    bench.take(LeaseInput::Seen(labelled));
    bench.pass_to(1_025_039);
    assert_eq!(bench.asked, None);
    bench.pass_to(1_025_040);
    let LeaseCall::Update(record) = bench.call() else {
        panic!()
    };
    assert_eq!(record.version, Some(Version::new("9")));
    assert!(record.metadata.labels.is_some(), "what others keep on it stays");
}

#[test]
fn times_in_the_record_count_for_nothing() {
    let old = LeaseRecord {
        renewed: Some(now(0).wall),
        ..of("other", 15, 7)
    };
    let mut bench = Bench::standing(Some(old));
    bench.pass_to(1_015_039);
    assert_eq!(bench.asked, None);
    let mut none = Bench::standing(Some(LeaseRecord {
        renewed: None,
        acquired: None,
        ..of("other", 15, 7)
    }));
    none.pass_to(1_015_040);
    assert!(none.asked.is_some());
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let mut bench = Bench::standing(Some(of("other", 15, 7)));
    bench.pass_to(1_003_000);
    bench.take(LeaseInput::Seen(of("", 1, 8)));
    let record = bench.accept();
    assert_eq!((record.holder.as_str(), record.transitions), ("me", 5));
    assert_eq!(bench.told(), ["leads until 1018000"]);
}

#[test]
fn a_record_without_a_duration_has_our_own_and_an_absurd_one_is_bounded() {
    for (seconds, expired) in [(0, 15), (-3, 15), (i32::MAX, 600), (1, 1)] {
        let mut bench = Bench::standing(Some(of("other", seconds, 7)));
        bench.pass_to(1_000_000 + expired * 1000 + 39);
        assert_eq!(bench.asked, None, "{seconds}");
        bench.pass_to(1_000_000 + expired * 1000 + 40);
        assert!(bench.asked.is_some(), "{seconds}");
    }
}

#[test]
fn the_lease_counts_from_before_the_request_was_sent() {
    let mut bench = Bench::standing(None);
    bench.pass_to(1_001_500);
    bench.accept();
    assert_eq!(bench.told(), ["leads until 1015000"]);
    bench.pass_to(1_002_000);
    bench.pass_to(1_002_700);
    let record = bench.accept();
    assert_eq!(bench.told(), ["renewed until 1017000"]);
    assert_eq!(record.transitions, 0);
    assert_eq!(record.acquired, Some(now(1000).wall));
}

#[test]
fn renewals_come_each_retry_period() {
    let mut bench = Bench::leading();
    bench.pass_to(1_001_999);
    assert_eq!(bench.asked, None);
    for second in [1002, 1004, 1006] {
        bench.pass_to(second * 1000);
        bench.accept();
    }
    assert_eq!(bench.told().last().unwrap(), "renewed until 1021000");
}

#[test]
fn a_renewal_without_an_answer_is_followed_by_a_read_over_a_new_connection() {
    let mut bench = Bench::leading();
    bench.pass_to(1_002_000);
    assert_eq!(bench.asked.clone().unwrap().deadline, MS(2000));
    assert!(!bench.asked.clone().unwrap().fresh);
    let LeaseCall::Update(lost) = bench.call() else {
        panic!()
    };
    bench.pass_to(1_004_000);
    bench.answer(LeaseAnswer::Unknown);
    let read = bench.asked.clone().unwrap();
    assert_eq!(
        (read.call, read.fresh, read.deadline),
        (LeaseCall::Read, true, MS(4000))
    );
    // It was done: the lease counts from when it was sent.
    let done = LeaseRecord {
        version: Some(Version::new("200")),
        ..lost
    };
    bench.answer(LeaseAnswer::Lease(Some(done)));
    assert_eq!(bench.told(), ["renewed until 1017000"]);
}

#[test]
fn a_renewal_that_was_not_done_is_sent_again_after_the_read() {
    let mut bench = Bench::leading();
    let held = match &bench.candidate.known {
        Known::Record(record, _) => record.clone(),
        _ => panic!(),
    };
    bench.pass_to(1_002_000);
    bench.pass_to(1_004_000);
    bench.answer(LeaseAnswer::Unknown);
    bench.answer(LeaseAnswer::Lease(Some(held)));
    assert_eq!(bench.told(), [""; 0]);
    bench.accept();
    assert_eq!(bench.told(), ["renewed until 1019000"]);
}

#[test]
fn who_cannot_renew_in_time_follows_and_stands_again() {
    let mut bench = Bench::leading();
    bench.pass_to(1_002_000);
    bench.answer(LeaseAnswer::Refused { retry_after: None });
    bench.pass_to(1_004_000);
    // What is left until the deadline, and no more.
    bench.pass_to(1_009_999);
    assert_eq!(bench.told(), [""; 0]);
    bench.pass_to(1_010_000);
    assert_eq!(bench.told(), ["follows"]);
    bench.answer(LeaseAnswer::Unknown);
    bench.pass_to(1_010_001);
    assert_eq!(bench.call(), LeaseCall::Read);
    let own = LeaseRecord {
        transitions: 0,
        acquired: Some(now(1000).wall),
        ..of("me", 15, 101)
    };
    bench.answer(LeaseAnswer::Lease(Some(own)));
    let record = bench.accept();
    assert_eq!(bench.told(), ["leads until 1025001"]);
    // The same holder: nothing changed hands.
    assert_eq!((record.transitions, record.acquired), (0, Some(now(1000).wall)));
}

#[test]
fn the_deadline_of_a_renewal_ends_with_the_renewal_deadline() {
    let mut bench = Bench::leading();
    bench.pass_to(1_002_000);
    bench.pass_to(1_009_500);
    bench.answer(LeaseAnswer::Unknown);
    assert_eq!(bench.asked.clone().unwrap().deadline, MS(500));
}

#[test]
fn an_answer_that_comes_too_late_makes_no_leader() {
    let mut bench = Bench::standing(None);
    bench.pass_to(1_010_000);
    bench.accept();
    assert_eq!(bench.told(), [""; 0]);
    // What it holds it may renew.
    bench.accept();
    assert_eq!(bench.told(), ["leads until 1025000"]);
}

#[test]
fn a_process_that_was_frozen_follows_before_all_else() {
    let mut bench = Bench::leading();
    bench.now.moment = Moment::new(MS(1_060_000));
    bench.advance(None);
    assert_eq!(bench.told(), ["follows"]);
    let LeaseCall::Update(record) = bench.call() else {
        panic!()
    };
    assert_eq!(record.version, Some(Version::new("101")));
    bench.answer(LeaseAnswer::Conflict);
    assert_eq!(bench.call(), LeaseCall::Read);
    bench.answer(LeaseAnswer::Lease(Some(of("other", 15, 190))));
    assert_eq!((bench.told(), bench.asked.clone()), (vec![], None));
    bench.pass_to(1_075_040);
    assert!(bench.asked.is_some());
}

#[test]
fn a_leader_that_sees_another_holder_follows_at_once() {
    let mut bench = Bench::leading();
    bench.take(LeaseInput::Seen(of("other", 15, 150)));
    assert_eq!(bench.told(), ["follows"]);
    bench.pass_to(1_010_000);
    assert_eq!(bench.asked, None);
}

#[test]
fn an_old_event_of_the_watch_changes_nothing() {
    let mut bench = Bench::leading();
    bench.take(LeaseInput::Seen(of("other", 15, 99)));
    assert_eq!(bench.told(), [""; 0]);
}

#[test]
fn an_answer_that_is_older_than_what_the_watch_showed_makes_no_leader() {
    let mut bench = Bench::standing(None);
    bench.take(LeaseInput::Seen(of("other", 15, 150)));
    bench.accept();
    assert_eq!((bench.told(), bench.call()), (vec![], LeaseCall::Read));
}

#[test]
fn a_list_without_the_lease_is_no_proof_that_it_is_gone() {
    let mut bench = Bench::leading();
    bench.take(LeaseInput::Missing);
    assert_eq!((bench.told(), bench.call()), (vec![], LeaseCall::Read));
    bench.answer(LeaseAnswer::Lease(None));
    assert_eq!(bench.told(), ["follows"]);
    assert!(matches!(bench.call(), LeaseCall::Create(_)));
}

#[test]
fn a_write_that_another_one_overtook_is_followed_by_a_read_and_then_has_patience() {
    let mut bench = Bench::standing(Some(of("", 1, 7)));
    bench.answer(LeaseAnswer::Conflict);
    bench.answer(LeaseAnswer::Lease(Some(of("", 1, 8))));
    bench.answer(LeaseAnswer::Conflict);
    assert_eq!(bench.asked, None);
    bench.pass_to(1_001_999);
    assert_eq!(bench.asked, None);
    bench.pass_to(1_002_000);
    assert_eq!(bench.call(), LeaseCall::Read);
}

#[test]
fn a_refusal_is_tried_again_after_a_retry_period_or_when_the_api_server_asks() {
    for (retry_after, at) in [(None, 2000), (Some(MS(5000)), 5000), (Some(MS(60_000)), 10_000)] {
        let mut bench = Bench::standing(None);
        bench.answer(LeaseAnswer::Refused { retry_after });
        bench.pass_to(1_000_000 + at - 1);
        assert_eq!(bench.asked, None);
        bench.pass_to(1_000_000 + at);
        assert!(bench.asked.is_some());
    }
}

/// Who sees by its watch that the Lease is gone may create it, and lead, in the same moment.
#[test]
fn an_update_of_what_is_gone_is_followed_by_a_read_at_once() {
    let mut bench = Bench::leading();
    bench.pass_to(1_002_000);
    bench.answer(LeaseAnswer::Lease(None));
    let read = bench.asked.clone().unwrap();
    assert_eq!((read.call, read.fresh), (LeaseCall::Read, false));
    bench.answer(LeaseAnswer::Lease(None));
    assert_eq!(bench.told(), ["follows"]);
    assert!(matches!(bench.call(), LeaseCall::Create(_)));
}

/// As where a webhook takes each write for an update of nothing.
#[test]
fn updates_of_what_is_gone_one_after_the_other_have_patience() {
    let mut bench = Bench::standing(Some(of("", 1, 7)));
    bench.answer(LeaseAnswer::Lease(None));
    bench.answer(LeaseAnswer::Lease(Some(of("", 1, 7))));
    bench.answer(LeaseAnswer::Lease(None));
    assert_eq!(bench.asked, None);
    bench.pass_to(1_001_999);
    assert_eq!(bench.asked, None);
    bench.pass_to(1_002_000);
    assert_eq!(bench.call(), LeaseCall::Read);
}

#[test]
fn conflicts_before_another_process_led_count_for_nothing() {
    let mut bench = Bench::standing(Some(of("", 1, 7)));
    bench.answer(LeaseAnswer::Conflict);
    bench.answer(LeaseAnswer::Lease(Some(of("other", 15, 8))));
    bench.pass_to(1_015_040);
    bench.answer(LeaseAnswer::Conflict);
    assert_eq!(bench.call(), LeaseCall::Read);
}

/// Its answer shows that the API server can be reached.
#[test]
fn failures_before_a_read_that_was_answered_count_for_nothing() {
    let mut bench = Bench::new();
    bench.take(LeaseInput::MayStand);
    for at in [1_002_000, 1_004_000, 1_006_000] {
        bench.pass_to(at);
        bench.answer(LeaseAnswer::Unknown);
    }
    bench.pass_to(1_008_000);
    assert!(bench.asked.clone().unwrap().fresh);
    bench.answer(LeaseAnswer::Lease(Some(of("other", 15, 8))));
    bench.pass_to(1_023_040);
    let update = bench.asked.clone().unwrap();
    assert!(matches!(update.call, LeaseCall::Update(_)));
    assert_eq!((update.deadline, update.fresh), (MS(2000), false));
}

/// Reads are answered at once, as where a webhook holds up writes alone.
#[test]
fn a_write_without_an_answer_gives_the_next_one_more_time_though_a_read_was_answered() {
    let mut bench = Bench::standing(Some(of("", 1, 7)));
    bench.pass_to(1_002_000);
    bench.answer(LeaseAnswer::Unknown);
    bench.answer(LeaseAnswer::Lease(Some(of("", 1, 7))));
    let again = bench.asked.clone().unwrap();
    assert!(matches!(again.call, LeaseCall::Update(_)));
    assert_eq!(again.deadline, MS(4000));
}

#[test]
fn a_leader_that_stops_releases_when_the_desk_rests() {
    let mut bench = Bench::leading();
    bench.take(LeaseInput::Stop);
    assert_eq!(
        (bench.told(), bench.asked.clone()),
        (vec!["follows".to_owned()], None)
    );
    bench.pass_to(1_000_100);
    bench.take(LeaseInput::Rests);
    let record = bench.accept();
    assert_eq!(
        (record.holder.as_str(), record.seconds, record.transitions),
        ("", 1, 0)
    );
    assert_eq!(bench.told(), ["ended"]);
    bench.pass_to(1_060_000);
    assert_eq!(bench.asked, None);
}

#[test]
fn a_leader_that_stops_waits_no_longer_than_a_fifth_of_a_second() {
    let mut bench = Bench::leading();
    bench.take(LeaseInput::Stop);
    bench.pass_to(1_000_199);
    assert_eq!(bench.asked, None);
    bench.pass_to(1_000_200);
    assert_eq!(bench.accept().holder, "");
}

#[test]
fn a_renewal_under_way_is_awaited_before_the_release() {
    let mut bench = Bench::leading();
    bench.pass_to(1_002_000);
    bench.take(LeaseInput::Stop);
    bench.take(LeaseInput::Rests);
    let renewed = bench.accept();
    assert_eq!(
        (renewed.holder.as_str(), bench.told()),
        ("me", vec!["follows".to_owned()])
    );
    assert_eq!(bench.accept().holder, "");
    assert_eq!(bench.told(), ["ended"]);
}

#[test]
fn a_renewal_that_fails_after_the_stop_does_not_hold_up_the_release() {
    for answer in [LeaseAnswer::Refused { retry_after: None }, LeaseAnswer::Unknown] {
        let mut bench = Bench::leading();
        bench.pass_to(1_002_000);
        bench.take(LeaseInput::Stop);
        bench.take(LeaseInput::Rests);
        bench.answer(answer.clone());
        if answer == LeaseAnswer::Unknown {
            assert_eq!(bench.call(), LeaseCall::Read);
            bench.answer(LeaseAnswer::Lease(Some(of("me", 15, 1))));
        }
        assert_eq!(bench.accept().holder, "", "{answer:?}");
        assert_eq!(bench.told(), ["follows", "ended"]);
    }
}

#[test]
fn a_follower_that_stops_has_nothing_to_release() {
    let mut bench = Bench::standing(Some(of("other", 15, 7)));
    bench.take(LeaseInput::Stop);
    assert_eq!(
        (bench.told(), bench.asked.clone()),
        (vec!["ended".to_owned()], None)
    );
}

#[test]
fn a_release_that_is_refused_is_not_tried_again() {
    let mut bench = Bench::leading();
    bench.take(LeaseInput::Stop);
    bench.take(LeaseInput::Rests);
    bench.answer(LeaseAnswer::Refused { retry_after: None });
    assert_eq!(bench.told(), ["follows", "ended"]);
}

#[test]
fn times_that_do_not_fit_are_refused_by_the_name_of_the_option() {
    let refusal = |duration, deadline, period| Terms::new(MS(duration), MS(deadline), MS(period)).err();
    assert_eq!(refusal(15_000, 10_000, 2000), None);
    assert_eq!(refusal(3000, 2000, 500), None);
    for (times, words) in [
        (
            (15_000, 15_000, 2000),
            "--lease-duration must be greater than --renew-deadline",
        ),
        (
            (15_000, 2400, 2000),
            "--renew-deadline must be greater than 1.2 times --retry-period",
        ),
        (
            (15_500, 10_000, 2000),
            "--lease-duration must be a whole number of seconds",
        ),
        ((601_000, 10_000, 2000), "--lease-duration must be at most 600 s"),
        ((15_000, 10_000, 0), "--retry-period must be greater than 0"),
        (
            (3000, 2000, 900),
            "--lease-duration must be greater than 1.2 times --retry-period plus 2 s",
        ),
    ] {
        let (duration, deadline, period) = times;
        let said = refusal(duration, deadline, period).unwrap_or_default();
        assert!(said.starts_with(words), "{times:?}: {said}");
    }
}

/// Processes that stand for one Lease on an API server that is slow and loses requests and answers; one of them freezes at
/// times. Drawn from a seed.
struct Contest {
    seed: u64,
    now: Now,
    stored: Option<LeaseRecord>,
    version: u64,
    processes: Vec<Process>,
    leads: usize,
}

struct Process {
    candidate: Candidate,
    /// When each request reaches the server, what it asks, and when its answer arrives; `None`: it is given up before.
    flying: Vec<(Moment, LeaseCall, Option<Moment>)>,
    answers: Vec<(Moment, LeaseAnswer)>,
    events: Vec<(Moment, LeaseRecord)>,
    frozen_until: Moment,
    until: Option<Moment>,
}

impl Contest {
    fn new(seed: u64) -> Self {
        let process = |number: u64| {
            let mut candidate = Candidate::new(
                format!("process-{number}"),
                Terms::new(MS(3000), MS(2000), MS(500)).unwrap(),
                MS(number * 30),
            );
            candidate.advance(Some(LeaseInput::MayStand), now(0));
            // That it asked for something is forgotten with it.
            candidate.under_way = None;
            Process {
                candidate,
                flying: Vec::new(),
                answers: Vec::new(),
                events: Vec::new(),
                frozen_until: Moment::default(),
                until: None,
            }
        };
        Self {
            seed,
            now: now(0),
            stored: None,
            version: 0,
            processes: (0..3).map(process).collect(),
            leads: 0,
        }
    }

    /// Less than `most`.
    fn draw(&mut self, most: u64) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % most
    }

    /// A millisecond.
    fn step(&mut self) {
        self.now.moment = self.now.moment + MS(1);
        self.now.wall = self.now.wall.checked_add(MS(1)).unwrap();
        for number in 0..self.processes.len() {
            self.serve(number);
            if self.draw(20_000) == 0 {
                self.processes[number].frozen_until = self.now.moment + MS(self.draw(8000));
            }
            if self.processes[number].frozen_until <= self.now.moment {
                self.run(number);
            }
        }
        let leaders: Vec<_> = self
            .processes
            .iter()
            .filter(|process| process.until.is_some_and(|until| self.now.moment < until))
            .collect();
        assert!(leaders.len() <= 1, "two hold the lease at {:?}", self.now.moment);
    }

    /// What reached the server is done, and shown to everybody.
    fn serve(&mut self, number: usize) {
        let at = self.now.moment;
        let flying = &mut self.processes[number].flying;
        let Some(place) = flying.iter().position(|(reaches, ..)| *reaches <= at) else {
            return;
        };
        let (_, call, answered) = flying.remove(place);
        let version =
            |record: &Option<LeaseRecord>| record.as_ref().and_then(|record| record.version.clone());
        let answer = match call {
            LeaseCall::Read => LeaseAnswer::Lease(self.stored.clone()),
            LeaseCall::Create(_) if self.stored.is_some() => LeaseAnswer::Conflict,
            LeaseCall::Update(record) if record.version != version(&self.stored) => LeaseAnswer::Conflict,
            LeaseCall::Create(mut record) | LeaseCall::Update(mut record) => {
                self.version += 1;
                record.version = Some(Version::new(self.version.to_string()));
                self.stored = Some(record.clone());
                for other in 0..self.processes.len() {
                    let shown = at + MS(self.draw(100));
                    self.processes[other].events.push((shown, record.clone()));
                }
                LeaseAnswer::Lease(Some(record))
            }
        };
        let answer = answered.map(|answered| (answered, answer));
        self.processes[number].answers.extend(answer);
    }

    fn run(&mut self, number: usize) {
        let at = self.now;
        let mut inputs = Vec::new();
        let process = &mut self.processes[number];
        while let Some(place) = process.events.iter().position(|(shown, _)| *shown <= at.moment) {
            inputs.push(LeaseInput::Seen(process.events.remove(place).1));
        }
        let answered = |(answered, _): &(Moment, LeaseAnswer)| *answered <= at.moment;
        while let Some(place) = process.answers.iter().position(answered) {
            inputs.push(LeaseInput::Answered(process.answers.remove(place).1));
        }
        let idle = process.candidate.deadline().is_some_and(|due| due <= at.moment);
        let inputs = inputs.into_iter().map(Some).chain(idle.then_some(None));
        let effects: Vec<_> = inputs
            .flat_map(|input| process.candidate.advance(input, at))
            .collect();
        for effect in effects {
            match effect {
                LeaseEffect::Request(request) => self.send(number, request),
                LeaseEffect::Leads { until } => {
                    self.leads += 1;
                    self.processes[number].until = Some(until);
                }
                LeaseEffect::Renewed { until } => self.processes[number].until = Some(until),
                LeaseEffect::Follows => self.processes[number].until = None,
                LeaseEffect::Ended => panic!("nobody stops"),
            }
        }
    }

    fn send(&mut self, number: usize, request: LeaseRequest) {
        let reaches = self.now.moment + MS(self.draw(20));
        let answered = reaches + MS(self.draw(20));
        let given_up = self.now.moment + request.deadline;
        let luck = self.draw(100);
        let process = &mut self.processes[number];
        let (reaches, answered) = match luck {
            // The request is lost; it is late; its answer is lost.
            0..10 => (None, None),
            10..20 => (Some(given_up + MS(300)), None),
            20..30 => (Some(reaches), None),
            _ => (Some(reaches), Some(answered)),
        };
        if answered.is_none() {
            process.answers.push((given_up, LeaseAnswer::Unknown));
        }
        let flying = reaches.map(|reaches| (reaches, request.call, answered));
        process.flying.extend(flying);
    }
}

#[test]
fn never_do_two_processes_hold_the_lease_and_always_somebody_takes_it() {
    for seed in 0..8 {
        let mut contest = Contest::new(seed);
        for _ in 0..60_000 {
            contest.step();
        }
        assert!(contest.leads > 2, "seed {seed}: {} terms", contest.leads);
    }
}
