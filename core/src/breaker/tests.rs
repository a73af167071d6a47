use super::*;

const RESET: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(6);
const STEPS: [u8; 3] = [10, 50, 80];

fn settings(threshold: u32) -> BreakerSettings {
    BreakerSettings {
        enabled: true,
        failure_threshold: threshold,
        reset_timeout: RESET,
        max_reset_timeout: RESET * 8,
        success_threshold: 2,
        traffic_steps: STEPS.map(Percent::new).to_vec(),
    }
}

fn disabled(threshold: u32) -> BreakerSettings {
    BreakerSettings {
        enabled: false,
        ..settings(threshold)
    }
}

fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

/// A check that failed as soon as it began.
fn failure(now: Moment) -> Outcome {
    Outcome::Failure { started: now }
}

fn outcomes(now: Moment) -> [Outcome; 3] {
    [Outcome::Success, failure(now), Outcome::Alive]
}

fn open(until: Moment) -> Circuit {
    Circuit::Open { until }
}

fn half_open(step: usize, successes: u32) -> Circuit {
    Circuit::HalfOpen { step, successes }
}

fn run(started: Moment, counted: u32, newest: Moment) -> Circuit {
    Circuit::Closed {
        run: Some(Run {
            started,
            counted,
            newest,
        }),
    }
}

impl Circuit {
    /// The circuit after a check, the first time that it trips.
    fn after(self, outcome: Outcome, now: Moment, settings: &BreakerSettings) -> Self {
        self.observe(outcome, now, settings, WINDOW, pause(settings, 0))
    }
}

const CLOSED: Circuit = Circuit::Closed { run: None };

/// Every row of an open circuit: (now against `until`, outcome) and what follows, enabled and disabled.
#[test]
fn every_row_of_an_open_circuit() {
    let until = at(100_000);
    for threshold in [1, 2, 5] {
        for now in [at(99_999), until, at(100_001)] {
            for outcome in outcomes(now) {
                let due = now >= until;
                let (on, off) = match outcome {
                    Outcome::Success => (if due { half_open(0, 0) } else { open(until) }, CLOSED),
                    Outcome::Failure { .. } if due => (open(now + RESET), open(now)),
                    Outcome::Failure { .. } | Outcome::Alive => (open(until), open(until)),
                };
                let row = format!("threshold {threshold}, {outcome:?} at {now:?}");
                let next = |settings| open(until).after(outcome, now, &settings);
                assert_eq!(next(settings(threshold)), on, "enabled, {row}");
                assert_eq!(next(disabled(threshold)), off, "disabled, {row}");
            }
        }
    }
}

#[test]
fn every_row_of_a_half_open_circuit() {
    let now = at(100_000);
    let rows = [
        (half_open(0, 0), half_open(0, 1)),
        (half_open(0, 1), half_open(1, 0)),
        (half_open(1, 0), half_open(1, 1)),
        (half_open(1, 1), half_open(2, 0)),
        (half_open(2, 0), half_open(2, 1)),
        (half_open(2, 1), CLOSED),
    ];
    for threshold in [1, 2, 5] {
        for (before, after_success) in rows {
            for outcome in outcomes(now) {
                let (on, off) = match outcome {
                    Outcome::Success => (after_success, CLOSED),
                    Outcome::Failure { .. } => (open(now + RESET), open(now)),
                    Outcome::Alive => (before, before),
                };
                let row = format!("threshold {threshold}, {before:?}, {outcome:?}");
                let next = |settings| before.after(outcome, now, &settings);
                assert_eq!(next(settings(threshold)), on, "enabled, {row}");
                assert_eq!(next(disabled(threshold)), off, "disabled, {row}");
            }
        }
    }
}

