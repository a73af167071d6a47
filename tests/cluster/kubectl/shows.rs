//! What is shown, and to whom.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::ControlPlane;
use harness::wait::{self, Stopwatch};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::scene::{Caller, POD, Scene, flags_of_server};
use crate::fixture::{SOON, addresses};

/// The cells of the row that begins with this.
fn row<'a>(text: &'a str, first: &str) -> Result<Vec<&'a str>> {
    let cells = |line: &'a str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    let mut rows = text.lines().map(|line| cells(line).collect::<Vec<_>>());
    rows.find(|row| row.first() == Some(&first))
        .with_context(|| format!("no {first} in {text}"))
}

pub async fn callers(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 2).await?;
    // Who may forward sees figures of the last seconds.
    wait::eventually("rates to be known", SOON, || async {
        let stats = scene
            .run(Caller::Reader, &["stats", "orders", "-o", "json"])
            .await?;
        let document: Value = serde_json::from_str(&stats.out)?;
        let known = document["endpoints"][1]["statistics"]["tenSeconds"]["transactions"].is_number();
        ensure!(document["live"] == true && known, "{document}");
        anyhow::Ok(())
    })
    .await?;
    for caller in [Caller::Reader, Caller::Editor] {
        let status = scene.run(caller, &["status", "orders"]).await?;
        ensure!(status.code == 0 && status.err.is_empty(), "{status:?}");
        ensure!(
            status
                .out
                .contains(": Reads and writes are routed. (Routable)\nWrites: primary\n"),
            "{status:?}"
        );
        let replica = row(&status.out, "replica-1")?;
        ensure!(replica.len() == 7 && replica[1] == "Standby", "{replica:?}");
        ensure!(
            replica[3].ends_with("/50") && replica[4].ends_with("/s"),
            "{replica:?}"
        );
        ensure!(replica[5] == "Serving", "{replica:?}");
        ensure!(
            row(&status.out, "ro")?[1..] == ["Served", "replica-1,replica-2"],
            "{status:?}"
        );
    }
    let health = scene.run(Caller::Reader, &["health"]).await?;
    let line = row(&health.out, "orders")?;
    ensure!(health.code == 0 && line[1..3] == ["True", "2/2"], "{health:?}");
    ensure!(line[4].ends_with(" ms"), "the response time is live: {line:?}");
    // Who may not, sees the status, and is told.
    let viewed = scene.run(Caller::Viewer, &["status", "orders"]).await?;
    ensure!(viewed.code == 0 && viewed.err.lines().count() == 1, "{viewed:?}");
    ensure!(
        viewed.err.starts_with("No live figures, shown is what the status has: Error from server (Forbidden): leases.coordination.k8s.io"),
        "{viewed:?}"
    );
    ensure!(row(&viewed.out, "replica-1")?[3..5] == ["-", "-"], "{viewed:?}");
    let nobody = scene.run(Caller::Nobody, &["status", "orders"]).await?;
    ensure!(
        nobody.code == 1
            && nobody.out.is_empty()
            && nobody.err.contains(
                "Error from server (Forbidden): replicasetpolicies.distributary.dev \"orders\" is forbidden"
            ),
        "{nobody:?}"
    );
    for command in [
        &["status", "carts"][..],
        &["status", "carts", "--watch"],
        &["stats", "carts"],
        &["routes", "carts"],
        &["explain", "carts"],
        &["report", "carts"],
    ] {
        let missing = scene.run(Caller::Reader, command).await?;
        let said = "Error from server (NotFound): replicasetpolicies.distributary.dev \"carts\" not found\n";
        ensure!(
            missing.code == 1 && missing.err == said,
            "{command:?}: {missing:?}"
        );
    }
    formats(&scene).await
}

