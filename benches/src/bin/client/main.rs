//! What the Rust client costs: the same reads of one replica by it, and by a bare pool of tokio-postgres connections; and by that pool through
//! `PgBouncer` and `HAProxy`. The client takes part a second time with operations that take turns, so that nearly every session is named
//! anew. `make bench-client`.
//!
//! The aims: 98 % of the throughput of the bare pool, a p99 at most 5 % longer. The contestants take turns, round by round, and each
//! round is compared within itself; medians of those count. A slice is short, so that what else the machine does befalls all slices of a round.

mod bare;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use benches::contestants::Haproxy;
use benches::figures::{Times, aim, save, show, table};
use benches::journal::Journal;
use benches::option;
use distributary_client::{Query, Router, Session};
use futures::future::BoxFuture;
use harness::postgres::{APP, DATABASE, Passwords, Pooler};
use harness::{PgCluster, node, wait};
use serde_json::json;
use tokio::task::JoinSet;

/// Connections of each pool, and as many readers.
const SIZE: usize = 15;
/// Of each contestant, in each round.
const SLICE: Duration = Duration::from_millis(500);
const STATEMENT: &str = "select 1";
const OPERATIONS: [&str; 4] = ["one", "two", "three", "four"];
/// The aims, of the bare pool's.
const THROUGHPUT: f64 = 0.98;
const P99: f64 = 1.05;

/// One read.
type Read = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

fn main() -> ExitCode {
    node::enter(|| benches::run(measure()))
}

/// What a slice has shown.
struct Slice {
    per_second: f64,
    p99: Duration,
}

async fn measure() -> Result<()> {
    let rounds: usize = option("ROUNDS", 80)?;
    let settings = PgCluster::builder().setting("max_connections", "200");
    let postgres = settings.replicas(2).start().await?;
    let replica = postgres.replica(0);
    let pooler = Pooler::pgbouncer(replica, Passwords::Known).await?;
    let haproxy = Haproxy::start("haproxy", "haproxy.cfg", &postgres, &Journal::default())?;
    let behind = std::net::SocketAddr::from((pooler.address(), 5432));
    let router = router(&postgres).await?;
    let contestants: [(&str, Read); 5] = [
        ("bare pool", bare::reads(replica.socket(), SIZE)?),
        ("this client", routed(router.clone(), &[])),
        ("the same, operations", routed(router, &OPERATIONS)),
        ("PgBouncer", bare::reads(behind, SIZE)?),
        ("HAProxy", bare::reads(haproxy.front(), SIZE)?),
    ];
    for (_, read) in &contestants {
        slice(read).await?;
    }
    let mut seen: Vec<Vec<Slice>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..contestants.len() {
            let at = (round + turn) % contestants.len();
            seen[at].push(slice(&contestants[at].1).await?);
        }
    }
    report(&contestants.map(|(name, _)| name), &seen)
}

/// A router of which every read goes to the first replica.
async fn router(postgres: &PgCluster) -> Result<Router> {
    let host = |server: &harness::Postgres| server.address().to_string();
    let spec = serde_json::from_value(json!({
        "primary": {"host": host(postgres.primary())},
        "replicas": [{"id": "replica", "host": host(postgres.replica(0)), "maxConnections": SIZE}],
        "connection": {
            "database": DATABASE, "credentialsSecretRef": {"name": "login"}, "tls": {"mode": "Disable"},
        },
    }))?;
    let login = [("username", APP.user), ("password", APP.password)];
    let router = Router::builder().policy("bench", spec).secret("login", login);
    let router = router.connect().await?;
    wait::eventually("the replica to serve", Duration::from_secs(30), || async {
        let targets = &router.table().routes["ro"].targets;
        targets.iter().all(|target| target.endpoint == "replica")
    })
    .await?;
    Ok(router)
}

/// Reads of these operations in turn; of none where there are none.
fn routed(router: Router, operations: &'static [&'static str]) -> Read {
    let turns = AtomicUsize::new(0);
    Arc::new(move || {
        let router = router.clone();
        let query = match operations {
            [] => Query::new(),
            all => Query::operation(all[turns.fetch_add(1, Ordering::Relaxed) % all.len()]),
        };
        Box::pin(async move {
            let run = |session: Session| async move { session.simple_query(STATEMENT).await.map(drop) };
            Ok(router.read(query, run).await?)
        })
    })
}

/// Readers without a pause, for a while.
async fn slice(read: &Read) -> Result<Slice> {
    let start = Instant::now();
    let mut readers = JoinSet::new();
    for _ in 0..SIZE {
        let read = Arc::clone(read);
        readers.spawn(async move {
            let mut took = Vec::new();
            while start.elapsed() < SLICE {
                let began = Instant::now();
                read().await?;
                took.push(began.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut times = Times::default();
    while let Some(took) = readers.join_next().await {
        took??.into_iter().for_each(|time| times.push(Some(time)));
    }
    let count = u32::try_from(times.count())?;
    Ok(Slice {
        per_second: f64::from(count) / start.elapsed().as_secs_f64(),
        p99: times.quantile(0.99).context("no read")?,
    })
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn report(names: &[&str], seen: &[Vec<Slice>]) -> Result<()> {
    let mut rows = vec![
        ["", "reads/s", "p99", "of the bare pool's reads/s", "of its p99"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut figures = Vec::new();
    for (name, slices) in names.iter().zip(seen) {
        let pairs = || slices.iter().zip(&seen[0]);
        let rate = median(
            pairs()
                .map(|(own, bare)| own.per_second / bare.per_second)
                .collect(),
        );
        let p99 = median(
            pairs()
                .map(|(own, bare)| own.p99.as_secs_f64() / bare.p99.as_secs_f64())
                .collect(),
        );
        let per_second = median(slices.iter().map(|slice| slice.per_second).collect());
        let longest = median(slices.iter().map(|slice| slice.p99.as_secs_f64()).collect());
        rows.push(vec![
            (*name).to_owned(),
            format!("{per_second:.0}"),
            show(Some(Duration::from_secs_f64(longest))),
            format!("{rate:.3}"),
            format!("{p99:.3}"),
        ]);
        figures.push(json!({
            "name": name, "readsPerSecond": per_second, "p99Seconds": longest, "rate": rate, "p99": p99,
        }));
        if *name == "this client" {
            aim(
                "throughput of at least 98 % of the bare pool's",
                Some(rate >= THROUGHPUT),
            );
            aim("a p99 at most 5 % longer", Some(p99 <= P99));
        }
    }
    table(&rows);
    save("client", json!({"rounds": seen[0].len(), "contestants": figures}))
}
