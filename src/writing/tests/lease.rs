//! With the lease, and without.

use std::time::Duration;

use super::bench::{Bench, Fault, Server, nowhere, with};
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
    let first = ["status Programmed", "update EndpointSlice orders-ro-ipv4-5432"];
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

/// The memory as the API server has it: who wrote it, and how often a new leader did.
fn signature(bench: &Bench) -> (Option<String>, Option<u32>) {
    let memory = bench.server.status.memory.clone().unwrap_or_default();
    (memory.author, memory.term)
}

fn of_one(server: Server) -> Bench {
    Bench::of_lease(server, "shop/one")
}

/// Two processes of one Lease: the first one leads, and wrote the routes.
fn handed_over() -> (Bench, Bench) {
    let mut old = of_one(Server::default());
    old.declare();
    old.decide(with(1, &[2]));
    old.serve();
    old.pass(1);
    let mut new = of_one(old.server.clone());
    new.now = old.now;
    new.declare();
    new.decide(with(1, &[2]));
    (old, new)
}

#[test]
fn the_status_names_the_lease_of_its_author_and_a_change_of_leaders_writes_nothing() {
    let (old, mut new) = handed_over();
    assert_eq!(signature(&old), (Some("shop/one".to_owned()), Some(1)));
    new.pass(60);
    assert_eq!(new.log(), [""; 0]);
    // Nor does another installation that agrees, an operator without a Lease, or a status of a version that names no author.
    let mut other = Bench::of_lease(old.server.clone(), "shop/two");
    let mut without = Bench::on(old.server.clone(), distributary_core::policy::Mode::Enforce);
    let mut server = old.server.clone();
    let mut status = server.status.clone();
    let memory = status.memory.as_mut().unwrap();
    (memory.author, memory.term) = (None, None);
    server.write_status(status);
    let mut upgraded = of_one(server);
    for bench in [&mut other, &mut without, &mut upgraded] {
        bench.declare();
        bench.decide(with(1, &[2]));
        bench.pass(60);
        assert_eq!((bench.log(), bench.recalled), (vec![], 0));
    }
}

#[test]
fn a_late_status_of_an_old_leader_is_refused_where_the_new_one_wrote_the_writes() {
    let (mut old, mut new) = handed_over();
    old.decide(with(2, &[1]));
    let late = old.delay();
    // The holder is a standby now, and nobody follows: the memory stays as it is.
    new.decide(nowhere());
    new.serve();
    new.pass(1);
    let log = new.log();
    let place = |text: &str| log.iter().position(|line| line.starts_with(text)).unwrap();
    let rw = "EndpointSlice orders-rw-ipv4-5432";
    assert_eq!(log[..2], ["get policy".to_owned(), format!("get {rw}")]);
    assert!(place("status") < place(&format!("update {rw}")), "{log:?}");
    assert_eq!(signature(&new).1, Some(2));
    let is_refused = matches!(new.server.carry_out(late.call), Answer::Refused { code: 409, .. });
    assert!(is_refused);
    assert_eq!(new.servers("orders-rw-ipv4-5432"), [""; 0]);
}

