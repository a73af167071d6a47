//! Routes from the ConfigMap that the operator writes, watched at the API server: the only file that knows Kubernetes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use distributary_core::table::RoutingTable;
use distributary_probe::Clock;

use crate::error::SettingsError;
use crate::shared::{Counts, Shared};
use crate::snapshot::{PoolSettings, Snapshot, Told};

pub use kube::Client;

/// From one look for connections that were idle for too long to the next.
const EXPIRY: Duration = Duration::from_secs(30);
/// The key of the table.
const KEY: &str = "routing.json";

/// The versions of the ConfigMap, the newest at the start first. Lists and watches are tried again by themselves, ever less often.
type Versions = Pin<Box<dyn Stream<Item = watcher::Result<Option<ConfigMap>>> + Send>>;

/// Where the ConfigMap is.
pub struct Watched {
    pub client: Client,
    pub namespace: String,
    pub name: String,
}

/// What requests share, by the table of a ConfigMap, and the task that follows it.
pub async fn follow(
    watched: Watched,
    settings: PoolSettings,
    (deadline, patience): (Duration, Duration),
) -> Result<(Arc<Shared>, AbortOnDropHandle<()>), SettingsError> {
    let api: Api<ConfigMap> = Api::namespaced(watched.client, &watched.namespace);
    let versions = watch_object(api, &watched.name).default_backoff();
    let mut following = Following {
        versions: Box::pin(versions),
        name: format!("{}/{}", watched.namespace, watched.name),
        failing: false,
    };
    let told = timeout(patience, following.first()).await;
    let told = told.map_err(|_| SettingsError::NoTable { after: patience })??;
    let clock = Clock::new();
    let snapshot = Snapshot::new(told, None, &settings, clock)?;
    let shared = Arc::new(Shared::new(snapshot, settings, deadline, clock));
    let task = tokio::spawn(following.run(Arc::downgrade(&shared)));
    Ok((shared, AbortOnDropHandle::new(task)))
}

struct Following {
    versions: Versions,
    name: String,
    /// The API server, or the ConfigMap, is not there; that was told.
    failing: bool,
}

impl Following {
    /// The first table. One that cannot be used is told at once; a ConfigMap that is not there may come.
    async fn first(&mut self) -> Result<Told, SettingsError> {
        loop {
            if let Some(table) = self.next().await {
                return table;
            }
        }
    }

    /// A table that came; `None`: there is none for now.
    async fn next(&mut self) -> Option<Result<Told, SettingsError>> {
        let version = match self.versions.next().await {
            Some(Ok(version)) => version,
            Some(Err(error)) => {
                self.is_lost("the API server does not tell the routes", Some(&error));
                return None;
            }
            // It has no end.
            None => std::future::pending().await,
        };
        let text = version.and_then(|map| map.data?.remove(KEY));
        let Some(text) = text else {
            self.is_lost("there is no routing table in the ConfigMap", None);
            return None;
        };
        self.failing = false;
        let table = RoutingTable::read(&text).map_err(SettingsError::from);
        Some(table.map(|table| Told {
            table,
            logins: BTreeMap::new(),
        }))
    }

    fn is_lost(&mut self, says: &str, error: Option<&watcher::Error>) {
        if !std::mem::replace(&mut self.failing, true) {
            let error = error.map(|error| error as &dyn std::error::Error);
            tracing::warn!(config_map = self.name, error, "{says}; the last routes serve");
        }
    }

    async fn run(mut self, shared: Weak<Shared>) {
        let clock = Clock::new();
        let mut expiry = clock.now() + EXPIRY;
        loop {
            let told = tokio::select! {
                told = self.next() => told,
                () = clock.sleep_until(expiry) => {
                    let Some(shared) = shared.upgrade() else { return };
                    shared.snapshot().servers().for_each(|server| server.close_expired());
                    expiry = clock.now() + EXPIRY;
                    None
                }
            };
            let Some(shared) = shared.upgrade() else { return };
            let Some(told) = told else { continue };
            if let Err(error) = told.and_then(|told| shared.switch(told)) {
                Counts::count(&shared.counts.refused_tables);
                tracing::warn!(
                    config_map = self.name,
                    error = &error as &dyn std::error::Error,
                    "the routing table is not used; the one before serves"
                );
            }
        }
    }
}
