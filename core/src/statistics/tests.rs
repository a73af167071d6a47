use std::time::Duration;

use super::*;

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

fn load(transactions: u64) -> Load {
    Load {
        sessions: 4,
        max_connections: 100,
        transactions,
        rows_returned: transactions * 10,
        rows_changed: transactions / 2,
        databases: 3,
        ..Load::default()
    }
}

/// What a target told, and how.
#[derive(Clone, Copy)]
struct Told {
    measured: Measured,
    load: Option<Load>,
    lag: Option<Lag>,
    took: Option<Duration>,
}

impl Told {
    fn to(self, statistics: &mut Statistics) -> u64 {
        statistics.tell(&self.measured, self.load, self.lag, self.took)
    }

    fn asked(mut self, asked: u32, operators: u32) -> Self {
        (self.measured.asked, self.measured.operators) = (asked, Some(operators));
        self
    }

    fn took(mut self, millis: u64) -> Self {
        self.took = Some(Duration::from_millis(millis));
        self
    }
}

fn heartbeat(second: u64, load: Load) -> Told {
    Told {
        measured: Measured {
            at: at(second),
            role: Role::Primary,
            asked: 1,
            operators: Some(1),
        },
        load: Some(load),
        lag: None,
        took: None,
    }
}

/// A server that does `rate` transactions of clients in a second, beside one for each heartbeat, from `from` to `to`, a heartbeat
/// every 2 s.
fn tell(statistics: &mut Statistics, (from, to): (u64, u64), rate: u64) {
    for second in (from..=to).step_by(2) {
        heartbeat(second, load(1000 + second * rate + second / 2)).to(statistics);
    }
}

fn about(told: Option<f64>, expected: f64) -> bool {
    told.is_some_and(|told| (told - expected).abs() <= expected.abs() * 0.01)
}

#[test]
fn counters_become_rates_over_each_window_once_it_is_full() {
    let mut statistics = Statistics::default();
    tell(&mut statistics, (0, 8), 50);
    assert_eq!(statistics.summary(at(8)).ten_seconds, Rates::default());
    tell(&mut statistics, (10, 58), 50);
    let summary = statistics.summary(at(58));
    assert!(about(summary.ten_seconds.transactions, 50.0), "{summary:?}");
    assert!(about(summary.ten_seconds.sessions, 4.0), "{summary:?}");
    assert!(about(summary.ten_seconds.rows_returned, 505.0), "{summary:?}");
    assert!(about(summary.ten_seconds.rows_changed, 25.25), "{summary:?}");
    assert_eq!(summary.minute, Rates::default());
    tell(&mut statistics, (60, 298), 50);
    let summary = statistics.summary(at(298));
    assert!(about(summary.minute.transactions, 50.0), "{summary:?}");
    assert_eq!(summary.five_minutes, Rates::default());
    tell(&mut statistics, (300, 300), 50);
    let summary = statistics.summary(at(300));
    assert!(about(summary.five_minutes.transactions, 50.0), "{summary:?}");
}

#[test]
fn each_window_tells_its_own_time() {
    let mut statistics = Statistics::default();
    let mut transactions = 0;
    for second in (0..=400).step_by(2) {
        // 100 a second until 340, then none.
        transactions += if second <= 340 && second > 0 { 200 } else { 0 };
        heartbeat(second, load(transactions))
            .asked(0, 1)
            .to(&mut statistics);
    }
    let summary = statistics.summary(at(400));
    assert_eq!(summary.ten_seconds.transactions, Some(0.0));
    assert_eq!(summary.minute.transactions, Some(0.0));
    // The point before 300 s is of the second 100: 240 of 300 s.
    assert!(about(summary.five_minutes.transactions, 80.0), "{summary:?}");
}

