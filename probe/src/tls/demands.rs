//! The verification of a server's certificate.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::{self, Decode, Encode, Header, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// What a server must show.
#[derive(Debug)]
pub struct Demands {
    /// `None`: any certificate at all.
    pub trusted: Option<Trusted>,
    pub algorithms: WebPkiSupportedAlgorithms,
}

/// The certificates that are trusted, and for what.
#[derive(Debug)]
pub struct Trusted {
    /// Who may sign.
    pub roots: Arc<RootCertStore>,
    /// Those that were given: a server may show one of them as its own, as one that it signed itself.
    pub known: Vec<CertificateDer<'static>>,
    /// A certificate is for the host that it names.
    pub named: bool,
}

impl ServerCertVerifier for Demands {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        if trusted.known.contains(certificate) {
            in_time(certificate, now)?;
        } else {
            self.signed(trusted, certificate, intermediates, now)?;
        }
        if trusted.named {
            verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    /// By the key alone: what else is in a certificate does not matter here.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate)?;
        // Without the tag and the length, as the algorithms have it.
        let mut algorithm = Vec::new();
        let encoded = (key.algorithm.oid.encode_to_vec(&mut algorithm))
            .and_then(|_| key.algorithm.parameters.encode_to_vec(&mut algorithm));
        encoded.map_err(|_| CertificateError::BadEncoding)?;
        let known = self.algorithms.mapping.iter();
        let algorithms = known.filter(|(scheme, _)| *scheme == signature.scheme);
        let mut fitting = algorithms
            .flat_map(|(_, algorithms)| algorithms.iter())
            .filter(|known| known.public_key_alg_id().as_ref() == algorithm);
        let valid = fitting.any(|known| {
            let key = key.subject_public_key.raw_bytes();
            known
                .verify_signature(key, message, signature.signature())
                .is_ok()
        });
        if valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate)?;
        let key = key.to_der().map_err(|_| CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(key);
        let verified = verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms);
        verified.map_err(|error| match error {
            // Also where the signature is one that the key cannot make.
            Error::InvalidCertificate(_) => CertificateError::BadSignature.into(),
            error => error,
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Demands {
    fn signed(
        &self,
        trusted: &Trusted,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        let all = self.algorithms.all;
        let signed =
            verify_server_cert_signed_by_trust_anchor(&certificate, &trusted.roots, intermediates, now, all);
        signed.map_err(|error| match error {
            // A CA that has the name of a known one, but another key: it was made anew, and is not known.
            Error::InvalidCertificate(CertificateError::BadSignature) => {
                CertificateError::UnknownIssuer.into()
            }
            error => error,
        })
    }
}

fn in_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = parsed(certificate)?.tbs_certificate.validity;
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.not_after.to_unix_duration().as_secs() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}

/// The key of a certificate, of which nothing else is read: where nothing is demanded of it, nothing else has to be as it should.
fn public_key(certificate: &[u8]) -> Result<SubjectPublicKeyInfoOwned, Error> {
    /// The tag of the version, which version 1 leaves out.
    const VERSION: u8 = 0xa0;
    let read = || -> Result<SubjectPublicKeyInfoOwned, der::Error> {
        let mut reader = SliceReader::new(certificate)?;
        // Of the whole, and of the part that is signed.
        Header::decode(&mut reader)?;
        Header::decode(&mut reader)?;
        if reader.peek_byte() == Some(VERSION) {
            reader.tlv_bytes()?;
        }
        // Serial number, algorithm, issuer, validity, subject.
        for _ in 0..5 {
            reader.tlv_bytes()?;
        }
        SubjectPublicKeyInfoOwned::from_der(reader.tlv_bytes()?)
    };
    read().map_err(|_| CertificateError::BadEncoding.into())
}

fn parsed(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding.into())
}
