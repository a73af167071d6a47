//! A definition that takes anything, as a newer one takes what this version cannot read: such a policy is stalled, and
//! the operator and its other policies go on.

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fixture::{Fixture, SOON};
use harness::ControlPlane;
use harness::suite::Suite;
use harness::watch;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

fn main() -> ExitCode {
    harness::node::enter(|| {
        Suite::new(start)
            .test(
                "what_cannot_be_read_is_stalled_and_stops_nobody",
                unreadable_policies,
            )
            .run()
    })
}

/// A control plane whose definition has the columns and the status of ours, and no rule.
async fn start() -> Result<ControlPlane> {
    let mut definition = distributary_api::crd();
    let schema = definition
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
        .context("a schema")?;
    *schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let path = harness::node::data_subdir("newer")?.join("crd.json");
    std::fs::write(&path, definition.to_string())?;
    ControlPlane::start_with(&[Path::new(&path)]).await
}

async fn unreadable_policies(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let specs: [(&str, Value); 5] = [
        (
            "mode",
            json!({"mode": "Rehearse", "primary": {"host": "pg.example.com"}}),
        ),
        ("type", json!({"primary": "pg.example.com"})),
        ("list", json!([1, 2, 3])),
        ("none", Value::Null),
        (
            "value",
            json!({"primary": {"host": "127.0.0.1", "port": 0}, "healthCheck": {"interval": "soon"}}),
        ),
    ];
    for (name, spec) in &specs {
        let kind = json!({"apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy"});
        let mut policy = kind;
        policy["metadata"] = json!({"name": name});
        policy["spec"] = spec.clone();
        it.apply(&policy).await?;
    }
    it.apply(&it.policy()).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;

    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "distributary.dev",
        "v1alpha1",
        "ReplicaSetPolicy",
    ));
    let policies: Api<DynamicObject> = Api::namespaced_with(it.plane.client(), &it.namespace, &resource);
    for (name, _) in specs {
        harness::wait::eventually(&format!("{name} to be stalled"), SOON, || async {
            let policy = policies.get(name).await?;
            let conditions = policy.data["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let is = |type_: &str, status: &str| {
                conditions
                    .iter()
                    .any(|condition| condition["type"] == type_ && condition["status"] == status)
            };
            ensure!(is("Accepted", "False") && is("Stalled", "True"), "{conditions:?}");
            anyhow::Ok(())
        })
        .await?;
    }
    // It still follows the one that it can read.
    it.postgres.replica(0).kill().await?;
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    let ours = kube::runtime::watcher::Config::default().labels("app.kubernetes.io/managed-by=distributary");
    watch::set(
        &it.slices(),
        ours,
        "routes of the readable policy alone",
        SOON,
        |slices| slices.len() == 2,
    )
    .await
}
