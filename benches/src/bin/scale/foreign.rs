//! What slices of others cost: the operator's memory without them, when they come, and at a start that finds them.
//!
//! SLICES (10000, of ten pods), POLICIES (10, with a Service of three pods each), which makes the operator follow slices.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;
use benches::contest::versions;
use benches::crowd::{Crowd, Shape, objects, shape};
use benches::figures::{aim, save, show, table};
use benches::option;
use benches::usage::resident;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::{pid, settle};

/// Requests at once that make the slices.
const AT_ONCE: usize = 32;
const PODS: u8 = 10;
/// The aim, in bytes.
const LIMIT: u64 = 20_000_000;

pub async fn measure() -> Result<()> {
    let (policies, slices) = (option("POLICIES", 10_usize)?, option("SLICES", 10_000_u32)?);
    let mut crowd = Crowd::start(Shape::PODS, policies).await?;
    crowd.grow(policies).await?;
    let started = Instant::now();
    let operator = crowd.operator().start().await?;
    crowd.started(started).await?;
    settle().await?;
    let without = resident(pid(&operator)?)?;

    // Where the operator looks: in the namespace of the policies.
    let created = create(&crowd, slices).await?;
    println!("{slices} slices of {PODS} pods; made in {}", show(Some(created)));
    settle().await?;
    let grown = resident(pid(&operator)?)?;

    operator.kill();
    crowd.held(0, Duration::from_mins(1)).await?;
    let started = Instant::now();
    operator.start_again().await?;
    crowd.started(started).await?;
    settle().await?;
    let (found, peak) = (resident(pid(&operator)?)?, operator.vm_hwm()?);

    let more = |with: u64| i128::from(with) - i128::from(without);
    let row = |what: &str, with: u64| vec![what.to_owned(), with.to_string(), more(with).to_string()];
    table(&[
        ["slices of others", "memory (bytes)", "more"]
            .map(ToOwned::to_owned)
            .to_vec(),
        row("none", without),
        row("they come", grown),
        row("a start finds them", found),
        row("peak of that start", peak),
    ]);
    let most = more(grown.max(found));
    aim(
        &format!("at most {LIMIT} bytes more ({most})"),
        Some(most <= i128::from(LIMIT)),
    );
    crowd.end_stub().await?;
    save(
        "scale-foreign",
        json!({
            "policies": policies, "slices": slices, "podsPerSlice": PODS, "limitBytes": LIMIT,
            "residentBytes": {"without": without, "grown": grown, "found": found}, "peakBytes": peak,
            "versions": versions(),
        }),
    )
}

/// Makes slices of Services that no policy names; how long that took.
async fn create(crowd: &Crowd, slices: u32) -> Result<Duration> {
    let (started, client, namespace) = (Instant::now(), crowd.plane.client(), &*crowd.namespace);
    let made = stream::iter(0..slices).map(|number| {
        let client = client.clone();
        async move {
            let pods = (1..=PODS).map(|pod| Ipv4Addr::new(198, 18, 200, pod));
            objects::create(
                &client,
                namespace,
                shape::slice(&format!("theirs-{number}"), pods),
            )
            .await
        }
    });
    made.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(started.elapsed())
}
