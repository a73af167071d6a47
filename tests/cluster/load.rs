//! Shares that follow the load of the servers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use serde_json::json;

use crate::fixture::{Fixture, POLICY, condition};

/// Two changes of a share are 10 s apart: for the second one of them.
const STEP: Duration = Duration::from_secs(40);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.waiting_test(
        "least_connections_follows_the_load_of_pgbench_and_does_not_flap",
        follows_load,
    )
}

/// The shares of the two replicas in routing.json.
async fn shares(it: &Fixture) -> Result<[u64; 2]> {
    let routing = it.routing().await?;
    let share = |id: &str| {
        let mut targets = routing["routes"]["ro"]["targets"].as_array()?.iter();
        targets.find(|target| target["endpoint"] == id)?["weight"].as_u64()
    };
    let both = share("replica-1").zip(share("replica-2"));
    both.map(Into::into)
        .with_context(|| format!("not both: {routing}"))
}

async fn follows_load(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = it.policy();
    policy["spec"]["healthCheck"]["heartbeat"] = json!("200ms");
    policy["spec"]["loadBalancing"] = json!({"strategy": "LeastConnections"});
    for replica in 0..2 {
        policy["spec"]["replicas"][replica]["maxConnections"] = json!(20);
    }
    it.apply(&policy).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    ensure!(shares(&it).await? == [100, 100], "{:?}", shares(&it).await?);
    ensure!(
        condition(&it.get().await?, "StrategyEnforced")
            .is_some_and(|is| is.status == "False" && is.reason == "ServicesSpreadEvenly"),
        "kube-proxy knows no weights"
    );

    // 12 of 20 connections stay, another one comes and goes: 60 and 65 %, about the edge of a step.
    let busy = it.postgres.replica(0);
    let steady = busy.pgbench("select count(*) from note", &["--client=12", "--rate=50"])?;
    let coming_and_going = busy.pgbench("select pg_sleep(0.3)", &["--client=1", "--connect", "--rate=2"])?;
    wait::eventually("the share of the busy one to fall", STEP, || async {
        let both = shares(&it).await?;
        ensure!(both == [16, 100] || both == [12, 100], "{both:?}");
        anyhow::Ok(())
    })
    .await?;
    let (before, written) = (shares(&it).await?, writes_of_shares(&it)?);
    wait::throughout("the shares rest", Duration::from_secs(22), || async {
        let now = shares(&it).await?;
        ensure!(now == before, "{before:?} before, {now:?} now");
        anyhow::Ok(())
    })
    .await?;
    ensure!(writes_of_shares(&it)? == written, "the ConfigMap was written");
    ensure!(
        steady.is_running() && coming_and_going.is_running(),
        "pgbench ended: {} {}",
        steady.log(),
        coming_and_going.log()
    );
    // A share is for clients that know of shares: in the slice both are.
    it.leads("ro", &[busy, it.postgres.replica(1)], STEP).await?;

    drop((steady, coming_and_going));
    wait::eventually("the share to return", STEP, || async {
        let both = shares(&it).await?;
        ensure!(both == [100, 100], "{both:?}");
        anyhow::Ok(())
    })
    .await
}

fn writes_of_shares(it: &Fixture) -> Result<usize> {
    let target = format!("configmaps {POLICY}-routing");
    Ok(it
        .writes()?
        .iter()
        .filter(|write| write.ends_with(&target))
        .count())
}
