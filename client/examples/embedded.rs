//! A primary and two replicas, and a program that routes its requests by itself: no Kubernetes, no operator.
//!
//! It starts the servers in a network namespace of its own, so it runs as root. It shows where requests go, what a killed replica
//! costs, and its return.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use distributary_client::api::ReplicaSetPolicySpec;
use distributary_client::{Error, Follower, Query, Router, Session};
use harness::postgres::{APP, DATABASE};
use harness::{PgCluster, node, suite, wait};
use serde_json::json;

fn main() -> ExitCode {
    node::enter(|| match suite::runtime().block_on(show()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

async fn show() -> Result<()> {
    println!("A primary and two replicas start.");
    let cluster = PgCluster::start(2).await?;
    let router = router(&cluster).await?;
    wait::eventually("both replicas to serve", Duration::from_secs(20), || async {
        router.table().routes["ro"]
            .targets
            .iter()
            .filter(|target| target.endpoint != "primary")
            .count()
            == 2
    })
    .await?;

    println!("100 reads:    {:?}", reads(&router, 100).await?);
    for query in [
        Query::operation("findMany").read_only(),
        Query::operation("dashboard"),
        Query::operation("create"),
    ] {
        let operation = format!("{}:", query.operation_name());
        let explained = router.explain(query)?;
        let targets: Vec<_> = explained
            .targets
            .iter()
            .map(|target| target.endpoint.as_str())
            .collect();
        println!(
            "{operation:<13} route {}: {}",
            explained.route,
            targets.join(", ")
        );
    }

    let user = Follower::new(router.clone());
    let write = |session: Session| async move {
        session
            .execute("insert into note (body) values ('mine')", &[])
            .await
    };
    user.transaction("create", write).await?;
    let token = user.token().context("a write has a token")?;
    let see = |session: Session| async move {
        let row = session
            .query_one("select count(*) from note where body = 'mine'", &[])
            .await?;
        Ok((row.get::<_, i64>(0), session.endpoint().to_owned()))
    };
    let (found, endpoint) = user.read(Query::new(), see).await?;
    println!("Read your writes: token {token}, {found} row seen on {endpoint}.");

    println!("replica-0 is killed (SIGKILL) while reads go on.");
    let mut killed = Box::pin(cluster.replica(0).kill());
    let mut by = BTreeMap::new();
    let watch = wait::Stopwatch::start();
    let mut dead = false;
    while watch.elapsed() < Duration::from_secs(3) {
        *by.entry(read(&router).await?).or_insert(0) += 1;
        if !dead {
            dead = true;
            killed.as_mut().await?;
        }
    }
    let stats = router.stats();
    println!(
        "Reads of 3 s: {by:?}; none failed, {} were sent a second time.",
        stats.retries
    );

    println!("replica-0 starts again.");
    let watch = wait::Stopwatch::start();
    cluster.replica(0).start().await?;
    wait::eventually("replica-0 to serve again", Duration::from_secs(30), || async {
        read(&router).await.is_ok_and(|endpoint| endpoint == "replica-0")
    })
    .await?;
    println!(
        "It serves again after {:.1?}: {:?}",
        watch.elapsed(),
        reads(&router, 100).await?
    );
    Ok(())
}

/// A router by the policy of these servers, as a program would read it from a file.
async fn router(cluster: &PgCluster) -> Result<Router> {
    let host = |number: usize| cluster.replica(number).address().to_string();
    let spec: ReplicaSetPolicySpec = serde_json::from_value(json!({
        "primary": {"host": cluster.primary().address().to_string()},
        "replicas": [{"id": "replica-0", "host": host(0)}, {"id": "replica-1", "host": host(1)}],
        "connection": {
            "database": DATABASE,
            "credentialsSecretRef": {"name": "login"},
            "tls": {"mode": "Disable"},
        },
    }))?;
    let builder = Router::builder()
        .policy("orders", spec)
        .secret("login", [("username", APP.user), ("password", APP.password)]);
    Ok(builder.connect().await?)
}

/// The endpoint that served a read.
async fn read(router: &Router) -> Result<String, Error> {
    let run = |session: Session| async move {
        session.query_one("select 1", &[]).await?;
        Ok(session.endpoint().to_owned())
    };
    router
        .read(Query::new().within(Duration::from_secs(1)), run)
        .await
}

async fn reads(router: &Router, count: usize) -> Result<BTreeMap<String, usize>> {
    let mut by = BTreeMap::new();
    for _ in 0..count {
        *by.entry(read(router).await?).or_default() += 1;
    }
    Ok(by)
}
