//! Edits while it runs: others never notice.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, Reader};
use serde_json::json;

use crate::fixture::{Fixture, SOON};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test(
        "replicas_are_added_removed_disabled_and_weighed_without_a_lost_read",
        edits,
    )
}

async fn edits(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let [one, two, three] = [0, 1, 2].map(|number| it.postgres.replica(number));
    let mut policy = it.policy();
    let all = policy["spec"]["replicas"].clone();
    policy["spec"]["replicas"] = json!([all[0], all[1]]);
    it.apply(&policy).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.leads("ro", &[one, two], SOON).await?;
    let retry = Duration::from_millis(250);
    let reader = Reader::builder(it.cluster_ip("ro").await?)
        .rate(20)
        .retry_after(retry)
        .start();

    it.patch(json!({"spec": {"replicas": all}})).await?;
    it.leads("ro", &[one, two, three], SOON).await?;
    let mut changed = all.clone();
    changed[1]["state"] = json!("Disabled");
    it.patch(json!({"spec": {"replicas": changed}})).await?;
    it.leads("ro", &[one, three], SOON).await?;
    it.endpoint("replica-2", "Disabled", SOON).await?;
    it.patch(json!({"spec": {"replicas": [all[1], all[2]]}})).await?;
    it.leads("ro", &[two, three], SOON).await?;
    it.until("replica-1 to leave the status", SOON, |policy| {
        policy
            .status
            .as_ref()
            .is_some_and(|status| status.endpoints.iter().all(|endpoint| endpoint.id != "replica-1"))
    })
    .await?;
    let mut weighed = json!([all[1], all[2]]);
    weighed[0]["weight"] = json!(7);
    it.patch(json!({"spec": {"replicas": weighed, "loadBalancing": {"strategy": "Weighted"}}}))
        .await?;
    it.until("replica-2 to weigh 700", SOON, |policy| {
        let endpoints = policy.status.iter().flat_map(|status| &status.endpoints);
        endpoints
            .into_iter()
            .any(|endpoint| endpoint.id == "replica-2" && endpoint.effective_weight == 700)
    })
    .await?;
    let totals = reader.stop();
    ensure!(totals.failures == 0, "reads were lost: {totals:?}");
    // An edit of others did not start the probe of the one that stayed anew.
    ensure!(
        it.operator.log().matches("\"endpoint\":\"replica-3\"").count() <= 3,
        "replica-3 noticed"
    );
    Ok(())
}
