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
            500..=599 if is_of_admission(&status.message) => Self::new(422, &status.reason, &status.message),
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

/// Whether admission has refused a request, as a webhook does not answer or answers so: nothing was kept then.
fn is_of_admission(message: &str) -> bool {
    let is_denied = message.starts_with("admission webhook ") && message.contains(" denied the request");
    is_denied || message.contains("failed calling webhook ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_fails_has_refused_the_change_and_another_fault_leaves_it_open() {
        let of = |code: u16, message: &str| {
            let status = Status::failure(message, "InternalError").with_code(code);
            let refusal = Refusal::of(&status);
            (refusal.code, refusal.is_of_server)
        };
        for told in [
            "Internal error occurred: failed calling webhook \"policies.example.com\": failed to call webhook: Post \"https://w.ops.svc:443/\": dial tcp 10.0.0.1:443: connect: connection refused",
            "admission webhook \"policies.example.com\" denied the request: no database",
        ] {
            assert_eq!(of(500, told), (422, true), "{told}");
            let status = Status::failure(told, "InternalError").with_code(500);
            let Refusal { reason, message, .. } = Refusal::of(&status);
            assert_eq!((reason.as_str(), message.as_str()), ("InternalError", told));
        }
        for code in [500, 503, 504] {
            assert_eq!(of(code, "etcdserver: request timed out"), (504, false), "{code}");
        }
    }
}
