//! Errors of requests to the API server.

use kube::core::Status;

use super::fence;
use crate::engine::Stopped;

/// Why a pass over a policy ended early; it will be made again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read Secret {name}")]
    ReadSecret { name: String, source: CallError },
    #[error("Secret {name} changes faster than it is read")]
    SecretChanges { name: String },
    #[error("cannot hand the policy to the engine")]
    Engine(#[from] Stopped),
}

impl Error {
    /// The one label that metrics and conditions carry of an error.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::ReadSecret { source, .. } => source.category(),
            Self::SecretChanges { .. } => "Conflict",
            Self::Engine(_) => "Stopping",
        }
    }
}

/// A request to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no answer within {0:?}")]
    Deadline(std::time::Duration),
    /// What the API server says against it.
    #[error("{} {}", .0.code, .0.message)]
    Refused(Box<Status>),
    /// It was not sent: this process may not write any more.
    #[error("this process may not write any more")]
    HeldBack,
    #[error(transparent)]
    Request(kube::Error),
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            other if fence::holds_back(&other) => Self::HeldBack,
            other => Self::Request(other),
        }
    }
}

impl CallError {
    /// The API server's answer, where there is one.
    #[must_use]
    pub const fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused(status) => Some(status),
            _ => None,
        }
    }

    /// The HTTP status code of the answer; 0 without one.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self.status() {
            Some(status) => status.code,
            None => 0,
        }
    }

    #[must_use]
    pub const fn category(&self) -> &'static str {
        match (self, self.code()) {
            (Self::Deadline(_), _) => "Deadline",
            (Self::HeldBack, _) => "HeldBack",
            (_, 401) => "Unauthorized",
            (_, 403) => "Forbidden",
            (_, 404) => "NotFound",
            (_, 409) => "Conflict",
            (_, 410) => "Expired",
            (_, 422 | 400) => "Invalid",
            (_, 429) => "TooManyRequests",
            (_, 500..) => "ServerError",
            _ => "Unreachable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_known_is_told_apart_from_who_may_not() {
        let category =
            |code| CallError::Refused(Status::failure("no", "No").with_code(code).boxed()).category();
        assert_eq!(
            [401, 403, 410].map(category),
            ["Unauthorized", "Forbidden", "Expired"]
        );
    }
}
