//! Connections after a request: those that are well go back, and take nothing along.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Credentials, Query, Router, Session};
use futures::future::try_join_all;
use harness::postgres::APP;
use harness::{PgCluster, node, wait};
use tokio::task::JoinSet;

use crate::fixture::embedded;

/// Reads of one after the other.
const READS: usize = 500;

pub async fn connections_that_are_well_go_back() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let mut processes = BTreeSet::new();
    let process = |session: Session| async move {
        let row = session.query_one("select pg_backend_pid()", &[]).await?;
        Ok(row.get::<_, i32>(0))
    };
    for _ in 0..READS {
        processes.insert(router.read(Query::new(), process).await?);
    }
    ensure!(
        processes.len() <= 3,
        "{} sessions for {READS} reads",
        processes.len()
    );
    // Of those that many readers needed one is enough for one reader: the others are idle.
    let sleep = |session: Session| async move { session.batch_execute("select pg_sleep(0.1)").await };
    try_join_all((0..5).map(|_| router.read(Query::new(), sleep))).await?;
    processes.clear();
    for _ in 0..20 {
        processes.insert(router.read(Query::new(), process).await?);
    }
    ensure!(processes.len() == 1, "{processes:?}");
    // Those whose state has to be reset, too, on a standby.
    processes.clear();
    for _ in 0..20 {
        let run = |session: Session| async move {
            session.execute("set my.tenant = 'a'", &[]).await?;
            let row = session.query_one("select pg_backend_pid()", &[]).await?;
            Ok((session.endpoint().to_owned(), row.get::<_, i32>(0)))
        };
        let (endpoint, process) = router.read(Query::new(), run).await?;
        ensure!(endpoint == "replica-0", "{endpoint}");
        processes.insert(process);
    }
    ensure!(processes.len() <= 4, "{processes:?}");
    Ok(())
}

pub async fn the_state_of_a_session_stays_with_its_request() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let primary = || Query::new().prefer_primary();
    let statements = [
        "set default_transaction_read_only = off",
        "set my.tenant = 'a'",
        "listen events",
        "create temp table mine (n int)",
        "create temp table copied as select 1 as n",
        "select 1 as n into temp into_mine",
        "prepare plan as select 1",
        "declare held cursor with hold for select 1",
        "do $$ begin perform set_config('my.block', 'a', false); end $$",
    ];
    for batch in [true, false] {
        for statement in statements {
            // Nothing may write before the first one lets it.
            let allowed = "set default_transaction_read_only = off";
            router
                .read(primary(), |session: Session| async move {
                    session.batch_execute(allowed).await?;
                    if batch {
                        session.batch_execute(statement).await
                    } else {
                        session.execute(statement, &[]).await.map(drop)
                    }
                })
                .await
                .context(statement)?;
        }
    }
    let look = |session: Session| async move {
        let state = "select current_setting('my.tenant', true), current_setting('default_transaction_read_only'), \
            (select count(*) from pg_listening_channels()), (select count(*) from pg_cursors where name = 'held'), \
            (select count(*) from pg_prepared_statements where name = 'plan'), pg_my_temp_schema() <> 0 and exists (select from pg_class where relnamespace = pg_my_temp_schema()), \
            current_setting('my.block', true)";
        let row = session.query_one(state, &[]).await?;
        let text = |at: usize| row.get::<_, Option<String>>(at).filter(|text| !text.is_empty());
        let counts: [i64; 3] = [row.get(2), row.get(3), row.get(4)];
        let temporary: bool = row.get(5);
        Ok((text(0), text(1), counts, temporary, text(6)))
    };
    let clean = (None, Some("on".to_owned()), [0; 3], false, None);
    // At once, so that no connection is left out.
    for seen in try_join_all((0..10).map(|_| router.read(primary(), look))).await? {
        ensure!(seen == clean, "{seen:?}");
    }
    let insert =
        |session: Session| async move { session.execute("insert into note (body) values ('x')", &[]).await };
    let refused = router.read(primary(), insert).await.err().context("it wrote")?;
    ensure!(
        refused.sqlstate().is_some_and(|state| state.code() == "25006"),
        "{refused:?}"
    );
    Ok(())
}

/// A router of a table in which a server takes so many sessions.
async fn small(cluster: &PgCluster, sessions: u32) -> Result<Router> {
    let mut table = embedded(cluster).await?.table();
    for endpoint in &mut table.endpoints {
        endpoint.max_connections = sessions;
    }
    table.revision = table.digest();
    let folder = node::data_subdir("returned")?.join(cluster.primary().name());
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("routing.json");
    std::fs::write(&file, table.text())?;
    let credentials = Credentials::new(APP.user, APP.password);
    Ok(Router::builder()
        .routing_file(&file)
        .credentials(credentials)
        .connect()
        .await?)
}

pub async fn every_statement_of_a_crowd_is_cancelled() -> Result<()> {
    let cluster = PgCluster::builder()
        .replicas(1)
        .setting("max_connections", "300")
        .start()
        .await?;
    let router = small(&cluster, 120).await?;
    let mut crowd = JoinSet::new();
    for _ in 0..120 {
        let router = router.clone();
        crowd.spawn(async move {
            let sleep = |session: Session| async move { session.query("select pg_sleep(60)", &[]).await };
            router
                .write(Query::new().within(Duration::from_secs(60)), sleep)
                .await
                .map(drop)
        });
    }
    let sleeping = |wanted: &'static str| {
        let cluster = &cluster;
        move || async move {
            let running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'";
            let running = cluster.primary().sql(running).await?;
            ensure!(running == wanted, "{running} run");
            Ok(())
        }
    };
    wait::eventually("all to run", Duration::from_secs(30), sleeping("120")).await?;
    crowd.abort_all();
    wait::eventually("all to be cancelled", Duration::from_secs(5), sleeping("0")).await
}

pub async fn a_session_that_is_kept_keeps_no_connection() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = small(&cluster, 1).await?;
    let kept = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..3 {
        let query = Query::new().within(Duration::from_secs(2));
        let kept = Arc::clone(&kept);
        router
            .write(query, move |session: Session| {
                let kept = Arc::clone(&kept);
                async move {
                    session.query_one("select 1", &[]).await?;
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(session);
                    Ok(())
                }
            })
            .await?;
    }
    let session = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let late = session.context("it was kept")?.execute("select 1", &[]).await;
    ensure!(
        matches!(late, Err(distributary_client::Error::SessionEnded)),
        "{late:?}"
    );
    Ok(())
}
