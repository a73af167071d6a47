//! The operator of an earlier revision and that of this one, after each other and beside each other, over the same policy. The
//! earlier one is what `tests/upgrade/build` made: `make upgrade FROM=<revision>`.

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fixture::{Fixture, SOON, addresses, secret};
use harness::control_plane::{AuditEvent, service_account_user};
use harness::postgres::PROBE;
use harness::suite::Suite;
use harness::{ControlPlane, Operator, PgCluster, Postgres, wait, watch};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

/// Where `deploy/` puts the operator, and its account.
const NAMESPACE: &str = "distributary-system";
const ACCOUNT: &str = "distributary";
const HERE: &str = env!("CARGO_MANIFEST_DIR");
const REST: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(20);
/// A change of versions writes each object once and the status a few times, for what the other one tells in other words.
const MOST_BY_A_CHANGE: usize = 12;
/// A promotion is that and the move of the writes.
const MOST_BY_A_PROMOTION: usize = 40;

fn main() -> ExitCode {
    harness::node::enter(|| {
        Suite::new(start)
            .one_at_a_time()
            .test(
                "the_writes_never_go_back_over_an_upgrade_and_a_downgrade",
                there_and_back,
            )
            .test(
                "an_earlier_version_beside_this_one_as_another_installation_writes_few_times",
                second_installation,
            )
            .run()
    })
}

/// The tree of the earlier revision.
fn earlier() -> Result<PathBuf> {
    let tree = std::env::var_os("UPGRADE_FROM").context("UPGRADE_FROM is not set: run make upgrade")?;
    Ok(tree.into())
}

/// A control plane with the definition of the earlier revision.
async fn start() -> Result<ControlPlane> {
    let definition = earlier()?.join("crds/replicasetpolicies.distributary.dev.yaml");
    ControlPlane::start_with(&[&definition]).await
}

/// A version of the operator: its program, and its files.
struct Version {
    name: &'static str,
    tree: PathBuf,
    program: Option<PathBuf>,
}

impl Version {
    fn before() -> Result<Self> {
        let tree = earlier()?;
        let program = Some(tree.join("distributary"));
        let name = "before";
        Ok(Self { name, tree, program })
    }

    fn now() -> Self {
        let (name, tree) = ("now", HERE.into());
        let program = None;
        Self { name, tree, program }
    }

    /// Its definition, its rights and its ServiceAccount.
    async fn install(&self, plane: &ControlPlane) -> Result<()> {
        let deploy = self.tree.join("deploy").display().to_string();
        plane.kubectl(&["apply", "-k", &deploy]).await?;
        Ok(())
    }

    /// A Pod of it, ready to lead.
    async fn run(&self, plane: &ControlPlane, pod: &str, arguments: &[&str]) -> Result<Operator> {
        let kubeconfig = plane.service_account_kubeconfig(NAMESPACE, ACCOUNT).await?;
        let mut operator = Operator::builder(&kubeconfig)
            .args(["--leader-elect"])
            .args(arguments.iter().copied())
            .env("POD_NAMESPACE", NAMESPACE)
            .env("POD_NAME", &format!("{}-{pod}", self.name));
        if let Some(program) = &self.program {
            operator = operator.program(program);
        }
        let operator = operator.start().await?;
        operator.answers("/readyz").await?;
        Ok(operator)
    }
}

/// The earlier version routes a policy of three servers.
async fn routed(plane: Arc<ControlPlane>) -> Result<Fixture> {
    let before = Version::before()?;
    before.install(&plane).await?;
    let namespace = plane.namespace("shop").await?;
    let probe = secret("probe", PROBE.user, PROBE.password);
    plane.apply(&namespace, &probe.to_string()).await?;
    let (postgres, operator) = tokio::try_join!(PgCluster::start(2), before.run(&plane, "1", &[]))?;
    let it = Fixture {
        operator,
        postgres,
        namespace,
        plane,
    };
    it.apply(&it.policy()).await?;
    it.serves().await?;
    rests(&it).await?;
    Ok(it)
}

/// What the operators wrote, or tried to, but for the Lease and Events.
fn writes(it: &Fixture) -> Result<Vec<AuditEvent>> {
    let user = service_account_user(NAMESPACE, ACCOUNT);
    let events = it.plane.audit_of(&user)?.into_iter();
    Ok(events.filter(|event| event.is_write() && counts(event)).collect())
}

fn counts(event: &AuditEvent) -> bool {
    !["leases", "events"].contains(&&*event.resource)
}

