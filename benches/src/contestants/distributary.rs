//! The operator, as another client of the API server sees its EndpointSlices.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::control_plane::Namespace;
use harness::postgres::{DATABASE, PORT, PROBE};
use harness::{ControlPlane, Operator, PgCluster, Postgres, wait};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::crowd::shape::quick_return;
use crate::journal::{Journal, Statement};
use crate::routes::{self, Watch};

const NAME: &str = "orders";
const READY: Duration = Duration::from_mins(1);

/// What a policy says beside its servers; what it does not say is at its default.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `spec.healthCheck`
    pub health_check: Value,
    /// `spec.circuitBreaker`
    pub circuit_breaker: Value,
    /// `spec.replicationLag`
    pub lag: Value,
    /// The last replica serves analytics alone.
    pub dedicated: bool,
}

impl Policy {
    /// The defaults, all but the return of an endpoint after a trip: at the defaults every run would wait minutes for
    /// that. It has no part in how a fault is found.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            health_check: json!({}),
            circuit_breaker: quick_return(),
            lag: json!({}),
            dedicated: false,
        }
    }

    /// As quick as HAProxy when it is tuned: heartbeat 100 ms, failoverTimeout 100 ms, failureThreshold 1, and a new
    /// connection every 100 ms too, which finds a server that only hangs; timeout 50 ms, several times what a login
    /// takes.
    #[must_use]
    pub fn fast() -> Self {
        let mut circuit_breaker = quick_return();
        circuit_breaker["failureThreshold"] = json!(1);
        Self {
            health_check: json!({
                "interval": "100ms", "heartbeat": "100ms", "timeout": "50ms", "failoverTimeout": "100ms",
            }),
            circuit_breaker,
            ..Self::defaults()
        }
    }

    /// The defaults with a heartbeat of 100 ms.
    #[must_use]
    pub fn quick_heartbeat() -> Self {
        Self {
            health_check: json!({"heartbeat": "100ms"}),
            ..Self::defaults()
        }
    }

    /// The `spec` for these servers.
    #[must_use]
    pub fn spec(&self, postgres: &PgCluster) -> Value {
        let last = postgres.replicas().len();
        let replica = |(number, server): (usize, &Postgres)| {
            let mut replica = json!({"id": format!("replica-{number}"), "host": server.address()});
            if self.dedicated && number == last {
                replica["dedicatedTo"] = json!(["analytics"]);
                replica["promotable"] = json!(false);
            }
            replica
        };
        let replicas = (1..).zip(postgres.replicas()).map(replica);
        json!({
            "connection": {
                "database": DATABASE,
                "credentialsSecretRef": {"name": "probe"},
                "tls": {"mode": "Disable"},
            },
            "primary": {"host": postgres.primary().address()},
            "replicas": replicas.collect::<Vec<_>>(),
            "healthCheck": self.health_check,
            "circuitBreaker": self.circuit_breaker,
            "replicationLag": self.lag,
        })
    }

    fn manifest(&self, postgres: &PgCluster) -> Value {
        json!({
            "apiVersion": "distributary.dev/v1alpha1",
            "kind": "ReplicaSetPolicy",
            "metadata": {"name": NAME},
            "spec": self.spec(postgres),
        })
    }
}

/// An operator of its own with one policy of all servers, in a namespace of its own.
pub struct Distributary {
    front: SocketAddr,
    services: Api<Service>,
    policies: Api<DynamicObject>,
    _watch: Watch,
    operator: Operator,
    _namespace: Namespace,
}

impl Distributary {
    /// Starts it; returns when its policy is Ready.
    ///
    /// # Errors
    /// When it does not start, or the policy is not Ready after a minute.
    pub async fn start(
        name: &'static str,
        policy: &Policy,
        plane: &ControlPlane,
        kubeconfig: &Path,
        postgres: &PgCluster,
        journal: &Journal,
    ) -> Result<Self> {
        let namespace = plane.namespace(name).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"},
            "stringData": {"username": PROBE.user, "password": PROBE.password},
        });
        plane.apply(&namespace, &secret.to_string()).await?;
        let operator = Operator::builder(kubeconfig)
            .namespace(&namespace)
            .args(["--log-level", "info"])
            .start()
            .await?;
        let watch = watch(name, Api::namespaced(plane.client(), &namespace), journal.clone());
        let manifest = policy.manifest(postgres).to_string();
        plane.apply(&namespace, &manifest).await?;
        let this = Self {
            policies: policies(plane, &namespace),
            services: Api::namespaced(plane.client(), &namespace),
            front: (Ipv4Addr::LOCALHOST, PORT).into(),
            _watch: watch,
            operator,
            _namespace: namespace,
        };
        this.settled(READY).await.context("the first policy")?;
        let front = this.address("ro").await?;
        Ok(Self { front, ..this })
    }

    /// The ClusterIP of `NAME-ROUTE`.
    ///
    /// # Errors
    /// When there is no such Service.
    pub async fn address(&self, route: &str) -> Result<SocketAddr> {
        let service = self.services.get(&format!("{NAME}-{route}")).await?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("no clusterIP")?;
        Ok((address.parse::<Ipv4Addr>()?, PORT).into())
    }

    /// The process of the operator.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Where its clients connect: the ClusterIP of `NAME-ro`.
    #[must_use]
    pub fn front(&self) -> SocketAddr {
        self.front
    }

    /// Kills the operator: its routes stay as they are, and nobody sees to them until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.operator.kill();
    }

    /// Starts it again, where it was killed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn resume(&self) -> Result<()> {
        if self.operator.daemon().is_running() {
            return Ok(());
        }
        self.operator.start_again().await
    }

    /// Waits until every endpoint is as if nothing had ever happened to it: its circuit is closed, and it serves.
    ///
    /// # Errors
    /// After `deadline`: the message has the status.
    pub async fn settled(&self, deadline: Duration) -> Result<()> {
        let settled = || async {
            let policy = self.policies.get(NAME).await?;
            let status = &policy.data["status"];
            let endpoints = status["endpoints"].as_array().context("no status yet")?;
            let fine = |endpoint: &Value| endpoint["circuit"] == "Closed" && endpoint["reason"] == "Serving";
            let ready = status["conditions"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|one| one["type"] == "Ready" && one["status"] == "True")
            });
            ensure!(ready && endpoints.iter().all(fine), "{status}");
            Ok(())
        };
        wait::eventually("every endpoint to serve", deadline, settled).await
    }
}

/// The policies of a namespace.
#[must_use]
pub fn policies(plane: &ControlPlane, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("distributary.dev", "v1alpha1", "ReplicaSetPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "replicasetpolicies");
    Api::namespaced_with(plane.client(), namespace, &resource)
}

fn watch(
    name: &'static str,
    slices: Api<k8s_openapi::api::discovery::v1::EndpointSlice>,
    journal: Journal,
) -> Watch {
    let mut before = BTreeSet::new();
    routes::follow(slices, move |service, now| {
        if service == format!("{NAME}-rw") {
            journal.add(name, Statement::Writes(now));
        } else if service == format!("{NAME}-ro") {
            for server in before.difference(&now) {
                journal.add(name, Statement::Down(*server));
            }
            for server in now.difference(&before) {
                journal.add(name, Statement::Up(*server));
            }
            before = now;
        }
    })
}
