//! Failovers as they happen: what `rw` and `ro` were when, at the default settings, with held sessions.
//!
//! A line of a table is a change of the two routes; a server is told by its own name, whatever endpoint leads to it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use distributary_core::fixture::Case;
use distributary_core::plan::{Route, RouteState};
use distributary_core::policy::IdentityRule;
use distributary_core::resolved::Pods;
use distributary_core::world::Memory;

use super::support::log::Follows;
use super::support::policy;
use super::support::servers::Trait;
use super::support::simulation::{Answer, REFUSED, STARTING, Simulation};
use super::{SERVERS, held};

/// When the first thing happens.
const BEGIN: f64 = 100.0;

/// A primary that writes 1 MB/s, and two standbys that follow it, for these servers.
fn cluster(policy: &Case, servers: &[&str]) -> Simulation {
    let mut simulation = Simulation::new(policy);
    simulation.wal.writes(0.0, 1_000_000);
    for server in servers {
        simulation.servers.is(0.0, server, Trait::Started);
    }
    simulation
}

fn three() -> Simulation {
    cluster(&held(), &["primary", "a", "b"])
}

/// The server stops, starts within two seconds, and then answers so, on this timeline.
fn restarts(simulation: &mut Simulation, seconds: f64, server: &str, answer: Answer, timeline: u32) {
    simulation
        .from(seconds, server, REFUSED)
        .from(seconds + 1.0, server, STARTING)
        .from(seconds + 2.0, server, answer);
    let servers = &mut simulation.servers;
    servers
        .is(seconds + 2.0, server, Trait::Started)
        .is(seconds + 2.0, server, Trait::Timeline(timeline));
}

/// A standby is promoted, and others follow it a second later.
fn promotion(simulation: &mut Simulation, seconds: f64, server: &str, timeline: u32, followers: &[&str]) {
    simulation.from(seconds, server, Answer::Promoted(timeline));
    simulation.servers.is(seconds, server, Trait::Timeline(timeline));
    for follower in followers {
        let follows = Trait::Timeline(timeline);
        simulation.servers.is(seconds + 1.0, follower, follows);
    }
}

/// The routes by time since [`BEGIN`]: seconds, `rw`, `ro`.
fn rows(simulation: &Simulation) -> Vec<[String; 3]> {
    let route = |route: &Route| {
        let members = route.members.iter().filter(|member| member.in_slice);
        let servers: Vec<_> = members
            .map(|member| simulation.servers.at(member.address))
            .collect();
        let servers = if servers.is_empty() {
            "-".to_owned()
        } else {
            servers.join(" ")
        };
        match route.state {
            RouteState::Held | RouteState::Fallback => format!("{servers} ({})", route.state),
            RouteState::Served | RouteState::Empty => servers,
        }
    };
    let mut rows: Vec<[String; 3]> = Vec::new();
    for (at, decided) in simulation.plans() {
        let [rw, ro] = [&decided.plan.rw, &decided.plan.ro].map(route);
        if rows
            .last()
            .is_none_or(|last| last[1..] != [rw.clone(), ro.clone()])
        {
            let at = if rows.is_empty() {
                "before".to_owned()
            } else {
                format!("{:.1}", at - BEGIN)
            };
            rows.push([at, rw, ro]);
        }
    }
    rows
}

/// Patroni: the primary is stopped, the candidate is promoted, and the old primary starts as a standby of it.
fn switchover() -> Simulation {
    let mut simulation = three();
    restarts(&mut simulation, BEGIN, "primary", Answer::Standby, 2);
    promotion(&mut simulation, BEGIN + 1.0, "a", 2, &["b"]);
    simulation.run(BEGIN + 300.0);
    simulation
}

/// The primary is lost; its lease expires after 20 s, and `a` is promoted.
fn failover() -> Simulation {
    let mut simulation = three();
    simulation.from(BEGIN, "primary", REFUSED);
    promotion(&mut simulation, BEGIN + 20.0, "a", 2, &["b"]);
    simulation
}

