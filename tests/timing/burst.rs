//! A zone that goes at once: how soon it is out, and how much is written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::control_plane::AuditEvent;
use harness::postgres::DATABASE;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, Postgres, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, addresses, has_sessions};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test_alone("forty_endpoints_that_go_at_once_are_few_writes", burst)
}

/// Two servers with twenty addresses each are a zone; a third one stays.
async fn burst(plane: Arc<ControlPlane>) -> Result<()> {
    const EACH: usize = 20;
    let builder = PgCluster::builder().replicas(3).more_addresses(EACH);
    let it = Fixture::start_with(plane, builder, &[]).await?;
    let mut policy = it.defaults();
    let zone = it.postgres.replicas()[..2]
        .iter()
        .flat_map(Postgres::more_addresses);
    let zone: Vec<_> = zone.copied().collect();
    let left = it.postgres.replica(2);
    let replica =
        |(number, host): (usize, &std::net::Ipv4Addr)| json!({"id": format!("zone-{number}"), "host": host});
    let stays = json!({"id": "stays", "host": left.address()});
    policy["spec"]["replicas"] = zone
        .iter()
        .enumerate()
        .map(replica)
        .chain(std::iter::once(stays))
        .collect();
    // So that nobody sees which addresses are one server.
    it.postgres
        .primary()
        .sql_in(
            DATABASE,
            "revoke select on pg_catalog.pg_stat_activity from public",
        )
        .await?;
    it.postgres.caught_up().await?;
    it.apply(&policy).await?;
    it.serves().await?;
    let all: BTreeSet<String> = zone
        .iter()
        .chain([&left.address()])
        .map(ToString::to_string)
        .collect();
    let route = it.follow("ro").await?;
    route.leads_to(&all, SOON).await?;
    it.condition("Degraded", "False", "AllServing").await?;
    has_sessions(it.postgres.replica(0), EACH).await?;
    has_sessions(it.postgres.replica(1), EACH).await?;
    it.rests().await?;
    let start = it.writes()?.len();
    let watch = wait::Stopwatch::start();
    tokio::try_join!(it.postgres.replica(0).kill(), it.postgres.replica(1).kill())?;
    let gone = route.leads_to(&addresses(&[left]), SOON).await?;
    let gone = watch.until(gone);
    it.until("all of the zone to be suspected", SOON, |policy| {
        let status = policy.status.as_ref()?;
        let out = status.endpoints.iter().filter(|is| !is.server.eligible);
        (out.count() == zone.len()).then_some(())
    })
    .await?;
    let writes: Vec<_> = it.writes_from(start)?.iter().map(AuditEvent::target).collect();
    let count = |target: &str| writes.iter().filter(|write| *write == target).count();
    println!(
        "a zone of {} endpoints: gone after {gone:.1?}, by {writes:?}",
        zone.len()
    );
    ensure!(gone < Duration::from_secs(1), "they were gone after {gone:?}");
    ensure!(
        writes.first().context("no write")? == "endpointslices",
        "{writes:?}"
    );
    // The first that are seen leave at once; those that are still being looked at then leave together.
    ensure!(
        count("endpointslices") <= 4 && count("configmaps") <= 2 && count("replicasetpolicies/status") <= 2,
        "{writes:?}"
    );
    Ok(())
}
