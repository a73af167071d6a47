//! The HTTP API, with the bearer token of the kubeconfig.

use axum::body::Body;
use axum::http::{Request, Response, Uri};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::LiveArguments;
use crate::cli::cluster::Connection;
use crate::k8s;
use crate::kubectl::api_ca;
use crate::kubectl::cluster::Cluster;
use crate::kubectl::error::Error;

/// A client of the HTTP API.
pub struct Server(Client);

impl Server {
    /// # Errors
    /// The URL or the CA cannot be used, or the kubeconfig has no bearer token.
    pub async fn new(cluster: &Cluster, arguments: &LiveArguments, url: &str) -> Result<Self, Error> {
        let url: Uri = url
            .parse()
            .map_err(|_| Error::said(format!("--server {url} is no URL")))?;
        if url.scheme_str() != Some("https") {
            return Err(Error::said(
                "--server must begin with https://: a token is sent to it",
            ));
        }
        let mut config = Config::new(url);
        config.default_retry = false;
        config.auth_info = bearer(&cluster.config.auth_info)?;
        config.tls_server_name.clone_from(&arguments.tls_server_name);
        config.root_cert = authority(cluster, arguments).await?;
        Ok(Self(Connection::client_of(&config)?))
    }

    /// # Errors
    /// It does not answer.
    pub async fn send(&self, path: &str) -> Result<Response<Body>, Error> {
        let request = Request::get(path)
            .body(kube::client::Body::empty())
            .map_err(|error| super::unanswered(&error))?;
        let answer = self
            .0
            .send(request)
            .await
            .map_err(|error| super::unanswered(&error))?;
        Ok(answer.map(Body::new))
    }
}

/// Who the caller is, by a token alone: a certificate of the cluster or a password is not for the HTTP API.
fn bearer(own: &AuthInfo) -> Result<AuthInfo, Error> {
    let is_somebody_else = own.impersonate.is_some()
        || own.impersonate_uid.is_some()
        || own.impersonate_groups.is_some()
        || own.impersonate_user_extra.is_some();
    if is_somebody_else {
        return Err(Error::said(
            "the kubeconfig impersonates somebody else, and to the HTTP API you are who has the token: leave --server out, or use a kubeconfig that does not",
        ));
    }
    let bearer = AuthInfo {
        token: own.token.clone(),
        token_file: own.token_file.clone(),
        exec: own.exec.clone(),
        auth_provider: own.auth_provider.clone(),
        ..AuthInfo::default()
    };
    let has_some = bearer.token.is_some()
        || bearer.token_file.is_some()
        || bearer.exec.is_some()
        || bearer.auth_provider.is_some();
    if !has_some {
        return Err(Error::said(
            "the kubeconfig has no bearer token, and the HTTP API takes nothing else: leave --server out, or use a token, as by kubectl create token",
        ));
    }
    Ok(bearer)
}

/// The certificates of the CA; `None`: those that the system trusts.
async fn authority(cluster: &Cluster, arguments: &LiveArguments) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let text = if let Some(file) = &arguments.certificate_authority {
        std::fs::read_to_string(file)
            .map_err(|error| Error::said(format!("{} cannot be read: {error}", file.display())))?
    } else {
        let operator = &arguments.operator;
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &operator.operator_namespace);
        // Who may not read it, or has no such ConfigMap, goes by the system.
        let Ok(map) = k8s::call(maps.get(&operator.authority())).await else {
            return Ok(None);
        };
        let Some(text) = api_ca::of(&map) else {
            return Ok(None);
        };
        text.to_owned()
    };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates: Vec<_> = read
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.to_vec())
        .collect();
    if certificates.is_empty() {
        return Err(Error::said("the CA of the HTTP API has no certificate in PEM"));
    }
    Ok(Some(certificates))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_or_a_password_is_not_for_the_http_api() {
        let own = AuthInfo {
            username: Some("admin".to_owned()),
            password: Some("pass".to_owned().into()),
            client_certificate: Some("admin.crt".to_owned()),
            client_key: Some("admin.key".to_owned()),
            ..AuthInfo::default()
        };
        assert!(bearer(&own).is_err());
        let as_other = AuthInfo {
            token: Some("t".to_owned().into()),
            impersonate: Some("viewer".to_owned()),
            ..AuthInfo::default()
        };
        assert!(bearer(&as_other).unwrap_err().text().contains("impersonates"));
        let with_token = AuthInfo {
            token_file: Some("/token".to_owned()),
            ..own
        };
        let sent = bearer(&with_token).unwrap();
        assert_eq!(sent.token_file.as_deref(), Some("/token"));
        assert!(sent.username.is_none() && sent.client_certificate.is_none() && sent.password.is_none());
    }
}
