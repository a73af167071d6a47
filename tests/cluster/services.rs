//! Services of the cluster as addresses: their ready pods are followed; and addresses that are refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::{DATABASE, PROBE, Shutdown};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, Postgres, wait, watch};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::fixture::{Fixture, POLICY, SOON, addresses};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("the_ready_pods_behind_services_are_followed", followed)
        .test("a_service_that_goes_holds_the_routes", deleted)
        .test("a_followed_pod_that_gets_another_address_keeps_the_writes", moved)
        .test(
            "a_pod_that_was_not_ready_before_its_promotion_gets_the_writes",
            unready,
        )
        .test(
            "an_invalid_edit_does_not_stop_the_pods_from_being_followed",
            invalid,
        )
        .test("names_inside_the_cluster_are_services", names)
        .test("a_service_that_is_missing_harms_nobody_else", missing)
        .test("a_cluster_ip_is_no_server", cluster_ip)
        .test("service_cidrs_are_followed_live", service_cidrs)
        .test("a_denied_address_is_refused_until_the_rules_change", denied)
        .test("only_allowed_addresses_are_used", allowed)
}

/// A Service without a selector: its slices are the test's.
fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [
            {"name": "metrics", "port": 9187},
            {"name": "postgres", "port": 6432, "targetPort": 5432},
        ]},
    })
}

/// Pods behind a Service, and whether each is ready.
fn slice(service: &str, pods: &[(&Postgres, bool)]) -> Value {
    let endpoint = |(server, ready): &(&Postgres, bool)| json!({"addresses": [server.address()], "conditions": {"ready": ready}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-a"), "labels": {
            "kubernetes.io/service-name": service,
            "endpointslice.kubernetes.io/managed-by": "the-test",
        }},
        "addressType": "IPv4",
        "ports": [{"name": "metrics", "port": 9187}, {"name": "postgres", "port": 5432}],
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

impl Fixture {
    async fn pods(&self, service: &str, pods: &[(&Postgres, bool)]) -> Result<()> {
        self.apply(&slice(service, pods)).await.map(drop)
    }

    /// A policy whose servers are behind the Services pg-rw and pg-ro; the primary, and two replicas.
    async fn by_services(&self) -> Result<Value> {
        for name in ["pg-rw", "pg-ro"] {
            self.apply(&service(name)).await?;
        }
        self.pods("pg-rw", &[(self.postgres.primary(), true)]).await?;
        let both = [(self.postgres.replica(0), true), (self.postgres.replica(1), true)];
        self.pods("pg-ro", &both).await?;
        let mut policy = self.policy();
        policy["spec"]["primary"] = json!({"serviceRef": {"name": "pg-rw", "port": 6432}});
        policy["spec"]["replicas"] = json!([{"id": "pods", "serviceRef": {"name": "pg-ro", "port": 6432}}]);
        Ok(policy)
    }

    /// Lets the operator see the Service CIDRs.
    async fn may_list_service_cidrs(&self) -> Result<()> {
        let name = format!("{}-service-cidrs", &*self.namespace);
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
                "rules": [{
                    "apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": ["list", "watch"],
                }],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": &*self.namespace}],
            },
        ]}))
        .await
        .map(drop)
    }
}

