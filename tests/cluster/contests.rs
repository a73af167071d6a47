//! A replica that is promoted while the primary is silent, or beside it. Times are those of the fixture's quick policy, unless
//! said otherwise: failoverTimeout 900 ms.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::{ControlPlane, wait};

use crate::fixture::{Fixture, SOON, addresses};

/// Several times failoverTimeout.
const LONG: Duration = Duration::from_secs(4);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_replica_promoted_beside_the_primary_does_not_get_the_writes_when_that_restarts",
            contested,
        )
        .test(
            "a_replica_promoted_half_a_second_after_the_primary_froze_gets_the_writes",
            frozen,
        )
}

async fn contested(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = Fixture::at_quick(plane, 2).await?;
    let promoted = it.postgres.replica(0).socket().to_string();
    let writes = it.follow("rw").await?;
    it.postgres.replica(0).promote().await?;
    it.until("the contest to be remembered", SOON, |policy| {
        let memory = policy.status.as_ref()?.memory.as_ref()?;
        (memory.contested == [promoted.as_str()]).then_some(())
    })
    .await?;
    it.postgres.primary().stop(Shutdown::Fast).await?;
    it.condition("PrimaryReachable", "False", "NotReachable").await?;
    wait::pass(LONG, "a primary that restarts takes so long").await;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    // A process that starts now finds the primary silent and the other one writable.
    it.restart_operator().await?;
    wait::pass(LONG, "it would lead the writes elsewhere by then").await;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    it.postgres.primary().start().await?;
    it.condition("PrimaryReachable", "True", "Writable").await?;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    let primary = addresses(&[it.postgres.primary()]);
    ensure!(
        writes.sets() == [primary],
        "the writes went elsewhere: {:?}",
        writes.sets()
    );
    Ok(())
}

/// The primary is silent from before the promotion on: that is a failover, and no contest. At default heartbeats and a
/// failoverTimeout of 3 s the primary is not known to be lost when the replica is promoted.
async fn frozen(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (old, new) = (it.postgres.primary(), it.postgres.replica(0));
    let writes = it.follow("rw").await?;
    old.freeze()?;
    wait::pass(
        Duration::from_millis(500),
        "so soon no failover manager has missed it",
    )
    .await;
    new.promote().await?;
    writes.leads_to(&addresses(&[new]), SOON).await?;
    // When it goes on it is an old primary.
    old.thaw()?;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    ensure!(
        writes.sets() == [addresses(&[old]), addresses(&[new])],
        "the writes went another way: {:?}",
        writes.sets()
    );
    Ok(())
}
