//! What is said of a write that failed is true of what is in the database.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Error, NoRoute, Query, Router, Session, WriteOutcome};
use harness::{PgCluster, wait};

use crate::fixture::embedded;

const UNKNOWN: Option<WriteOutcome> = Some(WriteOutcome::Unknown);
const NOT_DONE: Option<WriteOutcome> = Some(WriteOutcome::NotDone);

/// The outcome of statements, in one text each or by themselves, outside of a transaction.
async fn written(router: &Router, batch: bool, statements: &'static str) -> Option<WriteOutcome> {
    let run = move |session: Session| async move {
        if batch {
            session.batch_execute(statements).await
        } else {
            session.execute(statements, &[]).await.map(drop)
        }
    };
    router.write("create", run).await.err()?.write_outcome()
}

/// The outcome of a transaction whose closure carries out statements, and then succeeds or does not.
async fn transacted(
    router: &Router,
    statements: &'static str,
    succeeds: bool,
) -> (bool, Option<WriteOutcome>) {
    let run = move |session: Session| async move {
        session.batch_execute(statements).await?;
        if succeeds {
            Ok(())
        } else {
            Err(Error::application("no"))
        }
    };
    let result = router.transaction("create", run).await;
    (
        result.is_ok(),
        result.err().and_then(|error| error.write_outcome()),
    )
}

async fn rows(cluster: &PgCluster) -> Result<String> {
    cluster
        .primary()
        .sql("select count(*) from note where length(body) = 1")
        .await
}

pub async fn a_write_that_was_done_is_never_called_not_done() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let insert = "begin; insert into note (body) values ('1'); commit; select nonsense";
    ensure!(written(&router, true, insert).await == UNKNOWN);
    let block =
        "do $$ begin insert into note (body) values ('2'); commit; raise exception 'after it'; end $$";
    ensure!(written(&router, false, block).await == UNKNOWN);
    let commented = "/* a /* b */ */ -- c\n DO $$ begin insert into note (body) values ('3'); commit; raise exception 'x'; end $$";
    ensure!(written(&router, false, commented).await == UNKNOWN);
    cluster
        .primary()
        .sql("create procedure public.twice() language plpgsql as $$ begin insert into note (body) values ('4'); commit; raise exception 'x'; end $$; grant execute on procedure public.twice to app")
        .await?;
    ensure!(written(&router, false, "call public.twice()").await == UNKNOWN);
    ensure!(rows(&cluster).await? == "4");
    // What is refused before it is carried out, and a single statement that is refused, are not done.
    ensure!(written(&router, false, "nonsense").await == NOT_DONE);
    let cast =
        "insert into note (body) select case when true then 1/(count(*) - count(*)) end::text from note";
    ensure!(written(&router, false, cast).await == NOT_DONE);
    ensure!(written(&router, false, "-- why\n (select 1/0)").await == NOT_DONE);
    // To prepare a statement does nothing yet.
    let prepared = router.write("create", |session: Session| async move {
        let insert = session
            .prepare("insert into note (body) values ($1::text::int::text)")
            .await?;
        session.execute(&insert, &[&"x"]).await
    });
    ensure!(prepared.await.err().and_then(|error| error.write_outcome()) == NOT_DONE);
    let slow = Query::operation("create").within(Duration::from_millis(500));
    let prepared = router.write(slow, |session: Session| async move {
        session.prepare("insert into note (body) values ($1)").await?;
        wait::pass(Duration::from_secs(2), "the deadline").await;
        Ok(())
    });
    ensure!(prepared.await.err().and_then(|error| error.write_outcome()) == NOT_DONE);
    // Nobody was asked.
    let lost = router
        .write(Query::new().of_class("nope"), |session: Session| async move {
            session.batch_execute("select 1").await
        })
        .await
        .err()
        .context("no such class")?;
    ensure!(lost.write_outcome() == NOT_DONE, "{lost:?}");
    let Error::Write { source, .. } = lost else {
        anyhow::bail!("{lost:?}");
    };
    ensure!(
        matches!(*source, Error::NoRoute(NoRoute::UnknownClass { .. })),
        "{source:?}"
    );
    ensure!(rows(&cluster).await? == "4");
    Ok(())
}

pub async fn a_transaction_that_its_closure_ends_is_found_out() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let insert = "insert into note (body) values ('x')";
    let unknown = (false, UNKNOWN);
    for (statements, succeeds) in [
        ("insert into note (body) values ('1'); commit", false),
        ("insert into note (body) values ('2'); commit", true),
        ("insert into note (body) values ('3'); rollback", true),
        ("insert into note (body) values ('4'); commit; begin", false),
        ("insert into note (body) values ('5'); rollback; begin", true),
        ("insert into note (body) values ('6'); rollback and chain", true),
        (
            "savepoint a; insert into note (body) values ('7'); rollback and chain",
            true,
        ),
        ("insert into note (body) values ('8'); end and chain", false),
    ] {
        let seen = transacted(&router, statements, succeeds).await;
        ensure!(seen == unknown, "{statements}: {seen:?}");
    }
    // Alone, as statements that are prepared.
    let alone = router.transaction("create", |session: Session| async move {
        session.execute(insert, &[]).await?;
        session.execute("commit", &[]).await?;
        Err::<(), _>(Error::application("no"))
    });
    ensure!(alone.await.err().and_then(|error| error.write_outcome()) == UNKNOWN);
    // Whether the COMMIT of the closure was carried out is not known at the deadline.
    let slow = Query::operation("create").within(Duration::from_millis(500));
    let slow = router.transaction(slow, |session: Session| async move {
        session.batch_execute("commit; select pg_sleep(30)").await
    });
    ensure!(slow.await.err().and_then(|error| error.write_outcome()) == UNKNOWN);
    // A savepoint ends nothing.
    let saved = "savepoint a; insert into note (body) values ('9'); rollback to savepoint a; release a";
    ensure!(transacted(&router, saved, true).await == (true, None));
    ensure!(transacted(&router, saved, false).await == (false, NOT_DONE));
    let there = "select string_agg(body, ' ' order by body) from note where length(body) = 1";
    ensure!(cluster.primary().sql(there).await? == "1 2 4 8 x");
    Ok(())
}

pub async fn a_token_that_comes_too_late_takes_nothing_back() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let insert =
        |session: Session| async move { session.execute("insert into note (body) values ('x')", &[]).await };
    router.write("create", insert).await?;
    // The question for the position of the log waits for a lock.
    let locked = cluster.primary().sql(
        "begin; lock table pg_catalog.pg_stat_wal_receiver in access exclusive mode; select pg_sleep(3); commit",
    );
    let asked = async {
        let held = "select count(*) from pg_locks where relation = 'pg_catalog.pg_stat_wal_receiver'::regclass and mode = 'AccessExclusiveLock' and granted";
        wait::eventually("the lock", Duration::from_secs(5), || async {
            ensure!(cluster.primary().sql(held).await? == "1");
            Ok(())
        })
        .await?;
        let query = Query::operation("create").within(Duration::from_millis(500));
        let (changed, token) = router.transaction_with_token(query, insert).await?;
        ensure!(changed == 1 && token.is_none(), "{token:?}");
        anyhow::Ok(())
    };
    let (locked, asked) = tokio::join!(locked, asked);
    asked?;
    locked?;
    Ok(())
}
