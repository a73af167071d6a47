//! Which installation of the operator a process is of: processes that stand for one Lease are of one installation.

use std::time::Duration;

/// The duration of the Lease where there is none.
const DURATION: Duration = Duration::from_secs(15);

/// An installation, by its Lease.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Installation {
    /// The Lease as namespace/name; `None`: the process needs none, and is the only one of its installation.
    pub lease: Option<String>,
    /// How long the Lease lasts.
    pub duration: Duration,
}

impl Default for Installation {
    fn default() -> Self {
        Self {
            lease: None,
            duration: DURATION,
        }
    }
}