fn failover_without_return() -> Simulation {
    let mut simulation = failover();
    simulation.run(BEGIN + 300.0);
    simulation
}

/// The old primary starts as it was, on its old timeline, and 10 s later as a standby of the new one.
fn failover_with_return() -> Simulation {
    let mut simulation = failover();
    simulation
        .from(BEGIN + 60.0, "primary", Answer::Primary)
        .from(BEGIN + 70.0, "primary", REFUSED);
    simulation.servers.is(BEGIN + 60.0, "primary", Trait::Started);
    restarts(&mut simulation, BEGIN + 71.0, "primary", Answer::Standby, 2);
    simulation.run(BEGIN + 300.0);
    simulation
}

/// All servers go at once, and are back as they were.
fn restart_of_all() -> Simulation {
    let mut simulation = three();
    for (server, answer) in [
        ("primary", Answer::Primary),
        ("a", Answer::Standby),
        ("b", Answer::Standby),
    ] {
        restarts(&mut simulation, BEGIN, server, answer, 1);
    }
    simulation.run(BEGIN + 300.0);
    simulation
}

/// The primary is restored to a point 30 MB earlier, on a timeline of its own; its standbys are rebuilt one after the other.
fn restore() -> Simulation {
    let mut simulation = three();
    simulation
        .from(BEGIN, "primary", REFUSED)
        .from(BEGIN + 60.0, "primary", Answer::Promoted(2));
    let servers = &mut simulation.servers;
    servers
        .is(BEGIN + 60.0, "primary", Trait::Started)
        .is(BEGIN + 60.0, "primary", Trait::Lacks(90_000_000));
    for (server, rebuilt) in [("a", BEGIN + 120.0), ("b", BEGIN + 150.0)] {
        // Nothing is sent to it any more.
        simulation.wal.follows(BEGIN, server, Follows::Stalled);
        simulation.wal.follows(rebuilt, server, Follows::Behind(0));
        simulation
            .servers
            .is(rebuilt + 2.0, server, Trait::Lacks(90_000_000));
        restarts(&mut simulation, rebuilt, server, Answer::Standby, 2);
    }
    simulation.run(BEGIN + 400.0);
    simulation
}

/// `pg_upgrade`: all are stopped, and start with another system identifier, the standbys a minute later; then a person sets
/// `identity.systemIdentifier`.
fn upgrade() -> Simulation {
    let mut simulation = three();
    for (server, answer, back) in [
        ("primary", Answer::Primary, 60.0),
        ("a", Answer::Standby, 120.0),
        ("b", Answer::Standby, 122.0),
    ] {
        simulation.from(BEGIN, server, REFUSED);
        restarts(&mut simulation, BEGIN + back, server, answer, 1);
        simulation.servers.is(BEGIN + back, server, Trait::System(8));
    }
    simulation.run(BEGIN + 200.0);
    let mut edited = held();
    edited.generation = 2;
    edited.identity = IdentityRule::Declared(8);
    simulation.edit(&edited, Memory::default());
    simulation.run(BEGIN + 400.0);
    simulation
}

/// The pods behind the Services of the primary and of the standbys.
fn pods(primary: &[u8], standbys: &[u8]) -> Case {
    let mut policy = policy("primary: {host: 198.18.0.1}\nreplicas: [{id: standbys, host: 198.18.0.2}]");
    for (id, service, ready) in [("primary", "pg-rw", primary), ("standbys", "pg-ro", standbys)] {
        let address = |last: &u8| SocketAddr::from(([198, 18, 0, *last], 5432));
        policy.of(id).pods = Some(Pods {
            service: service.to_owned(),
            ready: Ok(ready.iter().map(address).collect()),
        });
    }
    policy
}

