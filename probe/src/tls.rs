//! How a check encrypts, and what it demands of the server's certificate.
//!
//! | mode | encrypted | signed by a known CA | names the host |
//! |---|---|---|---|
//! | `Require` | yes | | |
//! | `VerifyCA` | yes | yes | |
//! | `VerifyFull` | yes | yes | yes |
//!
//! A certificate that is itself in the list of CAs counts as signed by one. In every mode the server proves that it holds the
//! key of its certificate, without which channel binding would bind nothing. The name is looked for in the certificate's
//! subject alternative names alone, never in its common name; an address declared as host in its IP names. Of an X.509
//! version 1 certificate, which has no such names and cannot be told from that of a CA, a chain is not verified.

mod demands;

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Error, RootCertStore};
use tokio::net::TcpStream;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use demands::{Demands, Trusted};
use distributary_core::login::{ClientCertificate, TlsMode, TlsSettings};
use distributary_core::observation::FailureKind;
use distributary_core::server::Host;

/// Why a login's TLS settings cannot be used. What cannot be read is not shown: the parser's errors quote it.
#[derive(Debug, thiserror::Error)]
pub enum TlsSettingsError {
    #[error("the CA is not a list of PEM certificates")]
    ReadCa,
    #[error("the CA has no certificate that can sign others")]
    UseCa(#[source] Error),
    #[error("the client certificate is not a list of PEM certificates")]
    ReadClientCertificate,
    #[error("the client key is not a PEM private key")]
    ReadClientKey,
    #[error("the client certificate and its key do not belong together")]
    UseClientCertificate(#[source] Error),
    #[error("the system has no CA certificates")]
    NoSystemRoots,
    #[error("no TLS version can be used")]
    NoVersion(#[source] Error),
}

impl TlsSettingsError {
    /// A wrong text comes from a Secret; anything else is this process's own.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::NoSystemRoots | Self::NoVersion(_) => FailureKind::TlsFailed,
            Self::ReadCa
            | Self::UseCa(_)
            | Self::ReadClientCertificate
            | Self::ReadClientKey
            | Self::UseClientCertificate(_) => FailureKind::SecretUnresolved,
        }
    }
}

/// Makes the TLS sessions of one login.
#[derive(Clone)]
pub struct Encryption(MakeRustlsConnect);

impl Encryption {
    /// Reads the certificates. `None`: the login is not encrypted.
    ///
    /// # Errors
    /// A CA, client certificate or key that cannot be used, or no system roots where they are asked for.
    pub fn new(settings: &TlsSettings) -> Result<Option<Self>, TlsSettingsError> {
        let provider = Arc::new(ring::default_provider());
        let Some(demands) = demands(settings, &provider)? else {
            return Ok(None);
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsSettingsError::NoVersion)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(demands));
        let mut config = match &settings.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let (chain, key) = client_certificate(client)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(TlsSettingsError::UseClientCertificate)?
            }
        };
        // PostgreSQL resumes no sessions.
        config.resumption = Resumption::disabled();
        Ok(Some(Self(MakeRustlsConnect::new(config))))
    }

    /// Makes a session with `host`, which is the name to verify, as declared.
    ///
    /// # Errors
    /// What kept it from being made, with the reason among its sources.
    pub async fn handshake(&mut self, host: &Host, stream: TcpStream) -> io::Result<EncryptedStream> {
        let name = match host {
            Host::Name(name) => name.trim_end_matches('.').to_owned(),
            Host::Address(address) => address.to_string(),
        };
        let session = match MakeTlsConnect::<TcpStream>::make_tls_connect(&mut self.0, &name) {
            Ok(session) => session,
            Err(impossible) => match impossible {},
        };
        session.connect(stream).await
    }
}

/// A connection, decrypted.
pub type EncryptedStream =
    <<MakeRustlsConnect as MakeTlsConnect<TcpStream>>::TlsConnect as TlsConnect<TcpStream>>::Stream;

fn demands(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Option<Demands>, TlsSettingsError> {
    let named = match settings.mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::Require => None,
        TlsMode::VerifyCa => Some(false),
        TlsMode::VerifyFull => Some(true),
    };
    let trusted = named.map(|named| {
        Ok(Trusted {
            named,
            ..trusted(settings)?
        })
    });
    Ok(Some(Demands {
        trusted: trusted.transpose()?,
        algorithms: provider.signature_verification_algorithms,
    }))
}

/// The certificates that are trusted, without a name.
fn trusted(settings: &TlsSettings) -> Result<Trusted, TlsSettingsError> {
    let (mut roots, mut known) = (RootCertStore::empty(), Vec::new());
    let Some(ca) = &settings.ca else {
        return Ok(Trusted {
            roots: system_roots()?,
            known,
            named: false,
        });
    };
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|_| TlsSettingsError::ReadCa)?;
        known.push(certificate.clone());
        roots.add(certificate).map_err(TlsSettingsError::UseCa)?;
    }
    if roots.is_empty() {
        return Err(TlsSettingsError::ReadCa);
    }
    Ok(Trusted {
        roots: Arc::new(roots),
        known,
        named: false,
    })
}

/// The system's CA certificates, read once.
fn system_roots() -> Result<Arc<RootCertStore>, TlsSettingsError> {
    static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if ROOTS.is_empty() {
        Err(TlsSettingsError::NoSystemRoots)
    } else {
        Ok(Arc::clone(&ROOTS))
    }
}

fn client_certificate(
    client: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsSettingsError> {
    let chain = CertificateDer::pem_slice_iter(client.chain.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| TlsSettingsError::ReadClientCertificate)?;
    if chain.is_empty() {
        return Err(TlsSettingsError::ReadClientCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(client.key.reveal().as_bytes())
        .map_err(|_| TlsSettingsError::ReadClientKey)?;
    Ok((chain, key))
}

#[cfg(test)]
mod tests;
