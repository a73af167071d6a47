//! Two operators and one Lease: one writes, and the other one takes over.

mod splits;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, Operator};

use crate::fixture::{Fixture, SOON};
use crate::pair::{DURATION, Pair, follows, leads};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    let suite = suite
        .test(
            "of_two_operators_one_leads_and_a_handover_writes_the_lease_alone",
            handover,
        )
        .test("a_leader_that_is_killed_is_replaced_within_its_lease", killed)
        .test(
            "a_leader_that_was_frozen_beyond_its_lease_writes_nothing_and_follows",
            frozen,
        )
        .test(
            "a_process_without_a_right_to_the_lease_says_so_and_writes_nothing",
            refused,
        );
    splits::tests(suite)
}

async fn handover(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane, 2).await?;
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

async fn killed(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane, 2).await?;
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
    let pair = Pair::start(plane, 2).await?;
    let first = pair.it.operator.daemon();
    first.freeze()?;
    pair.taken_over().await?;
    let before = pair.writes(pair.leader)?.len();
    pair.it.postgres.replica(0).kill().await?;
    pair.it.leads("ro", &[pair.it.postgres.replica(1)], SOON).await?;
    first.thaw()?;
    // It sees the dead server by itself, and would withdraw it.
    follows(&pair.it.operator).await?;
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
