//! The API server, its controllers and kube-proxy do what they do in a cluster.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::control_plane::{self, Namespace, service_account_user};
use harness::gate::Gate;
use harness::{ControlPlane, PgCluster, Postgres, Reader, postgres, wait, watch};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(10);

type Shared = Arc<ControlPlane>;

pub async fn cluster_ip_leads_to_a_replica(shared: Shared) -> Result<()> {
    let namespace = shared.namespace("cluster-ip").await?;
    let cluster = PgCluster::start(2).await?;
    let target = service(&shared, &namespace).await?;
    slice(&shared, &namespace, &[cluster.replica(0), cluster.replica(1)]).await?;
    let slices = Api::namespaced(shared.client(), &namespace);
    let both = cluster
        .replicas()
        .iter()
        .map(|replica| replica.address().to_string())
        .collect();
    watch::routes(&slices, "reads", &both, DEADLINE).await?;

    let reader = Reader::builder(target).rate(50).start();
    let all =
        |count| move |totals: &harness::reader::Totals| totals.by_server.len() == count && totals.reads > 40;
    reader.until("both replicas to answer", DEADLINE, all(2)).await?;
    ensure!(
        reader
            .stop()
            .by_server
            .keys()
            .all(|server| both.contains(&server.to_string()))
    );

    let reader = Reader::builder(target)
        .reads(100)
        .rate(40)
        .retry_after(Duration::from_millis(50))
        .start();
    slice(&shared, &namespace, &[cluster.replica(1)]).await?;
    let only = BTreeSet::from([cluster.replica(1).address().to_string()]);
    watch::routes(&slices, "reads", &only, DEADLINE).await?;
    let totals = reader.end(DEADLINE).await?;
    ensure!(totals.reads == 100 && totals.failures == 0, "{totals:?}");
    let reader = Reader::builder(target).reads(20).rate(50).start();
    let totals = reader.end(DEADLINE).await?;
    ensure!(
        totals.by_server.keys().eq([&cluster.replica(1).address()]),
        "{totals:?}"
    );
    Ok(())
}

pub async fn service_account_has_its_own_rights(shared: Shared) -> Result<()> {
    let namespace = shared.namespace("rights").await?;
    shared
        .kubectl(&["create", "serviceaccount", "worker", "-n", &namespace])
        .await?;
    let role = [
        "create",
        "role",
        "reader",
        "--verb=list",
        "--resource=configmaps",
        "-n",
        &namespace,
    ];
    shared.kubectl(&role).await?;
    let account = format!("{namespace}:worker");
    let binding = [
        "create",
        "rolebinding",
        "worker",
        "--role=reader",
        "--serviceaccount",
        &account,
        "-n",
        &namespace,
    ];
    shared.kubectl(&binding).await?;

    let kubeconfig = shared.service_account_kubeconfig(&namespace, "worker").await?;
    let client = control_plane::client(&kubeconfig).await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    maps.list(&ListParams::default()).await?;
    let denied = maps.delete("none", &DeleteParams::default()).await;
    ensure!(
        matches!(&denied, Err(kube::Error::Api(status)) if status.code == 403),
        "{denied:?}"
    );

    let events = shared.audit_of(&service_account_user(&namespace, "worker"))?;
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.verb.as_str(), event.target(), event.code))
        .collect();
    ensure!(
        seen == [
            ("list", "configmaps".into(), 200),
            ("delete", "configmaps".into(), 403)
        ],
        "{seen:?}"
    );
    ensure!(events[1].is_write() && !events[1].succeeded() && *events[1].namespace == *namespace);
    Ok(())
}

pub async fn owned_objects_are_collected(shared: Shared) -> Result<()> {
    let namespace = shared.namespace("owned").await?;
    let maps: Api<ConfigMap> = Api::namespaced(shared.client(), &namespace);
    let owner = json!({ "metadata": { "name": "owner" } });
    let owner = maps
        .create(&PostParams::default(), &serde_json::from_value(owner)?)
        .await?;
    let reference = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid,
    });
    let dependent = json!({ "metadata": { "name": "dependent", "ownerReferences": [reference] } });
    maps.create(&PostParams::default(), &serde_json::from_value(dependent)?)
        .await?;
    maps.delete("owner", &DeleteParams::background()).await?;
    let gone = |map: Option<&ConfigMap>| map.is_none();
    watch::object(&maps, "dependent", "the dependent to go", DEADLINE, gone).await
}

