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
    bench.take(Input::Leads { until: Some(until) });
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
    bench.take(Input::Leads {
        until: Some(bench.now.moment),
    });
    bench.serve();
    assert_eq!(bench.log(), ["update EndpointSlice orders-ro-ipv4-5432"]);
    bench.mend();
    bench.take(Input::Leads { until: None });
    // It did not fail: nothing is read, and nothing is waited for.
    assert_eq!(bench.requests(), ["update EndpointSlice orders-ro-ipv4-5432"]);
}
