//! Each class of failure, caused for real, with its own effect. Times are short: interval 300 ms, failoverTimeout 900 ms,
//! resetTimeout 1 s.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use fake_postgres::script;
use harness::postgres::{PROBE, Shutdown, rogue};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, Postgres, wait};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, addresses, endpoint, has_sessions};

/// What a bound allows beside the times of the policy.
const SLACK: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(300);
const FAILOVER_TIMEOUT: Duration = Duration::from_millis(900);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("dead_refused_is_suspected_at_once_and_trips", refused)
        .test("dead_reset_by_the_network_is_suspected_at_once_and_trips", reset)
        .test("dead_reset_after_connecting_trips", reset_later)
        .test("dead_closed_trips", closed)
        .test("dead_timed_out_trips", timed_out)
        .test("dead_unreachable_trips", unreachable)
        .test("stopping_is_out_at_once_and_waits_for_nobody", stopping)
        .test("saturated_by_its_clients_stays", saturated)
        .test(
            "configuration_holds_what_is_served_and_admits_nothing_new",
            configuration,
        )
        .test(
            "configuration_of_a_missing_database_holds_and_is_mended",
            no_database,
        )
        .test("any_other_sqlstate_is_alive", other_sqlstates)
        .test("failing_inside_trips", failing)
}

/// A policy of all servers with short times.
fn quick(it: &Fixture) -> Value {
    let mut policy = it.policy();
    policy["spec"]["healthCheck"] = json!({
        "interval": "300ms", "heartbeat": "300ms", "timeout": "300ms", "failoverTimeout": "900ms",
    });
    policy["spec"]["circuitBreaker"] = json!({
        "failureThreshold": 3, "resetTimeout": "1s", "halfOpen": {"successThreshold": 1, "trafficSteps": [50]},
    });
    policy
}

async fn ready(plane: Arc<ControlPlane>, replicas: usize) -> Result<Fixture> {
    let it = Fixture::start(plane, replicas).await?;
    it.apply(&quick(&it)).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.holds_sessions().await?;
    Ok(it)
}

/// The first replica dies in this way: it is out in time, its circuit opens, and it returns when the fault has ended.
async fn dies(
    it: &Fixture,
    failure: &str,
    bound: Duration,
    cause: impl AsyncFnOnce(&Postgres) -> Result<()>,
    mend: impl AsyncFnOnce(&Postgres) -> Result<()>,
) -> Result<()> {
    let (dead, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let route = it.follow("ro").await?;
    let watch = wait::Stopwatch::start();
    cause(dead).await?;
    let out = watch.until(route.leads_to(&addresses(&[other]), SOON).await?);
    ensure!(out <= bound, "it was out after {out:?}, not within {bound:?}");
    let open = it.fails("replica-1", "CircuitOpen", failure).await?;
    ensure!(
        open.circuit == "Open" && open.trips >= 1 && !open.eligible,
        "{open:?}"
    );
    mend(dead).await?;
    route.leads_to(&addresses(&[dead, other]), SOON).await?;
    it.endpoint("replica-1", "Serving", SOON).await.map(drop)
}

async fn heal(server: &Postgres) -> Result<()> {
    server.heal()
}

async fn refused(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 2).await?;
    let start = async |server: &Postgres| server.start().await;
    dies(&it, "ConnectRefused", SLACK, Postgres::kill, start).await?;
    let events = it
        .plane
        .kubectl(&["get", "events.events.k8s.io", "-n", &it.namespace, "-o", "wide"])
        .await?;
    ensure!(
        events.contains("Suspect"),
        "it was not suspected first:\n{events}"
    );
    Ok(())
}

async fn reset(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 2).await?;
    // The packet that the next heartbeat sends is answered with a reset, and so is a new connection.
    let cause = async |server: &Postgres| server.reset_connections();
    dies(&it, "ConnectRefused", INTERVAL + SLACK, cause, heal).await
}

async fn reset_later(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 2).await?;
    let cause = async |server: &Postgres| server.reset_requests();
    dies(&it, "ConnectionReset", INTERVAL + SLACK, cause, heal).await
}

