//! What the operators that are stopped run on: fake servers, a namespace with a policy for each run, and the state of
//! all that is in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::control_plane::{Namespace, audit, service_account_user};
use harness::postgres::{DATABASE, PROBE};
use harness::stop::{CountedRequest, Stop};
use harness::{ControlPlane, Operator, wait};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::{NamespaceResourceScope, serde::de::DeserializeOwned};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource};
use serde_json::{Value, json};

use super::promotion;
use super::servers::Servers;
use crate::fixture::{POLICY, QUIET, SOON, condition, secret};
use crate::pair::{TERMS, begins_to_lead};

/// Fields that tell a time, a figure or a version, or that the API server chooses.
const OWN: [&str; 12] = [
    "at",
    "clusterIP",
    "clusterIPs",
    "creationTimestamp",
    "generation",
    "lag",
    "lastTransitionTime",
    "managedFields",
    "programmedAt",
    "resourceVersion",
    "retryAt",
    "since",
];

/// So many whole checks of all servers begin with one of each.
const CHECKS: u64 = 6;

/// What the requests of a run are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// A policy of three servers that has no objects yet.
    FirstStart,
    /// An edit takes one of two replicas out of a policy whose routes are written.
    ReplicaRemoved,
    /// The primary of a policy whose routes are written dies, and a replica is promoted.
    Promotion,
    /// The same happens when the leader goes, and another operator takes over.
    Takeover(Gone),
}

/// How a leader goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gone {
    Killed,
    /// It goes on in the place of the one that took over, when that one is killed.
    Frozen,
}

impl Change {
    fn fails_over(self) -> bool {
        matches!(self, Self::Promotion | Self::Takeover(_))
    }
}

/// A primary and two replicas for every policy, and an account that may do everything.
pub struct Stage {
    plane: Arc<ControlPlane>,
    kubeconfig: PathBuf,
    user: String,
    servers: Servers,
    _accounts: Namespace,
}

impl Stage {
    pub async fn set(plane: Arc<ControlPlane>) -> Result<Self> {
        let accounts = plane.namespace("stops").await?;
        let account = json!({"kind": "ServiceAccount", "name": "operator", "namespace": &*accounts});
        let all =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"});
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {"name": &*accounts}, "roleRef": all, "subjects": [account],
            },
        ]});
        plane.apply(&accounts, &objects.to_string()).await?;
        let kubeconfig = plane.service_account_kubeconfig(&accounts, "operator").await?;
        Ok(Self {
            user: service_account_user(&accounts, "operator"),
            plane,
            kubeconfig,
            servers: Servers::start().await?,
            _accounts: accounts,
        })
    }
}

/// The namespace of one run, with its policy.
pub struct Scene<'a> {
    stage: &'a Stage,
    namespace: Namespace,
    /// Servers that no other run has.
    own: Option<Servers>,
}

/// An operator over a scene.
pub struct Run {
    pub operator: Operator,
    /// Who led before it.
    former: Option<Operator>,
    begun: Timestamp,
}

impl<'a> Scene<'a> {
    /// All as it is before the change.
    pub async fn set(stage: &'a Stage, change: Change) -> Result<Self> {
        let fails_over = change.fails_over();
        let scene = Self {
            stage,
            namespace: stage.plane.namespace("stopped").await?,
            own: if fails_over {
                Some(Servers::start().await?)
            } else {
                None
            },
        };
        // Whoever is slow here is not dead.
        let timeouts = if fails_over { ("1s", "2s") } else { ("5s", "30s") };
        let policy = json!({
            "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy", "metadata": {"name": POLICY},
            "spec": {
                "connection": {
                    "database": DATABASE, "credentialsSecretRef": {"name": "probe"}, "tls": {"mode": "Disable"},
                },
                "primary": {"host": scene.servers().address(0)},
                "replicas": scene.servers().replicas(2),
                "healthCheck": {
                    "interval": "1s", "heartbeat": "500ms", "timeout": timeouts.0, "failoverTimeout": timeouts.1,
                },
            },
        });
        let objects = json!({
            "apiVersion": "v1", "kind": "List", "items": [secret("probe", PROBE.user, PROBE.password), policy],
        });
        stage.plane.apply(&scene.namespace, &objects.to_string()).await?;
        if change != Change::FirstStart {
            let before = scene.operator().start().await?;
            scene.settled(Change::FirstStart).await?;
            before.stop().await?;
        }
        Ok(scene)
    }

