//! Routes from a file: `routing.json` of a mounted ConfigMap.
//!
//! The kubelet replaces the link `..data` in the folder of the file; every change in that folder is told by inotify(7), and the file
//! is read again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio_util::task::AbortOnDropHandle;

use distributary_core::table::RoutingTable;
use distributary_probe::Clock;

use crate::error::SettingsError;
use crate::shared::{Counts, Shared};
use crate::snapshot::{PoolSettings, Snapshot, Told};

/// From one look for connections that were idle for too long to the next.
const EXPIRY: Duration = Duration::from_secs(30);

/// What requests share, by the table of a file, and the task that follows it.
pub fn follow(
    path: PathBuf,
    settings: PoolSettings,
    deadline: Duration,
) -> Result<(Arc<Shared>, AbortOnDropHandle<()>), SettingsError> {
    let clock = Clock::new();
    // Before it is read first, so that no change is missed.
    let changes = watch(&path)?;
    let text = read(&path)?;
    let snapshot = Snapshot::new(told(&text)?, None, &settings, clock)?;
    let shared = Arc::new(Shared::new(snapshot, settings, deadline, clock));
    let following = Following(path.clone(), Arc::downgrade(&shared));
    let task = tokio::spawn(async move {
        let shared = following.1.clone();
        run((path, text), changes, shared).await;
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

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|source| unreadable(path, source))
}

fn told(text: &str) -> Result<Told, SettingsError> {
    Ok(Told {
        table: RoutingTable::read(text)?,
        logins: std::collections::BTreeMap::new(),
    })
}

fn unreadable(path: &Path, source: std::io::Error) -> SettingsError {
    SettingsError::ReadFile {
        path: path.to_owned(),
        source,
    }
}

fn watch(path: &Path) -> Result<Receiver, SettingsError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let changes = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_CREATE;
    let watched = || {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(folder, changes)?;
        // Events are read like the bytes of a pipe, and only that there are some counts.
        Receiver::from_owned_fd_unchecked(inotify.into())
    };
    watched().map_err(|source| unreadable(folder, source))
}

async fn run((path, mut known): (PathBuf, String), mut changes: Receiver, shared: Weak<Shared>) {
    let Some(wanted) = shared.upgrade().map(|shared| Arc::clone(&shared.wanted)) else {
        return;
    };
    let mut events = [0; 4096];
    loop {
        let looked = tokio::select! {
            read = changes.read(&mut events) => match read {
                Ok(1..) => true,
                Ok(0) | Err(_) => return,
            },
            () = wanted.notified() => true,
            () = Clock::sleep(EXPIRY) => false,
        };
        let Some(shared) = shared.upgrade() else { return };
        if !looked {
            shared
                .snapshot()
                .servers()
                .for_each(|server| server.close_expired());
            continue;
        }
        // One change is told several times.
        let text = read(&path);
        if text.as_ref().is_ok_and(|text| *text == known) {
            continue;
        }
        let switched = text.and_then(|text| {
            let told = told(&text);
            known = text;
            shared.switch(told?)
        });
        if let Err(error) = switched {
            Counts::count(&shared.counts.refused_tables);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the routing table is not used; the one before serves"
            );
        }
    }
}
