//! `drill`: what the routes would be without a server, or a region.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::suite::Suite;

use crate::invocation::{distributary, file};

pub fn tests(suite: Suite<()>) -> Suite<()> {
    suite
        .test("drill_loses_every_server_and_every_region", losses)
        .test("drill_says_when_a_loss_leaves_no_reads", no_reads)
        .test("drill_names_nobody_who_may_not_take_over_the_writes", pinned)
        .test("drill_keeps_dedicated_replicas_to_their_class", dedicated)
}

const POLICY: &str = "
apiVersion: distributary.dev/v1alpha1
kind: ReplicaSetPolicy
metadata: {name: orders, namespace: shop}
spec:
  primary: {host: 198.18.0.1, region: east}
  replicas:
  - {id: a, host: 198.18.0.2, region: east}
  - {id: b, host: 198.18.0.3, region: west, promotable: false}
  - {id: c, host: 198.18.0.4, state: Disabled}
";

async fn losses(_: Arc<()>) -> Result<()> {
    let said = distributary(&["drill", "-f", "-"], POLICY, &[])?.with(0)?;
    for (row, expected) in [
        (["nothing", "rw"], ["Served", "primary", "-"]),
        (["nothing", "ro"], ["Served", "a,b", "-"]),
        (["primary", "rw"], ["Held", "primary", "changed"]),
        (["primary", "ro"], ["Served", "a,b", "-"]),
        (["a", "ro"], ["Served", "b", "changed"]),
        (["region west", "ro"], ["Served", "a", "changed"]),
        (["region east", "rw"], ["Held", "primary", "changed"]),
        (["region east", "ro"], ["Served", "b", "changed"]),
    ] {
        ensure!(said.row(&row)?[2..] == expected, "{row:?}: {said:#?}");
    }
    ensure!(said.row(&["c"]).is_err(), "{said:#?}");
    ensure!(
        said.out
            .contains("without primary: writes continue after one of these servers is promoted: a\n"),
        "{said:#?}"
    );
    ensure!(
        said.out
            .contains("without region east: no server could take over the writes\n"),
        "{said:#?}"
    );
    let json = distributary(&["drill", "-f", "-", "-o", "json"], POLICY, &[])?
        .with(0)?
        .json()?;
    let losses = &json["policies"][0]["losses"];
    ensure!(
        losses[1]["lost"]["endpoint"] == "primary" && losses[1]["mayTakeWrites"][0] == "a",
        "{json:#}"
    );
    ensure!(
        losses[4]["lost"]["region"] == "east" && losses[4]["routes"]["ro"]["state"] == "Served",
        "{json:#}"
    );
    Ok(())
}

async fn no_reads(_: Arc<()>) -> Result<()> {
    let strict = POLICY.replace("spec:", "spec:\n  failover: {readFallback: []}");
    distributary(&["drill", "-f", "-"], &strict, &[])?.with(0)?;
    let seen = file("drill.yaml", "checks: {a: [standby, TimedOut x 8]}")?;
    let arguments = ["drill", "-f", "-", "--observations", &seen.to_string_lossy()];
    let said = distributary(&arguments, &strict, &[])?.with(4)?;
    ensure!(said.row(&["b", "ro"])?[2] == "Held", "{said:#?}");
    Ok(())
}

async fn pinned(_: Arc<()>) -> Result<()> {
    let pinned = POLICY.replace("spec:", "spec:\n  failover: {primaryRole: Pinned}");
    let said = distributary(&["drill", "-f", "-"], &pinned, &[])?.with(0)?;
    ensure!(
        said.out
            .contains("without primary: no server could take over the writes\n"),
        "{said:#?}"
    );
    Ok(())
}

async fn dedicated(_: Arc<()>) -> Result<()> {
    let policy = POLICY
        .replace("promotable: false", "dedicatedTo: [analytics]")
        .replace("spec:", "spec:\n  failover: {readFallback: [DedicatedReplicas]}");
    let said = distributary(&["drill", "-f", "-"], &policy, &[])?.with(0)?;
    for (row, expected) in [
        (["nothing", "ro"], ["Served", "a", "-"]),
        (["nothing", "analytics"], ["Served", "b", "-"]),
        (["a", "ro"], ["Fallback", "b", "changed"]),
        (["a", "analytics"], ["Served", "b", "-"]),
        (["b", "ro"], ["Served", "a", "-"]),
        (["b", "analytics"], ["Fallback", "a", "changed"]),
    ] {
        ensure!(said.row(&row)?[2..] == expected, "{row:?}: {said:#?}");
    }
    let strict = policy.replace("readFallback: [DedicatedReplicas]", "readFallback: []");
    let said = distributary(&["drill", "-f", "-"], &strict, &[])?.with(4)?;
    ensure!(
        said.row(&["a", "ro"])?[2..] == ["Held", "a", "changed"],
        "{said:#?}"
    );
    Ok(())
}
