//! What a test needs: a namespace, a PostgreSQL cluster, an operator with a ServiceAccount of its own, a policy.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_api::{EndpointStatus, ReplicaSetPolicy};
use harness::control_plane::{AuditEvent, Namespace, PROXY_DELAY, service_account_user};
use harness::postgres::{DATABASE, PROBE};
use harness::{ControlPlane, Operator, PgCluster, Postgres, reader, wait, watch};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The name of the policy, and what the names of its objects begin with.
pub const POLICY: &str = "orders";
/// For what should be there soon: a deadline and no requirement, also for a machine that is busy with something else.
pub const SOON: Duration = Duration::from_secs(60);
/// Who writes nothing for so long rests.
pub const QUIET: Duration = Duration::from_secs(2);

pub struct Fixture {
    pub operator: Operator,
    pub postgres: PgCluster,
    pub namespace: Namespace,
    pub plane: Arc<ControlPlane>,
}

impl Fixture {
    /// A cluster with so many replicas, the Secret of its probe role, and an operator; no policy yet.
    pub async fn start(plane: Arc<ControlPlane>, replicas: usize) -> Result<Self> {
        Self::start_with(plane, PgCluster::builder().replicas(replicas), &[]).await
    }

    pub async fn start_with(
        plane: Arc<ControlPlane>,
        postgres: harness::postgres::Builder,
        arguments: &[&str],
    ) -> Result<Self> {
        let namespace = plane.namespace("shop").await?;
        prepare(&plane, &namespace).await?;
        let (postgres, operator) =
            tokio::try_join!(postgres.start(), operator(&plane, &namespace, arguments))?;
        Ok(Self {
            operator,
            postgres,
            namespace,
            plane,
        })
    }

    /// The same with a policy of all servers, ready.
    pub async fn ready(plane: Arc<ControlPlane>, replicas: usize) -> Result<Self> {
        let fixture = Self::start(plane, replicas).await?;
        fixture.declare(&fixture.policy()).await?;
        fixture.serves().await?;
        Ok(fixture)
    }

    /// The same at the default settings, when the operator holds its sessions.
    pub async fn at_defaults(plane: Arc<ControlPlane>, replicas: usize) -> Result<Self> {
        let fixture = Self::start(plane, replicas).await?;
        fixture.declare(&fixture.defaults()).await?;
        fixture.serves().await?;
        fixture.holds_sessions().await?;
        Ok(fixture)
    }

    /// The same with short times for everything, when the operator holds its sessions; see [`quick`](Self::quick).
    pub async fn at_quick(plane: Arc<ControlPlane>, replicas: usize) -> Result<Self> {
        let fixture = Self::start(plane, replicas).await?;
        fixture.declare(&fixture.quick()).await?;
        fixture.serves().await?;
        fixture.holds_sessions().await?;
        Ok(fixture)
    }

    /// A policy of all servers: interval 300 ms, failoverTimeout 900 ms, resetTimeout 1 s.
    pub fn quick(&self) -> Value {
        let mut policy = self.policy();
        policy["spec"]["healthCheck"] = json!({
            "interval": "300ms", "heartbeat": "300ms", "timeout": "300ms", "failoverTimeout": "900ms",
        });
        policy["spec"]["circuitBreaker"] = json!({
            "failureThreshold": 3, "resetTimeout": "1s", "halfOpen": {"successThreshold": 1, "trafficSteps": [50]},
        });
        policy
    }

    /// Waits until reads and writes are routed and every endpoint serves, also one that told its position before the
    /// primary did: `Ready` alone may be true before.
    pub async fn serves(&self) -> Result<()> {
        self.condition("Ready", "True", "Routable").await?;
        self.condition("Degraded", "False", "AllServing").await?;
        Ok(())
    }

    /// Waits until the operator has one session on every server.
    pub async fn holds_sessions(&self) -> Result<()> {
        for server in self.postgres.servers() {
            has_sessions(server, 1).await?;
        }
        Ok(())
    }

