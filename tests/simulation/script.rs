//! What befalls a simulated cluster, and when. A script is drawn by chance or read from `tests/simulation/scripts/`.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// One plan of faults. Latencies follow from `seed`, so that the same script is the same run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    pub seed: u64,
    /// Operators that are there from the beginning.
    pub operators: usize,
    /// Whether the role of the operator is a member of `pg_monitor`: standbys tell the timeline that they receive.
    pub monitor: bool,
    pub steps: Vec<Step>,
    /// Milliseconds from the last step until all faults end.
    pub rest: u64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Milliseconds after the step before it.
    pub after: u64,
    pub fault: Fault,
}

/// Servers are 0 (declared as the primary), 1 and 2. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Fault {
    /// The server ends at once, and is there again, in its role, after so long.
    Crash { server: usize, lasts: u64 },
    /// All processes of the server stand still.
    Freeze { server: usize, lasts: u64 },
    /// A standby takes writes, on a timeline of its own.
    Promote { server: usize },
    /// The server follows another one, without what it had in addition.
    Rejoin { server: usize, onto: usize },
    /// The server comes back with another database, and takes writes.
    Empty { server: usize },
    /// A standby does not replay.
    Stall { server: usize, lasts: u64 },
    /// An operator does not reach a server.
    Part {
        operator: usize,
        server: usize,
        lasts: u64,
    },
    /// An operator does not reach the API server, and hears nothing of it.
    Cut { operator: usize, lasts: u64 },
    /// Nobody reaches the API server.
    Outage { lasts: u64 },
    /// Admission lets no write of a status through, or none of an object: it refuses them, or does not answer.
    Admission { status: bool, refuses: bool, lasts: u64 },
    /// The watches of an operator show nothing.
    Lag { operator: usize, lasts: u64 },
    /// Watches that are behind end with 410, and list anew; lists that are being read begin anew.
    Compact,
    /// An operator ends in order, and another process takes its place after so long.
    Terminate { operator: usize, lasts: u64 },
    /// An operator stands still, and its clock with it, as on a machine that is paused.
    Pause { operator: usize, lasts: u64 },
    /// An operator stands still.
    Stop { operator: usize, lasts: u64 },
    /// An operator ends, and another process takes its place after so long.
    Kill { operator: usize, lasts: u64 },
    /// It ends at its `n`-th request from now, before it was carried out or after.
    KillAt {
        operator: usize,
        n: usize,
        done: bool,
        lasts: u64,
    },
    /// What becomes of the `n`-th request of an operator from now.
    Request { operator: usize, n: usize, fate: Fate },
    /// Somebody changes an object of ours.
    Meddle { slice: bool, deletes: bool },
    /// Somebody puts an object of theirs in the place of one of ours.
    Occupy { service: bool },
}

