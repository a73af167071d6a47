//! A replica is lost in every way that there is, and no read notices.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::Shutdown;
use harness::{PgCluster, Postgres, wait};

use crate::fixture::{embedded, under_load};

/// Reads before, and after, what happens.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(4);

/// One of so many replicas is lost, as often as RUNS says; once where it is not set.
async fn fails_no_read(replicas: usize, fault: impl for<'a> Fn(&'a Postgres) -> Befalling<'a>) -> Result<()> {
    let runs = std::env::var("RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok())
        .unwrap_or(1);
    for _ in 0..runs {
        run(replicas, &fault).await?;
    }
    Ok(())
}

type Befalling<'a> = std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

async fn run(replicas: usize, fault: impl for<'a> Fn(&'a Postgres) -> Befalling<'a>) -> Result<()> {
    let cluster = PgCluster::start(replicas).await?;
    let router = embedded(&cluster).await?;
    let tally = under_load(&router, async {
        wait::pass(BEFORE, "reads before the fault").await;
        fault(cluster.replica(replicas / 2)).await?;
        wait::pass(AFTER, "reads after the fault").await;
        Ok(())
    })
    .await?;
    ensure!(
        tally.failed.is_empty(),
        "{} of {} failed: {:?}",
        tally.failed.len(),
        tally.answered,
        &tally.failed[..1]
    );
    ensure!(tally.answered > 300, "{tally:?}");
    Ok(())
}

pub async fn killed_replica_fails_no_read() -> Result<()> {
    fails_no_read(3, |replica| Box::pin(replica.kill())).await
}

pub async fn stopped_replica_fails_no_read() -> Result<()> {
    fails_no_read(3, |replica| Box::pin(replica.stop(Shutdown::Immediate))).await
}

pub async fn frozen_replica_fails_no_read() -> Result<()> {
    fails_no_read(3, |replica| Box::pin(async { replica.freeze() })).await
}

pub async fn black_holed_replica_fails_no_read() -> Result<()> {
    fails_no_read(3, |replica| Box::pin(async { replica.black_hole() })).await
}

pub async fn frozen_only_replica_fails_no_read() -> Result<()> {
    fails_no_read(1, |replica| Box::pin(async { replica.freeze() })).await
}

pub async fn black_holed_only_replica_fails_no_read() -> Result<()> {
    fails_no_read(1, |replica| Box::pin(async { replica.black_hole() })).await
}
