//! Servers that are no standby of the primary, that lose their database, and that tell little; PostgreSQL 15.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, condition};
use crate::pace::often;

/// Many heartbeats.
const LONG: Duration = Duration::from_secs(6);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_logical_replica_is_told_to_be_another_database", logical)
        .test("a_database_that_is_dropped_is_told_by_its_name", dropped)
        .test(
            "a_server_that_tells_little_serves_where_the_policy_asks_for_little",
            reticent,
        )
}

async fn logical(plane: Arc<ControlPlane>) -> Result<()> {
    let publisher = PgCluster::builder().replicas(1).setting("wal_level", "logical");
    let subscriber = PgCluster::builder().own_identity();
    let (it, subscriber) = tokio::try_join!(Fixture::start_with(plane, publisher, &[]), subscriber.start())?;
    let (primary, copy) = (it.postgres.primary(), subscriber.primary());
    let table = "create table sale (id int primary key); alter table sale owner to app";
    copy.sql(table).await?;
    primary.sql(table).await?;
    primary
        .sql("insert into sale select generate_series(1, 100); create publication everything for all tables")
        .await?;
    primary.sql("alter role app replication").await?;
    let subscription = format!(
        "create subscription everything connection 'host={} dbname=app user=app password=app-secret' publication everything",
        primary.address()
    );
    copy.sql(&subscription).await?;
    wait::eventually("the copy to have the rows", SOON, || async {
        let rows = copy.sql("select count(*) from sale").await?;
        ensure!(rows == "100", "{rows} rows");
        anyhow::Ok(())
    })
    .await?;
    let mut policy = often(&it);
    let replica = policy["spec"]["replicas"][0].clone();
    policy["spec"]["replicas"] = json!([replica, {"id": "copy", "host": copy.address()}]);
    it.apply(&policy).await?;
    let is = it.endpoint("copy", "IdentityMismatch", SOON).await?;
    ensure!(is.server.role == "Primary" && !is.server.eligible, "{is:?}");
    it.leads("rw", &[primary], SOON).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.condition("SplitBrainSuspected", "False", "NotSuspected")
        .await?;
    let degraded = it.condition("Degraded", "True", "EndpointsNotServing").await?;
    ensure!(
        degraded.message.contains("copy: IdentityMismatch"),
        "{degraded:?}"
    );
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn dropped(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let primary = it.postgres.primary();
    primary.sql_in("postgres", "create database doomed").await?;
    it.postgres.caught_up().await?;
    let mut policy = often(&it);
    policy["spec"]["connection"]["database"] = json!("doomed");
    it.apply(&policy).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    primary
        .sql_in("postgres", "drop database doomed with (force)")
        .await?;
    for id in ["primary", "replica-1"] {
        let is = it.fails(id, "ConfigurationHeld", "DatabaseMissing").await?;
        ensure!(is.server.trips == 0, "{is:?}");
    }
    it.leads("rw", &[primary], SOON).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    primary.sql_in("postgres", "create database doomed").await?;
    it.serves().await
}

/// What managed services refuse to their users.
const REVOKED: &str = "revoke execute on function pg_control_system() from public; \
    revoke execute on function pg_control_checkpoint() from public; \
    revoke execute on function pg_current_wal_lsn() from public; \
    revoke execute on function pg_last_wal_receive_lsn() from public; \
    revoke execute on function pg_last_wal_replay_lsn() from public; \
    revoke execute on function pg_walfile_name(pg_lsn) from public; \
    revoke execute on function pg_postmaster_start_time() from public; \
    revoke select on pg_stat_wal_receiver from public; \
    revoke select on pg_stat_activity from public; \
    revoke select on pg_stat_database from public; \
    revoke select on pg_roles from public";

async fn reticent(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    it.postgres.primary().sql(REVOKED).await?;
    it.postgres.caught_up().await?;
    // As it is, a policy of every default says what it is not told.
    it.apply(&often(&it)).await?;
    it.endpoint("replica-1", "LagUnknown", SOON).await?;
    let policy = it.get().await?;
    let ready = condition(&policy, "Ready").context("no Ready")?;
    ensure!(ready.status != "True" || ready.reason != "Routable", "{ready:?}");
    let mut policy = often(&it);
    policy["spec"]["identity"] = json!({"check": "None"});
    policy["spec"]["failover"] = json!({"primaryRole": "Pinned"});
    policy["spec"]["replicationLag"] = json!({"source": "None"});
    it.apply(&policy).await?;
    it.serves().await?;
    let (one, other) = (it.postgres.replica(0), it.postgres.replica(1));
    it.leads("ro", &[one, other], SOON).await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    one.kill().await?;
    it.leads("ro", &[other], SOON).await?;
    one.start().await?;
    it.leads("ro", &[one, other], SOON).await?;
    // Each refusal is a line of the log: not one at every heartbeat.
    let before = other.log().matches("permission denied").count();
    wait::pass(LONG, "that nothing more is refused is only seen over time").await;
    let after = other.log().matches("permission denied").count();
    ensure!(after == before, "{before} refusals, then {after}");
    Ok(())
}
