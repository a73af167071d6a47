use super::*;
use distributary_core::fixture::{at, policy};
use distributary_core::ids::EndpointId;
use distributary_core::observation::{FailureClass, Load, Role};
use distributary_core::statistics::Measured;
use distributary_core::target::ProbeKey;
use distributary_core::world::{Announcement, Event, Memory, World};

/// A board with these policies, each decided once.
fn board(names: &[&str]) -> Board {
    let (board, mut world) = (Board::default(), World::default());
    for name in names {
        let mut case = policy(&["a"]);
        case.key = PolicyKey::new("shop", *name);
        decide(&board, &mut world, case.changed(Memory::default()));
    }
    board
}

fn decide(board: &Board, world: &mut World, event: Event) {
    for report in world.advance(at(1), [event]).writer {
        if let Announcement::Decided { key, decision, .. } = report {
            board.decided(&key, &decision);
        }
    }
}

fn key(name: &str) -> PolicyKey {
    PolicyKey::new("shop", name)
}

fn figures(took: Option<Duration>) -> Figures {
    Figures {
        lag: None,
        load: None,
        took,
        measured: None,
    }
}

fn measure(board: &Board, name: &str, figures: Option<Figures>, millis: u64) {
    let key = ProbeKey {
        policy: key(name),
        target: TargetId::host(EndpointId::from("a")),
    };
    let measurement = Measurement {
        key,
        silent: figures.is_none(),
        figures,
        failure: None,
    };
    board.measured(measurement, at(millis));
}

#[test]
fn policies_are_listed_by_name_each_as_it_is_when_it_is_asked_for() {
    let board = board(&["c", "a", "b", "d"]);
    let mut list = board.list();
    assert_eq!(list.next().unwrap().0, key("a"));
    // The engine goes on meanwhile.
    board.forget(&key("b"));
    measure(&board, "c", Some(figures(None)), 7);
    let rest: Vec<_> = list.map(|(key, entry)| (key.name, entry.figures.len())).collect();
    assert_eq!(rest, [("c".to_owned(), 1), ("d".to_owned(), 0)]);
}

#[test]
fn the_figures_of_an_endpoint_are_those_of_its_pod_that_is_worst_off() {
    let pod = |last: u8| TargetId {
        endpoint: EndpointId::from("a"),
        pod: Some([10, 0, 0, last].into()),
    };
    let told = |lag, (sessions, max_connections), check, millis| TargetFigures {
        lag,
        load: Some(Load {
            sessions,
            max_connections,
            ..Load::default()
        }),
        check,
        at: at(millis),
    };
    let lag = |seconds| {
        let time = Duration::from_secs(seconds);
        Some(Lag::Behind { time, bytes: None })
    };
    let took = |millis| Some(Duration::from_millis(millis));
    let all = [
        told(lag(28), (10, 100), took(1), 5),
        told(lag(3), (19, 20), took(2), 7),
        told(Some(Lag::Unknown), (90, 100), None, 9),
    ];
    let mut entry = board(&["a"]).get(&key("a")).unwrap();
    // Whichever of them is told first, and whoever has the lowest address.
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let pods = order.iter().zip(1..);
        entry.figures = pods.map(|(place, last)| (pod(last), all[*place])).collect();
        let found = entry.figures_of(&EndpointId::from("a")).unwrap();
        assert_eq!(found, told(lag(28), (19, 20), took(2), 9), "{order:?}");
        assert_eq!(entry.figures_of(&EndpointId::from("b")), None);
    }
}

#[test]
fn the_time_of_a_check_stays_until_another_good_check() {
    let board = board(&["a"]);
    let told = |board: &Board| board.get(&key("a")).unwrap().figures.into_values().next();
    let took = Some(Duration::from_millis(3));
    measure(&board, "a", Some(figures(took)), 7);
    measure(&board, "a", Some(figures(None)), 9);
    let known = told(&board).unwrap();
    assert_eq!((known.check, known.at), (took, at(9)));
    measure(&board, "a", None, 10);
    assert_eq!(told(&board), None);
}

#[test]
fn of_a_policy_that_is_not_known_nothing_is_kept() {
    let board = board(&["a"]);
    measure(&board, "b", Some(figures(None)), 7);
    assert!(board.get(&key("b")).is_none());
    board.forget(&key("a"));
    measure(&board, "a", Some(figures(None)), 8);
    assert_eq!(board.list().count(), 0);
}

