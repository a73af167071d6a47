//! Format Env of the ConfigMap and `import` are the two directions of one road.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::invocation::distributary;

pub fn tests(suite: Suite<()>) -> Suite<()> {
    suite.test("what_format_env_tells_is_what_import_reads", returns)
}

/// Nothing that Env tells is as it is by default.
fn policy() -> Value {
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders"},
        "spec": {
            "connection": {"database": "sales & a/b?c=100%+#ü '\""},
            "primary": {
                "host": "pg-0.example.com", "port": 6432, "maxConnections": 31,
                "connection": {"database": "other", "connectTimeout": "2500ms", "tls": {"mode": "Require"}},
            },
            "replicas": [
                {"id": "replica-1", "host": "2001:db8::3", "region": "us-east-1", "maxConnections": 32},
                {
                    "id": "replica-2", "host": "pg-2.example.com", "region": "eu", "maxConnections": 33, "state": "Disabled",
                    "connection": {"tls": {"mode": "VerifyCA"}},
                },
                {
                    "id": "replica-3", "host": "198.51.100.3", "region": "eu", "maxConnections": 34,
                    "connection": {"tls": {"mode": "Disable"}},
                },
            ],
            "loadBalancing": {"strategy": "LeastConnections"},
            "healthCheck": {"interval": "12s", "failoverTimeout": "2500ms"},
            "circuitBreaker": {"state": "Disabled", "failureThreshold": 7, "resetTimeout": "90s"},
            "routing": {"replicas": "Disabled", "defaultTarget": "Primary", "retryAttempts": 3},
        },
    })
}

/// What the ConfigMap holds for a policy beside `routing.json`, as the lines of a file.
fn environment(documents: &[Value]) -> Result<String> {
    let text: Vec<_> = documents.iter().map(Value::to_string).collect();
    let plan = distributary(
        &["plan", "-f", "-", "--objects", "-o", "json"],
        &text.join("\n---\n"),
        &[],
    )?;
    let plan = plan.with(0)?.json()?;
    let objects = plan["policies"][0]["objects"].as_array().context("objects")?;
    let map = objects
        .iter()
        .find(|object| object["metadata"]["name"] == "orders-env");
    let data = map
        .and_then(|map| map["data"].as_object())
        .context("a ConfigMap")?;
    Ok(data
        .iter()
        .map(|(name, value)| format!("{name}={}\n", value.as_str().unwrap_or_default()))
        .collect())
}

async fn returns(_: Arc<()>) -> Result<()> {
    let outputs = json!({"configMap": {"formats": ["Env"]}});
    let mut declared = policy();
    declared["spec"]["outputs"] = outputs.clone();
    let told = environment(&[declared])?;

    let said = distributary(&["import", "--env-file", "-", "--name", "orders"], &told, &[])?.with(0)?;
    ensure!(said.err.is_empty(), "{said:#?}");
    let imported: Result<Vec<_>, _> = serde_yaml::Deserializer::from_str(&said.out)
        .map(Value::deserialize)
        .collect();
    let mut imported = imported?;
    let spec = &mut imported.last_mut().context("a policy")?["spec"];
    spec["outputs"] = outputs;
    let expected = policy()["spec"].clone();
    for (field, expected) in expected.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "connection" | "primary" | "replicas") {
            ensure!(spec[field] == *expected, "{field}: {}", spec[field]);
        }
    }
    let of_primary = &spec["primary"];
    ensure!(
        of_primary["maxConnections"] == 31 && of_primary["connection"]["connectTimeout"] == "2500ms",
        "{of_primary}"
    );
    for (number, declared) in expected["replicas"].as_array().into_iter().flatten().enumerate() {
        for field in ["id", "region", "maxConnections"] {
            let imported = &spec["replicas"][number][field];
            ensure!(*imported == declared[field], "{field} of {declared}: {imported}");
        }
        let disabled = spec["replicas"][number]["state"] == "Disabled";
        ensure!(
            disabled == (declared["state"] == "Disabled"),
            "the state of {declared}"
        );
    }

    // The URLs are in Secrets: what is told of those is the same servers, databases and modes.
    let again = environment(&imported)?;
    ensure!(again == told, "{told}\nbecame\n{again}");
    for url in [
        "postgresql://pg-0.example.com:6432/other?sslmode=require\n",
        "postgresql://[2001:db8::3]:5432/sales%20%26%20a%2Fb%3Fc%3D100%25%2B%23%C3%BC%20%27%22?sslmode=verify-full\n",
        "postgresql://198.51.100.3:5432/",
    ] {
        ensure!(told.contains(url), "no {url} in {told}");
    }
    Ok(())
}
