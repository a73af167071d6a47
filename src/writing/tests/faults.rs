//! Requests that fail, and what waits for them.

use super::bench::{Bench, Fault, on_port, with};
use distributary_api::{HolderStatus, MemoryStatus};
use serde_json::json;

const RO: &str = "update EndpointSlice orders-ro-ipv4-5432";

#[test]
fn what_was_changed_meanwhile_is_read_and_written_again() {
    let mut bench = Bench::routed();
    let place = bench
        .server
        .objects
        .keys()
        .find(|place| place.id.name == "orders-ro-ipv4-5432")
        .cloned()
        .unwrap();
    let mut object = bench.server.objects[&place].clone();
    object["metadata"]["labels"]["team"] = json!("shop");
    bench.server.put(place.clone(), object);
    bench.decide(with(1, &[]));
    bench.serve();
    assert_eq!(
        bench.log()[..3],
        [
            RO.to_owned(),
            "get EndpointSlice orders-ro-ipv4-5432".to_owned(),
            RO.to_owned()
        ]
    );
    assert_eq!(bench.server.objects[&place]["metadata"]["labels"]["team"], "shop");
    assert!(bench.servers("orders-ro-ipv4-5432").is_empty());
}

#[test]
fn where_no_answer_came_the_object_is_read_before_it_is_written_again() {
    for (fault, again) in [(Fault::AnswerLost, false), (Fault::Lost, true)] {
        let mut bench = Bench::routed();
        bench.fault(RO, fault);
        bench.decide(with(1, &[]));
        bench.serve_now();
        assert_eq!(bench.log(), [RO, "update ConfigMap orders-routing"]);
        bench.mend();
        bench.pass(2);
        let log = bench.log();
        assert_eq!(log[0], "get EndpointSlice orders-ro-ipv4-5432");
        assert_eq!(log.iter().any(|line| line == RO), again, "{log:?}");
        assert_eq!(log.last().map(String::as_str), Some("status Programmed"));
        assert!(bench.servers("orders-ro-ipv4-5432").is_empty());
    }
}

#[test]
fn what_does_not_depend_on_a_refused_write_goes_on_and_the_words_of_the_api_server_are_told() {
    let mut bench = Bench::new();
    bench.fault("create Service", Fault::Refused(403));
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.pass(1);
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.2"]);
    assert!(
        bench
            .server
            .objects
            .keys()
            .any(|place| place.id.name == "orders-routing")
    );
    let message = bench.message("Programmed");
    assert!(
        message.contains("create Service orders-ro: Forbidden (so it is)"),
        "{message}"
    );
    assert_eq!(bench.condition("Stalled"), "WriteFailed", "a person must act");
    // The dead server leaves what was written all the same.
    bench.log();
    bench.decide(with(1, &[]));
    bench.serve();
    assert!(bench.log().iter().any(|line| line == RO));
    bench.mend();
    bench.pass(30);
    assert_eq!(bench.condition("Programmed"), "Programmed");
    assert_eq!(bench.condition("Stalled"), "Progressing");
}

#[test]
fn refused_writes_are_tried_less_and_less_often() {
    let mut bench = Bench::routed();
    bench.fault(RO, Fault::Refused(500));
    bench.decide(with(1, &[]));
    bench.pass(60);
    let tries = bench.log().iter().filter(|line| *line == RO).count();
    assert!((10..=16).contains(&tries), "0.1, 0.2, 0.4 … 8 s: {tries}");
}

#[test]
fn a_request_without_an_answer_holds_up_only_what_depends_on_it() {
    let mut bench = Bench::routed();
    bench.fault("update EndpointSlice orders-rw", Fault::Hangs);
    bench.decide(with(2, &[]));
    bench.serve();
    let log = bench.log();
    assert!(
        log.iter().any(|line| line == RO),
        "a withdrawal waits for nothing: {log:?}"
    );
    assert!(
        !log.iter().any(|line| line.contains("ConfigMap")),
        "it is written in order: {log:?}"
    );
    bench.pass(2);
    let log = bench.log();
    assert!(
        log.iter().any(|line| line.contains("ConfigMap")),
        "but not for ever: {log:?}"
    );
}

#[test]
fn another_memory_is_recalled_and_nothing_leads_elsewhere_until_it_is_decided_anew() {
    let mut bench = Bench::routed();
    let mut status = bench.server.status.clone();
    let holder = HolderStatus {
        endpoint: "other".to_owned(),
        ..HolderStatus::default()
    };
    status.memory = Some(MemoryStatus {
        holder: Some(holder),
        ..MemoryStatus::default()
    });
    bench.server.write_status(status);
    bench.decide(with(2, &[1]));
    bench.serve();
    assert_eq!(bench.recalled, 1);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
    // A decision that was made before the engine took the memory in.
    bench.unconsidered = 1;
    bench.decide(with(2, &[]));
    bench.pass(1);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
    bench.unconsidered = 0;
    bench.decide(on_port(2, 5432));
    bench.pass(1);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
}

