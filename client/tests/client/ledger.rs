//! A promotion while writes go on: what was acknowledged is there, and nothing is there twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Credentials, Error, Query, Router, RoutingTable, Session, WriteOutcome};
use harness::postgres::{APP, Shutdown};
use harness::{PgCluster, node, wait};

use crate::fixture::embedded;

/// What is known of each number that was written.
#[derive(Default)]
struct Ledger(BTreeMap<i32, Option<WriteOutcome>>);

/// A table in which this replica takes the writes.
fn promoted(table: &RoutingTable) -> Result<RoutingTable> {
    let mut table = table.clone();
    let replicas = &table.routes.get("ro").context("ro")?.targets;
    let target = replicas
        .iter()
        .find(|target| target.endpoint == "replica-0")
        .context("the replica")?
        .clone();
    for route in table.routes.values_mut() {
        route.targets = vec![target.clone()];
    }
    table.revision = table.digest();
    Ok(table)
}

fn publish(file: &Path, table: &RoutingTable) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, table.text())?;
    Ok(std::fs::rename(new, file)?)
}

/// A router by a file with this table, and the file.
async fn of_file(cluster: &PgCluster, table: &RoutingTable) -> Result<(Router, PathBuf)> {
    let folder = node::data_subdir("ledger")?.join(cluster.primary().name());
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("routing.json");
    publish(&file, table)?;
    let router = Router::builder()
        .routing_file(&file)
        .credentials(Credentials::new(APP.user, APP.password))
        .connect()
        .await?;
    Ok((router, file))
}

/// Writes numbers one after the other, and never one again whose outcome is not known.
async fn write_on(router: &Router, ledger: &mut Ledger, from: i32) -> Result<()> {
    for number in from.. {
        let write = move |session: Session| async move {
            session
                .execute("insert into ledger values ($1)", &[&number])
                .await
        };
        let query = Query::operation("create").within(Duration::from_secs(2));
        let known = match router.transaction(query, write).await {
            Ok(_) => None,
            Err(error) => Some(
                error
                    .write_outcome()
                    .context("of a write it is said whether it was done")?,
            ),
        };
        ledger.0.insert(number, known);
    }
    Ok(())
}

async fn promotion(stop: impl AsyncFnOnce(&PgCluster) -> Result<()>) -> Result<()> {
    let cluster = PgCluster::builder()
        .replicas(1)
        .setting("synchronous_commit", "on")
        .start()
        .await?;
    let (primary, replica) = (cluster.primary(), cluster.replica(0));
    primary
        .sql("create table ledger (number int4); grant all on ledger to app")
        .await?;
    primary
        .sql("alter system set synchronous_standby_names = '*'")
        .await?;
    primary.reload()?;
    let table = embedded(&cluster).await?.table();
    let (router, file) = of_file(&cluster, &table).await?;
    let mut ledger = Ledger::default();
    let promoting = async {
        wait::pass(Duration::from_secs(1), "writes before the promotion").await;
        stop(&cluster).await?;
        // Nobody is there to wait for any more.
        replica
            .sql("alter system set synchronous_standby_names = ''")
            .await?;
        replica.promote().await?;
        replica.reload()?;
        publish(&file, &promoted(&table)?)?;
        wait::pass(Duration::from_secs(2), "writes after the promotion").await;
        anyhow::Ok(())
    };
    tokio::select! {
        ended = write_on(&router, &mut ledger, 0) => ended?,
        promoted = promoting => promoted?,
    }
    let rows = replica
        .rows("select number, count(*) from ledger group by number")
        .await?;
    let counted: BTreeMap<i32, usize> = rows
        .iter()
        .map(|row| Ok((row[0].parse()?, row[1].parse()?)))
        .collect::<Result<_>>()?;
    let twice: Vec<_> = counted.iter().filter(|(_, count)| **count != 1).collect();
    ensure!(twice.is_empty(), "done twice: {twice:?}");
    let there = |number: &i32| counted.contains_key(number);
    for (number, known) in &ledger.0 {
        match known {
            None => ensure!(there(number), "{number} was acknowledged, and is lost"),
            Some(WriteOutcome::NotDone) => ensure!(!there(number), "{number} was not done, and is there"),
            Some(WriteOutcome::Unknown) => {}
        }
    }
    let count = |wanted: Option<WriteOutcome>| ledger.0.values().filter(|known| **known == wanted).count();
    ensure!(count(None) > 50, "{} were acknowledged", count(None));
    ensure!(
        count(Some(WriteOutcome::Unknown)) <= 1,
        "one at a time is under way"
    );
    let last = ledger.0.iter().next_back().context("writes")?;
    ensure!(last.1.is_none(), "writes go on after the promotion: {last:?}");
    Ok(())
}

pub async fn after_an_orderly_stop_no_write_is_lost_or_done_twice() -> Result<()> {
    promotion(async |cluster: &PgCluster| cluster.primary().stop(Shutdown::Fast).await).await
}

pub async fn after_a_kill_with_a_synchronous_standby_no_write_is_lost_or_done_twice() -> Result<()> {
    promotion(async |cluster: &PgCluster| cluster.primary().kill().await).await
}

async fn written(session: Session) -> Result<String, Error> {
    session
        .execute("insert into note (body) values ('w')", &[])
        .await?;
    Ok(session.endpoint().to_owned())
}

/// A router by a file with the table of this cluster, in which a server takes so many sessions.
async fn by_file(cluster: &PgCluster, sessions: u32) -> Result<(Router, RoutingTable, PathBuf)> {
    let mut table = embedded(cluster).await?.table();
    for endpoint in &mut table.endpoints {
        endpoint.max_connections = sessions;
    }
    let (router, file) = of_file(cluster, &table).await?;
    Ok((router, table, file))
}

pub async fn a_write_that_waits_goes_where_the_writes_go() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let (router, table, file) = by_file(&cluster, 1).await?;
    let query = || Query::operation("create").within(Duration::from_secs(30));
    ensure!(router.write(query(), written).await? == "primary");
    // The only connection is in use, as those of a server that stands still.
    let sleep = |session: Session| async move { session.batch_execute("select pg_sleep(60)").await };
    let (busy, waits) = (router.write(query(), sleep), router.write(query(), written));
    let moving = async {
        wait::pass(Duration::from_millis(300), "the other one to wait").await;
        cluster.replica(0).promote().await?;
        publish(&file, &promoted(&table)?)
    };
    let moved = async { tokio::try_join!(async { anyhow::Ok(waits.await?) }, moving) };
    tokio::select! {
        // It takes the connection first.
        biased;
        ended = busy => anyhow::bail!("it ended: {ended:?}"),
        moved = moved => ensure!(moved?.0 == "replica-0"),
    }
    Ok(())
}

pub async fn a_read_of_a_silent_primary_goes_where_the_writes_go() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let (router, table, file) = by_file(&cluster, 5).await?;
    let read = |session: Session| async move {
        session.query_one("select 1", &[]).await?;
        Ok(session.endpoint().to_owned())
    };
    let query = || Query::new().prefer_primary().within(Duration::from_secs(20));
    ensure!(router.read(query(), read).await? == "primary");
    cluster.primary().freeze()?;
    let moving = async {
        wait::pass(Duration::from_secs(1), "the primary to be suspected").await;
        cluster.replica(0).promote().await?;
        publish(&file, &promoted(&table)?)
    };
    let (read, moved) = tokio::join!(router.read(query(), read), moving);
    cluster.primary().thaw()?;
    moved?;
    ensure!(matches!(read.as_deref(), Ok("replica-0")), "{read:?}");
    Ok(())
}
