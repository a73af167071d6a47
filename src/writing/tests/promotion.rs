//! All of the operator but its shells: a process that ends before or after any request of a promotion, and the next one, which
//! knows what was written and nothing else (S10).

use std::collections::BTreeMap;
use std::time::Duration;

use super::bench::{Bench, Server, with};
use crate::k8s::memory::{self, memory};
use crate::writing::*;
use distributary_core::fixture;
use distributary_core::ids::TargetId;
use distributary_core::observation::{FailureKind, Observation, Role, Sample};
use distributary_core::policy::Mode;
use distributary_core::target::{CheckAnswer, Incarnation, ProbeKey};
use distributary_core::world::{Announcement, Effects, Event, Instruction, World};

const SLICE: &str = "orders-rw-ipv4-5432";
const OLD: &str = "198.18.0.1";
const NEW: &str = "198.18.0.2";

struct Operator {
    bench: Bench,
    world: World,
    incarnations: BTreeMap<TargetId, Incarnation>,
    /// Where the slice of the writes led, in this order.
    led: Vec<Vec<String>>,
}

impl Operator {
    /// It reads everything that the API server has.
    fn starts(server: Server) -> Self {
        let mut operator = Self {
            bench: Bench::on(server, Mode::Enforce),
            world: World::default(),
            incarnations: BTreeMap::new(),
            led: Vec::new(),
        };
        operator.bench.declare();
        let now = memory::Now {
            wall: operator.bench.now.wall,
            moment: operator.bench.now.moment,
        };
        let known = memory(&operator.bench.server.status, now);
        operator.happens([fixture::policy(&["a"]).changed(known)]);
        operator
    }

    fn happens(&mut self, events: impl IntoIterator<Item = Event>) {
        let Effects { prober, writer, .. } = self.world.advance(self.bench.now.moment, events);
        for instruction in prober {
            if let Instruction::Want { wanted, .. } = instruction {
                let known = wanted.into_iter().map(|order| (order.target, order.incarnation));
                self.incarnations = known.collect();
            }
        }
        for announcement in writer {
            if let Announcement::Decided {
                key,
                decision,
                transitions,
            } = announcement
            {
                self.bench.take(Input::Decided {
                    key,
                    decision,
                    transitions,
                });
            }
        }
    }

    fn passes(&mut self, millis: u64) {
        self.bench.now.moment = self.bench.now.moment + Duration::from_millis(millis);
        self.happens([]);
    }

    /// A check of this server ends so.
    fn finds(&mut self, id: &str, result: Result<Sample, FailureKind>) {
        self.passes(50);
        let (target, now) = (TargetId::host(id.into()), self.bench.now.moment);
        let last = if id == "a" { 2 } else { 1 };
        let answer = CheckAnswer {
            incarnation: self.incarnations[&target],
            key: ProbeKey {
                policy: fixture::policy(&[]).policy().key.clone(),
                target,
            },
            elsewhere: false,
            observation: Observation {
                started: now,
                ended: now,
                address: result.is_ok().then(|| fixture::address(last)),
                result,
                sqlstate: None,
            },
        };
        self.happens([Event::Observed(answer)]);
    }

    /// What was asked for is answered.
    fn serves(&mut self) {
        self.bench.serve();
        while let Some(servers) = self.bench.found.take() {
            let policy = fixture::policy(&[]).policy();
            let (key, uid) = (policy.key.clone(), policy.uid.clone());
            self.happens([Event::Found { key, uid, servers }]);
            self.bench.serve();
        }
        let leads = self.bench.servers(SLICE);
        let is_new = self.led.last().map_or(!leads.is_empty(), |last| *last != leads);
        if is_new {
            self.led.push(leads);
        }
    }

    /// The reason and the message of that condition, once reports have gone out.
    fn programmed(&mut self) -> (String, String) {
        self.bench.pass(1);
        (
            self.bench.condition("Programmed"),
            self.bench.message("Programmed"),
        )
    }

