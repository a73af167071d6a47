//! Schemathesis makes requests of every kind from openapi.json: none is answered with 5xx, or otherwise than is described there.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use tokio::process::Command;

use crate::scene::{Scene, bearer};

/// What is looked at in an answer. That a policy and a namespace are not given both is told in words alone, so that not each
/// request that the description allows is accepted.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,allow_header_conformance,ignored_auth";

/// With names at random, then with those of a policy that there is.
pub async fn holds(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let namespace = &*scene.it.namespace;
    let names = format!(
        "[parameters]\n\"query.policy\" = \"{namespace}/orders\"\n\"path.namespace\" = \"{namespace}\"\n\"path.name\" = \"orders\"\n"
    );
    for (run, configuration) in [("any", ""), ("own", &names)] {
        check(&scene, run, configuration).await?;
    }
    let health = scene
        .get("/api/db/health?policy=shop/orders", &scene.reader)
        .await?;
    ensure!(health.status == 200, "{health:?}");
    Ok(())
}

async fn check(scene: &Scene, run: &str, configuration: &str) -> Result<()> {
    let home = harness::node::data_subdir(&format!("schemathesis-{run}"))?;
    std::fs::write(home.join("schemathesis.toml"), configuration)?;
    let description = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let output = Command::new(program())
        .args(["--config-file", "schemathesis.toml", "run", description])
        .args(["--url", &format!("https://{}", scene.client.address)])
        .args(["--header", &bearer(&scene.editor)])
        .args(["--exclude-path-regex", "/events$", "--checks", CHECKS])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "40",
            "--seed",
            "1",
        ])
        .args([
            "--tls-verify",
            "false",
            "--suppress-health-check",
            "all",
            "--workers",
            "2",
        ])
        .args([
            "--continue-on-failure",
            "--request-timeout",
            "15",
            "--no-color",
            "--max-time",
            "70",
        ])
        .current_dir(&home)
        .env("HOME", &home)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run Schemathesis, which `make test-api` installs")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A description that it cannot use is a failure, too.
    ensure!(
        output.status.success(),
        "{run}: {text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target")),
        PathBuf::from,
    );
    target.join("schemathesis/bin/schemathesis")
}
