//! The requests of a change to the API server, all of one caller.

use axum::http::{HeaderValue, Method, Request, header};
use serde_json::{Value, json};

use crate::k8s::callers::{AsCaller, CallerError};
use crate::k8s::policy_path;
use crate::render::labels::{MANAGED_BY, MANAGER, POLICY};
use distributary_core::ids::PolicyKey;

/// Which change made a Secret.
const MARK: &str = "distributary.dev/change";

/// What a caller asks about one policy.
pub struct Requests<'a> {
    pub caller: AsCaller,
    pub key: &'a PolicyKey,
    pub field_manager: &'static str,
    /// Whether nothing that is written stays.
    pub dry_run: bool,
}

impl Requests<'_> {
    pub async fn policy(&self) -> Result<Value, CallerError> {
        self.send(Method::GET, policy_path(self.key), None).await
    }

    pub async fn patch(&self, operations: &Value, dry_run: bool) -> Result<Value, CallerError> {
        let path = self.written(&policy_path(self.key), dry_run);
        let body = Some(("application/json-patch+json", operations));
        self.send(Method::PATCH, path, body).await
    }

    pub async fn secret(&self, name: &str) -> Result<Value, CallerError> {
        self.send(Method::GET, self.secret_path(name), None).await
    }

    /// Makes a Secret with a URL, which goes with the policy.
    pub async fn create_secret(
        &self,
        name: &str,
        url: &str,
        mark: &str,
        policy: &Value,
    ) -> Result<Value, CallerError> {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": self.key.namespace,
                "labels": {MANAGED_BY: MANAGER, POLICY: self.key.name},
                "annotations": {MARK: mark},
                "ownerReferences": [{
                    "apiVersion": policy["apiVersion"], "kind": policy["kind"],
                    "name": self.key.name, "uid": policy["metadata"]["uid"],
                }],
            },
            "type": "Opaque",
            "stringData": {"url": url},
        });
        self.create(&secret, self.dry_run).await
    }

    /// An object as the API server would make it now: it has the time.
    pub async fn server_time(&self, name: &str) -> Result<Value, CallerError> {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"generateName": format!("{name}-"), "namespace": self.key.namespace},
        });
        self.create(&object, true).await
    }

    /// Deletes this very Secret, and no other one of its name.
    pub async fn delete_secret(&self, name: &str, secret: &Value) -> Result<Value, CallerError> {
        let mut options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": secret["metadata"]["uid"]},
        });
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        let body = Some(("application/json", &options));
        self.send(Method::DELETE, self.secret_path(name), body).await
    }

    async fn create(&self, secret: &Value, dry_run: bool) -> Result<Value, CallerError> {
        let path = format!("/api/v1/namespaces/{}/secrets", self.key.namespace);
        let path = self.written(&path, dry_run);
        self.send(Method::POST, path, Some(("application/json", secret)))
            .await
    }

    fn written(&self, path: &str, dry_run: bool) -> String {
        let dry_run = if dry_run { "&dryRun=All" } else { "" };
        format!("{path}?fieldManager={}{dry_run}", self.field_manager)
    }

    fn secret_path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/secrets/{name}", self.key.namespace)
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, CallerError> {
        let text = body.map(|(_, body)| body.to_string()).unwrap_or_default();
        let mut request = Request::new(text.into_bytes());
        *request.method_mut() = method;
        // Names were checked: they are part of a path as they are.
        *request.uri_mut() = path.parse().unwrap_or_default();
        if let Some((kind, _)) = body {
            let kind = HeaderValue::from_static(kind);
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        self.caller.send(request).await
    }
}

/// Whether a change of the policy made the Secret.
#[must_use]
pub fn is_ours(secret: &Value, policy: &Value) -> bool {
    let metadata = &secret["metadata"];
    let owners = metadata["ownerReferences"].as_array();
    let owned = owners.is_some_and(|owners| {
        owners
            .iter()
            .any(|owner| owner["uid"] == policy["metadata"]["uid"])
    });
    owned && metadata["labels"][MANAGED_BY] == MANAGER
}

/// Whether the change of this mark made the Secret.
#[must_use]
pub fn has_mark(secret: &Value, mark: &str) -> bool {
    secret["metadata"]["annotations"][MARK] == mark
}
