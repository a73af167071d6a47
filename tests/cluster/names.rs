//! Names: resolvers that fail, names that move, addresses that nobody may have.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, dns, node, wait};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOON, addresses, endpoint};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_resolver_that_fails_takes_nobody_out", resolver_fails)
        .test("a_new_name_that_does_not_resolve_gets_no_traffic", unknown_name)
        .test("a_name_that_moves_is_checked_before_it_is_published", moves)
        .test("a_name_that_leaves_a_live_server_is_followed_at_its_ttl", leaves)
        .test("a_name_of_several_addresses_publishes_one_that_is_good", several)
        .test(
            "a_name_of_a_refused_address_gets_no_traffic_until_the_spec_changes",
            refused,
        )
        .test(
            "a_virtual_address_beside_its_server_is_the_same_server",
            virtual_address,
        )
        .test("names_that_are_swapped_leave_the_writes_where_they_are", swapped)
        .test("the_writes_move_with_the_name_of_the_primary", moved_by_name)
}

/// A policy in which the first replica is declared by name.
fn by_name(it: &Fixture, name: &str) -> Value {
    let mut policy = it.policy();
    policy["spec"]["replicas"][0]["host"] = json!(name);
    policy["spec"]["healthCheck"]["interval"] = json!("500ms");
    policy
}

async fn resolver_fails(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let [named, other] = [it.postgres.replica(0), it.postgres.replica(1)];
    it.apply(&by_name(&it, named.name())).await?;
    it.serves().await?;
    let route = it.follow("ro").await?;
    route.leads_to(&addresses(&[named, other]), SOON).await?;
    let version = it.get().await?.metadata.resource_version;
    for (what, failing) in [
        (
            "SERVFAIL",
            (|name: &str, is| dns::fail(name, is)) as fn(&str, bool),
        ),
        ("silence", |name, is| dns::silence(name, is)),
        ("NXDOMAIN", |name, is| {
            if is {
                dns::remove(name);
            }
        }),
    ] {
        let checks = it.checks().await?;
        failing(named.name(), true);
        wait::pass(
            Duration::from_millis(4500),
            "longer than interval and failoverTimeout",
        )
        .await;
        // Every half second three servers.
        wait::eventually("checks in the meantime", SOON, || async {
            let now = it.checks().await?;
            ensure!(now > checks + 8, "{checks} before, {now} now");
            anyhow::Ok(())
        })
        .await?;
        ensure!(
            route.sets() == [addresses(&[named, other])],
            "{what}: {:?}",
            route.sets()
        );
        let policy = it.get().await?;
        ensure!(
            policy.metadata.resource_version == version,
            "{what}: {:?}",
            policy.status
        );
        failing(named.name(), false);
        dns::set(named.name(), &[named.address()])?;
    }
    Ok(())
}

async fn unknown_name(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let [new, other] = [it.postgres.replica(0), it.postgres.replica(1)];
    let name = format!("later-{}", new.name());
    it.apply(&by_name(&it, &name)).await?;
    it.fails("replica-1", "NameUnresolved", "NameNotFound").await?;
    it.leads("ro", &[other], SOON).await?;
    dns::fail(&name, true);
    it.fails("replica-1", "NameUnresolved", "ResolverFailed").await?;
    dns::fail(&name, false);
    dns::set(&name, &[new.address()])?;
    it.leads("ro", &[new, other], SOON).await
}

async fn moves(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let [old, other, new] = [0, 1, 2].map(|number| it.postgres.replica(number));
    let nobody = node::claim_address()?.server;
    let name = format!("moving-{}", old.name());
    dns::set(&name, &[old.address()])?;
    let mut policy = by_name(&it, &name);
    if let Some(replicas) = policy["spec"]["replicas"].as_array_mut() {
        replicas.truncate(2);
    }
    it.apply(&policy).await?;
    it.serves().await?;
    let route = it.follow("ro").await?;
    route.leads_to(&addresses(&[old, other]), SOON).await?;
    // To where nobody is: that is never published.
    dns::set(&name, &[nobody])?;
    old.kill().await?;
    route.leads_to(&addresses(&[other]), SOON).await?;
    wait::pass(Duration::from_secs(4), "it would be published by then").await;
    // To another server: checked first.
    dns::set(&name, &[new.address()])?;
    route.leads_to(&addresses(&[other, new]), SOON).await?;
    // The slice is written before the status.
    it.until("its address in the status", SOON, |policy| {
        let is = endpoint(policy, "replica-1")?;
        (is.address == Some(new.address().to_string())).then_some(())
    })
    .await?;
    let sets = route.sets();
    ensure!(
        sets.iter().all(|set| !set.contains(&nobody.to_string())),
        "{nobody} was published: {sets:?}"
    );
    Ok(())
}

