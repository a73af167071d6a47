//! Patroni as it is: a switchover, the loss of a primary, and its return.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::{DATABASE, Member, Patroni};
use harness::suite::Suite;
use harness::{ControlPlane, watch};
use serde_json::{Value, json};

use crate::fixture::{Fixture, POLICY};
use crate::installed;

/// Patroni waits 20 s for a primary that is gone, and a member that starts again rewinds its data.
const LONG: Duration = Duration::from_mins(2);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test("writes_follow_patroni_and_never_go_back", follow)
}

fn policy(cluster: &Patroni) -> Value {
    let replica = |(number, member): (usize, &Member)| json!({"id": format!("replica-{number}"), "host": member.address()});
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": POLICY},
        "spec": {
            "connection": {"database": DATABASE, "credentialsSecretRef": {"name": "probe"}, "tls": {"mode": "Disable"}},
            "primary": {"host": cluster.member(0).address()},
            "replicas": cluster.members().iter().enumerate().skip(1).map(replica).collect::<Vec<_>>(),
        },
    })
}

async fn leads(it: &Fixture, route: &str, members: &[&Member]) -> Result<()> {
    watch::routes(
        &it.slices(),
        &format!("{POLICY}-{route}"),
        &addresses(members),
        LONG,
    )
    .await
}

fn addresses(members: &[&Member]) -> BTreeSet<String> {
    members
        .iter()
        .map(|member| member.address().to_string())
        .collect()
}

async fn follow(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 0).await?;
    let cluster = Patroni::start("orders", 2, &installed().join("patroni")).await?;
    let [first, second, third] = [0, 1, 2].map(|number| cluster.member(number));
    it.apply(&policy(&cluster)).await?;
    it.serves().await?;
    leads(&it, "rw", &[first]).await?;
    leads(&it, "ro", &[second, third]).await?;
    let writes = it.follow("rw").await?;

    cluster.switch_over(first, second).await?;
    leads(&it, "rw", &[second]).await?;
    leads(&it, "ro", &[first, third]).await?;
    second
        .sql("create table after_switchover as select 1 as i")
        .await?;

    second.kill()?;
    // Whoever of the two Patroni promotes.
    let new = tokio::select! {
        new = async { first.is("/primary").await.map(|()| first) } => new?,
        new = async { third.is("/primary").await.map(|()| third) } => new?,
    };
    let other = if new.address() == first.address() {
        third
    } else {
        first
    };
    leads(&it, "rw", &[new]).await?;
    leads(&it, "ro", &[other]).await?;
    new.sql("create table after_crash as select 1 as i").await?;
    second.start()?;
    second.is("/replica").await?;
    leads(&it, "ro", &[second, other]).await?;
    leads(&it, "rw", &[new]).await?;
    it.serves().await?;

    // Withdrawn in between or not, each led once.
    let mut seen = writes.sets();
    seen.retain(|set| !set.is_empty());
    seen.dedup();
    let order = [first, second, new].map(|member| addresses(&[member]));
    ensure!(seen == order, "the writes went to {seen:?}");
    let timeline = it.get().await?.status.and_then(|status| status.memory?.timeline);
    ensure!(timeline == Some(3), "{timeline:?}");
    Ok(())
}
