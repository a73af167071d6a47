//! The certificate of the API: from files, or made by the operator itself.

mod files;
mod kept;
mod made;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

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

#[cfg(test)]
mod tests;