async fn formats(scene: &Scene) -> Result<()> {
    let names = scene.run(Caller::Reader, &["health", "-o", "name"]).await?;
    ensure!(
        names.out == "replicasetpolicy.distributary.dev/orders\n",
        "{names:?}"
    );
    let yaml = scene
        .run(Caller::Reader, &["routes", "orders", "-o", "yaml"])
        .await?;
    ensure!(
        yaml.code == 0 && yaml.out.contains("strategy: RoundRobin"),
        "{yaml:?}"
    );
    let wide = scene
        .run(Caller::Reader, &["routes", "orders", "-o", "wide"])
        .await?;
    ensure!(row(&wide.out, "orders")?.contains(&"Enforce"), "{wide:?}");
    let refused = scene.run(Caller::Reader, &["health", "-o", "xml"]).await?;
    ensure!(
        refused.code == 2
            && refused
                .err
                .contains("unable to match a printer suitable for the output format \"xml\""),
        "{refused:?}"
    );
    let empty = scene.run(Caller::Reader, &["health", "-o", "jsonpath="]).await?;
    ensure!(
        empty.code == 2
            && empty
                .err
                .contains("template format specified but no template given"),
        "{empty:?}"
    );
    let by_kubectl = scene.kubectl(Caller::Reader, &["distributary", "routes"]).await?;
    ensure!(
        by_kubectl.code == 0 && by_kubectl.out.contains("Served"),
        "{by_kubectl:?}"
    );
    // A name leads to no other path, such as that of a subresource.
    for command in ["status", "stats", "routes", "explain", "force-check", "report"] {
        let other = scene.run(Caller::Editor, &[command, "orders/status"]).await?;
        ensure!(
            other.code == 1
                && other
                    .err
                    .contains("error: invalid resource name \"orders/status\": [may not contain '/']")
                && other.out.is_empty(),
            "{command}: {other:?}"
        );
    }
    let everywhere = scene.run(Caller::Reader, &["routes", "-A"]).await?;
    ensure!(
        everywhere.code == 1 && everywhere.err.contains("at the cluster scope"),
        "{everywhere:?}"
    );
    Ok(())
}

pub async fn verbs(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 1).await?;
    let ended = scene.run(Caller::Getter, &["health"]).await?;
    ensure!(ended.code == 0, "{ended:?}");
    ensure!(
        ended
            .err
            .contains("you cannot create resource \"pods/portforward\""),
        "{ended:?}"
    );
    // The operator has gone, and nobody answers.
    scene.it.operator.kill();
    let ended = scene.run(Caller::Reader, &["health"]).await?;
    ensure!(
        ended.code == 0 && ended.err.contains("No live figures"),
        "{ended:?}"
    );
    ensure!(row(&ended.out, "orders")?[1] == "True", "{ended:?}");
    // Its Pod, too, as where a node was lost.
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    scene.it.api::<Pod>().delete(POD, &now).await?;
    let gone = format!(
        "no operator leads: the Pod {}/{POD}, which held the Lease last, is not there any more",
        &*scene.it.namespace
    );
    wait::eventually("the end of the Pod to be told", SOON, || async {
        let ended = scene.run(Caller::Reader, &["health"]).await?;
        ensure!(ended.code == 0 && ended.err.contains(&gone), "{ended:?}");
        anyhow::Ok(())
    })
    .await?;
    for (flag, words) in [
        ("--operator-namespace=", "name may not be empty"),
        ("--lease-name=a/b", "invalid name \"a/b\": [may not contain '/']"),
    ] {
        let wrong = scene.run(Caller::Reader, &["api-ca", flag]).await?;
        ensure!(wrong.code == 2 && wrong.err.contains(words), "{wrong:?}");
    }
    Ok(())
}

pub async fn server(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 1).await?;
    let flags = flags_of_server(&scene);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let with = |more: &[&'static str]| [more, &flags[..]].concat();
    let health = scene.run(Caller::Viewer, &with(&["status", "orders"])).await?;
    ensure!(health.code == 0 && health.err.is_empty(), "{health:?}");
    ensure!(row(&health.out, "replica-1")?[3].ends_with("/50"), "{health:?}");
    // Nobody else will do, where somebody is named.
    scene.it.operator.kill();
    let gone = scene.run(Caller::Viewer, &with(&["status", "orders"])).await?;
    ensure!(
        gone.code == 1 && gone.err.starts_with("error: the operator does not answer"),
        "{gone:?}"
    );
    let plain = scene
        .run(
            Caller::Viewer,
            &["status", "orders", "--server=http://localhost:1"],
        )
        .await?;
    ensure!(
        plain.code == 1 && plain.err.contains("must begin with https://"),
        "{plain:?}"
    );
    Ok(())
}

