//! Servers fail while the leader goes: nobody leads for a while, and the next leader goes by what it sees itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::gate::Gate;
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, PgCluster};

use crate::fixture::{SOON, addresses};
use crate::pair::{DURATION, Pair, begins_to_lead, follows, holds, way};

/// So much later than on a machine that does nothing else.
const BUSY: Duration = Duration::from_secs(10);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "servers_that_fail_while_a_leader_ends_are_followed_by_the_next_one",
            |plane| failures_while(plane, Way::Terminated),
        )
        .test(
            "servers_that_fail_after_a_leader_was_killed_are_followed_by_the_next_one",
            |plane| failures_while(plane, Way::Killed),
        )
        .test(
            "servers_that_fail_while_a_leader_is_frozen_are_followed_by_the_next_one",
            |plane| failures_while(plane, Way::Frozen),
        )
        .test(
            "servers_that_fail_while_a_leader_is_cut_off_from_the_api_server_are_followed_by_the_next_one",
            |plane| failures_while(plane, Way::CutOff),
        )
        .test(
            "of_two_operators_that_are_started_at_once_after_a_failure_one_writes",
            started_at_once,
        )
}

/// How a leader goes.
#[derive(Clone, Copy)]
enum Way {
    Terminated,
    Killed,
    Frozen,
    /// From the API server alone.
    CutOff,
}

impl Way {
    async fn go(self, pair: &Pair, gate: &Gate) -> Result<()> {
        let leader = &pair.it.operator;
        match self {
            Self::Terminated => {
                let (_, status) = leader.stop().await?;
                ensure!(status.success(), "{status}");
            }
            Self::Killed => leader.kill(),
            Self::Frozen => leader.daemon().freeze()?,
            Self::CutOff => gate.cut()?,
        }
        Ok(())
    }

    async fn come_back(self, pair: &Pair, gate: &Gate) -> Result<()> {
        let leader = &pair.it.operator;
        match self {
            Self::Terminated | Self::Killed => leader.start_again().await,
            Self::Frozen => leader.daemon().thaw(),
            Self::CutOff => {
                goes_on_checking(pair).await?;
                gate.heal()
            }
        }
    }
}

async fn failures_while(plane: Arc<ControlPlane>, gone: Way) -> Result<()> {
    let (pair, gate) = Pair::behind_gate(plane, 3).await?;
    let it = &pair.it;
    let [old, new] = [it.postgres.primary(), it.postgres.replica(0)];
    let [other, dead] = [it.postgres.replica(1), it.postgres.replica(2)];
    let (writes, reads) = (it.follow("rw").await?, it.follow("ro").await?);

    let began = Stopwatch::start();
    tokio::try_join!(gone.go(&pair, &gate), fail(&it.postgres), pair.taken_over())?;
    let (taken, leads_now) = (began.elapsed(), Stopwatch::start());
    let before = pair.writes(pair.leader)?.len();
    ensure!(taken <= DURATION + BUSY, "it was taken over after {taken:?}");
    let dead_address = dead.address().to_string();
    wait::eventually("the dead replica to be out", SOON, || async {
        let sets = reads.sets();
        ensure!(
            sets.last().is_some_and(|set| !set.contains(&dead_address)),
            "{sets:?}"
        );
        anyhow::Ok(())
    })
    .await?;
    let out = leads_now.elapsed();
    ensure!(
        out <= BUSY,
        "who died in the gap is out {out:?} after the handover"
    );
    it.leads("rw", &[new], SOON).await?;
    it.leads("ro", &[other], SOON).await?;
    let moved = [addresses(&[old]), addresses(&[new])];
    // The old primary knows nothing of the promotion, and who led before it neither.
    old.start().await?;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    ensure!(way(&writes) == moved, "{:?}", writes.sets());

    gone.come_back(&pair, &gate).await?;
    follows(&it.operator).await?;
    pair.rests().await?;
    let wrote = pair.writes(pair.leader)?.split_off(before);
    // What was under way when it was cut off arrives late, and an Event says what was so.
    ensure!(
        wrote
            .iter()
            .all(|event| event.resource == "events" || !event.succeeded()),
        "it wrote without the Lease: {wrote:?}"
    );
    // It leads again, and goes by what the other one logged.
    pair.second.stop().await?;
    holds(it, pair.leader).await?;
    begins_to_lead(&it.operator).await?;
    pair.rests().await?;
    it.leads("ro", &[other], SOON).await?;
    ensure!(way(&writes) == moved, "{:?}", writes.sets());
    Ok(())
}

/// A replica and the primary die; another replica is promoted, and one follows it.
async fn fail(servers: &PgCluster) -> Result<()> {
    let [new, other, dead] = [0, 1, 2].map(|number| servers.replica(number));
    dead.kill().await?;
    servers.primary().kill().await?;
    new.promote().await?;
    other.follow(new)
}

/// Whoever cannot reach the API server goes on checking the servers, and says that it does not lead.
async fn goes_on_checking(pair: &Pair) -> Result<()> {
    follows(&pair.it.operator).await?;
    let before = pair.it.checks().await?;
    wait::eventually("whole checks of every server", SOON, || async {
        let now = pair.it.checks().await?;
        ensure!(now >= before + 4, "{before} before, now {now}");
        anyhow::Ok(())
    })
    .await
}

/// There is no operator when servers fail; then there are two.
async fn started_at_once(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane, 2).await?;
    let it = &pair.it;
    let (one, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let writes = it.follow("rw").await?;
    it.operator.kill();
    pair.second.kill();
    one.kill().await?;
    tokio::try_join!(it.operator.start_again(), pair.second.start_again())?;
    it.leads("ro", &[other], SOON).await?;
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    pair.rests().await?;
    pair.one_writes_at_a_time(&[pair.leader, pair.follower])?;
    ensure!(
        writes.sets() == [addresses(&[it.postgres.primary()])],
        "{:?}",
        writes.sets()
    );
    Ok(())
}