pub async fn missed_deadline_says_what_was_seen(shared: Shared) -> Result<()> {
    let namespace = shared.namespace("missed").await?;
    let maps: Api<ConfigMap> = Api::namespaced(shared.client(), &namespace);
    let (root, moment) = ("kube-root-ca.crt", Duration::from_secs(1));
    let there = |map: Option<&ConfigMap>| map.is_some();
    watch::object(&maps, root, "the root certificate", DEADLINE, there).await?;
    let never = |_: Option<&ConfigMap>| Err::<(), _>("none happened");
    let missed = watch::object(&maps, root, "a miracle", moment, never).await;
    let message = missed.err().context("it did not fail")?.to_string();
    let parts = ["waited 1.0s for a miracle", "none happened", "BEGIN CERTIFICATE"];
    ensure!(parts.iter().all(|part| message.contains(part)), "{message}");
    Ok(())
}

pub async fn kubectl_and_helm_work(shared: Shared) -> Result<()> {
    let nodes = shared.kubectl(&["get", "nodes", "-o", "name"]).await?;
    ensure!(nodes == "node/n1\n", "{nodes}");
    let refused = shared
        .kubectl(&["get", "unheard-of"])
        .await
        .err()
        .context("it did not fail")?
        .to_string();
    ensure!(
        refused.contains("kubectl get unheard-of failed") && refused.contains("resource type"),
        "{refused}"
    );
    let releases = shared.helm(&["list", "--all-namespaces", "-o", "json"]).await?;
    ensure!(releases.trim() == "[]", "{releases}");
    Ok(())
}

/// A Service without selector; its address.
async fn service(shared: &ControlPlane, namespace: &Namespace) -> Result<SocketAddr> {
    let services: Api<Service> = Api::namespaced(shared.client(), namespace);
    let port = json!({ "name": "postgres", "port": postgres::PORT });
    let service = json!({ "metadata": { "name": "reads" }, "spec": { "ports": [port] } });
    let service = services
        .create(&PostParams::default(), &serde_json::from_value(service)?)
        .await?;
    let address: IpAddr = service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("no ClusterIP")?
        .parse()?;
    Ok((address, postgres::PORT).into())
}

/// The only slice of that Service, with these servers.
async fn slice(shared: &ControlPlane, namespace: &Namespace, servers: &[&Postgres]) -> Result<()> {
    let endpoints: Vec<_> = servers
        .iter()
        .map(|server| json!({ "addresses": [server.address()], "conditions": { "ready": true } }))
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": "reads-1", "labels": { "kubernetes.io/service-name": "reads" } },
        "addressType": "IPv4",
        "ports": [{ "name": "postgres", "port": postgres::PORT }],
        "endpoints": endpoints,
    });
    let slices: Api<EndpointSlice> = Api::namespaced(shared.client(), namespace);
    let apply = kube::api::PatchParams::apply("self-test");
    slices
        .patch("reads-1", &apply, &kube::api::Patch::Apply(slice))
        .await?;
    Ok(())
}

pub async fn gate_holds_one_request_refuses_others_and_is_cut(shared: Shared) -> Result<()> {
    const AWAITED: Duration = Duration::from_secs(1);
    let namespace = shared.namespace("gate").await?;
    let kubeconfig = shared.service_account_kubeconfig(&namespace, "default").await?;
    let gate = Gate::of(&kubeconfig).await?;
    let client = control_plane::client(gate.kubeconfig()).await?;
    let version = |client: Client| async move {
        let request = http::Request::get("/version").body(vec![])?;
        anyhow::Ok(client.request_text(request).await?)
    };
    version(client.clone()).await?;
    let mut held = gate.hold(|request| request.path == "/version");
    let asked = tokio::spawn(version(client.clone()));
    held.arrives(DEADLINE).await?;
    version(client.clone()).await?;
    ensure!(!asked.is_finished(), "what is held was answered");
    held.let_go();
    asked.await??;

    let refusing = gate.refuse(AWAITED, |request| request.path == "/version");
    // The client tries again for minutes.
    let refused = wait::within("an answer", AWAITED, version(client.clone())).await;
    ensure!(refused.is_err(), "{refused:?} came through");
    ensure!(!refusing.ages().is_empty(), "no refusal was counted");
    drop(refusing);
    version(client.clone()).await?;

    gate.cut()?;
    let cut = wait::within("an answer", AWAITED, version(client.clone())).await;
    ensure!(cut.is_err(), "{cut:?} came through");
    gate.heal()?;
    wait::within("an answer", DEADLINE, version(client)).await?;
    Ok(())
}