async fn followed(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let [one, two, three] = [0, 1, 2].map(|number| it.postgres.replica(number));
    let policy = it.by_services().await?;
    it.apply(&policy).await?;
    it.serves().await?;
    it.condition("ResolvedRefs", "True", "Resolved").await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.leads("ro", &[one, two], SOON).await?;
    let status = it.endpoint("pods", "Serving", SOON).await?;
    let targets: BTreeSet<_> = status
        .targets
        .iter()
        .map(|target| target.address.clone())
        .collect();
    ensure!(
        targets == BTreeSet::from([one, two].map(|server| server.address().to_string())),
        "{status:?}"
    );

    it.pods("pg-ro", &[(one, true), (two, false)]).await?;
    it.leads("ro", &[one], SOON).await?;
    // A pod that Kubernetes takes for ready is checked before it is published.
    three.stop(Shutdown::Fast).await?;
    it.pods("pg-ro", &[(one, true), (two, true), (three, true)])
        .await?;
    it.leads("ro", &[one, two], SOON).await?;
    wait::throughout(
        "who does not answer is not published",
        Duration::from_secs(2),
        || async {
            anyhow::Ok(!it.now("ro").await?.contains(&three.address().to_string()))?
                .then_some(())
                .context("it is published")
        },
    )
    .await?;
    three.start().await?;
    it.leads("ro", &[one, two, three], SOON).await?;
    it.pods("pg-ro", &[]).await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.endpoint("pods", "NoReadyPod", SOON).await?;
    it.pods("pg-ro", &[(two, true)]).await?;
    it.leads("ro", &[two], SOON).await?;

    // What nobody names brings no pass; and no Service has a watch of its own.
    let host = json!([{"id": "host", "host": one.address()}]);
    it.patch(json!({"spec": {"replicas": host, "routing": null}}))
        .await?;
    it.leads("ro", &[one], SOON).await?;
    it.rests().await?;
    let passes = it.operator.log().matches("pass done").count();
    it.pods("pg-ro", &[(three, true)]).await?;
    wait::throughout("nobody looks", Duration::from_secs(2), || async {
        let now = it.operator.log().matches("pass done").count();
        ensure!(now == passes, "{passes} passes before, {now} now");
        anyhow::Ok(())
    })
    .await?;
    let audit = it.audit()?;
    let own: Vec<_> = audit.iter().filter(|event| event.uri.contains("pg-ro")).collect();
    ensure!(own.is_empty(), "{own:?}");
    Ok(())
}

async fn deleted(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let both = [it.postgres.replica(0), it.postgres.replica(1)];
    let policy = it.by_services().await?;
    it.apply(&policy).await?;
    it.serves().await?;
    it.leads("ro", &both, SOON).await?;
    it.api::<Service>()
        .delete("pg-ro", &DeleteParams::default())
        .await?;
    let told = it.condition("ResolvedRefs", "False", "ServiceUnresolved").await?;
    ensure!(told.message == "Service pg-ro does not exist", "{}", told.message);
    it.api::<EndpointSlice>()
        .delete("pg-ro-a", &DeleteParams::default())
        .await?;
    let holds = || async {
        anyhow::Ok(it.now("ro").await?.len() == 2)?
            .then_some(())
            .context("it moved")
    };
    wait::throughout("the routes hold", Duration::from_secs(2), holds).await?;
    // Neither does a restart of the operator lose them.
    it.operator.kill();
    it.operator.start_again().await?;
    wait::throughout("the routes hold", Duration::from_secs(4), holds).await?;
    it.endpoint("pods", "Serving", SOON).await?;
    // They are checked on: who dies leaves.
    both[0].kill().await?;
    it.leads("ro", &both[1..], SOON).await?;
    it.apply(&service("pg-ro")).await?;
    it.condition("ResolvedRefs", "True", "Resolved").await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.pods("pg-ro", &[(both[1], true)]).await?;
    it.leads("ro", &both[1..], SOON).await
}

