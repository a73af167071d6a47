//! How long a fault of a server goes unseen: the operator beside HAProxy and Pgpool-II. `make bench-failover`.
//!
//! RUNS (50), FAULTS (all, separated by commas; see below), READS (per second and contestant, 10).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use benches::contest::{Contest, Outcome, versions};
use benches::contestants::Policy;
use benches::faults::Fault;
use benches::figures::{Times, aim, save, show, table};
use benches::journal::Statement;
use harness::postgres::Shutdown;
use harness::{Postgres, node, wait};
use serde_json::{Value, json};

const OURS: &str = "distributary";
const OURS_FAST: &str = "distributary-fast";
const HAPROXY: &str = "haproxy";
const HAPROXY_TUNED: &str = "haproxy-tuned";
const PGPOOL: &str = "pgpool";
const PROMOTION: &str = "promotion";
/// Two operators that write at the same time would stand in each other's way: kube-proxy takes the second of two changes
/// within a second only at its end. So each has a turn of its own, with those that it is to be compared with.
const TURNS: [&[&str]; 2] = [
    &[OURS, HAPROXY, HAPROXY_TUNED, PGPOOL],
    &[OURS_FAST, HAPROXY_TUNED, PGPOOL],
];
/// The aim: so many times before HAProxy's defaults, at ours.
const FACTOR: u32 = 50;
/// Longer than the failoverTimeout of the defaults and two of their heartbeats.
const PRIMARY_OUT: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_mins(2);

const NOTES: &[&str] = &[
    "distributary is at its defaults (interval 30s, heartbeat 2s, failoverTimeout 5s), except that an endpoint returns soon after a trip (resetTimeout and maxResetTimeout 1s, halfOpen 1 success, step 50); distributary-fast has heartbeat, interval and failoverTimeout 100ms, timeout 50ms and failureThreshold 1 beside that",
    "its times end with the event of the EndpointSlice on another client's watch; those of the others with the line of their log",
    "haproxy and haproxy-tuned: benches/config/haproxy.cfg and haproxy-tuned.cfg; pgpool: benches/config/pgpool.conf",
    "failed reads: of a new connection for each read, none tried twice, from the fault until all have the server back",
    "alarms: how often it had the server out just before a fault, while all was well; the fault waited until it was back",
    "two turns: distributary beside the other three, distributary-fast beside the quicker two; one operator at a time, as kube-proxy takes the second of two changes within a second only at its end",
    "promotion: from the call of pg_promote, the old primary stopped 10 s before, to the event of the slice of NAME-rw; option pgsql-check does not know a primary, so HAProxy has no such time, and Pgpool-II is not measured",
];

fn main() -> ExitCode {
    node::enter(|| benches::run(bench()))
}

async fn bench() -> Result<()> {
    let (runs, reads) = (
        benches::option("RUNS", 50_usize)?,
        benches::option("READS", 10_u32)?,
    );
    let (faults, promotion) = faults(&benches::option("FAULTS", "all".to_owned())?)?;
    let mut contest = Contest::start().await?;
    contest.operator(OURS, &Policy::defaults()).await?;
    contest.operator(OURS_FAST, &Policy::fast()).await?;
    if !faults.is_empty() {
        contest.haproxy(HAPROXY, "haproxy.cfg")?;
        contest.haproxy(HAPROXY_TUNED, "haproxy-tuned.cfg")?;
        contest.pgpool(PGPOOL).await?;
    }
    let mut results = Results::default();
    let ended = measure(&mut contest, &faults, promotion, runs, reads, &mut results).await;
    // What was measured before somebody did not come back is worth keeping.
    results.report();
    save(
        "failover",
        json!({
            "runs": runs, "readsPerSecond": reads, "complete": ended.is_ok(),
            "notes": NOTES, "versions": versions(), "faults": results.json(),
        }),
    )?;
    ended
}

async fn measure(
    contest: &mut Contest,
    faults: &[Fault],
    promotion: bool,
    runs: usize,
    reads: u32,
    results: &mut Results,
) -> Result<()> {
    for turn in TURNS.into_iter().filter(|_| !faults.is_empty()) {
        contest.field(turn, reads).await?;
        for fault in faults {
            let outcomes = results.faults.entry((fault.name(), turn[0])).or_default();
            for run in 0..runs {
                let server = contest.postgres.replica(run % 2);
                contest.run(*fault, server, outcomes).await?;
            }
        }
    }
    if promotion {
        contest.field(&[OURS, OURS_FAST], reads).await?;
        promotions(contest, runs, &mut results.promotions).await?;
    }
    Ok(())
}

fn faults(text: &str) -> Result<(Vec<Fault>, bool)> {
    if text == "all" {
        return Ok((Fault::ALL.to_vec(), true));
    }
    let (promotion, others): (Vec<_>, Vec<_>) = text.split(',').partition(|name| *name == PROMOTION);
    let others: Result<_, String> = others.into_iter().map(str::parse).collect();
    let known: Vec<_> = Fault::ALL.iter().map(ToString::to_string).collect();
    match others {
        Ok(faults) => Ok((faults, !promotion.is_empty())),
        Err(error) => bail!("{error}; FAULTS are {} and {PROMOTION}", known.join(", ")),
    }
}

