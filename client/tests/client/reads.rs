//! When a read is tried again, where, and when it is not.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Credentials, Error, Follower, Query, Router, RoutingTable, Session};
use harness::postgres::{APP, Passwords, Pooler};
use harness::{PgCluster, node, wait};
use serde_json::json;

use crate::fixture::{builder, embedded, served, spec, warm};

/// A router by a file with this table.
pub async fn by_file(cluster: &PgCluster, table: &RoutingTable) -> Result<Router> {
    let folder = node::data_subdir("tables")?.join(cluster.primary().name());
    std::fs::create_dir_all(&folder)?;
    let file: PathBuf = folder.join(format!("{}.json", table.digest()));
    std::fs::write(&file, table.text())?;
    let credentials = Credentials::new(APP.user, APP.password);
    let router = Router::builder().routing_file(file).credentials(credentials);
    router.connect().await.context("a router by a file")
}

/// The table of all servers of a cluster, as it is while they are well.
async fn table(cluster: &PgCluster) -> Result<RoutingTable> {
    Ok(embedded(cluster).await?.table())
}

async fn who(session: Session) -> Result<String, Error> {
    session.query_one("select 1", &[]).await?;
    Ok(session.endpoint().to_owned())
}

/// How often a closure ran that does this, and then sleeps for longer than the time after which another target is tried.
async fn runs<R>(router: &Router, first: impl Fn(Arc<Session>) -> R) -> Result<u32>
where
    R: Future<Output = Result<(), Error>>,
{
    let runs = AtomicU32::new(0);
    let run = |session: Session| {
        runs.fetch_add(1, Ordering::SeqCst);
        let session = Arc::new(session);
        let first = first(Arc::clone(&session));
        async move {
            first.await?;
            let _ = session.batch_execute("select pg_sleep(0.7)").await;
            Ok(())
        }
    };
    router
        .read(Query::new().within(Duration::from_millis(900)), run)
        .await?;
    Ok(runs.into_inner())
}

/// The most common number of times that a read is polled.
async fn polls(router: &Router) -> Result<u32> {
    let mut counts = std::collections::BTreeMap::<u32, u32>::new();
    for _ in 0..200 {
        let mut polls = 0;
        let mut read = std::pin::pin!(router.read(Query::new(), who));
        std::future::poll_fn(|cx| {
            polls += 1;
            read.as_mut().poll(cx)
        })
        .await?;
        *counts.entry(polls).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, times)| *times);
    Ok(most.context("a read")?.0)
}

pub async fn a_read_runs_only_when_its_server_has_answered() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    served(&router, &Query::new(), 20).await?;
    // It begins, its statement is prepared, its row is there.
    let polls = polls(&router).await?;
    ensure!(polls <= 3, "{polls}");
    Ok(())
}

pub async fn no_statement_waits_for_the_name_of_its_session() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let name = |session: Session| async move {
        let row = session.query_one("show application_name", &[]).await?;
        Ok(row.get::<_, String>(0))
    };
    for operation in ["one", "two", "one", "two"] {
        let named = router.read(operation, name).await?;
        ensure!(named == format!("distributary-client/{operation}"), "{named}");
    }
    let reset = "select count(*) from pg_stat_activity where usename = 'app' and query like 'CLOSE ALL%'";
    ensure!(
        cluster.replica(0).sql(reset).await? == "0",
        "the name of a session was taken for its state"
    );
    cluster.replica(0).freeze()?;
    let begun = AtomicU32::new(0);
    let run = |session: Session| {
        begun.fetch_add(1, Ordering::SeqCst);
        async move { session.batch_execute("select 1").await }
    };
    // Sooner than anybody else is asked.
    let query = Query::operation("three").within(Duration::from_millis(150));
    let read = router.read(query, run).await;
    cluster.replica(0).thaw()?;
    ensure!(matches!(read, Err(Error::Deadline { .. })), "{read:?}");
    ensure!(begun.into_inner() == 1, "it waited for the answer to SET");
    Ok(())
}