/// What the target of the endpoint told at this second, as which role and with so many transactions a second; or why its check failed.
fn tell(board: &Board, id: &str, second: u64, told: Result<(Role, u64), FailureClass>) {
    let key = ProbeKey {
        policy: key("a"),
        target: TargetId::host(EndpointId::from(id)),
    };
    let figures = told.ok().map(|(role, rate)| Figures {
        lag: None,
        load: Some(Load {
            transactions: second * rate,
            ..Load::default()
        }),
        took: None,
        measured: Some(Measured {
            at: at(second * 1000),
            role,
            asked: 0,
            operators: Some(1),
        }),
    });
    let measurement = Measurement {
        key,
        silent: figures.is_none(),
        figures,
        failure: told.err(),
    };
    board.measured(measurement, at(second * 1000));
}

#[test]
fn statistics_outlive_a_silence_and_end_with_their_endpoint() {
    let (board, mut world) = (Board::default(), World::default());
    let mut case = policy(&["a", "b"]);
    case.key = key("a");
    decide(&board, &mut world, case.changed(Memory::default()));
    let seconds = (0..=70).step_by(2);
    for second in seconds {
        tell(&board, "primary", second, Ok((Role::Primary, 60)));
        tell(&board, "a", second, Ok((Role::Standby, 20)));
    }
    let target = |id: &str| TargetId::host(EndpointId::from(id));
    let entry = board.get(&key("a")).unwrap();
    assert_eq!(entry.replica_share(at(70_000)), Some(0.25));
    assert_eq!(entry.replica_share(at(200_000)), None);
    tell(&board, "a", 71, Err(FailureClass::Dead { hard: true }));
    let entry = board.get(&key("a")).unwrap();
    assert!(!entry.figures.contains_key(&target("a")));
    let summary = entry.summary(&target("a"), at(71_000)).unwrap();
    assert_eq!(summary.minute.transactions, Some(20.0));
    assert_eq!(summary.errors[0], ("Dead", 1));
    // What was read before stays as it was.
    tell(&board, "a", 72, Err(FailureClass::Dead { hard: true }));
    assert_eq!(
        entry.summary(&target("a"), at(71_000)).unwrap().errors[0],
        ("Dead", 1)
    );
    let mut without = policy(&["b"]);
    (without.key, without.generation) = (key("a"), 2);
    decide(&board, &mut world, without.changed(Memory::default()));
    assert_eq!(
        board.get(&key("a")).unwrap().summary(&target("a"), at(72_000)),
        None
    );
}

#[test]
fn who_has_not_answered_for_a_minute_has_no_part_in_the_share_of_replicas() {
    let (board, mut world) = (Board::default(), World::default());
    let mut case = policy(&["a", "b"]);
    case.key = key("a");
    decide(&board, &mut world, case.changed(Memory::default()));
    let share = |second: u64| board.get(&key("a")).unwrap().replica_share(at(second * 1000));
    for second in (0..=200).step_by(2) {
        tell(&board, "primary", second, Ok((Role::Primary, 60)));
        tell(&board, "a", second, Ok((Role::Standby, 20)));
        match second {
            0..=70 => tell(&board, "b", second, Ok((Role::Standby, 20))),
            72 => {
                assert_eq!(share(second), Some(0.4));
                tell(&board, "b", second, Err(FailureClass::Dead { hard: true }));
            }
            _ => {}
        }
    }
    assert_eq!(share(200), Some(0.25));
    // Without the primary nothing is known.
    tell(&board, "primary", 201, Err(FailureClass::Dead { hard: true }));
    for second in (202..=300).step_by(2) {
        tell(&board, "a", second, Ok((Role::Standby, 20)));
    }
    assert_eq!(share(300), None);
}

#[test]
fn who_follows_hears_of_a_decision_that_is_another_one_and_then_finds_it() {
    use futures::FutureExt;
    let (board, mut world) = (Board::default(), World::default());
    let mut follower = board.changes().follow();
    let mut case = policy(&["a"]);
    case.key = key("a");
    decide(&board, &mut world, case.changed(Memory::default()));
    let own = Changed::Policy(key("a"));
    let mut hears = || follower.changed(&own).now_or_never().is_some();
    assert_eq!((hears(), hears()), (true, false));
    let decision = board.get(&key("a")).unwrap().decision;
    board.decided(&key("a"), &decision);
    board.decided(&key("b"), &decision);
    measure(&board, "a", Some(figures(None)), 2);
    assert!(!hears(), "nothing of it is another one");
    let mut other = (*decision).clone();
    other.recalled += 1;
    board.decided(&key("a"), &Arc::new(other));
    assert!(hears());
    board.forget(&key("a"));
    assert!(hears());
}
