//! More policies than a page of a list has, while the API server restarts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use distributary_api::ReplicaSetPolicy;
use futures::{StreamExt, TryStreamExt};
use harness::control_plane::Program;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::RECOVERED;
use crate::fixture::Fixture;

/// More than two pages.
const COUNT: usize = 1200;
const AT_ONCE: usize = 32;
/// For the first status of each, on a machine that runs other tests.
const FIRST: Duration = Duration::from_mins(5);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test(
        "with_1200_policies_edits_made_while_the_api_server_restarts_are_taken",
        edits_of_many,
    )
}

fn suspended(name: &str) -> Result<ReplicaSetPolicy> {
    let policy = json!({
        "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy", "metadata": {"name": name},
        "spec": {"mode": "Suspend", "primary": {"host": "198.18.255.1"}},
    });
    Ok(serde_json::from_value(policy)?)
}

/// Whether the operator has taken in what the policy says now.
fn is_taken(policy: &ReplicaSetPolicy) -> bool {
    let observed = policy
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    observed.is_some() && observed == policy.metadata.generation
}

async fn edits_of_many(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start_with(plane, PgCluster::builder().replicas(0), &[]).await?;
    let api: Api<ReplicaSetPolicy> = it.api();
    let create = |name: String| {
        let api = api.clone();
        async move { anyhow::Ok(api.create(&PostParams::default(), &suspended(&name)?).await?) }
    };
    let names = (0..COUNT).map(|number| format!("policy-{number:04}"));
    let all = futures::stream::iter(names.map(create)).buffer_unordered(AT_ONCE);
    all.try_collect::<Vec<_>>().await?;
    wait::eventually("every policy to be taken in", FIRST, || async {
        let policies = api.list(&ListParams::default()).await?.items;
        let waiting = policies.iter().filter(|policy| !is_taken(policy));
        let waiting: Vec<_> = waiting.map(ResourceExt::name_any).collect();
        ensure!(waiting.is_empty(), "{} wait: {waiting:?}", waiting.len());
        Ok(())
    })
    .await?;
    it.rests().await?;

    // The operator sees neither the end of the API server nor the edits, and has to list anew: the version from which it
    // would resume its watch is older than what the new process of the API server keeps.
    it.operator.daemon().freeze()?;
    let later: Api<ConfigMap> = it.api();
    let later_version = serde_json::from_value(json!({"metadata": {"name": "later"}}))?;
    later.create(&PostParams::default(), &later_version).await?;
    let server = it.plane.program(Program::ApiServer);
    server.kill();
    server.start()?;
    it.plane.ready().await?;
    let edit = Patch::Merge(json!({"spec": {"primary": {"host": "198.18.255.2"}}}));
    let edited = ["policy-0000", "policy-0777", "policy-1199"];
    for name in edited {
        api.patch(name, &PatchParams::default(), &edit).await?;
    }
    api.create(&PostParams::default(), &suspended("policy-0777-new")?)
        .await?;
    it.operator.daemon().thaw()?;
    for name in edited.into_iter().chain(["policy-0777-new"]) {
        wait::eventually(&format!("{name} to be taken in"), RECOVERED, || async {
            ensure!(is_taken(&api.get(name).await?), "it is not");
            Ok(())
        })
        .await?;
    }
    let metrics = it.operator.http_get("/metrics").await?.body;
    let expired = "distributary_watch_failures_total{kind=\"ReplicaSetPolicy\",category=\"Expired\"}";
    ensure!(metrics.contains(expired), "it did not list anew:\n{metrics}");
    Ok(())
}
