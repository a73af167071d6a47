//! Classes and regions: who serves them while their own servers are gone, and after those are back.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use distributary_api::{ClassStatus, ReplicaSetPolicy};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, Postgres, wait};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, addresses, condition, endpoint};
use crate::reads::{reader, served_by};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "analytics_reads_only_on_the_tagged_replica_until_it_dies_then_elsewhere_then_back",
            analytics,
        )
        .test("reads_from_a_region_follow_its_list_and_return", region)
        .test(
            "a_probe_query_that_fails_on_one_server_takes_it_out_of_its_class_alone",
            probe_query,
        )
        .test(
            "a_class_that_left_a_server_stays_away_after_a_restart_of_the_operator",
            class_restored,
        )
}

async fn analytics(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let [one, two, tagged] = [0, 1, 2].map(|number| it.postgres.replica(number));
    let mut policy = it.policy();
    policy["spec"]["replicas"][2]["tags"] = json!(["analytics"]);
    policy["spec"]["routing"] = json!({"classes": [{
        "name": "analytics",
        "replicaSelector": {"tags": ["analytics"]},
        "readFallback": ["Primary"],
    }]});
    it.apply(&policy).await?;
    it.serves().await?;
    served_by(&it, "analytics", &[tagged]).await?;
    let reader = reader(&it, "analytics").await?;
    reader
        .until("a hundred reads", SOON, |totals| totals.reads >= 100)
        .await?;
    let totals = reader.totals();
    ensure!(
        totals.failures == 0 && totals.by_server.keys().eq([&tagged.address()]),
        "others than the tagged replica served it: {totals:?}"
    );

    tagged.kill().await?;
    served_by(&it, "analytics", &[one, two]).await?;
    it.condition("ReadFallbackActive", "True", "ClassByFallback")
        .await?;
    let totals = reader.totals();
    let primary = it.postgres.primary();
    ensure!(
        !totals.by_server.contains_key(&primary.address()),
        "the primary served it while there were replicas: {totals:?}"
    );
    one.kill().await?;
    two.kill().await?;
    served_by(&it, "analytics", &[primary]).await?;

    // Its own replica takes it back before, and beside, the others.
    tagged.start().await?;
    served_by(&it, "analytics", &[tagged]).await?;
    one.start().await?;
    two.start().await?;
    it.leads("ro", &[one, two, tagged], SOON).await?;
    it.condition("ReadFallbackActive", "False", "NotNeeded").await?;
    served_by(&it, "analytics", &[tagged]).await
}

/// Three regions with one replica each; the primary is in the first. By priority the last one would come before the second.
fn regions(it: &Fixture) -> Value {
    let mut policy = it.policy();
    policy["spec"]["primary"]["region"] = json!("east");
    for (number, (region, priority)) in [("east", 1), ("west", 5), ("north", 2)].into_iter().enumerate() {
        let replica = &mut policy["spec"]["replicas"][number];
        replica["region"] = json!(region);
        replica["priority"] = json!(priority);
    }
    policy["spec"]["loadBalancing"] = json!({
        "strategy": "Geographic",
        "regions": [{"name": "east", "failover": ["west", "north"]}],
    });
    policy
}

async fn region(plane: Arc<ControlPlane>) -> Result<()> {
    let servers = PgCluster::builder().replicas(3);
    let it = Fixture::start_with(plane, servers, &["--region=west"]).await?;
    let [east, west, north] = [0, 1, 2].map(|number| it.postgres.replica(number));
    it.apply(&regions(&it)).await?;
    it.serves().await?;
    it.condition("StrategyEnforced", "True", "ByRegion").await?;
    // The cluster is in the west.
    served_by(&it, "ro", &[west]).await?;
    for (route, near) in [("ro-east", east), ("ro-west", west), ("ro-north", north)] {
        served_by(&it, route, &[near]).await?;
    }
    let route = it.follow("ro-east").await?;

    east.kill().await?;
    served_by(&it, "ro-east", &[west]).await?;
    west.kill().await?;
    served_by(&it, "ro-east", &[north]).await?;
    // Every region has lost its servers: the fallback.
    north.kill().await?;
    served_by(&it, "ro-east", &[it.postgres.primary()]).await?;
    north.start().await?;
    served_by(&it, "ro-east", &[north]).await?;
    west.start().await?;
    served_by(&it, "ro-east", &[west]).await?;
    east.start().await?;
    served_by(&it, "ro-east", &[east]).await?;

    // A server that just returned may be out once more, on a busy machine; never does another one stand in.
    let order = [east, west, north, it.postgres.primary()].map(|server| addresses(&[server]));
    let sets = route.sets();
    ensure!(
        sets.starts_with(&order) && sets[order.len()..].iter().all(|set| order.contains(set)),
        "it led to {sets:?}, not by {order:?} and back"
    );
    for (route, near) in [("ro-west", west), ("ro", west), ("ro-north", north)] {
        served_by(&it, route, &[near]).await?;
    }
    Ok(())
}

