//! A process that ends before or after any of its requests, and the next one.

use super::bench::{Bench, Routes, with};
use crate::writing::*;
use distributary_core::decision::DecisionState;
use distributary_core::policy::Mode;

/// Every object without what the server makes of it.
fn state(bench: &Bench) -> Vec<String> {
    let objects = bench.server.objects.iter().map(|(place, object)| {
        let mut object = object.clone();
        for field in ["uid", "resourceVersion", "managedFields"] {
            object["metadata"][field].take();
        }
        format!("{} {object}", place.id)
    });
    objects.collect()
}

/// What a decision to move the writes leaves behind where the process ends at its `n`-th request: before it was carried out,
/// or after; `None`: there is no such request.
fn crashed(n: usize, after: bool, to: Routes) -> Option<Bench> {
    let mut bench = Bench::routed();
    bench.decide(to);
    bench.ends_at(n, after).then_some(bench)
}

/// The next process: it reads everything, decides by the memory until it knows more, then as the first one did.
fn next(crashed: Bench, to: Routes) -> Bench {
    let mut bench = Bench::on(crashed.server, Mode::Enforce);
    bench.declare();
    bench.decide_state(1, DecisionState::Waiting { unchecked: 2 });
    bench.serve();
    assert!(
        bench.log().iter().all(|line| line.starts_with("status")),
        "nothing is known yet"
    );
    bench.decide(to);
    bench.serve();
    bench.pass(10);
    bench
}

#[test]
fn whatever_request_a_process_ends_at_the_next_one_ends_where_it_would_have() {
    let mut undisturbed = Bench::routed();
    undisturbed.decide(with(2, &[1]));
    undisturbed.serve();
    let expected = state(&undisturbed);
    let mut stops = 0;
    for n in 1..20 {
        for after in [false, true] {
            let Some(bench) = crashed(n, after, with(2, &[1])) else {
                continue;
            };
            stops += 1;
            let bench = next(bench, with(2, &[1]));
            assert_eq!(state(&bench), expected, "request {n}, after {after}");
            assert_eq!(bench.server.status.memory, undisturbed.server.status.memory);
        }
    }
    assert!(stops >= 10, "{stops}");
}

/// S10: as soon as the slice of the writes names another server, the memory does.
#[test]
fn the_memory_names_a_server_before_the_slice_does() {
    for n in 1..20 {
        for after in [false, true] {
            let Some(bench) = crashed(n, after, with(2, &[1])) else {
                continue;
            };
            let memory = bench.server.status.memory.clone().unwrap_or_default();
            let holder = memory.holder.unwrap_or_default().endpoint;
            let moved = bench.servers("orders-rw-ipv4-5432") == ["198.18.0.2"];
            assert!(!moved || holder == "a", "request {n}, after {after}: {holder}");
        }
    }
}

#[test]
fn a_new_process_writes_nothing_where_everything_is_as_it_should_be() {
    let bench = Bench::routed();
    let mut bench = Bench::on(bench.server, Mode::Enforce);
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);
}

/// A status of a version without a memory.
#[test]
fn after_an_upgrade_the_memory_alone_is_added() {
    let mut bench = Bench::routed();
    bench.server.status.memory = None;
    let mut bench = Bench::on(bench.server, Mode::Enforce);
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.pass(1);
    assert_eq!(bench.log(), ["status Programmed"]);
    assert!(bench.server.status.memory.is_some());
    let input = Input::Leads { until: None };
    bench.take(input);
    assert_eq!(bench.log(), [""; 0]);
}