/// An operator renews the pods one by one: the standbys first, then it promotes a new one and renews the old primary.
fn rollout() -> Simulation {
    let mut simulation = Simulation::new(&pods(&[11], &[12, 13]));
    simulation.wal.writes(0.0, 1_000_000);
    for last in [11, 12, 13, 21, 22, 23] {
        let name = format!("pod-{last}");
        simulation.servers.is_at(&name, [198, 18, 0, last].into());
        simulation.servers.is(0.0, &name, Trait::Started);
    }
    simulation.from(0.0, "pod-11", Answer::Primary);
    let mut generation = 1;
    let mut services = |simulation: &mut Simulation, after: f64, primary: &[u8], standbys: &[u8]| {
        simulation.run(BEGIN + after);
        let mut edited = pods(primary, standbys);
        generation += 1;
        edited.generation = generation;
        simulation.edit(&edited, Memory::default());
    };
    simulation.from(BEGIN + 1.0, "pod-13", REFUSED);
    services(&mut simulation, 0.0, &[11], &[12]);
    services(&mut simulation, 30.0, &[11], &[12, 23]);
    simulation.from(BEGIN + 61.0, "pod-12", REFUSED);
    services(&mut simulation, 60.0, &[11], &[23]);
    services(&mut simulation, 90.0, &[11], &[23, 22]);
    // The switchover: the old primary stops, a new pod is promoted, and the Services follow 2 s later.
    simulation.from(BEGIN + 120.0, "pod-11", REFUSED);
    promotion(&mut simulation, BEGIN + 121.0, "pod-22", 2, &["pod-23"]);
    services(&mut simulation, 123.0, &[22], &[23]);
    simulation.servers.is(BEGIN + 120.0, "pod-21", Trait::Timeline(2));
    services(&mut simulation, 150.0, &[22], &[21, 23]);
    simulation.run(BEGIN + 300.0);
    simulation
}

/// A managed service: the primary is lost, another one that the policy never saw takes over, and the name leads there. The
/// old server comes back at the address that the name has left, and takes writes there for 5 s.
fn name_moves() -> Simulation {
    let named = policy(&SERVERS.replace("198.18.0.1}", "orders.example.com}"));
    let mut simulation = cluster(&named, &["old", "new", "a", "b"]);
    let servers = &mut simulation.servers;
    servers
        .is_at("old", [198, 18, 0, 11].into())
        .is_at("new", [198, 18, 0, 12].into())
        .leads(0.0, "primary", "old")
        .leads(BEGIN + 40.0, "primary", "new");
    simulation
        .from(0.0, "old", Answer::Primary)
        .from(BEGIN, "old", REFUSED)
        .from(BEGIN + 60.0, "old", Answer::Primary)
        .from(BEGIN + 65.0, "old", REFUSED);
    promotion(&mut simulation, BEGIN + 30.0, "new", 2, &["a", "b"]);
    simulation.run(BEGIN + 300.0);
    simulation
}

/// The name of a table, and what it is of.
type Scenario = (&'static str, fn() -> Simulation);

/// Those of docs/failovers.md.
const SCENARIOS: [Scenario; 8] = [
    ("switchover", switchover),
    ("failover", failover_without_return),
    ("return", failover_with_return),
    ("restart", restart_of_all),
    ("restore", restore),
    ("upgrade", upgrade),
    ("rollout", rollout),
    ("name", name_moves),
];

/// `UPDATE_DOCS=1` rewrites the tables.
#[test]
fn the_tables_of_the_page_are_what_is_simulated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failovers.md");
    let found = fs::read_to_string(&path).unwrap();
    let mut page = found.clone();
    for (name, simulate) in SCENARIOS {
        let start = format!("<!-- simulated: {name} -->\n");
        let (before, rest) = page
            .split_once(&start)
            .unwrap_or_else(|| panic!("the page lacks {name}"));
        let lines = rest
            .split_inclusive('\n')
            .take_while(|line| line.starts_with('|'));
        let after = &rest[lines.map(str::len).sum()..];
        let mut table = "| seconds | `NAME-rw` | `NAME-ro` |\n|---|---|---|\n".to_owned();
        for [at, rw, ro] in rows(&simulate()) {
            table.push_str(&format!("| {at} | {rw} | {ro} |\n"));
        }
        page = format!("{before}{start}{table}{after}");
    }
    assert_eq!(page.matches("<!-- simulated: ").count(), SCENARIOS.len());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    } else {
        assert!(
            page == found,
            "docs/failovers.md: UPDATE_DOCS=1 cargo test --test timeline"
        );
    }
}

