//! Databases whose owner, or whose settings, are against the checks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::{DATABASE, PROBE, Postgres};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, has_sessions};

const TRAP: &str = include_str!("hostile/trap.sql");
const SPRUNG: &str = "LOG:  the trap is sprung";

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "nothing_that_a_search_path_leads_to_runs_in_a_check_or_breaks_it",
            search_path,
        )
        .test("settings_of_the_role_do_not_break_a_check", settings_of_role)
        .test("checks_leave_a_few_statements_behind", statements_left)
        .test("a_session_outlives_the_idle_timeout_of_the_server", idle_timeout)
        .test(
            "the_end_of_a_policy_leaves_nothing_in_the_log_of_a_server",
            farewell,
        )
}

async fn search_path(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let (primary, replica) = (it.postgres.primary(), it.postgres.replica(0));
    primary.sql(TRAP).await?;
    let hidden = "search_path = evil, public, pg_catalog";
    // Of the role alone: the test asks, too.
    primary
        .sql(&format!(
            "alter role {} in database {DATABASE} set {hidden}",
            PROBE.user
        ))
        .await?;
    it.postgres.caught_up().await?;
    // The trap works.
    let falls =
        "set application_name = 'distributary'; select count(*) from pg_stat_activity where datname = 'app'";
    primary.sql(&format!("set {hidden}; {falls}")).await?;
    let sprung = |server: &Postgres| server.log().matches(SPRUNG).count();
    wait::eventually("the trap to be sprung", SOON, || async { sprung(primary) > 0 }).await?;
    let before = sprung(primary);
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    checked_again(&it).await?;
    ensure!(
        sprung(primary) == before && sprung(replica) == 0,
        "{}",
        replica.log()
    );
    // What breaks where it only told before.
    let breaks = "create or replace function evil.sprung() returns void language plpgsql as \
                  $$ begin raise exception 'the trap is sprung'; end $$";
    primary.sql(breaks).await?;
    it.postgres.caught_up().await?;
    checked_again(&it).await?;
    it.serves().await?;
    ensure!(
        !replica.log().contains("ERROR:  the trap is sprung"),
        "{}",
        replica.log()
    );
    Ok(())
}

async fn settings_of_role(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let settings = [
        "default_transaction_read_only = on",
        "default_transaction_isolation = serializable",
        "default_transaction_deferrable = on",
        "statement_timeout = '1h'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "quote_all_identifiers = on",
        "standard_conforming_strings = off",
        "extra_float_digits = -15",
        "datestyle = 'German'",
        "intervalstyle = 'sql_standard'",
        "client_encoding = 'LATIN1'",
        "transform_null_equals = on",
        "row_security = off",
        "search_path = ''",
    ];
    for setting in settings {
        let statement = format!("alter role {} in database {DATABASE} set {setting}", PROBE.user);
        it.postgres.primary().sql(&statement).await?;
    }
    it.postgres.caught_up().await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    checked_again(&it).await?;
    it.serves().await
}

/// An entry of `pg_stat_statements` for each statement, and none for each deadline.
async fn statements_left(plane: Arc<ControlPlane>) -> Result<()> {
    let builder = PgCluster::builder()
        .replicas(1)
        .setting("shared_preload_libraries", "pg_stat_statements");
    let it = Fixture::start_with(plane, builder, &[]).await?;
    let primary = it.postgres.primary();
    primary.sql("create extension pg_stat_statements").await?;
    let mut policy = it.policy();
    policy["spec"]["healthCheck"] =
        json!({"interval": "300ms", "heartbeat": "300ms", "timeout": "300ms", "failoverTimeout": "3s"});
    it.apply(&policy).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    checked_again(&it).await?;
    let left = || async {
        let texts = format!(
            "select query from pg_stat_statements where userid = '{}'::regrole order by 1",
            PROBE.user
        );
        primary.rows(&texts).await
    };
    let before = left().await?;
    ensure!(before.len() < 16, "{before:#?}");
    for _ in 0..5 {
        checked_again(&it).await?;
    }
    let after = left().await?;
    ensure!(after == before, "{before:#?}\n{after:#?}");
    Ok(())
}

/// Waits for a few whole checks of every server.
async fn checked_again(it: &Fixture) -> Result<()> {
    let before = it.checks().await?;
    wait::eventually("whole checks", SOON, || async {
        let now = it.checks().await?;
        ensure!(now >= before + 6, "{now} after {before}");
        anyhow::Ok(())
    })
    .await
}

async fn idle_timeout(plane: Arc<ControlPlane>) -> Result<()> {
    let builder = PgCluster::builder()
        .replicas(1)
        .setting("idle_session_timeout", "300ms")
        .setting("log_connections", "on");
    let it = Fixture::start_with(plane, builder, &[]).await?;
    it.apply(&it.defaults()).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    let replica = it.postgres.replica(0);
    let logins = || replica.log().matches("connection authorized: user=probe").count();
    let before = logins();
    wait::pass(
        Duration::from_secs(10),
        "that nobody logs in is only seen by its absence",
    )
    .await;
    // Less than a whole check in 30 s.
    let more = logins() - before;
    ensure!(more <= 1, "{more} logins in 10 s:\n{}", replica.log());
    ensure!(
        !replica.log().contains("idle-session timeout"),
        "{}",
        replica.log()
    );
    Ok(())
}

async fn farewell(plane: Arc<ControlPlane>) -> Result<()> {
    // Where a client leaves without a word the log says so at this level.
    let builder = PgCluster::builder()
        .replicas(1)
        .setting("log_min_messages", "debug1");
    let it = Fixture::start_with(plane, builder, &[]).await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    it.plane
        .kubectl(&["delete", "rsp", "-n", &it.namespace, "orders"])
        .await?;
    for server in it.postgres.servers() {
        has_sessions(server, 0).await?;
        let log = server.log();
        let abrupt = log
            .lines()
            .filter(|line| line.contains("probe@") && line.contains("EOF"));
        ensure!(abrupt.count() == 0, "{log}");
        ensure!(!log.contains("could not receive data from client"), "{log}");
    }
    Ok(())
}