    /// A policy of all servers that names nothing but them: the times are interval 30 s, heartbeat 2 s, failoverTimeout
    /// 5 s, threshold 5.
    pub fn defaults(&self) -> Value {
        let mut policy = self.policy();
        if let Some(spec) = policy["spec"].as_object_mut() {
            spec.remove("healthCheck");
            spec.remove("circuitBreaker");
        }
        policy
    }

    /// A policy of all servers with short times.
    pub fn policy(&self) -> Value {
        let replica = |(number, server): (usize, &Postgres)| json!({"id": format!("replica-{}", number + 1), "host": server.address()});
        json!({
            "apiVersion": "distributary.dev/v1alpha1",
            "kind": "ReplicaSetPolicy",
            "metadata": {"name": POLICY},
            "spec": {
                "connection": {
                    "database": DATABASE,
                    "credentialsSecretRef": {"name": "probe"},
                    "tls": {"mode": "Disable"},
                },
                "primary": {"host": self.postgres.primary().address()},
                "replicas": self.postgres.replicas().iter().enumerate().map(replica).collect::<Vec<_>>(),
                "healthCheck": {"interval": "1s", "timeout": "1s", "failoverTimeout": "3s"},
                "circuitBreaker": {
                    "failureThreshold": 3,
                    "resetTimeout": "2s",
                    "halfOpen": {"successThreshold": 2, "trafficSteps": [10, 50]},
                },
            },
        })
    }

    async fn declare(&self, policy: &Value) -> Result<()> {
        put::<ReplicaSetPolicy>(&self.plane, &self.namespace, policy).await
    }

    /// Applies an object by kubectl, as a user does.
    pub async fn apply(&self, object: &Value) -> Result<String> {
        self.plane.apply(&self.namespace, &object.to_string()).await
    }

