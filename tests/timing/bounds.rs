//! The bounds that are promised: how soon who falls silent is out, what is put back, what is written and ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use harness::wait::Stopwatch;
use harness::{ControlPlane, Postgres};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::fixture::{Fixture, POLICY, SOON};

const HEARTBEAT: Duration = Duration::from_secs(2);
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// What a bound allows beside the times of the policy.
const SLACK: Duration = Duration::from_millis(500);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_frozen_server_is_out_within_heartbeat_and_failover_timeout",
            frozen,
        )
        .test(
            "a_black_hole_is_seen_within_heartbeat_and_failover_timeout",
            black_hole,
        )
        .test(
            "a_frozen_postmaster_is_out_within_interval_and_failover_timeout",
            frozen_postmaster,
        )
        .test(
            "a_server_that_accepts_no_connection_is_out_though_its_session_answers",
            deaf,
        )
        .test_alone(
            "an_edit_of_a_slice_by_somebody_else_is_put_back_within_five_seconds",
            put_back,
        )
        .test_alone("it_stops_within_two_seconds", stops)
        .test_alone("nothing_is_asked_before_the_slice_is_written", first)
}

async fn out_in_time(it: &Fixture, others: &[&Postgres], bound: Duration) -> Result<()> {
    let watch = Stopwatch::start();
    it.leads("ro", others, bound + SOON).await?;
    let out = watch.elapsed();
    ensure!(
        out <= bound + SLACK,
        "it was out after {out:?}, the bound is {bound:?}"
    );
    Ok(())
}

async fn frozen(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    it.postgres.replica(0).freeze()?;
    out_in_time(&it, &[it.postgres.replica(1)], HEARTBEAT + FAILOVER_TIMEOUT).await?;
    let open = it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    ensure!(
        open.server.trips == 1
            && open.server.retry_at.is_some()
            && open.server.failure.as_deref() == Some("TimedOut"),
        "{open:?}"
    );
    it.postgres.replica(0).thaw()
}

async fn black_hole(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    it.postgres.replica(0).black_hole()?;
    out_in_time(&it, &[it.postgres.replica(1)], HEARTBEAT + FAILOVER_TIMEOUT).await?;
    it.postgres.replica(0).heal()
}

async fn frozen_postmaster(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.postgres.replica(0).freeze_postmaster()?;
    let bound = Duration::from_secs(1) + Duration::from_secs(3);
    out_in_time(&it, &[it.postgres.replica(1)], bound).await?;
    it.postgres.replica(0).thaw()
}

async fn deaf(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.holds_sessions().await?;
    let (deaf, other) = (it.postgres.replica(0), it.postgres.replica(1));
    deaf.refuse_silently()?;
    // Interval 1 s, failoverTimeout 3 s.
    out_in_time(&it, &[other], Duration::from_secs(4)).await?;
    it.fails("replica-1", "CircuitOpen", "TimedOut").await?;
    deaf.heal()?;
    it.leads("ro", &[deaf, other], SOON).await
}

async fn put_back(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let change = json!({"endpoints": [{"addresses": ["198.18.255.1"]}]});
    let watch = Stopwatch::start();
    it.slices()
        .patch(
            &format!("{POLICY}-ro-ipv4-5432"),
            &PatchParams::default(),
            &Patch::Merge(change),
        )
        .await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    let took = watch.elapsed();
    ensure!(took <= Duration::from_secs(5), "it was put back after {took:?}");
    Ok(())
}

async fn stops(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let (took, status) = it.operator.stop().await?;
    ensure!(
        status.success() && took < Duration::from_secs(2),
        "{status} after {took:?}"
    );
    ensure!(it.now("ro").await?.len() == 1, "the routes went with it");
    Ok(())
}

/// When a server is lost, the first request is the one that takes it out of the slice, and it leaves at once.
async fn first(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.rests().await?;
    let (before, log) = (it.audit()?.len(), it.operator.log().len());
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    let asked: Vec<_> = it
        .audit()?
        .into_iter()
        .skip(before)
        .filter(|event| event.verb != "watch" && event.resource != "servicecidrs")
        .collect();
    let first = asked
        .iter()
        .min_by_key(|event| event.received)
        .context("nothing was asked")?;
    ensure!(
        (first.verb.as_str(), first.resource.as_str()) == ("update", "endpointslices"),
        "{} {}",
        first.verb,
        first.uri
    );
    let decided = decided_at(&it.operator.log()[log..])?;
    let took = first.received.duration_since(decided);
    println!("from the decision to the request: {took:?}");
    ensure!(took.as_millis_f64() < 100.0, "it arrived after {took:?}");
    Ok(())
}

/// When the log tells the first change of an endpoint; the engine tells it after the decision is handed on.
fn decided_at(log: &str) -> Result<k8s_openapi::jiff::Timestamp> {
    let line = log
        .lines()
        .find(|line| line.contains("endpoint changed"))
        .context("no change in the log")?;
    let line: Value = serde_json::from_str(line)?;
    let at = line["timestamp"].as_str().context("no time")?;
    Ok(at.parse()?)
}
