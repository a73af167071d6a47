//! A rolling update: a new operator is started and ready before an old one is ended, and servers fail meanwhile.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, Operator, wait};

use crate::fixture::{SOON, addresses};
use crate::pair::{Pair, account, operator, way};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test(
        "servers_that_fail_during_a_rolling_update_are_followed_and_one_writes_at_a_time",
        rolling_update,
    )
}

async fn rolling_update(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane, 3).await?;
    let it = &pair.it;
    let [old, new] = [it.postgres.primary(), it.postgres.replica(0)];
    let [other, dead] = [it.postgres.replica(1), it.postgres.replica(2)];
    let writes = it.follow("rw").await?;

    let third = ready(&pair, "third").await?;
    let (stopped, died) = tokio::join!(it.operator.stop(), dead.kill());
    stopped.and(died)?;
    it.leads("ro", &[new, other], SOON).await?;

    let fourth = ready(&pair, "fourth").await?;
    let (stopped, died) = tokio::join!(pair.second.stop(), old.kill());
    stopped.and(died)?;
    new.promote().await?;
    other.follow(new)?;
    it.leads("rw", &[new], SOON).await?;
    it.leads("ro", &[other], SOON).await?;
    old.start().await?;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    ensure!(
        way(&writes) == [addresses(&[old]), addresses(&[new])],
        "{:?}",
        writes.sets()
    );

    wait::eventually("one to lead", SOON, || async {
        let both = (third.leads().await?, fourth.leads().await?);
        ensure!(both.0 != both.1, "{both:?}");
        anyhow::Ok(())
    })
    .await?;
    pair.one_writes_at_a_time(&["operator", "second", "third", "fourth"])
}

/// A new one that may take over.
async fn ready(pair: &Pair, name: &str) -> Result<Operator> {
    let (it, account) = (&pair.it, account(name, &pair.it.namespace));
    it.plane.apply(&it.namespace, &account.to_string()).await?;
    let operator = operator(it, name).await?;
    operator.answers("/readyz").await?;
    Ok(operator)
}
