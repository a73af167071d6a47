//! The objects of CloudNativePG 1.30 as its operator makes them (pods with labels, Services that select by them, the Secrets of
//! application and CA, certificates for the names of the Services), and the sample for it, as it is. The control plane makes
//! the slices of the Services.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::postgres::{APP, DATABASE, PORT, Shutdown, Tls};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, Postgres, watch};
use serde_json::{Value, json};

use crate::HERE;
use crate::fixture::{Fixture, SOON, addresses};

/// As in the sample.
const CLUSTER: &str = "orders-db";
const NAME: &str = "orders-cnpg";
/// Pods of no node are in no slice.
const NODE: &str = "cnpg-1";

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test("the_sample_for_cloudnative_pg_follows_its_switchover", switchover)
}

fn pod(number: usize) -> String {
    format!("{CLUSTER}-{}", number + 1)
}

fn service(role: &str, selector: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("{CLUSTER}-{role}"), "labels": {"cnpg.io/cluster": CLUSTER}},
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": "postgres", "protocol": "TCP", "port": PORT, "targetPort": PORT}],
        },
    })
}

fn secrets(it: &Fixture) -> [Value; 2] {
    let (user, password) = (APP.user, APP.password);
    let host = format!("{CLUSTER}-rw.{}", &*it.namespace);
    [
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {"name": format!("{CLUSTER}-app"), "labels": {"cnpg.io/cluster": CLUSTER, "cnpg.io/userType": "app"}},
            "stringData": {
                "username": user, "user": user, "password": password, "dbname": DATABASE,
                "host": format!("{CLUSTER}-rw"), "port": PORT.to_string(),
                "uri": format!("postgresql://{user}:{password}@{host}:{PORT}/{DATABASE}"),
                "fqdn-uri": format!("postgresql://{user}:{password}@{host}.svc.cluster.local:{PORT}/{DATABASE}"),
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{CLUSTER}-ca")},
            "stringData": {"ca.crt": it.postgres.authority().pem(), "ca.key": "not for the operator"},
        }),
    ]
}

/// Every server shows a certificate for the names of the Services, and for none of its own.
fn certify(it: &Fixture) -> Result<()> {
    let namespace = &*it.namespace;
    let names: Vec<String> = ["rw", "r", "ro"]
        .iter()
        .map(|role| format!("{CLUSTER}-{role}"))
        .flat_map(|name| {
            let inside = format!("{name}.{namespace}");
            [
                name,
                inside.clone(),
                format!("{inside}.svc"),
                format!("{inside}.svc.cluster.local"),
            ]
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for server in it.postgres.servers() {
        server.use_identity(&it.postgres.authority().server(&names, &[])?)?;
        server.reload()?;
    }
    Ok(())
}

/// A pod with a server behind it, as the kubelet and CloudNativePG describe it.
async fn describe(it: &Fixture, number: usize, server: &Postgres, role: &str, ready: bool) -> Result<()> {
    let name = pod(number);
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {
            "cnpg.io/cluster": CLUSTER, "cnpg.io/podRole": "instance", "cnpg.io/instanceName": name,
            "cnpg.io/instanceRole": role, "role": role,
        }},
        "spec": {"nodeName": NODE, "containers": [{"name": "postgres", "image": "none"}]},
    }))
    .await?;
    let address = server.address().to_string();
    let status = json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
    }})
    .to_string();
    let patch = [
        "patch",
        "pod",
        &name,
        "-n",
        &it.namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    it.plane.kubectl(&patch).await?;
    Ok(())
}

async fn leads(it: &Fixture, route: &str, servers: &[&Postgres]) -> Result<()> {
    watch::routes(
        &it.slices(),
        &format!("{NAME}-{route}"),
        &addresses(servers),
        SOON,
    )
    .await
}

async fn switchover(plane: Arc<ControlPlane>) -> Result<()> {
    let servers = PgCluster::builder().replicas(2).tls(Tls {
        required: true,
        ..Tls::default()
    });
    let it = Fixture::start_with(plane, servers, &[]).await?;
    certify(&it)?;
    for secret in secrets(&it) {
        it.apply(&secret).await?;
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    it.apply(&node).await?;
    let of_role = |role: &str| json!({"cnpg.io/cluster": CLUSTER, "cnpg.io/instanceRole": role});
    it.apply(&service("rw", &of_role("primary"))).await?;
    it.apply(&service("ro", &of_role("replica"))).await?;
    let [first, second, third] = [
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    ];
    describe(&it, 0, first, "primary", true).await?;
    describe(&it, 1, second, "replica", true).await?;
    describe(&it, 2, third, "replica", true).await?;
    let sample = Path::new(HERE).join("deploy/samples/cloudnative-pg.yaml");
    let sample = sample.display().to_string();
    it.plane
        .kubectl(&["apply", "-n", &it.namespace, "-f", &sample])
        .await?;
    it.kubectl_wait(NAME, "condition=Ready").await?;
    leads(&it, "rw", &[first]).await?;
    leads(&it, "ro", &[second, third]).await?;
    let writes = watch::Route::follow(it.slices(), &format!("{NAME}-rw")).await?;

    // CloudNativePG stops the old primary first, and gives the labels once the new one is promoted.
    describe(&it, 0, first, "primary", false).await?;
    first.stop(Shutdown::Fast).await?;
    second.promote().await?;
    third.follow(second)?;
    describe(&it, 1, second, "primary", true).await?;
    describe(&it, 0, first, "replica", false).await?;
    first.stand_by(second)?;
    first.start().await?;
    describe(&it, 0, first, "replica", true).await?;
    leads(&it, "rw", &[second]).await?;
    leads(&it, "ro", &[first, third]).await?;
    let mut seen = writes.sets();
    seen.retain(|set| !set.is_empty());
    seen.dedup();
    ensure!(
        seen == [addresses(&[first]), addresses(&[second])],
        "the writes went to {seen:?}"
    );
    Ok(())
}
