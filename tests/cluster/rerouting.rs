//! Routes that change while they are read: a class, a strategy, an edit; and what the status tells of it.

use std::sync::Arc;

use anyhow::{Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON};
use crate::reads::{answers, reader, served_by};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_class_reads_on_its_replica_until_it_dies_and_again_afterwards",
            class,
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
    it.serves().await?;
    let (tagged, other) = (it.postgres.replica(0), it.postgres.replica(1));
    it.leads("ro", &[tagged, other], SOON).await?;
    served_by(&it, "analytics", &[tagged]).await?;
    // A replica whose first answer came before the primary's serves a moment later than the others.
    let of_class = |policy: &ReplicaSetPolicy| -> Option<Vec<String>> {
        let failovers = &policy.status.as_ref()?.failovers;
        let of_class = failovers.iter().filter(|failover| failover.route == "analytics");
        Some(of_class.map(|failover| failover.kind.clone()).collect())
    };
    let before = of_class(&it.get().await?).map_or(0, |kinds| kinds.len());
    tagged.kill().await?;
    served_by(&it, "analytics", &[other]).await?;
    it.condition("ReadFallbackActive", "True", "ClassByFallback")
        .await?;
    tagged.start().await?;
    served_by(&it, "analytics", &[tagged]).await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded").await?;
    let failovers = it.until("two failovers of the class", SOON, |policy| {
        let kinds = of_class(policy)?.split_off(before);
        (kinds.len() >= 2).then_some(kinds)
    });
    let kinds = failovers.await?;
    ensure!(kinds == ["ReadFallback", "ReadFallbackEnded"], "{kinds:?}");
    Ok(())
}

/// No server ends here, so no read fails, however late kube-proxy follows.
async fn come_and_go(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (tagged, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let reader = reader(&it, "ro").await?;
    answers(&reader, 20).await?;
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
    ensure!(totals.failures == 0, "reads were lost: {totals:?}");
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
