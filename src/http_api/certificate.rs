//! The certificate of the API: from files, or made by the operator itself.

mod files;
mod kept;
mod made;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{RootCertStore, ServerConfig};

pub use files::{CertificateFiles, follow_files};
pub use kept::{KeptCertificate, keep};

/// What TLS is served with; `None`: there is none yet.
pub type Newest = tokio::sync::watch::Sender<Option<Arc<ServerConfig>>>;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}")]
    Read {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error("the certificate is no PEM, or there is none")]
    Certificate,
    #[error("the key is no PEM private key")]
    Key,
    #[error("the certificate and the key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// TLS 1.2 or 1.3 with this certificate, its chain and its key, in PEM; no certificate of clients is asked for.
///
/// # Errors
/// What is wrong with them.
pub fn configuration(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, Error> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or(Error::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::Key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut made = made.map_err(Error::Unusable)?;
    made.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(made))
}

/// Whether a client that trusts these authorities, in PEM, accepts the certificate under each of these names at this time.
#[must_use]
pub fn is_accepted(chain: &[u8], authorities: &[u8], hosts: &[String], now: Timestamp) -> bool {
    let verified = || {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(authorities) {
            roots.add(root.ok()?).ok()?;
        }
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .ok()?;
        let (own, others) = chain.split_first()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let verifier = verifier.ok()?;
        let now = UnixTime::since_unix_epoch(now.as_duration().try_into().ok()?);
        let accepts = |host: &String| {
            let host = ServerName::try_from(host.as_str()).ok()?;
            verifier.verify_server_cert(own, others, &host, &[], now).ok()
        };
        Some(hosts.iter().all(|host| accepts(host).is_some()))
    };
    verified().unwrap_or(false)
}

#[cfg(test)]
mod tests;
