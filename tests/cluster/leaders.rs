//! Two operators and one Lease: one writes, and the other one takes over.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::control_plane::{AuditEvent, service_account_user};
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, Operator, watch};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, has_sessions};

/// Short times, as nothing else is asked of them.
const SHORT: [&str; 4] = [
    "--leader-elect",
    "--lease-duration=3s",
    "--renew-deadline=2s",
    "--retry-period=500ms",
];
const DURATION: Duration = Duration::from_secs(3);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "of_two_operators_one_leads_and_a_handover_writes_the_lease_alone",
            handover,
        )
        .test("two_operators_write_the_lease_alone_while_nothing_happens", idle)
        .test("a_leader_that_is_killed_is_replaced_within_its_lease", killed)
        .test(
            "a_leader_that_was_frozen_beyond_its_lease_writes_nothing_and_follows",
            frozen,
        )
        .test(
            "a_process_without_a_right_to_the_lease_says_so_and_writes_nothing",
            refused,
        )
}

/// Two operators that were started at once, each with a ServiceAccount of its own. The one of the fixture leads.
struct Pair {
    it: Fixture,
    second: Operator,
    /// The account of the one that leads, and that of the other one.
    leader: &'static str,
    follower: &'static str,
}

impl Pair {
    /// With a policy of all servers, which both know.
    async fn start(plane: Arc<ControlPlane>) -> Result<Self> {
        let mut it = Fixture::start(plane, 2).await?;
        it.operator.kill();
        it.plane
            .apply(&it.namespace, &account("second", &it.namespace).to_string())
            .await?;
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
        pair.it.serves().await?;
        for server in pair.it.postgres.servers() {
            has_sessions(server, 2).await?;
        }
        pair.second.answers("/readyz").await?;
        pair.it.condition("Reconciling", "False", "Settled").await?;
        pair.rests().await?;
        Ok(pair)
    }

    /// Waits until the one that followed holds the Lease; how long that took.
    async fn taken_over(&self) -> Result<Duration> {
        let started = Stopwatch::start();
        let of = |lease: Option<&Lease>| {
            holder(lease)
                .filter(|holder| holder.starts_with(self.follower))
                .map(|_| ())
        };
        let what = format!("{} to lead", self.follower);
        watch::object(&self.it.api::<Lease>(), "distributary", &what, SOON, of).await?;
        Ok(started.elapsed())
    }

    /// What this one wrote, or tried to, but for the Lease.
    fn writes(&self, account: &str) -> Result<Vec<AuditEvent>> {
        let user = service_account_user(&self.it.namespace, account);
        let events = self.it.plane.audit_of(&user)?.into_iter();
        Ok(events
            .filter(|event| event.is_write() && event.resource != "leases")
            .collect())
    }

    /// How often the one that leads has written the Lease.
    fn renewals(&self) -> Result<usize> {
        let user = service_account_user(&self.it.namespace, self.leader);
        let events = self.it.plane.audit_of(&user)?.into_iter();
        Ok(events
            .filter(|event| event.is_write() && event.resource == "leases")
            .count())
    }

    async fn rests(&self) -> Result<()> {
        wait::eventually("nothing to be written", SOON, || async {
            let count = || anyhow::Ok((self.writes(self.leader)?.len(), self.writes(self.follower)?.len()));
            let before = count()?;
            wait::pass(
                Duration::from_secs(2),
                "that nothing is written is only seen by its absence",
            )
            .await;
            ensure!(count()? == before, "{before:?}");
            anyhow::Ok(())
        })
        .await
    }
}

fn holder(lease: Option<&Lease>) -> Option<&str> {
    lease?.spec.as_ref()?.holder_identity.as_deref()
}

fn account(name: &str, namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    ]})
}

async fn operator(it: &Fixture, account: &str) -> Result<Operator> {
    let kubeconfig = it
        .plane
        .service_account_kubeconfig(&it.namespace, account)
        .await?;
    Operator::builder(&kubeconfig)
        .namespace(&it.namespace)
        .args(SHORT)
        .env("POD_NAMESPACE", &it.namespace)
        .env("POD_NAME", account)
        .start()
        .await
}

async fn leads(operator: &Operator) -> Result<bool> {
    let page = operator.http_get("/metrics").await?.body;
    let line = page.lines().find(|line| line.starts_with("distributary_leader "));
    Ok(line.context("no distributary_leader")?.ends_with(" 1"))
}

