//! What is wrong with a request, or stands in its way.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::change::Refusal;
use crate::k8s::callers::CallerError;

/// Why a request was not carried out.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status code.
    #[schema(minimum = 400, maximum = 599)]
    pub code: u16,
    /// One word. Of the API server where it refused the request, such as Forbidden, NotFound, Conflict or Invalid; otherwise
    /// Unauthorized, BadRequest, NotFound, MethodNotAllowed, ManagedByGitOps, AlreadyExists, TooLarge, RequestTimeout, TooManyRequests,
    /// NotReady, InternalError or Unavailable.
    pub reason: String,
    /// A sentence for people; in the words of the API server where it refused the request.
    pub message: String,
}

impl Problem {
    #[must_use]
    pub fn new(code: StatusCode, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.as_u16(),
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// The request itself is wrong, and was not sent on.
    #[must_use]
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// Who asks is not known.
    #[must_use]
    pub fn unauthorized() -> Self {
        let message = "the request must have exactly one header Authorization: Bearer TOKEN, with a token of the Kubernetes API server";
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// Other requests are in the way.
    #[must_use]
    pub fn busy(message: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
    }

    /// The API server does not answer.
    #[must_use]
    pub fn unavailable() -> Self {
        Refusal::unavailable().into()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let Refusal {
            code,
            reason,
            message,
            ..
        } = refusal;
        Self {
            code,
            reason,
            message,
        }
    }
}

impl From<CallerError> for Problem {
    fn from(error: CallerError) -> Self {
        Refusal::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, Json(self)).into_response();
        let headers = response.headers_mut();
        match code {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