/// Every count of a run, its failure before, at and after the moment from which it counts.
#[test]
fn every_row_of_a_closed_circuit() {
    let started = at(100_000);
    for threshold in [1, 2, 5] {
        for counted in 1..threshold {
            let due = started + spacing(counted, threshold, WINDOW);
            let before = run(started, counted, started);
            for (now, counts) in [
                (due - Duration::from_millis(1), 0),
                (due, 1),
                (due + Duration::from_millis(1), 1),
            ] {
                let counted = counted + counts;
                let (on, off) = if counted >= threshold {
                    (open(now + RESET), open(now))
                } else {
                    (run(started, counted, now), run(started, counted, now))
                };
                let row = format!("threshold {threshold}, {before:?} at {now:?}");
                let next = |outcome, settings| before.after(outcome, now, &settings);
                assert_eq!(next(failure(now), settings(threshold)), on, "enabled, {row}");
                assert_eq!(next(failure(now), disabled(threshold)), off, "disabled, {row}");
                for outcome in [Outcome::Success, Outcome::Alive] {
                    assert_eq!(next(outcome, settings(threshold)), CLOSED, "{outcome:?}, {row}");
                    assert_eq!(next(outcome, disabled(threshold)), CLOSED, "{outcome:?}, {row}");
                }
            }
        }
        for outcome in [Outcome::Success, Outcome::Alive] {
            assert_eq!(CLOSED.after(outcome, started, &settings(threshold)), CLOSED);
        }
    }
}

#[test]
fn a_circuit_begins_closed() {
    assert_eq!(Circuit::default(), CLOSED);
}

#[test]
fn threshold_1_trips_at_once() {
    let now = at(7);
    assert_eq!(CLOSED.after(failure(now), now, &settings(1)), open(now + RESET));
}

#[test]
fn the_first_failure_counts_from_the_start_of_its_check() {
    let (started, ended) = (at(1000), at(3000));
    assert_eq!(
        CLOSED.after(Outcome::Failure { started }, ended, &settings(2)),
        run(started, 1, ended)
    );
}

#[test]
fn failures_closer_than_the_spacing_do_not_count() {
    let mut circuit = CLOSED;
    let first_due = spacing(1, 5, WINDOW);
    let mut now = Moment::default();
    while now.since_start() < first_due {
        circuit = circuit.after(failure(now), now, &settings(5));
        assert!(
            matches!(
                circuit,
                Circuit::Closed {
                    run: Some(Run { counted: 1, .. })
                }
            ),
            "{circuit:?}"
        );
        now = now + Duration::from_millis(10);
    }
    let counted = circuit.after(failure(now), now, &settings(5));
    assert!(matches!(
        counted,
        Circuit::Closed {
            run: Some(Run { counted: 2, .. })
        }
    ));
}

#[test]
fn a_burst_of_failures_trips_no_sooner_than_its_spread() {
    for threshold in [2, 5] {
        let mut circuit = CLOSED;
        let mut now = Moment::default();
        while matches!(circuit, Circuit::Closed { .. }) {
            now = now + Duration::from_millis(1);
            circuit = circuit.after(Outcome::Failure { started: at(1) }, now, &settings(threshold));
        }
        let spread = spacing(threshold - 1, threshold, WINDOW);
        assert_eq!(now.since(at(1)), spread, "threshold {threshold}");
    }
}

#[test]
fn gaps_grow_and_leave_room_for_the_last_attempt() {
    for threshold in [1_u32, 2, 5, 100] {
        assert_eq!(spacing(0, threshold, WINDOW), Duration::ZERO);
        let spacings: Vec<_> = (0..threshold)
            .map(|counted| spacing(counted, threshold, WINDOW))
            .collect();
        let gaps: Vec<_> = spacings.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted(), "threshold {threshold}: {gaps:?}");
        let last = spacings.last().copied().unwrap_or_default();
        assert!(
            WINDOW - last >= *gaps.last().unwrap_or(&WINDOW),
            "threshold {threshold}"
        );
    }
    assert_eq!(spacing(1, 2, WINDOW), Duration::from_secs(2));
    assert_eq!(
        [1, 2, 3, 4].map(|counted| spacing(counted, 5, WINDOW).as_millis()),
        [400, 1200, 2400, 4000]
    );
}

#[test]
fn spacing_of_a_threshold_of_0_is_that_of_1() {
    assert_eq!(spacing(1, 0, WINDOW), spacing(1, 1, WINDOW));
}