    pub fn servers(&self) -> &Servers {
        self.own.as_ref().unwrap_or(&self.stage.servers)
    }

    fn operator(&self) -> harness::operator::Builder {
        Operator::builder(&self.stage.kubeconfig).namespace(&self.namespace)
    }

    /// One that stands for the Lease of this namespace.
    fn candidate(&self) -> harness::operator::Builder {
        self.operator().args(TERMS).env("POD_NAMESPACE", &self.namespace)
    }

    /// One that leads.
    async fn leader(&self) -> Result<Operator> {
        let operator = self.candidate().start().await?;
        begins_to_lead(&operator).await?;
        Ok(operator)
    }

    /// Starts an operator that stops there, and makes the change.
    pub async fn begin(&self, stop: Stop, change: Change) -> Result<Run> {
        let begun = audit::now();
        let (builder, former) = match change {
            Change::Takeover(_) => (self.candidate(), Some(self.leader().await?)),
            _ => (self.operator(), None),
        };
        let operator = builder.stop_at(stop).start_no_wait()?;
        if change != Change::FirstStart {
            operator.answers("/readyz").await?;
            decides(&operator).await?;
        }
        match (change, &former) {
            (Change::Takeover(Gone::Killed), Some(former)) => former.kill(),
            (Change::Takeover(Gone::Frozen), Some(former)) => former.daemon().freeze()?,
            _ => {}
        }
        match change {
            Change::FirstStart => {}
            Change::ReplicaRemoved => {
                let change = json!({"spec": {"replicas": self.servers().replicas(1)}});
                let policies: Api<ReplicaSetPolicy> = self.api();
                policies
                    .patch(POLICY, &PatchParams::default(), &Patch::Merge(change))
                    .await?;
            }
            Change::Promotion | Change::Takeover(_) => self.servers().fail_over(),
        }
        Ok(Run {
            operator,
            former,
            begun,
        })
    }

    /// Waits until the status says that all is well, and nothing is left to do.
    pub async fn settled(&self, change: Change) -> Result<()> {
        let replicas = if change == Change::ReplicaRemoved { 1 } else { 2 };
        wait::eventually("the policy to be settled", SOON, || async {
            let policy = self.policy().await?;
            if change.fails_over() {
                ensure!(promotion::is_followed(&policy), "{:?}", policy.status);
                return anyhow::Ok(());
            }
            let is = |type_, status: &str| {
                condition(&policy, type_).is_some_and(|is| {
                    is.status == status && is.observed_generation == policy.metadata.generation
                })
            };
            let served = policy
                .status
                .iter()
                .flat_map(|status| &status.routes)
                .any(|route| route.name == "ro" && route.endpoints.len() == replicas);
            let well = is("Ready", "True") && is("Degraded", "False") && is("Reconciling", "False");
            ensure!(well && served, "{:?}", policy.status);
            anyhow::Ok(())
        })
        .await
    }

    /// The API server got the request at which the operator stopped, or did not, as it should be.
    pub async fn arrived(&self, run: &Run, request: &CountedRequest, should: bool) -> Result<()> {
        let counted = run.operator.counted().into_iter();
        let counted = counted.filter(|other| (&other.method, &other.uri) == (&request.method, &request.uri));
        let counted = counted.count();
        // A long answer may come before it is in the log.
        wait::eventually("the log of the API server", SOON, || async {
            let audited = self.audited(run, request)?;
            ensure!(
                (audited == counted) == should && audited <= counted,
                "{counted} requests like {request:?}, of which {audited} reached the API server"
            );
            anyhow::Ok(())
        })
        .await
    }

    /// How many requests like this one the API server answered since the run began.
    fn audited(&self, run: &Run, request: &CountedRequest) -> Result<usize> {
        let verb = match request.method.as_str() {
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            other => other,
        };
        let events = self.stage.plane.audit_of(&self.stage.user)?.into_iter();
        let same = events
            .filter(|event| event.verb == verb && event.uri == request.uri && event.received >= run.begun);
        Ok(same.count())
    }