#[test]
fn a_log_whose_answer_is_lost_is_no_other_writers() {
    for fault in [Fault::AnswerLost, Fault::Lost] {
        let mut bench = Bench::routed();
        bench.fault("status memory", fault);
        bench.decide(with(2, &[1]));
        bench.serve();
        bench.mend();
        bench.pass(2);
        assert_eq!(bench.recalled, 0, "{fault:?}");
        assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    }
}

/// A mutating webhook, say.
#[test]
fn what_somebody_undoes_at_once_is_written_less_and_less_often() {
    let mut bench = Bench::routed();
    bench.server.undoes = Some("orders-ro-ipv4-5432".to_owned());
    bench.decide(with(1, &[]));
    bench.pass(60);
    let writes = bench.log().iter().filter(|line| *line == RO).count();
    assert!((8..=16).contains(&writes), "{writes}");
}

#[test]
fn a_request_without_an_answer_is_told() {
    let mut bench = Bench::routed();
    bench.fault(RO, Fault::Hangs);
    bench.decide(with(1, &[]));
    bench.pass(2);
    assert_eq!(bench.condition("Programmed"), "Programmed", "not yet");
    bench.pass(2);
    assert_eq!(bench.condition("Programmed"), "WriteFailed");
    assert!(
        bench.message("Programmed").contains("Slow"),
        "{}",
        bench.message("Programmed")
    );
    bench.mend();
    bench.serve();
    assert_eq!(bench.condition("Programmed"), "Programmed");
}

#[test]
fn a_memory_that_is_not_kept_stops_nothing_for_ever_and_is_told() {
    let mut bench = Bench::routed();
    bench.server.forgets_memory = true;
    bench.server.status.memory = None;
    bench.decide(with(2, &[1]));
    bench.pass(4);
    assert_eq!(
        bench.servers("orders-rw-ipv4-5432"),
        ["198.18.0.1"],
        "failoverTimeout is 5 s"
    );
    bench.pass(4);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    let message = bench.message("Programmed");
    assert!(
        message.contains("the choice of the write primary is not"),
        "{message}"
    );
}

/// A right or a webhook that refuses the status, while nothing but the writes is to be led elsewhere.
#[test]
fn a_log_that_is_refused_while_nothing_else_is_due_stops_nothing_for_ever() {
    let mut bench = Bench::routed();
    bench.fault("status", Fault::Refused(403));
    bench.decide(with(2, &[2]));
    bench.pass(4);
    assert_eq!(
        bench.servers("orders-rw-ipv4-5432"),
        ["198.18.0.1"],
        "failoverTimeout is 5 s"
    );
    bench.pass(10);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    let log = bench.log();
    assert!(log.len() < 30, "less and less often: {log:?}");
}

/// Twenty policies whose writes get no answer, more than a namespace has places.
#[test]
fn a_namespace_whose_writes_hang_still_tells_so() {
    let mut bench = Bench::routed();
    bench.fault("update EndpointSlice", Fault::Hangs);
    bench.crowd(20);
    bench.decide(with(1, &[]));
    bench.pass(10);
    assert_eq!(bench.condition("Programmed"), "WriteFailed");
}

/// As long as a webhook takes for each, there is a place now and then, and never enough of them.
#[test]
fn a_namespace_whose_writes_fail_one_after_the_other_still_tells_so() {
    let mut bench = Bench::routed();
    bench.crowd(16);
    bench.decide(with(1, &[]));
    for _ in 0..10 {
        bench.pass(1);
        bench.crowd_fails();
    }
    assert_eq!(bench.condition("Programmed"), "WriteFailed");
}

/// Each takes ten seconds, and another one begins every two.
#[test]
fn writes_that_fail_one_after_the_other_are_told_though_others_are_under_way() {
    let mut bench = Bench::new();
    bench.fault("create", Fault::Hangs);
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.pass(1);
    let tell = |bench: &mut Bench| {
        for _ in 0..20 {
            bench.pass(2);
            bench.lose_the_oldest();
        }
    };
    tell(&mut bench);
    let message = bench.message("Programmed");
    assert!(message.contains("Deadline (no answer)"), "{message}");
    bench.log();
    tell(&mut bench);
    let told = bench
        .log()
        .iter()
        .filter(|line| line.starts_with("status"))
        .count();
    assert!(told <= 20, "it is told {told} times in 40 s");
}

