//! Statistics of servers, compared with what clients did.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::processed;
use harness::suite::Suite;
use harness::{ControlPlane, Operator, page, wait};

use crate::pair::Pair;

/// How long clients work, and how long they do nothing.
const WORK: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(15);
/// For a server to report its transactions, and for a heartbeat to ask for them.
const REPORTED: Duration = Duration::from_secs(30);

const ENDPOINTS: [&str; 3] = ["primary", "replica-1", "replica-2"];

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.waiting_test("transactions_are_those_that_pgbench_counts", counts_as_pgbench)
}

/// The transactions of each endpoint since the operator checks it.
async fn transactions(operator: &Operator) -> Result<[f64; 3]> {
    let metrics = operator.metrics().await?;
    let mut counts = [0.0; 3];
    for (count, id) in counts.iter_mut().zip(ENDPOINTS) {
        let of = format!("endpoint=\"{id}\"");
        *count = page::value(&metrics, "distributary_endpoint_transactions_total", &of)?;
    }
    Ok(counts)
}

/// Two operators check each server every second, beside a heartbeat every 2 s.
async fn counts_as_pgbench(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane, 2).await?;
    let operator = &pair.it.operator;
    let before = transactions(operator).await?;
    wait::pass(REST, "that nobody does anything is only seen by its absence").await;
    let rested = transactions(operator).await?;
    for (id, (before, rested)) in ENDPOINTS.iter().zip(before.into_iter().zip(rested)) {
        // Autovacuum and the like; the operators' own would be 5 a second.
        let rate = (rested - before) / REST.as_secs_f64();
        ensure!(rate < 1.0, "{id}: {rate} a second, of nobody");
    }
    let time = format!("--time={}", WORK.as_secs());
    let servers = pair.it.postgres.servers();
    let work = |(server, rate): (&harness::Postgres, &str)| {
        server.pgbench("select count(*) from note", &["--client=4", &time, rate])
    };
    let rates = ["--rate=100", "--rate=200", "--rate=300"];
    let benches = servers.into_iter().zip(rates).map(work);
    let benches = benches.collect::<Result<Vec<_>>>()?;
    let done = |at: usize| processed(&benches[at]);
    wait::eventually("pgbench to end", WORK + REPORTED, || async {
        ensure!((0..3).all(|at| done(at).is_some()), "{}", benches[0].log());
        anyhow::Ok(())
    })
    .await?;
    wait::eventually("the transactions to be told", REPORTED, || async {
        let now = transactions(operator).await?;
        for (at, id) in ENDPOINTS.iter().enumerate() {
            let (told, expected) = (now[at] - rested[at], done(at).unwrap_or_default());
            let off = (told - expected).abs() / expected;
            ensure!(off < 0.05, "{id}: {told} told, {expected} done");
        }
        anyhow::Ok(())
    })
    .await
}
