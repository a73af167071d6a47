//! A promotion in which the operator is killed at any write, and the old primary returns before another operator goes on. So
//! is the operator that takes over from one that led before the promotion.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_api::ReplicaSetPolicy;
use futures::{StreamExt, TryStreamExt, stream};
use harness::stop::{RequestKind, Stop};
use harness::{ControlPlane, wait, watch};

use super::scene::{Change, Gone, Run, Scene, Stage};
use super::{AT_ONCE, STOPS};
use crate::fixture::{SOON, condition};

const WRITES: &str = "orders-rw";

/// What came of the runs.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum End {
    /// It was not killed: it did with fewer requests than the one that was counted.
    Undisturbed,
    /// The writes stay at the old primary: the move was not logged yet.
    Stayed,
    /// The next operator finished what was logged.
    Moved,
}

pub async fn killed_at_any(plane: Arc<ControlPlane>) -> Result<()> {
    let stage = Stage::set(plane).await?;
    let change = Change::Promotion;
    let stops = stops(&stage, change).await?;
    both_ends(&stage, stops.map(|(stop, _)| (stop, change)), AT_ONCE).await
}

/// Half of the leaders that are taken over from are killed, and half are frozen.
pub async fn taken_over_and_killed_at_any(plane: Arc<ControlPlane>) -> Result<()> {
    let stage = Stage::set(plane).await?;
    let stops = stops(&stage, Change::Takeover(Gone::Killed)).await?;
    let taking = STOPS.map(|(stop, arrives)| (stop(1).of(RequestKind::Lease), arrives));
    let stops = taking.into_iter().chain(stops);
    let changes = stops.map(|(stop, arrives)| {
        let gone = if arrives { Gone::Frozen } else { Gone::Killed };
        (stop, Change::Takeover(gone))
    });
    // Two operators in each.
    both_ends(&stage, changes, AT_ONCE / 2).await
}

/// Before and after each write of an undisturbed run, each with whether that reaches the API server.
async fn stops(stage: &Stage, change: Change) -> Result<impl Iterator<Item = (Stop, bool)>> {
    let scene = Scene::set(stage, change).await?;
    let run = scene.begin(Stop::never(), change).await?;
    run.done(&scene, change).await?;
    let requests = run.operator.counted();
    // The memory, two slices, the ConfigMap, the status.
    ensure!(requests.len() >= 5, "only {requests:?}");
    let numbers = 1..=u32::try_from(requests.len())?;
    Ok(numbers.flat_map(|number| STOPS.map(|(stop, arrives)| (stop(number), arrives))))
}

/// Some of the runs end with the move that was logged, and some without one.
async fn both_ends(stage: &Stage, stops: impl Iterator<Item = (Stop, Change)>, at_once: usize) -> Result<()> {
    let runs = stops.map(|(stop, change)| killed(stage, stop, change));
    let ends: BTreeSet<End> = stream::iter(runs).buffer_unordered(at_once).try_collect().await?;
    ensure!(
        ends.contains(&End::Stayed) && ends.contains(&End::Moved),
        "{ends:?}"
    );
    Ok(())
}

async fn killed(stage: &Stage, stop: Stop, change: Change) -> Result<End> {
    let scene = Scene::set(stage, change).await?;
    let writes = watch::Route::follow(scene.slices(), WRITES).await?;
    let mut run = scene.begin(stop.clone(), change).await?;
    let stopped = tokio::select! {
        stopped = run.operator.stopped(SOON) => Some(stopped),
        done = run.done(&scene, change) => done.map(|()| None)?,
    };
    let Some(stopped) = stopped else {
        return Ok(End::Undisturbed);
    };
    let request = stopped.with_context(|| format!("{stop:?}"))?;
    let end = goes_on(&scene, &mut run, &writes).await;
    end.with_context(|| format!("{change:?}, {stop:?}, {request:?}"))
}

/// Another operator goes by what was logged, though the old primary takes writes again.
async fn goes_on(scene: &Scene<'_>, run: &mut Run, writes: &watch::Route) -> Result<End> {
    let [old, new] = [0, 1].map(|number| BTreeSet::from([scene.servers().address(number).to_string()]));
    let logged = scene.policy().await?.status.unwrap_or_default().memory;
    let holder = logged
        .and_then(|memory| memory.holder)
        .context("a holder")?
        .endpoint;
    let end = if holder == "replica-1" {
        End::Moved
    } else {
        End::Stayed
    };
    ensure!(
        end == End::Moved || writes.sets() == [old.clone()],
        "moved before it was logged: {:?}",
        writes.sets()
    );
    scene.servers().old_primary_returns().await?;
    run.another_goes_on().await?;
    wait::eventually("both writable servers to be told", SOON, || async {
        let policy = scene.policy().await?;
        let split = condition(&policy, "SplitBrainSuspected").map(|is| is.status.clone());
        ensure!(split.as_deref() == Some("True"), "{:?}", policy.status);
        anyhow::Ok(())
    })
    .await?;
    let way = if end == End::Moved {
        vec![old, new]
    } else {
        vec![old]
    };
    wait::eventually("the writes to be where they belong", SOON, || async {
        writes.sets() == way
    })
    .await
    .with_context(|| format!("{holder} was logged, and they went {:?}", writes.sets()))?;
    wait::throughout("they stay there", Duration::from_secs(1), || async {
        ensure!(writes.sets() == way, "{:?}", writes.sets());
        anyhow::Ok(())
    })
    .await?;
    Ok(end)
}

/// Whether the policy tells that the promoted replica has the writes, and that they are written.
pub fn is_followed(policy: &ReplicaSetPolicy) -> bool {
    let told = condition(policy, "Programmed").is_some_and(|is| is.status == "True");
    let status = policy.status.clone().unwrap_or_default();
    told && status.primary.is_some_and(|primary| primary.id == "replica-1")
        && status
            .routes
            .iter()
            .any(|route| route.name == "rw" && route.endpoints.len() == 1)
}