/// All servers are well. Checks are 30 s apart, an answer lives for a second.
async fn leaves(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let [old, other, new] = [0, 1, 2].map(|number| it.postgres.replica(number));
    let nobody = node::claim_address()?.server;
    let name = format!("leaving-{}", old.name());
    dns::set(&name, &[old.address()])?;
    let mut policy = it.defaults();
    policy["spec"]["replicas"][0]["host"] = json!(name);
    if let Some(replicas) = policy["spec"]["replicas"].as_array_mut() {
        replicas.truncate(2);
    }
    it.apply(&policy).await?;
    it.serves().await?;
    let route = it.follow("ro").await?;
    route.leads_to(&addresses(&[old, other]), SOON).await?;
    let version = it.get().await?.metadata.resource_version;
    // To where nobody is: the old server serves on, and nothing is said of it.
    let failed = it.checks_of("ConnectRefused").await?;
    dns::set(&name, &[nobody])?;
    wait::eventually(
        "a failed check where nobody is",
        Duration::from_secs(8),
        || async {
            let now = it.checks_of("ConnectRefused").await?;
            ensure!(now > failed, "{now} failed checks");
            anyhow::Ok(())
        },
    )
    .await?;
    wait::pass(Duration::from_secs(7), "longer than failoverTimeout").await;
    ensure!(route.sets() == [addresses(&[old, other])], "{:?}", route.sets());
    let now = it.get().await?;
    ensure!(now.metadata.resource_version == version, "{:?}", now.status);
    // To another server, and back: two answers and a check each.
    dns::set(&name, &[new.address()])?;
    route
        .leads_to(&addresses(&[other, new]), Duration::from_secs(15))
        .await?;
    dns::set(&name, &[old.address()])?;
    let rotates = |policy: &Value| policy["status"]["endpoints"][1]["nameRotates"] == true;
    it.until("the name to rotate", Duration::from_secs(8), |policy| {
        serde_json::to_value(policy)
            .is_ok_and(|policy| rotates(&policy))
            .then_some(())
    })
    .await?;
    ensure!(
        route.sets().last() == Some(&addresses(&[other, new])),
        "a minute of answers without it: {:?}",
        route.sets()
    );
    Ok(())
}

async fn several(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 3).await?;
    let [first, other, second] = [0, 1, 2].map(|number| it.postgres.replica(number));
    let nobody = node::claim_address()?.server;
    let name = format!("several-{}", first.name());
    dns::set(&name, &[nobody, second.address(), first.address()])?;
    let mut policy = by_name(&it, &name);
    if let Some(replicas) = policy["spec"]["replicas"].as_array_mut() {
        replicas.truncate(2);
    }
    it.apply(&policy).await?;
    it.serves().await?;
    let one = |set: &BTreeSet<String>| {
        let of_name = [first, second].map(|server| set.contains(&server.address().to_string()));
        of_name.iter().filter(|is| **is).count() == 1 && set.contains(&other.address().to_string())
    };
    let chosen = wait::eventually("one address of the name", SOON, || async {
        let now = it.now("ro").await?;
        ensure!(one(&now), "{now:?}");
        anyhow::Ok(now)
    })
    .await?;
    wait::throughout("the choice is kept", Duration::from_secs(3), || async {
        let now = it.now("ro").await?;
        ensure!(now == chosen, "{now:?}");
        anyhow::Ok(())
    })
    .await?;
    let (dead, left) = if chosen.contains(&first.address().to_string()) {
        (first, second)
    } else {
        (second, first)
    };
    dead.kill().await?;
    it.leads("ro", &[other, left], SOON).await
}