#[test]
fn a_run_of_slow_failures_trips_at_the_latest_at_the_end_of_the_window() {
    let started = Moment::default();
    let end = started + WINDOW;
    let almost = end - Duration::from_millis(1);
    let failed = Outcome::Failure { started };
    let second = run(started, 1, started).after(failed, almost, &settings(5));
    assert_eq!(second, run(started, 2, almost));
    assert_eq!(second.after(failed, end, &settings(5)), open(end + RESET));
}

#[test]
fn one_failure_alone_never_trips_however_long_it_takes() {
    let started = Moment::default();
    let late = started + WINDOW * 10;
    assert_eq!(
        CLOSED.after(Outcome::Failure { started }, late, &settings(2)),
        run(started, 1, late)
    );
}

#[test]
fn one_success_ends_a_run() {
    let circuit = run(at(0), 4, at(4000));
    assert_eq!(circuit.after(Outcome::Success, at(4001), &settings(5)), CLOSED);
}

#[test]
fn an_answer_with_an_error_ends_a_run() {
    let circuit = run(at(0), 4, at(4000));
    assert_eq!(circuit.after(Outcome::Alive, at(4001), &settings(5)), CLOSED);
}

#[test]
fn success_in_half_open_closes_after_the_last_step() {
    let mut circuit = half_open(0, 0);
    let mut shares = Vec::new();
    while circuit != CLOSED {
        shares.push(circuit.share(&settings(5)).get());
        circuit = circuit.after(Outcome::Success, at(1), &settings(5));
    }
    assert_eq!(shares, [10, 10, 50, 50, 80, 80]);
}

#[test]
fn failure_in_half_open_opens_again_at_any_step() {
    for step in 0..STEPS.len() {
        let now = at(500);
        assert_eq!(
            half_open(step, 1).after(failure(now), now, &settings(5)),
            open(now + RESET)
        );
    }
}

#[test]
fn a_disabled_breaker_opens_after_the_same_failures_and_closes_with_the_first_success() {
    for threshold in [1, 2, 5] {
        let trip = |settings: BreakerSettings| {
            let mut circuit = CLOSED;
            let mut now = Moment::default();
            while matches!(circuit, Circuit::Closed { .. }) {
                now = now + Duration::from_millis(50);
                circuit = circuit.after(failure(now), now, &settings);
            }
            (now, circuit)
        };
        let (on, _) = trip(settings(threshold));
        let (off, opened) = trip(disabled(threshold));
        assert_eq!(on, off, "threshold {threshold}");
        assert_eq!(opened.after(Outcome::Success, off, &disabled(threshold)), CLOSED);
    }
}

#[test]
fn the_share_follows_the_circuit() {
    let share = |circuit: Circuit| circuit.share(&settings(5)).get();
    assert_eq!(share(CLOSED), 100);
    assert_eq!(share(run(at(0), 4, at(1))), 100);
    assert_eq!(share(open(at(0))), 0);
    assert_eq!(
        [0, 1, 2].map(|step| share(half_open(step, 0))),
        [10, 50, 80],
        "half-open"
    );
}

#[test]
fn a_step_that_an_edit_took_away_counts_as_the_whole_share_and_the_last_step() {
    let circuit = half_open(7, 0);
    assert_eq!(circuit.share(&settings(5)), Percent::FULL);
    assert!(circuit.at_last_step(&settings(5)));
    let once = circuit.after(Outcome::Success, at(0), &settings(5));
    let twice = once.after(Outcome::Success, at(1), &settings(5));
    assert_eq!(twice, CLOSED);
}

#[test]
fn only_the_last_traffic_step_is_the_last() {
    let last = |circuit: Circuit| circuit.at_last_step(&settings(5));
    assert_eq!(
        [0, 1, 2].map(|step| last(half_open(step, 0))),
        [false, false, true]
    );
    assert!(!last(CLOSED) && !last(open(at(0))));
}

/// A breaker that fails at once, as often as it takes to open from `now`.
fn trip(breaker: &mut Breaker, now: Moment) {
    breaker.observe(failure(now), now, &settings(1), WINDOW);
}

