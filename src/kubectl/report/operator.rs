//! What a report has of the operator: its Pods, their last log lines, and versions.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::{Value, json};

use super::collected::Collected;
use super::log;
use crate::k8s;
use crate::kubectl::cluster::Cluster;
use crate::kubectl::error::Error;

/// The label of the operator's Pods.
const PODS: &str = "app.kubernetes.io/name=distributary";

/// Pods whose logs are read at most.
const MOST: usize = 8;

/// Bytes of the log of a Pod.
const LONGEST: i64 = 4 << 20;

/// Adds them as far as they can be read. `lines`: of each log.
pub async fn add(collected: &mut Collected, cluster: &Cluster, namespace: &str, lines: u32) {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let listed = k8s::call(pods.list(&ListParams::default().labels(PODS))).await;
    let listed = listed.map(|listed| listed.items).map_err(Error::from);
    let found = listed.as_ref().map_or(&[][..], Vec::as_slice);
    let (shown, names): (Vec<_>, Vec<_>) = found.iter().map(|pod| (shown(pod), name(pod))).unzip();
    let server = k8s::call(cluster.client.apiserver_version()).await;
    let server = server.map(|version| version.git_version).map_err(Error::from);
    let versions = json!({
        "plugin": env!("CARGO_PKG_VERSION"),
        "apiServer": server.as_ref().ok(),
        "pods": shown,
    });
    collected.add("versions.yaml", Ok(versions));
    if let Err(error) = server {
        collected.add("the version of the API server", Err(error));
    }
    match listed {
        Err(error) => collected.add("the Pods of the operator", Err(error)),
        Ok(pods) if pods.is_empty() => {
            let why = format!("there is no Pod with the label {PODS} in the namespace {namespace}");
            collected.add("the Pods of the operator", Err(Error::said(why)));
        }
        Ok(_) => {}
    }
    for name in names.iter().take(MOST) {
        let parameters = LogParams {
            tail_lines: Some(i64::from(lines)),
            limit_bytes: Some(LONGEST),
            timestamps: true,
            ..LogParams::default()
        };
        let log = k8s::call(pods.logs(name, &parameters)).await;
        let own = log.map(|text| log::of_policy(&text, collected.key()));
        collected.add_text(&format!("logs/{name}.log"), own.map_err(Into::into));
    }
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

/// What runs, and how it went; nothing of its environment.
fn shown(pod: &Pod) -> Value {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let containers: Vec<_> = containers
        .into_iter()
        .flatten()
        .map(|container| {
            json!({
                "name": container.name, "image": container.image, "imageID": container.image_id,
                "ready": container.ready, "restarts": container.restart_count,
            })
        })
        .collect();
    json!({
        "name": name(pod),
        "phase": status.and_then(|status| status.phase.clone()),
        "started": status.and_then(|status| status.start_time.clone()),
        "containers": containers,
    })
}
