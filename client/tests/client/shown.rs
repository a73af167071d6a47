//! What a router shows: explanations, spans; and data that comes and goes in parts.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Error, Query, Session, WriteOutcome};
use harness::postgres::APP;
use harness::{PgCluster, wait};
use tracing::Instrument;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::fixture::embedded;
use crate::reads::by_file;

pub async fn an_explanation_says_who_serves_and_who_is_kept_out() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let table = embedded(&cluster).await?.table();
    let router = by_file(&cluster, &table).await?;
    let said = router.explain(Query::new().read_only())?.to_string();
    ensure!(
        said.starts_with("read on the route ro (Served; Replicas), revision "),
        "{said}"
    );
    let address = cluster.replica(1).address();
    let line = format!("\n  replica-1 {address}:5432 Eligible weight 100");
    ensure!(said.contains(&line), "{said}");
    let write = router.explain("create")?.to_string();
    ensure!(
        write.starts_with("write on the route rw (Served; Primary)"),
        "{write}"
    );
    cluster.replica(1).freeze()?;
    let slow = |session: Session| async move { session.query_one("select 1", &[]).await.map(drop) };
    let shown = wait::eventually("the silence to be noticed", Duration::from_secs(10), || async {
        let _ = router
            .read(Query::new().within(Duration::from_secs(1)), slow)
            .await;
        let said = router.explain(Query::new().read_only())?.to_string();
        ensure!(
            said.contains("replica-1") && said.contains("; 0 % pass here: Suspect"),
            "{said}"
        );
        Ok(())
    });
    let shown = shown.await;
    cluster.replica(1).thaw()?;
    shown
}

/// What is written to it.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub async fn spans_tell_where_a_request_went_and_no_secret() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let requests = async {
        let query = || {
            Query::operation("findMany")
                .read_only()
                .of_tenant("canary-tenant")
        };
        let one = |session: Session| async move { session.query_one("select 1", &[]).await.map(drop) };
        router.read(query(), one).await?;
        let fails = |session: Session| async move {
            session
                .query_one("select 'canary-data'::int", &[])
                .await
                .map(drop)
        };
        let failed = router.read(query(), fails).await.err();
        failed.context("it is no number")?;
        let failed = router.write("create", fails).await.err();
        failed.context("it is no number")?;
        anyhow::Ok(())
    };
    requests.with_subscriber(subscriber).await?;
    let text = String::from_utf8(written.0.lock().expect("no panic").clone())?;
    for expected in [
        "read{operation=\"findMany\"",
        "route=\"ro\"",
        "endpoint=\"replica-0\"",
        "write{operation=\"create\" transaction=false endpoint=\"primary\"",
        "error=the write is not done",
        "error=the server replica-0 did not carry out the statement",
    ] {
        ensure!(text.contains(expected), "{expected}: {text}");
    }
    for secret in [APP.password, "canary-tenant", "canary-data"] {
        let at = text.lines().find(|line| line.contains(secret));
        // The protocol's implementation tells statements below the level of anybody's spans.
        ensure!(at.is_none_or(|line| line.contains("tokio_postgres")), "{at:?}");
    }
    Ok(())
}

pub async fn a_span_of_the_program_is_left_alone() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let written = Written::default();
    let writer = written.clone();
    // As most programs have it: the spans of the router are below the level.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let requests = async {
        let empty = tracing::field::Empty;
        let span = tracing::info_span!("request", route = empty, endpoint = empty, error = empty);
        let both = async {
            let one = |session: Session| async move { session.query_one("select 1", &[]).await.map(drop) };
            router.read(Query::new(), one).await?;
            router.write("create", one).await
        };
        both.instrument(span).await
    };
    requests.with_subscriber(subscriber).await?;
    let text = String::from_utf8(written.0.lock().expect("no panic").clone())?;
    let mut lines = text.lines().filter(|line| line.contains("request"));
    let closed = lines.next().context("the span of the program")?;
    ensure!(
        !closed.contains("route=") && !closed.contains("endpoint="),
        "{closed}"
    );
    Ok(())
}

pub async fn data_comes_and_goes_in_parts() -> Result<()> {
    const ROWS: usize = 100_000;
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let copy = |session: Session| async move {
        let rows = (0..ROWS / 1000).map(|part| {
            let lines = (0..1000).map(|row| format!("copied {}\n", part * 1000 + row));
            Ok::<_, Error>(bytes::Bytes::from(lines.collect::<String>()))
        });
        session
            .copy_in("copy note (body) from stdin", futures::stream::iter(rows))
            .await
    };
    let copied = router.write("createMany", copy).await?;
    ensure!(copied == ROWS as u64, "{copied}");
    // Data that ends with an error leaves nothing.
    let broken = |session: Session| async move {
        let data = [
            Ok(bytes::Bytes::from_static(b"broken\n")),
            Err(Error::application("no more")),
        ];
        session
            .copy_in("copy note (body) from stdin", futures::stream::iter(data))
            .await
    };
    let failed = router
        .write("createMany", broken)
        .await
        .err()
        .context("the data ended")?;
    ensure!(
        failed.write_outcome() == Some(WriteOutcome::Unknown),
        "{failed:?}"
    );
    let count = cluster
        .primary()
        .sql("select count(*) from note where body = 'broken'")
        .await?;
    ensure!(count.trim() == "0", "{count}");
    let each = |session: Session| async move {
        let mut seen = 0;
        let statement = "select body from note where body like 'copied%'";
        let rows = session
            .query_each(statement, &[], |_| {
                seen += 1;
                Ok(())
            })
            .await?;
        Ok((rows, seen))
    };
    let streamed = router.read(Query::new().prefer_primary(), each).await?;
    ensure!(streamed == (ROWS as u64, ROWS as u64), "{streamed:?}");
    // One that is ended in the middle leaves no connection in use.
    let stop = |session: Session| async move {
        let ended = session.query_each("select generate_series(1, 1000000)", &[], |_| {
            Err(Error::application("enough"))
        });
        ended.await
    };
    for _ in 0..30 {
        let ended = router.read(Query::new(), stop).await;
        ensure!(matches!(ended, Err(Error::Application(_))), "{ended:?}");
    }
    wait::eventually("the sessions to end", Duration::from_secs(10), || async {
        let busy = "select count(*) from pg_stat_activity where usename = 'app' and state = 'active'";
        let busy = cluster.replica(0).sql(busy).await?;
        ensure!(busy.trim() == "0", "{busy}");
        Ok(())
    })
    .await
}