async fn closed(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 2).await?;
    let rogue = rogue(script::closes()).await?;
    let cause = async |server: &Postgres| server.give_way_to_rogue(&rogue);
    dies(
        &it,
        "ConnectionClosed",
        INTERVAL + FAILOVER_TIMEOUT + SLACK,
        cause,
        heal,
    )
    .await
}

async fn timed_out(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 2).await?;
    let cause = async |server: &Postgres| server.black_hole();
    dies(&it, "TimedOut", INTERVAL + FAILOVER_TIMEOUT + SLACK, cause, heal).await
}

async fn unreachable(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 2).await?;
    let cause = async |server: &Postgres| server.unreachable();
    let bound = INTERVAL + FAILOVER_TIMEOUT + SLACK;
    dies(&it, "Unreachable", bound, cause, heal).await
}

/// A smart shutdown waits for its clients: the held session must not be the one that it waits for.
async fn stopping(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 2).await?;
    let (leaving, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let client = tokio::spawn(leaving.background_sql("select pg_sleep(5)"));
    wait::eventually("a client", SOON, || async {
        let asleep = "select count(*) from pg_stat_activity where query = 'select pg_sleep(5)'";
        ensure!(leaving.sql(asleep).await? == "1");
        anyhow::Ok(())
    })
    .await?;
    tokio::try_join!(leaving.stop(Shutdown::Smart), async {
        it.leads("ro", &[other], SOON).await?;
        let stopping = it.endpoint("replica-1", "Starting", SOON).await?;
        ensure!(
            stopping.circuit == "Closed" && stopping.trips == 0,
            "{stopping:?}"
        );
        wait::pass(FAILOVER_TIMEOUT + SLACK, "no trip follows").await;
        let policy = it.get().await?;
        let is = endpoint(&policy, "replica-1");
        ensure!(
            is.is_some_and(|is| is.reason == "Starting" && is.trips == 0),
            "{is:?}"
        );
        Ok(())
    })?;
    // The client was let alone, and nothing else held the shutdown up.
    client.await??;
    leaving.start().await?;
    it.leads("ro", &[leaving, other], SOON).await
}

async fn saturated(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 1).await?;
    let full = it.postgres.replica(0);
    // The places that are left after the reserved ones; no new session gets one, the held one has its own.
    let clients: Vec<_> = (0..50)
        .map(|_| tokio::spawn(full.background_sql("select pg_sleep(600)")))
        .collect();
    let saturated = it.fails("replica-1", "Saturated", "Saturated").await?;
    ensure!(
        saturated.eligible && saturated.circuit == "Closed",
        "{saturated:?}"
    );
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    wait::throughout("it stays in the route", FAILOVER_TIMEOUT + SLACK, || async {
        let now = it.now("ro").await?;
        ensure!(now == addresses(&[full]), "{now:?}");
        anyhow::Ok(())
    })
    .await?;
    for client in clients {
        client.abort();
    }
    full.restart().await?;
    it.endpoint("replica-1", "Serving", SOON).await.map(drop)
}

