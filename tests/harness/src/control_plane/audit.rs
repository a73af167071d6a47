//! What the API server was asked, and by whom.

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::ControlPlane;

/// A request that the API server answered. A watch has two: `ResponseStarted` and, when it ended, `ResponseComplete`.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Event")]
pub struct AuditEvent {
    /// get, list, watch, create, update, patch, delete, deletecollection; the HTTP method in lower case for a request
    /// that is not for a resource.
    pub verb: String,
    /// Who asked, as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, in the plural; empty when the request was not for one.
    pub resource: String,
    /// `status` and the like; empty for the object itself.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty for lists and for what the server was to name.
    pub name: String,
    /// The HTTP status of the answer; 0 when there was none.
    pub code: u16,
    /// `ResponseStarted`, `ResponseComplete` or `Panic`.
    pub stage: String,
    /// The path and query that were asked for.
    pub uri: String,
    /// When the server got the request.
    pub received: Timestamp,
    /// The body of the request: only for writes of service accounts, and not for Secrets, CRDs and RBAC.
    pub request: Option<Value>,
}

impl AuditEvent {
    /// Whether the request asked for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        )
    }

    /// Whether the request was answered with a success.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// `RESOURCE` or `RESOURCE/SUBRESOURCE`, as a Role names it.
    #[must_use]
    pub fn target(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// The time by the clock of the audit log.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

impl ControlPlane {
    /// Every request so far, in the order of the answers. An answer is logged before it is sent.
    ///
    /// # Errors
    /// When the log is not what the API server should write.
    pub fn audit(&self) -> Result<Vec<AuditEvent>> {
        self.audit_of("")
    }

    /// Every request of one user, such as a [`service_account_user`](super::service_account_user); much faster than
    /// [`audit`](Self::audit).
    ///
    /// # Errors
    /// As [`audit`](Self::audit).
    pub fn audit_of(&self, user: &str) -> Result<Vec<AuditEvent>> {
        let bytes = std::fs::read(&self.audit_log).context("read the audit log")?;
        let text = String::from_utf8_lossy(&bytes);
        // The last line may still be being written.
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let lines = complete.lines().filter(|line| line.contains(user));
        let events =
            lines.map(|line| serde_json::from_str::<AuditEvent>(line).context("parse the audit log"));
        events
            .filter(|event| user.is_empty() || event.as_ref().map_or(true, |event| event.user == user))
            .collect()
    }
}

/// As the API server writes it: `audit.k8s.io/v1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<Status>,
    request_object: Option<Value>,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
}

impl From<Event> for AuditEvent {
    fn from(event: Event) -> Self {
        let object = event.object_ref;
        Self {
            verb: event.verb,
            user: event.user.username,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: event.response_status.and_then(|status| status.code).unwrap_or(0),
            stage: event.stage,
            uri: event.request_uri,
            received: event.request_received_timestamp,
            request: event.request_object,
        }
    }
}