async fn handover(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane).await?;
    ensure!(
        leads(&pair.it.operator).await? && !leads(&pair.second).await?,
        "both or none lead"
    );
    let page = pair.second.http_get("/metrics").await?.body;
    ensure!(
        !page.contains("distributary_endpoint_"),
        "a follower shows series of endpoints:\n{page}"
    );
    ensure!(
        pair.writes(pair.follower)?.is_empty(),
        "a follower wrote: {:?}",
        pair.writes(pair.follower)?
    );
    let before = pair.writes(pair.leader)?.len();
    let (stopped, taken) = tokio::join!(pair.it.operator.stop(), pair.taken_over());
    let ((_, status), taken) = (stopped?, taken?);
    ensure!(status.success(), "{status}");
    ensure!(
        taken <= Duration::from_millis(500),
        "it was taken over after {taken:?}"
    );
    pair.rests().await?;
    ensure!(leads(&pair.second).await?, "it holds the Lease and does not lead");
    let (first, second) = (pair.writes(pair.leader)?, pair.writes(pair.follower)?);
    ensure!(first.len() == before && second.is_empty(), "{first:?} {second:?}");
    // It is the one who writes now.
    let dead = pair.it.postgres.replica(0);
    dead.kill().await?;
    pair.it.leads("ro", &[pair.it.postgres.replica(1)], SOON).await?;
    ensure!(!pair.writes(pair.follower)?.is_empty(), "nobody wrote");
    Ok(())
}

async fn idle(plane: Arc<ControlPlane>) -> Result<()> {
    const TIME: Duration = Duration::from_secs(30);
    let pair = Pair::start(plane).await?;
    let counts = || anyhow::Ok((pair.writes(pair.leader)?.len(), pair.writes(pair.follower)?.len()));
    let (before, renewed) = (counts()?, pair.renewals()?);
    wait::pass(TIME, "that nothing is written is only seen by its absence").await;
    let (after, renewals) = (counts()?, pair.renewals()? - renewed);
    ensure!(
        after == before,
        "they wrote: {:?} {:?}",
        pair.writes(pair.leader)?.split_off(before.0),
        pair.writes(pair.follower)?.split_off(before.1)
    );
    ensure!(renewals > 0, "the Lease was not renewed");
    Ok(())
}

async fn killed(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane).await?;
    pair.it.operator.kill();
    // In the gap nobody routes around it.
    pair.it.postgres.replica(0).kill().await?;
    let taken = pair.taken_over().await?;
    ensure!(
        taken <= DURATION + Duration::from_secs(2),
        "it was taken over after {taken:?}"
    );
    let began = Stopwatch::start();
    pair.it.leads("ro", &[pair.it.postgres.replica(1)], SOON).await?;
    let out = began.elapsed();
    ensure!(
        out <= Duration::from_secs(2),
        "who died in the gap is out {out:?} after the handover"
    );
    let now = pair.it.now("rw").await?;
    ensure!(
        now.contains(&pair.it.postgres.primary().address().to_string()),
        "{now:?}"
    );
    Ok(())
}

async fn frozen(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane).await?;
    let first = pair.it.operator.daemon();
    first.freeze()?;
    pair.taken_over().await?;
    let before = pair.writes(pair.leader)?.len();
    pair.it.postgres.replica(0).kill().await?;
    pair.it.leads("ro", &[pair.it.postgres.replica(1)], SOON).await?;
    first.thaw()?;
    // It sees the dead server by itself, and would withdraw it.
    wait::eventually("the thawed operator to follow", SOON, || async {
        ensure!(!leads(&pair.it.operator).await?, "it leads");
        anyhow::Ok(())
    })
    .await?;
    pair.it.postgres.replica(0).start().await?;
    pair.it
        .leads(
            "ro",
            &[pair.it.postgres.replica(0), pair.it.postgres.replica(1)],
            SOON,
        )
        .await?;
    pair.rests().await?;
    let wrote = pair.writes(pair.leader)?.split_off(before);
    ensure!(wrote.is_empty(), "it wrote when it thawed: {wrote:?}");
    ensure!(leads(&pair.second).await?, "nobody leads");
    Ok(())
}

async fn refused(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let elsewhere = it.plane.namespace("lease").await?;
    let kubeconfig = it
        .plane
        .service_account_kubeconfig(&it.namespace, "operator")
        .await?;
    let barred = Operator::builder(&kubeconfig)
        .namespace(&it.namespace)
        .args(["--leader-elect", "--lease-namespace", &elsewhere])
        .start()
        .await?;
    let told = format!("Lease {elsewhere}/distributary: cannot be read, Forbidden");
    wait::eventually("/readyz to tell of the Lease", SOON, || async {
        let page = barred.http_get("/readyz").await?;
        ensure!(
            page.status == 503 && page.body.contains(&told),
            "{} {}",
            page.status,
            page.body
        );
        anyhow::Ok(())
    })
    .await?;
    ensure!(barred.log().contains("needs a Role"), "the log names no right");
    ensure!(!leads(&barred).await?, "it leads without the Lease");
    Ok(())
}