#[track_caller]
fn assert_rows(simulation: &Simulation, expected: &str) {
    let cells = |line: &str| {
        line.split('|')
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let expected: Vec<_> = expected.trim().lines().map(cells).collect();
    let rows: Vec<_> = rows(simulation).into_iter().map(Vec::from).collect();
    assert_eq!(rows, expected, "\n{}", simulation.table());
}

#[test]
fn a_switchover_moves_the_writes_once_the_old_primary_is_a_standby() {
    assert_rows(
        &switchover(),
        "
        before | primary        | a b
           0.0 | primary (Held) | a b
           1.4 | primary (Held) | b
           2.0 | a              | b
           2.4 | a              | b primary
        ",
    );
}

#[test]
fn a_failover_is_followed_when_it_is_made() {
    assert_rows(
        &failover_without_return(),
        "
        before | primary        | a b
           0.0 | primary (Held) | a b
          20.4 | a              | b
        ",
    );
}

#[test]
fn an_old_primary_that_returns_takes_no_writes_and_serves_once_it_follows() {
    assert_rows(
        &failover_with_return(),
        "
        before | primary        | a b
           0.0 | primary (Held) | a b
          20.4 | a              | b
         205.0 | a              | b primary
        ",
    );
}

#[test]
fn a_restart_of_all_servers_ends_as_it_began() {
    assert_rows(
        &restart_of_all(),
        "
        before | primary        | a b
           0.0 | primary (Held) | a b primary (Held)
           2.0 | primary (Held) | a (Held)
           2.0 | primary (Held) | a b (Held)
           2.0 | primary        | a b primary (Held)
           2.1 | primary        | a
           2.1 | primary        | a b
        ",
    );
}

#[test]
fn standbys_of_a_primary_that_was_restored_serve_no_reads_until_they_are_rebuilt() {
    assert_rows(
        &restore(),
        "
        before | primary        | a b
           0.0 | primary (Held) | a b
          63.3 | primary        | primary (Fallback)
         123.3 | primary        | a
         153.3 | primary        | a b
        ",
    );
}

#[test]
fn after_an_upgrade_the_routes_wait_for_a_person() {
    assert_rows(
        &upgrade(),
        "
        before | primary        | a b
           0.0 | primary (Held) | a b primary (Held)
          63.3 | primary (Held) | a b (Held)
         123.3 | primary (Held) | b (Held)
         200.0 | primary        | a b
        ",
    );
}

#[test]
fn a_rollout_pod_by_pod_routes_to_the_pods_that_are_there() {
    assert_rows(
        &rollout(),
        "
        before | pod-11        | pod-12 pod-13
           0.0 | pod-11        | pod-12
          30.0 | pod-11        | pod-12 pod-23
          60.0 | pod-11        | pod-23
          90.0 | pod-11        | pod-22 pod-23
         120.0 | pod-11 (Held) | pod-22 pod-23
         121.0 | pod-11 (Held) | pod-23
         123.0 | -             | pod-23
         123.0 | pod-22        | pod-23
         150.5 | pod-22        | pod-21 pod-23
        ",
    );
}

#[test]
fn a_name_that_moves_leads_the_writes_to_a_server_that_was_never_seen() {
    assert_rows(
        &name_moves(),
        "
        before | old        | a b
           0.0 | old (Held) | a b
          42.0 | new        | a b
        ",
    );
}