    fn found(&mut self, answers: &[(&str, Result<Sample, FailureKind>)]) {
        for (id, result) in answers {
            self.finds(id, result.clone());
            self.serves();
        }
    }
}

const REFUSED: Result<Sample, FailureKind> = Err(FailureKind::ConnectRefused);

fn standby() -> Result<Sample, FailureKind> {
    Ok(fixture::sample(Role::Standby))
}

fn primary(timeline: u32) -> Result<Sample, FailureKind> {
    Ok(Sample {
        timeline: Some(timeline),
        ..fixture::sample(Role::Primary)
    })
}

/// The primary dies, `a` is promoted, and the writes are about to follow.
fn about_to_follow() -> Operator {
    let mut operator = Operator::starts(Server::default());
    operator.found(&[("primary", primary(1)), ("a", standby())]);
    operator.bench.pass(1);
    operator.found(&[("primary", REFUSED), ("primary", REFUSED), ("a", primary(2))]);
    operator.bench.pass(1);
    operator.serves();
    assert_eq!(operator.led, [[OLD]]);
    operator.passes(6000);
    operator.finds("primary", REFUSED);
    operator
}

/// What is left where the process ends at its `n`-th request: before it was carried out, or after; `None`: there is no such one.
fn killed(n: usize, after: bool) -> Option<Server> {
    let mut bench = about_to_follow().bench;
    bench.ends_at(n, after).then_some(bench.server)
}

/// Every end of a process: what it left, whether the memory names the new server, and where the slice leads.
fn ends() -> Vec<(String, Server)> {
    let all = (1..20).flat_map(|n| [(n, false), (n, true)]);
    let ends = all.filter_map(|(n, after)| Some((format!("request {n}, after {after}"), killed(n, after)?)));
    let ends: Vec<_> = ends.collect();
    assert!(ends.len() >= 8, "{}", ends.len());
    ends
}

fn remembers_new(server: &Server) -> bool {
    let memory = server.status.memory.clone().unwrap_or_default();
    memory.holder.unwrap_or_default().endpoint == "a"
}

#[test]
fn an_old_primary_that_returns_never_gets_the_writes_back() {
    for (end, server) in ends() {
        let remembers = remembers_new(&server);
        for first in ["primary", "a"] {
            let mut next = Operator::starts(server.clone());
            next.serves();
            let mut answers = [("primary", primary(1)), ("a", primary(2))];
            answers.sort_by_key(|(id, _)| *id != first);
            for _ in 0..3 {
                next.found(&answers);
            }
            let moved = next.led[0] == [NEW];
            assert!(!moved || remembers, "{end}: logged before it is acted on");
            let expected: &[&[&str]] = match (moved, remembers) {
                (true, _) => &[&[NEW]],
                (false, true) => &[&[OLD], &[NEW]],
                // Nothing was decided, as far as anybody knows, and the old one proves that it takes the writes.
                (false, false) => &[&[OLD]],
            };
            assert_eq!(next.led, expected, "{end}, {first} first");
        }
    }
}

#[test]
fn while_the_old_primary_is_gone_the_next_process_follows() {
    for (end, server) in ends() {
        let mut next = Operator::starts(server);
        next.serves();
        next.found(&[("primary", REFUSED), ("a", primary(2)), ("primary", REFUSED)]);
        next.passes(6000);
        next.found(&[("primary", REFUSED), ("a", primary(2))]);
        let steps: Vec<_> = next.led.iter().map(|led| led.join(" ")).collect();
        assert!(steps == [NEW] || steps == [OLD, NEW], "{end}: {steps:?}");
    }
}