impl Fault {
    /// How many milliseconds it takes to be over.
    pub const fn lasts(&self) -> u64 {
        match self {
            Self::Crash { lasts, .. }
            | Self::Freeze { lasts, .. }
            | Self::Stall { lasts, .. }
            | Self::Part { lasts, .. }
            | Self::Cut { lasts, .. }
            | Self::Outage { lasts }
            | Self::Admission { lasts, .. }
            | Self::Lag { lasts, .. }
            | Self::Terminate { lasts, .. }
            | Self::Pause { lasts, .. }
            | Self::Stop { lasts, .. }
            | Self::Kill { lasts, .. }
            | Self::KillAt { lasts, .. } => *lasts,
            Self::Request {
                fate: Fate::Late(late),
                ..
            } => *late,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub enum Fate {
    /// It never arrives.
    Lost,
    /// It is carried out, and nobody learns so.
    AnswerLost,
    /// It is refused.
    Refused(u16),
    /// It arrives so many milliseconds later.
    Late(u64),
}

/// Plans with so many operators.
pub fn scripts(operators: usize) -> impl Strategy<Value = Script> {
    let steps = vec(steps(operators), 1..6);
    let steps = steps.prop_map(|parts| parts.into_iter().flatten().collect::<Vec<_>>());
    let rest = prop_oneof![3 => after(), 1 => 60_000..90_000_u64];
    // Drawn last: without it a plan is the same.
    let further = weighted(0.2, (0..8_usize, of_the_api_server(operators)));
    (any::<u64>(), any::<bool>(), steps, rest, further).prop_map(
        move |(seed, monitor, mut steps, rest, further)| {
            if let Some((at, further)) = further {
                let later = steps.split_off(at.min(steps.len()));
                steps.extend(further.into_iter().chain(later));
            }
            Script {
                seed,
                operators,
                monitor,
                steps,
                rest,
            }
        },
    )
}

/// Admission holds writes up; or a watch that is behind lists anew, and that list is forgotten while it is read.
fn of_the_api_server(operators: usize) -> impl Strategy<Value = Vec<Step>> {
    let admission = (after(), any::<bool>(), any::<bool>(), lasts());
    let admission = admission.prop_map(|(begin, status, refuses, lasts)| {
        let admission = Fault::Admission {
            status,
            refuses,
            lasts,
        };
        vec![step(begin, admission)]
    });
    let forgotten = (after(), 0..operators, 500..3_000_u64, any::<bool>());
    let forgotten = forgotten
        .prop_map(|(begin, operator, lasts, deletes)| forgotten_list(begin, operator, lasts, deletes));
    prop_oneof![admission, forgotten]
}

/// The list begins `lasts` after `begin`.
pub fn forgotten_list(begin: u64, operator: usize, lasts: u64, deletes: bool) -> Vec<Step> {
    let meddle = |slice, deletes| Fault::Meddle { slice, deletes };
    vec![
        step(begin, Fault::Lag { operator, lasts }),
        step(50, meddle(true, deletes)),
        step(10, Fault::Compact),
        step(lasts - 20, meddle(false, false)),
        step(10, Fault::Compact),
    ]
}

/// A single fault, or one of the stories that people tell of clusters, and what becomes of the requests that follow from it.
fn steps(operators: usize) -> impl Strategy<Value = Vec<Step>> {
    let happens = prop_oneof![
        4 => single(operators).prop_map(|step| vec![step]),
        2 => failover(),
        1 => switchover(),
        1 => impatience(),
        1 => doze(operators),
    ];
    let before = prop_oneof![
        2 => Just(Vec::new()),
        3 => vec(of_requests(operators).prop_map(|fault| step(0, fault)), 1..3),
        1 => lagging(operators),
    ];
    (before, happens).prop_map(|(before, happens)| before.into_iter().chain(happens).collect())
}

/// What becomes of the next requests.
fn of_requests(operators: usize) -> impl Strategy<Value = Fault> {
    prop_oneof![
        2 => (0..operators, 1..8_usize, fate()).prop_map(|(operator, n, fate)| Fault::Request { operator, n, fate }),
        1 => (0..operators, 1..8_usize, any::<bool>(), lasts())
            .prop_map(|(operator, n, done, lasts)| Fault::KillAt { operator, n, done, lasts }),
    ]
}

/// Watches show what happens only after a list.
fn lagging(operators: usize) -> impl Strategy<Value = Vec<Step>> {
    (0..operators, lasts(), any::<bool>(), any::<bool>()).prop_map(|(operator, lasts, slice, deletes)| {
        vec![
            step(0, Fault::Lag { operator, lasts }),
            step(lasts / 4, Fault::Meddle { slice, deletes }),
            step(lasts / 4, Fault::Compact),
        ]
    })
}

fn after() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..200_u64, 3 => 200..5_000_u64, 1 => 5_000..60_000_u64]
}

fn lasts() -> impl Strategy<Value = u64> {
    prop_oneof![2 => 10..2_000_u64, 3 => 2_000..12_000_u64, 1 => 12_000..90_000_u64]
}

fn server() -> std::ops::Range<usize> {
    0..3
}

fn single(operators: usize) -> impl Strategy<Value = Step> {
    let operator = 0..operators;
    let of_servers = prop_oneof![
        (server(), lasts()).prop_map(|(server, lasts)| Fault::Crash { server, lasts }),
        (server(), lasts()).prop_map(|(server, lasts)| Fault::Freeze { server, lasts }),
        (server(), lasts()).prop_map(|(server, lasts)| Fault::Stall { server, lasts }),
        server().prop_map(|server| Fault::Promote { server }),
        (server(), server()).prop_map(|(server, onto)| Fault::Rejoin { server, onto }),
        server().prop_map(|server| Fault::Empty { server }),
    ];
    let (first, second) = (operator.clone(), operator.clone());
    let (third, fourth) = (operator.clone(), operator.clone());
    let of_operators = prop_oneof![
        (operator.clone(), server(), lasts()).prop_map(|(operator, server, lasts)| Fault::Part {
            operator,
            server,
            lasts
        }),
        (operator.clone(), lasts()).prop_map(|(operator, lasts)| Fault::Cut { operator, lasts }),
        (operator, lasts()).prop_map(|(operator, lasts)| Fault::Stop { operator, lasts }),
        (third, lasts()).prop_map(|(operator, lasts)| Fault::Terminate { operator, lasts }),
        (fourth, lasts()).prop_map(|(operator, lasts)| Fault::Pause { operator, lasts }),
        (first, lasts()).prop_map(|(operator, lasts)| Fault::Kill { operator, lasts }),
    ];
    let of_api = prop_oneof![
        lasts().prop_map(|lasts| Fault::Outage { lasts }),
        (second, lasts()).prop_map(|(operator, lasts)| Fault::Lag { operator, lasts }),
        Just(Fault::Compact),
        of_requests(operators),
        (any::<bool>(), any::<bool>()).prop_map(|(slice, deletes)| Fault::Meddle { slice, deletes }),
        any::<bool>().prop_map(|service| Fault::Occupy { service }),
    ];
    let fault = prop_oneof![of_servers, of_operators, of_api];
    (after(), fault).prop_map(|(after, fault)| Step { after, fault })
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Lost),
        Just(Fate::AnswerLost),
        prop_oneof![Just(403), Just(409), Just(429), Just(500)].prop_map(Fate::Refused),
        lasts().prop_map(Fate::Late),
    ]
}

