//! The process: pages, stopping, starting again, being idle.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::AuditEvent;
use harness::suite::Suite;
use harness::{ControlPlane, wait};

use crate::fixture::{Fixture, SOON, addresses};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("an_idle_operator_writes_nothing_for_two_minutes", idle)
        .test("a_restart_leaves_the_routes_alone_until_all_was_checked", restart)
        .test("its_pages_answer", pages)
        .test("without_a_free_file_nobody_is_taken_for_dead", no_files)
}

async fn idle(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    for name in ["second", "third"] {
        it.apply_another(name, it.policy()).await?;
    }
    it.condition("Reconciling", "False", "Settled").await?;
    // Events of the last transitions are published in the background.
    it.rests().await?;
    let before = it.audit()?.iter().filter(|event| event.is_write()).count();
    wait::pass(
        Duration::from_secs(120),
        "that nothing is written can only be seen by its absence",
    )
    .await;
    let writes: Vec<_> = it
        .audit()?
        .into_iter()
        .filter(AuditEvent::is_write)
        .skip(before)
        .collect();
    ensure!(writes.is_empty(), "{writes:?}");
    Ok(())
}

async fn restart(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = Fixture::ready(plane, 2).await?;
    // A server that does not answer makes the first check of it slow: until then nothing may change, though the other
    // replica is refused at once.
    it.operator.kill();
    it.postgres.replica(0).kill().await?;
    it.postgres.replica(1).freeze()?;
    let route = it.follow("ro").await?;
    it.restart_operator().await?;
    route
        .leads_to(&addresses(&[it.postgres.replica(1)]), SOON)
        .await?;
    ensure!(
        it.checks_of("TimedOut").await? > 0,
        "who was refused left before every target was checked"
    );
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.postgres.replica(1).thaw()?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;

    // With all well, a restart writes no route at all.
    it.postgres.replica(0).start().await?;
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await?;
    it.condition("Degraded", "False", "AllServing").await?;
    let writes = it.writes()?.len();
    it.restart_operator().await?;
    it.operator.answers("/readyz").await?;
    wait::eventually("the new operator to have decided", SOON, || async {
        let metrics = it.operator.http_get("/metrics").await?.body;
        ensure!(
            metrics.contains("distributary_endpoint_eligible{"),
            "no decision yet"
        );
        anyhow::Ok(())
    })
    .await?;
    wait::pass(
        Duration::from_secs(1),
        "that nothing is written can only be seen by its absence",
    )
    .await;
    let routes: Vec<_> = it.writes()?.into_iter().skip(writes).collect();
    let audit = it.audit()?;
    let last = audit
        .into_iter()
        .rfind(AuditEvent::is_write)
        .and_then(|event| event.request);
    ensure!(routes.is_empty(), "{routes:?}: {}", last.unwrap_or_default());
    Ok(())
}

async fn pages(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.operator.answers("/livez").await?;
    it.operator.answers("/readyz").await?;
    let metrics = it.operator.http_get("/metrics").await?.body;
    for line in [
        "distributary_checks_total{result=\"Good\"}",
        "distributary_endpoint_eligible{",
        "# EOF",
    ] {
        ensure!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    Ok(())
}

async fn no_files(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let both = [it.postgres.replica(0), it.postgres.replica(1)];
    it.leads("ro", &both, SOON).await?;
    let usual = it.operator.limit_files("3")?;
    // It may be unable to write even its status.
    wait::eventually("every check to fail", SOON, || async {
        let log = it.operator.log();
        let failed = |id: &str| {
            log.lines()
                .any(|line| line.contains("OutOfResources") && line.contains(&format!("\"{id}\"")))
        };
        ensure!(
            ["primary", "replica-1", "replica-2"].into_iter().all(failed),
            "not yet"
        );
        Ok(())
    })
    .await?;
    let routed = || async {
        let (rw, ro) = (it.now("rw").await?.len(), it.now("ro").await?.len());
        ensure!((rw, ro) == (1, 2), "{rw} and {ro}");
        Ok(())
    };
    // Longer than failoverTimeout, and than the next checks.
    wait::throughout("the routes hold", Duration::from_secs(12), routed).await?;
    it.operator.limit_files(&usual)?;
    for id in ["primary", "replica-1", "replica-2"] {
        it.endpoint(id, "Serving", SOON).await?;
    }
    both[0].kill().await?;
    it.leads("ro", &both[1..], SOON).await
}
