//! The way of the writes after a promotion.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::ControlPlane;
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};

use crate::fixture::{Fixture, SOON, addresses};

const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);
const BOUND: Duration = Duration::from_secs(2);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test_alone(
            "writes_follow_a_promotion_within_two_seconds_of_it",
            after_the_timeout,
        )
        .test_alone(
            "writes_follow_an_early_promotion_within_two_seconds_of_the_failover_timeout",
            at_once,
        )
}

async fn after_the_timeout(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    it.postgres.primary().stop(Shutdown::Immediate).await?;
    wait::pass(
        FAILOVER_TIMEOUT + Duration::from_secs(1),
        "the primary is lost for longer than the policy waits",
    )
    .await;
    promoted(&it, BOUND).await
}

async fn at_once(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    it.postgres.primary().stop(Shutdown::Immediate).await?;
    promoted(&it, FAILOVER_TIMEOUT + BOUND).await
}

/// Promotes the first replica; the writes follow, and never lead to a standby or to two servers.
async fn promoted(it: &Fixture, bound: Duration) -> Result<()> {
    let [old, new, other] = [
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    ];
    let (writes, reads) = (it.follow("rw").await?, it.follow("ro").await?);
    ensure!(writes.sets() == [addresses(&[old])], "{:?}", writes.sets());
    let began = Stopwatch::start();
    new.promote().await?;
    let watch = Stopwatch::start();
    let moment = writes.leads_to(&addresses(&[new]), SOON).await?;
    let (moved, earliest) = (watch.until(moment), began.until(moment));
    println!("pg_promote, to the watch event of the writes: {moved:.1?}");
    ensure!(
        moved <= bound && !earliest.is_zero(),
        "it moved {moved:?} after the promotion, {earliest:?} after its begin"
    );
    reads.leads_to(&addresses(&[other]), SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    let seen = writes.sets();
    let allowed = [BTreeSet::new(), addresses(&[old]), addresses(&[new])];
    ensure!(seen.iter().all(|set| allowed.contains(set)), "{seen:?}");
    ensure!(
        reads
            .sets()
            .iter()
            .all(|set| set.contains(&other.address().to_string())),
        "a standby of the old timeline lost its reads: {:?}",
        reads.sets()
    );
    Ok(())
}
