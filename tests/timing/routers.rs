//! The Rust client beside the operator, while a replica is lost in every way that there is: no read fails.
//!
//! The program alone, without an operator, is tested so in client/tests/client/faults.rs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use distributary_client::{Credentials, Error, Query, Router, Session};
use harness::postgres::{APP, Shutdown};
use harness::suite::Suite;
use harness::{ControlPlane, Postgres, wait};
use tokio::task::{JoinError, JoinSet};

use crate::fixture::{Fixture, POLICY, SOON};

/// Reads before, and after, what happens.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(2);
/// 200 reads a second, each with a deadline of a second.
const PERIOD: Duration = Duration::from_millis(5);
const DEADLINE: Duration = Duration::from_secs(1);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test_alone("a_killed_replica_fails_no_read_of_a_router", |plane| {
            fails_no_read(plane, |replica| Box::pin(replica.kill()))
        })
        .test_alone("a_stopped_replica_fails_no_read_of_a_router", |plane| {
            fails_no_read(plane, |replica| Box::pin(replica.stop(Shutdown::Immediate)))
        })
        .test_alone("a_frozen_replica_fails_no_read_of_a_router", |plane| {
            fails_no_read(plane, |replica| Box::pin(async { replica.freeze() }))
        })
        .test_alone("a_black_holed_replica_fails_no_read_of_a_router", |plane| {
            fails_no_read(plane, |replica| Box::pin(async { replica.black_hole() }))
        })
}

type Befalling<'a> = std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// As often as RUNS says; once where it is not set.
async fn fails_no_read(
    plane: Arc<ControlPlane>,
    fault: impl for<'a> Fn(&'a Postgres) -> Befalling<'a>,
) -> Result<()> {
    let runs = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok());
    for _ in 0..runs.unwrap_or(1) {
        run(Arc::clone(&plane), &fault).await?;
    }
    Ok(())
}

async fn run(plane: Arc<ControlPlane>, fault: impl for<'a> Fn(&'a Postgres) -> Befalling<'a>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 3).await?;
    let router = Router::builder()
        .routing_config_map(it.plane.client(), &*it.namespace, format!("{POLICY}-routing"))
        .credentials(Credentials::new(APP.user, APP.password))
        .connect()
        .await?;
    ensure!(router.health().healthy_replicas == 3, "{:?}", router.table());
    let lost = it.postgres.replica(1);
    let (reads, failed) = under_load(&router, async {
        wait::pass(BEFORE, "reads before the fault").await;
        fault(lost).await?;
        wait::eventually("the operator to take it out", SOON, || async {
            let served = &router.table().routes["ro"].targets;
            let is_there = served.iter().any(|target| target.endpoint == "replica-2");
            ensure!(!is_there, "{served:?}");
            anyhow::Ok(())
        })
        .await?;
        wait::pass(AFTER, "reads after the fault").await;
        Ok(())
    })
    .await?;
    ensure!(
        failed.is_empty(),
        "{} of {reads}: {:?}",
        failed.len(),
        failed.first()
    );
    ensure!(reads > 300, "{reads}");
    if !lost.is_running() {
        return Ok(());
    }
    lost.thaw()?;
    lost.heal()
}

async fn who(session: Session) -> Result<String, Error> {
    session.query_one("select 1", &[]).await?;
    Ok(session.endpoint().to_owned())
}

/// Reads while something happens: how many, and why some failed.
async fn under_load<F>(router: &Router, during: F) -> Result<(usize, Vec<String>)>
where
    F: Future<Output = Result<()>>,
{
    let mut reads = JoinSet::new();
    let (mut count, mut failed) = (0, Vec::new());
    let mut note = |read: Result<Result<String, Error>, JoinError>| {
        count += 1;
        match read {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => failed.push(format!("{:#}", anyhow::Error::from(error))),
            Err(panicked) => failed.push(panicked.to_string()),
        }
    };
    let loading = async {
        loop {
            let router = router.clone();
            reads.spawn(async move { router.read(Query::new().within(DEADLINE), who).await });
            while let Some(read) = reads.try_join_next() {
                note(read);
            }
            wait::pass(PERIOD, "the rate of the reads").await;
        }
    };
    tokio::select! {
        () = loading => {}
        happened = during => happened?,
    }
    while let Some(read) = reads.join_next().await {
        note(read);
    }
    Ok((count, failed))
}