/// One replica is served; another, at its second address, is declared while the fault lasts.
async fn configuration(plane: Arc<ControlPlane>) -> Result<()> {
    let builder = PgCluster::builder().replicas(1).more_addresses(1);
    let it = Fixture::start_with(plane, builder, &[]).await?;
    it.apply(&quick(&it)).await?;
    it.condition("Ready", "True", "Routable").await?;
    let (primary, replica) = (it.postgres.primary(), it.postgres.replica(0));
    let new = json!({"id": "new", "host": replica.more_addresses()[0]});
    let with = |new: Option<&Value>| {
        let mut policy = quick(&it);
        if let Some(replicas) = policy["spec"]["replicas"].as_array_mut() {
            replicas.extend(new.cloned());
        }
        policy
    };
    let md5 = format!(
        "set password_encryption = 'md5'; alter role probe password '{}'",
        PROBE.password
    );
    let scram = format!("alter role probe password '{}'", PROBE.password);
    for (rule, sql, failure) in [
        ("host all probe all reject", "select 1", "AuthenticationFailed"),
        ("host all probe all password", "select 1", "PasswordMethodRefused"),
        ("host all probe all md5", md5.as_str(), "PasswordMethodRefused"),
    ] {
        primary.sql(sql).await?;
        it.postgres.caught_up().await?;
        replica.rules_first(&[rule])?;
        let held = it.fails("replica-1", "ConfigurationHeld", failure).await?;
        ensure!(held.eligible && held.circuit == "Closed", "{rule}: {held:?}");
        it.apply(&with(Some(&new))).await?;
        let refused = it.fails("new", "ConfigurationFailed", failure).await?;
        ensure!(!refused.eligible, "{rule}: {refused:?}");
        it.condition("Degraded", "True", "EndpointsNotServing").await?;
        ensure!(
            it.now("ro").await? == addresses(&[replica]),
            "{rule}: {:?}",
            it.now("ro").await?
        );
        primary.sql(&scram).await?;
        it.postgres.caught_up().await?;
        replica.rules_first(&[])?;
        it.endpoint("replica-1", "Serving", SOON).await?;
        it.endpoint("new", "Serving", SOON).await?;
        it.apply(&with(None)).await?;
        it.leads("ro", &[replica], SOON).await?;
    }
    Ok(())
}

async fn no_database(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 1).await?;
    let replica = it.postgres.replica(0);
    it.patch(json!({"spec": {"connection": {"database": "nowhere"}}}))
        .await?;
    let held = it
        .fails("replica-1", "ConfigurationHeld", "DatabaseMissing")
        .await?;
    ensure!(held.eligible && held.circuit == "Closed", "{held:?}");
    it.leads("ro", &[replica], SOON).await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.postgres.primary().sql("create database nowhere").await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

/// The right to connect is taken away (42501), the database takes no connections (55000), the one thing that must be
/// asked may not be (42501).
async fn other_sqlstates(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 1).await?;
    let (primary, replica) = (it.postgres.primary(), it.postgres.replica(0));
    for (database, cause, mend) in [
        (
            "postgres",
            "revoke connect on database app from public",
            "grant connect on database app to public",
        ),
        (
            "postgres",
            "alter database app allow_connections false",
            "alter database app allow_connections true",
        ),
        (
            "app",
            "revoke execute on function pg_is_in_recovery() from public",
            "grant execute on function pg_is_in_recovery() to public",
        ),
    ] {
        primary.sql_in(database, cause).await?;
        let alive = it.fails("replica-1", "AnswersWithError", "OtherError").await?;
        ensure!(alive.eligible && alive.circuit == "Closed", "{cause}: {alive:?}");
        it.condition("Degraded", "True", "EndpointsNotServing").await?;
        wait::throughout("it stays", FAILOVER_TIMEOUT + SLACK, || async {
            let policy = it.get().await?;
            let is = endpoint(&policy, "replica-1");
            ensure!(is.is_some_and(|is| is.eligible && is.trips == 0), "{is:?}");
            ensure!(it.now("ro").await? == addresses(&[replica]), "it left");
            anyhow::Ok(())
        })
        .await?;
        primary.sql_in(database, mend).await?;
        it.endpoint("replica-1", "Serving", SOON).await?;
        it.condition("Ready", "True", "Routable").await?;
    }
    has_sessions(replica, 1).await
}

/// What every check asks cannot be read, so that the server answers with class 58.
async fn failing(plane: Arc<ControlPlane>) -> Result<()> {
    let it = ready(plane, 2).await?;
    let cause = async |server: &Postgres| {
        let control = server.data().join("global/pg_control");
        Ok(std::fs::rename(control, server.data().join("aside"))?)
    };
    let mend = async |server: &Postgres| {
        let control = server.data().join("global/pg_control");
        Ok(std::fs::rename(server.data().join("aside"), control)?)
    };
    dies(
        &it,
        "ServerFailing",
        INTERVAL + FAILOVER_TIMEOUT + SLACK,
        cause,
        mend,
    )
    .await
}