/// Waits until nothing is written; how much there is then.
async fn rests(it: &Fixture) -> Result<usize> {
    let written = || anyhow::Ok(writes(it)?.iter().map(AuditEvent::target).collect::<Vec<_>>());
    let all = wait::rest("nothing to be written", REST, SOON, written).await?;
    Ok(all.len())
}

/// Waits until all is as it should be, and says how much was written for it: at most so much.
async fn settles(it: &Fixture, since: usize, most: usize) -> Result<()> {
    it.condition("Programmed", "True", "Programmed").await?;
    it.condition("Ready", "True", "Routable").await?;
    rests(it).await?;
    let written = writes(it)?.split_off(since);
    let targets: Vec<_> = written.iter().map(AuditEvent::target).collect();
    ensure!(targets.len() <= most, "{} writes: {targets:?}", targets.len());
    Ok(())
}

/// A Pod of this version takes over from the one that there is.
async fn change_to(it: &mut Fixture, version: &Version, pod: &str) -> Result<()> {
    let since = rests(it).await?;
    version.install(&it.plane).await?;
    let next = version.run(&it.plane, pod, &[]).await?;
    let (_, status) = it.operator.stop().await?;
    ensure!(status.success(), "{status}");
    it.operator = next;
    let name = format!("{}-{pod}", version.name);
    let holder = |lease: Option<&Lease>| {
        let holder = lease?.spec.as_ref()?.holder_identity.as_ref()?;
        holder.starts_with(&name).then_some(())
    };
    let leases: Api<Lease> = Api::namespaced(it.plane.client(), NAMESPACE);
    let what = format!("{name} to lead");
    watch::object(&leases, "distributary", &what, SOON, holder).await?;
    settles(it, since, MOST_BY_A_CHANGE).await
}

/// The primary dies, and a replica takes its place; the old one is rebuilt as a standby of the new one.
async fn promote(it: &Fixture, old: &Postgres, new: &Postgres, other: &Postgres) -> Result<()> {
    let since = rests(it).await?;
    old.kill().await?;
    new.promote().await?;
    other.follow(new)?;
    it.leads("rw", &[new], SOON).await?;
    old.rebuild(new).await?;
    it.leads("ro", &[old, other], SOON).await?;
    settles(it, since, MOST_BY_A_PROMOTION).await
}

async fn there_and_back(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = routed(plane).await?;
    let writes = it.follow("rw").await?;
    change_to(&mut it, &Version::now(), "2").await?;
    promote(
        &it,
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    )
    .await?;
    change_to(&mut it, &Version::before()?, "3").await?;
    promote(
        &it,
        it.postgres.replica(0),
        it.postgres.replica(1),
        it.postgres.primary(),
    )
    .await?;
    change_to(&mut it, &Version::now(), "4").await?;
    let servers = [
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    ];
    let mut way = writes.sets();
    way.retain(|set| !set.is_empty());
    way.dedup();
    ensure!(way == servers.map(|server| addresses(&[server])), "{way:?}");
    Ok(())
}

/// Where the two decide alike, nothing is written twice; where they tell something in other words, one pauses.
async fn second_installation(plane: Arc<ControlPlane>) -> Result<()> {
    const MOST: usize = 40;
    let it = routed(plane).await?;
    Version::now().install(&it.plane).await?;
    fixture::prepare(&it.plane, &it.namespace).await?;
    let way = it.follow("rw").await?;
    let kubeconfig = it
        .plane
        .service_account_kubeconfig(&it.namespace, "operator")
        .await?;
    let second = Operator::builder(&kubeconfig)
        .namespace(&it.namespace)
        .args(["--leader-elect", "--lease-name=second"])
        .env("POD_NAMESPACE", &it.namespace)
        .env("POD_NAME", "second")
        .start()
        .await?;
    second.answers("/readyz").await?;
    let user = service_account_user(&it.namespace, "operator");
    let written = || {
        let of_second = it.plane.audit_of(&user)?.into_iter();
        let of_second = of_second.filter(|event| event.is_write() && counts(event));
        anyhow::Ok(writes(&it)?.into_iter().chain(of_second).collect::<Vec<_>>())
    };
    let before = written()?.len();
    wait::pass(LONG, "a fight is seen by how much is written").await;
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    wait::pass(LONG, "a fight is seen by how much is written").await;
    let targets: Vec<_> = written()?[before..].iter().map(AuditEvent::target).collect();
    ensure!(targets.len() <= MOST, "{} writes: {targets:?}", targets.len());
    let sets = way.sets();
    ensure!(
        sets.iter().all(|set| *set == addresses(&[it.postgres.primary()])),
        "{sets:?}"
    );
    Ok(())
}
