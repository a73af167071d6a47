//! Standbys with log that the write primary lacks: a primary that is restored to an earlier point, an old primary that rejoins.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::{ControlPlane, Postgres, wait};

use crate::fixture::{Fixture, SOON, addresses};
use crate::reads::served_by;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("standbys_of_a_primary_that_was_restored_leave", restored)
        .test(
            "an_old_primary_with_a_lost_row_serves_no_read_before_it_is_rebuilt",
            rejoined,
        )
}

/// So many rows that no start of a server writes as much log.
async fn write(server: &Postgres, table: &str) -> Result<()> {
    let rows = format!("create table {table} as select i from generate_series(1, 100000) i");
    server.sql(&rows).await?;
    Ok(())
}

async fn restored(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let primary = it.postgres.primary();
    primary.stop(Shutdown::Fast).await?;
    let backup = primary.back_up().await?;
    primary.start().await?;
    it.postgres.streams().await?;
    it.leads("rw", &[primary], SOON).await?;
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await?;
    write(primary, "lost").await?;
    it.postgres.caught_up().await?;

    primary.stop(Shutdown::Fast).await?;
    primary.restore(&backup)?;
    primary.start().await?;
    for id in ["replica-1", "replica-2"] {
        it.endpoint(id, "Diverged", SOON).await?;
    }
    served_by(&it, "ro", &[primary]).await?;
    // It goes past what they have.
    for table in ["one", "two"] {
        write(primary, table).await?;
    }
    wait::pass(Duration::from_secs(5), "nothing clears it").await;
    it.endpoint("replica-2", "Diverged", SOON).await?;
    it.postgres.replica(0).rebuild(primary).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    served_by(&it, "ro", &[it.postgres.replica(0)]).await
}

async fn rejoined(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (old, new, other) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    it.postgres.caught_up().await?;
    for standby in [new, other] {
        standby.cut_replication()?;
    }
    // Servers of tests commit before their log is written, and a killed one may have lost the row itself.
    old.sql("set synchronous_commit = on; create table lost as select 1 as i")
        .await?;
    old.kill().await?;
    new.promote().await?;
    other.follow(new)?;
    // Not before their receivers have ended: the kernel goes on sending what the killed server had sent.
    for standby in [new, other] {
        standby.heal()?;
    }
    it.leads("rw", &[new], SOON).await?;
    let route = it.follow("ro").await?;
    // The old one is below the new one, where no position shows what it has more.
    write(new, "more").await?;
    old.stand_by(new)?;
    old.start().await?;
    it.endpoint("primary", "NotFollowing", SOON).await?;
    write(new, "still_more").await?;
    wait::pass(Duration::from_secs(5), "it is asked ten times").await;
    it.endpoint("primary", "NotFollowing", SOON).await?;
    let returned = addresses(&[old]);
    let seen = route.sets();
    ensure!(
        seen.iter().all(|servers| servers.is_disjoint(&returned)),
        "it served with a lost row: {seen:?}"
    );
    old.rebuild(new).await?;
    it.endpoint("primary", "Serving", SOON).await?;
    served_by(&it, "ro", &[old, other]).await
}
