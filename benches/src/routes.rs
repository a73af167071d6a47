//! What another client sees of the routes: a watch on EndpointSlices.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::pin::pin;

use anyhow::{Result, bail};
use futures::StreamExt;
use harness::watch::ready_addresses;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use tokio::task::JoinHandle;

/// A watch that ends when it is dropped.
#[derive(Debug)]
pub struct Watch(JoinHandle<Result<()>>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Calls `seen` with every change of a slice: the Service that it is of, and who gets its traffic. A Service of these
/// benchmarks has one slice.
pub fn follow(
    slices: Api<EndpointSlice>,
    mut seen: impl FnMut(&str, BTreeSet<Ipv4Addr>) + Send + 'static,
) -> Watch {
    Watch(tokio::spawn(async move {
        let config = watcher::Config::default().labels("kubernetes.io/service-name");
        let mut events = pin!(watcher(slices, config).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(slice) | Event::InitApply(slice)) => {
                    let ready = ready_addresses(std::slice::from_ref(&slice));
                    seen(
                        service(&slice),
                        ready.iter().filter_map(|text| text.parse().ok()).collect(),
                    );
                }
                Ok(Event::Delete(slice)) => seen(service(&slice), BTreeSet::new()),
                Ok(Event::Init | Event::InitDone) | Err(_) => {}
            }
        }
        bail!("the watch ended")
    }))
}

fn service(slice: &EndpointSlice) -> &str {
    slice
        .labels()
        .get("kubernetes.io/service-name")
        .map_or("", String::as_str)
}
