//! From `kubectl apply` to working routes.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::ControlPlane;
use harness::suite::Suite;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use crate::fixture::{Fixture, POLICY, SOON, condition, endpoint};
use crate::reads::served_by;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "apply_gives_routes_that_a_client_can_read_through",
            apply_gives_routes,
        )
        .test("kubectl_shows_the_policy_and_waits_for_it", kubectl_shows_it)
        .test("weights_are_published", weights_are_published)
        .test(
            "two_policies_of_one_name_in_two_namespaces_keep_apart",
            same_name_in_two_namespaces,
        )
}

async fn apply_gives_routes(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let replicas: Vec<_> = it.postgres.replicas().iter().collect();
    served_by(&it, "ro", &replicas).await?;
    served_by(&it, "rw", &[it.postgres.primary()]).await?;

    let service: Service = it.api().get(&format!("{POLICY}-ro")).await?;
    let spec = service.spec.unwrap_or_default();
    ensure!(
        spec.selector.is_none() && spec.ip_family_policy.as_deref() == Some("PreferDualStack"),
        "{spec:?}"
    );
    let owner = service.metadata.owner_references.unwrap_or_default();
    let uid = it.get().await?.metadata.uid.unwrap_or_default();
    ensure!(
        owner.len() == 1 && owner[0].uid == uid && owner[0].block_owner_deletion == Some(false),
        "{owner:?}"
    );
    let slice: EndpointSlice = it.api().get(&format!("{POLICY}-ro-ipv4-5432")).await?;
    ensure!(
        slice.metadata.labels.unwrap_or_default()["endpointslice.kubernetes.io/managed-by"]
            == "distributary.dev"
    );

    let policy = it.get().await?;
    let status = policy.status.clone().unwrap_or_default();
    let revision = status.routing.as_ref().map(|routing| routing.revision.clone());
    ensure!(
        revision.is_some() && json!(revision) == it.routing().await?["revision"],
        "revision {revision:?}"
    );
    ensure!(
        status.summary.as_ref().map(|summary| summary.display.as_str()) == Some("2/2"),
        "{status:?}"
    );
    for (type_, expected) in [
        ("Accepted", "True"),
        ("ResolvedRefs", "True"),
        ("Programmed", "True"),
        ("Degraded", "False"),
    ] {
        ensure!(
            condition(&policy, type_).is_some_and(|is| is.status == expected),
            "{type_} is not {expected}"
        );
    }
    for (type_, expected) in [
        ("Reconciling", "False"),
        ("Stalled", "False"),
        ("PrimaryReachable", "True"),
        ("ReadFallbackActive", "False"),
    ] {
        ensure!(
            condition(&policy, type_).is_some_and(|is| is.status == expected),
            "{type_} is not {expected}"
        );
    }
    let replica = endpoint(&policy, "replica-1").cloned();
    ensure!(
        replica.as_ref().is_some_and(|is| is.server.role == "Standby"
            && is.server.circuit == "Closed"
            && is.server.eligible
            && is.server.effective_weight == 100),
        "{replica:?}"
    );
    Ok(())
}

async fn kubectl_shows_it(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    it.apply(&it.policy()).await?;
    it.kubectl_wait(POLICY, "condition=Ready").await?;
    // `Ready` is true before the replica serves when it told its position before the primary did.
    it.kubectl_wait(POLICY, "condition=Degraded=False").await?;
    let table = it.plane.kubectl(&["get", "rsp", "-n", &it.namespace]).await?;
    let words: Vec<Vec<_>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    ensure!(
        words[0] == ["NAME", "READY", "PRIMARY", "REPLICAS", "DEGRADED", "AGE"],
        "{table}"
    );
    ensure!(
        words[1][..5] == ["orders", "True", "primary", "1/1", "False"],
        "{table}"
    );
    let wide = it
        .plane
        .kubectl(&["get", "postgres", "-n", &it.namespace, "-o", "wide"])
        .await?;
    ensure!(
        [
            "STRATEGY",
            "RoundRobin",
            "LAG",
            "(replica-1)",
            "REASON",
            "Routable",
            "REVISION"
        ]
        .iter()
        .all(|word| wide.contains(word)),
        "{wide}"
    );
    Ok(())
}

async fn weights_are_published(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = it.policy();
    policy["spec"]["loadBalancing"] = json!({"strategy": "Weighted"});
    policy["spec"]["replicas"][0]["weight"] = json!(3);
    policy["spec"]["replicas"][1]["weight"] = json!(0);
    it.apply(&policy).await?;
    it.serves().await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    let targets = it.routing().await?["routes"]["ro"]["targets"].clone();
    ensure!(
        targets
            .as_array()
            .is_some_and(|targets| targets.len() == 1 && targets[0]["weight"] == 300),
        "{targets}"
    );
    it.endpoint("replica-2", "WeightZero", SOON).await?;
    Ok(())
}

async fn same_name_in_two_namespaces(plane: Arc<ControlPlane>) -> Result<()> {
    let (one, two) = tokio::try_join!(Fixture::ready(Arc::clone(&plane), 1), Fixture::ready(plane, 1))?;
    one.leads("ro", &[one.postgres.replica(0)], SOON).await?;
    two.leads("ro", &[two.postgres.replica(0)], SOON).await?;
    two.postgres.replica(0).kill().await?;
    two.leads("ro", &[two.postgres.primary()], SOON).await?;
    ensure!(
        one.now("ro").await?.len() == 1 && one.now("ro").await? != two.now("ro").await?,
        "they share a route"
    );
    let before = one.writes()?.len();
    two.condition("ReadFallbackActive", "True", "NoReplicaEligible")
        .await?;
    ensure!(
        one.writes()?.len() == before,
        "the other policy's crash made writes: {:?}",
        one.writes()?
    );
    Ok(())
}
