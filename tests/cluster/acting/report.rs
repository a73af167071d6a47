//! The archive of `report`.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::ControlPlane;
use serde_json::json;

use super::{Person, commands};
use crate::fixture::{Fixture, SOON};

const CANARY: &str = "canary-7f3a";

pub async fn report(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let editor = Person::editor(&it).await?;
    editor
        .does("kubectl distributary add orders replica-9 - --disabled <replica-9.url")
        .await?;
    it.postgres.replica(0).kill().await?;
    it.endpoint("replica-1", "CircuitOpen", SOON).await?;
    let all = json!([
        {"apiGroups": ["distributary.dev"], "resources": ["replicasetpolicies"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets", "services", "configmaps", "events", "pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list"]},
    ]);
    let helper = Person::with(&it, "cli-helper", all).await?;
    let commands = commands("Report")?;
    let (code, out, err) = helper.run(commands[0]).await?;
    ensure!(code == 0 && out == "report.tar.gz\n", "{code} {out}{err}");
    let files = unpacked(&std::fs::read(helper.file("report.tar.gz"))?)?;
    let text = |name: &str| {
        let found = files.iter().find(|(path, _)| path.ends_with(name));
        found.map(|(_, text)| text.clone()).unwrap_or_default()
    };
    ensure!(
        text("objects.yaml").contains("kind: EndpointSlice"),
        "{}",
        text("objects.yaml")
    );
    ensure!(text("secrets.yaml").contains("- url"), "{}", text("secrets.yaml"));
    ensure!(
        text("events.yaml").contains("CircuitOpen"),
        "{}",
        text("events.yaml")
    );
    ensure!(
        text("versions.yaml").contains("apiServer: v1."),
        "{}",
        text("versions.yaml")
    );
    ensure!(
        text("notes.txt").contains("the Pods of the operator"),
        "{}",
        text("notes.txt")
    );
    // Why there are no figures: this caller may not get the Lease.
    ensure!(
        text("notes.txt")
            .contains("decision.yaml: Error from server (Forbidden): leases.coordination.k8s.io"),
        "{}",
        text("notes.txt")
    );
    // As it is, and in each alignment of base64.
    for (path, text) in &files {
        for secret in [CANARY, "Y2FuYXJ5LTdmM2", "NhbmFyeS03ZjNh", "jYW5hcnktN2YzY"] {
            ensure!(!text.contains(secret), "{path} has a secret");
        }
    }
    // Without a cluster: what the status says, and what the policy would do.
    let offline = "unset KUBECONFIG; ";
    let (code, out, err) = helper.run(&format!("{offline}{}", commands[1])).await?;
    ensure!(
        code == 4 && out.contains("replica-1: CircuitOpen (ConnectRefused)"),
        "{code} {out}{err}"
    );
    let (code, out, err) = helper.run(&format!("{offline}{}", commands[2])).await?;
    ensure!(code == 0 && out.contains("orders"), "{code} {out}{err}");
    helper
        .fails(commands[0], 1, "error: cannot write report.tar.gz: File exists")
        .await?;

    // A reader gets what a reader may read, and is told what is missing.
    let reader = Person::reader(&it).await?;
    let (code, _, err) = reader.run(commands[0]).await?;
    ensure!(
        code == 0 && err.contains("not in the report: events.yaml: Error from server (Forbidden)"),
        "{code} {err}"
    );
    let files = unpacked(&std::fs::read(reader.file("report.tar.gz"))?)?;
    ensure!(
        files
            .iter()
            .any(|(path, text)| path.ends_with("objects.yaml") && text.contains("CircuitOpen"))
    );
    half(&it, commands[0]).await?;
    Person::nobody(&it)
        .await?
        .fails(commands[0], 1, "Error from server (Forbidden): ")
        .await
}

/// What may not be read takes nothing else along.
async fn half(it: &Fixture, command: &str) -> Result<()> {
    let half = json!([
        {"apiGroups": ["distributary.dev"], "resources": ["replicasetpolicies"], "verbs": ["get"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
    ]);
    let half = Person::with(it, "cli-half", half).await?;
    let (code, _, err) = half.run(command).await?;
    for missing in [
        "Service objects of the policy: Error from server (Forbidden)",
        "ConfigMap objects of the policy: Error from server (Forbidden)",
        "secrets.yaml: the Secret probe is not there, or you may not get it",
    ] {
        ensure!(code == 0 && err.contains(missing), "{code} {err}");
    }
    let files = unpacked(&std::fs::read(half.file("report.tar.gz"))?)?;
    let objects = files.iter().find(|(path, _)| path.ends_with("objects.yaml"));
    ensure!(objects.is_some_and(|(_, text)| text.contains("kind: EndpointSlice")));
    Ok(())
}

/// The names and texts of an archive.
fn unpacked(bytes: &[u8]) -> Result<Vec<(String, String)>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let mut files = vec![];
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        files.push((entry.path()?.to_string_lossy().into_owned(), text));
    }
    Ok(files)
}
