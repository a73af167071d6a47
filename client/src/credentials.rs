//! What the program presents to the servers.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use distributary_core::login::Sensitive;

use crate::error::SettingsError;

/// User and password of the program, which a server that refuses them makes it read again. Its `Debug` shows neither.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    source: Source,
    now: ArcSwap<Presented>,
}

/// What is sent to a server.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Presented {
    pub user: String,
    pub password: Option<Sensitive>,
}

enum Source {
    /// They do not change.
    Code,
    Files {
        user: PathBuf,
        password: PathBuf,
    },
}

impl Credentials {
    /// This user and password.
    ///
    /// ```
    /// let credentials = distributary_client::Credentials::new("app", "correct horse");
    /// assert!(!format!("{credentials:?}").contains("horse"));
    /// ```
    #[must_use]
    pub fn new(user: impl Into<String>, password: &str) -> Self {
        Self::of(user.into(), Some(Sensitive::new(password)))
    }

    pub(crate) fn of(user: String, password: Option<Sensitive>) -> Self {
        Self(Arc::new(Inner {
            source: Source::Code,
            now: ArcSwap::from_pointee(Presented { user, password }),
        }))
    }

    /// The contents of two files, as of a mounted Secret with the keys `username` and `password`; a line end behind them does
    /// not count. They are read again when a server refuses a login.
    ///
    /// ```no_run
    /// # fn f() -> Result<(), distributary_client::SettingsError> {
    /// use distributary_client::Credentials;
    ///
    /// let credentials = Credentials::from_files("/etc/login/username", "/etc/login/password")?;
    /// # let _ = credentials;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A file that cannot be read as UTF-8 text.
    pub fn from_files(user: impl Into<PathBuf>, password: impl Into<PathBuf>) -> Result<Self, SettingsError> {
        let source = Source::Files {
            user: user.into(),
            password: password.into(),
        };
        let now = ArcSwap::from_pointee(source.read()?.ok_or(SettingsError::NoCredentials)?);
        Ok(Self(Arc::new(Inner { source, now })))
    }

    pub(crate) fn presented(&self) -> Arc<Presented> {
        self.0.now.load_full()
    }

    /// Reads them again after a server refused `refused`; whether there are others now.
    pub(crate) fn refresh(&self, refused: &Presented) -> bool {
        if let Ok(Some(read)) = self.0.source.read() {
            self.0.now.store(Arc::new(read));
        }
        **self.0.now.load() != *refused
    }
}

impl Source {
    /// `None`: there is nothing to read.
    fn read(&self) -> Result<Option<Presented>, SettingsError> {
        let Self::Files { user, password } = self else {
            return Ok(None);
        };
        let text = |path: &PathBuf| {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|source| SettingsError::ReadFile {
                path: path.clone(),
                source,
            })?;
            Ok::<_, SettingsError>(text.trim_end_matches(['\r', '\n']).to_owned())
        };
        Ok(Some(Presented {
            user: text(user)?,
            password: Some(Sensitive::new(&text(password)?)),
        }))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}
