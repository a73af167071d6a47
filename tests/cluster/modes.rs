//! Observe, Suspend, and policies that are wrong.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use distributary_api::rules;
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, endpoint};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("observe_judges_and_writes_no_routes", observe)
        .test(
            "observe_tells_in_status_and_an_event_what_enforce_writes",
            would_route,
        )
        .test("suspend_holds_everything", suspend)
        .test("a_policy_made_invalid_keeps_what_worked", made_invalid)
}

async fn observe(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = it.policy();
    policy["spec"]["mode"] = json!("Observe");
    it.apply(&policy).await?;
    it.condition("Programmed", "False", "Observing").await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.condition("Ready", "False", "Observing").await?;
    let services = it.api::<Service>().list(&ListParams::default()).await?;
    ensure!(services.items.is_empty(), "it wrote routes");
    it.postgres.replica(0).kill().await?;
    it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    it.postgres.replica(0).start().await?;
    it.patch(json!({"spec": {"mode": "Enforce"}})).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await
}

async fn would_route(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = it.policy();
    policy["spec"]["mode"] = json!("Observe");
    policy["spec"]["replicas"][1]["tags"] = json!(["analytics"]);
    policy["spec"]["routing"] = json!({"classes": [
        {"name": "analytics", "replicaSelector": {"tags": ["analytics"]}},
    ]});
    it.apply(&policy).await?;
    told(
        &it,
        &[
            "rw to primary (Served)",
            "ro to replica-1, replica-2 (Served)",
            "analytics to replica-2 (Served)",
        ],
    )
    .await?;
    it.postgres.replica(1).kill().await?;
    it.endpoint("replica-2", "CircuitOpen", SOON).await?;
    told(
        &it,
        &["ro to replica-1 (Served)", "analytics to replica-1 (Fallback)"],
    )
    .await?;
    let expected = json!([
        {"name": "rw", "state": "Served", "endpoints": ["primary"]},
        {"name": "ro", "state": "Served", "endpoints": ["replica-1"]},
        {"name": "analytics", "state": "Fallback", "endpoints": ["replica-1"]},
    ]);
    ensure!(routes(&it).await? == expected, "{}", routes(&it).await?);
    let written = it.writes()?;
    ensure!(
        written
            .iter()
            .all(|write| write.contains("replicasetpolicies/status")),
        "{written:?}"
    );
    it.patch(json!({"spec": {"mode": "Enforce"}})).await?;
    it.condition("Programmed", "True", "Programmed").await?;
    let one = [it.postgres.replica(0)];
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.leads("ro", &one, SOON).await?;
    it.leads("analytics", &one, SOON).await?;
    ensure!(routes(&it).await? == expected, "{}", routes(&it).await?);
    Ok(())
}

/// Who serves each route, by the status.
async fn routes(it: &Fixture) -> Result<Value> {
    Ok(serde_json::to_value(it.get().await?.status)?["routes"].clone())
}

/// Waits for Events that tell what would be routed: one for all routes, unless a replica answered before the primary first, which then
/// serves a moment later.
async fn told(it: &Fixture, routes: &[&str]) -> Result<()> {
    wait::eventually(&format!("Events of {routes:?}"), SOON, || async {
        let events = it.api::<Event>().list(&ListParams::default()).await?.items;
        let would = events
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some("WouldRoute"));
        let notes: Vec<_> = would.filter_map(|event| event.note).collect();
        let tells = |note: &str, route: &str| {
            let told = note.strip_prefix("mode is Observe; the operator would route ");
            let told = told.and_then(|told| told.strip_suffix('.'));
            told.is_some_and(|told| told.split("; ").any(|told| told == route))
        };
        let all = routes
            .iter()
            .all(|route| notes.iter().any(|note| tells(note, route)));
        ensure!(all, "{notes:?}");
        anyhow::Ok(())
    })
    .await
}

async fn suspend(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.patch(json!({"spec": {"mode": "Suspend"}})).await?;
    it.condition("Programmed", "False", "Suspended").await?;
    it.condition("Ready", "Unknown", "Suspended").await?;
    let both = it.now("ro").await?;
    let writes = it.writes()?.len();
    it.postgres.replica(0).kill().await?;
    wait::throughout("the routes are held", Duration::from_secs(3), || async {
        ensure!(it.now("ro").await? == both, "they changed");
        anyhow::Ok(())
    })
    .await?;
    ensure!(it.writes()?.len() == writes, "it wrote: {:?}", it.writes()?);
    ensure!(
        endpoint(&it.get().await?, "replica-1").is_some(),
        "the status lost its endpoints"
    );
    it.patch(json!({"spec": {"mode": "Enforce"}})).await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await
}

async fn made_invalid(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    // Too much for admission.
    let classes = json!([{"name": "reports", "replicaSelector": {"ids": ["nobody"]}}]);
    it.patch(json!({"spec": {"routing": {"classes": classes}}}))
        .await?;
    let refused = it.condition("Accepted", "False", "Invalid").await?;
    let expected = format!(
        "spec.routing.classes[0].replicaSelector.ids: {}: nobody",
        rules::SELECTOR_IDS
    );
    ensure!(refused.message == expected, "{}", refused.message);
    it.condition("Stalled", "True", "Invalid").await?;
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await?;
    // The last valid policy stays in force, and alive.
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    it.postgres.replica(0).start().await?;
    it.patch(json!({"spec": {"routing": {"classes": null}}})).await?;
    it.condition("Accepted", "True", "Valid").await?;
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await
}
