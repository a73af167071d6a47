//! Objects of a policy that is deleted: they go with it, stay as it asks, or are adopted by the next one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::{ControlPlane, wait, watch};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::fixture::{Fixture, POLICY, SOON};
use crate::reads;

/// A finalizer of somebody else.
const KEEPER: &str = "example.com/keeper";

pub(super) async fn deletion(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.plane
        .kubectl(&["delete", "rsp", POLICY, "-n", &it.namespace, "--wait=false"])
        .await?;
    let ours = kube::runtime::watcher::Config::default().labels("app.kubernetes.io/managed-by=distributary");
    watch::set(&it.slices(), ours.clone(), "slices to go", SOON, <[_]>::is_empty).await?;
    watch::set(
        &it.api::<Service>(),
        ours.clone(),
        "Services to go",
        SOON,
        <[_]>::is_empty,
    )
    .await?;
    watch::set(
        &it.api::<ConfigMap>(),
        ours,
        "the ConfigMap to go",
        SOON,
        <[_]>::is_empty,
    )
    .await?;
    let metrics = it.operator.http_get("/metrics").await?.body;
    ensure!(
        !metrics.contains("policy=\"orders\""),
        "series of the policy are left:\n{metrics}"
    );
    Ok(())
}

/// The garbage collector deletes the objects before the policy, which a finalizer keeps for a while here.
pub(super) async fn foreground(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let start = it.writes()?.len();
    it.patch(json!({"metadata": {"finalizers": [KEEPER]}})).await?;
    it.api::<ReplicaSetPolicy>()
        .delete(POLICY, &DeleteParams::foreground())
        .await?;
    let config =
        || kube::runtime::watcher::Config::default().labels("app.kubernetes.io/managed-by=distributary");
    watch::set(&it.slices(), config(), "slices to go", SOON, <[_]>::is_empty).await?;
    let (services, maps) = (it.api::<Service>(), it.api::<ConfigMap>());
    watch::set(&services, config(), "Services to go", SOON, <[_]>::is_empty).await?;
    watch::set(&maps, config(), "the ConfigMap to go", SOON, <[_]>::is_empty).await?;
    it.rests().await?;
    let made: Vec<_> = it
        .writes_from(start)?
        .into_iter()
        .filter(|event| event.verb == "create")
        .collect();
    ensure!(made.is_empty(), "it made {made:?}");
    ensure!(
        it.slices().list(&ours()).await?.items.is_empty(),
        "slices are back"
    );
    it.patch(json!({"metadata": {"finalizers": null}})).await?;
    wait::eventually("the policy to go", SOON, || async {
        let policy = it.api::<ReplicaSetPolicy>().get_opt(POLICY).await?;
        ensure!(policy.is_none(), "{:?}", policy.map(|policy| policy.metadata));
        anyhow::Ok(())
    })
    .await
}

pub(super) async fn retain(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = it.policy();
    policy["spec"]["deletionPolicy"] = json!("Retain");
    it.apply(&policy).await?;
    it.serves().await?;
    let owned = it
        .api::<Service>()
        .get("orders-ro")
        .await?
        .metadata
        .owner_references;
    ensure!(owned.is_none(), "{owned:?}");
    it.plane
        .kubectl(&["delete", "rsp", POLICY, "-n", &it.namespace])
        .await?;
    wait::throughout("the routes stay", Duration::from_secs(3), || async {
        let services = it.api::<Service>().list(&ListParams::default()).await?;
        ensure!(
            services.items.len() == 2 && it.now("ro").await?.len() == 1,
            "they went"
        );
        anyhow::Ok(())
    })
    .await
}

