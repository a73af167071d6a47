//! How old a read may be: bounds of lag, and tenants that see their own writes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Error, Followers, Query, Router, Session};
use harness::postgres::Shutdown;
use harness::{PgCluster, wait};
use serde_json::json;

use crate::fixture::{builder, embedded, spec, warm};
use crate::tokens::telling;

async fn write(session: Session) -> Result<(), Error> {
    let written = session.execute("insert into note (body) values ('new')", &[]);
    written.await.map(drop)
}

/// How many rows there are, and who said so.
async fn count(session: Session) -> Result<(i64, String), Error> {
    let row = session.query_one("select count(*) from note", &[]).await?;
    Ok((row.get(0), session.endpoint().to_owned()))
}

async fn read(router: &Router, query: Query) -> Result<(i64, String), Error> {
    router.read(query.within(Duration::from_secs(5)), count).await
}

/// Within this time of lag.
fn at_most(millis: u64) -> Query {
    Query::new().max_lag(Duration::from_millis(millis))
}

pub async fn a_bound_of_lag_is_kept() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let mut spec = spec(&cluster);
    spec["routing"] = json!({"classes": [
        {"name": "audit", "operations": ["audit"], "target": "ReplicasOnly"},
    ]});
    let router = warm(builder(&spec)?.connect().await?).await?;
    let replica = "replica-0".to_owned();
    let (before, endpoint) = read(&router, at_most(200)).await?;
    ensure!(endpoint == replica, "it has replayed everything: {endpoint}");
    // Later reads go by the positions that the earlier ones asked for.
    for _ in 0..20 {
        wait::pass(Duration::from_millis(20), "from one read to the next").await;
        ensure!(read(&router, at_most(200)).await?.1 == replica);
    }
    cluster.replica(0).sql("select pg_wal_replay_pause()").await?;
    router.write("create", write).await?;
    ensure!(
        read(&router, at_most(60_000)).await? == (before, replica.clone()),
        "it is not a minute behind"
    );
    ensure!(
        read(&router, at_most(0)).await? == (before + 1, "primary".to_owned()),
        "it is behind"
    );
    wait::pass(Duration::from_millis(300), "the lag of the replica").await;
    for _ in 0..5 {
        let seen = read(&router, at_most(200)).await?;
        ensure!(seen == (before + 1, "primary".to_owned()), "{seen:?}");
    }
    let audit = Query::operation("audit").max_lag(Duration::from_millis(200));
    let refused = read(&router, audit).await.err();
    let refused = refused
        .context("the primary serves no class of replicas only")?
        .to_string();
    ensure!(refused.contains("replica-0: TooOld"), "{refused}");
    cluster.replica(0).sql("select pg_wal_replay_resume()").await?;
    wait::eventually("the replica to serve again", Duration::from_secs(5), || async {
        ensure!(read(&router, at_most(200)).await? == (before + 1, "replica-0".to_owned()));
        Ok(())
    })
    .await?;
    cluster.primary().stop(Shutdown::Immediate).await?;
    wait::pass(
        Duration::from_millis(250),
        "the last answer of the primary to be too old",
    )
    .await;
    let refused = read(&router, at_most(200)).await.err();
    let refused = refused.context("nothing proves the bound")?.to_string();
    ensure!(refused.contains("replica-0: LagUnknown"), "{refused}");
    ensure!(
        read(&router, Query::new()).await?.1 == replica,
        "without a bound it serves"
    );
    Ok(())
}

pub async fn each_tenant_sees_its_own_writes() -> Result<()> {
    let cluster = telling(1).await?;
    let router = embedded(&cluster).await?;
    let tenants = Followers::new(router.clone(), 4);
    let reads = async |tenant: &'static str| {
        let (count, endpoint) = tenants.read(Query::new().of_tenant(tenant), count).await?;
        anyhow::Ok((count, endpoint))
    };
    let (before, _) = reads("acme").await?;
    cluster.replica(0).sql("select pg_wal_replay_pause()").await?;
    tenants
        .write(Query::operation("create").of_tenant("acme"), write)
        .await?;
    ensure!(reads("acme").await? == (before + 1, "primary".to_owned()));
    ensure!(
        reads("other").await? == (before, "replica-0".to_owned()),
        "it wrote nothing"
    );
    ensure!(
        tenants.read(Query::new(), count).await?.1 == "replica-0",
        "no tenant"
    );
    // Many others are seen, and the first is forgotten: what it wrote is not.
    for tenant in ["one", "two", "three", "four", "five", "six"] {
        reads(tenant).await?;
    }
    ensure!(
        reads("acme").await? == (before + 1, "primary".to_owned()),
        "it returns"
    );
    cluster.replica(0).sql("select pg_wal_replay_resume()").await?;
    cluster.caught_up().await?;
    ensure!(reads("acme").await? == (before + 1, "replica-0".to_owned()));
    ensure!(!format!("{tenants:?}").contains("acme"));
    Ok(())
}
