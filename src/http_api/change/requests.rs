//! The requests of a change to the API server, with the token of the caller.

use axum::http::{HeaderValue, Method, Request, header};
use serde_json::{Value, json};

use crate::http_api::caller::Caller;
use crate::http_api::rights::path_of;
use crate::k8s::callers::{CallerError, Callers, Place};
use crate::render::labels::{MANAGED_BY, MANAGER, POLICY};
use distributary_core::ids::PolicyKey;

/// Who changes fields, as the API server keeps it.
const MANAGER_OF_FIELDS: &str = "distributary-api";

/// What a caller asks about one policy, from one place: what was begun can be taken back, however many others ask.
pub struct Requests<'a> {
    callers: &'a Callers,
    caller: &'a Caller,
    key: &'a PolicyKey,
    place: Place,
}

impl<'a> Requests<'a> {
    /// # Errors
    /// [`CallerError::Busy`] where no place is free.
    pub fn new(callers: &'a Callers, caller: &'a Caller, key: &'a PolicyKey) -> Result<Self, CallerError> {
        let place = callers.place()?;
        Ok(Self {
            callers,
            caller,
            key,
            place,
        })
    }

    pub async fn policy(&self) -> Result<Value, CallerError> {
        self.send(Method::GET, path_of(self.key), None).await
    }

    pub async fn patch(&self, operations: &Value, dry_run: bool) -> Result<Value, CallerError> {
        let dry_run = if dry_run { "&dryRun=All" } else { "" };
        let path = format!("{}?fieldManager={MANAGER_OF_FIELDS}{dry_run}", path_of(self.key));
        let body = Some(("application/json-patch+json", operations));
        self.send(Method::PATCH, path, body).await
    }

    pub async fn secret(&self, name: &str) -> Result<Value, CallerError> {
        self.send(Method::GET, self.secret_path(name), None).await
    }

    /// Makes a Secret with a URL, which goes with the policy.
    pub async fn create_secret(&self, name: &str, url: &str, policy: &Value) -> Result<Value, CallerError> {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": self.key.namespace,
                "labels": {MANAGED_BY: MANAGER, POLICY: self.key.name},
                "ownerReferences": [{
                    "apiVersion": policy["apiVersion"], "kind": policy["kind"],
                    "name": self.key.name, "uid": policy["metadata"]["uid"],
                }],
            },
            "type": "Opaque",
            "stringData": {"url": url},
        });
        let path = format!(
            "/api/v1/namespaces/{}/secrets?fieldManager={MANAGER_OF_FIELDS}",
            self.key.namespace
        );
        self.send(Method::POST, path, Some(("application/json", &secret)))
            .await
    }

    /// Deletes this very Secret, and no other one of its name.
    pub async fn delete_secret(&self, name: &str, secret: &Value) -> Result<Value, CallerError> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": secret["metadata"]["uid"]},
        });
        let body = Some(("application/json", &options));
        self.send(Method::DELETE, self.secret_path(name), body).await
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
        self.callers
            .send_from(&self.place, &self.caller.token, request)
            .await
    }
}

/// Whether this API made the Secret for the policy.
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
