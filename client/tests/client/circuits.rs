//! What keeps requests away from a server: circuits of kinds of requests, silence, refused logins.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Error, Query, Router, Session};
use harness::{PgCluster, wait};
use serde_json::json;
use tokio::task::JoinSet;

use crate::fixture::{builder, embedded, served, spec, warm, whoami};
use crate::reads::by_file;

/// A report that one server never finishes.
async fn report(router: &Router, slow: Option<&'static str>) -> Result<String, Error> {
    let query = Query::operation("report")
        .read_only()
        .within(Duration::from_millis(200));
    let run = |session: Session| async move {
        if Some(session.endpoint()) == slow {
            session.query_one("select pg_sleep(60)", &[]).await?;
        }
        session.query_one("select 1", &[]).await?;
        Ok(session.endpoint().to_owned())
    };
    router.read(query, run).await
}

pub async fn an_operation_stays_away_from_where_it_misses_its_deadlines() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let mut spec = spec(&cluster);
    spec["routing"] = json!({"retryAttempts": 0});
    spec["healthCheck"] = json!({"interval": "5s", "timeout": "1s", "failoverTimeout": "2s"});
    spec["circuitBreaker"] = json!({"failureThreshold": 2, "resetTimeout": "1s", "maxResetTimeout": "1s"});
    let router = warm(builder(&spec)?.connect().await?).await?;
    wait::eventually("the circuit to open", Duration::from_secs(20), || async {
        let missed = report(&router, Some("replica-1")).await;
        ensure!(
            missed.is_ok() || matches!(missed, Err(Error::Deadline { .. })),
            "{missed:?}"
        );
        let stats = router.stats();
        let of = stats.targets.iter().find(|target| target.endpoint == "replica-1");
        ensure!(of.is_some_and(|target| target.kinds.iter().any(|(kind, _)| kind == "report")));
        Ok(())
    })
    .await?;
    for _ in 0..20 {
        let by = report(&router, Some("replica-1")).await?;
        ensure!(by == "replica-0", "{by}");
    }
    let by = served(&router, &Query::operation("findMany"), 20).await?;
    ensure!(
        by.get("replica-1") == Some(&10),
        "other operations use it: {by:?}"
    );
    ensure!(router.health().healthy_replicas == 2, "it is well");
    wait::eventually("the reports to return", Duration::from_secs(20), || async {
        report(&router, None).await?;
        let stats = router.stats();
        ensure!(stats.targets.iter().all(|target| target.kinds.is_empty()));
        let by = [report(&router, None).await?, report(&router, None).await?];
        ensure!(by.contains(&"replica-1".to_owned()), "{by:?}");
        Ok(())
    })
    .await?;
    // The caller's own cancellation says nothing of the server.
    for _ in 0..10 {
        let cancelled = tokio::time::timeout(Duration::from_millis(100), report(&router, Some("replica-1")));
        drop(cancelled.await);
        wait::pass(Duration::from_millis(200), "failures are spread").await;
    }
    let stats = router.stats();
    ensure!(
        stats.targets.iter().all(|target| target.kinds.is_empty()),
        "{stats:?}"
    );
    Ok(())
}

/// Whether the program itself keeps requests from the primary.
fn is_suspected(router: &Router) -> bool {
    let stats = router.stats();
    let mut targets = stats.targets.iter();
    targets.any(|target| target.endpoint == "primary" && target.suspected)
}

pub async fn a_write_notices_that_its_server_is_silent() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let write =
        |session: Session| async move { session.execute("insert into note (body) values ('w')", &[]).await };
    let query = || Query::operation("create").within(Duration::from_secs(10));
    router.write(query(), write).await?;
    cluster.primary().freeze()?;
    let writing = tokio::spawn({
        let (router, query) = (router.clone(), query());
        async move { router.write(query, write).await }
    });
    wait::eventually("the silence to be noticed", Duration::from_secs(3), || async {
        ensure!(is_suspected(&router));
        Ok(())
    })
    .await?;
    cluster.primary().thaw()?;
    let written = writing.await?;
    ensure!(
        written.as_ref().is_ok_and(|rows| *rows == 1),
        "it was only slow: {written:?}"
    );
    wait::eventually(
        "the primary to be trusted again",
        Duration::from_secs(5),
        || async {
            ensure!(!is_suspected(&router));
            Ok(())
        },
    )
    .await
}

pub async fn refused_logins_are_not_tried_for_each_request() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let mut table = embedded(&cluster).await?.table();
    for endpoint in &mut table.endpoints {
        "nowhere".clone_into(&mut endpoint.connection.database);
    }
    table.read_fallback = Some(Vec::new());
    let router = by_file(&cluster, &table).await?;
    // Each of them tries for a second.
    let reads: JoinSet<_> = (0..10)
        .map(|_| {
            let router = router.clone();
            async move { router.read(Query::new(), whoami).await }
        })
        .collect();
    for read in reads.join_all().await {
        let refused = read.err().context("there is no such database")?.to_string();
        ensure!(refused.contains("replica-0: "), "{refused}");
    }
    let log = cluster.replica(0).log();
    let logins = log.matches("database \"nowhere\" does not exist").count();
    ensure!((1..=25).contains(&logins), "{logins} logins for 10 reads");
    Ok(())
}