/// From the slice without the server to the line that says so.
pub async fn watch(plane: Arc<ControlPlane>) -> Result<()> {
    const SHOWN: Duration = Duration::from_secs(1);
    let scene = Scene::set(plane, 2).await?;
    let route = scene.it.follow("ro").await?;
    let command = scene
        .command(Caller::Reader, &["status", "orders", "--watch"])
        .await?;
    let mut child = { command }.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("an output")?).lines();
    let clock = Stopwatch::start();
    let mut until = async |what: &str, is: fn(&str) -> bool| {
        let seen = async {
            while let Some(line) = lines.next_line().await? {
                if is(&line) {
                    return Ok(clock.elapsed());
                }
            }
            anyhow::bail!("the output has ended")
        };
        wait::within(what, SOON, seen).await
    };
    until("the first table", |line| line.starts_with("ro ")).await?;
    scene.it.postgres.replica(0).kill_postmaster()?;
    let shown = until("the killed replica", |line| {
        line.starts_with("ro ") && line.ends_with(" replica-2")
    })
    .await?;
    let left = addresses(&[scene.it.postgres.replica(1)]);
    let led = route.leads_to(&left, SOON).await?;
    let late = shown.saturating_sub(clock.until(led));
    ensure!(late <= SHOWN, "shown {late:?} after the slice");
    Ok(())
}

/// The figures are live again, of the process that leads then.
pub async fn leader(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 2).await?;
    let command = scene
        .command(Caller::Reader, &["status", "orders", "--watch"])
        .await?;
    let mut child = { command }.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("an output")?).lines();
    let mut until = async |what: &str, is: fn(&str) -> bool| {
        let seen = async {
            while let Some(line) = lines.next_line().await? {
                if is(&line) {
                    return Ok(());
                }
            }
            anyhow::bail!("the output has ended")
        };
        wait::within(what, SOON, seen).await
    };
    until("the first table", |line| line.starts_with("ro ")).await?;
    // The next process of the Pod leads once the Lease of this one has ended.
    scene.it.operator.kill();
    scene.it.operator.start_again().await?;
    scene.it.postgres.replica(0).kill_postmaster()?;
    until("the killed replica", |line| {
        line.starts_with("replica-1 ") && !line.contains("Serving")
    })
    .await?;
    until("the sessions on the other one", |line| {
        line.starts_with("replica-2 ") && line.contains("/50")
    })
    .await
}

/// Whoever asks, by whatever name and method.
pub async fn loopback(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 1).await?;
    let ask = async |method: &str, path: &str, host: &str| {
        let mut stream = TcpStream::connect(scene.loopback).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        wait::within("an answer", SOON, stream.read_to_string(&mut answer)).await?;
        anyhow::Ok(answer)
    };
    let policy = format!("/api/v1/policies/{}/orders", &*scene.it.namespace);
    let replicas = format!("/api/db/replicas?policy={}/orders", &*scene.it.namespace);
    for path in [policy.as_str(), &replicas, "/api/v1/policies", "/openapi.json"] {
        let answer = ask("GET", path, "localhost").await?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    for (method, path, host, code) in [
        ("POST", replicas.as_str(), "localhost", 405),
        ("DELETE", &policy, "localhost", 405),
        ("GET", "/metrics", "localhost", 404),
        ("GET", &policy, "example.com", 403),
        ("GET", &policy, "localhost.example.com:8081", 403),
    ] {
        let answer = ask(method, path, host).await?;
        ensure!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{method} {path} {host}: {answer}"
        );
        ensure!(!answer.contains("replica-1"), "{method} {path} {host}: {answer}");
    }
    Ok(())
}

