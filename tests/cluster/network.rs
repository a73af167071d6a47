//! What networks do: slow links, connections that are forgotten, both families of addresses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::link::Link;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, page, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, addresses};
use crate::reads::served_by;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_slow_and_uneven_link_makes_nobody_flap", slow_link)
        .test("a_forgotten_connection_is_replaced_and_nobody_leaves", half_open)
        .test("black_holes_leave_no_sockets_and_no_tasks_behind", black_holes)
        .test(
            "a_server_that_its_service_cannot_carry_is_not_served_through_it",
            ipv6,
        )
}

async fn slow_link(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let delays = [20, 90, 40, 70].map(Duration::from_millis);
    let link = Link::to(it.postgres.replica(0).socket(), &delays).await?;
    let mut policy = it.policy();
    policy["spec"]["replicas"][0]["host"] = json!(link.address());
    policy["spec"]["healthCheck"]["heartbeat"] = json!("500ms");
    it.apply(&policy).await?;
    it.serves().await?;
    let route = it.follow("ro").await?;
    let version = it.get().await?.metadata.resource_version;
    wait::pass(
        Duration::from_secs(10),
        "that nobody leaves can only be seen by its absence",
    )
    .await;
    let both = BTreeSet::from([
        link.address().to_string(),
        it.postgres.replica(1).address().to_string(),
    ]);
    ensure!(route.sets() == [both], "{:?}", route.sets());
    let policy = it.get().await?;
    ensure!(
        policy.metadata.resource_version == version,
        "the status was written: {:?}",
        policy.status
    );
    // A check on a machine that is busy may be slow, too; not for long.
    wait::eventually("the link to show in the times of checks", SOON, || async {
        let metrics = it.operator.metrics().await?;
        let name = "distributary_endpoint_check_duration_seconds";
        let took = |id: &str| page::value(&metrics, name, &format!("\"{id}\""));
        let (slow, fast) = (took("replica-1")?, took("replica-2")?);
        ensure!(
            slow > 0.2 && slow > 3.0 * fast,
            "{slow} s over the link, {fast} s without"
        );
        anyhow::Ok(())
    })
    .await
}

/// The old connection is dead and nobody says so; a new one works. So the server is not.
async fn half_open(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 2).await?;
    let (replica, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let route = it.follow("ro").await?;
    let before = it.operator.open_files()?;
    let first = session(&it).await?;
    for _ in 0..2 {
        let checks = it.checks().await?;
        // The next session begins beside the check, and may be there after it.
        wait::eventually("a session", SOON, || async {
            ensure!(replica.sever_connections()? > 0, "there is no connection");
            anyhow::Ok(())
        })
        .await?;
        // A heartbeat that is missed is followed by a check, and by another session.
        wait::eventually("a check", SOON, || async {
            let now = it.checks().await?;
            ensure!(now > checks, "{now} checks");
            anyhow::Ok(())
        })
        .await?;
    }
    wait::eventually("another session", SOON, || async {
        let now = session(&it).await?;
        ensure!(now > first, "it is still {now}");
        anyhow::Ok(())
    })
    .await?;
    wait::pass(Duration::from_secs(6), "a trip would follow by then").await;
    let sets = route.sets();
    ensure!(sets == [addresses(&[replica, other])], "{sets:?}");
    let files = it.operator.open_files()?;
    ensure!(files <= before + 4, "{before} open files before, {files} now");
    Ok(())
}

/// When the newest session on the first replica began, in microseconds.
async fn session(it: &Fixture) -> Result<u64> {
    let newest = "select coalesce(max(extract(epoch from backend_start) * 1000000)::bigint, 0) \
                  from pg_stat_activity where application_name = 'distributary'";
    Ok(it.postgres.replica(0).sql(newest).await?.parse()?)
}

async fn black_holes(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let mut policy = it.policy();
    policy["spec"]["healthCheck"] =
        json!({"interval": "200ms", "heartbeat": "200ms", "timeout": "200ms", "failoverTimeout": "600ms"});
    it.apply(&policy).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    let (hole, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let before = it.operator.open_files()?;
    for _ in 0..2 {
        hole.black_hole()?;
        it.leads("ro", &[other], SOON).await?;
        wait::throughout("its files stay few", Duration::from_secs(2), || async {
            let files = it.operator.open_files()?;
            ensure!(files <= before + 6, "{before} open files before, {files} now");
            anyhow::Ok(())
        })
        .await?;
        hole.heal()?;
        it.leads("ro", &[hole, other], SOON).await?;
    }
    // The server has sessions whose end it was never told.
    wait::eventually("no more files than before", SOON, || async {
        let files = it.operator.open_files()?;
        ensure!(files <= before + 2, "{before} open files before, {files} now");
        anyhow::Ok(())
    })
    .await
}

/// The Services of this cluster have IPv4 alone.
async fn ipv6(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start_with(plane, PgCluster::builder().replicas(2).ipv6(), &[]).await?;
    let (primary, six, four) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    let address = six.ipv6().context("an address of IPv6")?.to_string();
    let mut policy = it.quick();
    policy["spec"]["replicas"][0]["host"] = json!(address);
    it.apply(&policy).await?;
    let is = it.endpoint("replica-1", "FamilyNotServed", SOON).await?;
    ensure!(
        is.address.as_deref() == Some(&address) && is.server.role == "Standby" && !is.server.eligible,
        "{is:?}"
    );
    served_by(&it, "ro", &[four]).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.condition("StrategyEnforced", "False", "FamilyNotServed")
        .await?;
    it.holds_sessions().await?;
    // Clients that need no Service find it.
    let routing = it.routing().await?;
    let targets = routing["routes"]["ro"]["targets"].as_array().context("targets")?;
    let told = targets
        .iter()
        .find(|target| target["address"] == address.as_str());
    ensure!(
        told.is_some_and(|target| target["inSlice"] == false && target["inUris"] == true),
        "{targets:?}"
    );

    // It counts as none that serves.
    four.kill().await?;
    served_by(&it, "ro", &[primary]).await?;
    it.condition("ReadFallbackActive", "True", "NoReplicaEligible")
        .await?;
    four.start().await?;
    served_by(&it, "ro", &[four]).await?;

    policy["spec"]["primary"]["host"] = json!(primary.ipv6().context("an address of IPv6")?.to_string());
    it.apply(&policy).await?;
    it.condition("Ready", "False", "FamilyNotServed").await?;
    it.leads("rw", &[], SOON).await?;
    policy["spec"]["primary"]["host"] = json!(primary.address());
    it.apply(&policy).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.leads("rw", &[primary], SOON).await
}