#[test]
fn transactions_of_operators_are_subtracted_and_those_of_another_replica_estimated() {
    let mut statistics = Statistics::default();
    // Two operators ask, and nobody else does anything.
    for second in (0..=20).step_by(2) {
        heartbeat(second, load(second)).asked(1, 2).to(&mut statistics);
    }
    assert_eq!(statistics.summary(at(20)).ten_seconds.transactions, Some(0.0));
    // The other one asked less than was estimated: not below 0.
    let mut statistics = Statistics::default();
    for second in (0..=20).step_by(2) {
        heartbeat(second, load(second / 2))
            .asked(1, 3)
            .to(&mut statistics);
    }
    assert_eq!(statistics.summary(at(20)).ten_seconds.transactions, Some(0.0));
}

#[test]
fn a_check_of_ones_own_is_no_other_operator() {
    let mut statistics = Statistics::default();
    for second in (0..=20).step_by(2) {
        // Three of the operator's own for each two seconds.
        let own = second / 2 * 3;
        heartbeat(second, load(second * 50 + own)).to(&mut statistics);
        let check = heartbeat(second + 1, load((second + 1) * 50 + own + 1)).asked(2, 2);
        check.took(2).to(&mut statistics);
    }
    let rates = statistics.rates(Statistics::TEN_SECONDS, at(21));
    assert!(about(rates.transactions, 50.0), "{rates:?}");
}

#[test]
fn a_restart_a_reset_and_a_counter_that_falls_make_a_gap() {
    let edits: [fn(&mut Load); 6] = [
        |load| load.started = 1,
        |load| load.resets = 1,
        |load| load.databases = 2,
        |load| load.transactions = 3,
        |load| load.rows_returned = 3,
        |load| load.rows_changed = 3,
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut statistics = Statistics::default();
        tell(&mut statistics, (0, 20), 50);
        assert!(
            statistics
                .rates(Statistics::TEN_SECONDS, at(20))
                .transactions
                .is_some()
        );
        for second in (22..=30).step_by(2) {
            let mut after = load(100_000 + second);
            edit(&mut after);
            heartbeat(second, after).to(&mut statistics);
            let rates = statistics.rates(Statistics::TEN_SECONDS, at(second));
            assert_eq!(rates, Rates::default(), "{number}: {second}");
        }
        let mut after = load(100_000 + 32);
        edit(&mut after);
        heartbeat(32, after).to(&mut statistics);
        let rates = statistics.rates(Statistics::TEN_SECONDS, at(32));
        assert!(
            rates.transactions.is_some_and(|rate| rate < 2.0),
            "{number}: {rates:?}"
        );
    }
}

#[test]
fn a_server_that_was_silent_for_a_window_has_no_rates() {
    let mut statistics = Statistics::default();
    tell(&mut statistics, (0, 100), 50);
    let of = |now| {
        let summary = statistics.summary(at(now));
        [summary.ten_seconds, summary.minute].map(|rates| rates.transactions.is_some())
    };
    assert_eq!(of(110), [true, true]);
    assert_eq!(of(111), [false, true]);
    assert_eq!(of(161), [false, false]);
    // The counters went on meanwhile: the window is of 40 s and more, which is no 10 s.
    tell(&mut statistics, (140, 140), 50);
    let summary = statistics.summary(at(140));
    assert_eq!(summary.ten_seconds, Rates::default());
    assert!(about(summary.minute.transactions, 50.0), "{summary:?}");
}

#[test]
fn samples_further_apart_than_a_window_tell_nothing_of_it() {
    let mut statistics = Statistics::default();
    for second in (0..=600).step_by(30) {
        heartbeat(second, load(second * 50)).to(&mut statistics);
    }
    let summary = statistics.summary(at(600));
    assert_eq!(summary.ten_seconds, Rates::default());
    assert!(
        about(summary.minute.transactions, 50.0 - 1.0 / 30.0),
        "{summary:?}"
    );
    assert!(
        about(summary.five_minutes.transactions, 50.0 - 1.0 / 30.0),
        "{summary:?}"
    );
}

#[test]
fn a_server_that_does_not_tell_its_load_has_no_rates() {
    let mut statistics = Statistics::default();
    tell(&mut statistics, (0, 20), 50);
    let mut silent = heartbeat(22, load(0));
    silent.load = None;
    silent.to(&mut statistics);
    assert_eq!(
        statistics.rates(Statistics::TEN_SECONDS, at(22)),
        Rates::default()
    );
}

