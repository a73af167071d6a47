//! Whether healthy servers stay in the routes of a busy machine, and whether a fault is still seen there.
//! `make bench-calm`.
//!
//! MINUTES (10), BURNERS (6), KILLS (5), READS (per second and contestant, 20).

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use benches::contest::{Contest, Outcome, versions};
use benches::contestants::Policy;
use benches::faults::Fault;
use benches::figures::{aim, save, show, table};
use harness::process::Daemon;
use harness::reader::Totals;
use harness::{node, wait};
use serde_json::{Value, json};

const OURS: &str = "distributary";
const OURS_QUICK: &str = "distributary-100ms";
const HAPROXY_TUNED: &str = "haproxy-tuned";

const NOTES: &[&str] = &[
    "distributary is at its defaults, distributary-100ms has a heartbeat of 100ms beside that; both let an endpoint return soon after a trip (resetTimeout and maxResetTimeout 1s, halfOpen 1 success, step 50)",
    "haproxy-tuned: benches/config/haproxy-tuned.cfg (inter 100ms, fall 1)",
    "left: how often somebody said that a server is down while none was",
];

fn main() -> ExitCode {
    node::enter(|| benches::run(bench()))
}

async fn bench() -> Result<()> {
    let minutes: f64 = benches::option("MINUTES", 10.0)?;
    let (burners, kills) = (
        benches::option("BURNERS", 6_usize)?,
        benches::option("KILLS", 5_usize)?,
    );
    let reads = benches::option("READS", 20_u32)?;
    let mut contest = Contest::start().await?;
    contest.operator(OURS, &Policy::defaults()).await?;
    contest.operator(OURS_QUICK, &Policy::quick_heartbeat()).await?;
    contest.haproxy(HAPROXY_TUNED, "haproxy-tuned.cfg")?;
    contest.field(&[OURS, OURS_QUICK, HAPROXY_TUNED], reads).await?;
    let burning = burn(burners)?;

    let (since, before) = (Instant::now(), contest.totals());
    println!("{burners} processes burn; {minutes} minutes without a fault");
    wait::pass(Duration::from_secs_f64(minutes * 60.0), "nothing is to happen").await;
    let (left, after) = (contest.downs(since), contest.totals());

    // One operator at a time: kube-proxy takes the second of two changes within a second only at its end.
    contest.field(&[OURS, HAPROXY_TUNED], reads).await?;
    let mut outcomes = BTreeMap::new();
    for run in 0..kills {
        let server = contest.postgres.replica(run % 2);
        contest.run(Fault::Kill, server, &mut outcomes).await?;
    }
    drop(burning);
    let calm = contest
        .names()
        .into_iter()
        .map(|name| (name, Calm::of(left[name], &before[name], &after[name])));
    let calm = calm.collect();
    report(&calm, &outcomes);
    let result = json!({
        "minutes": minutes, "burners": burners, "readsPerSecond": reads, "notes": NOTES, "versions": versions(),
        "calm": calm.iter().map(|(name, one)| ((*name).to_owned(), one.json())).collect::<Value>(),
        "kill": outcomes.iter().map(|(name, one)| ((*name).to_owned(), one.json())).collect::<Value>(),
    });
    save("calm", result)
}

/// Processes that use all the time they get, until they are dropped.
fn burn(count: usize) -> Result<Vec<Daemon>> {
    let burner = |number| -> Result<Daemon> {
        let daemon = Daemon::new(format!("burner-{number}"), "/bin/sh")?.args(["-c", "while :; do :; done"]);
        daemon.start()?;
        Ok(daemon)
    };
    (0..count).map(burner).collect()
}

/// What somebody did while nothing happened.
struct Calm {
    left: usize,
    reads: u64,
    failed: u64,
    by_error: BTreeMap<String, u64>,
}

impl Calm {
    fn of(left: usize, before: &Totals, after: &Totals) -> Self {
        let new = |(error, count): (&String, &u64)| {
            let count = count - before.by_error.get(error).unwrap_or(&0);
            (count > 0).then(|| (error.clone(), count))
        };
        Self {
            left,
            reads: after.reads + after.failures - before.reads - before.failures,
            failed: after.failures - before.failures,
            by_error: after.by_error.iter().filter_map(new).collect(),
        }
    }

    fn json(&self) -> Value {
        json!({"left": self.left, "reads": self.reads, "failedReads": self.failed, "byError": self.by_error})
    }
}

fn report(calm: &BTreeMap<&'static str, Calm>, outcomes: &BTreeMap<&'static str, Outcome>) {
    println!();
    let head = [
        "who",
        "left",
        "reads",
        "failed",
        "kill: median",
        "worst",
        "failed",
    ];
    let mut rows = vec![head.map(ToOwned::to_owned).to_vec()];
    for (name, one) in calm {
        let outcome = outcomes.get(name).cloned().unwrap_or_default();
        let [median, worst] = [outcome.times.median(), outcome.times.worst()].map(show);
        let [left, reads] = [one.left.to_string(), one.reads.to_string()];
        let [failed, failed_then] = [one.failed, outcome.failed].map(|number| number.to_string());
        rows.push(vec![
            (*name).to_owned(),
            left,
            reads,
            failed,
            median,
            worst,
            failed_then,
        ]);
    }
    table(&rows);
    println!();
    for note in NOTES {
        println!("- {note}");
    }
    println!();
    for name in [OURS, OURS_QUICK] {
        let one = &calm[name];
        aim(
            &format!(
                "{name}: no endpoint leaves ({}), no read fails ({})",
                one.left, one.failed
            ),
            Some(one.left == 0 && one.failed == 0),
        );
    }
    let median = |name| outcomes.get(name)?.times.median();
    let both = [median(OURS), median(HAPROXY_TUNED)].map(show);
    println!(
        "a kill while they burn: {OURS} after {}, {HAPROXY_TUNED} after {} (medians)",
        both[0], both[1]
    );
}
