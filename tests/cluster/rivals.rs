//! Two installations of the operator, each with a Lease and a ServiceAccount of its own, over one namespace.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::{AuditEvent, service_account_user};
use harness::suite::Suite;
use harness::{ControlPlane, Operator, wait};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::fixture::{Fixture, SOON, condition};
use crate::pair::account;

/// After the first pause the one that prevails waits for twice as long before it says that all is well.
const END: Duration = Duration::from_secs(150);
const READS: &str = "orders-ro-ipv4-5432";

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .waiting_test(
            "two_installations_that_disagree_write_a_handful_of_times_and_say_so",
            disagree,
        )
        .test("a_second_installation_that_agrees_writes_nothing", agree)
        .waiting_test("what_people_take_away_is_put_back_and_is_no_rival", take_away)
}

/// An operator that leads by the Lease of the name of its account.
async fn installation(it: &Fixture, account: &str, arguments: &[&str]) -> Result<Operator> {
    let kubeconfig = it
        .plane
        .service_account_kubeconfig(&it.namespace, account)
        .await?;
    let lease = format!("--lease-name={account}");
    Operator::builder(&kubeconfig)
        .namespace(&it.namespace)
        .args(["--leader-elect", "--lease-duration=3s", "--renew-deadline=2s"])
        .args(["--retry-period=500ms", &lease])
        .args(arguments.iter().copied())
        .env("POD_NAMESPACE", &it.namespace)
        .env("POD_NAME", account)
        .start()
        .await
}

/// The first installation alone, with a policy of all servers, which is routed.
async fn first(plane: Arc<ControlPlane>) -> Result<Fixture> {
    let mut it = Fixture::start(plane, 2).await?;
    it.operator.kill();
    it.plane
        .apply(&it.namespace, &account("second", &it.namespace).to_string())
        .await?;
    it.operator = installation(&it, "operator", &[]).await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.condition("Reconciling", "False", "Settled").await?;
    Ok(it)
}

/// What this account wrote, or tried to, but for its Lease.
fn writes(it: &Fixture, account: &str) -> Result<Vec<AuditEvent>> {
    let user = service_account_user(&it.namespace, account);
    let events = it.plane.audit_of(&user)?.into_iter();
    Ok(events
        .filter(|event| event.is_write() && event.resource != "leases")
        .collect())
}

async fn disagree(plane: Arc<ControlPlane>) -> Result<()> {
    let it = first(plane).await?;
    let before = writes(&it, "operator")?.len();
    let denied = format!("--deny-cidrs={}/32", it.postgres.replica(1).address());
    let second = installation(&it, "second", &[&denied]).await?;
    // Each names the other one once it has seen a status of it.
    let leases = ["operator", "second"].map(|lease| format!("{}/{lease}", it.namespace));
    it.until("both to be named", SOON, |policy| {
        let told = condition(policy, "Programmed").filter(|it| it.reason == "ForeignOperator")?;
        let named = leases.iter().all(|lease| told.message.contains(lease));
        named.then_some(())
    })
    .await?;
    it.condition("Ready", "False", "NotProgrammed").await?;
    wait::pass(
        Duration::from_secs(15),
        "that both stop writing is only seen by its absence",
    )
    .await;
    let mut fought = writes(&it, "operator")?.split_off(before);
    fought.extend(writes(&it, "second")?);
    let slices: Vec<_> = fought
        .iter()
        .filter(|event| event.resource == "endpointslices")
        .collect();
    ensure!(
        slices.len() <= 16,
        "{} writes of slices: {slices:?}",
        slices.len()
    );
    ensure!(fought.len() <= 60, "{} writes: {fought:?}", fought.len());
    let primary = it.postgres.primary().address().to_string();
    ensure!(it.now("rw").await?.contains(&primary), "the writes moved");

    second.kill();
    it.until("ForeignOperator to end", END, |policy| {
        condition(policy, "Programmed")
            .filter(|it| it.reason == "Programmed")
            .map(|_| ())
    })
    .await?;
    let both = [it.postgres.replica(0), it.postgres.replica(1)];
    it.leads("ro", &both, SOON).await?;
    // What people edit is put right, however often.
    for number in 1..=5 {
        let edit = json!({"endpoints": [{"addresses": [format!("203.0.113.{number}")]}]});
        let person = PatchParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PatchParams::default()
        };
        it.slices().patch(READS, &person, &Patch::Merge(edit)).await?;
        it.leads("ro", &both, SOON).await?;
    }
    it.condition("Programmed", "True", "Programmed").await?;
    Ok(())
}

async fn agree(plane: Arc<ControlPlane>) -> Result<()> {
    let it = first(plane).await?;
    let second = installation(&it, "second", &[]).await?;
    second.answers("/readyz").await?;
    wait::pass(
        Duration::from_secs(8),
        "that the second one writes nothing is only seen by its absence",
    )
    .await;
    let wrote = writes(&it, "second")?;
    ensure!(wrote.is_empty(), "{wrote:?}");
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    it.condition("Programmed", "True", "Programmed").await?;
    Ok(())
}

/// Of what is only taken away `managedFields` name no writer.
async fn take_away(plane: Arc<ControlPlane>) -> Result<()> {
    let it = first(plane).await?;
    let both = [it.postgres.replica(0), it.postgres.replica(1)];
    let person = PatchParams {
        field_manager: Some("kubectl-patch".to_owned()),
        ..PatchParams::default()
    };
    let edits = [
        json!({"metadata": {"labels": {"distributary.dev/route": null}}}),
        json!({"metadata": {"ownerReferences": null}}),
        json!({"endpoints": null}),
    ];
    for edit in edits {
        for _ in 0..4 {
            let left = it.slices().patch(READS, &person, &Patch::Merge(&edit)).await?;
            let version = left.metadata.resource_version;
            wait::eventually("the slice to be put right", SOON, || async {
                let slice = it.slices().get(READS).await?;
                let is_whole = slice.labels().contains_key("distributary.dev/route")
                    && !slice.owner_references().is_empty()
                    && slice.endpoints.len() == both.len();
                ensure!(
                    is_whole && slice.metadata.resource_version != version,
                    "{slice:?}"
                );
                Ok(())
            })
            .await?;
        }
    }
    it.leads("ro", &both, SOON).await?;
    it.condition("Programmed", "True", "Programmed").await?;
    let metrics = it.operator.http_get("/metrics").await?.body;
    let undone = metrics
        .lines()
        .find(|line| line.starts_with("distributary_undone_writes_total"));
    ensure!(undone.is_none_or(|line| line.ends_with(" 0")), "{undone:?}");
    Ok(())
}