/// The Service of the replicas has the pod that was promoted, too.
async fn moved(plane: Arc<ControlPlane>) -> Result<()> {
    let servers = PgCluster::builder().replicas(2).more_addresses(1);
    let it = Fixture::start_with(plane, servers, &[]).await?;
    let (new, other) = (it.postgres.replica(0), it.postgres.replica(1));
    it.apply(&it.by_services().await?).await?;
    it.serves().await?;
    let writes = it.follow("rw").await?;
    it.postgres.primary().kill().await?;
    new.promote().await?;
    other.follow(new)?;
    writes.leads_to(&addresses(&[new]), SOON).await?;
    it.condition("Ready", "True", "Routable").await?;

    // Its pod is made anew: first it is not there, then it has another address.
    new.stop(Shutdown::Fast).await?;
    it.pods("pg-ro", &[(other, true)]).await?;
    it.condition("Ready", "False", "NoPrimary").await?;
    new.start().await?;
    let address = new.more_addresses()[0];
    let mut pods = slice("pg-ro", &[(new, true), (other, true)]);
    pods["endpoints"][0]["addresses"] = json!([address]);
    it.apply(&pods).await?;
    let there = BTreeSet::from([address.to_string()]);
    writes.leads_to(&there, SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.leads("ro", &[other], SOON).await?;
    // An address that no pod of the Service has is nobody's.
    let old = addresses(&[it.postgres.primary()]);
    let way = [old, addresses(&[new]), BTreeSet::new(), there];
    ensure!(
        writes.sets() == way,
        "the writes went another way: {:?}",
        writes.sets()
    );
    Ok(())
}

/// No check of this pod has shown it as a standby.
async fn unready(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let (new, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let policy = it.by_services().await?;
    it.pods("pg-ro", &[(new, false), (other, true)]).await?;
    it.apply(&policy).await?;
    it.serves().await?;
    let writes = it.follow("rw").await?;
    it.postgres.primary().kill().await?;
    new.promote().await?;
    other.follow(new)?;
    it.pods("pg-ro", &[(new, true), (other, true)]).await?;
    writes.leads_to(&addresses(&[new]), SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.leads("ro", &[other], SOON).await?;
    let way = [it.postgres.primary(), new].map(|server| addresses(&[server]));
    ensure!(
        writes.sets() == way,
        "the writes went another way: {:?}",
        writes.sets()
    );
    Ok(())
}

/// The last valid spec stays in force with the pods, and the Secret, of now.
async fn invalid(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let [one, two] = [0, 1].map(|number| it.postgres.replica(number));
    let policy = it.by_services().await?;
    it.apply(&policy).await?;
    it.pods("pg-ro", &[(one, true)]).await?;
    it.leads("ro", &[one], SOON).await?;
    // Admission does not know which endpoints there are.
    let classes = json!([{"name": "reports", "replicaSelector": {"ids": ["nobody"]}}]);
    it.patch(json!({"spec": {"routing": {"classes": classes}}}))
        .await?;
    it.condition("Accepted", "False", "Invalid").await?;
    it.pods("pg-ro", &[(two, true)]).await?;
    it.leads("ro", &[two], SOON).await?;
    it.pods("pg-ro", &[(one, true), (two, true)]).await?;
    it.leads("ro", &[one, two], SOON).await?;
    it.condition("Accepted", "False", "Invalid").await?;
    let replicas = json!([{"id": "host", "host": one.address()}]);
    it.patch(json!({"spec": {"replicas": replicas, "routing": null}}))
        .await?;
    it.condition("Accepted", "True", "Valid").await?;
    it.leads("ro", &[one], SOON).await
}

/// A host that is the name of a Service, and the Secret of an app as CloudNativePG writes it.
async fn names(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let both = [it.postgres.replica(0), it.postgres.replica(1)];
    it.by_services().await?;
    let namespace = &*it.namespace;
    let (user, password) = (PROBE.user, PROBE.password);
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth", "metadata": {"name": "pg-app"},
        "stringData": {
            "username": user, "password": password, "dbname": DATABASE, "host": "pg-ro", "port": "6432",
            "uri": format!("postgresql://{user}:{password}@pg-ro.{namespace}:6432/{DATABASE}"),
        },
    }))
    .await?;
    let mut policy = it.policy();
    policy["spec"]["primary"] = json!({"host": format!("pg-rw.{namespace}.svc.cluster.local"), "port": 6432});
    policy["spec"]["replicas"] = json!([{"id": "app", "urlSecretRef": {"name": "pg-app", "key": "uri"}}]);
    it.apply(&policy).await?;
    it.serves().await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.leads("ro", &both, SOON).await?;
    it.pods("pg-ro", &[(both[0], true)]).await?;
    it.leads("ro", &both[..1], SOON).await
}

async fn missing(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = it.policy();
    policy["spec"]["replicas"]
        .as_array_mut()
        .context("replicas")?
        .push(json!({"id": "later", "serviceRef": {"name": "later", "port": 6432}}));
    it.apply(&policy).await?;
    let told = it.condition("ResolvedRefs", "False", "ServiceUnresolved").await?;
    ensure!(told.message == "Service later does not exist", "{}", told.message);
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    let mut other = service("later");
    other["spec"]["ports"] = json!([{"name": "postgres", "port": 5432}]);
    it.apply(&other).await?;
    let what = "the missing port to be named";
    it.until(what, SOON, |policy| {
        let conditions = policy.status.iter().flat_map(|status| &status.conditions);
        conditions
            .into_iter()
            .any(|condition| condition.message == "Service later has no such port")
    })
    .await?;
    it.apply(&service("later")).await?;
    it.condition("ResolvedRefs", "True", "Resolved").await?;
    Ok(())
}

