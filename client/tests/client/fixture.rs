//! Servers, and a router that is embedded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::api::ReplicaSetPolicySpec;
use distributary_client::{Error, Query, Router, RouterBuilder, Session};
use harness::postgres::{APP, DATABASE};
use harness::{PgCluster, Postgres, wait};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The Secret of the login.
const LOGIN: &str = "login";

/// A policy of all servers of a cluster: `primary`, `replica-0` and so on.
pub fn spec(cluster: &PgCluster) -> Value {
    let host = |server: &Postgres| server.address().to_string();
    let replicas = cluster.replicas().iter().enumerate();
    let replicas: Vec<_> = replicas
        .map(|(at, server)| json!({"id": format!("replica-{at}"), "host": host(server)}))
        .collect();
    json!({
        "primary": {"host": host(cluster.primary())},
        "replicas": replicas,
        "connection": {
            "database": DATABASE,
            "credentialsSecretRef": {"name": LOGIN},
            "tls": {"mode": "Disable"},
        },
    })
}

pub fn builder(spec: &Value) -> Result<RouterBuilder> {
    let spec: ReplicaSetPolicySpec = serde_json::from_value(spec.clone())?;
    Ok(Router::builder()
        .policy("orders", spec)
        .secret(LOGIN, [("username", APP.user), ("password", APP.password)]))
}

pub async fn embedded(cluster: &PgCluster) -> Result<Router> {
    warm(builder(&spec(cluster))?.connect().await.context("a router")?).await
}

/// The router, once all replicas serve: the lag of a new one is known after some heartbeats.
pub async fn warm(router: Router) -> Result<Router> {
    wait::eventually("all replicas to serve", Duration::from_secs(20), || async {
        let table = router.table();
        let serve = table.routes["ro"]
            .targets
            .iter()
            .filter(|target| target.endpoint != "primary")
            .count();
        ensure!(
            serve == router.health().total_replicas,
            "{:?}",
            table.routes["ro"]
        );
        Ok(())
    })
    .await?;
    Ok(router)
}

/// Asks a server for its address.
pub async fn whoami(session: Session) -> Result<String, Error> {
    let row = session.query_one("select host(inet_server_addr())", &[]).await?;
    Ok(row.get(0))
}

/// So many reads, one after the other, by the id of the endpoint.
pub async fn served(router: &Router, query: &Query, reads: usize) -> Result<BTreeMap<String, usize>> {
    let mut by = BTreeMap::new();
    for _ in 0..reads {
        let run = |session: Session| async move {
            session.query_one("select 1", &[]).await?;
            Ok(session.endpoint().to_owned())
        };
        *by.entry(router.read(query.clone(), run).await?).or_default() += 1;
    }
    Ok(by)
}

/// What steady reads have shown.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: usize,
    pub failed: Vec<String>,
    pub longest: Duration,
}

/// Reads 200 times a second, each with a deadline of a second, while something happens.
pub async fn under_load<F>(router: &Router, during: F) -> Result<Tally>
where
    F: Future<Output = Result<()>>,
{
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut reads = JoinSet::new();
    let loading = async {
        loop {
            let (router, tally) = (router.clone(), Arc::clone(&tally));
            reads.spawn(async move {
                let watch = wait::Stopwatch::start();
                let query = Query::new().within(Duration::from_secs(1));
                let result = router.read(query, whoami).await;
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.longest = tally.longest.max(watch.elapsed());
                match result {
                    Ok(_) => tally.answered += 1,
                    Err(error) => tally.failed.push(format!("{:#}", anyhow::Error::from(error))),
                }
            });
            while reads.try_join_next().is_some() {}
            wait::pass(Duration::from_millis(5), "the rate of the reads").await;
        }
    };
    tokio::select! {
        () = loading => {}
        result = during => result?,
    }
    while reads.join_next().await.is_some() {}
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *tally))
}
