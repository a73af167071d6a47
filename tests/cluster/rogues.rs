//! Servers that mean ill: they never get the password, and cost little.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use fake_postgres::{Fake, script};
use harness::postgres::{PROBE, rogue};
use harness::suite::Suite;
use harness::{ControlPlane, Operator, PgCluster, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, addresses, secret};

const CANARY: &str = "canary-5d20c7";
const MIB: u64 = 1024 * 1024;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_rogue_server_never_gets_the_password", passwords)
        .test("a_rogue_server_behind_a_served_address_never_gets_it", stand_in)
        .test("garbage_endless_bytes_and_a_gigabyte_cost_little", floods)
        .test(
            "an_answer_that_turns_into_a_gigabyte_costs_little",
            flood_of_served,
        )
}

/// A fixture whose probe role has the canary for a password, and whose operator tells all that it can.
async fn with_canary(plane: Arc<ControlPlane>) -> Result<Fixture> {
    let builder = PgCluster::builder().replicas(2);
    let it = Fixture::start_with(plane, builder, &["--log-level", "trace"]).await?;
    it.postgres.primary().set_password(PROBE.user, CANARY).await?;
    it.postgres.caught_up().await?;
    it.apply(&secret("probe", PROBE.user, CANARY)).await?;
    Ok(it)
}

/// The operator wrote the canary, or its hash, nowhere.
async fn nothing_leaked(it: &Fixture, rogues: &[&Fake]) -> Result<()> {
    for rogue in rogues {
        let heard = String::from_utf8_lossy(&rogue.heard()).into_owned();
        ensure!(
            !heard.contains(CANARY) && !heard.contains("md5"),
            "a rogue server heard {heard:?}"
        );
    }
    let kinds = "rsp,configmaps,services,endpointslices,events";
    let get = ["get", kinds, "-n", &it.namespace, "-o", "yaml"];
    let objects = it.plane.kubectl(&get).await?;
    let metrics = it.operator.http_get("/metrics").await?.body;
    for (output, text) in [
        ("objects", objects),
        ("metrics", metrics),
        ("log", it.operator.log()),
    ] {
        ensure!(
            !text.is_empty() && !text.contains(CANARY),
            "the password is in the {output}"
        );
    }
    ensure!(it.operator.log().contains("\"TRACE\""), "the log is not at trace");
    Ok(())
}

async fn visited(rogue: &Fake, times: usize) -> Result<()> {
    let before = rogue.counts().ever;
    wait::eventually("visits of a rogue server", SOON, || async {
        rogue.counts().ever >= before + times
    })
    .await
}

async fn passwords(plane: Arc<ControlPlane>) -> Result<()> {
    let it = with_canary(plane).await?;
    let (clear, md5, stripped) = tokio::try_join!(
        rogue(script::clear_text()),
        rogue(script::md5()),
        rogue(script::clear_text()),
    )?;
    let mut policy = it.policy();
    let replicas = json!([
        {"id": "good", "host": it.postgres.replica(0).address()},
        {"id": "clear", "host": clear.ip()},
        {"id": "md5", "host": md5.ip()},
        {"id": "stripped", "host": stripped.ip(), "connection": {"tls": {"mode": "Require"}}},
    ]);
    policy["spec"]["replicas"] = replicas;
    it.apply(&policy).await?;
    it.fails("clear", "ConfigurationFailed", "PasswordMethodRefused")
        .await?;
    it.fails("md5", "ConfigurationFailed", "PasswordMethodRefused")
        .await?;
    it.fails("stripped", "ConfigurationFailed", "TlsNotOffered")
        .await?;
    for rogue in [&clear, &md5, &stripped] {
        visited(rogue, 3).await?;
    }
    it.condition("Ready", "True", "Routable").await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    // Who strips TLS hears the question for it, and no name of a user.
    let heard = stripped.heard();
    ensure!(
        !heard.windows(5).any(|word| word == PROBE.user.as_bytes()),
        "{heard:?}"
    );
    nothing_leaked(&it, &[&clear, &md5, &stripped]).await
}

