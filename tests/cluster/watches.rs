//! What comes in from the API server: connections that are forgotten, namespaces without rights, and what an operator at
//! rest asks for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt};
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, PgCluster};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::fixture::{Fixture, POLICY, SOON};
use crate::refusals::operator_of;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "an_edit_is_taken_soon_though_every_connection_is_forgotten",
            forgotten_connections,
        )
        .waiting_test(
            "services_need_no_connections_of_their_own",
            connections_of_services,
        )
        .test(
            "a_namespace_without_its_role_holds_back_no_other",
            forbidden_namespace,
        )
        .test("a_role_that_is_lost_holds_back_no_other_namespace", lost_role)
        .waiting_test("an_operator_at_rest_lists_nothing", lists_at_rest)
        .test("large_secrets_do_not_fill_its_memory", large_secrets)
}

/// Packets of the established connections are dropped, and nobody is told.
async fn forgotten_connections(plane: Arc<ControlPlane>) -> Result<()> {
    const AT_MOST: Duration = Duration::from_secs(30);
    let it = Fixture::ready(plane, 1).await?;
    it.rests().await?;
    let count = it.operator.sever_connections()?;
    ensure!(count >= 7, "it has {count} connections");
    let watch = Stopwatch::start();
    it.patch(json!({"spec": {"replicas": []}})).await?;
    it.leads("ro", &[it.postgres.primary()], AT_MOST).await?;
    ensure!(watch.elapsed() < AT_MOST, "{:?}", watch.elapsed());
    let metrics = it.operator.http_get("/metrics").await?.body;
    ensure!(
        metrics.contains("distributary_watch_failures_total{kind=\"ReplicaSetPolicy\""),
        "the failure is not counted:\n{metrics}"
    );
    Ok(())
}

fn service_and_policy(number: usize) -> [Value; 3] {
    let name = format!("pg-{number}");
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"name": "postgres", "port": 5432}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {
                "kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "the-test",
            }},
            "addressType": "IPv4", "ports": [{"name": "postgres", "port": 5432}],
            "endpoints": [{"addresses": ["198.18.255.1"], "conditions": {"ready": true}}],
        }),
        json!({
            "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy", "metadata": {"name": name},
            "spec": {
                "connection": {"credentialsSecretRef": {"name": "probe"}, "tls": {"mode": "Disable"}},
                "primary": {"serviceRef": {"name": name, "port": 5432}},
            },
        }),
    ]
}

async fn connections_of_services(plane: Arc<ControlPlane>) -> Result<()> {
    const POLICIES: usize = 30;
    const AT_MOST: usize = 20;
    let it = Fixture::start_with(plane, PgCluster::builder().replicas(0), &[]).await?;
    let objects: Vec<_> = (0..POLICIES).flat_map(service_and_policy).collect();
    it.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}))
        .await?;
    wait::eventually("every Service to be resolved", SOON, || async {
        let policies = it.api::<distributary_api::ReplicaSetPolicy>();
        let policies = policies.list(&kube::api::ListParams::default()).await?;
        let resolved = policies.items.iter().filter(|policy| {
            crate::fixture::condition(policy, "ResolvedRefs").is_some_and(|is| is.status == "True")
        });
        ensure!(resolved.clone().count() == POLICIES, "{} are", resolved.count());
        Ok(())
    })
    .await?;
    // One without a request for 30 s is closed, and they are looked at every 30 s.
    wait::eventually("its connections to be few", 2 * SOON, || async {
        let count = it.operator.connections()?.len();
        ensure!(count <= AT_MOST, "{count} connections");
        Ok(())
    })
    .await
}

