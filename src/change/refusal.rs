//! Why a change was not carried out.

use kube::core::Status;

use crate::k8s::callers::CallerError;

/// Why a change was not carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// As a status code of HTTP. 504: what became of the change is not known.
    pub code: u16,
    /// One word; of the API server where it refused the change.
    pub reason: String,
    /// A sentence; in the words of the API server where it refused the change.
    pub message: String,
    /// Whether it is the API server that refused the change.
    pub is_of_server: bool,
}

impl Refusal {
    #[must_use]
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            is_of_server: false,
        }
    }

    /// What was asked for is wrong, and nothing was sent.
    #[must_use]
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// Other requests are in the way.
    #[must_use]
    pub fn busy(message: &str) -> Self {
        Self::new(429, "TooManyRequests", message)
    }

    /// The API server refused it.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        let refusal = match status.code {
            401 | 403 | 404 | 409 | 422 => Self::new(status.code, &status.reason, &status.message),
            429 => Self::busy(&status.message),
            400..=499 => Self::bad(&status.message),
            _ => return Self::unavailable(),
        };
        Self {
            is_of_server: true,
            ..refusal
        }
    }

    /// The API server does not answer.
    #[must_use]
    pub fn unavailable() -> Self {
        let message = "the API server does not answer; what became of the request is not known";
        Self::new(504, "Unavailable", message)
    }

    /// The same, with more to it.
    #[must_use]
    pub fn and(self, more: &str) -> Self {
        Self {
            message: format!("{}; {more}", self.message),
            ..self
        }
    }
}

impl From<CallerError> for Refusal {
    fn from(error: CallerError) -> Self {
        match error {
            CallerError::Busy => Self::busy("too many requests to the API server are under way: try again"),
            CallerError::Refused(status) => Self::of(&status),
            CallerError::NoAnswer => Self::unavailable(),
        }
    }
}
