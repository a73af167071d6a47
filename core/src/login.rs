//! What a check logs in with, and why a Secret gives none.

use std::fmt;
use std::sync::Arc;

use crate::hosts::HostList;
use crate::ids::EndpointId;
use crate::words::words;

/// Text that must not be shown: a password, a private key. Its `Debug` says nothing of it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Sensitive(Arc<str>);

impl Sensitive {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who sends it to a server.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a check presents to the server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Login {
    pub user: String,
    pub password: Option<Sensitive>,
    pub database: String,
    pub tls: TlsSettings,
    /// The hosts that user and password are for; `None`: any.
    pub hosts: Option<HostList>,
}

impl Login {
    /// User and password without the line ends that a file or an editor put behind them; `None`: there are none.
    #[must_use]
    pub fn without_line_ends(&self) -> Option<(&str, Option<Sensitive>)> {
        let password = self.password.as_ref().map(Sensitive::reveal);
        let (user, shorter) = (without_line_end(&self.user), password.map(without_line_end));
        (user != self.user || shorter != password).then(|| (user, shorter.map(Sensitive::new)))
    }
}

fn without_line_end(text: &str) -> &str {
    let line = text.strip_suffix('\n');
    line.map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TlsSettings {
    pub mode: TlsMode,
    /// CA certificates, PEM; `None`: the system's roots. Such a list may be long, and all logins of a policy share it.
    pub ca: Option<Arc<str>>,
    pub client: Option<ClientCertificate>,
}

/// From the least to the most.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(const_into_str)]
pub enum TlsMode {
    Disable,
    Require,
    #[strum(serialize = "VerifyCA")]
    VerifyCa,
    #[default]
    VerifyFull,
}

/// A client certificate and its key, PEM.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientCertificate {
    pub chain: Arc<str>,
    pub key: Sensitive,
}

/// What is wrong with a reference to a Secret.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnresolvedSecret {
    pub secret: String,
    pub problem: SecretProblem,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
pub enum SecretProblem {
    #[error("does not exist")]
    NotFound,
    #[error("may not be read by the operator")]
    Forbidden,
    #[error("could not be read")]
    Unavailable,
    #[error(
        "is not kept, as the Secrets that the policies of its namespace name hold more than {0} MiB together"
    )]
    TooLarge(usize),
    #[error("has no key {0}")]
    KeyMissing(String),
    /// `has`: keys of the Secret under which others keep the same.
    #[error("has no key {key}, but has {has}")]
    KeyNamedOtherwise { key: String, has: String },
    #[error("has a value under {key} that {must}")]
    Malformed { key: String, must: &'static str },
    /// A login by it is tried all the same: the server decides.
    #[error("has a certificate under {key} that expired at {at}")]
    Expired { key: String, at: String },
    #[error("has an annotation {name} that {must}")]
    Annotation { name: &'static str, must: &'static str },
    /// `second`, which is declared later, is passed over.
    #[error("makes endpoints {first} and {second} name one server: {second} is not used")]
    SameServer { first: EndpointId, second: EndpointId },
}

impl SecretProblem {
    /// Whether it stays until a person does something.
    #[must_use]
    pub const fn needs_person(&self) -> bool {
        match self {
            Self::NotFound
            | Self::Forbidden
            | Self::KeyMissing(_)
            | Self::KeyNamedOtherwise { .. }
            | Self::Malformed { .. }
            | Self::Expired { .. }
            | Self::Annotation { .. }
            | Self::TooLarge(_) => true,
            Self::Unavailable | Self::SameServer { .. } => false,
        }
    }
}

/// What reads certificates and keys.
pub trait CertificateCheck {
    /// What is wrong with a list of CA certificates, PEM.
    fn of_authorities(&self, pem: &str) -> Vec<CertificateProblem>;

    /// What is wrong with a certificate, and with its key.
    fn of_client(&self, client: &ClientCertificate) -> (Vec<CertificateProblem>, Vec<CertificateProblem>);
}

/// What is wrong with a certificate or a key; never a part of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateProblem {
    /// What it must be, and is not.
    Must(&'static str),
    /// When it expired, of UTC.
    Expired(String),
}

impl CertificateProblem {
    /// As a problem of the value under a key.
    #[must_use]
    pub fn under(self, key: &str) -> SecretProblem {
        let key = key.to_owned();
        match self {
            Self::Must(must) => SecretProblem::Malformed { key, must },
            Self::Expired(at) => SecretProblem::Expired { key, at },
        }
    }
}

impl fmt::Display for UnresolvedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {} {}", self.secret, self.problem)
    }
}

words!(TlsMode);

#[cfg(test)]
mod tests;
