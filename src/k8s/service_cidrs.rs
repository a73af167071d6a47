//! The cluster's Service CIDRs, followed live: a ClusterIP is no server's address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt};

use super::context::Context;
use super::list_watch::{Failure, Report, Selection, list_watch};
use super::patience::Patience;
use super::readiness::Subject;
use crate::clock::Clock;
use crate::telemetry::chain;

/// From the first retry to the longest wait between two: neither the API nor the right to it comes often.
const WAITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(15));
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

async fn watch_all(context: &Arc<Context>, learn: impl Fn(Vec<String>) -> bool) {
    let api: Api<ServiceCIDR> = Api::all(context.watches.clone());
    let (first, longest) = WAITS;
    let (told, concerned) = (AtomicBool::new(false), Arc::clone(context));
    let report = move |report: Report<'_>| match report {
        Report::Heard => {}
        Report::Failed(failure) => failed(&concerned, failure, &told),
    };
    let events = list_watch(api, Selection::default(), Patience::new(first, longest), report);
    let mut events = std::pin::pin!(events);
    let (mut known, mut listing) = (BTreeMap::new(), BTreeMap::new());
    while let Some(event) = events.next().await {
        match event {
            Event::Init => {
                listing.clear();
                continue;
            }
            Event::InitApply(object) => {
                listing.insert(object.name_any(), cidrs(&object));
                continue;
            }
            Event::InitDone => known = std::mem::take(&mut listing),
            Event::Apply(object) => {
                known.insert(object.name_any(), cidrs(&object));
            }
            Event::Delete(object) => {
                known.remove(&object.name_any());
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

/// Without the API or the right nothing is learned: that is said once, and no failure. What is known stands.
fn failed(context: &Context, failure: &Failure, told: &AtomicBool) {
    let why = match failure.code() {
        403 => "no right to list them",
        404 => "no such API",
        _ => {
            tracing::warn!(error = %chain(failure), category = failure.category(), "watch of ServiceCIDRs failed, and is tried again");
            return context
                .metrics
                .watch_failed(Subject::ServiceCidrs.kind(), failure.category());
        }
    };
    if !told.swap(true, Ordering::Relaxed) {
        tracing::info!(
            why,
            "the cluster's Service CIDRs are not known, and ClusterIPs not refused as addresses; --deny-cidrs names them"
        );
    }
    context.synced.addresses_known();
}

fn cidrs(object: &ServiceCIDR) -> Vec<String> {
    let spec = object.spec.as_ref();
    spec.and_then(|spec| spec.cidrs.clone()).unwrap_or_default()
}
