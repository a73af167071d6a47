//! The cluster's Service CIDRs, followed live: a ClusterIP is no server's address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::core::Status;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt, runtime::watcher as watch};

use super::context::Context;
use crate::clock::Clock;

/// Neither the API nor the right comes often: it is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_mins(1);
/// After another failure.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// The first passes wait for the first list at most this long.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// Hands every set of CIDRs to `learn`, which says whether it is another one than before; then who sleeps because of
/// its address is checked anew. Runs until it is dropped.
pub async fn follow(context: Arc<Context>, learn: impl Fn(Vec<String>) -> bool) {
    let first = async {
        Clock::sleep(FIRST_LIST).await;
        if context.synced.addresses_known() {
            tracing::warn!("Service CIDRs were not listed in time; addresses are judged without them");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = watch_all(&context, learn) => {}
        () = first => {}
    }
}

async fn watch_all(context: &Context, learn: impl Fn(Vec<String>) -> bool) {
    let api: Api<ServiceCIDR> = Api::all(context.client.clone());
    let mut events = std::pin::pin!(watch(api, watcher::Config::default()));
    let (mut known, mut listing) = (BTreeMap::new(), BTreeMap::new());
    let mut told = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                listing.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listing.insert(object.name_any(), cidrs(&object));
                continue;
            }
            Ok(Event::InitDone) => known = std::mem::take(&mut listing),
            Ok(Event::Apply(object)) => {
                known.insert(object.name_any(), cidrs(&object));
            }
            Ok(Event::Delete(object)) => {
                known.remove(&object.name_any());
            }
            Err(error) => {
                Clock::sleep(failed(context, &error, &mut told)).await;
                continue;
            }
        }
        learned(context, known.values().flatten().cloned().collect(), &learn).await;
    }
}

async fn learned(context: &Context, cidrs: Vec<String>, learn: impl Fn(Vec<String>) -> bool) {
    let text = cidrs.join(",");
    if learn(cidrs) {
        tracing::info!(
            cidrs = text,
            "addresses of the cluster's Service CIDRs are refused"
        );
        // The engine has ended only while the process ends.
        let _ = context.engine.addresses_changed().await;
    }
    context.synced.addresses_known();
}

/// Without the API or the right nothing is learned: that is said once. What is known stands. How long to wait.
fn failed(context: &Context, error: &watcher::Error, told: &mut bool) -> Duration {
    let code = answer(error).map_or(0, |status| status.code);
    if !matches!(code, 403 | 404) {
        tracing::warn!(%error, "watch of ServiceCIDRs failed, and is tried again");
        return TRY_AGAIN;
    }
    if !std::mem::replace(told, true) {
        let why = if code == 403 {
            "no right to list them"
        } else {
            "no such API"
        };
        tracing::info!(
            why,
            "the cluster's Service CIDRs are not known, and ClusterIPs not refused as addresses; --deny-cidrs names them"
        );
    }
    context.synced.addresses_known();
    ASK_AGAIN
}

fn answer(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

fn cidrs(object: &ServiceCIDR) -> Vec<String> {
    let spec = object.spec.as_ref();
    spec.and_then(|spec| spec.cidrs.clone()).unwrap_or_default()
}
