//! An operator with an API, and policies whose replica is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use benches::crowd::shape::quick_return;
use benches::faults::Fault;
use harness::api::ApiClient;
use harness::certificates::Authority;
use harness::control_plane::Namespace;
use harness::postgres::{DATABASE, PROBE};
use harness::watch::Route;
use harness::{ControlPlane, Operator, PgCluster, Postgres, node};
use kube::Api;
use serde_json::{Value, json};

const HOST: &str = "distributary-api";
/// For a kill to be seen, and for a server to be back.
const DEADLINE: Duration = Duration::from_mins(1);

pub struct Scene {
    pub operator: Operator,
    pub client: ApiClient,
    pub namespace: Namespace,
    /// Of callers who may read the policies.
    pub tokens: Vec<String>,
    postgres: PgCluster,
    route: Route,
    _plane: ControlPlane,
}

impl Scene {
    pub async fn set(policies: usize, tokens: usize) -> Result<Self> {
        let (plane, kubeconfig) = benches::control_plane().await?;
        let postgres = PgCluster::builder().replicas(2).start().await?;
        let namespace = plane.namespace("api").await?;
        plane.apply(&namespace, &callers().to_string()).await?;
        let authority = Authority::new("api")?;
        let directory = node::data_subdir("api-certificate")?;
        authority.server(&[HOST], &[])?.write(&directory, "tls")?;
        let directory = format!("--api-tls-directory={}", directory.display());
        let operator = Operator::builder(&kubeconfig).namespace(&namespace).api();
        let operator = operator
            .args(["--log-level", "info", &*directory])
            .start()
            .await?;
        for number in 0..policies {
            let policy = policy(&postgres, number).to_string();
            plane.apply(&namespace, &policy).await?;
        }
        let ready = [
            "wait",
            "-n",
            &namespace,
            "--for=condition=Ready",
            "--timeout=60s",
            "rsp",
            "--all",
        ];
        plane.kubectl(&ready).await?;
        let mut readers = vec![];
        for _ in 0..tokens {
            readers.push(plane.service_account_token(&namespace, "reader").await?);
        }
        let route = Route::follow(Api::namespaced(plane.client(), &namespace), "policy-0-ro").await?;
        let scene = Self {
            client: ApiClient {
                address: operator.api_address(),
                host: HOST.to_owned(),
                authority: authority.pem(),
            },
            operator,
            namespace,
            tokens: readers,
            postgres,
            route,
            _plane: plane,
        };
        scene.serve_all().await?;
        Ok(scene)
    }

    /// Kills a replica and starts it again; how long it was until the slices of the first policy were without it, `None`: a
    /// minute was too short. Returns when all serve again.
    pub async fn kill(&self, number: usize) -> Result<Option<Duration>> {
        let server = self.postgres.replica(number % 2);
        let incident = Fault::Kill.befall(server)?;
        let at = incident.at;
        let rest = addresses(&[self.postgres.replica(1 - number % 2)]);
        let seen = self.route.leads_to(&rest, DEADLINE).await.ok();
        Fault::Kill.mend(server, incident).await?;
        self.serve_all().await?;
        Ok(seen.map(|seen| seen - at))
    }

    async fn serve_all(&self) -> Result<()> {
        let all = addresses(&[self.postgres.replica(0), self.postgres.replica(1)]);
        self.route.leads_to(&all, DEADLINE).await.map(drop)
    }
}

fn addresses(servers: &[&Postgres]) -> BTreeSet<String> {
    servers
        .iter()
        .map(|server| server.address().to_string())
        .collect()
}

/// The login of the policies, and who may read them.
fn callers() -> Value {
    let kind = "rbac.authorization.k8s.io";
    let version = "rbac.authorization.k8s.io/v1";
    let rule = json!({"apiGroups": ["distributary.dev"], "resources": ["replicasetpolicies"], "verbs": ["get", "list"]});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}, "stringData": {"username": PROBE.user, "password": PROBE.password}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}},
        {"apiVersion": version, "kind": "Role", "metadata": {"name": "reader"}, "rules": [rule]},
        {
            "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": kind, "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader"}],
        },
    ]})
}

fn policy(postgres: &PgCluster, number: usize) -> Value {
    let replica = |(place, server): (usize, &Postgres)| json!({"id": format!("replica-{place}"), "host": server.address()});
    let replicas = postgres.replicas().iter().enumerate().map(replica);
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": format!("policy-{number}")},
        "spec": {
            "connection": {"database": DATABASE, "credentialsSecretRef": {"name": "probe"}, "tls": {"mode": "Disable"}},
            "primary": {"host": postgres.primary().address()},
            "replicas": replicas.collect::<Vec<_>>(),
            "circuitBreaker": quick_return(),
        },
    })
}
