//! The command line against a cluster: what it says of a policy there, and of a change before it is made.

use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use harness::suite::Suite;
use serde_json::{Value, json};

use crate::fixture::{Fixture, POLICY, SOON};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("the_command_line_explains_a_policy_of_the_cluster", explain)
        .test(
            "the_command_line_shows_what_would_be_written_to_the_cluster",
            difference,
        )
}

async fn distributary(it: &Fixture, arguments: &[&str]) -> Result<(i32, String)> {
    let kubeconfig = it
        .plane
        .service_account_kubeconfig(&it.namespace, "operator")
        .await?;
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_distributary"))
        .args(arguments)
        .args(["--namespace", &it.namespace])
        .env("KUBECONFIG", kubeconfig)
        .output()?;
    let text = [String::from_utf8(stdout)?, String::from_utf8(stderr)?].concat();
    Ok((status.code().context("a code")?, text))
}

async fn explain(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let (code, text) = distributary(&it, &["explain", POLICY]).await?;
    ensure!(
        code == 0 && text.contains("Reads and writes are routed. (Routable)"),
        "{code} {text}"
    );
    for replica in ["replica-1", "replica-2"] {
        let is_route = |line: &str| line.starts_with("ro ") && line.contains(replica) && line.contains("50%");
        ensure!(text.lines().any(is_route), "{replica}: {text}");
    }
    it.postgres.replica(0).kill().await?;
    it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    let (code, text) = distributary(&it, &["explain", POLICY]).await?;
    ensure!(
        code == 4 && text.contains("replica-1: CircuitOpen (ConnectRefused)"),
        "{code} {text}"
    );
    let (code, text) = distributary(&it, &["explain", "carts"]).await?;
    ensure!(
        code == 1 && text.contains("there is no ReplicaSetPolicy"),
        "{code} {text}"
    );
    Ok(())
}

async fn difference(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let mut policy = it.policy();
    let file = |policy: &Value| -> Result<String> {
        let path = harness::node::data_subdir("command-line")?.join(format!("{}.json", &*it.namespace));
        std::fs::write(&path, policy.to_string())?;
        Ok(path.to_string_lossy().into_owned())
    };
    let (code, text) = distributary(&it, &["plan", "--diff", "-f", &file(&policy)?]).await?;
    ensure!(
        code == 0 && text.contains("nothing would be written"),
        "{code} {text}"
    );
    // Also after a promotion, which only the status knows of.
    it.postgres.primary().kill().await?;
    it.postgres.replica(0).promote().await?;
    it.leads("rw", &[it.postgres.replica(0)], SOON).await?;
    it.leads("ro", &[it.postgres.replica(1)], SOON).await?;
    policy["spec"]["replicas"][1]["state"] = json!("Draining");
    policy["spec"]["primary"]["state"] = json!("Disabled");
    let (code, text) = distributary(&it, &["plan", "--diff", "-f", &file(&policy)?]).await?;
    let replica = it.postgres.replica(1).address();
    ensure!(
        code == 5 && text.contains("update EndpointSlice orders-ro-ipv4-5432"),
        "{code} {text}"
    );
    ensure!(text.contains(&format!("-   - {replica}")), "{text}");
    ensure!(
        !text.contains("update EndpointSlice orders-rw-ipv4-5432"),
        "writes move: {text}"
    );
    let mut other = policy.clone();
    other["metadata"]["name"] = json!("carts");
    let (code, text) = distributary(&it, &["plan", "--diff", "-f", &file(&other)?]).await?;
    ensure!(
        code == 5 && text.contains("create Service carts-ro"),
        "{code} {text}"
    );
    Ok(())
}
