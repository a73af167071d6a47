//! A postmaster that is killed, a server that is restarted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::control_plane::{AuditEvent, audit};
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, Postgres, watch};
use kube::Api;
use kube::api::DeleteParams;

use crate::figures::Times;
use crate::fixture::{Fixture, POLICY, SOON, addresses, endpoint};

const KILLS: usize = 50;
/// The tenth suspicion of a server within ten minutes is a trip, and a new policy remembers none.
const KILLS_OF_A_POLICY: usize = 18;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test_alone("fifty_killed_postmasters_are_out_in_milliseconds", kills)
        .test_alone(
            "an_orderly_restart_is_back_within_a_second_without_a_trip",
            restart,
        )
}

async fn kills(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    let route = it.follow("ro").await?;
    let servers = [it.postgres.replica(0), it.postgres.replica(1)];
    let (mut seen, mut killed) = (vec![], vec![]);
    for round in 0..KILLS {
        if round > 0 && round % KILLS_OF_A_POLICY == 0 {
            no_trips(&it).await?;
            let policies: Api<ReplicaSetPolicy> = it.api();
            policies.delete(POLICY, &DeleteParams::default()).await?;
            route.leads_to(&BTreeSet::new(), SOON).await?;
            it.apply(&it.defaults()).await?;
            it.serves().await?;
        }
        let (dead, other) = (servers[round % 2], servers[1 - round % 2]);
        it.holds_sessions().await?;
        killed.push(audit::now());
        seen.push(kill(dead, &route, other).await?);
        route.leads_to(&addresses(&servers), SOON).await?;
    }
    let audit = it.audit()?;
    let arrived = |killed| {
        let mut slices = audit
            .iter()
            .filter(|event| event.resource == "endpointslices" && event.is_write());
        let first = slices.find(|event: &&AuditEvent| event.received > killed);
        Duration::try_from(
            first
                .context("no write followed")?
                .received
                .duration_since(killed),
        )
        .context("a time")
    };
    let arrived = killed.into_iter().map(arrived).collect::<Result<_>>()?;
    let (seen, arrived) = (Times::of(seen), Times::of(arrived));
    println!("kill -9 of a postmaster, to the watch event of another client: {seen}");
    println!("kill -9 of a postmaster, to the arrival of the request:        {arrived}");
    ensure!(
        seen.percentile(50) < Duration::from_millis(100) && seen.percentile(90) < Duration::from_millis(200),
        "{seen}"
    );
    no_trips(&it).await
}

/// Kills the postmaster, measures until a watcher sees the other one alone, and starts it again.
async fn kill(dead: &Postgres, route: &watch::Route, other: &Postgres) -> Result<Duration> {
    let processes = dead.processes();
    let watch = Stopwatch::start();
    dead.kill_postmaster()?;
    let out = route.leads_to(&addresses(&[other]), SOON).await?;
    dead.gone(&processes).await?;
    dead.start().await?;
    Ok(watch.until(out))
}

async fn restart(plane: Arc<ControlPlane>) -> Result<()> {
    const ROUNDS: usize = 5;
    let it = Fixture::at_defaults(plane, 2).await?;
    let route = it.follow("ro").await?;
    let (back, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let (mut left, mut returned) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        it.holds_sessions().await?;
        let watch = Stopwatch::start();
        back.stop(Shutdown::Fast).await?;
        left.push(watch.until(route.leads_to(&addresses(&[other]), SOON).await?));
        wait::pass(
            Duration::from_secs(1).saturating_sub(watch.elapsed()),
            "a restart that takes a second",
        )
        .await;
        back.start().await?;
        let watch = Stopwatch::start();
        let moment = route.leads_to(&addresses(&[back, other]), SOON).await?;
        returned.push(watch.until(moment));
    }
    let (left, returned) = (Times::of(left), Times::of(returned));
    println!("orderly stop, to the watch event of another client: {left}");
    println!("from accepting connections to being back:           {returned}");
    let second = Duration::from_secs(1);
    ensure!(
        left.percentile(100) <= second && returned.percentile(100) <= second,
        "left {left}; returned {returned}"
    );
    no_trips(&it).await
}

async fn no_trips(it: &Fixture) -> Result<()> {
    for id in ["replica-1", "replica-2"] {
        it.endpoint(id, "Serving", SOON).await?;
        let policy = it.get().await?;
        let is = endpoint(&policy, id);
        ensure!(
            is.is_some_and(|is| is.server.trips == 0 && is.server.circuit == "Closed"),
            "{is:?}"
        );
    }
    Ok(())
}
