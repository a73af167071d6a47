//! Who answers reads through the ClusterIP of a Service.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use harness::{Postgres, Reader, wait};

use crate::fixture::{Fixture, SOON};

/// A client that never tries a second time: every read that fails is counted. That a machine is slow is no failure.
pub async fn reader(it: &Fixture, route: &str) -> Result<Reader> {
    let target = it.readable(route).await?;
    Ok(Reader::builder(target).rate(20).timeout(SOON).start())
}

/// Waits until so many reads were answered.
pub async fn answers(reader: &Reader, reads: u64) -> Result<()> {
    let what = format!("{reads} answers");
    reader
        .until(&what, SOON, |totals| (totals.reads >= reads).then_some(()))
        .await
}

/// Waits until the slices of a route have exactly these servers and a hundred reads through its ClusterIP are answered by
/// all of them and nobody else. A server that just returned may be out once more, on a busy machine.
pub async fn served_by(it: &Fixture, route: &str, servers: &[&Postgres]) -> Result<()> {
    it.leads(route, servers, SOON).await?;
    let what = format!("reads of {route} by {} servers alone", servers.len());
    // kube-proxy follows the slices within PROXY_DELAY, so the first reads may fail or be answered by others.
    wait::eventually(&what, SOON * 2, || reads(it, route, servers, 100)).await
}

async fn reads(it: &Fixture, route: &str, servers: &[&Postgres], count: u64) -> Result<()> {
    let target = it.cluster_ip(route).await?;
    let reader = Reader::builder(target)
        .rate(100)
        .reads(count)
        .timeout(SOON)
        .start();
    let totals = reader.end(SOON * 2).await?;
    let expected: BTreeSet<_> = servers.iter().map(|server| server.address()).collect();
    let answered: BTreeSet<_> = totals.by_server.keys().copied().collect();
    ensure!(
        totals.failures == 0 && answered == expected,
        "{route} was read from {totals:?}, not from {expected:?}"
    );
    Ok(())
}
