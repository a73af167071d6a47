//! Readers while replicas are restarted and killed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::PROXY_DELAY;
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, Reader};
use serde_json::json;

use crate::fixture::{Fixture, SOON, addresses};

/// After this a read that failed is tried once more.
const RETRY: Duration = Duration::from_millis(250);
/// What the machine may add to a time.
const SLACK: Duration = Duration::from_secs(2);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test_alone(
            "a_rolling_restart_never_empties_the_reads_nor_leads_them_to_the_primary",
            rolling_restart,
        )
        .test_alone("a_reader_that_retries_once_outlives_twenty_kills", kills)
        .test_alone(
            "reads_fail_no_longer_than_the_route_and_kube_proxy_take_to_follow",
            lost_no_more,
        )
}

async fn rolling_restart(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 3).await?;
    let route = it.follow("ro").await?;
    let all: Vec<_> = it.postgres.replicas().iter().collect();
    it.leads("ro", &all, SOON).await?;
    let reader = Reader::builder(it.readable("ro").await?).rate(200).start();
    reader
        .until("reads of every replica", SOON, |totals| {
            totals.by_server.len() == 3
        })
        .await?;
    for replica in &all {
        replica.stop(Shutdown::Fast).await?;
        wait::pass(
            Duration::from_secs(2),
            "it is down for two seconds, less than failoverTimeout",
        )
        .await;
        replica.start().await?;
        wait::pass(Duration::from_secs(1), "a second later it is the next one's turn").await;
    }
    route.leads_to(&addresses(&all), SOON).await?;
    let (totals, seen) = (reader.stop(), route.sets());
    println!("reads during a rolling restart: {totals:?}");
    ensure!(seen.len() >= 7, "a restart was not seen: {seen:?}");
    let primary = it.postgres.primary().address();
    ensure!(
        seen.iter()
            .all(|set| !set.is_empty() && !set.contains(&primary.to_string())),
        "{seen:?}"
    );
    ensure!(
        totals.reads > 1000 && !totals.by_server.contains_key(&primary),
        "{totals:?}"
    );
    Ok(())
}

async fn kills(plane: Arc<ControlPlane>) -> Result<()> {
    const KILLS: usize = 20;
    // So many replicas that none is suspected ten times, which is a trip.
    let it = Fixture::at_defaults(plane, 3).await?;
    let route = it.follow("ro").await?;
    let servers = [0, 1, 2].map(|number| it.postgres.replica(number));
    it.leads("ro", &servers, SOON).await?;
    it.plane.alone(&it.namespace, SOON).await?;
    let reader = Reader::builder(it.readable("ro").await?)
        .rate(50)
        .retry_after(RETRY)
        .start();
    let (mut failed, mut routed) = (vec![], Stopwatch::start());
    for round in 0..KILLS {
        let dead = servers[round % 3];
        let others = [servers[(round + 1) % 3], servers[(round + 2) % 3]];
        it.holds_sessions().await?;
        wait::pass(
            PROXY_DELAY.saturating_sub(routed.elapsed()),
            "the last change of the routes has reached the reader",
        )
        .await;
        let (before, processes) = (reader.totals(), dead.processes());
        dead.kill_postmaster()?;
        route.leads_to(&addresses(&others), SOON).await?;
        dead.gone(&processes).await?;
        wait::pass(PROXY_DELAY, "the reads of this kill have ended").await;
        dead.start().await?;
        route.leads_to(&addresses(&servers), SOON).await?;
        routed = Stopwatch::start();
        let now = reader.totals();
        failed.extend((now.failures > before.failures).then_some(round));
        ensure!(now.reads > before.reads + 20, "it hardly reads: {now:?}");
    }
    let totals = reader.stop();
    println!("a reader during {KILLS} kills: reads failed in these: {failed:?}; {totals:?}");
    ensure!(
        failed.len() <= 1,
        "reads failed in these kills: {failed:?}; {totals:?}"
    );
    ensure!(totals.retried > 0, "no read met a kill: {totals:?}");
    Ok(())
}

/// A server dies that serves a class alone, and the reads beside another one.
async fn lost_no_more(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = it.policy();
    policy["spec"]["replicas"][0]["tags"] = json!(["analytics"]);
    policy["spec"]["routing"] =
        json!({"classes": [{"name": "analytics", "replicaSelector": {"tags": ["analytics"]}}]});
    it.apply(&policy).await?;
    it.serves().await?;
    let (dead, alive) = (it.postgres.replica(0), it.postgres.replica(1));
    let routes = [("ro", vec![dead, alive]), ("analytics", vec![dead])];
    let mut readers = vec![];
    for (route, servers) in &routes {
        it.leads(route, servers, SOON).await?;
        let reader = Reader::builder(it.readable(route).await?);
        readers.push(reader.rate(20).retry_after(RETRY).start());
    }
    for reader in &readers {
        reader
            .until("twenty reads", SOON, |totals| totals.reads >= 20)
            .await?;
    }
    let watch = Stopwatch::start();
    dead.kill().await?;
    for (route, _) in &routes {
        it.leads(route, &[alive], SOON).await?;
    }
    let bound = watch.elapsed() + PROXY_DELAY + SLACK;
    wait::pass(bound, "the reads that fail have ended").await;
    dead.start().await?;
    for (route, servers) in &routes {
        it.leads(route, servers, SOON).await?;
    }
    wait::pass(PROXY_DELAY, "the reads follow the routes").await;
    for ((route, _), reader) in routes.iter().zip(readers) {
        let totals = reader.stop();
        println!("reads of {route} while a server died and came back, bound {bound:?}: {totals:?}");
        ensure!(totals.by_server.len() == 2, "{route}: {totals:?}");
        ensure!(totals.failing <= bound, "{route}, {bound:?}: {totals:?}");
    }
    Ok(())
}
