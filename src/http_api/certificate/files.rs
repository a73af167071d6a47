//! A certificate in files, as a Secret that is mounted has it. The kernel tells of changes, so that a new certificate is used
//! for the next connection.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::mpsc;
#[cfg(target_os = "linux")]
use tokio::sync::mpsc::error::TrySendError;

use super::{Error, Newest, configuration};
use crate::clock::Clock;

/// After a file that cannot be read: whoever writes it may not have ended.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// After the system refused to tell of changes.
const BLIND: std::time::Duration = std::time::Duration::from_secs(30);
/// How often in a row that is tried.
const TRIES: u32 = 5;

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// As a Secret of type kubernetes.io/tls is mounted.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            certificate: directory.join("tls.crt"),
            key: directory.join("tls.key"),
        }
    }

    fn read(&self) -> Result<std::sync::Arc<rustls::ServerConfig>, Error> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| Error::Read {
                path: path.to_owned(),
                source,
            })
        };
        configuration(&read(&self.certificate)?, &read(&self.key)?)
    }

    /// The folders whose entries lead to the files.
    fn folders(&self) -> Vec<PathBuf> {
        let folder = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut folders = vec![folder(&self.certificate), folder(&self.key)];
        folders.dedup();
        folders
    }
}

/// Follows the files until the process ends. A pair that cannot be used is logged, and the one before stays. Where the system does
/// not tell of changes, as there is no such folder or too much is followed already, that is tried again, and the files are read then.
pub async fn follow_files(files: CertificateFiles, newest: &Newest) {
    let mut is_told = false;
    loop {
        let error = match changes(&files.folders()) {
            Ok(mut changes) => {
                is_told = false;
                take(&files, newest).await;
                while changes.recv().await.is_some() {
                    take(&files, newest).await;
                }
                io::Error::other("the thread that waits for changes has ended")
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut is_told, true) {
            tracing::error!(%error, "the system does not tell of changes of the certificate of the API, which is tried again every 30 s: look at --api-tls-directory");
        }
        Clock::sleep(BLIND).await;
        take(&files, newest).await;
    }
}

/// Tells that something changed in the folders. A thread waits for the kernel, until nobody listens to the next change.
#[cfg(target_os = "linux")]
fn changes(folders: &[PathBuf]) -> io::Result<mpsc::Receiver<()>> {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC)?;
    // A Secret that is mounted changes by a rename of a link in the folder.
    let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_CLOSE_WRITE;
    for folder in folders {
        changes.add_watch(folder, flags)?;
    }
    // One is enough: what changed is read anew.
    let (tell, told) = mpsc::channel(1);
    let wait = move || {
        while changes.read_events().is_ok() {
            if let Err(TrySendError::Closed(())) = tell.try_send(()) {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("certificate".to_owned())
        .spawn(wait)?;
    Ok(told)
}

/// The operator runs on Linux.
#[cfg(not(target_os = "linux"))]
fn changes(_: &[PathBuf]) -> io::Result<mpsc::Receiver<()>> {
    Err(io::ErrorKind::Unsupported.into())
}

async fn take(files: &CertificateFiles, newest: &Newest) {
    for _ in 0..TRIES {
        match files.read() {
            Ok(configuration) => {
                newest.send_replace(Some(configuration));
                tracing::info!(certificate = %files.certificate.display(), "the certificate of the API was read");
                return;
            }
            Err(error) => {
                tracing::warn!(certificate = %files.certificate.display(), error = %crate::telemetry::chain(&error), "the certificate of the API cannot be used");
            }
        }
        Clock::sleep(AGAIN).await;
    }
}