async fn forbidden_namespace(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = Fixture::start(Arc::clone(&plane), 1).await?;
    let other = plane.namespace("crm").await?;
    it.operator.kill();
    it.operator = crate::fixture::operator(&plane, &it.namespace, &["--namespace", &other]).await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    let ready = it.operator.http_get("/readyz").await?;
    let line = format!("namespace {}: ReplicaSetPolicy: not listed, Forbidden\n", &*other);
    ensure!(
        ready.status == 503 && ready.body.contains(&line) && !ready.body.contains(&*it.namespace),
        "{} {}",
        ready.status,
        ready.body
    );
    // Neither is what happens later held back.
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.patch(json!({"spec": {"replicas": []}})).await?;
    it.condition("Degraded", "False", "AllServing").await?;
    ensure!(
        it.get().await?.metadata.name.as_deref() == Some(POLICY),
        "another policy"
    );
    Ok(())
}

async fn lost_role(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = Fixture::start(Arc::clone(&plane), 2).await?;
    let other = plane.namespace("crm").await?;
    it.join(&other).await?;
    it.operator = operator_of(&it, &[&it.namespace, &other]).await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    let (dead, left) = (it.postgres.replica(0), it.postgres.replica(1));
    it.leads_in(&other, "ro", &[dead, left]).await?;
    plane
        .kubectl(&["delete", "rolebinding", "operator", "-n", &other])
        .await?;
    // The API server ends no watch for that: it refuses the next one.
    let refused = format!(
        "namespace {}: ReplicaSetPolicy: watch fails, Forbidden\n",
        &*other
    );
    wait::eventually("the page to tell the namespace", 2 * SOON, || async {
        let ready = it.operator.http_get("/readyz").await?;
        let told = ready.body.contains(&refused);
        ensure!(
            told && !ready.body.contains(&*it.namespace),
            "{} {}",
            ready.status,
            ready.body
        );
        Ok(())
    })
    .await?;
    dead.kill().await?;
    it.leads("ro", &[left], SOON).await?;
    it.condition("Programmed", "True", "Programmed").await?;
    plane
        .apply(&other, &crate::fixture::binding(&it.namespace).to_string())
        .await?;
    it.leads_in(&other, "ro", &[left]).await?;
    it.operator.answers("/readyz").await
}

/// kubectl keeps a copy of what was applied, in metadata that every list and watch shows.
async fn large_secrets(plane: Arc<ControlPlane>) -> Result<()> {
    const COUNT: usize = 500;
    const MEGABYTE: u64 = 1_000_000;
    let it = Fixture::ready(plane, 1).await?;
    it.rests().await?;
    let before = it.operator.vm_hwm()?;
    it.operator.kill();
    let api: Api<Secret> = it.api();
    let copy = "x".repeat(250_000);
    let create = |number: usize| {
        let (api, copy) = (api.clone(), copy.clone());
        async move {
            let secret = json!({"metadata": {
                "name": format!("large-{number}"),
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": copy},
            }});
            api.create(&PostParams::default(), &serde_json::from_value(secret)?)
                .await?;
            anyhow::Ok(())
        }
    };
    let all = futures::stream::iter((0..COUNT).map(create)).buffer_unordered(32);
    all.try_collect::<()>().await?;
    it.operator.start_again().await?;
    it.operator.answers("/readyz").await?;
    it.rests().await?;
    let most = it.operator.vm_hwm()?;
    ensure!(most < before + 40 * MEGABYTE, "{before} bytes before, {most} now");
    Ok(())
}

async fn lists_at_rest(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.rests().await?;
    let asked = |verb: &'static str| {
        let audit = it.audit()?;
        // It has no right to ServiceCIDRs, and asks for them again and again.
        let of_it = audit
            .iter()
            .filter(|event| event.verb == verb && event.resource != "servicecidrs");
        anyhow::Ok(of_it.count())
    };
    let (lists, watches) = (asked("list")?, asked("watch")?);
    wait::pass(
        Duration::from_secs(70),
        "that nothing is listed can only be seen by its absence",
    )
    .await;
    let (more_lists, more_watches) = (asked("list")? - lists, asked("watch")? - watches);
    ensure!(more_lists == 0, "{more_lists} lists");
    ensure!(more_watches > 0, "no watch was resumed");
    Ok(())
}
