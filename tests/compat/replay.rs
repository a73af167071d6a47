//! Replay that waits, that cancels queries, and that PostgreSQL pauses by itself; PostgreSQL 15.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, endpoint};
use crate::pace::{Writer, end, tight};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_standby_whose_replay_waits_for_a_query_leaves_and_returns",
            conflict,
        )
        .test("queries_that_replay_cancels_cost_a_standby_nothing", cancelled)
        .test("a_standby_that_paused_for_want_of_settings_is_told", insufficient)
}

async fn conflict(plane: Arc<ControlPlane>) -> Result<()> {
    let servers = PgCluster::builder()
        .replicas(2)
        .setting("max_standby_streaming_delay", "-1");
    let it = Fixture::start_with(plane, servers, &[]).await?;
    it.apply(&tight(&it)).await?;
    it.serves().await?;
    let (primary, busy, other) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    let query = busy.background_sql("begin; select count(*) from note; select pg_sleep(300)");
    let query = tokio::spawn(query);
    wait::eventually("the query", SOON, || async {
        let running = busy
            .sql("select count(*) from pg_locks where relation = 'note'::regclass")
            .await?;
        ensure!(running != "0", "no lock");
        anyhow::Ok(())
    })
    .await?;
    primary.sql("truncate note").await?;
    let is = it.endpoint("replica-1", "ReplayStalled", SOON).await?;
    ensure!(is.server.circuit == "Closed" && is.server.trips == 0, "{is:?}");
    it.leads("ro", &[other], SOON).await?;
    end(busy, "pg_sleep(300)").await?;
    ensure!(query.await?.is_err(), "the query came to its end");
    it.leads("ro", &[busy, other], SOON).await
}

async fn cancelled(plane: Arc<ControlPlane>) -> Result<()> {
    let servers = PgCluster::builder()
        .replicas(1)
        .setting("max_standby_streaming_delay", "0")
        .setting("deadlock_timeout", "10ms");
    let it = Fixture::start_with(plane, servers, &[]).await?;
    let mut policy = tight(&it);
    policy["spec"]["routing"] = json!({"classes": [
        {"name": "reports", "probeQuery": "SELECT count(*) FROM note, pg_sleep(0.3)", "readFallback": ["Primary"]},
    ]});
    it.apply(&policy).await?;
    let granted = "grant select on note to probe";
    it.postgres.primary().sql(granted).await?;
    it.serves().await?;
    let (primary, replica) = (it.postgres.primary(), it.postgres.replica(0));
    // Each is an exclusive lock that the standby replays at once, whoever reads there.
    wait::eventually("a check to be in the way of the replay", SOON, || async {
        primary
            .sql("begin; lock table note in access exclusive mode; select pg_current_xact_id(); commit")
            .await?;
        let conflicts = replica
            .sql("select sum(confl_lock) from pg_stat_database_conflicts")
            .await?;
        ensure!(conflicts != "0", "none was");
        anyhow::Ok(())
    })
    .await?;
    let policy = it.get().await?;
    let is = endpoint(&policy, "replica-1").context("no replica-1")?;
    ensure!(is.server.trips == 0 && is.server.circuit == "Closed", "{is:?}");
    it.leads("ro", &[replica], SOON).await?;
    it.leads("reports", &[replica], SOON).await
}

async fn insufficient(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    it.apply(&tight(&it)).await?;
    it.serves().await?;
    let (primary, small, other) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    // Settings of the primary that a standby must not be below, and of one standby, too.
    for server in [other, primary] {
        server.sql("alter system set max_connections = 60").await?;
        server.restart().await?;
    }
    let _writer = Writer::start(primary).await?;
    let is = it.endpoint("replica-1", "ReplayStalled", SOON).await?;
    ensure!(is.server.role == "Standby", "{is:?}");
    it.leads("ro", &[other], SOON).await?;
    let paused = small.sql("select pg_is_wal_replay_paused()").await?;
    ensure!(paused == "t", "{}", small.log());
    small.sql("alter system set max_connections = 60").await?;
    small.restart().await?;
    it.leads("ro", &[small, other], SOON).await
}
