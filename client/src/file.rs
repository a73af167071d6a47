//! Routes from a file: `routing.json` of a mounted ConfigMap; and a policy from a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use distributary_core::table::RoutingTable;
use distributary_probe::Clock;

use crate::declared::Secrets;
use crate::embedded::Embedded;
use crate::error::SettingsError;
use crate::policy_file;
use crate::service::by_service;
use crate::shared::{Counts, Shared};
use crate::snapshot::{PoolSettings, Snapshot, Told};
use crate::watched::Watched;

/// From one look for connections that were idle for too long to the next.
const EXPIRY: Duration = Duration::from_secs(30);

/// What requests share, by the table of a file, and the task that follows it.
pub async fn follow(
    path: PathBuf,
    settings: PoolSettings,
    deadline: Duration,
) -> Result<(Arc<Shared>, AbortOnDropHandle<()>), SettingsError> {
    let clock = Clock::new();
    let file = Watched::new(path)?;
    let snapshot = Snapshot::new(told(file.text()).await?, None, &settings, clock)?;
    let shared = Arc::new(Shared::new(snapshot, settings, deadline, clock));
    let weak = Arc::downgrade(&shared);
    let task = tokio::spawn(async move {
        let following = Following(file.path().to_owned(), weak.clone());
        run(file, weak).await;
        drop(following);
    });
    Ok((shared, AbortOnDropHandle::new(task)))
}

/// A task that follows a file. Its end, however it comes, is told while a router is there.
struct Following(PathBuf, Weak<Shared>);

impl Drop for Following {
    fn drop(&mut self) {
        if self.1.strong_count() > 0 {
            tracing::error!(path = %self.0.display(), "the routing table is not followed any more; the routes stay as they are");
        }
    }
}

async fn told(text: &str) -> Result<Told, SettingsError> {
    Ok(Told {
        table: by_service(RoutingTable::read(text)?).await,
        logins: BTreeMap::new(),
    })
}

async fn run(mut file: Watched, shared: Weak<Shared>) {
    let Some(wanted) = shared.upgrade().map(|shared| Arc::clone(&shared.wanted)) else {
        return;
    };
    let clock = Clock::new();
    let mut expiry = clock.now() + EXPIRY;
    loop {
        let expired = tokio::select! {
            () = file.changed() => false,
            () = wanted.notified() => false,
            () = clock.sleep_until(expiry) => true,
        };
        let Some(shared) = shared.upgrade() else { return };
        if expired {
            expiry = clock.now() + EXPIRY;
            shared
                .snapshot()
                .servers()
                .for_each(|server| server.close_expired());
            continue;
        }
        let switched = match file.news() {
            Ok(Some(text)) => told(text).await.and_then(|told| shared.switch(told)),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = switched {
            Counts::count(&shared.counts.refused_tables);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the routing table is not used; the one before serves"
            );
        }
    }
}

/// Follows the file of a policy. `more`: Secrets that the program itself gave, which go before those of the file.
pub fn follow_policy(mut file: Watched, embedded: Embedded, more: Secrets) -> AbortOnDropHandle<()> {
    let task = tokio::spawn(async move {
        loop {
            file.changed().await;
            let changed = match file.news() {
                Ok(Some(text)) => {
                    policy_file::read(text).and_then(|declared| embedded.replace(declared, &more))
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = changed {
                let path: &Path = file.path();
                tracing::warn!(
                    path = %path.display(),
                    error = &error as &dyn std::error::Error,
                    "the policy is not used; the one before decides"
                );
            }
        }
    });
    AbortOnDropHandle::new(task)
}
