//! Who answers reads through the ClusterIP of a Service.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::PROXY_DELAY;
use harness::reader::Totals;
use harness::{Postgres, Reader, wait};

use crate::fixture::{Fixture, SOON};

/// What the machine may add to a time, as these tests share it with others; tests/timing measures.
const BUSY: Duration = Duration::from_secs(2);

/// Reads failed no longer than a dead server was in the slice, `out` after it died, and kube-proxy took to follow.
pub fn lost_no_more(totals: &Totals, out: Duration) -> Result<()> {
    let bound = out + PROXY_DELAY + BUSY;
    ensure!(
        totals.failing <= bound,
        "reads failed for longer than {bound:?}: {totals:?}"
    );
    Ok(())
}

/// A client that never tries a second time: every read that fails is counted. That a machine is slow is no failure.
pub async fn reader(it: &Fixture, route: &str) -> Result<Reader> {
    let target = it.cluster_ip(route).await?;
    Ok(Reader::builder(target).rate(20).timeout(SOON).start())
}

/// Waits until the slices of a route have exactly these servers and a hundred reads through its ClusterIP are answered by
/// all of them and nobody else. A server that just returned may be out once more, on a busy machine.
pub async fn served_by(it: &Fixture, route: &str, servers: &[&Postgres]) -> Result<()> {
    it.leads(route, servers, SOON).await?;
    let what = format!("reads of {route} by {} servers alone", servers.len());
    // Within PROXY_DELAY kube-proxy follows the slices.
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
