//! Who takes the writes: promotions, demotions, two writable servers, other databases. Times are those of the
//! fixture's policy: heartbeat 2 s, failoverTimeout 3 s.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::postgres::{PROBE, Shutdown};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, addresses};

const FAILOVER_TIMEOUT: Duration = Duration::from_secs(3);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "writes_follow_a_promotion_and_never_return_by_themselves",
            promotion,
        )
        .test("a_pinned_primary_keeps_the_writes", pinned)
        .test("a_lost_primary_is_withdrawn_where_the_policy_says_so", withdrawn)
        .test(
            "a_primary_that_is_configured_to_take_no_writes_is_told_and_stays",
            read_only,
        )
        .test("a_demoted_primary_is_withdrawn", demotion)
        .test("a_switchover_moves_the_writes", switchover)
        .test("two_writable_servers_are_told_and_a_person_ends_it", split_brain)
        .test(
            "another_database_behind_a_replica_gets_no_traffic",
            foreign_replica,
        )
        .test("another_database_behind_every_address_holds_the_routes", upgraded)
        .test(
            "a_policy_that_comes_after_the_loss_of_its_primary_follows_the_promoted_server",
            first_holder,
        )
        .test(
            "where_nobody_follows_the_promoted_server_a_person_names_it",
            first_word,
        )
        .test(
            "a_declared_primary_of_another_database_than_its_replicas_is_disputed_until_a_person_names_one",
            disputed,
        )
}

