//! Edits while it runs: others never notice.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, Postgres, wait};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, endpoint};
use crate::reads::{reader, served_by};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test(
        "replicas_are_added_removed_disabled_enabled_drained_and_weighed_without_a_lost_read",
        edits,
    )
}

/// From Observe to Enforce, then one edit after the other, while a client reads that never tries a second time.
async fn edits(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let [one, two, three] = [0, 1, 2].map(|number| it.postgres.replica(number));
    let mut policy = it.policy();
    let all = policy["spec"]["replicas"].clone();
    policy["spec"]["replicas"] = json!([all[0], all[1]]);
    policy["spec"]["mode"] = json!("Observe");
    it.apply(&policy).await?;
    it.condition("Programmed", "False", "Observing").await?;
    it.patch(json!({"spec": {"mode": "Enforce"}})).await?;
    it.condition("Ready", "True", "Routable").await?;
    served_by(&it, "ro", &[one, two]).await?;
    let reader = reader(&it, "ro").await?;

    let set = async |replicas: Value, servers: &[&Postgres]| {
        it.patch(json!({"spec": {"replicas": replicas}})).await?;
        served_by(&it, "ro", servers).await
    };
    let second = |field: &str, value: Value| {
        let mut changed = all.clone();
        changed[1][field] = value;
        changed
    };
    set(all.clone(), &[one, two, three]).await?;
    set(second("state", json!("Disabled")), &[one, three]).await?;
    it.endpoint("replica-2", "Disabled", SOON).await?;
    set(all.clone(), &[one, two, three]).await?;
    drain(&it, two, async || {
        set(second("state", json!("Draining")), &[one, three]).await
    })
    .await?;
    set(all.clone(), &[one, two, three]).await?;
    set(json!([all[1], all[2]]), &[two, three]).await?;
    it.until("replica-1 to leave the status", SOON, |policy| {
        endpoint(policy, "replica-1").is_none()
    })
    .await?;
    set(all.clone(), &[one, two, three]).await?;
    set(second("weight", json!(0)), &[one, three]).await?;
    it.endpoint("replica-2", "WeightZero", SOON).await?;
    it.patch(json!({"spec": {"loadBalancing": {"strategy": "Weighted"}}}))
        .await?;
    set(second("weight", json!(7)), &[one, two, three]).await?;
    it.until("replica-2 to weigh 700", SOON, |policy| {
        endpoint(policy, "replica-2").is_some_and(|is| is.server.effective_weight == 700)
    })
    .await?;

    let totals = reader.stop();
    ensure!(totals.failures == 0, "reads were lost: {totals:?}");
    // An edit of others did not start the probe of the one that stayed anew.
    ensure!(
        it.operator.log().matches("\"endpoint\":\"replica-3\"").count() <= 3,
        "replica-3 noticed"
    );
    Ok(())
}

/// A session on a server that drains is counted and let alone.
async fn drain(it: &Fixture, server: &Postgres, edit: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    const SLEEPING: &str = "from pg_stat_activity where query = 'select pg_sleep(601)'";
    let client = tokio::spawn(server.background_sql("select pg_sleep(601)"));
    wait::eventually("the client", SOON, || async {
        let asleep = server.sql(&format!("select count(*) {SLEEPING}")).await?;
        ensure!(asleep == "1", "{asleep} clients");
        anyhow::Ok(())
    })
    .await?;
    edit().await?;
    let left = |count| {
        it.until("the sessions that are left", SOON, move |policy| {
            endpoint(policy, "replica-2")
                .filter(|is| is.server.reason == "Draining" && is.sessions == Some(count))
                .cloned()
        })
    };
    left(1).await?;
    ensure!(!client.is_finished(), "it was not let alone");
    server
        .sql(&format!("select pg_terminate_backend(pid) {SLEEPING}"))
        .await?;
    left(0).await.map(drop)
}