async fn stand_in(plane: Arc<ControlPlane>) -> Result<()> {
    let it = with_canary(plane).await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    let (replica, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let mut rogues = vec![];
    for script in [script::clear_text(), script::md5()] {
        let rogue = rogue(script).await?;
        replica.give_way_to_rogue(&rogue)?;
        // The session that it held to the real server ends, and is tried again.
        replica
            .sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'distributary'")
            .await?;
        let held = it
            .fails("replica-1", "ConfigurationHeld", "PasswordMethodRefused")
            .await?;
        ensure!(held.server.eligible, "{held:?}");
        visited(&rogue, 3).await?;
        it.leads("ro", &[replica, other], SOON).await?;
        replica.heal()?;
        it.endpoint("replica-1", "Serving", SOON).await?;
        rogues.push(rogue);
    }
    nothing_leaked(&it, &rogues.iter().collect::<Vec<_>>()).await
}

async fn floods(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.holds_sessions().await?;
    let before = it.operator.vm_hwm()?;
    let scripts = [
        ("garbage", script::garbage(), "ProtocolViolation"),
        ("endless", script::endless_notices(), "ReplyTooLong"),
        ("eager", script::endlessly_ready(), "ProtocolViolation"),
        ("gigabyte", script::gigabyte(), "ReplyTooLong"),
        ("silent", script::silent(), "TimedOut"),
        ("closes", script::closes(), "ConnectionClosed"),
        ("confused", script::refuses("XX000"), "ServerFailing"),
        ("odd", script::refuses("P0001"), "OtherError"),
    ];
    let mut rogues = vec![];
    for (id, script, failure) in scripts {
        rogues.push((id, rogue(script).await?, failure));
    }
    let mut policy = it.policy();
    let good = json!({"id": "replica-1", "host": it.postgres.replica(0).address()});
    let rest = rogues
        .iter()
        .map(|(id, rogue, _)| json!({"id": id, "host": rogue.ip()}));
    policy["spec"]["replicas"] = std::iter::once(good).chain(rest).collect();
    it.apply(&policy).await?;
    for (id, rogue, failure) in &rogues {
        wait::eventually("a few visits", SOON, || async { rogue.counts().ever >= 5 }).await?;
        it.until(&format!("{id} to fail with {failure}"), SOON, |policy| {
            let is = crate::fixture::endpoint(policy, id)?;
            (is.server.failure.as_deref() == Some(*failure) && !is.server.eligible).then_some(())
        })
        .await?;
    }
    small(&it.operator, before)?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    let files = it.operator.open_files()?;
    ensure!(files < 100, "{files} open files");
    Ok(())
}

async fn flood_of_served(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.holds_sessions().await?;
    let before = it.operator.vm_hwm()?;
    let (replica, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let rogue = rogue(script::gigabyte()).await?;
    replica.give_way_to_rogue(&rogue)?;
    it.leads("ro", &[other], SOON).await?;
    it.fails("replica-1", "CircuitOpen", "ReplyTooLong").await?;
    visited(&rogue, 3).await?;
    small(&it.operator, before)?;
    // What left the rogue was stopped by the reader's buffers, long before a gigabyte.
    let each = rogue.sent() / rogue.counts().ever as u64;
    ensure!(each < 64 * MIB, "{each} bytes were taken each time");
    replica.heal()?;
    wait::eventually("both in the route", Duration::from_secs(30), || async {
        let now = it.now("ro").await?;
        ensure!(now == addresses(&[replica, other]), "{now:?}");
        anyhow::Ok(())
    })
    .await
}

fn small(operator: &Operator, before: u64) -> Result<()> {
    let grown = operator.vm_hwm()?.saturating_sub(before);
    ensure!(grown < 16 * MIB, "the operator grew by {} MiB", grown / MIB);
    Ok(())
}
