//! README.md from `helm install` to why a server is out, with the names of the test in place of its own. No Pod runs: the test starts
//! the operator as the Deployment of the release says.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::postgres::Tls;
use harness::suite::Suite;
use harness::{ControlPlane, Operator, PgCluster, node, wait};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

use crate::fixture::{Fixture, SOON};
use crate::packaging::arguments_of;
use crate::tutorial::Shell;

const PAGE: &str = include_str!("../../README.md");
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/distributary");
/// The Pod of the operator, and where it answers those who may forward to it: no other test has this address.
const POD: &str = "distributary-0";
const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 19, 0, 1);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test(
        "the_readme_leads_from_helm_install_to_why_a_server_is_out",
        newcomer,
    )
}

/// The command of the page that begins so, within a sentence.
fn quoted(start: &str) -> Result<&'static str> {
    let at = PAGE.find(&format!("`{start}")).context(start.to_owned())?;
    PAGE[at + 1..].split('`').next().context("its end")
}

async fn newcomer(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("readme").await?;
    // The policy of the page has neither a password nor a CA.
    let servers = PgCluster::builder()
        .replicas(1)
        .tls(Tls::default())
        .rule("hostssl postgres distributary 198.18.0.0/15 trust");
    let postgres = servers.start().await?;
    postgres.primary().sql("create role distributary login").await?;
    postgres.caught_up().await?;
    install(&plane, &namespace).await?;
    let operator = operator(&plane, &namespace, &postgres).await?;
    let it = Fixture {
        operator,
        postgres,
        namespace,
        plane,
    };
    let shell = shell(&it)?;

    let (_, policy) = PAGE
        .split_once("<!-- deploy/samples/minimal.yaml -->\n```yaml\n")
        .context("the policy")?;
    let policy = policy.split("```").next().unwrap_or_default();
    std::fs::write(shell.folder.join("sessions.yaml"), shell.named(policy))?;
    let here = format!(
        "kubectl config set-context --current --namespace={}",
        &*it.namespace
    );
    shell.run(&here, 0).await?;
    shell.run("kubectl apply -f sessions.yaml", 0).await?;
    let ready = quoted("kubectl wait --for=condition=Ready rsp NAME")?;
    shell.run(&ready.replace("NAME", "sessions"), 0).await?;

    shell.run(quoted("ln -s ~/.cargo/bin/distributary")?, 0).await?;
    let (_, status) = PAGE
        .split_once("\n$ kubectl distributary status ")
        .context("status")?;
    ensure!(status.starts_with("orders\n"), "another policy");
    let status = format!(
        "export PATH=\"$PATH:$HOME/.cargo/bin\" DISTRIBUTARY_OPERATOR_NAMESPACE={}\nkubectl distributary status sessions",
        &*it.namespace
    );
    wait::eventually("a status that is well, with figures", SOON, || async {
        let shown = shell.run(&status, 0).await?;
        let words = ["(Routable)", "replica-1", "Standby", "/50 ", "Serving"];
        ensure!(words.iter().all(|word| shown.contains(word)), "{shown}");
        anyhow::Ok(())
    })
    .await?;
    it.postgres.replica(0).kill().await?;
    wait::eventually("why the replica is out", SOON, || async {
        let shown = shell.run(&status, 4).await?;
        let words = ["\nreplica-1: CircuitOpen (ConnectRefused)\n", "  Next: "];
        ensure!(words.iter().all(|word| shown.contains(word)), "{shown}");
        anyhow::Ok(())
    })
    .await
}

/// As the page says, but for what the control plane of the tests has once.
async fn install(plane: &ControlPlane, namespace: &str) -> Result<()> {
    let line = PAGE.lines().find(|line| line.starts_with("helm install "));
    let line = line.context("helm install")?;
    let here = line
        .replace("distributary-system", namespace)
        .replace("charts/distributary", CHART);
    let watched = format!("watchNamespaces={{{namespace}}}");
    let own = "crds.install=false,rbac.aggregateToView=false";
    let words = here.split(' ').skip(1).chain(["--set", own, "--set", &watched]);
    plane.helm(&words.collect::<Vec<_>>()).await?;
    Ok(())
}

async fn operator(plane: &ControlPlane, namespace: &str, postgres: &PgCluster) -> Result<Operator> {
    let deployments: Api<Deployment> = Api::namespaced(plane.client(), namespace);
    let deployment = serde_json::to_value(deployments.get("distributary").await?)?;
    // The harness sets those of the log by itself.
    let arguments = arguments_of(&deployment)?.into_iter().skip(1);
    let arguments = arguments.filter(|argument| !argument.starts_with("--log"));
    // What the system of its image trusts.
    let trusted = node::data_subdir("readme")?.join("trusted.crt");
    std::fs::write(&trusted, postgres.authority().pem())?;
    plane.pod(namespace, POD, LOOPBACK).await?;
    let kubeconfig = plane
        .service_account_kubeconfig(namespace, "distributary")
        .await?;
    Operator::builder(&kubeconfig)
        .args(arguments)
        .args([format!("--loopback-address={LOOPBACK}:8081")])
        .env("POD_NAME", POD)
        .env("POD_NAMESPACE", namespace)
        .env("SSL_CERT_FILE", &trusted.display().to_string())
        .start()
        .await
}

/// Where cargo has installed the program, and nobody has linked the plugin.
fn shell(it: &Fixture) -> Result<Shell> {
    let mut shell = Shell::new(it, "readme-shell")?;
    std::fs::remove_file(shell.folder.join("bin/kubectl-distributary"))?;
    let installed = shell.folder.join(".cargo/bin");
    std::fs::create_dir_all(&installed)?;
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_distributary"), installed.join("distributary"))?;
    shell.names = vec![
        ("sessions-0.example.com", it.postgres.primary().name().to_owned()),
        ("sessions-1.example.com", it.postgres.replica(0).name().to_owned()),
    ];
    Ok(shell)
}
