//! What befalls servers at the default settings: interval 30 s, heartbeat 2 s, failoverTimeout 5 s, threshold 5. How soon
//! a server is out is measured in tests/timing, where nothing else runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, condition, endpoint, has_sessions};

const HEARTBEAT: Duration = Duration::from_secs(2);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("sessions_that_an_administrator_ends_cost_nothing", terminated)
        .test(
            "a_server_that_does_not_start_up_gets_no_traffic_and_no_penalty",
            starting,
        )
        .test("a_server_that_fails_inside_trips", failing)
        .test("one_session_is_held_and_says_who_it_is", held_session)
        .test("a_disabled_endpoint_has_no_session", disabled)
        .test("a_draining_endpoint_leaves_and_counts_its_sessions", draining)
        .test("a_check_that_was_asked_for_is_answered", check_requested)
        .test(
            "an_open_circuit_survives_a_restart_of_the_operator",
            circuit_restored,
        )
        .test("a_trip_that_follows_soon_lasts_longer", growing_reset)
        .test(
            "no_policy_is_checked_more_often_than_the_operator_allows",
            min_interval,
        )
}

async fn terminated(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 1).await?;
    let before = it.get().await?.metadata.resource_version;
    for _ in 0..10 {
        for server in it.postgres.servers() {
            server
                .sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'distributary'")
                .await?;
        }
        wait::throughout("the replica serves", Duration::from_secs(1), || async {
            let policy = it.get().await?;
            ensure!(
                policy.metadata.resource_version == before,
                "the status was written: {:?}",
                policy.status
            );
            ensure!(condition(&policy, "Ready").is_some_and(|ready| ready.status == "True"));
            anyhow::Ok(())
        })
        .await?;
    }
    it.leads("ro", &[it.postgres.replica(0)], SOON).await
}

async fn min_interval(plane: Arc<ControlPlane>) -> Result<()> {
    let arguments = ["--min-interval=2s"];
    let it = Fixture::start_with(plane, PgCluster::builder().replicas(1), &arguments).await?;
    it.apply(&it.quick()).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    let accepted = it.condition("Accepted", "True", "Valid").await?;
    ensure!(
        accepted.message
            == "The policy is valid. healthCheck.interval is 2s, not 300ms, by --min-interval of the operator. \
                healthCheck.heartbeat is 2s, not 300ms, by --min-interval of the operator.",
        "{accepted:?}"
    );
    let before = it.checks().await?;
    wait::pass(
        Duration::from_secs(10),
        "that checks are far apart is only seen over time",
    )
    .await;
    // 5 of each of two servers; as declared, there would be 33.
    let checks = it.checks().await? - before;
    ensure!((6..=14).contains(&checks), "{checks} checks");
    Ok(())
}

async fn starting(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    let (slow, other) = (it.postgres.replica(0), it.postgres.replica(1));
    slow.stop(Shutdown::Fast).await?;
    // It recovers for ever, and lets nobody in.
    let settings = slow.data().join("postgresql.auto.conf");
    let before = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, format!("{before}\nhot_standby = off\n"))?;
    slow.start_no_wait()?;
    let starting = it.endpoint("replica-1", "Starting", SOON).await?;
    ensure!(
        !starting.server.eligible
            && starting.server.circuit == "Closed"
            && starting.server.failure.as_deref() == Some("Starting"),
        "{starting:?}"
    );
    it.leads("ro", &[other], SOON).await?;
    // No trip follows, but a hint.
    it.endpoint("replica-1", "StillStarting", SOON).await?;
    let policy = it.get().await?;
    let is = endpoint(&policy, "replica-1").cloned();
    ensure!(
        is.as_ref()
            .is_some_and(|is| is.server.circuit == "Closed" && is.server.trips == 0),
        "{is:?}"
    );
    slow.stop(Shutdown::Fast).await?;
    std::fs::write(&settings, before)?;
    slow.start().await?;
    it.leads("ro", &[slow, other], SOON).await
}

