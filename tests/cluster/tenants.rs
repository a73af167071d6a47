//! Namespaces that share an operator: what the policies of one cost the others.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, Operator, PgCluster, watch};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, SOON, addresses, binding, condition, secret};

/// Of an address of the test's own, where nobody else listens.
const PORTS: std::ops::Range<u16> = 6001..6018;
const POLICIES: usize = 64;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_namespace_full_of_servers_that_never_answer_holds_up_no_other_one",
            black_holes,
        )
        .test(
            "a_namespace_has_as_many_endpoints_as_the_operator_allows",
            endpoint_quota,
        )
}

/// Servers that take every connection and say nothing; how many connections there were.
async fn black_hole(address: Ipv4Addr, tasks: &mut JoinSet<()>) -> Result<Arc<AtomicUsize>> {
    let taken = Arc::new(AtomicUsize::new(0));
    for port in PORTS {
        let (listener, taken) = (TcpListener::bind((address, port)).await?, Arc::clone(&taken));
        tasks.spawn(async move {
            let mut open = vec![];
            while let Ok((stream, _)) = listener.accept().await {
                open.push(stream);
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    Ok(taken)
}

/// A database of its own, so that no check serves two policies.
fn hostile(number: usize, address: Ipv4Addr) -> Value {
    let server = |port: u16| json!({"id": format!("s-{port}"), "host": address, "port": port});
    json!({
        "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
        "metadata": {"name": format!("hole-{number}")},
        "spec": {
            "connection": {
                "database": format!("hole_{number}"), "credentialsSecretRef": {"name": "probe"}, "tls": {"mode": "Disable"},
            },
            "primary": server(PORTS.start),
            "replicas": (PORTS.start + 1..PORTS.end).map(server).collect::<Vec<_>>(),
            "healthCheck": {"interval": "60s", "timeout": "60s", "failoverTimeout": "600s"},
        },
    })
}

async fn black_holes(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = Fixture::start(Arc::clone(&plane), 2).await?;
    let other = plane.namespace("hostile").await?;
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        binding(&it.namespace),
        secret("probe", "probe", "of no server"),
    ]});
    plane.apply(&other, &objects.to_string()).await?;
    let kubeconfig = plane
        .service_account_kubeconfig(&it.namespace, "operator")
        .await?;
    it.operator = Operator::builder(&kubeconfig)
        .namespace(&it.namespace)
        .args(["--namespace", &other])
        .start()
        .await?;
    let (address, mut tasks) = (it.postgres.primary().address(), JoinSet::new());
    let taken = black_hole(address, &mut tasks).await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    let policies: Vec<_> = (0..POLICIES).map(|number| hostile(number, address)).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": policies});
    plane.apply(&other, &list.to_string()).await?;
    wait::eventually("its places to be taken", SOON, || async {
        let taken = taken.load(Ordering::Relaxed);
        ensure!(taken >= 100, "{taken} connections");
        anyhow::Ok(())
    })
    .await?;

    let (route, before) = (it.follow("ro").await?, it.checks_of("Good").await?);
    let watch = Stopwatch::start();
    wait::pass(
        Duration::from_secs(15),
        "that nobody is held up can only be seen by its absence",
    )
    .await;
    let checks = it.checks_of("Good").await? - before;
    // One of each of three servers in a second, and in two where each is a second late.
    let due = 3 * watch.elapsed().as_secs();
    ensure!(checks * 3 >= due * 2, "{checks} checks of {due}");
    ensure!(route.sets().len() == 1, "{:?}", route.sets());
    let (gone, left) = (it.postgres.replica(0), it.postgres.replica(1));
    let killed = Stopwatch::start();
    gone.kill_postmaster()?;
    let out = route.leads_to(&addresses(&[left]), SOON).await?;
    let out = killed.until(out);
    ensure!(out < Duration::from_secs(1), "{out:?}");
    Ok(())
}

async fn endpoint_quota(plane: Arc<ControlPlane>) -> Result<()> {
    let arguments = ["--max-endpoints-per-namespace=3"];
    let it = Fixture::start_with(plane, PgCluster::builder().replicas(1), &arguments).await?;
    it.apply(&it.quick()).await?;
    it.serves().await?;
    let mut spare = it.quick();
    spare["metadata"]["name"] = json!("spare");
    it.apply(&spare).await?;
    let beyond = "metadata.namespace: the policies of a namespace may have 3 endpoints together (--max-endpoints-per-namespace): \
                  older ones have 2, and this one has 2, so its servers are not checked and its routes stay as they are";
    accepted(&it, "spare", "False", beyond).await?;
    ensure!(
        it.api::<Service>().get_opt("spare-rw").await?.is_none(),
        "it is routed"
    );

    // The older one makes room.
    let replica = it.quick()["spec"]["replicas"].clone();
    it.patch(json!({"spec": {"replicas": []}})).await?;
    accepted(&it, "spare", "True", "The policy is valid.").await?;
    let replica_alone = addresses(&[it.postgres.replica(0)]);
    watch::routes(&it.slices(), "spare-ro", &replica_alone, SOON).await?;

    // And takes it back: the routes of the other one stay, whatever becomes of its servers.
    it.patch(json!({"spec": {"replicas": replica}})).await?;
    accepted(&it, "spare", "False", beyond).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    watch::routes(&it.slices(), "spare-ro", &replica_alone, SOON).await?;
    accepted(&it, "spare", "False", beyond).await
}

/// Waits until the condition Accepted of a policy says this.
async fn accepted(it: &Fixture, policy: &str, status: &str, message: &str) -> Result<()> {
    let policies: Api<ReplicaSetPolicy> = it.api();
    let says = |policy: Option<&ReplicaSetPolicy>| {
        let said = policy.and_then(|policy| condition(policy, "Accepted"));
        let is = said.is_some_and(|said| said.status == status && said.message == message);
        is.then_some(()).ok_or_else(|| format!("it says {said:?}"))
    };
    let what = format!("Accepted of {policy} to be {status}");
    watch::object(&policies, policy, &what, SOON, says).await
}
