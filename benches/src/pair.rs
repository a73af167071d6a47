//! Two operators with one Lease, each with a ServiceAccount of its own, so that the audit log tells them apart.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::control_plane::{AuditEvent, service_account_user};
use harness::{ControlPlane, Operator, wait, watch};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::DeleteParams;
use kube::runtime::watcher::Config;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinHandle;

use crate::crowd::Crowd;

const NAMESPACE: &str = "distributary-system";
const ACCOUNTS: [&str; 2] = ["first", "second"];
const LEASE: &str = "distributary";
/// For the first of them to lead, and as long as the Lease may be followed.
const LEADS: Duration = Duration::from_mins(1);
const EVER: Duration = Duration::from_hours(24);

/// Two operators, of which one leads.
pub struct Pair {
    operators: [Operator; 2],
    /// Which of the two leads.
    leader: usize,
    held: Receiver<Vec<(Instant, String)>>,
    watch: JoinHandle<()>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Pair {
    /// Starts both for the policies of this crowd; returns when one leads and the other follows.
    ///
    /// # Errors
    /// When they do not start, or none leads within a minute.
    pub async fn start(crowd: &Crowd, arguments: &[String]) -> Result<Self> {
        let plane = &crowd.plane;
        plane.apply(NAMESPACE, &accounts().to_string()).await?;
        let (sender, held) = channel(vec![]);
        let leases: Api<Lease> = Api::namespaced(plane.client(), NAMESPACE);
        // Of an earlier pair.
        if leases.get_opt(LEASE).await?.is_some() {
            leases.delete(LEASE, &DeleteParams::default()).await?;
        }
        let watch = tokio::spawn(async move {
            let note = |leases: &[Lease]| {
                let holder = leases.first().and_then(holder).unwrap_or_default();
                sender.send_if_modified(|held: &mut Vec<(Instant, String)>| {
                    let new = held.last().is_none_or(|(_, last)| *last != holder);
                    if new {
                        held.push((Instant::now(), holder));
                    }
                    new
                });
                false
            };
            let config = Config::default().fields(&format!("metadata.name={LEASE}"));
            // It ends with its owner, not with a condition.
            let _ = watch::set(&leases, config, "the end of the benchmark", EVER, note).await;
        });
        let since = Instant::now();
        let first = operator(crowd, ACCOUNTS[0], arguments).await?;
        led(held.clone(), ACCOUNTS[0], since, LEADS).await?;
        let second = operator(crowd, ACCOUNTS[1], arguments).await?;
        second.answers("/readyz").await?;
        Ok(Self {
            operators: [first, second],
            leader: 0,
            held,
            watch,
        })
    }

    /// The one that leads.
    #[must_use]
    pub fn leader(&self) -> &Operator {
        &self.operators[self.leader]
    }

    /// The other one.
    #[must_use]
    pub fn follower(&self) -> &Operator {
        &self.operators[1 - self.leader]
    }

    /// Waits until the one that followed holds the Lease, as another client sees it; returns when that was seen.
    ///
    /// # Errors
    /// After `deadline`.
    pub async fn taken_over(&mut self, since: Instant, deadline: Duration) -> Result<Instant> {
        let next = 1 - self.leader;
        let at = led(self.held.clone(), ACCOUNTS[next], since, deadline).await?;
        self.leader = next;
        Ok(at)
    }

    /// What the one that follows wrote since then, or tried to, but for the Lease.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn written_by_follower(&self, plane: &ControlPlane, since: Timestamp) -> Result<Vec<AuditEvent>> {
        written(plane, ACCOUNTS[1 - self.leader], since)
    }

    /// What both wrote since then, or tried to, but for the Lease.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn written(&self, plane: &ControlPlane, since: Timestamp) -> Result<Vec<AuditEvent>> {
        let [first, second] = ACCOUNTS;
        let all = [written(plane, first, since)?, written(plane, second, since)?];
        Ok(all.concat())
    }

    /// Waits until nobody has written anything but the Lease for so long.
    ///
    /// # Errors
    /// When somebody still does after a minute.
    pub async fn rests(&self, plane: &ControlPlane, time: Duration) -> Result<()> {
        let since = harness::control_plane::audit::now();
        let written = || anyhow::Ok(told(&self.written(plane, since)?));
        wait::rest("nothing to be written", time, LEADS, written)
            .await
            .map(drop)
    }

    /// Waits until the one that follows says that it does, and is ready.
    ///
    /// # Errors
    /// When it has not after a minute.
    pub async fn follows(&self) -> Result<()> {
        let follower = self.follower();
        follower.answers("/readyz").await?;
        wait::eventually("the other one to follow", LEADS, || async {
            anyhow::ensure!(!follower.leads().await?, "it leads");
            anyhow::Ok(())
        })
        .await
    }

    /// The processes of the leader and of the follower.
    ///
    /// # Errors
    /// When one of them does not run.
    pub fn pids(&self) -> Result<[Pid; 2]> {
        let pid = |operator: &Operator| operator.daemon().pid().context("an operator does not run");
        Ok([pid(self.leader())?, pid(self.follower())?])
    }
}

/// Requests in words.
#[must_use]
pub fn told(events: &[AuditEvent]) -> String {
    let one = |event: &AuditEvent| {
        format!(
            "{} {} {} by {}",
            event.verb,
            event.target(),
            event.name,
            event.user
        )
    };
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn written(plane: &ControlPlane, account: &str, since: Timestamp) -> Result<Vec<AuditEvent>> {
    let events = plane
        .audit_of(&service_account_user(NAMESPACE, account))?
        .into_iter();
    let is_other =
        |event: &AuditEvent| event.is_write() && event.resource != "leases" && event.received >= since;
    Ok(events.filter(is_other).collect())
}

/// When the Lease was first seen to be this one's, from `since` on.
async fn led(
    mut held: Receiver<Vec<(Instant, String)>>,
    account: &str,
    since: Instant,
    deadline: Duration,
) -> Result<Instant> {
    let found = |held: &Vec<(Instant, String)>| {
        let of_it = |(at, holder): &&(Instant, String)| *at >= since && holder.starts_with(account);
        held.iter().find(of_it).map(|(at, _)| *at)
    };
    let seen = held.wait_for(|held| found(held).is_some());
    let seen = wait::within(&format!("{account} to lead"), deadline, seen).await?;
    found(&seen).context("the watch forgot it")
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone()
}

async fn operator(crowd: &Crowd, account: &str, arguments: &[String]) -> Result<Operator> {
    let kubeconfig = crowd.plane.service_account_kubeconfig(NAMESPACE, account).await?;
    let operator = crowd.operator_as(&kubeconfig).args(arguments);
    let operator = operator.env("POD_NAMESPACE", NAMESPACE).env("POD_NAME", account);
    operator.start().await
}

/// Both accounts, with the rights of the operator.
fn accounts() -> Value {
    let account =
        |name: &&str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    let subject = |name: &&str| json!({"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE});
    let subjects: Vec<_> = ACCOUNTS.iter().map(subject).collect();
    let binding = |kind: &str, role_kind: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "pair"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
            "subjects": subjects,
        })
    };
    let bindings = [
        binding("ClusterRoleBinding", "ClusterRole", "distributary"),
        binding("RoleBinding", "Role", "distributary-lease"),
    ];
    let items: Vec<_> = ACCOUNTS.iter().map(account).chain(bindings).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