    /// Changes the policy by a merge patch.
    pub async fn patch(&self, change: Value) -> Result<ReplicaSetPolicy> {
        let api: Api<ReplicaSetPolicy> = self.api();
        Ok(api
            .patch(POLICY, &PatchParams::default(), &Patch::Merge(change))
            .await?)
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.plane.client(), &self.namespace)
    }

    pub fn slices(&self) -> Api<EndpointSlice> {
        self.api()
    }

    /// Waits until the Service leads to exactly these servers.
    pub async fn leads(&self, route: &str, servers: &[&Postgres], deadline: Duration) -> Result<()> {
        let addresses = addresses(servers);
        watch::routes(&self.slices(), &format!("{POLICY}-{route}"), &addresses, deadline).await
    }

    /// Follows what the Service leads to, as another client sees it.
    pub async fn follow(&self, route: &str) -> Result<watch::Route> {
        watch::Route::follow(self.slices(), &format!("{POLICY}-{route}")).await
    }

    /// The addresses that the Service leads to now.
    pub async fn now(&self, route: &str) -> Result<BTreeSet<String>> {
        let labels = format!("kubernetes.io/service-name={POLICY}-{route}");
        let slices = self
            .slices()
            .list(&kube::api::ListParams::default().labels(&labels))
            .await?;
        Ok(watch::ready_addresses(&slices.items))
    }

    /// Waits until the policy is as `check` says.
    pub async fn until<O: harness::wait::Outcome>(
        &self,
        what: &str,
        deadline: Duration,
        mut check: impl FnMut(&ReplicaSetPolicy) -> O,
    ) -> Result<O::Value> {
        let check = |policy: Option<&ReplicaSetPolicy>| match policy {
            Some(policy) => check(policy).outcome(),
            None => Err("no policy".to_owned()),
        };
        watch::object(&self.api(), POLICY, what, deadline, check).await
    }

    /// Waits for a condition of the newest generation with this status and reason.
    pub async fn condition(&self, type_: &str, status: &str, reason: &str) -> Result<Condition> {
        let what = format!("condition {type_} {status} {reason}");
        self.until(&what, SOON, |policy| {
            let condition = condition(policy, type_).filter(|condition| condition.status == status);
            let current =
                |condition: &&Condition| condition.observed_generation == policy.metadata.generation;
            condition
                .filter(|condition| condition.reason == reason)
                .filter(current)
                .cloned()
        })
        .await
    }

    /// Waits until an endpoint has this reason.
    pub async fn endpoint(&self, id: &str, reason: &str, deadline: Duration) -> Result<EndpointStatus> {
        self.until(&format!("{id} to be {reason}"), deadline, |policy| {
            endpoint(policy, id)
                .filter(|endpoint| endpoint.server.reason == reason)
                .cloned()
        })
        .await
    }

    /// Whole checks that the operator has made.
    pub async fn checks(&self) -> Result<u64> {
        self.checks_of("").await
    }

    /// Whole checks with this result.
    pub async fn checks_of(&self, result: &str) -> Result<u64> {
        self.operator.checks(result).await
    }

    /// Waits by `kubectl wait` until a policy is as `--for` says, such as `condition=Ready`.
    pub async fn kubectl_wait(&self, policy: &str, condition: &str) -> Result<()> {
        let (condition, timeout) = (
            format!("--for={condition}"),
            format!("--timeout={}s", SOON.as_secs()),
        );
        let arguments = ["wait", "-n", &self.namespace, &condition, &timeout, "rsp", policy];
        self.plane.kubectl(&arguments).await.map(drop)
    }

    /// Applies another policy of the same servers, and waits until all of them serve.
    pub async fn apply_another(&self, name: &str, mut policy: Value) -> Result<()> {
        policy["metadata"]["name"] = json!(name);
        self.apply(&policy).await?;
        self.kubectl_wait(name, "condition=Ready").await?;
        self.kubectl_wait(name, "condition=Degraded=False").await
    }

    pub async fn get(&self) -> Result<ReplicaSetPolicy> {
        Ok(self.api::<ReplicaSetPolicy>().get(POLICY).await?)
    }

    /// `routing.json` as it is now.
    pub async fn routing(&self) -> Result<Value> {
        let config_map = self.api::<ConfigMap>().get(&format!("{POLICY}-routing")).await?;
        let text = config_map
            .data
            .unwrap_or_default()
            .remove("routing.json")
            .context("no routing.json")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Port 5432 of the ClusterIP of a Service of the policy.
    pub async fn cluster_ip(&self, route: &str) -> Result<SocketAddr> {
        let service = self.api::<Service>().get(&format!("{POLICY}-{route}")).await?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("no clusterIP")?;
        Ok(SocketAddr::new(address.parse()?, 5432))
    }

    /// Waits until kube-proxy follows the slices of a route as they are now, which takes it `PROXY_DELAY` if the machine is not
    /// busy: twenty reads in a row are answered by servers in them. From then on a read fails only where it meets a server
    /// that has ended, or that kube-proxy still takes for one.
    pub async fn readable(&self, route: &str) -> Result<SocketAddr> {
        const READS: usize = 20;
        const ATTEMPT: Duration = Duration::from_secs(2);
        let address = self.cluster_ip(route).await?;
        let follows = || async move {
            let led_to = self.now(route).await?;
            for _ in 0..READS {
                let server = wait::within("an answer", ATTEMPT, reader::ask(address)).await?;
                ensure!(
                    led_to.contains(&server.to_string()),
                    "{server} answers, not {led_to:?}"
                );
            }
            Ok(())
        };
        wait::eventually(&format!("reads of {route} after {PROXY_DELAY:?}"), SOON, follows).await?;
        Ok(address)
    }

    /// What the operator asked the API server.
    pub fn audit(&self) -> Result<Vec<AuditEvent>> {
        self.plane
            .audit_of(&service_account_user(&self.namespace, "operator"))
    }

    /// The writes of routes and status that the operator asked for, as `VERB RESOURCE NAME`; Events excepted.
    pub fn writes(&self) -> Result<Vec<String>> {
        let events = self.audit()?;
        let writes = events
            .iter()
            .filter(|event| event.is_write() && event.resource != "events");
        Ok(writes
            .map(|event| format!("{} {} {}", event.verb, event.target(), event.name))
            .collect())
    }

    /// The writes of routes and status from `start` on, without those of Events.
    pub fn writes_from(&self, start: usize) -> Result<Vec<AuditEvent>> {
        let writes = self.audit()?.into_iter();
        let writes = writes.filter(|event| event.is_write() && event.resource != "events");
        Ok(writes.skip(start).collect())
    }

    /// Waits until the operator writes nothing: what follows is not what came before.
    pub async fn rests(&self) -> Result<()> {
        let writes = || {
            let events = self.audit()?;
            anyhow::Ok(events.iter().filter(|event| event.is_write()).count())
        };
        wait::rest("the operator to rest", QUIET, SOON, writes)
            .await
            .map(drop)
    }

    /// Waits until the newest check of an endpoint failed with this, and it has this reason.
    pub async fn fails(&self, id: &str, reason: &str, failure: &str) -> Result<EndpointStatus> {
        self.until(&format!("{id} to be {reason} by {failure}"), SOON, |policy| {
            endpoint(policy, id)
                .filter(|is| is.server.reason == reason && is.server.failure.as_deref() == Some(failure))
                .cloned()
        })
        .await
    }

    /// Starts another operator in place of this one's.
    pub async fn restart_operator(&mut self) -> Result<()> {
        self.operator.kill();
        self.operator = operator(&self.plane, &self.namespace, &[]).await?;
        Ok(())
    }
}

