//! Who stands in for replicas that are too few, on real lag.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, page, wait};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON};
use crate::lag::{Writer, tight};
use crate::reads::served_by;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "lagging_replicas_stand_in_the_least_behind_first_and_then_the_primary",
            least_behind,
        )
        .test(
            "below_min_healthy_replicas_the_fallback_is_added_and_not_swapped_in",
            too_few,
        )
        .test(
            "a_dedicated_replica_serves_its_class_alone_and_stands_in_for_general_ones",
            dedicated,
        )
}

async fn least_behind(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let [delayed, paused, fresh] = [0, 1, 2].map(|number| it.postgres.replica(number));
    let mut policy = tight(&it);
    policy["spec"]["failover"] = json!({"readFallback": ["LaggingReplicas", "Primary"]});
    it.apply(&policy).await?;
    it.serves().await?;
    let _writer = Writer::start(&it).await?;
    delayed
        .sql("alter system set recovery_min_apply_delay = '4s'")
        .await?;
    delayed.reload()?;
    paused.sql("select pg_wal_replay_pause()").await?;
    served_by(&it, "ro", &[fresh]).await?;
    // Further behind than the other by more than the steps in which lags are told apart.
    wait::eventually("replica-2 to be 15 s behind", SOON * 2, || async {
        let lag = lag(&it, "replica-2").await?;
        ensure!(lag >= 15.0, "{lag} s");
        anyhow::Ok(())
    })
    .await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded").await?;

    fresh.kill().await?;
    served_by(&it, "ro", &[delayed]).await?;
    it.condition("ReadFallbackActive", "True", "NoReplicaEligible")
        .await?;
    delayed.kill().await?;
    served_by(&it, "ro", &[paused]).await?;
    paused.kill().await?;
    served_by(&it, "ro", &[it.postgres.primary()]).await?;
    fresh.start().await?;
    served_by(&it, "ro", &[fresh]).await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded")
        .await
        .map(drop)
}

/// The lag of an endpoint in seconds, as it is measured.
async fn lag(it: &Fixture, endpoint: &str) -> Result<f64> {
    let of = format!("endpoint=\"{endpoint}\"");
    page::value(
        &it.operator.metrics().await?,
        "distributary_endpoint_lag_seconds",
        &of,
    )
}

/// On what ground an endpoint is in the route `ro` of routing.json.
async fn admission(it: &Fixture, endpoint: &str) -> Result<Value> {
    let routing = it.routing().await?;
    let targets = routing["routes"]["ro"]["targets"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let target = targets.into_iter().find(|target| target["endpoint"] == endpoint);
    Ok(target.context("it is in no route")?["admission"].clone())
}

async fn too_few(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let [slow, fresh] = [0, 1].map(|number| it.postgres.replica(number));
    let mut policy = tight(&it);
    policy["spec"]["failover"] = json!({
        "readFallback": ["LaggingReplicas", "Primary"], "minHealthyReplicas": 2,
    });
    it.apply(&policy).await?;
    it.serves().await?;
    served_by(&it, "ro", &[slow, fresh]).await?;
    let _writer = Writer::start(&it).await?;
    let route = it.follow("ro").await?;
    slow.sql("select pg_wal_replay_pause()").await?;
    it.condition("ReadFallbackActive", "True", "TooFewReplicas")
        .await?;
    wait::eventually("replica-1 to stand in", SOON, || async {
        let (slow, fresh) = tokio::try_join!(admission(&it, "replica-1"), admission(&it, "replica-2"))?;
        ensure!(slow == "Fallback" && fresh == "Eligible", "{slow} and {fresh}");
        anyhow::Ok(())
    })
    .await?;
    ensure!(
        route.sets().len() == 1,
        "it was out before it stood in: {:?}",
        route.sets()
    );
    // Half of two is one, and that one is well.
    it.patch(json!({"spec": {"failover": {"minHealthyReplicas": "50%"}}}))
        .await?;
    served_by(&it, "ro", &[fresh]).await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded").await?;
    it.patch(json!({"spec": {"failover": {"minHealthyReplicas": "51%", "readFallback": ["Primary"]}}}))
        .await?;
    served_by(&it, "ro", &[it.postgres.primary(), fresh]).await?;
    slow.sql("select pg_wal_replay_resume()").await?;
    served_by(&it, "ro", &[slow, fresh]).await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded")
        .await
        .map(drop)
}

async fn dedicated(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let [general, own] = [0, 1].map(|number| it.postgres.replica(number));
    let mut policy = it.quick();
    policy["spec"]["replicas"][1]["dedicatedTo"] = json!(["analytics"]);
    policy["spec"]["failover"] = json!({"readFallback": ["DedicatedReplicas"]});
    it.apply(&policy).await?;
    it.serves().await?;
    served_by(&it, "ro", &[general]).await?;
    served_by(&it, "analytics", &[own]).await?;

    general.kill().await?;
    served_by(&it, "ro", &[own]).await?;
    it.condition("ReadFallbackActive", "True", "NoReplicaEligible")
        .await?;
    it.condition("Ready", "True", "RoutableByFallback").await?;
    general.start().await?;
    served_by(&it, "ro", &[general]).await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded").await?;

    // Nobody is dedicated to the built-in class any more, so it has no Service.
    policy["spec"]["replicas"][1]["dedicatedTo"] = json!([]);
    it.apply(&policy).await?;
    served_by(&it, "ro", &[general, own]).await?;
    let services: Api<Service> = it.api();
    wait::eventually("the Service of the class to go", SOON, || async {
        let service = services.get_opt("orders-analytics").await?;
        ensure!(service.is_none() && it.now("analytics").await?.is_empty());
        anyhow::Ok(())
    })
    .await
}
