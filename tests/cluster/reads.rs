//! Who answers reads through the ClusterIP of a Service.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use harness::{Postgres, Reader, wait};

use crate::fixture::{Fixture, SOON};

/// A client that never tries a second time: every read that fails is counted.
pub async fn reader(it: &Fixture, route: &str) -> Result<Reader> {
    let target = it.cluster_ip(route).await?;
    Ok(Reader::builder(target).rate(20).start())
}

/// Waits until the slices of a route have exactly these servers and a hundred reads through its ClusterIP are answered by
/// all of them and nobody else. A server that just returned may be out once more, on a busy machine.
pub async fn served_by(it: &Fixture, route: &str, servers: &[&Postgres]) -> Result<()> {
    it.leads(route, servers, SOON).await?;
    let what = format!("reads of {route} by {} servers alone", servers.len());
    // kube-proxy follows the slices within 2 s.
    wait::eventually(&what, SOON, || reads(it, route, servers, 100)).await
}

async fn reads(it: &Fixture, route: &str, servers: &[&Postgres], count: u64) -> Result<()> {
    let target = it.cluster_ip(route).await?;
    let reader = Reader::builder(target).rate(100).reads(count).start();
    let totals = reader.end(SOON).await?;
    let expected: BTreeSet<_> = servers.iter().map(|server| server.address()).collect();
    let answered: BTreeSet<_> = totals.by_server.keys().copied().collect();
    ensure!(
        totals.failures == 0 && answered == expected,
        "{route} was read from {totals:?}, not from {expected:?}"
    );
    Ok(())
}
