//! Faults of servers, and the routes that follow. Times are those of the fixture's policy: interval 1 s,
//! failoverTimeout 3 s, resetTimeout 2 s. How soon a server is out is measured in tests/timing, where nothing else runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::postgres::Shutdown;
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use serde_json::json;

use crate::fixture::{Fixture, POLICY, SOON, endpoint};
use crate::reads::served_by;

const INTERVAL: Duration = Duration::from_secs(1);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_killed_replica_is_out_and_returns_step_by_step", killed_replica)
        .test("a_quick_restart_goes_out_and_back_without_a_trip", quick_restart)
        .test("a_frozen_replica_is_out_and_returns", frozen_replica)
        .test(
            "without_replicas_reads_go_to_the_primary_and_back",
            all_replicas_down,
        )
        .test("without_a_fallback_the_route_is_held", no_fallback)
        .test("a_lost_primary_keeps_its_route_and_is_reported", primary_down)
        .test(
            "a_standby_declared_as_primary_takes_no_writes",
            standby_as_primary,
        )
        .test(
            "a_writable_server_declared_as_replica_takes_no_reads",
            writable_replica,
        )
        .test("a_saturated_replica_stays", saturated_replica)
        .test("a_role_that_may_have_one_connection_is_not_used_up", limited_role)
}

async fn killed_replica(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (dead, alive) = (it.postgres.replica(0), it.postgres.replica(1));
    served_by(&it, "ro", &[dead, alive]).await?;
    dead.kill().await?;
    served_by(&it, "ro", &[alive]).await?;
    let open = it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    ensure!(
        open.server.circuit == "Open"
            && !open.server.eligible
            && open.server.failure.as_deref() == Some("ConnectRefused"),
        "{open:?}"
    );
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    it.condition("Ready", "True", "Routable").await?;

    dead.start().await?;
    let half_open = it.endpoint("replica-1", "Returning", SOON).await?;
    ensure!(
        half_open.server.circuit == "HalfOpen" && half_open.server.effective_weight == 10,
        "{half_open:?}"
    );
    it.leads("ro", &[dead, alive], SOON).await?;
    let closed = it.endpoint("replica-1", "Serving", SOON).await?;
    ensure!(
        closed.server.circuit == "Closed" && closed.server.effective_weight == 100,
        "{closed:?}"
    );
    it.condition("Degraded", "False", "AllServing").await?;
    served_by(&it, "ro", &[dead, alive]).await?;

    let events = it
        .plane
        .kubectl(&["get", "events.events.k8s.io", "-n", &it.namespace, "-o", "wide"])
        .await?;
    for id in ["primary", "replica-1", "replica-2"] {
        let note = format!("Endpoint {id} is Serving");
        ensure!(events.contains(&note), "no event of {id}:\n{events}");
    }
    for reason in ["Suspect", "CircuitOpen", "Returning", "Serving", "Ready"] {
        ensure!(events.contains(reason), "no event {reason}:\n{events}");
    }
    Ok(())
}

async fn quick_restart(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (back, other) = (it.postgres.replica(0), it.postgres.replica(1));
    back.stop(Shutdown::Fast).await?;
    it.leads("ro", &[other], SOON).await?;
    back.start().await?;
    it.leads("ro", &[back, other], SOON).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    ensure!(!it.operator.log().contains("CircuitOpen"), "its circuit opened");
    Ok(())
}

async fn frozen_replica(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (frozen, other) = (it.postgres.replica(0), it.postgres.replica(1));
    frozen.freeze()?;
    it.leads("ro", &[other], SOON).await?;
    let open = it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    ensure!(open.server.failure.as_deref() == Some("TimedOut"), "{open:?}");
    frozen.thaw()?;
    it.leads("ro", &[frozen, other], SOON).await
}

async fn all_replicas_down(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    for replica in it.postgres.replicas() {
        replica.stop(Shutdown::Immediate).await?;
    }
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.condition("ReadFallbackActive", "True", "NoReplicaEligible")
        .await?;
    it.condition("Ready", "True", "RoutableByFallback").await?;
    served_by(&it, "ro", &[it.postgres.primary()]).await?;
    for replica in it.postgres.replicas() {
        replica.start().await?;
    }
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded").await?;
    Ok(())
}

async fn no_fallback(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = it.policy();
    policy["spec"]["failover"] = json!({"readFallback": []});
    it.apply(&policy).await?;
    it.serves().await?;
    it.postgres.replica(0).kill().await?;
    it.condition("Ready", "False", "NoReadTarget").await?;
    it.endpoint("replica-1", "Held", SOON).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.postgres.replica(0).start().await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn primary_down(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.postgres.primary().kill().await?;
    it.condition("PrimaryReachable", "False", "NotReachable").await?;
    it.condition("Ready", "False", "PrimaryUnreachable").await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.postgres.primary().start().await?;
    it.condition("PrimaryReachable", "True", "Writable").await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn standby_as_primary(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = it.policy();
    policy["spec"]["primary"] = json!({"host": it.postgres.replica(0).address()});
    policy["spec"]["replicas"] = json!([{"id": "replica-2", "host": it.postgres.replica(1).address()}]);
    it.apply(&policy).await?;
    it.condition("PrimaryReachable", "False", "InRecovery").await?;
    it.condition("Ready", "False", "NoPrimary").await?;
    it.leads("rw", &[], SOON).await?;
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await?;
    it.endpoint("primary", "PrimaryInRecovery", SOON).await?;
    Ok(())
}

async fn writable_replica(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.postgres.replica(0).promote().await?;
    it.endpoint("replica-1", "WritableReplica", SOON).await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await
}

/// A session beside the checks would leave none for them.
async fn limited_role(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_quick(plane, 1).await?;
    let limit = |limit| format!("ALTER ROLE probe CONNECTION LIMIT {limit}");
    it.postgres.primary().sql(&limit(1)).await?;
    let told = |policy: &ReplicaSetPolicy| {
        let servers = policy.status.iter().flat_map(|status| &status.endpoints);
        let mut servers = servers.map(|endpoint| &endpoint.server);
        servers.all(|server| server.failure.is_none() && server.connection_limit == Some(1))
    };
    it.until("every endpoint to tell the limit", SOON, told).await?;
    it.condition("Degraded", "True", "ConnectionLimit").await?;
    // A busy server may take a while to end the session before the next check.
    wait::eventually("no check to fail for a while", SOON, || async {
        wait::throughout("no check fails", INTERVAL * 3, || async {
            let policy = it.get().await?;
            ensure!(told(&policy), "{:?}", policy.status);
            anyhow::Ok(())
        })
        .await
    })
    .await?;
    it.condition("Ready", "True", "Routable").await?;
    it.postgres.primary().sql(&limit(-1)).await?;
    it.serves().await?;
    it.holds_sessions().await
}

async fn saturated_replica(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.postgres
        .primary()
        .sql("ALTER ROLE probe CONNECTION LIMIT 0")
        .await?;
    let saturated = it.endpoint("replica-1", "Saturated", SOON).await?;
    ensure!(
        saturated.server.eligible && saturated.server.failure.as_deref() == Some("Saturated"),
        "{saturated:?}"
    );
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.postgres
        .primary()
        .sql("ALTER ROLE probe CONNECTION LIMIT -1")
        .await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    wait::throughout("the circuit stays closed", INTERVAL, || async {
        let policy = it.get().await?;
        ensure!(
            endpoint(&policy, "replica-1").is_some_and(|is| is.server.circuit == "Closed"),
            "{POLICY}"
        );
        anyhow::Ok(())
    })
    .await
}
