//! Each class of failure that opens a circuit, caused for real, and how soon the server is out. Times are short: interval
//! 300 ms, failoverTimeout 900 ms, resetTimeout 1 s.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use fake_postgres::script;
use harness::postgres::rogue;
use harness::suite::Suite;
use harness::{ControlPlane, Postgres, wait};

use crate::fixture::{Fixture, SOON, addresses};

/// What a bound allows beside the times of the policy.
const SLACK: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(300);
const FAILOVER_TIMEOUT: Duration = Duration::from_millis(900);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test_alone("dead_refused_is_suspected_at_once_and_trips", refused)
        .test("dead_reset_by_the_network_is_suspected_at_once_and_trips", reset)
        .test("dead_reset_after_connecting_trips", reset_later)
        .test("dead_closed_trips", closed)
        .test("dead_timed_out_trips", timed_out)
        .test("dead_unreachable_trips", unreachable)
        .test("failing_inside_trips", failing)
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
        open.server.circuit == "Open" && open.server.trips >= 1 && !open.server.eligible,
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
    let it = Fixture::at_quick(plane, 2).await?;
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
    let it = Fixture::at_quick(plane, 2).await?;
    // The packet that the next heartbeat sends is answered with a reset, and so is a new connection.
    let cause = async |server: &Postgres| server.reset_connections();
    dies(&it, "ConnectRefused", INTERVAL + SLACK, cause, heal).await
}

async fn reset_later(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_quick(plane, 2).await?;
    let cause = async |server: &Postgres| server.reset_requests();
    dies(&it, "ConnectionReset", INTERVAL + SLACK, cause, heal).await
}

async fn closed(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_quick(plane, 2).await?;
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
    let it = Fixture::at_quick(plane, 2).await?;
    let cause = async |server: &Postgres| server.black_hole();
    dies(&it, "TimedOut", INTERVAL + FAILOVER_TIMEOUT + SLACK, cause, heal).await
}

async fn unreachable(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_quick(plane, 2).await?;
    let cause = async |server: &Postgres| server.unreachable();
    let bound = INTERVAL + FAILOVER_TIMEOUT + SLACK;
    dies(&it, "Unreachable", bound, cause, heal).await
}

/// What every check asks cannot be read, so that the server answers with class 58.
async fn failing(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_quick(plane, 2).await?;
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
