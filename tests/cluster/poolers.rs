//! Poolers in front of a server, declared in its place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::{LOOKUP, Passwords, Pooler};
use harness::suite::Suite;
use harness::{ControlPlane, wait, watch};
use serde_json::json;

use crate::fixture::{Fixture, POLICY, SOON, endpoint};

/// The fixture's policy takes a server out within `failoverTimeout`, 3 s; the rest is for a busy machine. PgBouncer gives up
/// after two minutes.
const BOUND: Duration = Duration::from_secs(20);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("pgbouncer_whose_server_dies_leaves_the_routes", pgbouncer)
        .test(
            "pgbouncer_that_asks_its_server_for_passwords_leaves_the_routes_with_it",
            asking,
        )
        .test("pgpool_whose_server_dies_leaves_the_routes", pgpool)
}

async fn pgbouncer(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let pooler = Pooler::pgbouncer(it.postgres.replica(0), Passwords::Known).await?;
    it.apply(&by_pooler(&it, &pooler)).await?;
    it.serves().await?;
    // Another process of the server answers the same session.
    it.until("the pooler to be told", SOON, |policy| {
        endpoint(policy, "replica-1").is_some_and(|is| is.server.pooler)
    })
    .await?;
    loses_its_server(&it, &pooler).await
}

/// Without its server it lets nobody in, with the SQLSTATE of a wrong password.
async fn asking(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    it.postgres.primary().sql(LOOKUP).await?;
    it.postgres.caught_up().await?;
    let pooler = Pooler::pgbouncer(it.postgres.replica(0), Passwords::Asked).await?;
    it.apply(&by_pooler(&it, &pooler)).await?;
    it.serves().await?;
    loses_its_server(&it, &pooler).await
}

async fn pgpool(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let pooler = Pooler::pgpool(it.postgres.replica(0)).await?;
    it.apply(&by_pooler(&it, &pooler)).await?;
    it.serves().await?;
    loses_its_server(&it, &pooler).await
}

/// The policy in which the first replica is declared by a pooler in front of it.
fn by_pooler(it: &Fixture, pooler: &Pooler) -> serde_json::Value {
    let mut policy = it.policy();
    policy["spec"]["replicas"][0]["host"] = json!(pooler.address());
    policy
}

async fn loses_its_server(it: &Fixture, pooler: &Pooler) -> Result<()> {
    let (behind, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let both = BTreeSet::from([pooler.address().to_string(), other.address().to_string()]);
    let route = format!("{POLICY}-ro");
    watch::routes(&it.slices(), &route, &both, SOON).await?;
    behind.kill().await?;
    it.leads("ro", &[other], BOUND).await?;
    wait::throughout("it stays out", Duration::from_secs(5), || async {
        let now = it.now("ro").await?;
        ensure!(!now.contains(&pooler.address().to_string()), "{now:?}");
        anyhow::Ok(())
    })
    .await?;
    behind.start().await?;
    watch::routes(&it.slices(), &route, &both, SOON).await
}
