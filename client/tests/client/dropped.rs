//! Futures that are dropped in the middle, and what a program shows of itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Query, Session};
use harness::postgres::APP;
use harness::{PgCluster, wait};
use tokio::task::JoinSet;

use crate::fixture::{builder, embedded, spec};

/// Dropped at a point that differs from one to the next.
const FUTURES: u32 = 10_000;
const AT_ONCE: usize = 40;
/// Of so many one is not dropped.
const KEPT: u32 = 100;

pub async fn dropped_futures_leave_nothing_behind() -> Result<()> {
    let cluster = PgCluster::builder()
        .replicas(1)
        .setting("max_connections", "150")
        .start()
        .await?;
    let router = embedded(&cluster).await?;
    let mut running = JoinSet::new();
    for number in 0..FUTURES {
        if running.len() >= AT_ONCE {
            running.join_next().await.context("one runs")???;
        }
        let router = router.clone();
        running.spawn(async move {
            // A sequence without a pattern that the servers could follow.
            let drawn = number.wrapping_mul(2_654_435_761) >> 16;
            let mark = i32::try_from(number)?;
            let run = move |session: Session| async move {
                let row = session
                    .query_one(
                        "select $1::int4, pg_sleep($2::float8)",
                        &[&mark, &(f64::from(drawn % 4) / 1000.0)],
                    )
                    .await?;
                let again = session.query_one("select $1::int4", &[&mark]).await?;
                Ok((row.get::<_, i32>(0), again.get::<_, i32>(0)))
            };
            // A few are left alone, however busy the machine is.
            let limit = if number % KEPT == 0 {
                Duration::from_secs(20)
            } else {
                Duration::from_micros(u64::from(drawn % 60_000))
            };
            let request = async {
                match drawn % 3 {
                    0 => router.transaction(Query::new(), run).await,
                    1 => router.write(Query::new(), run).await,
                    _ => router.read(Query::new(), run).await,
                }
            };
            match tokio::time::timeout(limit, request).await {
                Err(_) => Ok(()),
                Ok(Ok(rows)) => {
                    ensure!(rows == (mark, mark), "a foreign row: {rows:?} for {mark}");
                    Ok(())
                }
                Ok(Err(error)) => Err(error.into()),
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let answered: u64 = router.stats().targets.iter().map(|target| target.answers).sum();
    ensure!(
        answered >= u64::from(FUTURES / KEPT),
        "only {answered} were not dropped before the end"
    );
    // In the middle of a long statement of a transaction: nothing comes after that would tidy up.
    for _ in 0..5 {
        let sleep = |session: Session| async move { session.query("select pg_sleep(60)", &[]).await };
        let runs = || async {
            let running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'";
            let running = cluster.primary().sql(running).await?;
            ensure!(running != "0", "{running}");
            Ok(())
        };
        tokio::select! {
            ended = router.transaction(Query::new(), sleep) => drop(ended?),
            running = wait::eventually("it to run", Duration::from_secs(10), runs) => running?,
        }
    }
    let ours = "from pg_stat_activity where usename = 'app' and application_name like 'distributary-client%'";
    for (server, pool) in [(cluster.primary(), 20), (cluster.replica(0), 15)] {
        wait::eventually("nothing to be left", Duration::from_secs(5), || async {
            let counted = format!("select count(*), count(*) filter (where state <> 'idle') {ours}");
            let rows = server.rows(&counted).await?;
            let all: usize = rows[0][0].parse()?;
            ensure!(all <= pool && rows[0][1] == "0", "{rows:?} of {pool}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

pub async fn no_secret_is_shown() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let failed = router.write(Query::new(), |session: Session| async move {
        session.execute("select nonsense", &[]).await
    });
    let failed = failed.await.err().context("it failed")?;
    let wrong =
        builder(&spec(&cluster))?.secret("login", [("username", APP.user), ("password", "canary-canary")]);
    let wrong = wrong.connect().await;
    let mut shown = format!(
        "{router:?} {:?} {failed:?} {failed} {:?}",
        router.stats(),
        router.explain("create")?
    );
    match wrong {
        Err(error) => shown += &format!("{error:?} {error}"),
        Ok(router) => {
            let query = Query::new().within(Duration::from_secs(2));
            let error = router
                .read(query, |session: Session| async move {
                    session.query("select 1", &[]).await
                })
                .await;
            let error = error.err().context("a wrong password let somebody in")?;
            shown += &format!("{error:?} {error} {router:?}");
        }
    }
    ensure!(
        !shown.contains(APP.password) && !shown.contains("canary"),
        "{shown}"
    );
    Ok(())
}
