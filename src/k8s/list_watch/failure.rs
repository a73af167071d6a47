//! Why a list or a watch failed, and whether its version is still good.

use std::time::Duration;

use kube::core::Status;

use crate::k8s::error::CallError;

const NOT_FOUND: u16 = 404;
/// The version is too old.
const GONE: u16 = 410;
/// The version is newer than the server's: it was restored from a backup.
const TOO_LARGE: &str = "ResourceVersionTooLarge";

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot list")]
    List(#[source] CallError),
    #[error("cannot watch")]
    Watch(#[source] CallError),
    #[error("the watch was silent for {0:?}")]
    Silent(Duration),
    #[error("the watch ended at once")]
    Short,
    #[error("the API server told no resourceVersion")]
    NoVersion,
}

impl Failure {
    /// The label that metrics carry of it.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::List(source) | Self::Watch(source) => source.category(),
            Self::Silent(_) => "Silent",
            Self::Short | Self::NoVersion => "Unreachable",
        }
    }

    /// The HTTP status code of the answer; 0 without one.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::List(source) | Self::Watch(source) => source.code(),
            Self::Silent(_) | Self::Short | Self::NoVersion => 0,
        }
    }

    /// Whether nothing can be resumed after it.
    pub(super) fn lists_anew(&self) -> bool {
        match self {
            Self::List(_) | Self::NoVersion => true,
            Self::Watch(source) => source.status().is_some_and(forgets),
            Self::Silent(_) | Self::Short => false,
        }
    }
}

/// Without the resource, its objects are gone, too.
fn forgets(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    matches!(status.code, NOT_FOUND | GONE) || causes.into_iter().any(|cause| cause.reason == TOO_LARGE)
}
