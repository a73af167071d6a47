//! What is wrong with certificates and keys, before any server is asked: of those that cannot be used why, and of the others
//! whether they have expired.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::{DateTime, Decode};

use crate::tls::{Encryption, TlsSettingsError};
use distributary_core::login::{
    CertificateCheck, CertificateProblem, ClientCertificate, TlsMode, TlsSettings,
};

const CERTIFICATES: &str = "must be a list of PEM certificates";
const CERTIFICATES_NOT_KEY: &str = "must be a list of PEM certificates, and is a private key";
const AUTHORITIES: &str = "must be a list of CA certificates";
const KEY: &str = "must be a PEM private key";
const KEY_NOT_CERTIFICATE: &str = "must be a PEM private key, and is a certificate";
const KEY_ENCRYPTED: &str = "must be a PEM private key without a passphrase";
const KEY_OF_CERTIFICATE: &str = "must be the key of the certificate under tls.crt";

/// Reads certificates as checks do.
#[derive(Debug)]
pub struct CertificateReader {
    /// The present time, since 1970.
    now: Duration,
    /// After this time the first of those that were read expires.
    left: Cell<Option<Duration>>,
    /// What was found of the lists of authorities, and of the certificates of clients. Many endpoints name the same, which may be long.
    authorities: RefCell<Vec<(String, Vec<CertificateProblem>)>>,
    clients: RefCell<Vec<(ClientCertificate, OfClient)>>,
}

/// What is wrong with a certificate, and with its key.
type OfClient = (Vec<CertificateProblem>, Vec<CertificateProblem>);

impl CertificateReader {
    /// Judges by this time, since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn at(now: Duration) -> Self {
        Self {
            now,
            left: Cell::new(None),
            authorities: RefCell::new(Vec::new()),
            clients: RefCell::new(Vec::new()),
        }
    }

    /// The time after which the first certificate expires of those that were read and are valid; `None`: there is none.
    #[must_use]
    pub const fn expires_in(&self) -> Option<Duration> {
        self.left.get()
    }

    /// The certificates of a chain that have expired.
    fn expired(&self, pem: &str) -> Vec<CertificateProblem> {
        ends(pem)
            .into_iter()
            .filter_map(|end| self.expired_at(end))
            .collect()
    }

    /// The last to expire of a list of which none is valid any more: lists are handed out with some that were replaced.
    fn all_expired(&self, pem: &str) -> Vec<CertificateProblem> {
        let last = ends(pem).into_iter().max();
        last.and_then(|end| self.expired_at(end)).into_iter().collect()
    }

    fn expired_at(&self, end: DateTime) -> Option<CertificateProblem> {
        match end.unix_duration().checked_sub(self.now) {
            Some(left) if !left.is_zero() => {
                let first = self.left.get().map_or(left, |first| first.min(left));
                self.left.set(Some(first));
                None
            }
            _ => Some(CertificateProblem::Expired(end.to_string())),
        }
    }
}

impl CertificateCheck for CertificateReader {
    fn of_authorities(&self, pem: &str) -> Vec<CertificateProblem> {
        let before = self.authorities.borrow();
        let known = before.iter().find(|(known, _)| known == pem);
        if let Some((_, found)) = known {
            return found.clone();
        }
        drop(before);
        let found = self.read_authorities(pem);
        let mut all = self.authorities.borrow_mut();
        all.push((pem.to_owned(), found.clone()));
        found
    }

    fn of_client(&self, client: &ClientCertificate) -> OfClient {
        let before = self.clients.borrow();
        let known = before.iter().find(|(known, _)| known == client);
        if let Some((_, found)) = known {
            return found.clone();
        }
        drop(before);
        let found = self.read_client(client);
        let mut all = self.clients.borrow_mut();
        all.push((client.clone(), found.clone()));
        found
    }
}

impl CertificateReader {
    fn read_authorities(&self, pem: &str) -> Vec<CertificateProblem> {
        let settings = TlsSettings {
            mode: TlsMode::VerifyCa,
            ca: Some(pem.into()),
            client: None,
        };
        match Encryption::new(&settings) {
            Err(TlsSettingsError::ReadCa) => vec![CertificateProblem::Must(no_certificates(pem))],
            Err(TlsSettingsError::UseCa(_)) => vec![CertificateProblem::Must(AUTHORITIES)],
            _ => self.all_expired(pem),
        }
    }

    fn read_client(&self, client: &ClientCertificate) -> OfClient {
        let settings = TlsSettings {
            mode: TlsMode::Require,
            ca: None,
            client: Some(client.clone()),
        };
        let key = || {
            let readable = PrivateKeyDer::from_pem_slice(client.key.reveal().as_bytes()).is_ok();
            let must = (!readable).then(|| CertificateProblem::Must(no_key(client.key.reveal())));
            must.into_iter().collect()
        };
        match Encryption::new(&settings) {
            Err(TlsSettingsError::ReadClientCertificate) => {
                let must = CertificateProblem::Must(no_certificates(&client.chain));
                (vec![must], key())
            }
            Err(TlsSettingsError::ReadClientKey) => (self.expired(&client.chain), key()),
            Err(TlsSettingsError::UseClientCertificate(_)) => (
                self.expired(&client.chain),
                vec![CertificateProblem::Must(KEY_OF_CERTIFICATE)],
            ),
            _ => (self.expired(&client.chain), Vec::new()),
        }
    }
}

