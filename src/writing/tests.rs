//! The writing half against a simulated API server.

pub mod bench;
mod config_maps;
mod crashes;
mod faults;
mod lease;
mod ownership;
mod promotion;
mod rivals;

use bench::{Bench, Fault, with};
use distributary_core::policy::Mode;

#[test]
fn a_new_policy_is_logged_then_routed_then_told() {
    let mut bench = Bench::new();
    bench.declare();
    assert!(bench.requests().is_empty(), "nothing is decided yet");
    bench.decide(with(1, &[2]));
    bench.serve();
    assert_eq!(
        bench.log(),
        [
            "status memory primary 3",
            "get Service orders-rw",
            "get Service orders-ro",
            "create EndpointSlice orders-rw-ipv4-5432",
            "create EndpointSlice orders-ro-ipv4-5432",
            "create Service orders-rw",
            "create Service orders-ro",
            "create ConfigMap orders-routing",
            "status Programmed",
        ]
    );
}

/// kube-proxy's first synchronisation of a Service finds its slices.
#[test]
fn a_service_is_made_after_its_slices_whatever_is_answered_first() {
    let mut bench = Bench::new();
    bench.fault("status memory", Fault::Hangs);
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.serve();
    let log = bench.log();
    assert!(
        !log.iter().any(|line| line.contains("create Service orders-rw")),
        "{log:?}"
    );
    assert!(
        log.iter().any(|line| line.contains("create Service orders-ro")),
        "{log:?}"
    );
    bench.mend();
    bench.serve();
    assert_eq!(bench.condition("Programmed"), "Programmed");
}

#[test]
fn an_unchanged_world_and_the_echo_of_a_write_give_no_request() {
    let mut bench = Bench::routed();
    bench.echo();
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0]);
}

#[test]
fn a_replica_that_leaves_is_one_slice_the_config_map_and_the_status() {
    let mut bench = Bench::routed();
    bench.decide(with(1, &[]));
    bench.serve();
    assert_eq!(
        bench.log(),
        [
            "update EndpointSlice orders-ro-ipv4-5432",
            "update ConfigMap orders-routing",
            "status Programmed"
        ]
    );
}

#[test]
fn writes_move_only_after_the_move_was_logged() {
    let mut bench = Bench::routed();
    bench.decide(with(2, &[1]));
    bench.serve();
    let log = bench.log();
    assert_eq!(log[0], "status memory a 3");
    assert_eq!(
        log[1..3],
        [
            "update EndpointSlice orders-ro-ipv4-5432",
            "update EndpointSlice orders-rw-ipv4-5432"
        ]
    );
    assert_eq!(log.last().map(String::as_str), Some("status Programmed"));
}

/// The old server leaves one slice before the new one enters another.
#[test]
fn writes_are_withdrawn_before_they_are_published_elsewhere() {
    let mut bench = Bench::routed();
    bench.fault("delete EndpointSlice orders-rw-ipv4-5432", Fault::Refused(500));
    bench.decide(bench::on_port(2, 5433));
    bench.serve();
    bench.pass(2);
    let log = bench.log();
    assert!(
        !log.iter().any(|line| line.contains("orders-rw-ipv4-5433")),
        "{log:?}"
    );
    bench.mend();
    bench.pass(10);
    let log = bench.log();
    let place = |text: &str| {
        log.iter()
            .position(|line| line == text)
            .unwrap_or_else(|| panic!("{text}: {log:?}"))
    };
    assert!(
        place("delete EndpointSlice orders-rw-ipv4-5432") < place("create EndpointSlice orders-rw-ipv4-5433")
    );
}

#[test]
fn slices_of_the_next_decision_wait_a_tenth_of_a_second_whichever_they_are() {
    let mut bench = Bench::routed();
    bench.decide(with(1, &[]));
    assert_eq!(bench.requests(), ["update EndpointSlice orders-ro-ipv4-5432"]);
    bench.serve_now();
    let begun = bench.now.moment;
    bench.decide(with(2, &[]));
    bench.serve_now();
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
    bench.pass(1);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    assert!(bench.now.moment > begun);
}

#[test]
fn a_second_write_of_a_slice_waits_a_tenth_of_a_second() {
    let mut bench = Bench::routed();
    bench.decide(with(1, &[]));
    bench.serve_now();
    bench.decide(with(1, &[2]));
    bench.serve_now();
    let log = bench.log();
    let slices = log.iter().filter(|line| line.contains("EndpointSlice"));
    assert_eq!(slices.count(), 1, "{log:?}");
    bench.pass(1);
    assert!(
        bench
            .log()
            .iter()
            .any(|line| line == "update EndpointSlice orders-ro-ipv4-5432")
    );
}

#[test]
fn decisions_that_come_meanwhile_are_written_together() {
    let mut bench = Bench::routed();
    bench.decide(with(1, &[]));
    bench.serve_now();
    bench.log();
    for addresses in [&[2_u8][..], &[], &[2], &[]] {
        bench.decide(with(1, addresses));
    }
    bench.pass(1);
    // They end where they began, and one status tells of all of them.
    assert_eq!(bench.log(), ["status Programmed"]);
}

#[test]
fn an_invalid_spec_is_told_and_writes_nothing_else() {
    let mut bench = Bench::new();
    bench.declare_invalid("spec.replicas: too many");
    bench.serve();
    assert_eq!(bench.log(), ["status Waiting"]);
    assert_eq!(bench.condition("Accepted"), "Invalid");
}

#[test]
fn in_mode_observe_the_status_alone_is_written() {
    let mut bench = Bench::of(Mode::Observe);
    bench.declare();
    bench.decide_as(Mode::Observe, with(1, &[2]));
    bench.serve();
    assert_eq!(bench.log(), ["status Observing"]);
}

#[test]
fn a_decision_about_an_older_spec_writes_nothing() {
    let mut bench = Bench::routed();
    bench.declare_generation(2);
    bench.decide(with(1, &[]));
    bench.serve();
    assert_eq!(bench.log(), [""; 0]);
    bench.decide_generation(2, with(1, &[]));
    bench.serve();
    assert_eq!(bench.log()[0], "update EndpointSlice orders-ro-ipv4-5432");
}

#[test]
fn events_of_transitions_follow_the_slices() {
    let mut bench = Bench::routed();
    bench.decide(with(1, &[]));
    assert!(bench.notices().is_empty(), "the slice is under way");
    bench.serve();
    assert_eq!(bench.notices(), ["Suspect", "NotReady"]);
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let mut bench = Bench::routed();
    bench.decide(with(1, &[]));
    bench.gone();
    bench.serve();
    bench.pass(60);
    assert!(bench.writing.desks.is_empty() && bench.writing.uids.is_empty());
    assert!(bench.writing.sent.is_empty() && bench.writing.marked.is_empty());
    assert_eq!(bench.writing.deadline(), None);
}