/// What goes meanwhile stays away, and a slice that is left is kept right.
pub(super) async fn kept(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.patch(json!({"metadata": {"finalizers": [KEEPER]}})).await?;
    it.plane
        .kubectl(&["delete", "rsp", POLICY, "-n", &it.namespace, "--wait=false"])
        .await?;
    // Both reconcile the new generation.
    it.condition("Ready", "True", "Routable").await?;
    it.api::<Service>()
        .delete("orders-ro", &DeleteParams::default())
        .await?;
    let slices = it.slices().list(&ours()).await?.items;
    let writes = |slice: &&EndpointSlice| slice.metadata.name.as_deref() == Some("orders-rw-ipv4-5432");
    let orphan = slices.iter().find(writes).context("no slice of the writes")?;
    let name = orphan.metadata.name.clone().unwrap_or_default();
    let without_owner = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    it.slices()
        .patch(&name, &PatchParams::default(), &without_owner)
        .await?;
    it.postgres.replicas()[0].kill().await?;
    it.leads("ro", &[&it.postgres.replicas()[1]], SOON).await?;
    it.rests().await?;
    let services = it.api::<Service>().list(&ours()).await?.items;
    ensure!(services.len() == 1, "{services:?}");
    let left = it.slices().get(&name).await?;
    ensure!(left.metadata.owner_references.is_none(), "{left:?}");
    it.patch(json!({"metadata": {"finalizers": null}})).await?;
    let ro = kube::runtime::watcher::Config::default().labels("kubernetes.io/service-name=orders-ro");
    watch::set(&it.slices(), ro, "slices to go", SOON, <[_]>::is_empty).await
}

/// A backup brings everything back, with new uids and without owner references.
pub(super) async fn restored(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let (slices, services, maps) = (
        it.slices().list(&ListParams::default()).await?.items,
        it.api::<Service>().list(&ListParams::default()).await?.items,
        it.api::<ConfigMap>().list(&ours()).await?.items,
    );
    it.plane
        .kubectl(&["delete", "rsp", POLICY, "-n", &it.namespace])
        .await?;
    let none = kube::runtime::watcher::Config::default().labels("app.kubernetes.io/managed-by=distributary");
    watch::set(
        &it.api::<ConfigMap>(),
        none.clone(),
        "the ConfigMap to go",
        SOON,
        <[_]>::is_empty,
    )
    .await?;
    watch::set(&it.slices(), none.clone(), "slices to go", SOON, <[_]>::is_empty).await?;
    watch::set(
        &it.api::<Service>(),
        none,
        "Services to go",
        SOON,
        <[_]>::is_empty,
    )
    .await?;
    let objects = slices.iter().map(serde_json::to_value);
    let objects = objects.chain(services.iter().map(serde_json::to_value));
    let objects = objects.chain(maps.iter().map(serde_json::to_value));
    for object in objects {
        it.apply(&without_owner(object?)).await?;
    }
    adopted(&it).await
}

pub(super) async fn orphaned(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.plane
        .kubectl(&["delete", "rsp", POLICY, "-n", &it.namespace, "--cascade=orphan"])
        .await?;
    adopted(&it).await
}

pub(super) async fn retained(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = it.policy();
    policy["spec"]["deletionPolicy"] = json!("Retain");
    it.apply(&policy).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.plane
        .kubectl(&["delete", "rsp", POLICY, "-n", &it.namespace])
        .await?;
    adopted(&it).await
}

/// The policy is made anew: it takes over what is there as it is, and nobody ever sees the reads led to nobody.
async fn adopted(it: &Fixture) -> Result<()> {
    let uids = |slices: Vec<EndpointSlice>| {
        let uid = |slice: EndpointSlice| (slice.metadata.name, slice.metadata.uid);
        slices.into_iter().map(uid).collect::<Vec<_>>()
    };
    let before = uids(it.slices().list(&ours()).await?.items);
    let reader = reads::reader(it, "ro").await?;
    reads::answers(&reader, 5).await?;
    it.apply(&it.policy()).await?;
    it.condition("Ready", "True", "Routable").await?;
    reads::answers(&reader, reader.totals().reads + 20).await?;
    let totals = reader.stop();
    ensure!(totals.failures == 0, "{totals:?}");
    let policy = it.get().await?;
    let owned = it.slices().list(&ours()).await?.items;
    for slice in &owned {
        let owners = slice.metadata.owner_references.clone().unwrap_or_default();
        ensure!(
            owners
                .iter()
                .any(|owner| Some(&owner.uid) == policy.metadata.uid.as_ref()),
            "{slice:?}"
        );
    }
    ensure!(uids(owned) == before, "slices were made anew");
    Ok(())
}

fn ours() -> ListParams {
    ListParams::default().labels("app.kubernetes.io/managed-by=distributary")
}

fn without_owner(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in [
            "ownerReferences",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "managedFields",
            "generation",
        ] {
            metadata.remove(field);
        }
    }
    object
}