async fn first_holder(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let (new, other) = (it.postgres.replica(0), it.postgres.replica(1));
    it.postgres.primary().kill().await?;
    new.promote().await?;
    other.follow(new)?;
    it.apply(&it.policy()).await?;
    it.condition("Ready", "False", "NoPrimary").await?;
    it.leads("rw", &[new], SOON).await?;
    it.leads("ro", &[other], SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn first_word(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let new = it.postgres.replica(0);
    it.postgres.primary().kill().await?;
    new.promote().await?;
    it.apply(&it.policy()).await?;
    let ready = it.condition("Ready", "False", "NoPrimary").await?;
    ensure!(
        ready
            .message
            .ends_with("replica-1 takes writes: name the right one in failover.acceptPrimary."),
        "{ready:?}"
    );
    wait::pass(
        FAILOVER_TIMEOUT * 4,
        "longer than a dead primary is awaited, where a standby follows another server",
    )
    .await;
    it.leads("rw", &[], SOON).await?;
    it.patch(json!({"spec": {"failover": {"acceptPrimary": "replica-1"}}}))
        .await?;
    it.leads("rw", &[new], SOON).await?;
    it.condition("Ready", "True", "RoutableByFallback").await?;
    Ok(())
}

/// The declared primary came back with an empty volume, and a replica was promoted, before there was a policy.
async fn disputed(plane: Arc<ControlPlane>) -> Result<()> {
    let empty = PgCluster::builder().own_identity();
    let (it, empty) = tokio::try_join!(Fixture::start(plane, 2), empty.start())?;
    let (new, other) = (it.postgres.replica(0), it.postgres.replica(1));
    it.postgres.primary().kill().await?;
    new.promote().await?;
    other.follow(new)?;
    let mut policy = it.policy();
    policy["spec"]["primary"]["host"] = json!(empty.primary().address());
    it.apply(&policy).await?;
    let stalled = it.condition("Stalled", "True", "IdentityChanged").await?;
    ensure!(stalled.message.contains("failover.acceptPrimary"), "{stalled:?}");
    it.condition("Ready", "False", "IdentityChanged").await?;
    wait::pass(FAILOVER_TIMEOUT * 4, "longer than a dead primary is awaited").await;
    it.leads("rw", &[], SOON).await?;
    it.patch(json!({"spec": {"failover": {"acceptPrimary": "replica-1"}}}))
        .await?;
    it.leads("rw", &[new], SOON).await?;
    it.leads("ro", &[other], SOON).await?;
    it.condition("Stalled", "False", "Progressing").await?;
    it.condition("Ready", "True", "Routable").await?;
    it.endpoint("primary", "IdentityMismatch", SOON).await?;
    Ok(())
}

async fn promotion(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (old, new, other) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    let writes = it.follow("rw").await?;
    old.stop(Shutdown::Immediate).await?;
    it.condition("PrimaryReachable", "False", "NotReachable").await?;
    wait::pass(
        FAILOVER_TIMEOUT,
        "the primary is lost for longer than the policy waits",
    )
    .await;
    it.leads("rw", &[old], SOON).await?;
    new.promote().await?;
    it.leads("rw", &[new], SOON).await?;
    it.leads("ro", &[other], SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    let status = it.until("the new primary", SOON, |policy| {
        policy.status.clone().filter(|status| {
            status
                .primary
                .as_ref()
                .is_some_and(|primary| primary.id == "replica-1")
        })
    });
    let primary = status.await?.primary.unwrap_or_default();
    ensure!(
        primary.declared == "primary" && primary.timeline == Some(2),
        "{primary:?}"
    );

    // The old one comes back, as a primary of the old timeline.
    old.start().await?;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    it.endpoint("primary", "WritableReplica", SOON).await?;
    new.stop(Shutdown::Immediate).await?;
    it.condition("PrimaryReachable", "False", "NotReachable").await?;
    wait::pass(
        FAILOVER_TIMEOUT * 2,
        "an old primary never takes the writes back by itself",
    )
    .await;
    it.leads("rw", &[new], SOON).await?;

    // Neither after a restart of the operator.
    it.operator.kill();
    it.operator.start_again().await?;
    wait::pass(
        FAILOVER_TIMEOUT * 2,
        "an old primary never takes the writes back by itself",
    )
    .await;
    it.leads("rw", &[new], SOON).await?;
    let known = [BTreeSet::new(), addresses(&[old]), addresses(&[new])];
    let seen = writes.sets();
    ensure!(seen.iter().all(|set| known.contains(set)), "{seen:?}");
    Ok(())
}

async fn pinned(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = it.policy();
    policy["spec"]["failover"] = json!({"primaryRole": "Pinned"});
    it.apply(&policy).await?;
    it.serves().await?;
    it.postgres.primary().stop(Shutdown::Immediate).await?;
    it.condition("PrimaryReachable", "False", "NotReachable").await?;
    it.postgres.replica(0).promote().await?;
    it.endpoint("replica-1", "WritableReplica", SOON).await?;
    wait::pass(FAILOVER_TIMEOUT * 2, "it would have moved by then").await;
    it.leads("rw", &[it.postgres.primary()], SOON).await
}

async fn withdrawn(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = it.policy();
    policy["spec"]["failover"] = json!({"onPrimaryLoss": "Withdraw"});
    it.apply(&policy).await?;
    it.serves().await?;
    it.postgres.primary().kill().await?;
    it.leads("rw", &[], SOON).await?;
    it.postgres.primary().start().await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn read_only(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let primary = it.postgres.primary();
    let set = async |statement: &str| {
        primary.sql(statement).await?;
        primary.sql("select pg_reload_conf()").await
    };
    // Of the role of the checks alone: it says nothing of others.
    set(&format!(
        "alter role {} set default_transaction_read_only = on",
        PROBE.user
    ))
    .await?;
    let before = it.checks().await?;
    wait::eventually("checks as that role", SOON, || async {
        let now = it.checks().await?;
        ensure!(now >= before + 4, "{before} before, {now} now");
        anyhow::Ok(())
    })
    .await?;
    it.condition("PrimaryReachable", "True", "Writable").await?;
    set(&format!(
        "alter role {} reset default_transaction_read_only",
        PROBE.user
    ))
    .await?;
    set("alter system set default_transaction_read_only = on").await?;
    it.endpoint("primary", "ReadOnly", SOON).await?;
    it.condition("PrimaryReachable", "False", "ReadOnly").await?;
    it.condition("Ready", "False", "ReadOnly").await?;
    it.leads("rw", &[primary], SOON).await?;
    set("alter system reset default_transaction_read_only").await?;
    it.condition("PrimaryReachable", "True", "Writable").await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn demotion(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let primary = it.postgres.primary();
    primary.stop(Shutdown::Fast).await?;
    std::fs::write(primary.data().join("standby.signal"), "")?;
    primary.start().await?;
    it.leads("rw", &[], SOON).await?;
    it.endpoint("primary", "PrimaryInRecovery", SOON).await?;
    it.condition("Ready", "False", "NoPrimary").await?;
    Ok(())
}

async fn switchover(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (old, new, other) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    it.postgres.caught_up().await?;
    old.stop(Shutdown::Fast).await?;
    new.promote().await?;
    old.stand_by(new)?;
    old.start().await?;
    it.leads("rw", &[new], SOON).await?;
    // A former primary that follows the new one as a standby serves reads.
    it.leads("ro", &[old, other], SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn split_brain(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    it.postgres.replica(0).promote().await?;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    it.endpoint("replica-1", "WritableReplica", SOON).await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.patch(json!({"spec": {"failover": {"acceptPrimary": "replica-1"}}}))
        .await?;
    it.leads("rw", &[it.postgres.replica(0)], SOON).await?;
    it.endpoint("primary", "WritableReplica", SOON).await?;
    it.postgres.primary().stop(Shutdown::Fast).await?;
    it.condition("SplitBrainSuspected", "False", "NotSuspected")
        .await?;
    it.leads("rw", &[it.postgres.replica(0)], SOON).await
}

async fn foreign_replica(plane: Arc<ControlPlane>) -> Result<()> {
    let (it, other) = tokio::try_join!(
        Fixture::ready(plane, 2),
        PgCluster::builder().own_identity().start()
    )?;
    let (replica, left) = (it.postgres.replica(0), it.postgres.replica(1));
    replica.give_way_to(other.primary())?;
    // The held session stays with the server that it was opened to: its answers would be newer.
    replica
        .sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'distributary'")
        .await?;
    it.endpoint("replica-1", "IdentityMismatch", SOON).await?;
    it.leads("ro", &[left], SOON).await?;
    // Proven wrong leaves, even where nobody else is left; and silence proves nothing new.
    left.kill().await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    other.primary().stop(Shutdown::Immediate).await?;
    wait::pass(
        Duration::from_secs(3),
        "a mismatch outlives the server that showed it",
    )
    .await;
    it.endpoint("replica-1", "IdentityMismatch", SOON).await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.leads("rw", &[it.postgres.primary()], SOON).await
}

async fn upgraded(plane: Arc<ControlPlane>) -> Result<()> {
    let upgraded = PgCluster::builder().replicas(1).own_identity();
    let (it, upgraded) = tokio::try_join!(Fixture::ready(plane, 1), upgraded.start())?;
    let (primary, replica) = (it.postgres.primary(), it.postgres.replica(0));
    primary.give_way_to(upgraded.primary())?;
    it.condition("Stalled", "True", "IdentityChanged").await?;
    it.condition("Ready", "False", "IdentityChanged").await?;
    replica.give_way_to(upgraded.replica(0))?;
    wait::pass(Duration::from_secs(3), "routes that are held do not move").await;
    it.leads("rw", &[primary], SOON).await?;
    it.leads("ro", &[replica], SOON).await?;
    let identity = upgraded.primary().system_identifier().await?;
    it.patch(json!({"spec": {"identity": {"systemIdentifier": identity}}}))
        .await?;
    it.condition("Ready", "True", "Routable").await?;
    it.leads("rw", &[primary], SOON).await?;
    it.leads("ro", &[replica], SOON).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    Ok(())
}
