//! Standbys of every sort, on PostgreSQL 15: by files alone, of a standby, delayed, paused, in conflict; and what is none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, Postgres, node, wait};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, condition, endpoint};

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
        .test("a_logical_replica_is_told_to_be_another_database", logical)
        .test(
            "a_standby_whose_replay_waits_for_a_query_leaves_and_returns",
            conflict,
        )
        .test("queries_that_replay_cancels_cost_a_standby_nothing", cancelled)
        .test("a_standby_that_paused_for_want_of_settings_is_told", insufficient)
        .test("a_database_that_is_dropped_is_told_by_its_name", dropped)
        .test(
            "a_server_that_tells_little_serves_where_the_policy_asks_for_little",
            reticent,
        )
}

/// A policy with a bound of 3 s of lag, looked at three times a second.
fn tight(it: &Fixture) -> Value {
    let mut policy = often(it);
    policy["spec"]["replicationLag"] = json!({"max": "3s", "recover": "2s"});
    policy
}

/// A policy that asks three times a second, and waits a second for an answer.
fn often(it: &Fixture) -> Value {
    let mut policy = it.policy();
    policy["spec"]["healthCheck"]["heartbeat"] = json!("300ms");
    policy
}

/// Writes to the primary until it is dropped, ten minutes at most.
struct Writer(tokio::task::JoinHandle<()>);

impl Writer {
    async fn start(primary: &Postgres) -> Result<Self> {
        primary
            .sql("create table if not exists noise (at timestamptz)")
            .await?;
        let noise = "do $$ begin for i in 1..6000 loop insert into noise values (clock_timestamp()); commit; \
                     perform pg_sleep(0.1); end loop; end $$";
        let writes = primary.background_sql(noise);
        // It ends with the server or with the test.
        Ok(Self(tokio::spawn(async move { drop(writes.await) })))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends what another session of the server does.
async fn end(server: &Postgres, part_of_query: &str) -> Result<()> {
    let end = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like '%{part_of_query}%' and pid <> pg_backend_pid()"
    );
    let ended = server.sql(&end).await?;
    ensure!(ended == "1", "{ended} sessions ended");
    Ok(())
}

/// Puts settings in place of those that made it a standby, and restarts it.
async fn reconfigure(server: &Postgres, settings: &str) -> Result<()> {
    server.stop(Shutdown::Fast).await?;
    fs::write(server.data().join("postgresql.auto.conf"), settings)?;
    server.start().await
}

async fn log_shipping(plane: Arc<ControlPlane>) -> Result<()> {
    let archive = node::data_subdir("archive")?;
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o777))?;
    let archive = archive.display();
    let servers = PgCluster::builder()
        .replicas(2)
        .setting("archive_mode", "on")
        .setting("archive_timeout", "1s")
        .setting(
            "archive_command",
            &format!("test ! -e {archive}/closed && cp %p {archive}/%f"),
        );
    let it = Fixture::start_with(plane, servers, &[]).await?;
    let (primary, by_files, streaming) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    reconfigure(by_files, &format!("restore_command = 'cp {archive}/%f %p'\n")).await?;
    // A checkpointer that was started during recovery looks at archive_timeout when something wakes it.
    primary.reload()?;
    // Log that is written for nobody, as after a start, is not archived.
    let writer = Writer::start(primary).await?;
    let mut policy = often(&it);
    // Files arrive a second or more after they were begun.
    policy["spec"]["replicationLag"] = json!({"max": "10s", "recover": "6s"});
    it.apply(&policy).await?;
    it.serves().await?;
    let receiver = by_files.sql("select count(*) from pg_stat_wal_receiver").await?;
    ensure!(receiver == "0", "it has a receiver");
    wait::throughout(
        "it serves while the archive gets files",
        PAST_BOUND * 2,
        || async {
            let policy = it.get().await?;
            let is = endpoint(&policy, "replica-1").context("no replica-1")?;
            ensure!(is.server.reason == "Serving", "{is:?}");
            anyhow::Ok(())
        },
    )
    .await?;
    // The archive gets no more files.
    let closed = format!("{archive}/closed");
    fs::write(&closed, "")?;
    it.endpoint("replica-1", "ReplayStalled", SOON).await?;
    it.leads("ro", &[streaming], SOON).await?;
    fs::remove_file(&closed)?;
    it.leads("ro", &[by_files, streaming], SOON).await?;
    // What a primary that rests writes last stays in a file that is not full: by time it lags more and more, by bytes it
    // lags by less than a file.
    drop(writer);
    end(primary, "insert into noise").await?;
    let within_a_file =
        json!({"spec": {"replicationLag": {"max": "1h", "recover": "30m", "maxBytes": "2Mi"}}});
    it.patch(within_a_file).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    wait::throughout("it serves while the primary rests", RESTS, || async {
        let policy = it.get().await?;
        let is = endpoint(&policy, "replica-1").context("no replica-1")?;
        ensure!(is.server.reason == "Serving", "{is:?}");
        anyhow::Ok(())
    })
    .await?;
    let written = primary.sql("select pg_current_wal_lsn()").await?;
    let replayed = by_files.sql("select pg_last_wal_replay_lsn()").await?;
    ensure!(
        written != replayed,
        "it has all of the log, so nothing was proven"
    );
    // It finds the new timeline in the archive, and has to prove by positions that it follows it.
    primary.kill().await?;
    streaming.promote().await?;
    it.leads("rw", &[streaming], SOON).await?;
    let _writer = Writer::start(streaming).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.leads("ro", &[by_files], SOON).await
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
    wait::throughout("it serves with its delay", PAST_BOUND, || async {
        let policy = it.get().await?;
        let is = endpoint(&policy, "replica-1").context("no replica-1")?;
        ensure!(is.server.reason == "Serving", "{is:?}");
        anyhow::Ok(())
    })
    .await?;
    drop(writer);
    primary.kill().await?;
    other.promote().await?;
    late.follow(other)?;
    it.leads("rw", &[other], SOON).await?;
    let _writer = Writer::start(other).await?;
    it.leads("ro", &[late], SOON).await
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
    wait::pass(PAST_BOUND, "that nothing more is refused is only seen over time").await;
    let after = other.log().matches("permission denied").count();
    ensure!(after == before, "{before} refusals, then {after}");
    Ok(())
}
