//! What one whole check of a real server costs, on both sides.

use std::time::Duration;

use anyhow::{Context, Result};
use benches::crowd::Crowd;
use benches::figures::milliseconds;
use benches::page;
use benches::usage::CpuTime;
use harness::postgres::{DATABASE, PROBE, Tls};
use harness::{Operator, PgCluster, wait};
use serde_json::{Value, json};

const TIME: Duration = Duration::from_secs(30);

/// Processor time of one whole check.
pub struct Cost {
    checks: u64,
    operator: Duration,
    server: Duration,
}

impl Cost {
    pub fn json(&self) -> Value {
        json!({
            "checks": self.checks,
            "operatorCpuMs": milliseconds(self.operator),
            "serverCpuMs": milliseconds(self.server),
        })
    }
}

/// One server, checked as often as a policy can ask for, without a held session. SCRAM is always used.
pub async fn of_one_probe(crowd: &Crowd, tls: bool) -> Result<Cost> {
    let namespace = crowd.plane.namespace("cost").await?;
    let mut servers = PgCluster::builder();
    if tls {
        servers = servers.tls(Tls {
            required: true,
            ..Tls::default()
        });
    }
    let postgres = servers.start().await?;
    for (name, data) in [
        (
            "probe",
            json!({"username": PROBE.user, "password": PROBE.password}),
        ),
        ("ca", json!({"ca.crt": postgres.authority().pem()})),
    ] {
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        crowd.plane.apply(&namespace, &secret.to_string()).await?;
    }
    let encryption = if tls {
        json!({"mode": "VerifyFull", "caSecretRef": {"name": "ca"}})
    } else {
        json!({"mode": "Disable"})
    };
    let policy = json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "cost"},
        "spec": {
            "connection": {"database": DATABASE, "credentialsSecretRef": {"name": "probe"}, "tls": encryption},
            "primary": {"host": postgres.primary().address()},
            "healthCheck": {"interval": "100ms", "heartbeat": "0s"},
        },
    });
    crowd.plane.apply(&namespace, &policy.to_string()).await?;
    let operator = Operator::builder(&crowd.kubeconfig)
        .namespace(&namespace)
        .args(["--log-level", "info"])
        .start()
        .await?;
    let ours = operator.daemon().pid().context("the operator does not run")?;
    let theirs = *postgres
        .primary()
        .processes()
        .first()
        .context("the server does not run")?;
    let begun = || async { checks(&operator).await.is_ok_and(|count| count > 20) };
    wait::eventually("the first checks", Duration::from_secs(30), begun).await?;
    let before = (checks(&operator).await?, CpuTime::of(ours)?, CpuTime::of(theirs)?);
    wait::pass(TIME, "many checks are needed to see what one costs").await;
    let after = (checks(&operator).await?, CpuTime::of(ours)?, CpuTime::of(theirs)?);
    let checks = after.0 - before.0;
    let count = u32::try_from(checks)
        .ok()
        .filter(|count| *count > 0)
        .context("no checks")?;
    Ok(Cost {
        checks,
        operator: after.1.own_since(&before.1) / count,
        server: after.2.all_since(&before.2) / count,
    })
}

async fn checks(operator: &Operator) -> Result<u64> {
    let page = operator.http_get("/metrics").await?.body;
    Ok(page::sum(&page, "distributary_checks_total"))
}