#[test]
fn a_log_that_finds_no_place_is_not_given_up() {
    let mut bench = Bench::routed();
    bench.crowd_of_logs(true);
    bench.decide(with(2, &[1]));
    // Other requests succeed, for longer than failoverTimeout.
    bench.pass(8);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
    bench.crowd_of_logs(false);
    bench.pass(1);
    bench.pass(1);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    let message = bench.message("Programmed");
    assert!(!message.contains("is not"), "{message}");
}

/// What was told while the log could not be written is not so any more.
#[test]
fn a_log_that_is_taken_late_ends_what_was_said_of_it() {
    let mut bench = Bench::routed();
    bench.fault("status memory", Fault::Refused(500));
    bench.decide(with(2, &[1]));
    bench.pass(1);
    // Another request succeeds.
    bench.decide(with(2, &[]));
    bench.pass(8);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    bench.mend();
    bench.pass(20);
    assert_eq!(bench.message("Programmed"), "The routes are written.");
}

#[test]
fn a_report_that_is_refused_delays_no_log() {
    let mut bench = Bench::routed();
    bench.fault("status P", Fault::Refused(422));
    bench.decide(with(1, &[]));
    bench.pass(30);
    bench.log();
    bench.decide(with(2, &[1]));
    bench.pass(1);
    assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    let log = bench.log();
    assert_eq!(log.first().unwrap(), "status memory a 3", "{log:?}");
}

/// A load balancer, or one API server of several, that does not know the policy for a moment.
#[test]
fn a_policy_that_is_not_found_for_a_moment_is_written_again() {
    let mut bench = Bench::routed();
    bench.server.hides_policy = true;
    bench.fault("status", Fault::Refused(404));
    bench.decide(with(1, &[]));
    bench.pass(2);
    bench.decide(with(1, &[2]));
    bench.mend();
    bench.server.hides_policy = false;
    bench.pass(12);
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.2"]);
    assert_eq!(bench.condition("Programmed"), "Programmed");
    // Its watch tells it sooner.
    bench.server.hides_policy = true;
    bench.fault("status", Fault::Refused(404));
    bench.decide(with(1, &[]));
    bench.pass(2);
    bench.mend();
    bench.server.hides_policy = false;
    let status = bench.server.status.clone();
    bench.server.write_status(status);
    bench.see_status();
    bench.decide(with(1, &[2]));
    bench.pass(1);
    assert_eq!(bench.servers("orders-ro-ipv4-5432"), ["198.18.0.2"]);
}

#[test]
fn each_refused_object_and_a_refused_status_is_an_event_once() {
    let mut bench = Bench::routed();
    bench.notices();
    bench.fault("update EndpointSlice", Fault::Refused(403));
    bench.decide(with(1, &[]));
    bench.pass(20);
    let events = bench.notices();
    let count = |reason: &str| events.iter().filter(|event| *event == reason).count();
    assert_eq!(
        (count("WriteRefused"), count("StatusRefused")),
        (1, 0),
        "{events:?}"
    );
    bench.mend();
    bench.fault("status", Fault::Refused(403));
    bench.decide(with(1, &[2]));
    bench.pass(20);
    let events = bench.notices();
    let count = |reason: &str| events.iter().filter(|event| *event == reason).count();
    assert_eq!(count("StatusRefused"), 1, "{events:?}");
}

const RW: &str = "update EndpointSlice orders-rw-ipv4-5432";

/// Somebody changed the slice of the writes, and what puts it right is under way when the writes are to move.
fn about_to_move() -> Bench {
    let mut bench = Bench::routed();
    bench.edit("orders-rw-ipv4-5432", "198.18.0.9");
    bench.echo();
    assert_eq!(bench.requests(), [RW]);
    bench.fault(RW, Fault::Hangs);
    bench.decide(with(2, &[1]));
    bench.serve_now();
    bench
}

fn is_logged(bench: &mut Bench) -> bool {
    let log = bench.log();
    log.iter().any(|line| line.starts_with("status memory a"))
}

/// Otherwise it arrives after the log, and leads the writes to whom the memory does not name.
#[test]
fn a_move_is_logged_after_the_answer_to_a_write_that_leads_elsewhere() {
    for fault in [None, Some(Fault::Refused(500)), Some(Fault::AnswerLost)] {
        let mut bench = about_to_move();
        assert!(!is_logged(&mut bench), "{fault:?}");
        bench.mend();
        if let Some(fault) = fault {
            bench.fault(RW, fault);
        }
        assert!(bench.serve_one());
        bench.mend();
        bench.serve_one();
        assert!(is_logged(&mut bench), "at once: {fault:?}");
        bench.pass(1);
        assert_eq!(bench.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    }
}

#[test]
fn a_write_without_an_answer_holds_up_the_log_of_a_move_for_a_second() {
    let mut bench = about_to_move();
    assert!(!is_logged(&mut bench));
    bench.pass(1);
    assert!(is_logged(&mut bench));
}