fn step(after: u64, fault: Fault) -> Step {
    Step { after, fault }
}

/// The primary ends, a standby is promoted, and the old one comes back as it was or as a standby.
fn failover() -> impl Strategy<Value = Vec<Step>> {
    let rejoins = any::<bool>();
    (after(), 1..3_usize, 500..9_000_u64, lasts(), rejoins).prop_map(
        |(begin, heir, waits, lasts, rejoins)| {
            let other = 3 - heir;
            let mut steps = vec![
                step(
                    begin,
                    Fault::Crash {
                        server: 0,
                        lasts: waits + lasts,
                    },
                ),
                step(waits, Fault::Promote { server: heir }),
                step(
                    200,
                    Fault::Rejoin {
                        server: other,
                        onto: heir,
                    },
                ),
            ];
            if rejoins {
                steps.push(step(
                    lasts,
                    Fault::Rejoin {
                        server: 0,
                        onto: heir,
                    },
                ));
            }
            steps
        },
    )
}

/// The primary becomes a standby of the one that is promoted.
fn switchover() -> impl Strategy<Value = Vec<Step>> {
    (after(), 1..3_usize, 0..3_000_u64).prop_map(|(begin, heir, waits)| {
        let other = 3 - heir;
        vec![
            step(
                begin,
                Fault::Crash {
                    server: 0,
                    lasts: waits + 50,
                },
            ),
            step(waits, Fault::Promote { server: heir }),
            step(
                10,
                Fault::Rejoin {
                    server: 0,
                    onto: heir,
                },
            ),
            step(
                10,
                Fault::Rejoin {
                    server: other,
                    onto: heir,
                },
            ),
        ]
    })
}

/// An operator stands still for about a lease, and has something to put right when it goes on.
fn doze(operators: usize) -> impl Strategy<Value = Vec<Step>> {
    let lasts = prop_oneof![12_000..16_000_u64, 22_000..26_000_u64];
    (after(), 0..operators, lasts, any::<bool>()).prop_map(|(begin, operator, lasts, deletes)| {
        let slice = true;
        vec![
            step(begin, Fault::Stop { operator, lasts }),
            step(lasts / 2, Fault::Meddle { slice, deletes }),
        ]
    })
}

/// A standby is promoted for a test while the primary lives, and the primary restarts.
fn impatience() -> impl Strategy<Value = Vec<Step>> {
    (after(), 1..3_usize, after(), lasts()).prop_map(|(begin, heir, waits, lasts)| {
        vec![
            step(begin, Fault::Promote { server: heir }),
            step(waits, Fault::Crash { server: 0, lasts }),
        ]
    })
}