async fn failing(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (broken, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let (control, aside) = (
        broken.data().join("global/pg_control"),
        broken.data().join("aside"),
    );
    std::fs::rename(&control, &aside)?;
    it.leads("ro", &[other], SOON).await?;
    let open = it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    ensure!(
        open.server.failure.as_deref() == Some("ServerFailing"),
        "{open:?}"
    );
    std::fs::rename(&aside, &control)?;
    it.leads("ro", &[broken, other], SOON).await
}

async fn held_session(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 1).await?;
    // A second policy of the same servers and the same login shares the session.
    let mut second = it.defaults();
    second["metadata"]["name"] = json!("second");
    it.apply(&second).await?;
    wait::pass(HEARTBEAT * 2, "a second session would be there by then").await;
    it.holds_sessions().await?;
    let settings = it
        .postgres
        .replica(0)
        .sql("select usename || ' ' || state || ' ' || (query like '%pg_is_in_recovery%') from pg_stat_activity where application_name = 'distributary'")
        .await?;
    ensure!(settings == "probe idle true", "{settings}");
    it.plane
        .kubectl(&["delete", "rsp", "-n", &it.namespace, "second", "orders"])
        .await?;
    has_sessions(it.postgres.replica(0), 0).await
}

async fn disabled(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    state(&it, "Disabled").await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    has_sessions(it.postgres.replica(0), 0).await
}

/// Gives the first replica this state.
async fn state(it: &Fixture, state: &str) -> Result<()> {
    let mut policy = it.defaults();
    policy["spec"]["replicas"][0]["state"] = json!(state);
    it.apply(&policy).await.map(drop)
}

async fn draining(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    let (leaving, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let client = tokio::spawn(leaving.background_sql("select pg_sleep(600)"));
    state(&it, "Draining").await?;
    it.leads("ro", &[other], SOON).await?;
    let left = |count: u32| {
        it.until("the sessions that are left", SOON, move |policy| {
            let is = endpoint(policy, "replica-1")?;
            (is.server.reason == "Draining" && is.sessions == Some(count)).then_some(())
        })
    };
    left(1).await?;
    let metrics = it.operator.http_get("/metrics").await?.body;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("distributary_endpoint_sessions{") && line.contains("replica-1"));
    ensure!(line.is_some_and(|line| line.ends_with(" 1")), "{line:?}");
    client.abort();
    leaving
        .sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where query = 'select pg_sleep(600)'")
        .await?;
    left(0).await?;
    it.condition("Ready", "True", "Routable").await?;
    state(&it, "Active").await?;
    it.leads("ro", &[leaving, other], SOON).await
}

async fn check_requested(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 1).await?;
    let checks = it.checks().await?;
    let requested = "2026-01-02T03:04:05Z";
    it.patch(json!({"metadata": {"annotations": {"distributary.dev/check-requested-at": requested}}}))
        .await?;
    it.until("the answer", SOON, |policy| {
        let status = policy.status.as_ref()?;
        (status.checked_for.as_deref() == Some(requested) && status.checked_at.is_some()).then_some(())
    })
    .await?;
    let now = it.checks().await?;
    ensure!(now >= checks + 2, "{checks} checks before, {now} after");
    Ok(())
}

async fn circuit_restored(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = it.policy();
    policy["spec"]["circuitBreaker"]["resetTimeout"] = json!("60s");
    it.apply(&policy).await?;
    it.serves().await?;
    let (down, other) = (it.postgres.replica(0), it.postgres.replica(1));
    down.kill().await?;
    let open = it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    it.operator.kill();
    down.start().await?;
    it.operator.start_again().await?;
    wait::pass(
        Duration::from_secs(4),
        "it would be back by then if its circuit were forgotten",
    )
    .await;
    it.leads("ro", &[other], SOON).await?;
    let policy = it.get().await?;
    let is = endpoint(&policy, "replica-1").cloned();
    ensure!(
        is.as_ref().is_some_and(|is| is.server.circuit == "Open"
            && is.server.trips == 1
            && is.server.retry_at == open.server.retry_at),
        "before {open:?}, now {is:?}"
    );
    Ok(())
}

async fn growing_reset(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = it.policy();
    policy["spec"]["circuitBreaker"]["resetTimeout"] = json!("3s");
    it.apply(&policy).await?;
    it.serves().await?;
    let (down, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let mut lasts = vec![];
    for trips in 1..=2_u32 {
        down.kill().await?;
        let open = it
            .until("the trip", SOON, |policy| {
                endpoint(policy, "replica-1")
                    .filter(|is| is.server.trips == trips && is.server.circuit == "Open")
                    .cloned()
            })
            .await?;
        ensure!(open.server.reason == "CircuitOpen", "{open:?}");
        let until = open.server.retry_at.as_ref().context("no time")?;
        lasts.push(until.0.duration_since(open.since.0));
        down.start().await?;
        it.endpoint("replica-1", "Returning", SOON).await?;
        it.endpoint("replica-1", "Serving", SOON).await?;
        it.leads("ro", &[down, other], SOON).await?;
    }
    // Both are told in whole seconds.
    ensure!(lasts[0] < lasts[1], "the trips last {lasts:?}");
    Ok(())
}
