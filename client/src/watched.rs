//! A file that is followed: the key of a mounted ConfigMap or Secret, or any other.
//!
//! The kubelet replaces the link `..data` in the folder of the file; every change in that folder is told by inotify(7), and the file
//! is read again. What inotify does not tell (a file that is linked from another folder, a folder that was replaced) is
//! found by a look from time to time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use distributary_probe::Clock;

use crate::error::SettingsError;

/// From one look at the file, whatever was told, to the next.
const LOOK: Duration = Duration::from_secs(30);

/// A file with its newest text.
pub struct Watched {
    path: PathBuf,
    known: String,
    /// `None`: the folder is not there; it is looked for from time to time.
    changes: Option<Receiver>,
}

impl Watched {
    /// Begins to follow a file.
    ///
    /// # Errors
    /// It, or its folder, cannot be read.
    pub fn new(path: PathBuf) -> Result<Self, SettingsError> {
        // Before it is read first, so that no change is missed.
        let changes = Some(watch(&path)?);
        let known = read(&path)?;
        Ok(Self { path, known, changes })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text as it was read last.
    pub fn text(&self) -> &str {
        &self.known
    }

    /// Returns when the file should be read again. It may be dropped while it waits.
    pub async fn changed(&mut self) {
        let mut events = [0; 4096];
        let told = async {
            match &mut self.changes {
                Some(changes) => matches!(changes.read(&mut events).await, Ok(1..)),
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            told = told => told,
            () = Clock::sleep(LOOK) => false,
        };
        if !told {
            self.changes = watch(&self.path).ok();
        }
    }

    /// The text, where it is another one than before; one change is told several times.
    ///
    /// # Errors
    /// It cannot be read: the text before stays.
    pub fn news(&mut self) -> Result<Option<&str>, SettingsError> {
        let text = read(&self.path)?;
        if text == self.known {
            return Ok(None);
        }
        self.known = text;
        Ok(Some(&self.known))
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|source| unreadable(path, source))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_is_replaced_is_found_again() {
        let folder = std::env::temp_dir().join(format!("distributary-watched-{}", std::process::id()));
        let file = folder.join("routing.json");
        let publish = |text: &str| {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&file, text).expect("a file");
        };
        publish("one");
        let mut watched = Watched::new(file.clone()).expect("it is there");
        assert_eq!(watched.text(), "one");
        std::fs::remove_dir_all(&folder).expect("it was there");
        // The end of the watch, and then nothing any more until the next look.
        watched.changed().await;
        assert!(watched.news().is_err(), "nothing is there");
        assert_eq!(watched.text(), "one", "the text before stays");
        publish("two");
        for _ in 0..3 {
            watched.changed().await;
            if watched.news().is_ok_and(|news| news.is_some()) {
                break;
            }
        }
        assert_eq!(watched.text(), "two");
        std::fs::remove_dir_all(&folder).expect("it was there");
    }
}
