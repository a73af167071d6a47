//! Where a router that follows promotions keeps what it must remember.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::SettingsError;
use crate::remembered::Remembered;

/// A write is waited for for so long; then the writes stay where they were until it is done.
const WRITING: Duration = Duration::from_secs(1);

/// Keeps one text from one process to the next, for a policy that follows promotions ([`RouterBuilder::memory`](crate::RouterBuilder::memory)).
///
/// Who takes the writes is remembered before the first write goes there. A memory belongs to one router at a time: two that decide by
/// one memory forget what the other one saw. [`FileMemory`] sees to that by a lock.
///
/// Both methods may block; they run where that harms nobody, never two at a time.
pub trait Memory: Send + Sync + 'static {
    /// The text that was kept last; `None`: there was none yet.
    ///
    /// # Errors
    /// It cannot be read. The router is not made then.
    fn recall(&self) -> io::Result<Option<String>>;

    /// Keeps a text, a few hundred bytes for each server, in place of the one before. When it returns `Ok`, the text survives a crash
    /// of whatever can crash.
    ///
    /// # Errors
    /// The text before is still there. It is tried again; until then the writes stay where they were.
    fn remember(&self, text: &str) -> io::Result<()>;
}

/// A memory in a file. The folder must keep its files when the program, or its Pod, is replaced.
///
/// The file is replaced as a whole, and synchronized with the disk. A lock on the file of this name with `.lock` behind it keeps other
/// routers out, in this process and in others.
#[derive(Debug)]
pub struct FileMemory {
    path: PathBuf,
    /// Held while the memory is used.
    _lock: File,
}

impl FileMemory {
    /// Uses this file, which need not be there.
    ///
    /// ```no_run
    /// # fn f() -> std::io::Result<()> {
    /// let memory = distributary_client::FileMemory::open("/var/lib/shop/routes.json")?;
    /// # let _ = memory;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The folder is not there or cannot be written to; [`io::ErrorKind::WouldBlock`]: another router uses the file.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(beside(&path, "lock"))?;
        lock.try_lock()?;
        Ok(Self { path, _lock: lock })
    }
}

/// A file beside this one.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

impl Memory for FileMemory {
    fn recall(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remember(&self, text: &str) -> io::Result<()> {
        let new = beside(&self.path, "new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

/// A memory in use.
pub struct Keeping {
    memory: Arc<dyn Memory>,
    kept: Option<Remembered>,
    /// What is being written.
    writing: Option<JoinHandle<(Remembered, io::Result<()>)>>,
    failing: bool,
}

impl Keeping {
    /// What was remembered of the policy of this name.
    ///
    /// # Errors
    /// It cannot be read, or gone by.
    pub async fn recall(memory: Arc<dyn Memory>, policy: &str) -> Result<Self, SettingsError> {
        let asked = Arc::clone(&memory);
        let text = tokio::task::spawn_blocking(move || asked.recall()).await;
        let text = text.map_err(io::Error::other).flatten();
        let text = text.map_err(|source| SettingsError::Memory(source.into()))?;
        let kept = text.map(|text| Remembered::read(&text, policy)).transpose();
        Ok(Self {
            memory,
            kept: kept.map_err(|source| SettingsError::Memory(source.into()))?,
            writing: None,
            failing: false,
        })
    }

    /// What is remembered.
    pub const fn kept(&self) -> Option<&Remembered> {
        self.kept.as_ref()
    }

    /// Remembers this; whether it is. At most one write is under way, and waited for for a while.
    pub async fn keep(&mut self, next: &Remembered) -> bool {
        if self
            .writing
            .as_ref()
            .is_some_and(|writing| !writing.is_finished())
        {
            return false;
        }
        self.finish().await;
        if self.kept.as_ref() == Some(next) {
            return true;
        }
        let (memory, next) = (Arc::clone(&self.memory), next.clone());
        let written = next.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let result = memory.remember(&written.text());
            (written, result)
        }));
        let _ = timeout(WRITING, self.finish()).await;
        self.kept.as_ref() == Some(&next)
    }

    /// Waits for the write that is under way; it stays under way where this is dropped.
    async fn finish(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        let ended = writing.await;
        self.writing = None;
        match ended {
            Ok((written, Ok(()))) => {
                self.kept = Some(written);
                self.failing = false;
            }
            Ok((_, Err(error))) => self.failed(&error),
            Err(error) => self.failed(&io::Error::other(error)),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "who takes the writes cannot be remembered: until it is, they stay where they are"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, which is removed.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("distributary-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_keeps_the_last_text_and_one_router_uses_it() {
        let folder = Folder::new("memory");
        let path = folder.0.join("memory.json");
        let memory = FileMemory::open(&path).expect("a memory");
        assert_eq!(memory.recall().expect("it can be read"), None);
        for text in ["one", "two"] {
            memory.remember(text).expect("it can be written");
            assert_eq!(memory.recall().expect("it can be read").as_deref(), Some(text));
        }
        let second = FileMemory::open(&path).map_err(|error| error.kind());
        assert_eq!(second.err(), Some(io::ErrorKind::WouldBlock));
        drop(memory);
        let again = FileMemory::open(&path).expect("it is free");
        assert_eq!(again.recall().expect("it can be read").as_deref(), Some("two"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = Folder::new("nowhere");
        assert!(FileMemory::open(folder.0.join("none").join("memory.json")).is_err());
        let path = folder.0.join("memory.json");
        let memory = FileMemory::open(&path).expect("a memory");
        std::fs::create_dir(&path).expect("a folder in its place");
        assert!(memory.recall().is_err() && memory.remember("text").is_err());
    }
}
