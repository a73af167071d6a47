//! Two operators and one Lease: one writes, and the other one takes over.

mod gaps;
mod rolling;
mod splits;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::service_account_user;
use harness::suite::Suite;
use harness::{ControlPlane, Operator, wait};

use crate::fixture::{Fixture, SOON};
use crate::pair::Pair;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    let suite = suite
        .test(
            "of_two_operators_one_leads_and_a_handover_writes_the_lease_alone",
            handover,
        )
        .waiting_test("two_operators_write_the_lease_alone_while_nothing_happens", idle)
        .test(
            "a_process_without_a_right_to_the_lease_says_so_and_writes_nothing",
            refused,
        );
    let suite = gaps::tests(suite);
    let suite = rolling::tests(suite);
    splits::tests(suite)
}

async fn handover(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane, 2).await?;
    ensure!(
        pair.it.operator.leads().await? && !pair.second.leads().await?,
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
    ensure!(pair.second.leads().await?, "it holds the Lease and does not lead");
    // It decided the same as the leader, and changed nothing by it.
    let log = pair.second.log();
    for told in ["route changed", "endpoint changed"] {
        ensure!(!log.contains(told), "a follower logs what it did not do:\n{log}");
    }
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
    let pair = Pair::start(plane, 2).await?;
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
        .args(["--renew-deadline=2s", "--retry-period=500ms"])
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
    let user = service_account_user(&it.namespace, "operator");
    wait::eventually("the Lease to be read several times", SOON, || async {
        let events = it.plane.audit_of(&user)?.into_iter();
        let reads = events.filter(|event| event.resource == "leases" && event.verb == "get");
        let reads = reads.count();
        ensure!(reads >= 5, "{reads}");
        anyhow::Ok(())
    })
    .await?;
    let log = barred.log();
    let told = log.matches("needs a Role").count();
    ensure!(told == 1, "the log names the right {told} times:\n{log}");
    ensure!(!barred.leads().await?, "it leads without the Lease");
    Ok(())
}