pub async fn no_second_attempt_after_an_answer_or_in_a_transaction() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let router = embedded(&cluster).await?;
    served(&router, &Query::new(), 20).await?;
    let silent = runs(&router, |_| async { Ok(()) }).await?;
    ensure!(silent == 2, "{silent}: a slow read has two");
    let answered = |session: Arc<Session>| async move { session.batch_execute("select 1").await };
    let answered = runs(&router, answered).await?;
    ensure!(answered == 1, "{answered} after an answer");
    let refused = |session: Arc<Session>| async move {
        let refused = session.batch_execute("select nothing").await;
        refused.map_or(Ok(()), |()| Err(Error::application("it is refused")))
    };
    let refused = runs(&router, refused).await?;
    ensure!(refused == 1, "{refused} after an answer that is an error");
    let begun = |session: Arc<Session>| async move { session.batch_execute("begin").await };
    let begun = runs(&router, begun).await?;
    ensure!(begun == 1, "{begun} in a transaction");
    Ok(())
}

pub async fn the_programs_own_error_waits_for_the_other_attempt() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let router = embedded(&cluster).await?;
    served(&router, &Query::new(), 20).await?;
    let runs = AtomicU32::new(0);
    let run = |session: Session| {
        let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if !first {
                return Err(Error::application("of the second attempt"));
            }
            session.batch_execute("select pg_sleep(0.8)").await
        }
    };
    let read = router
        .read(Query::new().within(Duration::from_millis(1500)), run)
        .await;
    ensure!(read.is_ok() && runs.load(Ordering::SeqCst) == 2, "{read:?}");
    let failing = |_: Session| async { Err::<(), _>(Error::application("of the only one")) };
    let read = router.read(Query::new(), failing).await;
    ensure!(matches!(read, Err(Error::Application(_))), "{read:?}");
    Ok(())
}

pub async fn a_busy_target_is_waited_for_where_the_other_is_lost() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let mut table = table(&cluster).await?;
    table
        .endpoints
        .iter_mut()
        .for_each(|endpoint| endpoint.max_connections = 1);
    cluster.replica(1).kill().await?;
    for _ in 0..4 {
        let router = by_file(&cluster, &table).await?;
        let slow = |session: Session| async move { session.batch_execute("select pg_sleep(0.7)").await };
        let slow = router.read(Query::new(), slow);
        let beside = async {
            wait::pass(Duration::from_millis(200), "the other one to be busy").await;
            router
                .read(Query::new().within(Duration::from_secs(10)), who)
                .await
        };
        let (slow, beside) = tokio::join!(slow, beside);
        slow?;
        ensure!(matches!(beside.as_deref(), Ok("replica-0")), "{beside:?}");
    }
    Ok(())
}

pub async fn a_target_that_refuses_logins_fails_no_read() -> Result<()> {
    let cluster = PgCluster::start(3).await?;
    let mut table = table(&cluster).await?;
    let endpoint = table
        .endpoints
        .iter_mut()
        .find(|endpoint| endpoint.id == "replica-0");
    "nowhere".clone_into(&mut endpoint.context("it is declared")?.connection.database);
    let router = by_file(&cluster, &table).await?;
    let by = served(&router, &Query::new(), 600).await?;
    ensure!(!by.contains_key("replica-0") && by.len() == 2, "{by:?}");
    let fewest = by.values().min().copied().unwrap_or_default();
    ensure!(fewest > 200, "the turns of the other one are shared: {by:?}");
    let retries = router.stats().retries;
    ensure!(retries == 0, "{retries}: an attempt without a connection is none");
    Ok(())
}

pub async fn the_primary_stands_in_where_no_replica_is_left() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let mut spec = spec(&cluster);
    spec["routing"] = json!({"classes": [{"name": "strict", "target": "ReplicasOnly"}]});
    let table = warm(builder(&spec)?.connect().await?).await?.table();
    let router = by_file(&cluster, &table).await?;
    ensure!(served(&router, &Query::new(), 10).await?.len() == 2);
    for replica in cluster.replicas() {
        replica.kill().await?;
    }
    let by = served(&router, &Query::new(), 50).await?;
    ensure!(by.get("primary") == Some(&50), "{by:?}");
    let strict = router.read(Query::new().of_class("strict"), who).await;
    ensure!(matches!(strict, Err(Error::NobodyLeft { .. })), "{strict:?}");
    let mut without = table.clone();
    without.read_fallback = Some(Vec::new());
    let router = by_file(&cluster, &without).await?;
    let nobody = router.read(Query::new(), who).await;
    ensure!(matches!(nobody, Err(Error::NobodyLeft { .. })), "{nobody:?}");
    Ok(())
}