#[test]
fn response_times_are_of_the_last_32_checks() {
    let mut statistics = Statistics::default();
    assert_eq!(statistics.summary(at(0)).response, None);
    let check = |number: u64, millis| heartbeat(number, load(number)).took(millis);
    for number in 0..50 {
        check(number, 1000).to(&mut statistics);
    }
    for number in 1..=32 {
        check(50 + number, number).to(&mut statistics);
    }
    let millis = Duration::from_millis;
    let expected = ResponseTimes {
        checks: 32,
        mean: Duration::from_micros(16_500),
        p50: millis(16),
        p95: millis(31),
    };
    assert_eq!(statistics.summary(at(100)).response, Some(expected));
    let mut one = Statistics::default();
    check(0, 7).to(&mut one);
    let times = one.summary(at(0)).response.unwrap();
    assert_eq!(
        (times.mean, times.p50, times.p95),
        (millis(7), millis(7), millis(7))
    );
}

#[test]
fn failed_checks_count_by_class() {
    let mut statistics = Statistics::default();
    statistics.fail(FailureClass::Dead { hard: true });
    statistics.fail(FailureClass::Dead { hard: false });
    statistics.fail(FailureClass::Alive);
    let errors = statistics.errors();
    assert_eq!((errors[0], errors[7]), (("Dead", 2), ("Alive", 1)));
    assert_eq!(errors.iter().map(|(_, count)| count).sum::<u64>(), 3);
}

#[test]
fn the_worst_lag_is_of_the_last_five_minutes_and_of_a_standby() {
    let mut statistics = Statistics::default();
    let standby = |second: u64, seconds| {
        let mut told = heartbeat(second, load(second));
        told.measured.role = Role::Standby;
        told.lag = Some(Lag::Behind {
            time: Duration::from_secs(seconds),
            bytes: None,
        });
        told
    };
    assert_eq!(statistics.summary(at(0)).worst_lag, None);
    for second in 0..1000 {
        let lag = if second == 300 { 40 } else { 1 };
        standby(second, lag).to(&mut statistics);
        let worst = statistics.summary(at(second)).worst_lag;
        let expected = if (300..600).contains(&second) { 40 } else { 1 };
        assert_eq!(worst, Some(Duration::from_secs(expected)), "{second}");
    }
    assert_eq!(statistics.summary(at(2000)).worst_lag, None);
    heartbeat(1001, load(2000)).to(&mut statistics);
    assert_eq!(
        statistics.summary(at(1001)).worst_lag,
        None,
        "it takes the writes now"
    );
}

#[test]
fn the_share_of_replicas_is_of_all_that_was_done() {
    let (primary, standby) = (Role::Primary, Role::Standby);
    let half = [(primary, Some(20.0)), (standby, Some(15.0)), (standby, Some(5.0))];
    assert_eq!(replica_share(half), Some(0.5));
    assert_eq!(replica_share([(primary, Some(20.0)), (standby, None)]), None);
    assert_eq!(replica_share([(primary, None), (standby, Some(5.0))]), None);
    assert_eq!(replica_share([(standby, Some(5.0))]), None);
    assert_eq!(replica_share([(primary, Some(0.0)), (standby, Some(0.0))]), None);
}

#[test]
fn a_target_takes_two_kibibytes_at_most() {
    assert!(size_of::<Statistics>() <= 2048, "{}", size_of::<Statistics>());
}

#[test]
fn transactions_are_counted_once_whatever_the_operator_asks() {
    let mut statistics = Statistics::default();
    let mut counted = 0;
    // The server counts the transaction of a heartbeat late, and one of a client in each.
    for second in 0..100 {
        let told = heartbeat(second, load(7 + second * 2 - second % 2));
        counted += told.to(&mut statistics);
    }
    assert!((98..=99).contains(&counted), "{counted}");
    assert_eq!(heartbeat(100, load(3)).to(&mut statistics), 0, "a gap");
    assert_eq!(heartbeat(102, load(14)).to(&mut statistics), 10);
}
