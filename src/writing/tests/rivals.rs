//! Several installations of the operator that serve one policy.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bench::{Bench, Routes, Server, with};
use crate::render::{Kind, labels};
use crate::writing::*;

const READS: &str = "orders-ro-ipv4-5432";
const WRITES: &str = "orders-rw-ipv4-5432";

/// Two operators over one API server, each with its own decision.
struct Duel {
    first: Bench,
    second: Bench,
    server: Server,
    now: Now,
    /// Whether the second one lives.
    both: bool,
    log: Vec<String>,
}

impl Duel {
    /// The policy is routed by the first one before the second one comes.
    fn of(leases: [&str; 2], routes: [Routes; 2]) -> Self {
        let [mut first, mut second] = leases.map(|lease| Bench::of_lease(Server::default(), lease));
        let [one, other] = routes;
        first.declare();
        first.decide(one);
        first.serve();
        first.pass(1);
        first.log();
        let server = first.server.clone();
        std::mem::swap(&mut second.server, &mut first.server);
        second.server = server.clone();
        second.now = first.now;
        second.echo();
        second.declare();
        second.decide(other);
        Self {
            now: first.now,
            first,
            second,
            server,
            both: true,
            log: Vec::new(),
        }
    }

    /// Both live for so long: 10 ms after 10 ms while they write, and longer while they rest.
    fn pass(&mut self, time: Duration) {
        let end = self.now.moment + time;
        let (mut written, mut rests) = (self.log.len(), 0);
        while self.now.moment < end {
            rests = if self.log.len() == written { rests + 1 } else { 0 };
            written = self.log.len();
            let step = if rests > 100 { 250 } else { 10 };
            self.now.moment = self.now.moment + Duration::from_millis(step);
            let both = [Some(&mut self.first), self.both.then_some(&mut self.second)];
            for bench in both.into_iter().flatten() {
                std::mem::swap(&mut bench.server, &mut self.server);
                bench.live_to(self.now);
                std::mem::swap(&mut bench.server, &mut self.server);
                let writes = bench.log().into_iter().filter(|line| !line.starts_with("get"));
                self.log.extend(writes);
            }
        }
    }

    fn writes_of(&mut self, slice: &str) -> usize {
        let log = std::mem::take(&mut self.log);
        log.iter().filter(|line| line.ends_with(slice)).count()
    }

    fn servers(&mut self, slice: &str) -> Vec<String> {
        std::mem::swap(&mut self.first.server, &mut self.server);
        let servers = self.first.servers(slice);
        std::mem::swap(&mut self.first.server, &mut self.server);
        servers
    }