async fn cluster_ip(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = Fixture::start(plane, 1).await?;
    it.by_service_of_one().await?;
    let address = it
        .api::<Service>()
        .get("pg")
        .await?
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("no clusterIP")?;
    let mut policy = it.policy();
    policy["spec"]["replicas"] = json!([{"id": "by-ip", "host": address, "port": 6432}]);
    it.apply(&policy).await?;
    // Without the right the operator says once that it does not know them, and goes on.
    it.endpoint("by-ip", "Serving", SOON).await?;
    let told = it.operator.log().matches("ClusterIPs not refused").count();
    ensure!(told == 1, "told {told} times");
    it.may_list_service_cidrs().await?;
    it.restart_operator().await?;
    it.endpoint("by-ip", "AddressRefused", SOON).await?;
    let stalled = it.condition("Stalled", "True", "AddressRefused").await?;
    ensure!(
        stalled.message == "by-ip: AddressRefused (AddressOfService)",
        "{}",
        stalled.message
    );
    it.leads("ro", &[it.postgres.primary()], SOON).await
}

impl Fixture {
    /// The Service pg with one replica behind it.
    async fn by_service_of_one(&self) -> Result<()> {
        self.apply(&service("pg")).await?;
        self.pods("pg", &[(self.postgres.replica(0), true)]).await
    }
}

/// A range of IPv6, from which this cluster takes no `ClusterIP`.
async fn service_cidrs(plane: Arc<ControlPlane>) -> Result<()> {
    const ADDRESS: &str = "fd00:77::5";
    let mut it = Fixture::start(plane, 1).await?;
    it.may_list_service_cidrs().await?;
    it.restart_operator().await?;
    let mut policy = it.policy();
    policy["spec"]["replicas"]
        .as_array_mut()
        .context("replicas")?
        .push(json!({"id": "far", "host": ADDRESS}));
    it.apply(&policy).await?;
    it.endpoint("far", "CircuitOpen", SOON).await?;
    it.condition("Stalled", "False", "Progressing").await?;
    let range = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": format!("{}-far", &*it.namespace)}, "spec": {"cidrs": ["fd00:77::/112"]},
    });
    it.apply(&range).await?;
    it.endpoint("far", "AddressRefused", SOON).await?;
    it.condition("Stalled", "True", "AddressRefused").await?;
    let name = range["metadata"]["name"].as_str().unwrap_or_default();
    it.plane.kubectl(&["delete", "servicecidr", name]).await?;
    it.until("far to be checked again", SOON, |policy| {
        crate::fixture::endpoint(policy, "far").is_some_and(|far| far.server.reason != "AddressRefused")
    })
    .await?;
    it.condition("Stalled", "False", "Progressing").await?;
    Ok(())
}

async fn denied(plane: Arc<ControlPlane>) -> Result<()> {
    let postgres = PgCluster::builder().replicas(2);
    let mut it = Fixture::start_with(plane, postgres, &[]).await?;
    let (refused, other) = (it.postgres.replica(0).address(), it.postgres.replica(1).address());
    let rules = format!("{refused}/32,198.51.100.0/24");
    it.start_another(&["--deny-cidrs", &rules]).await?;
    it.apply(&it.policy()).await?;
    it.endpoint("replica-1", "AddressRefused", SOON).await?;
    let stalled = it.condition("Stalled", "True", "AddressRefused").await?;
    ensure!(stalled.message.contains("(AddressDenied)"), "{}", stalled.message);
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    let before = it.checks_of("AddressDenied").await?;
    ensure!(before > 0, "no check was refused");
    wait::pass(Duration::from_secs(3), "it is not tried again").await;
    let after = it.checks_of("AddressDenied").await?;
    ensure!(before == after, "{before} checks, then {after}");
    it.start_another(&[]).await?;
    it.condition("Stalled", "False", "Progressing").await?;
    let both = BTreeSet::from([refused.to_string(), other.to_string()]);
    watch::routes(&it.slices(), &format!("{POLICY}-ro"), &both, SOON).await
}

async fn allowed(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = Fixture::start(plane, 2).await?;
    let primary = it.postgres.primary().address().to_string();
    let replica = format!("{}/32", it.postgres.replica(0).address());
    it.start_another(&["--allow-cidrs", &primary, "--allow-cidrs", &replica])
        .await?;
    it.apply(&it.policy()).await?;
    let stalled = it.condition("Stalled", "True", "AddressRefused").await?;
    ensure!(
        stalled.message.contains("(AddressNotAllowed)"),
        "{}",
        stalled.message
    );
    it.endpoint("replica-2", "AddressRefused", SOON).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await
}

impl Fixture {
    async fn start_another(&mut self, arguments: &[&str]) -> Result<()> {
        self.operator.kill();
        self.operator = crate::fixture::operator(&self.plane, &self.namespace, arguments).await?;
        Ok(())
    }
}
