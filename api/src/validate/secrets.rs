//! The Secrets that a policy names, as they were read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{self as api, ReplicaSetPolicySpec};
use distributary_core::hosts::HostList;
use distributary_core::login::{CertificateCheck, SecretProblem, Sensitive, UnresolvedSecret};
use distributary_core::server::Location;

/// The annotation of a Secret that says which hosts its credentials are for.
pub const HOSTS: &str = "distributary.dev/hosts";

/// Keys and values of one Secret, and under [`HOSTS`], which no key can be called, the annotation. No `Debug`: the values are not
/// to be shown.
#[derive(Clone, Eq, PartialEq)]
pub struct SecretKeys(pub BTreeMap<String, Vec<u8>>);

impl SecretKeys {
    /// What a Secret has under its keys, and in the annotation among its others.
    #[must_use]
    pub fn annotated(
        mut keys: BTreeMap<String, Vec<u8>>,
        annotations: Option<&BTreeMap<String, String>>,
    ) -> Self {
        if let Some(hosts) = annotations.and_then(|all| all.get(HOSTS)) {
            keys.insert(HOSTS.to_owned(), hosts.clone().into_bytes());
        }
        Self(keys)
    }
}

/// Each Secret by its name, or why it cannot be had.
pub type Secrets = BTreeMap<String, Result<SecretKeys, SecretProblem>>;

/// What a login is made of beside the Secrets.
#[derive(Clone, Copy, Default)]
pub struct LoginSources<'a> {
    /// Where passwords are that no Secret has.
    pub passwords: Option<&'a dyn PasswordSource>,
    /// What reads certificates; `None`: they are taken as they are.
    pub certificates: Option<&'a dyn CertificateCheck>,
}

/// Where passwords are that no Secret has.
pub trait PasswordSource {
    /// Whether a login by this Secret needs its key password.
    fn needs_password(&self, secret: &str) -> bool;

    /// The password of a user for a database; `None`: there is none. `location`: the server, where it is known.
    fn password(&self, location: Option<&Location>, database: &str, user: &str) -> Option<Sensitive>;
}

/// The names of the Secrets that a policy refers to, all in its own namespace.
#[must_use]
pub fn references(spec: &ReplicaSetPolicySpec) -> BTreeSet<String> {
    let endpoints = || std::iter::once(&spec.primary).chain(&spec.replicas);
    let urls = endpoints().filter_map(|endpoint| Some(endpoint.url_secret_ref.as_ref()?.name.clone()));
    let connections = spec
        .connection
        .iter()
        .chain(endpoints().filter_map(|endpoint| endpoint.connection.as_ref()));
    urls.chain(connections.flat_map(of_connection)).collect()
}

fn of_connection(connection: &api::Connection) -> impl Iterator<Item = String> {
    let tls = connection.tls.clone().unwrap_or_default();
    let credentials = connection
        .credentials_secret_ref
        .clone()
        .map(|reference| reference.name);
    let ca = tls.ca_secret_ref.map(|reference| reference.name);
    let client = tls.client_cert_secret_ref.map(|reference| reference.name);
    [credentials, ca, client].into_iter().flatten()
}

/// The hosts that the credentials of the Secret `name` are for. A list that cannot be read is an error: nothing is for any host
/// by mistake.
pub fn hosts(secrets: &Secrets, name: &str) -> Result<Option<HostList>, UnresolvedSecret> {
    let annotated = secrets
        .get(name)
        .and_then(|keys| keys.as_ref().ok()?.0.get(HOSTS));
    let Some(text) = annotated else { return Ok(None) };
    let list = std::str::from_utf8(text).ok().and_then(HostList::parse);
    list.map(Some).ok_or_else(|| UnresolvedSecret {
        secret: name.to_owned(),
        problem: SecretProblem::Annotation {
            name: HOSTS,
            must: HostList::MUST,
        },
    })
}

/// Names under which others keep what a policy names by a key. Only these are told of a Secret: who reads a status need not know
/// what else it holds.
const USUAL_KEYS: [&str; 19] = [
    "DATABASE_URL",
    "PGPASSWORD",
    "PGUSER",
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
    "ca-bundle.crt",
    "ca.crt",
    "ca.pem",
    "cert.pem",
    "client.crt",
    "client.key",
    "jdbc-uri",
    "key.pem",
    "pass",
    "postgres-password",
    "root.crt",
    "uri",
    "url",
    "user",
];

/// That a key is missing, with the usual ones that are there.
fn missing(keys: &SecretKeys, key: &str) -> SecretProblem {
    let has = USUAL_KEYS.iter().filter(|usual| keys.0.contains_key(**usual));
    let has: Vec<_> = has.copied().collect();
    if has.is_empty() {
        return SecretProblem::KeyMissing(key.to_owned());
    }
    SecretProblem::KeyNamedOtherwise {
        key: key.to_owned(),
        has: has.join(", "),
    }
}

/// The text under `key` of the Secret `name`.
pub fn secret_text(secrets: &Secrets, name: &str, key: &str) -> Result<String, UnresolvedSecret> {
    let unresolved = |problem| UnresolvedSecret {
        secret: name.to_owned(),
        problem,
    };
    let malformed = |must| {
        unresolved(SecretProblem::Malformed {
            key: key.to_owned(),
            must,
        })
    };
    let keys = match secrets.get(name) {
        Some(Ok(keys)) => keys,
        Some(Err(problem)) => return Err(unresolved(problem.clone())),
        None => return Err(unresolved(SecretProblem::Unavailable)),
    };
    let value = keys.0.get(key).ok_or_else(|| unresolved(missing(keys, key)))?;
    let text = std::str::from_utf8(value).map_err(|_| malformed("must be UTF-8 text"))?;
    if text.is_empty() || text.contains('\0') {
        return Err(malformed("must not be empty, nor hold a zero byte"));
    }
    Ok(text.to_owned())
}

/// Of a URL, a user or a password, in bytes. No server takes longer ones, each endpoint keeps its own, and a password is gone through at
/// each login.
pub const CREDENTIAL_BYTES: usize = 8192;
pub const TOO_LONG: &str = "must have at most 8192 bytes";

/// The same, of a user or a password.
pub fn credential(secrets: &Secrets, name: &str, key: &str) -> Result<String, UnresolvedSecret> {
    let text = secret_text(secrets, name, key)?;
    if text.len() <= CREDENTIAL_BYTES {
        return Ok(text);
    }
    Err(UnresolvedSecret {
        secret: name.to_owned(),
        problem: SecretProblem::Malformed {
            key: key.to_owned(),
            must: TOO_LONG,
        },
    })
}