/// Until the remembered server proves that it takes writes, the route stays as it was found.
#[test]
fn while_the_new_primary_does_not_answer_the_route_stays_as_it_was_found() {
    for (end, server) in ends().into_iter().filter(|(_, server)| remembers_new(server)) {
        let mut next = Operator::starts(server);
        next.serves();
        let found = next.led[0].clone();
        next.found(&[("primary", primary(1)), ("a", REFUSED), ("a", REFUSED)]);
        next.passes(10_000);
        next.found(&[("a", REFUSED), ("primary", primary(1))]);
        assert_eq!(next.led, std::slice::from_ref(&found), "{end}");
        let (reason, message) = next.programmed();
        if found == [NEW] {
            assert_eq!(reason, "Programmed", "{end}");
        } else {
            let expected = "orders-rw leads to 198.18.0.1:5432, as it was found, and not to a, which status.memory names as the \
                            write primary: no check has shown yet that this server takes writes.";
            assert_eq!(
                (reason.as_str(), message.as_str()),
                ("AwaitingProof", expected),
                "{end}"
            );
            assert_eq!(next.bench.condition("Ready"), "NotProgrammed", "{end}");
            assert_eq!(next.bench.condition("Reconciling"), "AwaitingProof", "{end}");
        }
        next.passes(60_000);
        next.found(&[("a", primary(2)), ("a", primary(2)), ("a", primary(2))]);
        assert_eq!(next.led.last().unwrap(), &[NEW], "{end}");
        assert_eq!(next.programmed().0, "Programmed", "{end}");
    }
}

/// The writes were moved, and the status does not say so.
fn moved_unremembered() -> Server {
    let mut operator = about_to_follow();
    let before = operator.bench.server.status.clone();
    operator.serves();
    assert_eq!(operator.led, [[OLD], [NEW]]);
    operator.bench.server.write_status(before);
    operator.bench.server
}

#[test]
fn who_is_in_the_route_and_proves_itself_holds_the_writes_where_the_remembered_holder_does_not() {
    for old in [standby(), REFUSED] {
        let mut next = Operator::starts(moved_unremembered());
        next.serves();
        next.found(&[("a", primary(2)), ("primary", old.clone())]);
        next.passes(100);
        next.bench.pass(1);
        next.serves();
        assert_eq!(next.led, [[NEW]]);
        assert!(remembers_new(&next.bench.server), "{old:?}");
    }
}

#[test]
fn a_remembered_holder_that_proves_itself_goes_before_who_is_in_the_route() {
    let mut next = Operator::starts(moved_unremembered());
    next.serves();
    next.found(&[("a", primary(2)), ("primary", primary(1))]);
    assert_eq!(next.led, [[NEW], [OLD]]);
}

/// One in the route that is a standby is withdrawn like any other.
#[test]
fn who_is_in_the_route_and_proves_a_standby_does_not_stay_there() {
    let mut next = Operator::starts(moved_unremembered());
    next.serves();
    next.found(&[("a", standby()), ("primary", standby())]);
    assert_eq!(next.led, [vec![NEW.to_owned()], vec![]]);
}

/// The first write of its slice was lost, or somebody deleted it, and meanwhile the server was emptied.
#[test]
fn a_server_that_shows_another_database_is_not_led_to_where_it_was_not() {
    let mut bench = Bench::new();
    bench.declare();
    bench.decide_changed(with(1, &[2]));
    bench.pass(120);
    let led = |bench: &Bench| (bench.servers(SLICE), bench.servers("orders-ro-ipv4-5432"));
    assert_eq!(led(&bench), (vec![], vec![NEW.to_owned()]));
    assert_eq!(bench.condition("Programmed"), "AwaitingProof");
    let message = bench.message("Programmed");
    let why = "orders-rw leads nowhere, as it was found, and not to primary, which status.memory names as the write primary: this server shows \
               another system identifier than the database had.";
    assert_eq!(message, why);
    bench.decide(with(1, &[2]));
    bench.pass(120);
    assert_eq!(bench.servers(SLICE), [OLD]);
    // Where it is, it stays.
    bench.decide_changed(with(1, &[]));
    bench.pass(120);
    assert_eq!(led(&bench), (vec![OLD.to_owned()], vec![]));
    assert_eq!(bench.condition("Programmed"), "Programmed");
}