async fn refused(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let [replica, other] = [it.postgres.replica(0), it.postgres.replica(1)];
    let name = format!("refused-{}", replica.name());
    dns::set(&name, &[Ipv4Addr::LOCALHOST])?;
    let mut policy = by_name(&it, &name);
    it.apply(&policy).await?;
    let out = it.fails("replica-1", "AddressRefused", "AddressRefused").await?;
    ensure!(!out.server.eligible && out.server.circuit == "Closed", "{out:?}");
    it.leads("ro", &[other], SOON).await?;
    // No retry until the spec changes.
    dns::set(&name, &[replica.address()])?;
    wait::pass(Duration::from_secs(3), "it would be back by then").await;
    it.endpoint("replica-1", "AddressRefused", SOON).await?;
    let renamed = format!("mended-{}", replica.name());
    dns::set(&renamed, &[replica.address()])?;
    policy["spec"]["replicas"][0]["host"] = json!(renamed);
    it.apply(&policy).await?;
    it.leads("ro", &[replica, other], SOON).await
}

/// A replica that is declared by the second address of the primary, and one by that of a standby.
async fn virtual_address(plane: Arc<ControlPlane>) -> Result<()> {
    let servers = PgCluster::builder().replicas(1).more_addresses(1);
    let it = Fixture::start_with(plane, servers, &[]).await?;
    let (primary, standby) = (it.postgres.primary(), it.postgres.replica(0));
    let mut policy = it.policy();
    if let Some(replicas) = policy["spec"]["replicas"].as_array_mut() {
        for (id, server) in [("of-primary", primary), ("of-standby", standby)] {
            replicas.push(json!({"id": id, "host": server.more_addresses()[0], "priority": 9}));
        }
    }
    it.apply(&policy).await?;
    it.serves().await?;
    for (id, named) in [("of-primary", "primary"), ("of-standby", "replica-1")] {
        let is = it.endpoint(id, "SameServer", SOON).await?;
        ensure!(is.server.same_server_as.as_deref() == Some(named), "{is:?}");
    }
    it.condition("SplitBrainSuspected", "False", "NotSuspected")
        .await?;
    it.leads("ro", &[standby], SOON).await?;
    let is = it.get().await?;
    let summary = is.status.and_then(|status| status.summary);
    ensure!(
        summary.as_ref().is_some_and(|summary| summary.display == "1/1"),
        "{summary:?}"
    );
    // It starts anew, and is one server all the same.
    primary.restart().await?;
    it.serves().await?;
    it.endpoint("of-primary", "SameServer", SOON).await?;
    it.leads("rw", &[primary], SOON).await
}

/// The primary and the first replica by these names, looked up at every check.
fn both_by_name(it: &Fixture, names: &[String; 2]) -> Result<Value> {
    dns::set(&names[0], &[it.postgres.primary().address()])?;
    dns::set(&names[1], &[it.postgres.replica(0).address()])?;
    let mut policy = by_name(it, &names[1]);
    policy["spec"]["primary"]["host"] = json!(names[0]);
    Ok(policy)
}

async fn swapped(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let (primary, replica) = (it.postgres.primary(), it.postgres.replica(0));
    let names = ["writes", "reads"].map(|name| format!("{name}-{}", primary.name()));
    it.apply(&both_by_name(&it, &names)?).await?;
    it.serves().await?;
    let route = it.follow("rw").await?;
    dns::set(&names[0], &[replica.address()])?;
    dns::set(&names[1], &[primary.address()])?;
    it.until("the writes to be under the other name", SOON, |policy| {
        let primary = policy.status.as_ref()?.primary.as_ref()?;
        (primary.id == "replica-1").then_some(())
    })
    .await?;
    it.condition("Ready", "True", "Routable").await?;
    ensure!(
        route.sets() == [addresses(&[primary])],
        "the writes went elsewhere: {:?}",
        route.sets()
    );
    it.leads("ro", &[replica, it.postgres.replica(1)], SOON).await
}

/// As managed services fail over: the name leads to the promoted server, which no endpoint names.
async fn moved_by_name(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let (old, new) = (it.postgres.primary(), it.postgres.replica(1));
    let names = ["writes", "reads"].map(|name| format!("{name}-{}", old.name()));
    let mut policy = both_by_name(&it, &names)?;
    if let Some(replicas) = policy["spec"]["replicas"].as_array_mut() {
        replicas.truncate(1);
    }
    it.apply(&policy).await?;
    it.serves().await?;
    let route = it.follow("rw").await?;
    // First it leads to the standby, and later that is promoted.
    dns::set(&names[0], &[new.address()])?;
    it.condition("Ready", "False", "PrimaryUnreachable").await?;
    new.promote().await?;
    route.leads_to(&addresses(&[new]), SOON).await?;
    ensure!(
        route.sets() == [addresses(&[old]), addresses(&[new])],
        "the writes went another way: {:?}",
        route.sets()
    );
    Ok(())
}
