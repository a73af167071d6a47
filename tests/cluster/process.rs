//! The process: pages, stopping, starting again, being idle.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::ControlPlane;
use harness::control_plane::AuditEvent;
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::fixture::{Fixture, SOON, addresses};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .waiting_test("an_idle_operator_writes_nothing_for_two_minutes", idle)
        .test("a_restart_leaves_the_routes_alone_until_all_was_checked", restart)
        .test("its_pages_answer", pages)
        .test("half_sent_requests_cost_neither_memory_nor_routes", half_sent)
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
        "distributary_api_request_duration_seconds_count{kind=\"Secret\",verb=\"get\"}",
        "distributary_api_request_duration_seconds_count{kind=\"Secret\",verb=\"watch\"}",
        "distributary_api_request_duration_seconds_count{kind=\"EndpointSlice\",verb=\"create\"}",
        "distributary_api_request_duration_seconds_count{kind=\"ReplicaSetPolicy\",verb=\"status\"}",
        "# EOF",
    ] {
        ensure!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    Ok(())
}

/// Who reaches the port sends large and small requests that never end.
async fn half_sent(plane: Arc<ControlPlane>) -> Result<()> {
    /// Of the 256 MiB that chart and manifests give it.
    const MORE: u64 = 16 << 20;
    let it = Fixture::ready(plane, 2).await?;
    let replicas = [it.postgres.replica(0), it.postgres.replica(1)];
    it.leads("ro", &replicas, SOON).await?;
    it.operator.http_get("/metrics").await?;
    let before = it.operator.vm_hwm()?;
    let port = it.operator.http_address();
    let line = format!("X-Filler: {}\r\n", "x".repeat(4000));
    let large = format!("GET /metrics HTTP/1.1\r\nHost: a\r\n{}", line.repeat(100));
    let small = "GET /metrics HTTP/1.1\r\nHost: a\r\n".to_owned();
    let mut open = VecDeque::new();
    for (half, number) in [(large, 600), (small, 8000)] {
        for sent in 0..number {
            if let Ok(mut stream) = TcpStream::connect(port).await {
                // It may be refused before all was sent.
                let _ = wait::within("a half request", SOON, async {
                    anyhow::Ok(stream.write_all(half.as_bytes()).await)
                })
                .await?;
                open.push_back(stream);
            }
            // Fewer than this process may have open, and more than the operator takes.
            if open.len() > 400 {
                open.pop_front();
            }
            if sent == number / 2 {
                replicas[0].kill().await?;
                it.leads("ro", &replicas[1..], SOON).await?;
                replicas[0].start().await?;
            }
            if sent % 100 == 0 {
                let asked = Stopwatch::start();
                let page = it.operator.http_get("/livez").await?;
                ensure!(
                    page.status == 200 && asked.elapsed() < Duration::from_secs(1),
                    "{page:?} after {:?}",
                    asked.elapsed()
                );
            }
        }
        it.leads("ro", &replicas, SOON).await?;
    }
    let after = it.operator.vm_hwm()?;
    ensure!(after < before + MORE, "{before} bytes before, {after} after");
    it.operator.answers("/readyz").await
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
