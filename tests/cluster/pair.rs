//! Two operators and one Lease, each with a ServiceAccount of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::{AuditEvent, service_account_user};
use harness::gate::Gate;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, Operator, watch};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use crate::fixture::{Fixture, QUIET, SOON, has_sessions};

/// Short, and long enough that a busy machine costs nobody the Lease.
pub const TERMS: [&str; 4] = [
    "--leader-elect",
    "--lease-duration=5s",
    "--renew-deadline=4s",
    "--retry-period=500ms",
];
pub const DURATION: Duration = Duration::from_secs(5);

/// The one of the fixture leads.
pub struct Pair {
    pub it: Fixture,
    pub second: Operator,
    /// The account of the one that leads, and that of the other one.
    pub leader: &'static str,
    pub follower: &'static str,
}

impl Pair {
    /// Started at once, so that either may lead, with a policy of all servers that both know.
    pub async fn start(plane: Arc<ControlPlane>, replicas: usize) -> Result<Self> {
        let mut it = fixture(plane, replicas).await?;
        let (first, second) = tokio::try_join!(operator(&it, "operator"), operator(&it, "second"))?;
        let of = |lease: Option<&Lease>| {
            let holder = holder(lease)?;
            ["operator", "second"]
                .into_iter()
                .find(|account| holder.starts_with(account))
        };
        let leader = watch::object(&it.api::<Lease>(), "distributary", "one to lead", SOON, of).await?;
        let (follower, second) = if leader == "operator" {
            it.operator = first;
            ("second", second)
        } else {
            it.operator = second;
            ("operator", first)
        };
        let pair = Self {
            it,
            second,
            leader,
            follower,
        };
        pair.it.apply(&pair.it.policy()).await?;
        pair.settles().await.map(|()| pair)
    }

    /// The first one leads, and reaches the API server through a gate, which the other one does not. They notice who is gone, and who
    /// is back, within a second, and who is silent only after a time in which a busy machine answers.
    pub async fn behind_gate(plane: Arc<ControlPlane>, replicas: usize) -> Result<(Self, Gate)> {
        let mut it = fixture(plane, replicas).await?;
        let kubeconfig = it
            .plane
            .service_account_kubeconfig(&it.namespace, "operator")
            .await?;
        let gate = Gate::of(&kubeconfig).await?;
        it.operator = start(&it, gate.kubeconfig(), "operator").await?;
        let pair = Self {
            second: {
                holds(&it, "operator").await?;
                operator(&it, "second").await?
            },
            it,
            leader: "operator",
            follower: "second",
        };
        let mut policy = pair.it.policy();
        policy["spec"]["healthCheck"] = json!({
            "interval": "500ms", "heartbeat": "500ms", "timeout": "4s", "failoverTimeout": "8s",
        });
        // The status tells when an open circuit is tried next, so it is written as often as that.
        policy["spec"]["circuitBreaker"]["resetTimeout"] = json!("20s");
        pair.it.apply(&policy).await?;
        pair.settles().await?;
        Ok((pair, gate))
    }

    async fn settles(&self) -> Result<()> {
        self.it.serves().await?;
        for server in self.it.postgres.servers() {
            has_sessions(server, 2).await?;
        }
        self.second.answers("/readyz").await?;
        self.it.condition("Reconciling", "False", "Settled").await?;
        self.rests().await
    }

    /// Waits until the one that followed holds the Lease; how long that took.
    pub async fn taken_over(&self) -> Result<Duration> {
        let started = Stopwatch::start();
        holds(&self.it, self.follower).await?;
        Ok(started.elapsed())
    }

    /// How often the one that leads has written the Lease.
    pub fn renewals(&self) -> Result<usize> {
        let user = service_account_user(&self.it.namespace, self.leader);
        let events = self.it.plane.audit_of(&user)?.into_iter();
        Ok(events
            .filter(|event| event.is_write() && event.resource == "leases")
            .count())
    }

    /// What this one wrote, or tried to, but for the Lease.
    pub fn writes(&self, account: &str) -> Result<Vec<AuditEvent>> {
        let user = service_account_user(&self.it.namespace, account);
        let events = self.it.plane.audit_of(&user)?.into_iter();
        Ok(events
            .filter(|event| event.is_write() && event.resource != "leases")
            .collect())
    }

    /// Of these accounts, none wrote any more after another one had begun to.
    pub fn one_writes_at_a_time(&self, accounts: &[&str]) -> Result<()> {
        let mut writes = vec![];
        for account in accounts {
            let of_it = self.writes(account)?;
            writes.extend(of_it.into_iter().map(|event| (event.received, *account)));
        }
        writes.sort_unstable();
        let mut writers: Vec<_> = writes.iter().map(|(_, account)| *account).collect();
        writers.dedup();
        let once: BTreeSet<_> = writers.iter().collect();
        ensure!(
            !once.is_empty() && writers.len() == once.len(),
            "they wrote in this order: {writers:?}"
        );
        Ok(())
    }

    /// Waits until neither of them writes.
    pub async fn rests(&self) -> Result<()> {
        let count = || anyhow::Ok((self.writes(self.leader)?.len(), self.writes(self.follower)?.len()));
        wait::rest("nothing to be written", QUIET, SOON, count)
            .await
            .map(drop)
    }
}

async fn fixture(plane: Arc<ControlPlane>, replicas: usize) -> Result<Fixture> {
    let it = Fixture::start(plane, replicas).await?;
    it.operator.kill();
    it.plane
        .apply(&it.namespace, &account("second", &it.namespace).to_string())
        .await?;
    Ok(it)
}

fn holder(lease: Option<&Lease>) -> Option<&str> {
    lease?.spec.as_ref()?.holder_identity.as_deref()
}

/// Waits until this one holds the Lease.
pub async fn holds(it: &Fixture, account: &str) -> Result<()> {
    let of = |lease: Option<&Lease>| {
        holder(lease)
            .filter(|holder| holder.starts_with(account))
            .map(drop)
    };
    let what = format!("{account} to lead");
    watch::object(&it.api::<Lease>(), "distributary", &what, SOON, of).await
}

pub fn account(name: &str, namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]})
}

/// One that stands for the Lease, with this account.
pub async fn operator(it: &Fixture, account: &str) -> Result<Operator> {
    let kubeconfig = it
        .plane
        .service_account_kubeconfig(&it.namespace, account)
        .await?;
    start(it, &kubeconfig, account).await
}

async fn start(it: &Fixture, kubeconfig: &Path, account: &str) -> Result<Operator> {
    Operator::builder(kubeconfig)
        .namespace(&it.namespace)
        .args(TERMS)
        .env("POD_NAMESPACE", &it.namespace)
        .env("POD_NAME", account)
        .start()
        .await
}

/// Waits until it says that it leads.
pub async fn begins_to_lead(operator: &Operator) -> Result<()> {
    wait::eventually("it to lead", SOON, || async {
        ensure!(operator.leads().await?, "it follows");
        anyhow::Ok(())
    })
    .await
}

/// Waits until it says that it follows.
pub async fn follows(operator: &Operator) -> Result<()> {
    wait::eventually("it to follow", SOON, || async {
        ensure!(!operator.leads().await?, "it leads");
        anyhow::Ok(())
    })
    .await
}

/// Where a route led, without the moments in which it led nowhere.
pub fn way(route: &watch::Route) -> Vec<BTreeSet<String>> {
    let mut sets = route.sets();
    sets.retain(|set| !set.is_empty());
    sets.dedup();
    sets
}
