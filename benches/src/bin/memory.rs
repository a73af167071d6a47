//! Peak memory of the operator: 10 policies over TLS, checked every second for 10 minutes. `make bench-memory`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use benches::figures::save;
use harness::postgres::{DATABASE, PROBE, Tls};
use harness::{Operator, PgCluster, node, wait};
use serde_json::{Value, json};

const POLICIES: usize = 10;
const TIME: Duration = Duration::from_mins(10);
/// The aim, in bytes.
const LIMIT: u64 = 30_000_000;

fn main() -> ExitCode {
    node::enter(|| benches::run(measure()))
}

async fn measure() -> Result<()> {
    let (plane, kubeconfig) = benches::control_plane().await?;
    let tls = Tls {
        required: true,
        ..Tls::default()
    };
    let postgres = PgCluster::builder().replicas(2).tls(tls).start().await?;
    let namespace = plane.namespace("memory").await?;
    for object in secrets(&postgres) {
        plane.apply(&namespace, &object.to_string()).await?;
    }
    let operator = Operator::builder(&kubeconfig)
        .namespace(&namespace)
        .args(["--log-level", "info"]);
    let operator = operator.start().await?;
    for number in 0..POLICIES {
        plane
            .apply(&namespace, &policy(&postgres, number).to_string())
            .await?;
    }
    let ready = [
        "wait",
        "-n",
        &namespace,
        "--for=condition=Ready",
        "--timeout=60s",
        "rsp",
        "--all",
    ];
    plane.kubectl(&ready).await?;
    println!("{POLICIES} policies are ready; measuring for {TIME:?}");
    wait::pass(TIME, "memory that grows with time shows only with time").await;
    report(operator.vm_hwm().context("read VmHWM")?)
}

fn report(peak: u64) -> Result<()> {
    println!("VmHWM {peak} bytes, limit {LIMIT} bytes");
    let seconds = TIME.as_secs();
    save(
        "memory",
        json!({"policies": POLICIES, "seconds": seconds, "vmHwmBytes": peak, "limitBytes": LIMIT}),
    )?;
    if peak >= LIMIT {
        bail!("the peak is over the limit");
    }
    Ok(())
}

fn secrets(postgres: &PgCluster) -> [Value; 2] {
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    let login = json!({"username": PROBE.user, "password": PROBE.password});
    [
        secret("probe", login),
        secret("ca", json!({"ca.crt": postgres.authority().pem()})),
    ]
}

fn policy(postgres: &PgCluster, number: usize) -> Value {
    let replica = |(at, server): (usize, &harness::Postgres)| json!({"id": format!("replica-{at}"), "host": server.address()});
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": format!("policy-{number}")},
        "spec": {
            "connection": {
                "database": DATABASE,
                "credentialsSecretRef": {"name": "probe"},
                "tls": {"mode": "VerifyFull", "caSecretRef": {"name": "ca"}},
            },
            "primary": {"host": postgres.primary().address()},
            "replicas": postgres.replicas().iter().enumerate().map(replica).collect::<Vec<_>>(),
            "healthCheck": {"interval": "1s"},
        },
    })
}
