//! Server-sent events.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use harness::ControlPlane;
use harness::wait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::net::TcpSocket;

use super::scene::{Scene, bearer};
use crate::fixture::SOON;

const PATH: &str = "/api/v1/policies/shop/orders/events";
const FLEET: &str = "/api/v1/events?namespace=shop";
/// The right is asked for again after 60 s, and believed for 10 s.
const UNTIL_REFUSED: Duration = Duration::from_secs(75);

type Events = Lines<BufReader<Box<dyn AsyncRead + Unpin + Send>>>;

async fn open(scene: &Scene, path: &str, token: &str) -> Result<Events> {
    let stream = scene
        .client
        .open("GET", &scene.here(path), &[bearer(token)], "")
        .await?;
    Ok(events(stream))
}

/// The same by a client whose system keeps little that nobody has read.
async fn open_small(scene: &Scene, path: &str, token: &str) -> Result<Events> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let stream = socket.connect(scene.client.address).await?;
    let (path, headers) = (scene.here(path), [bearer(token)]);
    let stream = scene.client.open_over(stream, "GET", &path, &headers, "");
    Ok(events(stream.await?))
}

fn events(stream: impl AsyncRead + Unpin + Send + 'static) -> Events {
    let stream: Box<dyn AsyncRead + Unpin + Send> = Box::new(stream);
    BufReader::new(stream).lines()
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
    let mut events = open(&scene, PATH, &scene.reader).await?;
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

/// Tells of the policies of a namespace, each as in a page, until the right to list them goes, though that to get one stays.
pub async fn fleet(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let namespace = &*scene.it.namespace;
    for path in ["/api/v1/events", FLEET] {
        let refused = scene.get(path, &scene.stranger).await?;
        ensure!(
            refused.status == 403 && !refused.body.contains("orders"),
            "{refused:?}"
        );
    }
    // The only one needs no name, in the only namespace of the operator.
    for (token, code) in [(&scene.reader, 200), (&scene.stranger, 403)] {
        let only = scene.get("/api/db/health", token).await?;
        ensure!(only.status == code, "{only:?}");
    }
    let mut events = open(&scene, FLEET, &scene.reader).await?;
    let (name, mut first) = next(&mut events, SOON).await?;
    ensure!(
        name == "snapshot" && first["answeredBy"].is_string(),
        "{name} {first}"
    );
    let page = scene
        .get("/api/v1/policies?namespace=shop", &scene.reader)
        .await?;
    let mut page: Value = serde_json::from_str(&page.body)?;
    for list in [&mut first, &mut page] {
        let item = list["items"][0].as_object_mut().context("an item")?;
        for figure in [
            "replicaUsagePercentage",
            "averageResponseTime",
            "worstLagMilliseconds",
            "connections",
        ] {
            ensure!(item.remove(figure).is_some(), "no {figure}");
        }
    }
    ensure!(first["items"] == page["items"], "{first} {page}");
    let item = &first["items"][0];
    ensure!(
        item["ready"]["status"] == "True"
            && item["degraded"]["status"] == "False"
            && item["writePrimary"] == "primary"
            && item["regions"].is_array()
            && item["totalReplicas"] == 1,
        "{item}"
    );
    // One that is new, then gone; a stream that begins later is of the same.
    scene.it.apply_another("invoices", scene.it.policy()).await?;
    until(&mut events, |change| change["items"][0]["name"] == "invoices").await?;
    for path in ["/api/db/health", "/api/db/stats?namespace=shop"] {
        let several = scene.get(path, &scene.reader).await?;
        let names = ["orders", "invoices"]
            .iter()
            .any(|name| several.body.contains(name));
        ensure!(several.status == 400 && !names, "{several:?}");
    }
    let mut later = open(&scene, FLEET, &scene.editor).await?;
    let (_, both) = next(&mut later, SOON).await?;
    ensure!(
        both["items"][0]["name"] == "invoices" && both["items"][1]["name"] == "orders",
        "{both}"
    );
    scene
        .it
        .plane
        .kubectl(&[
            "delete",
            "replicasetpolicy",
            "-n",
            namespace,
            "invoices",
            "--wait=false",
        ])
        .await?;
    for events in [&mut events, &mut later] {
        until(events, |change| {
            change["items"] == json!([])
                && change["removed"] == json!([{"namespace": namespace, "name": "invoices"}])
        })
        .await?;
    }
    scene.it.postgres.replica(0).kill_postmaster()?;
    until(&mut events, |change| {
        let item = &change["items"][0];
        item["name"] == "orders" && item["degraded"]["status"] == "True" && item["healthyReplicas"] == 0
    })
    .await?;
    loses_its_list(&scene, events).await
}

/// Waits for a change that is so.
async fn until(events: &mut Events, is_so: impl Fn(&Value) -> bool) -> Result<()> {
    let changed = async {
        loop {
            let (name, change) = next(events, SOON).await?;
            ensure!(name == "change", "{name} {change}");
            if is_so(&change) {
                return anyhow::Ok(());
            }
        }
    };
    wait::within("a change", SOON, changed).await
}

async fn loses_its_list(scene: &Scene, mut events: Events) -> Result<()> {
    let rules = json!({"rules": [
        {"apiGroups": ["distributary.dev"], "resources": ["replicasetpolicies"], "verbs": ["get"]},
    ]});
    let namespace = &*scene.it.namespace;
    let rules = rules.to_string();
    let patch = [
        "patch",
        "role",
        "-n",
        namespace,
        "reader",
        "--type=merge",
        "-p",
        &rules,
    ];
    scene.it.plane.kubectl(&patch).await?;
    let ends = async {
        loop {
            let (name, problem) = next(&mut events, UNTIL_REFUSED).await?;
            if name == "end" {
                return anyhow::Ok(problem);
            }
        }
    };
    let problem = wait::within("the stream to end", UNTIL_REFUSED, ends).await?;
    let message = problem["message"].as_str().unwrap_or_default();
    ensure!(problem["code"] == 403 && message.contains("list"), "{problem}");
    let one = scene.get("/api/v1/policies/shop/orders", &scene.reader).await?;
    ensure!(one.status == 200, "{one:?}");
    Ok(())
}

pub async fn limits(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let mut open_ones = vec![];
    for _ in 0..8 {
        let mut events = open(&scene, PATH, &scene.reader).await?;
        next(&mut events, SOON).await?;
        open_ones.push(events);
    }
    let refused = scene.get(PATH, &scene.reader).await?;
    ensure!(
        refused.status == 429 && refused.head.contains("etry-"),
        "{refused:?}"
    );
    let refused = scene.get(FLEET, &scene.reader).await?;
    ensure!(refused.status == 429, "both kinds count: {refused:?}");
    let mut other = open(&scene, PATH, &scene.editor).await?;
    next(&mut other, SOON).await?;
    open_ones.pop();
    wait::eventually("a place to be free", SOON, || async {
        let mut events = open(&scene, PATH, &scene.reader).await?;
        next(&mut events, Duration::from_secs(5)).await
    })
    .await?;
    Ok(())
}

/// Eight clients read one event and then nothing: each of them holds a place of its token until it is given up.
pub async fn unread(plane: Arc<ControlPlane>) -> Result<()> {
    /// Of the 256 MiB that chart and manifests give the operator.
    const MORE: u64 = 16 << 20;
    /// From one change to the next at least 250 ms pass; a client is given up after 10 s.
    const ROUNDS: u32 = 200;
    /// What was under way is read by then.
    const ENDED: Duration = Duration::from_secs(5);
    let scene = Scene::set(plane).await?;
    let mut policy = scene.it.policy();
    let replicas = policy["spec"]["replicas"].as_array_mut();
    // Each event tells of all of them, so a few fill a connection.
    let idle = (1..=60).map(|number| {
        json!({"id": format!("idle-{number}"), "host": format!("10.9.0.{number}"), "state": "Disabled"})
    });
    replicas.context("no replicas")?.extend(idle);
    scene.it.apply(&policy).await?;
    let mut heard = open(&scene, PATH, &scene.editor).await?;
    next(&mut heard, SOON).await?;
    hears(&scene, &mut heard, 0).await?;
    let before = scene.it.operator.vm_hwm()?;
    let mut unread = vec![];
    for _ in 0..8 {
        let mut events = open_small(&scene, PATH, &scene.reader).await?;
        next(&mut events, SOON).await?;
        unread.push(events);
    }
    let refused = scene.get(FLEET, &scene.reader).await?;
    ensure!(refused.status == 429, "{refused:?}");
    let mut last = None;
    for round in 1..=ROUNDS {
        hears(&scene, &mut heard, round).await?;
        let mut another = open(&scene, PATH, &scene.reader).await?;
        if next(&mut another, SOON).await.is_ok() {
            last = Some(round);
            break;
        }
    }
    let last = last.context("those who read nothing keep their places")?;
    // Who was given up is told no more: what was under way comes yet, and then the end of the connection. Others may not be full yet, and
    // hear again as they are read.
    let read = unread.iter_mut().map(|events| async {
        let rest = async {
            let mut rest = String::new();
            while let Ok(Some(line)) = events.next_line().await {
                rest.push_str(&line);
            }
            anyhow::Ok(rest)
        };
        wait::within("a connection that nobody read to end", ENDED, rest)
            .await
            .ok()
    });
    let ended: Vec<_> = join_all(read).await.into_iter().flatten().collect();
    ensure!(!ended.is_empty(), "no connection ended");
    let told = ended.iter().any(|rest| rest.contains(&name(last)));
    ensure!(!told, "it was told of every change");
    let after = scene.it.operator.vm_hwm()?;
    ensure!(after < before + MORE, "{before} bytes before, {after} after");
    Ok(())
}

fn name(round: u32) -> String {
    format!("round {round}.")
}

/// Changes the policy, of which one who listens hears.
async fn hears(scene: &Scene, events: &mut Events, round: u32) -> Result<()> {
    let name = name(round);
    let change = json!({"spec": {"primary": {"displayName": name}}});
    scene.it.patch(change).await?;
    until(events, |policy| policy["endpoints"][0]["name"] == name.as_str()).await
}
