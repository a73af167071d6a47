//! kubectl, helm, and the identity of service accounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use tokio::process::Command;

use super::{ControlPlane, credentials, programs};
use crate::{node, process, watch};

const HOUR: i64 = 3600;

impl ControlPlane {
    /// Runs kubectl with all rights and returns what it printed.
    ///
    /// # Errors
    /// When it fails: the message has what it wrote to its standard error.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_as(self.admin_kubeconfig(), arguments).await
    }

    /// Runs kubectl with the rights of this kubeconfig.
    ///
    /// # Errors
    /// As [`kubectl`](Self::kubectl).
    pub async fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        process::output(command("kubectl", kubeconfig)?.args(arguments)).await
    }

    /// Applies a manifest, one document or several, on the server's side and returns what kubectl printed.
    ///
    /// # Errors
    /// As [`kubectl`](Self::kubectl).
    pub async fn apply(&self, namespace: &str, manifest: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::new_in(node::data_subdir("tmp")?)?;
        fs::write(file.path(), manifest)?;
        let path = file.path().to_str().context("a path in UTF-8")?;
        self.kubectl(&["apply", "--server-side", "--namespace", namespace, "-f", path])
            .await
    }

    /// Runs helm with all rights and returns what it printed.
    ///
    /// # Errors
    /// As [`kubectl`](Self::kubectl).
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        process::output(command("helm", self.admin_kubeconfig())?.args(arguments)).await
    }

    /// A token of this ServiceAccount, valid for four hours. Waits for the account when it is still being made.
    ///
    /// # Errors
    /// When there is no such account after ten seconds.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let what = format!("the service account {namespace}/{name}");
        watch::object(&accounts, name, &what, Duration::from_secs(10), |account| {
            account.is_some()
        })
        .await?;
        let spec = TokenRequestSpec {
            expiration_seconds: Some(4 * HOUR),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec,
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await?;
        Ok(answer.status.context("a token request without status")?.token)
    }

    /// A kubeconfig with a token of this ServiceAccount, valid for four hours: exactly its own rights. Waits for the
    /// account when it is still being made.
    ///
    /// # Errors
    /// When there is no such account after ten seconds.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.service_account_token(namespace, name).await?;
        let path = node::data_subdir("kubeconfigs")?.join(format!("{namespace}-{name}"));
        credentials::write(
            &path,
            &self.credentials.file("ca.crt"),
            &json!({ "token": token }),
            namespace,
        )?;
        Ok(path)
    }
}

/// The name by which the API server and its audit log know a ServiceAccount.
#[must_use]
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Writes nothing outside the node: its home, caches and temporary files are there.
fn command(program: &str, kubeconfig: &Path) -> Result<Command> {
    let mut command = Command::new(programs::path(program)?);
    command
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", node::data_subdir("home")?);
    command
        .env("TMPDIR", node::data_subdir("tmp")?)
        .stdin(Stdio::null());
    Ok(command)
}
