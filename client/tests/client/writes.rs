//! Writes, and what is known of those that fail.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Error, Query, Session, WriteOutcome};
use harness::{PgCluster, wait};

use crate::fixture::embedded;

async fn bodies(cluster: &PgCluster, body: &str) -> Result<String> {
    cluster
        .primary()
        .sql(&format!("select count(*) from note where body = '{body}'"))
        .await
}

pub async fn a_write_says_whether_it_was_done() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let insert = |body: &'static str| {
        move |session: Session| async move {
            session
                .execute("insert into note (body) values ($1)", &[&body])
                .await
        }
    };
    ensure!(router.transaction("create", insert("kept")).await? == 1);
    ensure!(bodies(&cluster, "kept").await? == "1");
    // The program's own error rolls back.
    let failed = router
        .transaction("create", |session: Session| async move {
            session
                .execute("insert into note (body) values ('mine')", &[])
                .await?;
            Err::<(), _>(Error::application("no"))
        })
        .await
        .err()
        .context("it failed")?;
    ensure!(
        failed.write_outcome() == Some(WriteOutcome::NotDone),
        "{failed:?}"
    );
    // A statement that failed is not hidden by a closure that goes on.
    let hidden = router
        .transaction("create", |session: Session| async move {
            session
                .execute("insert into note (body) values ('mine')", &[])
                .await?;
            let _ = session.execute("select nonsense", &[]).await;
            Ok(())
        })
        .await;
    ensure!(
        matches!(
            &hidden,
            Err(Error::Write {
                outcome: WriteOutcome::NotDone,
                ..
            })
        ),
        "{hidden:?}"
    );
    ensure!(bodies(&cluster, "mine").await? == "0");
    // A refused statement changed nothing; after another one that was carried out that is not known of the whole.
    let refused = router.write("create", |session: Session| async move {
        session.execute("select nonsense", &[]).await
    });
    ensure!(refused.await.err().and_then(|error| error.write_outcome()) == Some(WriteOutcome::NotDone));
    let half = router.write("create", |session: Session| async move {
        session
            .execute("insert into note (body) values ('half')", &[])
            .await?;
        session.execute("select nonsense", &[]).await
    });
    ensure!(half.await.err().and_then(|error| error.write_outcome()) == Some(WriteOutcome::Unknown));
    // A deadline in the middle of a statement.
    let slow = Query::operation("create").within(Duration::from_millis(200));
    let slow = router.write(slow, |session: Session| async move {
        session.execute("select pg_sleep(30)", &[]).await
    });
    ensure!(slow.await.err().and_then(|error| error.write_outcome()) == Some(WriteOutcome::Unknown));
    // The same in a transaction: COMMIT was never sent.
    let slow = Query::operation("create").within(Duration::from_millis(200));
    let slow = router.transaction(slow, |session: Session| async move {
        session.execute("select pg_sleep(30)", &[]).await
    });
    ensure!(slow.await.err().and_then(|error| error.write_outcome()) == Some(WriteOutcome::NotDone));
    wait::eventually("the statements to be cancelled", Duration::from_secs(3), || async {
        let left = cluster.primary().sql("select count(*) from pg_stat_activity where query like 'select pg_sleep(30)%' and state = 'active'").await?;
        ensure!(left == "0", "{left} run");
        Ok(())
    })
    .await?;
    // A server that restarts: the write is sent once it is back.
    ensure!(router.write("create", insert("before")).await? == 1);
    cluster.primary().restart().await?;
    // Bytes that went to the old one are lost without a word: its sessions are gone once one that writes nothing was answered.
    let nothing = |session: Session| async move { session.execute("select 1", &[]).await };
    wait::eventually("the primary to be back", Duration::from_secs(10), || {
        router.write("create", nothing)
    })
    .await?;
    ensure!(router.write("create", insert("after")).await? == 1);
    ensure!(bodies(&cluster, "after").await? == "1");
    // Nobody there.
    cluster.primary().kill().await?;
    let failed = router
        .write("create", insert("nobody"))
        .await
        .err()
        .context("it failed")?;
    ensure!(
        failed.write_outcome() == Some(WriteOutcome::NotDone),
        "{failed:?}"
    );
    Ok(())
}

pub async fn writes_follow_no_read_only_server() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let insert =
        |session: Session| async move { session.execute("insert into note (body) values ('x')", &[]).await };
    router.write("create", insert).await?;
    // As on a server that became a standby: a transaction that writes is refused.
    let refused = router
        .transaction("create", |session: Session| async move {
            session
                .batch_execute("set transaction_read_only = on; insert into note (body) values ('y')")
                .await
        })
        .await
        .err()
        .context("it failed")?;
    ensure!(
        refused.sqlstate().is_some_and(|state| state.code() == "25006"),
        "{refused:?}"
    );
    ensure!(
        refused.write_outcome() == Some(WriteOutcome::NotDone),
        "{refused:?}"
    );
    ensure!(
        router.write("create", insert).await? == 1,
        "on another connection"
    );
    Ok(())
}

pub async fn a_transaction_that_may_only_read_says_nothing_of_the_server() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let process = |session: Session| async move {
        let row = session.query_one("select pg_backend_pid()", &[]).await?;
        Ok(row.get::<_, i32>(0))
    };
    let before = router.write("create", process).await?;
    let insert =
        |session: Session| async move { session.execute("insert into note (body) values ('x')", &[]).await };
    for _ in 0..3 {
        let refused = router
            .transaction(Query::operation("create").read_only(), insert)
            .await;
        let refused = refused.err().context("it wrote")?;
        ensure!(
            refused.sqlstate().is_some_and(|state| state.code() == "25006"),
            "{refused:?}"
        );
    }
    let after = router.write("create", process).await?;
    ensure!(before == after, "the connection was given up");
    Ok(())
}
