//! How the time of a first start grows with the number of policies of two servers.
//!
//! SIZES (1000,2500,5000), in ascending order.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::contest::versions;
use benches::crowd::{Crowd, Shape, Start};
use benches::figures::{aim, milliseconds, save, show, table};
use benches::option;
use serde_json::{Value, json};

/// The aim: at the last size a policy takes at most so many times what it takes at the first.
const FACTOR: f64 = 1.25;

pub async fn measure() -> Result<()> {
    let sizes = sizes(&option("SIZES", "1000,2500,5000".to_owned())?)?;
    let mut starts = vec![];
    for size in sizes {
        starts.push((size, first_start(size).await?));
    }
    let head = ["policies", "all routed", "for each policy", "all sessions held"].map(ToOwned::to_owned);
    let row = |(size, start): &(u32, Start)| {
        let times = [start.routed, start.routed / *size, start.held].map(|time| show(Some(time)));
        [vec![size.to_string()], times.to_vec()].concat()
    };
    table(&[vec![head.to_vec()], starts.iter().map(row).collect()].concat());
    let each: Vec<Duration> = starts.iter().map(|(size, start)| start.routed / *size).collect();
    let linear = each
        .first()
        .zip(each.last())
        .map(|(first, last)| last.as_secs_f64() / first.as_secs_f64());
    aim(
        &format!(
            "the time for each policy grows at most {FACTOR} times ({:.2})",
            linear.unwrap_or(0.0)
        ),
        linear.map(|factor| factor <= FACTOR),
    );
    let json = |(size, start): &(u32, Start)| {
        json!({
            "policies": size, "routedMs": milliseconds(start.routed), "sessionsHeldMs": milliseconds(start.held),
        })
    };
    let starts: Vec<Value> = starts.iter().map(json).collect();
    save(
        "scale-growth",
        json!({"servers": Shape::PAIR.servers, "starts": starts, "growth": linear, "versions": versions()}),
    )
}

fn sizes(text: &str) -> Result<Vec<u32>> {
    let sizes: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    let sizes = sizes.with_context(|| format!("SIZES={text}"))?;
    ensure!(
        sizes.iter().all(|size| *size > 0),
        "SIZES={text}: a size is at least 1"
    );
    Ok(sizes)
}

/// A start of so many policies without routes, on a control plane of its own.
async fn first_start(size: u32) -> Result<Start> {
    let policies = usize::try_from(size)?;
    let mut crowd = Crowd::start(Shape::PAIR, policies).await?;
    crowd.grow(policies).await?;
    let started = Instant::now();
    let _operator = crowd.operator().start().await?;
    let start = crowd.started(started).await?;
    crowd.end_stub().await?;
    Ok(start)
}
