//! What the API server was asked, and by whom.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

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
    /// Every request so far, in the order of the answers, without those of the control plane's own programs. An answer is
    /// logged before it is sent.
    ///
    /// # Errors
    /// When the log is not what the API server should write.
    pub fn audit(&self) -> Result<Vec<AuditEvent>> {
        self.audit_log.events(None)
    }

    /// Every request of one user, such as a [`service_account_user`](super::service_account_user); much faster than
    /// [`audit`](Self::audit).
    ///
    /// # Errors
    /// As [`audit`](Self::audit).
    pub fn audit_of(&self, user: &str) -> Result<Vec<AuditEvent>> {
        self.audit_log.events(Some(user))
    }
}

/// The log, which holds the requests of all tests: where in it those of each user are, so that nobody reads those of the
/// others again.
pub(super) struct AuditLog {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// So many bytes, up to the end of a line.
    bytes: u64,
    /// By user, the lines that tell of a request of it.
    lines: BTreeMap<String, Vec<Range<u64>>>,
}

impl AuditLog {
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            path,
            seen: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Of one user, or of all.
    fn events(&self, user: Option<&str>) -> Result<Vec<AuditEvent>> {
        let mut file = File::open(&self.path).context("open the audit log")?;
        let mut lines = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.goes_on(&mut file).context("read the audit log")?;
            match user {
                Some(user) => seen.lines.get(user).cloned().unwrap_or_default(),
                None => seen.lines.values().flatten().cloned().collect(),
            }
        };
        lines.sort_unstable_by_key(|line| line.start);
        lines.iter().map(|line| event(&file, line)).collect()
    }
}

impl Seen {
    /// Takes in what was written since.
    fn goes_on(&mut self, file: &mut File) -> Result<()> {
        let mut new = vec![];
        file.seek(SeekFrom::Start(self.bytes))?;
        file.read_to_end(&mut new)?;
        // The last line may still be being written.
        for line in new.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = line.strip_suffix(b"\n") else {
                break;
            };
            let start = self.bytes;
            self.bytes += u64::try_from(line.len())?;
            let end = start + u64::try_from(text.len())?;
            let user = user_of(std::str::from_utf8(text)?);
            self.lines.entry(user.to_owned()).or_default().push(start..end);
        }
        Ok(())
    }
}

/// Who asked, without parsing the rest: the API server writes the user before anything that a client sent, other than its
/// URI, in which a quotation mark is escaped.
fn user_of(line: &str) -> &str {
    let named = line.split_once(r#""user":{"username":""#);
    named
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(user, _)| user)
}

fn event(file: &File, line: &Range<u64>) -> Result<AuditEvent> {
    let mut text = vec![0; usize::try_from(line.end - line.start)?];
    file.read_exact_at(&mut text, line.start)
        .context("read the audit log")?;
    serde_json::from_slice(&text).context("parse the audit log")
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(user: &str, uri: &str) -> String {
        let mut line = r#"{"kind":"Event","stage":"ResponseComplete","requestURI":"PATH","verb":"get","user":{"username":"WHO","groups":["a"]},"requestReceivedTimestamp":"2026-01-01T00:00:00Z"}"#
            .replace("PATH", uri)
            .replace("WHO", user);
        line.push('\n');
        line
    }

    #[test]
    fn each_user_has_its_requests_in_order_and_a_line_counts_once_it_is_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = AuditLog::at(file.path().to_owned());
        let write = |text: &str| file.as_file().write_all(text.as_bytes()).unwrap();
        let uris = |user| {
            let events = log.events(user).unwrap();
            events.into_iter().map(|event| event.uri).collect::<Vec<_>>()
        };
        assert!(uris(Some("one")).is_empty());
        let (first, second) = (line("two", "/b"), line("one", "/c"));
        let (half, rest) = second.split_at(40);
        write(&(line("one", "/a") + &first + half));
        assert_eq!(uris(Some("one")), ["/a"]);
        assert_eq!(uris(Some("two")), ["/b"]);
        write(rest);
        write(&line("one", r#"/d?name=\"user\":{\"username\":\"two\""#));
        assert_eq!(uris(Some("one")).len(), 3);
        assert_eq!(uris(Some("two")), ["/b"]);
        assert_eq!(uris(Some("on")), [""; 0], "a user by half of its name");
        let all = uris(None);
        assert_eq!(all[..3], ["/a", "/b", "/c"]);
        assert_eq!(all.len(), 4);
    }
}