fn until(breaker: &Breaker) -> Moment {
    match breaker.circuit {
        Circuit::Open { until } => until,
        other => panic!("{other:?}"),
    }
}

/// Half-open, and failing again, each time.
#[test]
fn each_trip_doubles_the_time_that_the_circuit_stays_open() {
    let mut breaker = Breaker::default();
    let mut now = at(1000);
    let mut pauses = Vec::new();
    for trips in 1..=3 {
        trip(&mut breaker, now);
        assert_eq!(breaker.trips(), trips);
        pauses.push(until(&breaker).since(now));
        now = until(&breaker);
        breaker.observe(Outcome::Success, now, &settings(1), WINDOW);
        assert_eq!(breaker.circuit, half_open(0, 0));
    }
    assert_eq!(pauses, [RESET, RESET * 2, RESET * 4]);
}

#[test]
fn no_pause_is_longer_than_the_longest() {
    let mut breaker = Breaker::restored(CLOSED, 1000, at(0));
    trip(&mut breaker, at(1));
    assert_eq!(until(&breaker).since(at(1)), RESET * 8);
    assert!(breaker.trips() <= 16, "a bounded memory");
}

#[test]
fn trips_longer_ago_than_the_longest_pause_no_longer_count() {
    let mut breaker = Breaker::default();
    trip(&mut breaker, at(0));
    breaker.observe(Outcome::Success, at(60_000), &settings(1), WINDOW);
    let later = at(0) + RESET * 8;
    breaker.observe(
        Outcome::Success,
        later - Duration::from_millis(1),
        &settings(1),
        WINDOW,
    );
    assert_eq!(breaker.trips(), 1);
    breaker.observe(Outcome::Success, later, &settings(1), WINDOW);
    assert_eq!(breaker.trips(), 0);
    trip(&mut breaker, later);
    assert_eq!(until(&breaker).since(later), RESET);
}

#[test]
fn a_failure_while_open_is_no_trip_and_doubles_nothing() {
    let mut breaker = Breaker::default();
    trip(&mut breaker, at(0));
    for _ in 0..5 {
        let now = until(&breaker);
        trip(&mut breaker, now);
        assert_eq!((breaker.trips(), until(&breaker).since(now)), (1, RESET));
    }
}

#[test]
fn a_restored_breaker_goes_on_where_it_was() {
    let mut breaker = Breaker::restored(open(at(500)), 2, at(0));
    assert_eq!(breaker.trips(), 2);
    breaker.observe(Outcome::Success, at(499), &settings(1), WINDOW);
    assert_eq!(breaker.circuit, open(at(500)));
    breaker.observe(Outcome::Success, at(500), &settings(1), WINDOW);
    assert_eq!(breaker.circuit, half_open(0, 0));
    trip(&mut breaker, at(600));
    assert_eq!(until(&breaker).since(at(600)), RESET * 4, "the third trip");
}

#[test]
fn people_see_a_circuit_without_its_counts() {
    assert_eq!(run(at(0), 4, at(1)).shown(), CLOSED);
    assert_eq!(half_open(1, 2).shown(), half_open(1, 0));
    assert_eq!(open(at(5)).shown(), open(at(5)));
}

#[test]
fn so_many_trips_are_remembered_at_most_the_newest() {
    let settings = settings(1);
    let most = u32::try_from(MOST_TRIPS).unwrap();
    assert_eq!(Breaker::restored(half_open(0, 0), 100, at(0)).trips(), most);
    let mut breaker = Breaker::restored(half_open(0, 0), most - 1, at(0));
    breaker.observe(failure(at(1)), at(1), &settings, WINDOW);
    assert_eq!(breaker.trips(), most);
    breaker.circuit = half_open(0, 0);
    breaker.observe(failure(at(1000)), at(1000), &settings, WINDOW);
    assert_eq!(breaker.trips(), most);
    // Those before are too old by then.
    breaker.circuit = half_open(0, 0);
    let later = at(500) + settings.max_reset_timeout;
    breaker.observe(Outcome::Alive, later, &settings, WINDOW);
    assert_eq!(breaker.trips(), 1);
}
