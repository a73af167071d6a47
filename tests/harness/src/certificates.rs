//! A certificate authority of the tests.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// A private key (PKCS #8) and its certificate, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate alone, without its issuer.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` into `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
        let files = (
            directory.join(format!("{name}.crt")),
            directory.join(format!("{name}.key")),
        );
        fs::write(&files.0, &self.certificate)?;
        fs::write(&files.1, &self.key)?;
        Ok(files)
    }
}

/// An authority with a self-signed certificate; what it signs is valid at any time, unless told otherwise.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Makes one with a key of its own.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server with these DNS names and addresses.
    ///
    /// # Errors
    /// When a name is not ASCII.
    pub fn server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Identity> {
        self.sign(&server(names, addresses)?)
    }

    /// The certificate of a server that signed it itself, as `openssl req -x509` makes it: that of a CA, too.
    ///
    /// # Errors
    /// When a name is not ASCII.
    pub fn self_signed(names: &[&str], addresses: &[IpAddr]) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params = server(names, addresses)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![];
        params.extended_key_usages = vec![];
        Ok(Identity {
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// As [`server`](Self::server), but it expired in 2001.
    ///
    /// # Errors
    /// When a name is not ASCII.
    pub fn expired_server(&self, names: &[&str], addresses: &[IpAddr]) -> Result<Identity> {
        let mut params = server(names, addresses)?;
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(&params)
    }

    /// A certificate for a client; Kubernetes reads the user from `name` and the groups from `organizations`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn client(&self, name: &str, organizations: &[&str]) -> Result<Identity> {
        self.sign(&params(
            subject(name, organizations),
            ExtendedKeyUsagePurpose::ClientAuth,
        ))
    }

    fn sign(&self, params: &CertificateParams) -> Result<Identity> {
        let key = KeyPair::generate()?;
        Ok(Identity {
            certificate: params.signed_by(&key, &self.0)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn server(names: &[&str], addresses: &[IpAddr]) -> Result<CertificateParams> {
    let names = names.iter().map(|name| Ok(SanType::DnsName((*name).try_into()?)));
    let addresses = addresses.iter().map(|address| Ok(SanType::IpAddress(*address)));
    let mut params = params(subject("server", &[]), ExtendedKeyUsagePurpose::ServerAuth);
    params.subject_alt_names = names.chain(addresses).collect::<Result<_>>()?;
    Ok(params)
}

fn params(subject: DistinguishedName, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

fn subject(name: &str, organizations: &[&str]) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    for organization in organizations {
        subject.push(DnType::OrganizationName, *organization);
    }
    subject.push(DnType::CommonName, name);
    subject
}
