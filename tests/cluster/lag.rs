//! How far replicas are behind: replay that is paused, log that never arrives, a primary that rests.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, Postgres, wait};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, endpoint};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_replica_whose_replay_is_paused_leaves_and_returns", paused)
        .test("log_that_never_arrives_counts_as_lag", cut)
        .test(
            "replicas_that_all_lag_are_held_without_a_fallback_or_withdrawn",
            all_behind,
        )
        .test("a_resting_primary_makes_no_lag", resting)
        .test("lag_in_bytes_has_a_bound_of_its_own", bytes)
        .test("a_lag_query_is_asked_where_the_policy_has_one", query)
        .test("a_lag_query_that_answers_no_number_is_told", answers)
}

/// A policy with a bound of 2 s, looked at five times a second.
pub fn tight(it: &Fixture) -> Value {
    let mut policy = it.policy();
    policy["spec"]["healthCheck"]["heartbeat"] = json!("200ms");
    policy["spec"]["replicationLag"] = json!({"max": "2s", "recover": "1s"});
    policy
}

/// Writes on the primary until it is dropped.
pub struct Writer(tokio::task::JoinHandle<()>);

impl Writer {
    pub async fn start(it: &Fixture) -> Result<Self> {
        let primary = it.postgres.primary();
        primary
            .sql("create table if not exists noise (at timestamptz)")
            .await?;
        // Ten minutes at most: the server does it by itself.
        let noise = "do $$ begin for i in 1..6000 loop insert into noise values (clock_timestamp()); commit; \
                     perform pg_sleep(0.1); end loop; end $$";
        let writes = primary.background_sql(noise);
        Ok(Self(tokio::spawn(async move {
            // It ends with the server or with the test.
            let _ = writes.await;
        })))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn paused(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    it.apply(&tight(&it)).await?;
    it.serves().await?;
    let _writer = Writer::start(&it).await?;
    let (slow, other) = (it.postgres.replica(0), it.postgres.replica(1));
    slow.sql("select pg_wal_replay_pause()").await?;
    it.leads("ro", &[other], SOON).await?;
    let stalled = it.endpoint("replica-1", "ReplayStalled", SOON).await?;
    ensure!(
        stalled.server.circuit == "Closed" && stalled.server.trips == 0,
        "{stalled:?}"
    );
    slow.sql("select pg_wal_replay_resume()").await?;
    it.leads("ro", &[slow, other], SOON).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    let metrics = it.operator.http_get("/metrics").await?.body;
    ensure!(
        metrics.contains("distributary_endpoint_lag_seconds{"),
        "{metrics}"
    );
    Ok(())
}

async fn cut(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    it.apply(&tight(&it)).await?;
    it.serves().await?;
    let _writer = Writer::start(&it).await?;
    let (behind, other) = (it.postgres.replica(0), it.postgres.replica(1));
    behind.cut_replication()?;
    it.leads("ro", &[other], SOON).await?;
    behind.heal()?;
    it.leads("ro", &[behind, other], Duration::from_secs(60)).await
}

async fn all_behind(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    it.apply(&tight(&it)).await?;
    it.serves().await?;
    let _writer = Writer::start(&it).await?;
    it.postgres.replica(0).sql("select pg_wal_replay_pause()").await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.condition("ReadFallbackActive", "True", "NoReplicaEligible")
        .await?;
    it.patch(json!({"spec": {"failover": {"readFallback": []}}}))
        .await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.endpoint("replica-1", "Held", SOON).await?;
    let ready = it.condition("Ready", "False", "NoReadTarget").await?;
    let beneath = [" replica-1: Held (ReplayStalled, ", " replica-1: Held (Lagging, "];
    ensure!(
        beneath.iter().any(|beneath| ready.message.contains(beneath)) && ready.message.contains(" s > 2 s)"),
        "{}",
        ready.message
    );
    // The bound is hard where the policy says so.
    it.patch(json!({"spec": {"failover": {"onReadLoss": "Withdraw"}}}))
        .await?;
    it.leads("ro", &[], SOON).await?;
    it.endpoint("replica-1", "ReplayStalled", SOON).await?;
    it.condition("Ready", "False", "NoReadTarget").await?;
    it.postgres
        .replica(0)
        .sql("select pg_wal_replay_resume()")
        .await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn resting(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = tight(&it);
    policy["spec"]["replicationLag"] = json!({"max": "0s"});
    it.apply(&policy).await?;
    it.serves().await?;
    serves_throughout(&it, Duration::from_secs(5)).await
}

async fn serves_throughout(it: &Fixture, time: Duration) -> Result<()> {
    wait::throughout("the replica serves", time, || async {
        let policy = it.get().await?;
        let is = endpoint(&policy, "replica-1").cloned();
        ensure!(
            is.as_ref()
                .is_some_and(|is| is.server.reason == "Serving" && is.server.eligible),
            "{is:?}"
        );
        anyhow::Ok(())
    })
    .await
}

async fn bytes(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = tight(&it);
    policy["spec"]["replicationLag"] = json!({"max": "1h", "maxBytes": "4Mi"});
    it.apply(&policy).await?;
    it.serves().await?;
    let (slow, other) = (it.postgres.replica(0), it.postgres.replica(1));
    slow.sql("select pg_wal_replay_pause()").await?;
    fill(it.postgres.primary()).await?;
    it.leads("ro", &[other], SOON).await?;
    slow.sql("select pg_wal_replay_resume()").await?;
    it.leads("ro", &[slow, other], SOON).await
}

async fn fill(primary: &Postgres) -> Result<()> {
    primary
        .sql("create table filler as select repeat('x', 100) from generate_series(1, 100000)")
        .await
        .map(drop)
}

async fn query(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    it.postgres
        .primary()
        .sql("create table behind as select 0 as seconds; grant select on behind to public")
        .await?;
    it.postgres.caught_up().await?;
    let mut policy = tight(&it);
    policy["spec"]["replicationLag"] =
        json!({"max": "10s", "source": "Query", "lagQuery": "SELECT seconds FROM behind"});
    it.apply(&policy).await?;
    it.serves().await?;
    it.postgres
        .primary()
        .sql("update behind set seconds = 11")
        .await?;
    it.endpoint("replica-1", "Lagging", SOON).await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.postgres.primary().sql("update behind set seconds = 1").await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await
}

async fn answers(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let primary = it.postgres.primary();
    primary
        .sql("create table behind as select 0::text as answer; grant select on behind to public")
        .await?;
    it.postgres.caught_up().await?;
    let mut policy = tight(&it);
    policy["spec"]["replicationLag"] =
        json!({"max": "2s", "recover": "1s", "source": "Query", "lagQuery": "SELECT answer FROM behind"});
    it.apply(&policy).await?;
    it.condition("Ready", "True", "Routable").await?;
    for (statement, shown) in [
        ("update behind set answer = null", "NULL"),
        ("update behind set answer = 'NaN'::float8", "\"NaN\""),
        ("update behind set answer = interval '1.5 s'", "\"00:00:01.5\""),
        ("update behind set answer = E'\\033[31m'", "\"\\u{1b}[31m\""),
        ("delete from behind", "no row"),
        ("drop table behind", "SQLSTATE 42P01"),
    ] {
        primary.sql(statement).await?;
        it.until(&format!("the answer {shown}"), SOON, |policy| {
            let server = &endpoint(policy, "replica-1")?.server;
            (server.reason == "LagUnknown" && server.lag_answer.as_deref() == Some(shown)).then_some(())
        })
        .await?;
        if statement.starts_with("update") {
            primary.sql("update behind set answer = '-0.004'").await?;
            it.endpoint("replica-1", "Serving", SOON).await?;
        }
    }
    Ok(())
}
