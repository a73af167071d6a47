use super::*;

fn key(namespace: &str, name: &str) -> PolicyKey {
    PolicyKey::new(namespace, name)
}

fn full() -> Places {
    let mut places = Places::new(WRITES);
    for namespace in ["a", "b", "c", "d"] {
        for _ in 0..WRITES.of_namespace {
            assert!(places.take(namespace, Moment::default()));
        }
    }
    assert!(!places.take("e", Moment::default()), "{} in all", WRITES.in_all);
    places
}

#[test]
fn routes_go_first_and_namespaces_in_turn() {
    let mut places = full();
    for (namespace, name, routes) in [
        ("e", "1", false),
        ("e", "2", false),
        ("f", "1", false),
        ("f", "2", true),
    ] {
        places.wait(&key(namespace, name), routes);
    }
    assert_eq!(places.next(), None);
    for _ in 0..4 {
        places.release("a", false, None);
    }
    let order: Vec<_> = (0..4).filter_map(|_| places.next()).collect();
    assert_eq!(
        order,
        [key("f", "2"), key("e", "1"), key("f", "1"), key("e", "2")]
    );
    assert_eq!(places.next(), None);
}

#[test]
fn who_waits_for_the_rest_and_gets_routes_to_write_goes_first() {
    let mut places = full();
    places.wait(&key("e", "1"), false);
    places.wait(&key("e", "2"), false);
    places.wait(&key("e", "2"), true);
    places.wait(&key("e", "2"), false);
    places.release("a", false, None);
    assert_eq!(places.next(), Some(key("e", "2")));
    assert_eq!(places.next(), Some(key("e", "1")));
    assert_eq!(places.next(), None);
}

#[test]
fn a_namespace_whose_places_are_taken_waits_alone() {
    let mut places = full();
    places.wait(&key("b", "1"), true);
    places.wait(&key("e", "1"), false);
    places.release("a", false, None);
    assert_eq!(places.next(), Some(key("e", "1")));
    places.release("b", false, None);
    assert_eq!(places.next(), Some(key("b", "1")));
}

#[test]
fn who_is_gone_waits_no_more() {
    let mut places = full();
    places.wait(&key("e", "1"), true);
    places.forget(&key("e", "1"));
    places.release("a", false, None);
    assert_eq!(places.next(), None);
    assert!(places.waiting.is_empty());
}

#[test]
fn a_request_that_takes_long_holds_up_its_own_namespace_alone() {
    let mut places = full();
    places.lend();
    assert!(places.take("e", Moment::default()) && !places.take("e", Moment::default()));
    // Its answer gives back the place in its namespace, and no other one.
    places.release("a", true, None);
    assert!(!places.take("e", Moment::default()));
    places.release("e", false, None);
    assert!(places.take("a", Moment::default()) && !places.take("a", Moment::default()));
}
