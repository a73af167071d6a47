//! Objects as they change, by watches of the API server.

use futures::{Stream, StreamExt, TryStreamExt};
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};

use super::cluster::Cluster;
use super::error::{Error, note};
use crate::k8s;
use crate::telemetry::chain;
use distributary_api::ReplicaSetPolicy;

fn told(error: &watcher::Error) {
    note(&format!("warning: a watch failed: {}", chain(error)));
}

/// A policy as it is, and each time that it changes; an error says that it is gone. Needs the rights to list and watch it.
pub fn policy(cluster: &Cluster, name: &str) -> impl Stream<Item = Result<ReplicaSetPolicy, Error>> {
    let own = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut gone = Some(Error::said(format!(
        "replicasetpolicies.distributary.dev \"{name}\" was deleted"
    )));
    watcher(cluster.policies(), own)
        .default_backoff()
        .inspect_err(told)
        .filter_map(move |event| {
            let told = match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => Some(Ok(object)),
                Ok(watcher::Event::Delete(_)) => gone.take().map(Err),
                Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => None,
            };
            futures::future::ready(told)
        })
}

/// The policies of a namespace, or of all, as they are and each time that one changes. Needs the rights to list and watch them.
pub fn policies(cluster: &Cluster, namespace: Option<&str>) -> impl Stream<Item = DynamicObject> {
    let (client, resource) = (cluster.client.clone(), k8s::policy_resource());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    watcher(api, watcher::Config::default())
        .default_backoff()
        .inspect_err(told)
        .applied_objects()
        .filter_map(|object| futures::future::ready(object.ok()))
}
