use super::*;

fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

fn refusal() -> Refusal {
    Refusal::new("ServerError", "no")
}

#[test]
fn the_back_off_doubles_up_to_eight_seconds() {
    let mut attempt = Attempt::default();
    let mut waits = Vec::new();
    for _ in 0..9 {
        attempt.was_refused(refusal(), None, at(0));
        waits.extend(attempt.waits(at(0)));
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 8000, 8000].map(at));
}

#[test]
fn the_api_servers_own_wish_is_a_lower_bound() {
    let mut attempt = Attempt::default();
    attempt.was_refused(refusal(), Some(Duration::from_secs(3)), at(0));
    assert_eq!(attempt.waits(at(0)), Some(at(3000)));
    assert_eq!(attempt.waits(at(3000)), None);
}

#[test]
fn the_deadline_of_a_slice_begins_small_and_ends_above_what_the_api_server_takes() {
    let mut attempt = Attempt::default();
    let mut deadlines = Vec::new();
    for _ in 0..5 {
        deadlines.push(attempt.deadline(true, false).as_secs());
        attempt.was_lost(refusal(), None, at(0));
    }
    assert_eq!(deadlines, [3, 12, 35, 35, 35]);
}

/// The first read after a write without an answer goes over a new connection, and takes no longer than that write.
#[test]
fn what_follows_a_request_without_an_answer_is_soon_tried_elsewhere() {
    let mut attempt = Attempt::default();
    assert!(!attempt.is_fresh());
    attempt.was_lost(refusal(), None, at(0));
    assert!(attempt.is_fresh());
    assert_eq!(attempt.deadline(false, true).as_secs(), 3);
    attempt.was_refused(refusal(), None, at(0));
    assert!(!attempt.is_fresh());
}

#[test]
fn an_old_view_is_looked_at_again_at_once_but_not_for_ever() {
    let mut attempt = Attempt::default();
    for _ in 0..OLD_VIEWS {
        attempt.was_old(refusal(), at(0));
        assert!(attempt.unsure && attempt.waits(at(0)).is_none() && attempt.refusal.is_none());
        attempt.read();
    }
    attempt.was_old(refusal(), at(0));
    assert!(attempt.waits(at(0)).is_some() && attempt.refusal.is_some());
}
