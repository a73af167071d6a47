//! The API server and etcd end, or stand still, and come back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::Program;
use harness::suite::Suite;
use harness::{ControlPlane, wait};

use crate::RECOVERED;
use crate::fixture::{Fixture, SOON, addresses};
use crate::pair::{Pair, follows};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_server_that_dies_while_the_api_server_is_down_is_out_soon_after_it_is_back",
            killed_api_server,
        )
        .test(
            "an_api_server_that_stands_still_for_a_minute_changes_no_route",
            frozen_api_server,
        )
        .test("etcd_that_restarts_changes_no_route", killed_etcd)
        .test(
            "of_two_operators_one_leads_after_the_api_server_was_down_for_a_minute",
            two_operators,
        )
}

/// Longer than the longest back-off of requests and watches.
const DOWN: Duration = Duration::from_secs(20);
/// Longer than every lease.
const LONG_DOWN: Duration = Duration::from_secs(60);

async fn killed_api_server(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let server = it.plane.program(Program::ApiServer);
    server.kill();
    it.postgres.replica(0).kill().await?;
    wait::pass(DOWN, "the back-off of everything grows").await;
    server.start()?;
    it.plane.ready().await?;
    it.leads("ro", &[it.postgres.replica(1)], RECOVERED).await?;
    // Edits are seen again, too.
    it.patch(serde_json::json!({"spec": {"replicas": []}})).await?;
    it.leads("ro", &[it.postgres.primary()], RECOVERED).await
}

async fn frozen_api_server(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.rests().await?;
    let writes = it.writes()?.len();
    let server = it.plane.program(Program::ApiServer);
    server.freeze()?;
    wait::pass(LONG_DOWN, "no request is answered meanwhile").await;
    server.thaw()?;
    it.plane.ready().await?;
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.replica(1)], RECOVERED).await?;
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    let later = it.writes_from(writes)?;
    // Until the replica died nothing was written: the first write is that of its slice.
    ensure!(
        later
            .first()
            .is_some_and(|event| event.resource == "endpointslices"),
        "{later:?}"
    );
    Ok(())
}

async fn killed_etcd(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.rests().await?;
    let writes = it.writes()?.len();
    let etcd = it.plane.program(Program::Etcd);
    etcd.kill();
    wait::pass(DOWN, "every request fails meanwhile").await;
    etcd.start()?;
    it.plane.ready().await?;
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await?;
    it.rests().await?;
    let later = it.writes_from(writes)?;
    ensure!(later.is_empty(), "{later:?}");
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.replica(1)], RECOVERED).await
}

async fn two_operators(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane, 2).await?;
    let (it, both) = (&pair.it, [&pair.it.operator, &pair.second]);
    let processes = both.map(|operator| operator.daemon().pid());
    let writes = it.follow("rw").await?;
    let server = it.plane.program(Program::ApiServer);
    server.kill();
    it.postgres.replica(0).kill().await?;
    for operator in both {
        follows(operator).await?;
    }
    let before = it.checks().await?;
    wait::pass(LONG_DOWN, "no Lease can be renewed, and none be taken").await;
    let checks = it.checks().await?;
    ensure!(checks >= before + 30, "{before} checks before, {checks} after");
    server.start()?;
    it.plane.ready().await?;
    it.leads("ro", &[it.postgres.replica(1)], RECOVERED).await?;
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    wait::eventually("one of them to lead", SOON, || async {
        let lead = (both[0].leads().await?, both[1].leads().await?);
        ensure!(lead.0 != lead.1, "{lead:?}");
        anyhow::Ok(())
    })
    .await?;
    let now = both.map(|operator| operator.daemon().pid());
    ensure!(now == processes, "{processes:?} became {now:?}");
    ensure!(
        writes.sets() == [addresses(&[it.postgres.primary()])],
        "{:?}",
        writes.sets()
    );
    pair.rests().await
}
