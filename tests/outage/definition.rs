//! The definition of the resource is deleted and made anew.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use kube::Api;
use kube::api::ListParams;

use crate::fixture::{Fixture, SOON};
use crate::{DEFINITION, RECOVERED};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test(
        "a_definition_that_is_deleted_and_made_anew_gives_routes_at_once",
        made_anew,
    )
}

/// Longer than the longest back-off of a watch.
const ABSENT: Duration = Duration::from_secs(10);

async fn made_anew(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.rests().await?;
    it.plane.kubectl(&["delete", "-f", DEFINITION]).await?;
    wait::eventually("its slices to be deleted", SOON, || async {
        let slices: Api<k8s_openapi::api::discovery::v1::EndpointSlice> = it.api();
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=distributary");
        let left = slices.list(&ours).await?.items.len();
        ensure!(left == 0, "{left} are left");
        Ok(())
    })
    .await?;
    wait::pass(ABSENT, "the watch of policies fails again and again").await;
    let apply = ["apply", "--server-side", "-f", DEFINITION];
    it.plane.kubectl(&apply).await?;
    let established = "crd/replicasetpolicies.distributary.dev";
    it.plane
        .kubectl(&["wait", "--for=condition=Established", established])
        .await?;
    it.apply(&it.policy()).await?;
    it.leads("ro", &[it.postgres.replica(0)], RECOVERED).await?;
    it.condition("Ready", "True", "Routable").await.map(drop)
}
