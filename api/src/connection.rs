//! How to log in: database, credentials, TLS.

use distributary_core::login::TlsMode;
#[cfg(feature = "kube")]
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::duration::DurationText;
use super::rules;

/// How the operator logs in. Every field is optional; a field of the endpoint overrides the field of the policy.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The database to connect to, 1 to 63 characters. Default: postgres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 63)))]
    pub database: Option<String>,
    /// A Secret of this namespace with the keys username and password (type kubernetes.io/basic-auth). Default: the
    /// user distributary without a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// Time that clients should wait for a connection, 1s to 5m; published in routing.json and in the URIs. Default:
    /// 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("1s", "5m")).message(rules::CONNECT_TIMEOUT)))]
    pub connect_timeout: Option<DurationText>,
    /// TLS settings of the checks; published for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(
    validation = Rule::new("!has(self.caSecretRef) || !has(self.mode) || self.mode in ['VerifyCA', 'VerifyFull']").message(rules::CA_NEEDS_VERIFY).field_path(".caSecretRef"),
    validation = Rule::new("!has(self.clientCertSecretRef) || !has(self.mode) || self.mode != 'Disable'").message(rules::CLIENT_CERT_NEEDS_TLS).field_path(".clientCertSecretRef")
))]
pub struct Tls {
    /// Disable: no TLS. Require: TLS, no certificate verified. VerifyCA: the certificate must be signed by the CA.
    /// VerifyFull: it must also name the host. Default: VerifyFull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
    /// A Secret with the CA certificates (PEM) that sign the certificates of the servers; its key is ca.crt unless key
    /// is set. Default: the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<OptionalKeyRef>,
    /// A Secret of type kubernetes.io/tls (tls.crt, tls.key) with the client certificate to present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_secret_ref: Option<SecretRef>,
}

/// A Secret of the policy's namespace.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The name of the Secret.
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 253)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::DNS_1123_SUBDOMAIN)).message(rules::SECRET_NAME)))]
    pub name: String,
}

/// A key of a Secret of the policy's namespace.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// The name of the Secret.
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 253)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::DNS_1123_SUBDOMAIN)).message(rules::SECRET_NAME)))]
    pub name: String,
    /// The key in the Secret.
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 253)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form("^[-._a-zA-Z0-9]+$")).message(rules::SECRET_KEY)))]
    pub key: String,
}

/// A key of a Secret of the policy's namespace, with a default key.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct OptionalKeyRef {
    /// The name of the Secret.
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 253)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::DNS_1123_SUBDOMAIN)).message(rules::SECRET_NAME)))]
    pub name: String,
    /// The key in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 253)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form("^[-._a-zA-Z0-9]+$")).message(rules::SECRET_KEY)))]
    pub key: Option<String>,
}