pub async fn the_only_target_is_tried_again() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let mut table = table(&cluster).await?;
    table.read_fallback = Some(Vec::new());
    let router = by_file(&cluster, &table).await?;
    let replica = cluster.replica(0);
    for _ in 0..3 {
        replica.reset_connections()?;
        let read = router.read(Query::new().within(Duration::from_secs(5)), who);
        let healing = async {
            wait::pass(Duration::from_millis(400), "connections to be refused").await;
            replica.heal()
        };
        let (read, healed) = tokio::join!(read, healing);
        healed?;
        ensure!(matches!(read.as_deref(), Ok("replica-0")), "{read:?}");
    }
    Ok(())
}

pub async fn a_follower_reads_on_the_primary_what_has_no_token() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let whole = table(&cluster).await?;
    let mut table = whole.clone();
    let pooler = Pooler::pgbouncer(cluster.primary(), Passwords::Known).await?;
    let targets = table.routes.values_mut().flat_map(|route| &mut route.targets);
    for target in targets.filter(|target| target.endpoint == "primary") {
        target.address = pooler.address().into();
    }
    let pooled = Follower::new(by_file(&cluster, &table).await?);
    cluster.replica(0).sql("select pg_wal_replay_pause()").await?;
    let read = |session: Session| async move {
        let found = session
            .query("select 1 from note where body = 'mine'", &[])
            .await?;
        Ok((found.len(), session.endpoint().to_owned()))
    };
    let (_, before) = pooled.read(Query::new(), read).await?;
    ensure!(before == "replica-0", "nothing was written: {before}");
    let write = |session: Session| async move {
        session
            .execute("insert into note (body) values ('mine')", &[])
            .await
    };
    pooled.write("create", write).await?;
    ensure!(pooled.token().is_none());
    let after = pooled.read(Query::new(), read).await?;
    ensure!(after == (1, "primary".to_owned()), "{after:?}");
    // One whose outcome is unknown, and one whose future is dropped.
    let direct = Follower::new(by_file(&cluster, &whole).await?);
    let lost = |session: Session| async move {
        session
            .execute("insert into note (body) values ('lost')", &[])
            .await?;
        Err::<(), _>(Error::application("after it"))
    };
    let token = direct.clone();
    ensure!(direct.write("create", lost).await.is_err() && direct.token().is_none());
    ensure!(direct.read(Query::new(), read).await? == (1, "primary".to_owned()));
    token.write("create", write).await?;
    ensure!(token.token().is_some(), "the clones share it");
    cluster.replica(0).sql("select pg_wal_replay_resume()").await?;
    Ok(())
}

pub async fn replicas_behind_a_token_are_waited_for_once() -> Result<()> {
    let cluster = PgCluster::start(4).await?;
    cluster.primary().sql("grant pg_read_all_stats to app").await?;
    cluster.caught_up().await?;
    let router = embedded(&cluster).await?;
    served(&router, &Query::new().prefer_primary(), 1).await?;
    served(&router, &Query::new(), 8).await?;
    for replica in cluster.replicas() {
        replica.sql("select pg_wal_replay_pause()").await?;
    }
    let follower = Follower::new(router);
    let write =
        |session: Session| async move { session.execute("insert into note (body) values ('t')", &[]).await };
    follower.write("create", write).await?;
    let watch = wait::Stopwatch::start();
    let by = follower.read(Query::new(), who).await?;
    ensure!(by == "primary", "{by}");
    // Four waits would be 400 ms.
    let took = watch.elapsed();
    ensure!((100..300).contains(&took.as_millis()), "{took:?}");
    Ok(())
}
