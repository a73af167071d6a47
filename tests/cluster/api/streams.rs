//! Server-sent events.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use harness::wait;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};

use super::scene::{Scene, bearer};
use crate::fixture::SOON;

const PATH: &str = "/api/v1/policies/shop/orders/events";
/// The right is asked for again after 60 s, and believed for 10 s.
const UNTIL_REFUSED: Duration = Duration::from_secs(75);

type Events = Lines<BufReader<Box<dyn AsyncRead + Unpin + Send>>>;

async fn open(scene: &Scene, token: &str) -> Result<Events> {
    let stream = scene
        .client
        .open("GET", &scene.here(PATH), &[bearer(token)], "")
        .await?;
    let stream: Box<dyn AsyncRead + Unpin + Send> = Box::new(stream);
    Ok(BufReader::new(stream).lines())
}

/// The name and the data of the next event.
async fn next(events: &mut Events, within: Duration) -> Result<(String, Value)> {
    let event = async {
        let mut name = String::new();
        loop {
            let line = events.next_line().await?.context("the stream has ended")?;
            if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut name);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return anyhow::Ok((name, serde_json::from_str(data)?));
            }
        }
    };
    wait::within("an event", within, event).await
}

pub async fn changes(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let mut events = open(&scene, &scene.reader).await?;
    let (name, first) = next(&mut events, SOON).await?;
    ensure!(name == "snapshot" && first["name"] == "orders", "{name} {first}");
    let targets = |policy: &Value, route: &str| {
        let targets = &policy["routing"]["routes"][route]["targets"];
        targets.as_array().cloned().unwrap_or_default()
    };
    ensure!(targets(&first, "ro")[0]["endpoint"] == "replica-1", "{first}");
    scene.it.postgres.replica(0).kill_postmaster()?;
    let leads_elsewhere = async {
        loop {
            let (name, policy) = next(&mut events, SOON).await?;
            ensure!(name == "change", "{name}");
            if targets(&policy, "ro")
                .iter()
                .all(|target| target["endpoint"] == "primary")
            {
                return anyhow::Ok(policy);
            }
        }
    };
    let changed = wait::within("reads to lead to the primary", SOON, leads_elsewhere).await?;
    ensure!(
        changed["answeredBy"].is_string() && changed["observedAt"].is_string(),
        "{changed}"
    );
    // The right goes, and so does the stream.
    let namespace = &*scene.it.namespace;
    scene
        .it
        .plane
        .kubectl(&["delete", "rolebinding", "-n", namespace, "reader"])
        .await?;
    let ends = async {
        loop {
            let (name, problem) = next(&mut events, UNTIL_REFUSED).await?;
            if name == "end" {
                return anyhow::Ok(problem);
            }
        }
    };
    let problem = wait::within("the stream to end", UNTIL_REFUSED, ends).await?;
    ensure!(problem["code"] == 403, "{problem}");
    ensure!(
        events
            .next_line()
            .await
            .ok()
            .flatten()
            .is_none_or(|line| line.is_empty())
    );
    Ok(())
}

pub async fn limits(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let mut open_ones = vec![];
    for _ in 0..8 {
        let mut events = open(&scene, &scene.reader).await?;
        next(&mut events, SOON).await?;
        open_ones.push(events);
    }
    let refused = scene.get(PATH, &scene.reader).await?;
    ensure!(
        refused.status == 429 && refused.head.contains("etry-"),
        "{refused:?}"
    );
    let mut other = open(&scene, &scene.editor).await?;
    next(&mut other, SOON).await?;
    open_ones.pop();
    wait::eventually("a place to be free", SOON, || async {
        let mut events = open(&scene, &scene.reader).await?;
        next(&mut events, Duration::from_secs(5)).await
    })
    .await?;
    Ok(())
}