/// What a test begins with is asked for without kubectl, which is a process for each.
pub async fn prepare(plane: &ControlPlane, namespace: &str) -> Result<()> {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}});
    let (binding, secret) = (binding(namespace), secret("probe", PROBE.user, PROBE.password));
    tokio::try_join!(
        put::<ServiceAccount>(plane, namespace, &account),
        put::<RoleBinding>(plane, namespace, &binding),
        put::<Secret>(plane, namespace, &secret),
    )?;
    Ok(())
}

/// Applies an object as `kubectl apply --server-side` does, in its name, so that kubectl may change it later.
pub async fn put<K>(plane: &ControlPlane, namespace: &str, object: &Value) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(plane.client(), namespace);
    let name = object["metadata"]["name"].as_str().context("a name")?;
    let kubectl = PatchParams::apply("kubectl").validation_strict();
    api.patch(name, &kubectl, &Patch::Apply(object)).await?;
    Ok(())
}

/// Every right in a namespace for the operator's ServiceAccount of `namespace`.
pub fn binding(namespace: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
    })
}

pub fn secret(name: &str, user: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth", "metadata": {"name": name},
        "stringData": {"username": user, "password": password},
    })
}

pub async fn operator(plane: &ControlPlane, namespace: &str, arguments: &[&str]) -> Result<Operator> {
    let kubeconfig = plane.service_account_kubeconfig(namespace, "operator").await?;
    let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
    Operator::builder(&kubeconfig)
        .namespace(namespace)
        .args(arguments)
        .start()
        .await
}

/// Waits until the operators hold so many sessions on a server.
pub async fn has_sessions(server: &Postgres, count: usize) -> Result<()> {
    const HELD: &str = "select count(*) from pg_stat_activity where application_name = 'distributary'";
    wait::eventually(&format!("{count} held sessions"), SOON, || async {
        let held = server.sql(HELD).await?;
        ensure!(held == count.to_string(), "{held} sessions");
        anyhow::Ok(())
    })
    .await
}

pub fn addresses(servers: &[&Postgres]) -> BTreeSet<String> {
    servers
        .iter()
        .map(|server| server.address().to_string())
        .collect()
}

pub fn condition<'a>(policy: &'a ReplicaSetPolicy, type_: &str) -> Option<&'a Condition> {
    policy
        .status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
}

pub fn endpoint<'a>(policy: &'a ReplicaSetPolicy, id: &str) -> Option<&'a EndpointStatus> {
    policy
        .status
        .as_ref()?
        .endpoints
        .iter()
        .find(|endpoint| endpoint.id == id)
}
