//! How a check encrypts, and what it demands of the server's certificate.
//!
//! | mode | encrypted | signed by a known CA | names the host |
//! |---|---|---|---|
//! | `Require` | yes | | |
//! | `VerifyCA` | yes | yes | |
//! | `VerifyFull` | yes | yes | yes |
//!
//! In every mode the server proves that it holds the key of its certificate, without which channel binding would bind
//! nothing. The name is looked for in the certificate's subject alternative names alone, never in its common name; an
//! address declared as host in its IP names. X.509 version 1 certificates are refused.

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use distributary_core::login::{ClientCertificate, TlsMode, TlsSettings};
use distributary_core::observation::FailureKind;
use distributary_core::server::Host;

/// Why a login's TLS settings cannot be used. What cannot be read is not shown: the parser's errors quote it.
#[derive(Debug, thiserror::Error)]
pub enum TlsSettingsError {
    #[error("the CA is not a list of PEM certificates")]
    ReadCa,
    #[error("the CA has no certificate that can sign others")]
    UseCa(#[source] Option<Error>),
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
        let Some(verifier) = verifier(settings, &provider)? else {
            return Ok(None);
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsSettingsError::NoVersion)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
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

fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, TlsSettingsError> {
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ServerCertVerifier> = match settings.mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::Require => Arc::new(AnyName {
            roots: None,
            algorithms,
        }),
        TlsMode::VerifyCa => Arc::new(AnyName {
            roots: Some(roots(settings)?),
            algorithms,
        }),
        TlsMode::VerifyFull => {
            WebPkiServerVerifier::builder_with_provider(roots(settings)?, Arc::clone(provider))
                .build()
                .map_err(|_| TlsSettingsError::UseCa(None))?
        }
    };
    Ok(Some(Arc::new(ByIssuer(verifier))))
}

fn roots(settings: &TlsSettings) -> Result<Arc<RootCertStore>, TlsSettingsError> {
    let Some(ca) = &settings.ca else {
        return system_roots();
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|_| TlsSettingsError::ReadCa)?;
        roots
            .add(certificate)
            .map_err(|error| TlsSettingsError::UseCa(Some(error)))?;
    }
    if roots.is_empty() {
        Err(TlsSettingsError::ReadCa)
    } else {
        Ok(Arc::new(roots))
    }
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

/// Tells a certificate whose CA has the name of a known one, but another key, from a handshake that is wrong: such a CA was
/// made anew, and is not known.
#[derive(Debug)]
struct ByIssuer(Arc<dyn ServerCertVerifier>);

impl ServerCertVerifier for ByIssuer {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .0
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                Error::InvalidCertificate(CertificateError::UnknownIssuer)
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts a certificate for any host: one signed by `roots`, or any at all. The server must hold its key.
#[derive(Debug)]
struct AnyName {
    roots: Option<Arc<RootCertStore>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
