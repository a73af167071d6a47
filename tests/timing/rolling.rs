//! Readers while replicas are restarted and killed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::PROXY_DELAY;
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::wait;
use harness::{ControlPlane, Reader};

use crate::fixture::{Fixture, SOON, addresses};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_rolling_restart_never_empties_the_reads_nor_leads_them_to_the_primary",
            rolling_restart,
        )
        .test("a_reader_that_retries_once_outlives_twenty_kills", kills)
}

async fn rolling_restart(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 3).await?;
    let route = it.follow("ro").await?;
    let all: Vec<_> = it.postgres.replicas().iter().collect();
    let reader = Reader::builder(it.cluster_ip("ro").await?).rate(200).start();
    reader
        .until("reads of every replica", SOON, |totals| {
            totals.by_server.len() == 3
        })
        .await?;
    for replica in &all {
        replica.stop(Shutdown::Fast).await?;
        wait::pass(
            Duration::from_secs(2),
            "it is down for two seconds, less than failoverTimeout",
        )
        .await;
        replica.start().await?;
        wait::pass(Duration::from_secs(1), "a second later it is the next one's turn").await;
    }
    route.leads_to(&addresses(&all), SOON).await?;
    let (totals, seen) = (reader.stop(), route.sets());
    println!("reads during a rolling restart: {totals:?}");
    ensure!(seen.len() >= 7, "a restart was not seen: {seen:?}");
    let primary = it.postgres.primary().address();
    ensure!(
        seen.iter()
            .all(|set| !set.is_empty() && !set.contains(&primary.to_string())),
        "{seen:?}"
    );
    ensure!(
        totals.reads > 1000 && !totals.by_server.contains_key(&primary),
        "{totals:?}"
    );
    Ok(())
}

async fn kills(plane: Arc<ControlPlane>) -> Result<()> {
    const KILLS: usize = 20;
    let it = Fixture::at_defaults(plane, 2).await?;
    let route = it.follow("ro").await?;
    let servers = [it.postgres.replica(0), it.postgres.replica(1)];
    let reader = Reader::builder(it.cluster_ip("ro").await?)
        .rate(50)
        .retry_after(Duration::from_millis(250))
        .start();
    let mut failed = vec![];
    wait::pass(
        PROXY_DELAY,
        "the Services, which were just made, have reached kube-proxy",
    )
    .await;
    for round in 0..KILLS {
        let (dead, other) = (servers[round % 2], servers[1 - round % 2]);
        it.holds_sessions().await?;
        wait::pass(
            PROXY_DELAY,
            "the last change of the routes has reached the reader",
        )
        .await;
        let (before, processes) = (reader.totals(), dead.processes());
        dead.kill_postmaster()?;
        route.leads_to(&addresses(&[other]), SOON).await?;
        dead.gone(&processes).await?;
        wait::pass(PROXY_DELAY, "the reads of this kill have ended").await;
        dead.start().await?;
        route.leads_to(&addresses(&servers), SOON).await?;
        let now = reader.totals();
        failed.extend((now.failures > before.failures).then_some(round));
        ensure!(now.reads > before.reads + 20, "it hardly reads: {now:?}");
    }
    let totals = reader.stop();
    println!("a reader during {KILLS} kills: reads failed in these: {failed:?}; {totals:?}");
    ensure!(
        failed.len() <= 1,
        "reads failed in these kills: {failed:?}; {totals:?}"
    );
    ensure!(totals.retried > 0, "no read met a kill: {totals:?}");
    Ok(())
}
