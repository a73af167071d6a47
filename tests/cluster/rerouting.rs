//! Routes that change while they are read: a class, a strategy, an edit; and what the status tells of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, Reader, wait};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_class_reads_on_its_replica_until_it_dies_and_again_afterwards",
            class,
        )
        .test(
            "least_connections_follows_the_sessions_on_a_server",
            least_connections,
        )
        .test(
            "classes_come_and_go_and_readers_elsewhere_lose_nothing",
            come_and_go,
        )
}

fn with(it: &Fixture, edit: impl FnOnce(&mut Value)) -> Value {
    let mut policy = it.policy();
    edit(&mut policy["spec"]);
    policy
}

fn analytics(spec: &mut Value) {
    spec["replicas"][0]["tags"] = json!(["analytics"]);
    spec["routing"] = json!({"classes": [{"name": "analytics", "replicaSelector": {"tags": ["analytics"]}}]});
}

async fn class(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    it.apply(&with(&it, analytics)).await?;
    it.condition("Ready", "True", "Routable").await?;
    let (tagged, other) = (it.postgres.replica(0), it.postgres.replica(1));
    it.leads("analytics", &[tagged], SOON).await?;
    it.leads("ro", &[tagged, other], SOON).await?;
    let reader = Reader::builder(it.cluster_ip("analytics").await?)
        .rate(20)
        .retry_after(Duration::from_millis(100))
        .start();
    tagged.kill().await?;
    it.leads("analytics", &[other], SOON).await?;
    it.condition("ReadFallbackActive", "True", "ClassByFallback")
        .await?;
    tagged.start().await?;
    it.leads("analytics", &[tagged], SOON).await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded").await?;
    let totals = reader.stop();
    ensure!(
        totals.reads > 0 && totals.failures <= 25,
        "a second at most is lost: {totals:?}"
    );
    let failovers = it.until("two failovers of the class", SOON, |policy| {
        let failovers = &policy.status.as_ref()?.failovers;
        let of_class = failovers.iter().filter(|failover| failover.route == "analytics");
        let kinds: Vec<_> = of_class.map(|failover| failover.kind.clone()).collect();
        (kinds.len() >= 2).then_some(kinds)
    });
    let kinds = failovers.await?;
    ensure!(kinds == ["ReadFallback", "ReadFallbackEnded"], "{kinds:?}");
    Ok(())
}

async fn least_connections(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let policy = with(&it, |spec| {
        spec["healthCheck"]["heartbeat"] = json!("200ms");
        spec["loadBalancing"] = json!({"strategy": "LeastConnections"});
        for replica in spec["replicas"].as_array_mut().into_iter().flatten() {
            replica["maxConnections"] = json!(20);
        }
    });
    it.apply(&policy).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.condition("StrategyEnforced", "False", "ServicesSpreadEvenly")
        .await?;
    weight(&it, "replica-1", 100).await?;
    let sleepers: Vec<_> = (0..10)
        .map(|_| tokio::spawn(it.postgres.replica(0).background_sql("select pg_sleep(600)")))
        .collect();
    weight(&it, "replica-1", 20).await?;
    weight(&it, "replica-2", 100).await?;
    // The server ends what the clients do not.
    it.postgres
        .replica(0)
        .sql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'")
        .await?;
    for sleeper in sleepers {
        let _ = sleeper.await?;
    }
    weight(&it, "replica-1", 100).await
}

/// Waits until routing.json gives an endpoint this share of the reads.
async fn weight(it: &Fixture, endpoint: &str, expected: u64) -> Result<()> {
    wait::eventually(&format!("{endpoint} to get {expected}"), SOON * 2, || async {
        let routing = it.routing().await?;
        let targets = routing["routes"]["ro"]["targets"]
            .as_array()
            .context("no targets")?;
        let target = targets.iter().find(|target| target["endpoint"] == endpoint);
        let weight = target.context("no target")?["weight"].as_u64();
        ensure!(weight == Some(expected), "{weight:?}");
        anyhow::Ok(())
    })
    .await
}

async fn come_and_go(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (tagged, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let reader = Reader::builder(it.cluster_ip("ro").await?)
        .rate(20)
        .retry_after(Duration::from_millis(100))
        .start();
    it.apply(&with(&it, analytics)).await?;
    it.leads("analytics", &[tagged], SOON).await?;
    it.patch(json!({"spec": {"outputs": {"services": {"perClass": "Disabled"}}}}))
        .await?;
    gone(&it, "analytics").await?;
    it.patch(json!({"spec": {"outputs": null}})).await?;
    it.leads("analytics", &[tagged], SOON).await?;
    it.patch(json!({"spec": {"routing": {"replicas": "Disabled"}}}))
        .await?;
    it.leads("analytics", &[it.postgres.primary()], SOON).await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.patch(json!({"spec": {"routing": null}})).await?;
    it.leads("ro", &[tagged, other], SOON).await?;
    gone(&it, "analytics").await?;
    let totals = reader.stop();
    ensure!(
        totals.reads > 0 && totals.failures == 0,
        "reads were lost: {totals:?}"
    );
    Ok(())
}

/// Waits until nothing of a route is left.
async fn gone(it: &Fixture, route: &str) -> Result<()> {
    wait::eventually(&format!("{route} to go"), SOON, || async {
        ensure!(it.now(route).await?.is_empty(), "there are slices");
        ensure!(it.cluster_ip(route).await.is_err(), "there is a Service");
        anyhow::Ok(())
    })
    .await
}
