//! Standbys without a receiver, of a standby, and delayed; PostgreSQL 15.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, node, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, endpoint};
use crate::pace::{Writer, end, often, tight};

/// Longer than it takes a primary that rests to write what it writes once for its standbys (15 s).
const RESTS: Duration = Duration::from_secs(20);
/// Longer than the bound of lag of [`tight`].
const PAST_BOUND: Duration = Duration::from_secs(6);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_standby_that_is_fed_by_files_serves_lags_with_its_archive_and_follows_a_promotion",
            log_shipping,
        )
        .test("a_standby_of_a_standby_lags_and_is_promoted_with_it", cascade)
        .test("a_delayed_standby_returns_after_a_promotion", delayed)
}

/// replica-1 serves at each look.
async fn keeps_serving(it: &Fixture, what: &str, time: Duration) -> Result<()> {
    wait::throughout(what, time, || async {
        let policy = it.get().await?;
        let is = endpoint(&policy, "replica-1").context("no replica-1")?;
        ensure!(is.server.reason == "Serving", "{is:?}");
        anyhow::Ok(())
    })
    .await
}

/// A primary that archives to this directory every second, a standby that is fed from there alone, and one that streams. The
/// archive takes no file while there is one named `closed`.
async fn with_archive(plane: Arc<ControlPlane>, archive: &str) -> Result<Fixture> {
    let servers = PgCluster::builder()
        .replicas(2)
        .setting("archive_mode", "on")
        .setting("archive_timeout", "1s")
        .setting(
            "archive_command",
            &format!("test ! -e {archive}/closed && cp %p {archive}/%f"),
        );
    let it = Fixture::start_with(plane, servers, &[]).await?;
    let by_files = it.postgres.replica(0);
    by_files.stop(Shutdown::Fast).await?;
    // In place of what made it a standby that streams.
    let settings = format!("restore_command = 'cp {archive}/%f %p'\n");
    fs::write(by_files.data().join("postgresql.auto.conf"), settings)?;
    by_files.start().await?;
    // A checkpointer that was started during recovery looks at archive_timeout when something wakes it.
    it.postgres.primary().reload()?;
    let mut policy = often(&it);
    // Files arrive a second or more after they were begun.
    policy["spec"]["replicationLag"] = json!({"max": "10s", "recover": "6s"});
    it.apply(&policy).await?;
    Ok(it)
}

async fn log_shipping(plane: Arc<ControlPlane>) -> Result<()> {
    let archive = node::data_subdir("archive")?;
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o777))?;
    let it = with_archive(plane, &archive.display().to_string()).await?;
    let (primary, by_files, streaming) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    // Log that is written for nobody, as after a start, is not archived.
    let writer = Writer::start(primary).await?;
    it.serves().await?;
    let receiver = by_files.sql("select count(*) from pg_stat_wal_receiver").await?;
    ensure!(receiver == "0", "it has a receiver");
    keeps_serving(&it, "it serves while the archive gets files", PAST_BOUND * 2).await?;
    let closed = archive.join("closed");
    fs::write(&closed, "")?;
    it.endpoint("replica-1", "ReplayStalled", SOON).await?;
    it.leads("ro", &[streaming], SOON).await?;
    fs::remove_file(&closed)?;
    it.leads("ro", &[by_files, streaming], SOON).await?;
    drop(writer);
    end(primary, "insert into noise").await?;
    rests(&it).await?;
    // It finds the new timeline in the archive, and has to prove by positions that it follows it.
    primary.kill().await?;
    streaming.promote().await?;
    it.leads("rw", &[streaming], SOON).await?;
    let _writer = Writer::start(streaming).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.leads("ro", &[by_files], SOON).await
}

/// What a primary that rests writes last stays in a file that is not full: by time the standby lags more and more, by bytes by
/// less than a file.
async fn rests(it: &Fixture) -> Result<()> {
    let within_a_file =
        json!({"spec": {"replicationLag": {"max": "1h", "recover": "30m", "maxBytes": "2Mi"}}});
    it.patch(within_a_file).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    keeps_serving(it, "it serves while the primary rests", RESTS).await?;
    let written = it.postgres.primary().sql("select pg_current_wal_lsn()").await?;
    let replayed = it
        .postgres
        .replica(0)
        .sql("select pg_last_wal_replay_lsn()")
        .await?;
    ensure!(
        written != replayed,
        "it has all of the log, so nothing was proven"
    );
    Ok(())
}

async fn cascade(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let (primary, middle, end, beside) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
        it.postgres.replica(2),
    );
    end.follow(middle)?;
    it.apply(&tight(&it)).await?;
    it.serves().await?;
    let feeds = "select count(*) from pg_stat_replication where state = 'streaming'";
    wait::eventually("the cascade", SOON, || async {
        let fed = middle.sql(feeds).await?;
        ensure!(fed == "1", "it feeds {fed}");
        anyhow::Ok(())
    })
    .await?;
    let writer = Writer::start(primary).await?;
    middle.cut_replication()?;
    it.leads("ro", &[beside], SOON).await?;
    for id in ["replica-1", "replica-2"] {
        it.endpoint(id, "ReplayStalled", SOON).await?;
    }
    middle.heal()?;
    it.leads("ro", &[middle, end, beside], SOON).await?;
    drop(writer);
    it.postgres.caught_up().await?;
    primary.kill().await?;
    middle.promote().await?;
    beside.follow(middle)?;
    it.leads("rw", &[middle], SOON).await?;
    it.leads("ro", &[end, beside], SOON).await
}

async fn delayed(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let (primary, late, other) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    late.sql("alter system set recovery_min_apply_delay = '4s'")
        .await?;
    late.reload()?;
    let mut policy = tight(&it);
    policy["spec"]["replicas"][0]["replicationLag"] = json!({"max": "20s"});
    policy["spec"]["replicas"][0]["promotable"] = json!(false);
    it.apply(&policy).await?;
    it.serves().await?;
    let writer = Writer::start(primary).await?;
    keeps_serving(&it, "it serves with its delay", PAST_BOUND).await?;
    drop(writer);
    primary.kill().await?;
    other.promote().await?;
    late.follow(other)?;
    it.leads("rw", &[other], SOON).await?;
    let _writer = Writer::start(other).await?;
    it.leads("ro", &[late], SOON).await
}
