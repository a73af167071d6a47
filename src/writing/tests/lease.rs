//! With the lease, and without.

use std::time::Duration;

use super::bench::{Bench, Fault, with};
use crate::writing::*;

#[test]
fn who_follows_sends_nothing_and_goes_on_when_it_leads() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    bench.decide(with(1, &[]));
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);
    bench.take(Input::Leads { until: None });
    bench.serve();
    assert_eq!(bench.log()[0], "update EndpointSlice orders-ro-ipv4-5432");
}

#[test]
fn no_request_starts_with_less_than_two_seconds_of_the_lease_left() {
    let mut bench = Bench::routed();
    let until = bench.now.moment + Duration::from_secs(5);
    bench.take(Input::Renewed { until });
    bench.now.moment = bench.now.moment + Duration::from_millis(3001);
    bench.decide(with(1, &[]));
    assert!(bench.requests().is_empty());
    let until = bench.now.moment + Duration::from_secs(2);
    bench.take(Input::Renewed { until });
    assert_eq!(bench.requests(), ["update EndpointSlice orders-ro-ipv4-5432"]);
}

#[test]
fn an_answer_that_comes_after_the_lease_starts_nothing() {
    let mut bench = Bench::routed();
    bench.decide(with(2, &[1]));
    bench.take(Input::Follows);
    bench.serve();
    let under_way = ["status memory a 3", "update EndpointSlice orders-ro-ipv4-5432"];
    assert_eq!(bench.log(), under_way);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
}

#[test]
fn who_begins_to_lead_reads_before_its_first_write() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    bench.decide(with(1, &[]));
    bench.begins();
    assert_eq!(
        bench.requests(),
        ["get policy", "get EndpointSlice orders-rw-ipv4-5432"]
    );
    bench.serve_one();
    assert_eq!(bench.requests(), ["get EndpointSlice orders-rw-ipv4-5432"]);
    bench.serve_one();
    assert_eq!(bench.requests(), ["update EndpointSlice orders-ro-ipv4-5432"]);
}

#[test]
fn who_begins_to_lead_attends_first_to_routes_that_differ() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    bench.declare_generation(2);
    bench.decide_generation(2, with(1, &[2]));
    bench.begins();
    assert_eq!(bench.requests(), [""; 0], "the status alone differs");
    bench.pass(1);
    assert_eq!(bench.server.status.observed_generation, Some(2));
}

#[test]
fn what_a_follower_saw_to_differ_and_no_longer_does_is_not_attended_first() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    bench.declare_generation(2);
    bench.decide_generation(2, with(1, &[]));
    bench.decide_generation(2, with(1, &[2]));
    bench.begins();
    assert_eq!(bench.requests(), [""; 0]);
}

#[test]
fn a_change_of_leaders_among_well_servers_asks_for_nothing() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    bench.pass(60);
    bench.begins();
    bench.pass(60);
    assert_eq!(
        (bench.log(), bench.notices(), bench.recalled),
        (vec![], vec![], 0)
    );
}

#[test]
fn what_the_watch_did_not_show_is_found_before_the_first_write() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    bench.decide(with(1, &[]));
    // The leader before moved the writes, and no watch shows it.
    bench.edit("orders-rw-ipv4-5432", "198.18.0.2");
    bench.begins();
    bench.serve_one();
    bench.serve_one();
    let first = ["update EndpointSlice orders-ro-ipv4-5432"];
    assert_eq!(
        bench.requests(),
        first,
        "and the writes wait until the readers are withdrawn"
    );
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
}

#[test]
fn a_policy_that_is_declared_to_a_leader_is_read_before_its_first_write() {
    let mut bench = Bench::new();
    bench.begins();
    bench.declare();
    bench.decide(with(1, &[2]));
    assert_eq!(bench.requests(), ["get policy"]);
    bench.serve();
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
}

#[test]
fn the_memory_that_is_read_goes_before_the_choice_of_a_follower() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    bench.decide(with(2, &[1]));
    assert_eq!(bench.recalled, 0);
    bench.begins();
    bench.serve();
    assert_eq!(bench.recalled, 1);
    // Another decision is awaited: the writes stay where the memory has them.
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
    bench.decide(with(1, &[2]));
    bench.pass(60);
    assert_eq!(
        (bench.servers("orders-rw-ipv4-5432"), bench.recalled),
        (vec!["198.18.0.1".to_owned()], 1)
    );
}

/// Though no slice of the writes is due: the status would forget the memory, and reads follow the decision, too.
#[test]
fn nothing_is_written_by_a_decision_from_before_the_memory_that_is_read() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    let mut status = bench.server.status.clone();
    status.memory.as_mut().unwrap().timeline = Some(9);
    bench.server.write_status(status);
    bench.decide(with(1, &[]));
    bench.begins();
    bench.log();
    bench.unconsidered = 1;
    bench.serve();
    bench.decide(with(1, &[]));
    bench.serve();
    let log = bench.log();
    assert!(log.iter().all(|line| line.starts_with("get")), "{log:?}");
    assert_eq!(bench.recalled, 1);
    bench.unconsidered = 0;
    bench.decide(with(1, &[]));
    bench.serve();
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), [""; 0]);
}

#[test]
fn a_follower_takes_over_each_memory_that_it_sees() {
    let mut bench = Bench::routed();
    let mut status = bench.server.status.clone();
    status.memory.as_mut().unwrap().timeline = Some(9);
    bench.server.write_status(status.clone());
    bench.see_status();
    assert_eq!(bench.recalled, 0, "who leads puts it right");
    bench.take(Input::Follows);
    let before = bench.requests();
    bench.see_status();
    assert_eq!(bench.recalled, 0);
    status.memory.as_mut().unwrap().timeline = Some(10);
    bench.server.write_status(status.clone());
    bench.see_status();
    bench.see_status();
    assert_eq!(bench.recalled, 1);
    status.memory.as_mut().unwrap().timeline = Some(11);
    bench.server.write_status(status);
    bench.declare_generation(2);
    assert_eq!(bench.recalled, 2);
    assert_eq!(bench.requests(), before);
}

#[test]
fn a_renewal_of_a_lease_that_was_lost_is_none() {
    let mut bench = Bench::routed();
    bench.take(Input::Follows);
    let until = bench.now.moment + Duration::from_secs(60);
    bench.take(Input::Renewed { until });
    bench.decide(with(1, &[]));
    assert_eq!(bench.requests(), [""; 0]);
}

#[test]
fn who_follows_tells_nothing_then_or_later() {
    let mut bench = Bench::routed();
    bench.decide(with(1, &[]));
    bench.take(Input::Follows);
    bench.serve();
    bench.decide(with(1, &[2]));
    bench.take(Input::Leads { until: None });
    bench.pass(1);
    assert_eq!(bench.notices(), [""; 0]);
}

#[test]
fn a_request_that_was_not_sent_is_sent_when_enough_of_the_lease_is_left() {
    let mut bench = Bench::routed();
    bench.fault("update EndpointSlice orders-ro", Fault::Unsent);
    bench.decide(with(1, &[]));
    let until = bench.now.moment;
    bench.take(Input::Renewed { until });
    bench.serve();
    assert_eq!(bench.log(), ["update EndpointSlice orders-ro-ipv4-5432"]);
    bench.mend();
    let until = until + Duration::from_secs(60);
    bench.take(Input::Renewed { until });
    // It did not fail: nothing is read, and nothing is waited for.
    assert_eq!(bench.requests(), ["update EndpointSlice orders-ro-ipv4-5432"]);
}
