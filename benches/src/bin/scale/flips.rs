//! The operator's processor time per transition: endpoints die and come back among a thousand policies of ten.
//!
//! POLICIES (1000), FLIPS (200), AT_ONCE of them (20), IDLE seconds before (60). The policies are checked seldom, so that
//! the time between the transitions costs little: it is measured before, and subtracted.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use benches::contest::versions;
use benches::crowd::{Crowd, Shape};
use benches::figures::{milliseconds, save, show, table};
use benches::usage::CpuTime;
use benches::{option, page};
use harness::wait;
use serde_json::json;

use crate::{WRITES, pid, settle};

/// Status and Events follow the routes within this time.
const REST: Duration = Duration::from_secs(5);

pub async fn measure() -> Result<()> {
    let (policies, flips) = (option("POLICIES", 1000_usize)?, option("FLIPS", 200_usize)?);
    let (at_once, idle) = (option("AT_ONCE", 20_usize)?, option("IDLE", 60.0_f64)?);
    let mut crowd = Crowd::start(Shape::TEN.seldom(), policies).await?;
    crowd.grow(policies).await?;
    let started = Instant::now();
    let operator = crowd.operator().start().await?;
    crowd.started(started).await?;
    settle().await?;

    let ours = pid(&operator)?;
    let before = CpuTime::of(ours)?;
    wait::pass(
        Duration::from_secs_f64(idle),
        "what nothing costs shows only with time",
    )
    .await;
    let idle = CpuTime::of(ours)?.cores_since(&before);

    let metrics = operator.http_get("/metrics").await?.body;
    let (before, begun) = (CpuTime::of(ours)?, Instant::now());
    crowd.flips(flips, at_once).await?;
    wait::pass(REST, "status and Events follow the routes").await;
    let (after, took) = (CpuTime::of(ours)?, begun.elapsed());
    let later = operator.http_get("/metrics").await?.body;

    // Each flip is two: out, and back.
    let transitions = u32::try_from(flips * 2)?;
    let spent = after.own_beyond(&before, idle);
    let each = spent.checked_div(transitions).context("no FLIPS")?;
    let writes = page::sum(&later, WRITES) - page::sum(&metrics, WRITES);
    let per_transition = f64::from(u32::try_from(writes)?) / f64::from(transitions);
    table(&[
        [
            "transitions",
            "processor time",
            "each",
            "writes each",
            "idle cores",
        ]
        .map(ToOwned::to_owned)
        .to_vec(),
        vec![
            transitions.to_string(),
            show(Some(spent)),
            show(Some(each)),
            format!("{per_transition:.2}"),
            format!("{idle:.3}"),
        ],
    ]);
    crowd.end_stub().await?;
    save(
        "scale-flips",
        json!({
            "policies": policies, "endpoints": crowd.servers(), "flips": flips, "atOnce": at_once,
            "transitions": transitions, "cpuMs": milliseconds(spent), "cpuMsPerTransition": milliseconds(each),
            "writes": writes, "writesPerTransition": per_transition, "idleCores": idle, "tookMs": milliseconds(took),
            "versions": versions(),
        }),
    )
}
