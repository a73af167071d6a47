use super::*;
use distributary_core::fixture::{at, policy};
use distributary_core::ids::EndpointId;
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
    }
}

fn measure(board: &Board, name: &str, figures: Option<Figures>, millis: u64) {
    let key = ProbeKey {
        policy: key(name),
        target: TargetId::host(EndpointId::from("a")),
    };
    board.measured(Measurement { key, figures }, at(millis));
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
