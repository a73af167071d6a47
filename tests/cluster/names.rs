//! Names: resolvers that fail, names that move, addresses that nobody may have.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, dns, node, wait};
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
    let policy = it.get().await?;
    let is = endpoint(&policy, "replica-1");
    ensure!(
        is.is_some_and(|is| is.address == Some(new.address().to_string())),
        "{is:?}"
    );
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