/// When the certificates of a text end.
fn ends(pem: &str) -> Vec<DateTime> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
    let end = |der: CertificateDer<'_>| {
        let certificate = Certificate::from_der(&der).ok()?;
        Some(certificate.tbs_certificate.validity.not_after.to_date_time())
    };
    certificates.filter_map(end).collect()
}

fn no_certificates(pem: &str) -> &'static str {
    let holds_key = pem.contains("PRIVATE KEY-----") && !pem.contains("BEGIN CERTIFICATE-----");
    if holds_key {
        CERTIFICATES_NOT_KEY
    } else {
        CERTIFICATES
    }
}

fn no_key(pem: &str) -> &'static str {
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY-----") || pem.contains("Proc-Type: 4,ENCRYPTED") {
        KEY_ENCRYPTED
    } else if pem.contains("BEGIN CERTIFICATE-----") && !pem.contains("PRIVATE KEY-----") {
        KEY_NOT_CERTIFICATE
    } else {
        KEY
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::login::Sensitive;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-01-01T00:00:00Z.
    const NOW: Duration = Duration::from_secs(1_767_225_600);

    /// A certificate that ends at the beginning of this year, and its key.
    fn made(ends: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["pg-0.example.com".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(ends, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn told(problems: Vec<CertificateProblem>) -> Vec<String> {
        let one = |problem: CertificateProblem| problem.under("KEY").to_string();
        problems.into_iter().map(one).collect()
    }

    fn must(must: &str) -> Vec<String> {
        vec![format!("has a value under KEY that {must}")]
    }

    #[test]
    fn of_a_list_of_authorities_it_is_told_what_is_wrong() {
        let (certificate, key) = made(2030);
        let expired = made(2025).0;
        let both = format!("{certificate}{expired}");
        let broken = certificate.replace("MII", "MIX");
        let cases = [
            (certificate.as_str(), Vec::new()),
            (&key, must(CERTIFICATES_NOT_KEY)),
            ("not PEM", must(CERTIFICATES)),
            (&broken, must(AUTHORITIES)),
            (&both, Vec::new()),
            (
                &expired,
                vec!["has a certificate under KEY that expired at 2025-01-01T00:00:00Z".to_owned()],
            ),
        ];
        for (pem, expected) in cases {
            assert_eq!(told(CertificateReader::at(NOW).of_authorities(pem)), expected);
        }
    }

    #[test]
    fn of_a_client_certificate_and_its_key_both_are_told() {
        let ((certificate, key), (expired, its_key)) = (made(2030), made(2025));
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let past = vec!["has a certificate under KEY that expired at 2025-01-01T00:00:00Z".to_owned()];
        let cases = [
            (&certificate, &key, Vec::new(), Vec::new()),
            (&certificate, &its_key, Vec::new(), must(KEY_OF_CERTIFICATE)),
            (&certificate, &certificate, Vec::new(), must(KEY_NOT_CERTIFICATE)),
            (&certificate, &encrypted, Vec::new(), must(KEY_ENCRYPTED)),
            (
                &key,
                &certificate,
                must(CERTIFICATES_NOT_KEY),
                must(KEY_NOT_CERTIFICATE),
            ),
            (&expired, &its_key, past, Vec::new()),
        ];
        for (chain, key, of_chain, of_key) in cases {
            let client = ClientCertificate {
                chain: chain.as_str().into(),
                key: Sensitive::new(key),
            };
            let found = CertificateReader::at(NOW).of_client(&client);
            assert_eq!((told(found.0), told(found.1)), (of_chain, of_key));
        }
    }

    #[test]
    fn what_many_endpoints_name_is_read_once() {
        let reader = CertificateReader::at(NOW);
        let ((certificate, key), (other, _)) = (made(2025), made(2025));
        let client = ClientCertificate {
            chain: certificate.as_str().into(),
            key: Sensitive::new(&key),
        };
        let (authorities, of_client) = (reader.of_authorities(&certificate), reader.of_client(&client));
        assert!(!authorities.is_empty() && !of_client.0.is_empty());
        for _ in 0..64 {
            assert_eq!(reader.of_authorities(&certificate), authorities);
            assert_eq!(reader.of_client(&client), of_client);
        }
        reader.of_authorities(&other);
        assert_eq!(
            (reader.authorities.borrow().len(), reader.clients.borrow().len()),
            (2, 1)
        );
    }

    #[test]
    fn the_next_certificate_to_expire_is_known() {
        let reader = CertificateReader::at(NOW);
        assert_eq!(reader.expires_in(), None);
        for (ends, days) in [(2030, 1461), (2027, 365), (2025, 365)] {
            reader.of_authorities(&made(ends).0);
            assert_eq!(reader.expires_in(), Some(Duration::from_secs(days * 86_400)));
        }
    }
}
