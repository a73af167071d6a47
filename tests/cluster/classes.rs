//! The classes of failure that do not trip, caused for real, each with its own effect. Times are short: interval 300 ms,
//! failoverTimeout 900 ms, resetTimeout 1 s. Those that trip are in tests/timing, with the time that they take.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::{PROBE, Shutdown};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, addresses, endpoint, has_sessions};

/// Longer than failoverTimeout: a trip would have followed.
const LONG: Duration = Duration::from_millis(1400);
/// A client that goes when this file is in the directory of its server.
const LEAVE: &str = "leave";

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
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
}

/// A smart shutdown waits for its clients: the held session must not be the one that it waits for.
async fn stopping(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_quick(plane, 2).await?;
    let (leaving, other) = (it.postgres.replica(0), it.postgres.replica(1));
    // A machine that was busy may have had one before.
    let before = it.endpoint("replica-1", "Serving", SOON).await?.server.trips;
    let stays = format!(
        "do $$ begin while (pg_stat_file('{LEAVE}', true)).size is null loop perform pg_sleep(0.05); end loop; end $$"
    );
    let client = tokio::spawn(leaving.background_sql(&stays));
    wait::eventually("a client", SOON, || async {
        let staying = "select count(*) from pg_stat_activity where query like 'do $$%'";
        ensure!(leaving.sql(staying).await? == "1");
        anyhow::Ok(())
    })
    .await?;
    tokio::try_join!(leaving.stop(Shutdown::Smart), async {
        it.leads("ro", &[other], SOON).await?;
        let stopping = it.endpoint("replica-1", "Starting", SOON).await?;
        ensure!(
            stopping.server.circuit == "Closed" && stopping.server.trips <= before,
            "{stopping:?}"
        );
        wait::pass(LONG, "no trip follows").await;
        let policy = it.get().await?;
        let is = endpoint(&policy, "replica-1");
        ensure!(
            is.is_some_and(|is| is.server.reason == "StillStarting" && is.server.trips <= before),
            "{is:?}"
        );
        Ok(std::fs::write(leaving.data().join(LEAVE), "")?)
    })?;
    // The client was let alone, and nothing else held the shutdown up.
    client.await??;
    leaving.start().await?;
    it.leads("ro", &[leaving, other], SOON).await
}

async fn saturated(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_quick(plane, 1).await?;
    let full = it.postgres.replica(0);
    // The places that are left after the reserved ones; no new session gets one, the held one has its own.
    let clients: Vec<_> = (0..50)
        .map(|_| tokio::spawn(full.background_sql("select pg_sleep(600)")))
        .collect();
    let saturated = it.fails("replica-1", "Saturated", "Saturated").await?;
    ensure!(
        saturated.server.eligible && saturated.server.circuit == "Closed",
        "{saturated:?}"
    );
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    wait::throughout("it stays in the route", LONG, || async {
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
    it.apply(&it.quick()).await?;
    it.serves().await?;
    let (primary, replica) = (it.postgres.primary(), it.postgres.replica(0));
    let new = json!({"id": "new", "host": replica.more_addresses()[0]});
    let with = |new: Option<&Value>| {
        let mut policy = it.quick();
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
        ensure!(
            held.server.eligible && held.server.circuit == "Closed",
            "{rule}: {held:?}"
        );
        it.apply(&with(Some(&new))).await?;
        let refused = it.fails("new", "ConfigurationFailed", failure).await?;
        ensure!(!refused.server.eligible, "{rule}: {refused:?}");
        it.condition("Degraded", "True", "EndpointsNotServing").await?;
        ensure!(
            it.now("ro").await? == addresses(&[replica]),
            "{rule}: {:?}",
            it.now("ro").await?
        );
        primary.sql(&scram).await?;
        it.postgres.caught_up().await?;
        replica.rules_first(&[])?;
        // Two names of one server: the first by id is used.
        it.endpoint("new", "Serving", SOON).await?;
        it.endpoint("replica-1", "SameServer", SOON).await?;
        it.apply(&with(None)).await?;
        it.leads("ro", &[replica], SOON).await?;
    }
    Ok(())
}

async fn no_database(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_quick(plane, 1).await?;
    let replica = it.postgres.replica(0);
    it.patch(json!({"spec": {"connection": {"database": "nowhere"}}}))
        .await?;
    let held = it
        .fails("replica-1", "ConfigurationHeld", "DatabaseMissing")
        .await?;
    ensure!(
        held.server.eligible && held.server.circuit == "Closed",
        "{held:?}"
    );
    it.leads("ro", &[replica], SOON).await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.postgres.primary().sql("create database nowhere").await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

/// The one thing that must be asked may not be (42501).
async fn other_sqlstates(plane: Arc<ControlPlane>) -> Result<()> {
    const ROLE: &str = "execute on function pg_is_in_recovery()";
    let it = Fixture::at_quick(plane, 1).await?;
    let (primary, replica) = (it.postgres.primary(), it.postgres.replica(0));
    let cause = format!("revoke {ROLE} from public");
    primary.sql_in("app", &cause).await?;
    let alive = it.fails("replica-1", "AnswersWithError", "OtherError").await?;
    ensure!(
        alive.server.eligible && alive.server.circuit == "Closed",
        "{alive:?}"
    );
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    wait::throughout("it stays", LONG, || async {
        let policy = it.get().await?;
        let is = endpoint(&policy, "replica-1");
        ensure!(
            is.is_some_and(|is| is.server.eligible && is.server.trips == 0),
            "{is:?}"
        );
        ensure!(it.now("ro").await? == addresses(&[replica]), "it left");
        anyhow::Ok(())
    })
    .await?;
    let mend = format!("grant {ROLE} to public");
    primary.sql_in("app", &mend).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    has_sessions(replica, 1).await
}
