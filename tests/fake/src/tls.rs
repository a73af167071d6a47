//! The server's side of TLS.

use std::io;
use std::sync::Arc;

use anyhow::Result;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What a server presents, and what it demands.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// The certificate that every client is shown, also a certificate whose key is another's.
#[derive(Debug)]
struct FixedCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for FixedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl Tls {
    /// From PEM: a chain of certificates and a key, which need not belong together; where `clients` is an authority,
    /// clients must have a certificate of it.
    ///
    /// # Errors
    /// When a text is not PEM, or a key or certificate is none.
    pub fn new(chain: &str, key: &str, clients: Option<&str>) -> Result<Self> {
        Self::with(chain, key, clients, rustls::DEFAULT_VERSIONS)
    }

    /// The same for clients without a certificate, in these versions of TLS alone.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_versions(
        chain: &str,
        key: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Self> {
        Self::with(chain, key, None, versions)
    }

    fn with(
        chain: &str,
        key: &str,
        clients: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Self> {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let chain: Result<_, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let key = provider().key_provider.load_private_key(key)?;
        let certificate = FixedCertificate(Arc::new(CertifiedKey::new(chain?, key)));
        let mut config = builder.with_cert_resolver(Arc::new(certificate));
        // PostgreSQL gives none either.
        config.send_tls13_tickets = 0;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake. Its future lives in an allocation of its own, which ends with it.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Box<TlsStream<TcpStream>>> {
        Box::pin(self.0.accept(stream)).await.map(Box::new)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
