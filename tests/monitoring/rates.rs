//! Rates, as the HTTP API tells them, beside what clients did by their own count.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::processed;
use harness::{ControlPlane, Postgres, wait};
use serde_json::Value;

use crate::SOON;
use crate::fixture::Fixture;
use crate::scene::Scene;

/// How long clients work.
const WORK: Duration = Duration::from_secs(130);
/// A minute is told from counters that are up to 80 s old: by then these are of nothing but the work.
const FULL: Duration = Duration::from_secs(95);
/// Transactions per second of the primary, and of each replica.
const RATES: [&str; 3] = ["--rate=100", "--rate=200", "--rate=300"];

fn is_near(told: f64, expected: f64) -> bool {
    (told - expected).abs() < 0.05 * expected
}

pub async fn are_those_of_pgbench(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let scene = Scene::over(it, false, &[]).await?;
    let time = format!("--time={}", WORK.as_secs());
    let work = |(server, rate): (&Postgres, &str)| {
        server.pgbench("select count(*) from note", &["--client=4", &time, rate])
    };
    let benches = scene.it.postgres.servers().zip(RATES).map(work);
    let benches = benches.collect::<Result<Vec<_>>>()?;
    wait::pass(
        FULL,
        "a rate of the last minute is of the work alone only after it",
    )
    .await;
    let answer = scene
        .get("/api/db/replicas?policy=shop/orders", &scene.reader)
        .await?;
    let answer: Value = serde_json::from_str(&answer.body)?;

    let done = |at: usize| processed(&benches[at]);
    wait::eventually("pgbench to end", WORK + SOON, || async {
        ensure!((0..3).all(|at| done(at).is_some()), "{}", benches[0].log());
        anyhow::Ok(())
    })
    .await?;
    let status = &answer["status"];
    let servers = [&status["primary"], &status["replicas"][0], &status["replicas"][1]];
    let mut rates = vec![];
    for (at, server) in servers.into_iter().enumerate() {
        let minute = &server["statistics"]["minute"];
        let told = minute["transactions"].as_f64();
        let told = told.with_context(|| format!("no rate of {server}"))?;
        let rate = done(at).context("no count")? / WORK.as_secs_f64();
        ensure!(is_near(told, rate), "{}: {told} told, {rate} done", server["id"]);
        // Four clients of pgbench, a session each; somebody may look in.
        let sessions = minute["sessions"].as_f64().context("no sessions")?;
        ensure!((3.5..=5.5).contains(&sessions), "{}: {sessions}", server["id"]);
        rates.push(rate);
    }
    let share = answer["statistics"]["replicaUsagePercentage"].as_f64();
    let share = share.context("no share")?;
    let expected = 100.0 * (rates[1] + rates[2]) / rates.iter().sum::<f64>();
    ensure!(is_near(share, expected), "{share} told, {expected} done");
    Ok(())
}
