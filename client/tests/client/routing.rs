//! Where requests go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Credentials, Destination, Priority, Query, Router, Session};
use harness::postgres::APP;
use harness::{PgCluster, node, wait};
use serde_json::json;

use crate::fixture::{builder, embedded, served, spec, warm, whoami};

pub async fn reads_go_to_replicas_in_read_only_sessions() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let router = embedded(&cluster).await?;
    let by = served(&router, &Query::new(), 100).await?;
    ensure!(
        by.get("replica-0") == Some(&50) && by.get("replica-1") == Some(&50),
        "{by:?}"
    );
    // A read that the policy leads to the primary is read-only there, too.
    let critical = Query::new().with_priority(Priority::Critical);
    let mode = |session: Session| async move {
        let row = session
            .query_one("show default_transaction_read_only", &[])
            .await?;
        Ok((session.endpoint().to_owned(), row.get::<_, String>(0)))
    };
    let on = ("primary".to_owned(), "on".to_owned());
    let preferring = Query::new().prefer_primary();
    ensure!(router.read(preferring.clone(), mode).await? == on);
    let write =
        |session: Session| async move { session.execute("insert into note (body) values ('r')", &[]).await };
    let refused = router
        .read(preferring.clone(), write)
        .await
        .err()
        .context("a read wrote")?;
    ensure!(
        refused.sqlstate().is_some_and(|state| state.code() == "25006"),
        "{refused}"
    );
    // The same pool serves writes, and reads after them.
    ensure!(router.write("create", write).await? == 1);
    ensure!(router.read(preferring, mode).await? == on, "after a write");
    let explained = router.explain(critical)?;
    ensure!(!explained.read, "it says nothing of reading: {explained:?}");
    let explained = router.explain("dashboard")?;
    ensure!(explained.read && explained.route == "analytics", "{explained:?}");
    ensure!(explained.destination == Destination::Replicas, "{explained:?}");
    // The name of the operation is shown to whoever looks at the sessions.
    let name = |session: Session| async move {
        let row = session.query_one("show application_name", &[]).await?;
        Ok(row.get::<_, String>(0))
    };
    let shown = router.read("it's a 'report", name).await?;
    ensure!(shown == "distributary-client/it's_a_'report", "{shown}");
    ensure!(router.read(Query::new(), name).await? == "distributary-client");
    let health = router.health();
    ensure!(
        (health.healthy_replicas, health.total_replicas, health.primary) == (2, 2, true),
        "{health:?}"
    );
    Ok(())
}

pub async fn weights_are_obeyed_for_every_query() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let mut spec = spec(&cluster);
    spec["loadBalancing"] = json!({"strategy": "Weighted"});
    spec["replicas"][0]["weight"] = json!(3);
    let router = warm(builder(&spec)?.connect().await?).await?;
    let by = served(&router, &Query::new(), 400).await?;
    // Each thread has turns of its own.
    let first = by.get("replica-0").copied().unwrap_or_default();
    ensure!((290..=310).contains(&first), "{by:?}");
    Ok(())
}

pub async fn the_policy_changes_at_run_time() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let router = embedded(&cluster).await?;
    let disabled = |spec: &mut distributary_client::api::ReplicaSetPolicySpec| {
        spec.replicas[1].state = Some(distributary_client::api::EndpointState::Disabled);
    };
    router.change_policy(disabled)?;
    wait::eventually("the replica to leave", Duration::from_secs(10), || async {
        let by = served(&router, &Query::new(), 4).await?;
        ensure!(by.len() == 1 && by.contains_key("replica-0"), "{by:?}");
        Ok(())
    })
    .await?;
    let refused = router.change_policy(|spec| spec.replicas[0].id = None);
    ensure!(refused.is_err_and(|error| error.to_string().contains("spec.replicas[0].id")));
    router.change_policy(|spec| spec.replicas[1].state = None)?;
    wait::eventually("the replica to come back", Duration::from_secs(20), || async {
        let by = served(&router, &Query::new(), 4).await?;
        ensure!(by.len() == 2, "{by:?}");
        Ok(())
    })
    .await?;
    Ok(())
}

pub async fn a_file_is_followed_and_a_bad_one_changes_nothing() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let table = embedded(&cluster).await?.table();
    // As the kubelet mounts a ConfigMap.
    let folder = node::data_subdir("mounted")?.join(cluster.primary().name());
    let publish = |version: u32, text: &str| -> Result<()> {
        let data = folder.join(format!("..{version}"));
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join("routing.json"), text)?;
        let link = folder.join("..data_tmp");
        std::os::unix::fs::symlink(format!("..{version}"), &link)?;
        std::fs::rename(link, folder.join("..data"))?;
        Ok(())
    };
    publish(1, &table.text())?;
    std::os::unix::fs::symlink("..data/routing.json", folder.join("routing.json"))?;
    let router = Router::builder()
        .routing_file(folder.join("routing.json"))
        .credentials(Credentials::new(APP.user, APP.password))
        .connect()
        .await?;
    ensure!(served(&router, &Query::new(), 10).await?.len() == 2);
    ensure!(
        router.change_policy(|_| ()).is_err(),
        "the policy is the operator's"
    );
    publish(2, "{\"version\": \"routing.distributary.dev/v9\"}")?;
    wait::eventually("the bad table to be told", Duration::from_secs(5), || async {
        router.stats().refused_tables == 1
    })
    .await?;
    ensure!(
        served(&router, &Query::new(), 10).await?.len() == 2,
        "the table before serves"
    );
    let mut less = table.clone();
    for route in less.routes.values_mut() {
        route.targets.retain(|target| target.endpoint != "replica-1");
    }
    less.revision = less.digest();
    publish(3, &less.text())?;
    wait::eventually("the newer table", Duration::from_secs(5), || async {
        router.table().revision == less.revision
    })
    .await?;
    let by = served(&router, &Query::new(), 10).await?;
    ensure!(by.get("replica-0") == Some(&10), "{by:?}");
    let left = cluster.replica(1);
    wait::eventually("its idle connections to close", Duration::from_secs(5), || async {
        let sessions = "select count(*) from pg_stat_activity where usename = 'app' and application_name = 'distributary-client'";
        let sessions = left.sql(sessions).await?;
        ensure!(sessions == "0", "{sessions}");
        Ok(())
    })
    .await?;
    ensure!(router.read(Query::new(), whoami).await? == cluster.replica(0).address().to_string());
    Ok(())
}
