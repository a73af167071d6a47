//! The operator is killed before and after each of its writes, and started again: the end is that of a run that nothing
//! stopped. The servers are fakes, so that many runs take little. Events are not counted: nothing depends on them. Renewals of
//! the Lease are not counted: they differ in nothing.

mod promotion;
mod scene;
mod servers;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary::Clients;
use futures::{StreamExt, TryStreamExt, stream};
use harness::stop::{RequestKind, Stop};
use harness::suite::Suite;
use harness::{ControlPlane, wait};

use crate::fixture::SOON;
use scene::{Change, Scene, Stage};

/// Operators that run at the same time.
const AT_ONCE: usize = 6;
/// A stop, by the number of a request.
type StopAt = fn(u32) -> Stop;
/// Both of them, each with whether that request reaches the API server.
const STOPS: [(StopAt, bool); 2] = [(Stop::before, false), (Stop::after, true)];

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_first_start_killed_at_any_request_ends_as_if_it_was_not",
            first_starts,
        )
        .test("an_edit_killed_at_any_request_ends_as_if_it_was_not", edits)
        .test(
            "the_writes_never_go_back_after_a_promotion_killed_at_any_request",
            promotion::killed_at_any,
        )
        .test(
            "the_writes_never_go_back_after_a_takeover_killed_at_any_request",
            promotion::taken_over_and_killed_at_any,
        )
        .test(
            "an_operator_frozen_at_a_request_goes_on_when_it_is_thawed",
            frozen,
        )
        .test("an_operator_can_be_killed_at_a_read_and_watches_are_none", reads)
}

/// The operator that a test of this program asked for; see [`harness::stop`].
pub fn operator(stop: &Stop) -> ExitCode {
    distributary::cli::main_over(|| async {
        let Clients {
            requests,
            fresh,
            watches,
            callers,
        } = Clients::infer().await?;
        let [requests, fresh, watches] = stop.around([requests, fresh, watches]);
        Ok(Clients {
            requests,
            fresh,
            watches,
            callers,
        })
    })
}

async fn first_starts(plane: Arc<ControlPlane>) -> Result<()> {
    // Two Services, two slices, the ConfigMap, the status.
    killed_at_any(plane, Change::FirstStart, 6).await
}

async fn edits(plane: Arc<ControlPlane>) -> Result<()> {
    // One slice, the ConfigMap, the status.
    killed_at_any(plane, Change::ReplicaRemoved, 3).await
}

/// Counts the requests of a change, of which there are at least so many; then makes it again for each of them, before and
/// after which the operator is killed.
async fn killed_at_any(plane: Arc<ControlPlane>, change: Change, least: u32) -> Result<()> {
    let stage = Stage::set(plane).await?;
    let scene = Scene::set(&stage, change).await?;
    let run = scene.begin(Stop::never(), change).await?;
    run.done(&scene, change).await?;
    let (end, requests) = (scene.state().await?, run.operator.counted());
    let count = u32::try_from(requests.len())?;
    ensure!(count >= least, "only {requests:?}");
    drop(run);

    let stops = (1..=count).flat_map(|number| STOPS.map(|(stop, arrives)| (stop(number), arrives)));
    let runs = stops.map(|(stop, arrives)| killed(&stage, change, stop, arrives, &end));
    let killed: Vec<bool> = stream::iter(runs).buffer_unordered(AT_ONCE).try_collect().await?;
    let killed = u32::try_from(killed.into_iter().filter(|killed| *killed).count())?;
    ensure!(killed >= 2 * least, "only {killed} of {} were killed", 2 * count);
    Ok(())
}

/// One run that is killed, and what another one makes of it. Whether it was: it may do with fewer requests than the one
/// that was counted, as a status that is written in two steps once is written in one another time.
async fn killed(stage: &Stage, change: Change, stop: Stop, arrives: bool, end: &str) -> Result<bool> {
    let scene = Scene::set(stage, change).await?;
    let mut run = scene.begin(stop.clone(), change).await?;
    let stopped = tokio::select! {
        stopped = run.operator.stopped(SOON) => Some(stopped),
        done = run.done(&scene, change) => done.map(|()| None)?,
    };
    if let Some(request) = stopped {
        let request = request.with_context(|| format!("{stop:?}"))?;
        scene.arrived(&run, &request, arrives).await?;
        run.operator.start_undisturbed().await?;
        let ended = scene.ends_as(end).await;
        return ended
            .map(|()| true)
            .with_context(|| format!("{stop:?}, {request:?}"));
    }
    scene.ends_as(end).await.map(|()| false)
}

async fn frozen(plane: Arc<ControlPlane>) -> Result<()> {
    let (stage, change) = (Stage::set(plane).await?, Change::FirstStart);
    for (stop, arrives) in STOPS {
        let scene = Scene::set(&stage, change).await?;
        let run = scene.begin(stop(1).freezing(), change).await?;
        let request = run.operator.stopped(SOON).await?;
        scene.arrived(&run, &request, arrives).await?;
        let log = run.operator.log();
        let stands = || async { run.operator.log() == log };
        wait::throughout("it stands still", Duration::from_secs(1), stands).await?;
        run.operator.daemon().thaw()?;
        scene.settled(change).await?;
    }
    Ok(())
}

async fn reads(plane: Arc<ControlPlane>) -> Result<()> {
    let (stage, change) = (Stage::set(plane).await?, Change::FirstStart);
    let scene = Scene::set(&stage, change).await?;
    let run = scene
        .begin(Stop::never().counting(RequestKind::Read), change)
        .await?;
    scene.settled(change).await?;
    let counted = run.operator.counted();
    let (reads, writes): (Vec<_>, Vec<_>) = counted.iter().partition(|request| request.method == "GET");
    let watches = reads.iter().filter(|read| read.uri.contains("watch=")).count();
    ensure!(
        (reads.is_empty(), writes.is_empty(), watches) == (false, false, 0),
        "{counted:?}"
    );
    drop(run);

    let stop = Stop::before(3).counting(RequestKind::Read);
    let run = scene.begin(stop, change).await?;
    let request = run.operator.stopped(SOON).await?;
    ensure!(request.number == 3 && request.method == "GET", "{request:?}");
    Ok(())
}