/// The watches of the new leader lagged when it began to lead; what they show then it goes by, as by what it reads.
#[test]
fn a_memory_that_a_watch_shows_before_the_first_reading_has_ended_is_gone_by() {
    let (mut old, mut new) = handed_over();
    new.pass(1);
    old.decide(with(2, &[1]));
    old.serve();
    old.pass(1);
    new.server = old.server.clone();
    new.echo();
    new.serve();
    assert_eq!(new.recalled, 1);
    assert_eq!(new.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
}

#[test]
fn a_new_leader_signs_once() {
    let (_, mut new) = handed_over();
    new.decide(nowhere());
    new.serve();
    new.decide(with(1, &[2]));
    new.serve();
    new.pass(2);
    assert_eq!(signature(&new).1, Some(2));
    assert_eq!(new.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
}

/// What could not be signed is written all the same.
#[test]
fn a_status_that_is_refused_holds_the_writes_up_no_longer_than_a_log() {
    let (_, mut new) = handed_over();
    new.fault("status", Fault::Refused(403));
    new.decide(nowhere());
    new.serve();
    assert_eq!(new.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
    new.pass(10);
    assert_eq!(new.servers("orders-rw-ipv4-5432"), [""; 0]);
}

#[test]
fn a_late_slice_of_an_old_leader_is_put_right_when_the_watch_shows_it() {
    let (mut old, mut new) = handed_over();
    old.decide(with(2, &[2]));
    old.serve_one();
    let is_slice = |request: &Request<_>| request.call.object().is_some();
    let late = std::iter::repeat_with(|| old.delay()).find(is_slice).unwrap();
    new.server.carry_out(late.call);
    assert_eq!(new.servers("orders-rw-ipv4-5432"), ["198.18.0.2"]);
    new.echo();
    new.serve();
    new.pass(1);
    assert_eq!(new.servers("orders-rw-ipv4-5432"), ["198.18.0.1"]);
    assert_eq!(new.undone, 0);
}

#[test]
fn a_memory_that_an_old_leader_writes_late_is_put_back_and_never_adopted() {
    for shown_by_watch in [true, false] {
        let (_, mut new) = handed_over();
        new.decide(with(1, &[]));
        new.serve();
        new.pass(1);
        new.log();
        let mut late = new.server.status.clone();
        late.memory.as_mut().unwrap().timeline = Some(9);
        new.server.write_status(late);
        if shown_by_watch {
            new.see_status();
        } else {
            // Its next write rests on an old view, and it reads.
            new.decide(with(1, &[2]));
        }
        new.serve();
        new.pass(1);
        let memory = new.server.status.memory.clone().unwrap();
        assert_eq!(
            (memory.timeline, new.recalled),
            (Some(3), 0),
            "{shown_by_watch}: {:?}",
            new.log()
        );
    }
}

/// Its clock stood still while another process took the lease: what that one wrote comes before its own Lease says so.
#[test]
fn who_sees_that_another_one_of_its_lease_began_to_lead_starts_nothing_until_it_is_renewed() {
    for shown_by_watch in [true, false] {
        let (_, mut old) = handed_over();
        old.decide(with(1, &[]));
        old.serve();
        old.pass(1);
        assert_eq!(signature(&old).1, Some(2));
        old.log();
        let mut newer = old.server.status.clone();
        let memory = newer.memory.as_mut().unwrap();
        (memory.timeline, memory.term) = (Some(9), Some(3));
        old.server.write_status(newer);
        if shown_by_watch {
            old.see_status();
        }
        old.decide(with(1, &[2]));
        old.serve();
        let begun = old.log();
        assert_eq!(
            old.server.status.memory.as_ref().unwrap().timeline,
            Some(9),
            "{begun:?}"
        );
        let updates = begun.iter().filter(|line| line.starts_with("update"));
        assert!(!shown_by_watch || updates.count() == 0, "{begun:?}");
        // It had the lease all along: nobody else signed, but for a person.
        let until = old.now.moment + Duration::from_secs(15);
        old.take(Input::Renewed { until });
        old.serve();
        old.pass(1);
        assert_eq!(old.server.status.memory.as_ref().unwrap().timeline, Some(3));
    }
}

/// A leader that had nothing to write for long has not read yet; what it decides since is the choice of a leader.
#[test]
fn what_is_decided_by_who_leads_is_not_taken_for_the_choice_of_a_follower() {
    let (_, mut new) = handed_over();
    new.pass(60);
    new.decide(with(2, &[1]));
    new.serve();
    new.pass(1);
    assert_eq!(
        (new.recalled, new.servers("orders-rw-ipv4-5432")),
        (0, vec!["198.18.0.2".to_owned()])
    );
}

#[test]
fn what_was_asked_for_before_it_led_is_no_reading_of_now() {
    let (_, mut bench) = handed_over();
    bench.decide(with(2, &[1]));
    // A reading of its earlier leadership is under way while another process leads.
    let early = bench.delay();
    assert!(matches!(early.call, Call::GetPolicy));
    bench.take(Input::Follows);
    let before = bench.server.clone();
    let mut status = before.status.clone();
    status.memory.as_mut().unwrap().timeline = Some(9);
    bench.server.write_status(status);
    bench.begins();
    let now = std::mem::replace(&mut bench.server, before);
    bench.answer_late(early);
    bench.server = now;
    bench.unconsidered = 1;
    bench.serve();
    let log = bench.log();
    assert!(log.contains(&"get policy".to_owned()), "{log:?}");
    assert_eq!(
        (bench.recalled, bench.servers("orders-rw-ipv4-5432")),
        (1, vec!["198.18.0.1".to_owned()])
    );
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