/// Two replicas, a class that asks for a table, and one that does not.
async fn with_totals(plane: Arc<ControlPlane>, reset_timeout: &str) -> Result<Fixture> {
    let it = Fixture::start(plane, 2).await?;
    it.postgres
        .primary()
        .sql("create table totals as select 1 as total; grant select on totals to public")
        .await?;
    it.postgres.caught_up().await?;
    let mut policy = it.policy();
    policy["spec"]["circuitBreaker"]["resetTimeout"] = json!(reset_timeout);
    policy["spec"]["routing"] = json!({"classes": [
        {"name": "reports", "probeQuery": "SELECT total FROM totals LIMIT 1"},
        {"name": "exports"},
    ]});
    it.apply(&policy).await?;
    it.serves().await?;
    served_by(&it, "reports", &[it.postgres.replica(0), it.postgres.replica(1)]).await?;
    Ok(it)
}

/// Where a server looks for tables is a setting of its own: it alone is without the table.
async fn hide_totals(server: &Postgres) -> Result<()> {
    server.sql("alter system set search_path = 'nowhere'").await?;
    server.reload()
}

async fn show_totals(server: &Postgres) -> Result<()> {
    server.sql("alter system reset search_path").await?;
    server.reload()
}

async fn class_restored(plane: Arc<ControlPlane>) -> Result<()> {
    let mut it = with_totals(plane, "10m").await?;
    let two = addresses(&[it.postgres.replica(1)]);
    hide_totals(it.postgres.replica(0)).await?;
    served_by(&it, "reports", &[it.postgres.replica(1)]).await?;
    let class = |is: &ReplicaSetPolicy| -> Option<ClassStatus> {
        endpoint(is, "replica-1")?.server.classes.first().cloned()
    };
    let before = it.until("the class in the status", SOON, class).await?;
    ensure!(
        before.name == "reports"
            && (before.reason.as_str(), before.circuit.as_str()) == ("ProbeQueryFailed", "Open")
            && (before.share, before.trips) == (0, 1),
        "{before:?}"
    );
    wait::eventually("an Event of it", SOON, || async {
        let events = it.api::<Event>().list(&ListParams::default()).await?;
        let told = |event: &Event| event.reason.as_deref() == Some("ClassLeft");
        ensure!(events.iter().any(told), "there is none");
        anyhow::Ok(())
    })
    .await?;

    // The table is there again, but the time of the circuit is not over.
    show_totals(it.postgres.replica(0)).await?;
    let route = it.follow("reports").await?;
    it.restart_operator().await?;
    wait::pass(
        Duration::from_secs(4),
        "it would be back by then if the circuit of the class were forgotten",
    )
    .await;
    ensure!(route.sets() == [two], "the class came back: {:?}", route.sets());
    let after = class(&it.get().await?);
    ensure!(after.as_ref() == Some(&before), "{before:?} became {after:?}");
    Ok(())
}

async fn probe_query(plane: Arc<ControlPlane>) -> Result<()> {
    let it = with_totals(plane, "2s").await?;
    let (one, two) = (it.postgres.replica(0), it.postgres.replica(1));
    let others = [it.follow("ro").await?, it.follow("exports").await?];

    hide_totals(one).await?;
    served_by(&it, "reports", &[two]).await?;
    let is = it.get().await?;
    ensure!(
        endpoint(&is, "replica-1")
            .is_some_and(|is| is.server.eligible && is.server.circuit == "Closed" && is.server.trips == 0),
        "its own circuit suffered: {:?}",
        endpoint(&is, "replica-1")
    );
    ensure!(
        condition(&is, "ReadFallbackActive").is_some_and(|is| is.status == "False"),
        "{is:?}"
    );
    show_totals(one).await?;
    served_by(&it, "reports", &[one, two]).await?;

    // Without the table anywhere nobody is well: who is not proven wrong is put back, the primary too.
    it.postgres.primary().sql("drop table totals").await?;
    wait::eventually("the route of the class to be held", SOON, || async {
        let state = it.routing().await?["routes"]["reports"]["state"].clone();
        ensure!(state == "Held", "{state}");
        anyhow::Ok(())
    })
    .await?;
    served_by(&it, "reports", &[one, two, it.postgres.primary()]).await?;
    for other in others {
        ensure!(
            other.sets().len() == 1,
            "another route changed: {:?}",
            other.sets()
        );
    }
    Ok(())
}