    fn programmed(&self) -> (String, String) {
        let all = &self.server.status.conditions;
        let found = all
            .iter()
            .find(|condition| condition.type_ == "Programmed")
            .unwrap();
        (found.reason.clone(), found.message.clone())
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// They disagree on the reads.
fn disagree() -> Duel {
    Duel::of(["shop/one", "shop/two"], [with(1, &[2]), with(1, &[])])
}

#[test]
fn two_that_disagree_write_a_slice_a_handful_of_times_and_say_so() {
    let mut duel = disagree();
    duel.pass(15 * SECOND);
    let writes = duel.log.len();
    let slices = duel.writes_of(READS);
    assert!((2..=8).contains(&slices), "{slices} of {writes}");
    assert!(writes < 30, "{writes}");
    let (reason, message) = duel.programmed();
    assert_eq!(reason, "ForeignOperator");
    assert!(
        message.contains("shop/one") && message.contains("shop/two"),
        "{message}"
    );
    duel.pass(9 * 60 * SECOND);
    let slices = duel.writes_of(READS);
    assert!(slices <= 16, "{slices}");
    assert_eq!(duel.programmed().0, "ForeignOperator");
}

#[test]
fn when_one_is_stopped_the_other_one_goes_on_within_its_pause() {
    for second_stops in [true, false] {
        let mut duel = disagree();
        duel.pass(15 * SECOND);
        if !second_stops {
            std::mem::swap(&mut duel.first, &mut duel.second);
        }
        duel.both = false;
        duel.pass(45 * SECOND);
        let expected: &[&str] = if second_stops { &["198.18.0.2"] } else { &[] };
        assert_eq!(duel.servers(READS), expected);
        duel.pass(90 * SECOND);
        assert_eq!(duel.programmed().0, "Programmed");
        duel.log.clear();
        duel.pass(700 * SECOND);
        assert_eq!(duel.log, [""; 0]);
    }
}

#[test]
fn two_that_agree_write_nothing() {
    let mut duel = Duel::of(["shop/one", "shop/two"], [with(1, &[2]), with(1, &[2])]);
    duel.pass(60 * SECOND);
    assert_eq!(duel.log, [""; 0]);
}

/// Both are up to date a moment apart: it is no fight.
#[test]
fn two_that_come_to_the_same_decision_one_after_the_other_do_not_fight() {
    let mut duel = Duel::of(["shop/one", "shop/two"], [with(1, &[2]), with(1, &[2])]);
    for routes in [with(1, &[]), with(1, &[2])] {
        duel.first.decide(routes.clone());
        duel.pass(SECOND / 100);
        duel.second.decide(routes);
        duel.pass(10 * SECOND);
    }
    assert_eq!(duel.programmed().0, "Programmed");
}

#[test]
fn while_it_pauses_the_writes_are_moved_at_most_once_in_five_seconds() {
    let mut duel = disagree();
    duel.pass(15 * SECOND);
    duel.log.clear();
    // The primary is lost, and both know: whoever pauses writes it, too.
    for bench in [&mut duel.first, &mut duel.second] {
        bench.decide(with(2, &[]));
    }
    duel.pass(SECOND);
    assert_eq!(duel.servers(WRITES), ["198.18.0.2"]);
    assert_eq!(
        duel.server
            .status
            .memory
            .clone()
            .unwrap()
            .holder
            .unwrap()
            .endpoint,
        "a"
    );
    let mut apart = Duel::of(["shop/one", "shop/two"], [with(1, &[2]), with(2, &[2])]);
    apart.pass(15 * SECOND);
    apart.log.clear();
    apart.pass(10 * SECOND);
    let writes = apart.writes_of(WRITES);
    assert!((2..=6).contains(&writes), "{writes}");
}

#[test]
fn what_people_edit_is_put_right_however_often() {
    let mut bench = Bench::of_lease(Server::default(), "shop/one");
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.serve();
    bench.pass(1);
    for _ in 0..20 {
        bench.edit(READS, "203.0.113.9");
        bench.echo();
        bench.pass(9);
        assert_eq!(bench.servers(READS), ["198.18.0.2"]);
    }
    assert_eq!(
        (bench.condition("Programmed").as_str(), bench.undone),
        ("Programmed", 0)
    );
}

/// The API server names no writer of what is only taken away.
#[test]
fn what_is_taken_away_is_put_right_however_often_and_is_no_rival() {
    let label = |key: &str| format!("/metadata/labels/{}", key.replace('/', "~1"));
    let annotation = |key: &str| format!("/metadata/annotations/{}", key.replace('/', "~1"));
    let cases = [
        (Kind::EndpointSlice, READS, label(labels::ROUTE)),
        (Kind::EndpointSlice, WRITES, label(labels::SERVICE_NAME)),
        (Kind::EndpointSlice, READS, label(labels::SLICE_MANAGED_BY)),
        (Kind::EndpointSlice, READS, label("team")),
        (Kind::EndpointSlice, READS, "/ports".to_owned()),
        (Kind::EndpointSlice, READS, "/metadata/labels".to_owned()),
        (Kind::EndpointSlice, READS, "/metadata/ownerReferences".to_owned()),
        (Kind::Service, "orders-ro", label(labels::POLICY)),
        (Kind::Service, "orders-ro", label(labels::ROUTE)),
        (Kind::Service, "orders-ro", annotation(labels::POLICY_UID)),
        (Kind::Service, "orders-ro", annotation("note")),
        (Kind::Service, "orders-ro", "/spec/ports/0/name".to_owned()),
        (Kind::ConfigMap, "orders-routing", label(labels::MANAGED_BY)),
        (Kind::ConfigMap, "orders-routing", annotation(labels::KEYS)),
        (Kind::ConfigMap, "orders-routing", "/data/routing.json".to_owned()),
        (Kind::ConfigMap, "orders-routing", "/data".to_owned()),
    ];
    for (kind, name, pointer) in cases {
        let mut bench = Bench::of_lease(Server::default(), "shop/one");
        let asked = |key: &str| [(key.to_owned(), "shop".to_owned())].into();
        bench.outputs.metadata.labels = asked("team");
        bench.outputs.metadata.annotations = asked("note");
        bench.declare();
        bench.decide(with(1, &[2]));
        bench.serve();
        bench.pass(1);
        let is_back = |bench: &Bench| {
            let mut all = bench.server.objects.iter();
            let found = all.find(|(place, _)| place.id.kind == kind && place.id.name == name);
            found.is_some_and(|(_, object)| object.pointer(&pointer).is_some())
        };
        for _ in 0..6 {
            bench.take_away(kind, name, &pointer);
            bench.echo();
            for _ in 0..9 {
                if !is_back(&bench) {
                    bench.pass(1);
                }
            }
            assert!(is_back(&bench), "{name} {pointer}");
        }
        bench.pass(1);
        let told = (bench.condition("Programmed"), bench.undone);
        assert_eq!(told, ("Programmed".to_owned(), 0), "{name} {pointer}");
    }
}

/// A request of the leader before arrives late, again and again: it is put right each time, and no other installation.
#[test]
fn writes_of_an_earlier_leader_are_no_rival() {
    let mut bench = Bench::of_lease(Server::default(), "shop/one");
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.serve();
    for _ in 0..4 {
        bench.pass(1);
        bench.take(Input::Follows);
        let objects = bench.server.objects.clone();
        let (place, mut late) = objects
            .into_iter()
            .find(|(place, _)| place.id.name == READS)
            .unwrap();
        late["endpoints"][0]["addresses"][0] = "203.0.113.9".into();
        bench.server.put(place, late);
        bench.begins();
        bench.echo();
        bench.pass(1);
        assert_eq!(bench.servers(READS), ["198.18.0.2"]);
    }
    assert_eq!(
        (bench.condition("Programmed").as_str(), bench.undone),
        ("Programmed", 0)
    );
}

fn message(bench: &Bench) -> String {
    let mut all = bench.server.status.conditions.iter();
    all.find(|it| it.type_ == "Programmed").unwrap().message.clone()
}

/// The CRD of an earlier version knows neither the author of a status nor its term.
#[test]
fn who_does_not_find_its_name_in_what_it_wrote_is_no_rival_of_itself() {
    let mut server = Server::default();
    server.forgets_author = true;
    let mut bench = Bench::of_lease(server, "shop/one");
    bench.declare();
    bench.decide(with(1, &[2]));
    bench.serve();
    bench.pass(1);
    for round in 0..8 {
        bench.touch_policy();
        bench.see_status();
        bench.decide(with(1, if round % 2 == 0 { &[] } else { &[2] }));
        bench.serve();
        bench.pass(1);
    }
    assert_eq!(
        (bench.condition("Programmed").as_str(), bench.undone),
        ("Programmed", 0)
    );
    assert!(
        message(&bench).contains("status.memory.author"),
        "{}",
        message(&bench)
    );
    assert_eq!(bench.unsigned, 1);

    bench.log();
    bench.changes_leader();
    bench.pass(60);
    assert_eq!(bench.log(), [""; 0], "an unchanged world");

    bench.server.forgets_author = false;
    bench.decide(with(1, &[]));
    bench.serve();
    bench.pass(1);
    assert_eq!(message(&bench), "The routes are written.");
    assert_eq!(
        bench.server.status.memory.as_ref().unwrap().author.as_deref(),
        Some("shop/one")
    );
}

/// What the process before learned of a fight is in the status.
#[test]
fn a_change_of_leaders_in_a_fight_does_not_begin_it_anew() {
    for pausing_changes in [true, false] {
        let mut duel = disagree();
        duel.pass(15 * SECOND);
        let first_prevails = duel.servers(READS) == ["198.18.0.2"];
        duel.log.clear();
        let of_first = first_prevails != pausing_changes;
        let changed = if of_first {
            &mut duel.first
        } else {
            &mut duel.second
        };
        changed.changes_leader();
        duel.pass(5 * SECOND);
        let (reason, told) = duel.programmed();
        assert_eq!(reason, "ForeignOperator");
        assert!(told.contains("shop/one") && told.contains("shop/two"), "{told}");
        let log = duel.log.clone();
        let slices = duel.writes_of(READS);
        if pausing_changes {
            assert!(slices <= 2, "{log:?}");
        } else {
            assert_eq!(log, [""; 0]);
        }
    }
}

/// Without a Lease the slices tell, and an earlier version names none.
#[test]
fn an_operator_without_a_lease_is_told_by_what_it_is() {
    let mut duel = disagree();
    duel.second = Bench::on(duel.server.clone(), distributary_core::policy::Mode::Enforce);
    duel.second.now = duel.now;
    duel.second.declare();
    duel.second.decide(with(1, &[]));
    duel.pass(15 * SECOND);
    let (reason, message) = duel.programmed();
    assert_eq!(reason, "ForeignOperator");
    assert!(
        message.contains("shop/one") && message.contains("without a Lease"),
        "{message}"
    );
    let slices: BTreeSet<_> = duel
        .server
        .objects
        .keys()
        .filter(|it| it.id.kind == Kind::EndpointSlice)
        .collect();
    assert_eq!(slices.len(), 2);
}
