//! How soon `kubectl distributary` answers with a thousand policies: each command as a person runs it, from the start of the program to its
//! end, with live figures through a port-forward.
//!
//! POLICIES (1000), RUNS of each command (40).

use std::env::current_exe;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::contest::versions;
use benches::crowd::{Crowd, Shape};
use benches::figures::{Times, aim, save, show, table};
use benches::option;
use harness::node;
use serde_json::{Map, json};
use tokio::process::Command;

use crate::settle;

/// The aim, for 19 of 20 runs.
const ANSWERED: Duration = Duration::from_millis(300);
const SHARE: f64 = 0.95;

/// Where the operator is by default, and the Pod that it is taken for.
const NAMESPACE: &str = "distributary-system";
const POD: &str = "distributary-0";
const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 20, 0, 1);

const COMMANDS: [&[&str]; 5] = [
    &["health"],
    &["stats"],
    &["routes"],
    &["status", "policy-0"],
    &["explain", "policy-0"],
];

pub async fn measure() -> Result<()> {
    let (policies, runs) = (option("POLICIES", 1000_usize)?, option("RUNS", 40_usize)?);
    let mut crowd = Crowd::start(Shape::TRIO, policies).await?;
    crowd.grow(policies).await?;
    // The Pod has nothing to run, and so no rights to give up.
    let admits = [
        "label",
        "namespace",
        NAMESPACE,
        "pod-security.kubernetes.io/enforce-",
    ];
    crowd.plane.kubectl(&admits).await?;
    crowd.plane.pod(NAMESPACE, POD, LOOPBACK).await?;
    let started = Instant::now();
    let leads = [
        "--leader-elect".to_owned(),
        format!("--lease-namespace={NAMESPACE}"),
        format!("--loopback-address={LOOPBACK}:8081"),
    ];
    let operator = crowd.operator().args(leads).env("POD_NAME", POD);
    let _operator = operator.start().await?;
    crowd.started(started).await?;
    settle().await?;

    let plugin = plugin()?;
    let (mut rows, mut saved, mut worst) = (vec![], Map::new(), Some(Duration::ZERO));
    for command in COMMANDS {
        let mut times = Times::default();
        for _ in 0..runs {
            times.push(Some(run(&plugin, &crowd, command).await?));
        }
        rows.push(vec![
            command[0].to_owned(),
            show(times.median()),
            show(times.quantile(SHARE)),
            show(times.worst()),
        ]);
        worst = worst.max(times.quantile(SHARE));
        saved.insert(command[0].to_owned(), times.json());
    }
    let head = ["command", "median", "95 of 100", "worst"].map(ToOwned::to_owned);
    table(&[vec![head.to_vec()], rows].concat());
    aim(
        &format!("19 of 20 answers within {ANSWERED:?} ({})", show(worst)),
        worst.map(|worst| worst <= ANSWERED),
    );
    crowd.end_stub().await?;
    save(
        "scale-plugin",
        json!({"policies": policies, "commands": saved, "limitMs": 300, "versions": versions()}),
    )
}

/// The program beside this one, by the name that kubectl calls it by.
fn plugin() -> Result<PathBuf> {
    let program = current_exe()?.with_file_name("distributary");
    let link = node::data_subdir("plugin")?.join("kubectl-distributary");
    symlink(&program, &link).with_context(|| format!("link {}", link.display()))?;
    Ok(link)
}

async fn run(plugin: &Path, crowd: &Crowd, arguments: &[&str]) -> Result<Duration> {
    let mut command = Command::new(plugin);
    command
        .args(arguments)
        .args(["-n", &crowd.namespace])
        .env("KUBECONFIG", crowd.plane.admin_kubeconfig());
    let started = Instant::now();
    let output = command.output().await?;
    let took = started.elapsed();
    let lines = String::from_utf8_lossy(&output.stdout).lines().count();
    // All policies, and their figures.
    let is_whole = lines > crowd.policies || arguments.len() > 1;
    ensure!(
        output.status.success() && output.stderr.is_empty() && lines > 1 && is_whole,
        "{arguments:?}: {lines} lines, {}, {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(took)
}