    /// All of the namespace that is the operator's work, without times, in text that is the same for every scene.
    pub async fn state(&self) -> Result<String> {
        let policy = self.policy().await?;
        let uid = policy.metadata.uid.clone().context("a uid")?;
        let revision = policy.status.as_ref().and_then(|status| status.routing.as_ref());
        let revision = revision.context("no routes yet")?.revision.clone();
        let maps = self.all::<ConfigMap>().await?.into_iter();
        let mut state = json!({
            "slices": self.all::<EndpointSlice>().await?,
            "services": self.all::<Service>().await?,
            "configMaps": maps.filter(|map| map["metadata"]["name"] != "kube-root-ca.crt").collect::<Value>(),
            "status": policy.status,
        });
        strip(&mut state);
        forget_fallbacks(&mut state["status"]);
        order_hosts(&mut state["configMaps"]);
        let text = format!("{state:#}");
        Ok(text
            .replace(&uid, "UID")
            .replace(&revision, "REVISION")
            .replace(&*self.namespace, "NAMESPACE"))
    }

    /// Waits until the state is this one, and sees that it stays so.
    pub async fn ends_as(&self, expected: &str) -> Result<()> {
        let ends = || async {
            let state = self.state().await?;
            let difference = similar::TextDiff::from_lines(expected, &state);
            ensure!(
                state == expected,
                "it differs:\n{}",
                difference.unified_diff().context_radius(2)
            );
            anyhow::Ok(())
        };
        wait::eventually("the end of an undisturbed run", SOON, ends).await?;
        wait::throughout("the end is the end", Duration::from_secs(1), ends).await
    }

    pub async fn policy(&self) -> Result<ReplicaSetPolicy> {
        Ok(self.api::<ReplicaSetPolicy>().get(POLICY).await?)
    }

    pub fn slices(&self) -> Api<EndpointSlice> {
        self.api()
    }

    async fn all<K>(&self) -> Result<Vec<Value>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        let listed = self.api::<K>().list(&ListParams::default()).await?;
        listed
            .items
            .into_iter()
            .map(|object| {
                let mut object = serde_json::to_value(object)?;
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.remove("uid");
                }
                Ok(object)
            })
            .collect()
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.stage.plane.client(), &self.namespace)
    }
}

/// Waits until it knows what each server is like.
async fn decides(operator: &Operator) -> Result<()> {
    wait::eventually("the first checks", SOON, || async {
        let made = operator.checks("").await?;
        ensure!(made >= CHECKS, "{made} checks");
        anyhow::Ok(())
    })
    .await
}

impl Run {
    /// After it was killed: the one that led before, if that is only frozen, else a new one.
    pub async fn another_goes_on(&mut self) -> Result<()> {
        match &self.former {
            Some(former) if former.daemon().is_running() => former.daemon().thaw(),
            _ => self.operator.start_undisturbed().await,
        }
    }

    /// Waits until all is well, and the operator asks for nothing more.
    pub async fn done(&self, scene: &Scene<'_>, change: Change) -> Result<()> {
        scene.settled(change).await?;
        let count = || anyhow::Ok(self.operator.counted().len());
        wait::rest("the operator to ask for nothing", QUIET, SOON, count)
            .await
            .map(drop)
    }
}

/// Puts the hosts of each URI in one order: the one that they have turns with the namespace and the name of the policy.
fn order_hosts(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(order_hosts),
        Value::Array(items) => items.iter_mut().for_each(order_hosts),
        Value::String(text) if text.starts_with("postgresql://") => {
            let (scheme, rest) = text.split_at("postgresql://".len());
            let (hosts, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let mut hosts: Vec<_> = hosts.split(',').collect();
            hosts.sort_unstable();
            *text = format!("{scheme}{}/{rest}", hosts.join(","));
        }
        _ => {}
    }
}

/// Takes out that reads went to another server for a moment: on a busy machine the first answers come one after the other.
fn forget_fallbacks(status: &mut Value) {
    let changes = status.get_mut("failovers").and_then(Value::as_array_mut);
    let Some(changes) = changes else {
        return;
    };
    changes.retain(|change| {
        let kind = change["kind"].as_str();
        !kind.is_some_and(|kind| kind.starts_with("ReadFallback"))
    });
    if changes.is_empty()
        && let Some(status) = status.as_object_mut()
    {
        status.remove("failovers");
    }
}

/// Takes out what is [`OWN`], wherever it is.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OWN.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