/// With live figures, and by the status alone.
pub async fn change(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 2).await?;
    let mut watches = vec![];
    for caller in [Caller::Reader, Caller::Viewer] {
        let mut command = scene.command(caller, &["health", "--watch"]).await?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("an output")?).lines();
        let head = wait::within("the head", SOON, lines.next_line()).await?;
        ensure!(head.is_some_and(|head| head.starts_with("NAME")), "the head");
        let first = wait::within("the line", SOON, lines.next_line()).await?;
        ensure!(
            first.as_ref().is_some_and(|line| line.contains("2/2")),
            "{first:?}"
        );
        watches.push((caller, child, lines));
    }
    // Who reads a watch may stop reading, as head does.
    let mut unread = scene.command(Caller::Reader, &["health", "--watch"]).await?;
    let mut unread = unread.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(unread.stdout.take().context("an output")?).lines();
    wait::within("the head", SOON, lines.next_line()).await?;
    drop(lines);
    let goal = "--for=reason=replica-1=CircuitOpen";
    let mut waiting = scene
        .command(Caller::Viewer, &["wait", "orders", goal, "--timeout=1m"])
        .await?;
    let waiting = waiting.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    scene.it.postgres.replica(0).kill().await?;
    let ended = wait::within("the wait to end", SOON, waiting.wait_with_output()).await?;
    ensure!(ended.status.success(), "{ended:?}");
    ensure!(
        ended.stdout == b"replicasetpolicy.distributary.dev/orders condition met\n",
        "{ended:?}"
    );
    let ended = wait::within("the watch that nobody reads to end", SOON, unread.wait()).await?;
    ensure!(ended.success(), "{ended:?}");
    for (caller, _child, lines) in &mut watches {
        let falls = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains("1/2") {
                    return anyhow::Ok(line);
                }
            }
            anyhow::bail!("the output has ended")
        };
        let line = wait::within("the changed line", SOON, falls).await?;
        ensure!(
            row(&line, "orders")?[1..3] == ["True", "1/2"],
            "{caller:?}: {line}"
        );
    }
    let status = scene.run(Caller::Reader, &["status", "orders"]).await?;
    let out = row(&status.out, "replica-1")?;
    ensure!(
        status.code == 4 && out[5].starts_with("CircuitOpen (ConnectRefused"),
        "{status:?}"
    );
    ensure!(
        status.out.contains("\nreplica-1: CircuitOpen") && status.out.contains("  Next: "),
        "{status:?}"
    );
    deleted(&scene).await?;
    for (caller, child, _) in &mut watches {
        let said = child.stderr.take().context("what it says")?;
        let mut said = BufReader::new(said).lines();
        let deleted = async {
            while let Some(line) = said.next_line().await? {
                if line.contains("\"orders\" deleted from namespace") {
                    return anyhow::Ok(());
                }
            }
            anyhow::bail!("it has ended")
        };
        wait::within("the deletion to be said", SOON, deleted)
            .await
            .with_context(|| format!("{caller:?}"))?;
    }
    Ok(())
}

/// A status that is followed ends with its policy.
async fn deleted(scene: &Scene) -> Result<()> {
    let mut watched = scene
        .command(Caller::Reader, &["status", "orders", "--watch"])
        .await?;
    watched.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watched = watched.kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(watched.stdout.take().context("an output")?).lines();
    wait::within("the first table", SOON, lines.next_line()).await?;
    let policies = scene.it.api::<ReplicaSetPolicy>();
    policies.delete("orders", &DeleteParams::default()).await?;
    // Nothing is said but that it is gone.
    let ended = wait::within("the watch to end", SOON, watched.wait_with_output()).await?;
    let said = String::from_utf8(ended.stderr)?;
    ensure!(
        ended.status.code() == Some(1)
            && said.lines().count() == 1
            && said
                .starts_with("Error from server (NotFound): replicasetpolicies.distributary.dev \"orders\" "),
        "{said}"
    );
    Ok(())
}
