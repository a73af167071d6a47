//! The options of the HTTP API.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::http_api::certificate::{CertificateFiles, KeptCertificate};
use crate::process::{ApiSettings, CertificateSource};

/// Whether, where and with which certificate the API is served.
#[derive(Debug, clap::Args)]
pub struct ApiArguments {
    /// Address to listen on for the HTTP API, with HTTPS, such as [::]:8443. Default: none, and there is no API.
    #[arg(long, env = "DISTRIBUTARY_API_ADDRESS", value_name = "ADDRESS")]
    api_address: Option<SocketAddr>,
    /// Directory with the certificate of the API, as a Secret of type kubernetes.io/tls is mounted: tls.crt with its chain, and
    /// tls.key. Files that change are read again.
    #[arg(
        long,
        env = "DISTRIBUTARY_API_TLS_DIRECTORY",
        value_name = "DIRECTORY",
        conflicts_with = "api_secret"
    )]
    api_tls_directory: Option<PathBuf>,
    /// Name of a Secret, and of a ConfigMap for its CA, in the namespace POD_NAMESPACE: the operator keeps a certificate there that
    /// it makes itself, for the Service of this name. Both must exist, and may be empty.
    #[arg(long, env = "DISTRIBUTARY_API_SECRET", value_name = "NAME")]
    api_secret: Option<String>,
    /// Who may get /metrics. Open: whoever reaches --http-address. Authorized: it is on the port of the API alone, for tokens that
    /// may get the nonResourceURL /metrics.
    #[arg(long, env = "DISTRIBUTARY_METRICS", value_enum, default_value = "Open")]
    metrics: MetricsAccess,
}

/// Who may get /metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum MetricsAccess {
    Open,
    Authorized,
}

/// Why the options do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--api-address requires --api-tls-directory or --api-secret")]
    Certificate,
    #[error("--api-secret requires POD_NAMESPACE in the environment")]
    Namespace,
    #[error("--metrics=Authorized requires --api-address")]
    Address,
}

impl ApiArguments {
    /// What is served; `None`: there is no API. `domain`: of the cluster.
    ///
    /// # Errors
    /// Which options do not fit together.
    pub fn settings(self, domain: &str) -> Result<Option<ApiSettings>, Error> {
        let namespace = std::env::var("POD_NAMESPACE").ok();
        self.settings_in(namespace.filter(|value| !value.is_empty()), domain)
    }

    fn settings_in(self, namespace: Option<String>, domain: &str) -> Result<Option<ApiSettings>, Error> {
        let Some(address) = self.api_address else {
            return match self.metrics {
                MetricsAccess::Open => Ok(None),
                MetricsAccess::Authorized => Err(Error::Address),
            };
        };
        let certificate = match (self.api_tls_directory, self.api_secret) {
            (Some(directory), _) => CertificateSource::Files(CertificateFiles::in_directory(&directory)),
            (None, Some(name)) => {
                let namespace = namespace.ok_or(Error::Namespace)?;
                CertificateSource::Kept(KeptCertificate {
                    hosts: hosts(&name, &namespace, domain),
                    namespace,
                    name,
                })
            }
            (None, None) => return Err(Error::Certificate),
        };
        Ok(Some(ApiSettings {
            address,
            certificate,
            has_metrics: self.metrics == MetricsAccess::Authorized,
        }))
    }
}

/// The names of a Service.
fn hosts(name: &str, namespace: &str, domain: &str) -> Vec<String> {
    let service = format!("{name}.{namespace}.svc");
    let domain = domain.trim_end_matches('.');
    vec![
        format!("{service}.{domain}"),
        service,
        format!("{name}.{namespace}"),
        name.to_owned(),
        // By a port-forward.
        "localhost".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        api: ApiArguments,
    }

    fn told(line: &str, namespace: Option<&str>) -> Result<Option<ApiSettings>, String> {
        let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        let settings = line
            .api
            .settings_in(namespace.map(ToOwned::to_owned), "cluster.local");
        settings.map_err(|error| error.to_string())
    }

    #[test]
    fn there_is_an_api_only_with_an_address_and_a_certificate() {
        assert!(told("run", None).unwrap().is_none());
        let files = told("run --api-address [::]:8443 --api-tls-directory /tls", None)
            .unwrap()
            .unwrap();
        assert!(matches!(files.certificate, CertificateSource::Files(_)) && !files.has_metrics);
        let kept = told(
            "run --api-address [::]:8443 --api-secret api --metrics Authorized",
            Some("ops"),
        );
        let kept = kept.unwrap().unwrap();
        let CertificateSource::Kept(secret) = kept.certificate else {
            panic!("it is kept");
        };
        assert_eq!(
            secret.hosts,
            [
                "api.ops.svc.cluster.local",
                "api.ops.svc",
                "api.ops",
                "api",
                "localhost"
            ]
        );
        assert!(kept.has_metrics);
        for (line, namespace) in [
            ("run --api-address [::]:8443", Some("ops")),
            ("run --api-address [::]:8443 --api-secret api", None),
            (
                "run --api-address [::]:8443 --api-secret api --api-tls-directory /tls",
                Some("ops"),
            ),
            ("run --metrics Authorized", Some("ops")),
        ] {
            assert!(told(line, namespace).is_err(), "{line}");
        }
    }
}