/// What an operator made of the promotions.
#[derive(Default)]
struct Promotions {
    times: Times,
    /// Sets of servers that took writes and were not the one primary of their time.
    wrong: usize,
}

impl Promotions {
    fn json(&self) -> Value {
        let mut value = self.times.json();
        value["wrongWriteRoutes"] = json!(self.wrong);
        value
    }
}

/// Promotes a standby again and again; the old primary comes back as a standby of the new one.
async fn promotions(
    contest: &Contest,
    runs: usize,
    results: &mut BTreeMap<&'static str, Promotions>,
) -> Result<()> {
    let servers: Vec<&Postgres> = contest.postgres.servers().collect();
    for run in 0..runs {
        // The three of them in turn: primary, next primary, bystander.
        let [old, new, other] = [run, run + 1, run + 2].map(|number| servers[number % servers.len()]);
        let stopped = Instant::now();
        old.stop(Shutdown::Immediate).await?;
        wait::pass(
            PRIMARY_OUT,
            "the old primary is out for the failoverTimeout by then",
        )
        .await;
        let at = Instant::now();
        new.promote().await?;
        let names: Vec<_> = contest.operators.iter().map(|(name, _)| *name).collect();
        let moved = Statement::Writes(BTreeSet::from([new.address()]));
        contest.journal.all_said(&names, &moved, at, DEADLINE).await;
        let mut line = format!("{PROMOTION:<16}");
        for name in names {
            let seen = contest.journal.first(name, &moved, at).map(|seen| seen - at);
            let result = results.entry(name).or_default();
            result.times.push(seen);
            result.wrong += wrong(
                &contest.journal.writes(name, stopped),
                [old.address(), new.address()],
            );
            line += &format!("  {name} {}", show(seen));
        }
        println!("{line}");
        old.rebuild(new).await?;
        other.follow(new)?;
        for (name, operator) in &contest.operators {
            operator
                .settled(DEADLINE)
                .await
                .with_context(|| format!("{name} after a promotion"))?;
        }
    }
    Ok(())
}

/// How many of these are neither the old primary alone, nor nobody, nor the new primary alone.
fn wrong(writes: &[BTreeSet<Ipv4Addr>], primaries: [Ipv4Addr; 2]) -> usize {
    let fine = |set: &&BTreeSet<Ipv4Addr>| set.len() <= 1 && set.iter().all(|one| primaries.contains(one));
    writes.iter().filter(|set| !fine(set)).count()
}

/// All that was measured.
#[derive(Default)]
struct Results {
    /// By fault and by whose turn it was.
    faults: BTreeMap<(&'static str, &'static str), BTreeMap<&'static str, Outcome>>,
    promotions: BTreeMap<&'static str, Promotions>,
}

impl Results {
    fn json(&self) -> Value {
        let mut value = json!({});
        for ((fault, turn), outcomes) in &self.faults {
            let json = |(name, one): (&&str, &Outcome)| ((*name).to_owned(), one.json());
            value[fault][turn] = outcomes.iter().map(json).collect();
        }
        let json = |(name, one): (&&str, &Promotions)| ((*name).to_owned(), one.json());
        value[PROMOTION] = self.promotions.iter().map(json).collect();
        value
    }

    fn report(&self) {
        let (all, promoted) = (&self.faults, &self.promotions);
        println!();
        let head = [
            "fault", "who", "median", "p90", "worst", "runs", "reads", "failed", "alarms",
        ];
        let mut rows = vec![head.map(ToOwned::to_owned).to_vec()];
        for ((fault, _), outcomes) in all {
            for (name, outcome) in outcomes {
                let counts =
                    [outcome.reads, outcome.failed, outcome.false_alarms].map(|number| number.to_string());
                rows.push([times(fault, name, &outcome.times), counts.to_vec()].concat());
            }
        }
        for (name, one) in promoted {
            rows.push(times(PROMOTION, name, &one.times));
        }
        table(&rows);
        println!();
        for note in NOTES {
            println!("- {note}");
        }
        println!();
        for ((fault, turn), outcomes) in all {
            let median = |name: &str| outcomes.get(name)?.times.median();
            if *turn == OURS_FAST {
                let before = median(OURS_FAST)
                    .zip(median(HAPROXY_TUNED))
                    .map(|(ours, tuned)| ours < tuned);
                aim(
                    &format!("{fault}: {OURS_FAST} before {HAPROXY_TUNED} (medians)"),
                    before,
                );
            } else if let Some((ours, theirs)) =
                median(OURS).zip(median(HAPROXY)).filter(|_| *fault == "kill")
            {
                let factor = theirs.as_secs_f64() / ours.as_secs_f64();
                let what =
                    format!("{fault}: {OURS} {FACTOR} times before {HAPROXY} (medians; it is {factor:.0})");
                aim(&what, Some(factor >= f64::from(FACTOR)));
            }
        }
        for (name, one) in promoted {
            aim(
                &format!("{name}: no wrong server in NAME-rw ({})", one.wrong),
                Some(one.wrong == 0),
            );
        }
    }
}

fn times(fault: &str, name: &str, times: &Times) -> Vec<String> {
    let cells = [times.median(), times.quantile(0.9), times.worst()].map(show);
    let runs = times.count().to_string();
    [
        vec![fault.to_owned(), name.to_owned()],
        cells.to_vec(),
        vec![runs],
    ]
    .concat()
}
