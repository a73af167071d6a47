//! How much is written, and in which order.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::control_plane::AuditEvent;
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use serde_json::Value;

use crate::fixture::{Fixture, SOON};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test(
        "a_transition_is_one_slice_first_then_config_map_and_status",
        transition,
    )
}

fn targets(writes: &[AuditEvent]) -> Vec<String> {
    writes.iter().map(AuditEvent::target).collect()
}

/// Waits until these were written from `start` on, and nothing else before: the log of the API server follows its watches.
async fn written(it: &Fixture, start: usize, expected: &[&str]) -> Result<Vec<AuditEvent>> {
    wait::eventually("the writes of a transition", SOON, || async {
        let mut writes = it.writes_from(start)?;
        writes.truncate(expected.len());
        ensure!(targets(&writes) == expected, "{:?}", targets(&writes));
        anyhow::Ok(writes)
    })
    .await
}

async fn transition(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    it.condition("Reconciling", "False", "Settled").await?;
    let (dead, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let start = it.writes()?.len();
    // Out, without a trip.
    dead.kill().await?;
    it.endpoint("replica-1", "Suspect", SOON).await?;
    let route_first = ["endpointslices", "configmaps", "replicasetpolicies/status"];
    let suspect = written(&it, start, &route_first).await?;
    // The trip changes no route: it is told, and no more.
    it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    let trip = written(&it, start + suspect.len(), &["replicasetpolicies/status"]).await?;
    // Back, by way of the half-open steps: the ConfigMap has the shares, the slice the members.
    dead.start().await?;
    it.leads("ro", &[dead, other], SOON).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.condition("Degraded", "False", "AllServing").await?;
    it.rests().await?;
    let back = it.writes_from(start + suspect.len() + trip.len())?;
    let slices = back.iter().filter(|event| event.resource == "endpointslices");
    ensure!(slices.count() == 1, "{:?}", targets(&back));
    let bodies: Vec<&Value> = suspect
        .iter()
        .chain(&back)
        .filter(|event| event.resource == "configmaps")
        .filter_map(|event| event.request.as_ref().map(|body| &body["data"]))
        .collect();
    ensure!(
        bodies.len() >= 2 && bodies.windows(2).all(|pair| pair[0] != pair[1]),
        "a ConfigMap was written as it was: {bodies:?}"
    );
    let succeeded = it.writes_from(start)?.iter().all(AuditEvent::succeeded);
    ensure!(succeeded, "a write was refused: {:?}", it.writes_from(start)?);
    Ok(())
}
