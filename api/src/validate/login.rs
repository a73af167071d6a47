//! How to log in: database, credentials, TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::secrets::{LoginSources, PasswordSource, Secrets, credential, hosts, secret_text};
use super::url::ServerUrl;
use super::{PRIMARY_ID, Problems, duration, is_subdomain};
use crate::{self as api, DurationText, ReplicaSetPolicySpec, rules};
use distributary_core::ids::EndpointId;
use distributary_core::login::{
    CertificateCheck, CertificateProblem, ClientCertificate, Login, SecretProblem, Sensitive, TlsMode,
    TlsSettings, UnresolvedSecret,
};
use distributary_core::server::{ClientSettings, Location};

/// Where a connection names none.
pub const DATABASE: &str = "postgres";
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const USER: &str = "distributary";
const CA_KEY: &str = "ca.crt";
const CLIENT_CHAIN: &str = "tls.crt";
const CLIENT_KEY: &str = "tls.key";

/// What must hold of a connection of its own, the policy's or an endpoint's.
pub fn connection_rules(connection: Option<&api::Connection>, field: &str, problems: &mut Problems) {
    let Some(connection) = connection else { return };
    let database = connection
        .database
        .as_ref()
        .is_none_or(|name| (1..=63).contains(&name.chars().count()));
    problems.require(database, format!("{field}.connection.database"), rules::DATABASE);
    if let Some(timeout) = connection.connect_timeout.as_ref().filter(|_| field != "spec") {
        connect_timeout(timeout, &format!("{field}.connection"), problems);
    }
    let field = format!("{field}.connection");
    if let Some(reference) = &connection.credentials_secret_ref {
        secret_rules(
            &reference.name,
            None,
            &format!("{field}.credentialsSecretRef"),
            problems,
        );
    }
    let Some(tls) = &connection.tls else { return };
    let field = format!("{field}.tls");
    if let Some(reference) = &tls.ca_secret_ref {
        let key = reference.key.as_deref();
        secret_rules(&reference.name, key, &format!("{field}.caSecretRef"), problems);
    }
    if let Some(reference) = &tls.client_cert_secret_ref {
        secret_rules(
            &reference.name,
            None,
            &format!("{field}.clientCertSecretRef"),
            problems,
        );
    }
    let verifies = tls
        .mode
        .is_none_or(|mode| matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyFull));
    problems.require(
        verifies || tls.ca_secret_ref.is_none(),
        format!("{field}.caSecretRef"),
        rules::CA_NEEDS_VERIFY,
    );
    let encrypts = tls.mode != Some(TlsMode::Disable);
    let holds = encrypts || tls.client_cert_secret_ref.is_none();
    problems.require(
        holds,
        format!("{field}.clientCertSecretRef"),
        rules::CLIENT_CERT_NEEDS_TLS,
    );
}

pub fn secret_rules(name: &str, key: Option<&str>, field: &str, problems: &mut Problems) {
    problems.require(is_subdomain(name), format!("{field}.name"), rules::SECRET_NAME);
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let key = key.is_none_or(|key| (1..=253).contains(&key.len()) && key.chars().all(known));
    problems.require(key, format!("{field}.key"), rules::SECRET_KEY);
}

pub fn connect_timeout(text: &DurationText, field: &str, problems: &mut Problems) -> Duration {
    let bounds = (Duration::from_secs(1), Duration::from_secs(300));
    duration(
        text,
        &format!("{field}.connectTimeout"),
        bounds,
        rules::CONNECT_TIMEOUT,
        problems,
    )
    .unwrap_or(CONNECT_TIMEOUT)
}

/// How clients connect: what the URL names, then what the endpoint and the policy say; the rules of those are required
/// where they are declared.
pub fn clients(connection: &api::Connection, url: Option<&ServerUrl>) -> ClientSettings {
    let mode = connection
        .tls
        .as_ref()
        .and_then(|tls| tls.mode)
        .unwrap_or_default();
    let database = url
        .and_then(|url| url.database.clone())
        .or_else(|| connection.database.clone());
    ClientSettings {
        database: database.unwrap_or_else(|| DATABASE.to_owned()),
        tls: url.and_then(|url| url.tls).unwrap_or(mode),
        connect_timeout: connection
            .connect_timeout
            .as_ref()
            .and_then(DurationText::parse)
            .unwrap_or(CONNECT_TIMEOUT),
    }
}

/// The endpoint's own goes before the policy's, field by field.
pub fn merged(policy: Option<&api::Connection>, own: Option<&api::Connection>) -> api::Connection {
    let (policy, own) = (
        policy.cloned().unwrap_or_default(),
        own.cloned().unwrap_or_default(),
    );
    let (policy_tls, own_tls) = (policy.tls.unwrap_or_default(), own.tls.unwrap_or_default());
    api::Connection {
        database: own.database.or(policy.database),
        credentials_secret_ref: own.credentials_secret_ref.or(policy.credentials_secret_ref),
        connect_timeout: own.connect_timeout.or(policy.connect_timeout),
        tls: Some(api::Tls {
            mode: own_tls.mode.or(policy_tls.mode),
            ca_secret_ref: own_tls.ca_secret_ref.or(policy_tls.ca_secret_ref),
            client_cert_secret_ref: own_tls
                .client_cert_secret_ref
                .or(policy_tls.client_cert_secret_ref),
        }),
    }
}

/// Of each endpoint, the Secrets that say as whom it is logged in to: those with its URL, with user and password, and with the
/// client certificate.
#[must_use]
pub fn login_references(spec: &ReplicaSetPolicySpec) -> BTreeMap<EndpointId, BTreeSet<String>> {
    let of = |endpoint: &api::Endpoint| {
        let connection = merged(spec.connection.as_ref(), endpoint.connection.as_ref());
        let url = endpoint.url_secret_ref.as_ref().map(|url| url.name.clone());
        let credentials = connection.credentials_secret_ref.map(|named| named.name);
        let client = connection.tls.and_then(|tls| tls.client_cert_secret_ref);
        let names = [url, credentials, client.map(|named| named.name)];
        let id = endpoint.id.as_deref().unwrap_or(PRIMARY_ID);
        (EndpointId::from(id), names.into_iter().flatten().collect())
    };
    std::iter::once(&spec.primary)
        .chain(&spec.replicas)
        .map(of)
        .collect()
}

/// A login, and what else is wrong with its Secrets. `location`: the server.
pub fn login(
    connection: &api::Connection,
    url: Option<Result<ServerUrl, UnresolvedSecret>>,
    secrets: &Secrets,
    (sources, location): (LoginSources<'_>, Option<&Location>),
) -> (Result<Login, UnresolvedSecret>, Vec<UnresolvedSecret>) {
    let mut problems = SecretProblems::default();
    let by_url = url.is_some();
    let url = url.and_then(|url| problems.take(url));
    let named = url.as_ref().and_then(|url| url.user.clone());
    let of_url = url.as_ref().and_then(|url| url.hosts.clone());
    let (user, password, of_user) = match (named, &connection.credentials_secret_ref) {
        (Some(user), _) => {
            let password = url.as_ref().and_then(|url| url.password.clone());
            (Some(user), password, None)
        }
        // A URL that cannot be read may name them.
        (None, _) if by_url && url.is_none() => (None, None, None),
        (None, Some(reference)) => {
            let name = &reference.name;
            let (user, password) = credentials(name, secrets, sources.passwords, &mut problems);
            (user, password, problems.take(hosts(secrets, name)).flatten())
        }
        (None, None) => (Some(USER.to_owned()), None, None),
    };
    let database = url
        .as_ref()
        .and_then(|url| url.database.clone())
        .or_else(|| connection.database.clone())
        .unwrap_or_else(|| DATABASE.to_owned());
    let password = password.or_else(|| sources.passwords?.password(location, &database, user.as_deref()?));
    let tls = connection.tls.clone().unwrap_or_default();
    let mode = url
        .and_then(|url| url.tls)
        .unwrap_or_else(|| tls.mode.unwrap_or_default());
    let client = tls.client_cert_secret_ref.as_ref();
    let client = client.filter(|_| mode != TlsMode::Disable);
    let of_client = client.and_then(|reference| problems.take(hosts(secrets, &reference.name)).flatten());
    let tls = tls_settings(mode, &tls, secrets, (sources.certificates, &mut problems));
    let mut fatal = problems.fatal.into_iter();
    let first = fatal.next();
    let further = fatal.chain(problems.further).collect();
    let login = Login {
        user: user.unwrap_or_else(|| USER.to_owned()),
        password,
        database,
        tls,
        hosts: [of_url, of_user, of_client]
            .into_iter()
            .flatten()
            .reduce(|one, other| one.and(&other)),
    };
    (first.map_or(Ok(login), Err), further)
}

/// What is wrong with the Secrets of a login.
#[derive(Default)]
struct SecretProblems {
    /// No login is made of them.
    fatal: Vec<UnresolvedSecret>,
    further: Vec<UnresolvedSecret>,
}

impl SecretProblems {
    fn take<T>(&mut self, read: Result<T, UnresolvedSecret>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(problem) => {
                // Two keys of a Secret that is not there are one problem.
                if !self.fatal.contains(&problem) {
                    self.fatal.push(problem);
                }
                None
            }
        }
    }

    /// What is wrong with a certificate or key.
    fn note(&mut self, secret: &str, key: &str, problems: Vec<CertificateProblem>) {
        for problem in problems {
            let keeps = matches!(problem, CertificateProblem::Must(_));
            let all = if keeps { &mut self.fatal } else { &mut self.further };
            all.push(UnresolvedSecret {
                secret: secret.to_owned(),
                problem: problem.under(key),
            });
        }
    }
}

/// User and password of a Secret.
fn credentials(
    secret: &str,
    secrets: &Secrets,
    passwords: Option<&dyn PasswordSource>,
    problems: &mut SecretProblems,
) -> (Option<String>, Option<Sensitive>) {
    let optional = passwords.is_some_and(|source| !source.needs_password(secret));
    let user = problems.take(credential(secrets, secret, "username"));
    let password = match credential(secrets, secret, "password") {
        Err(unresolved) if optional && is_missing_key(&unresolved) => None,
        password => problems.take(password),
    };
    (user, password.as_deref().map(Sensitive::new))
}

const fn is_missing_key(unresolved: &UnresolvedSecret) -> bool {
    matches!(
        unresolved.problem,
        SecretProblem::KeyMissing(_) | SecretProblem::KeyNamedOtherwise { .. }
    )
}

/// Only what the mode uses is asked of the Secrets.
fn tls_settings(
    mode: TlsMode,
    tls: &api::Tls,
    secrets: &Secrets,
    (certificates, problems): (Option<&dyn CertificateCheck>, &mut SecretProblems),
) -> TlsSettings {
    let verifies = matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    let ca = tls.ca_secret_ref.as_ref().filter(|_| verifies);
    let ca = ca.and_then(|reference| {
        let key = reference.key.as_deref().unwrap_or(CA_KEY);
        let pem = problems.take(secret_text(secrets, &reference.name, key))?;
        let wrong = certificates.map(|check| check.of_authorities(&pem));
        problems.note(&reference.name, key, wrong.unwrap_or_default());
        Some(pem.into())
    });
    let client = tls
        .client_cert_secret_ref
        .as_ref()
        .filter(|_| mode != TlsMode::Disable);
    let client = client.and_then(|reference| {
        let chain = problems.take(secret_text(secrets, &reference.name, CLIENT_CHAIN));
        let key = problems.take(secret_text(secrets, &reference.name, CLIENT_KEY));
        let client = ClientCertificate {
            chain: chain?.into(),
            key: Sensitive::new(&key?),
        };
        let (of_chain, of_key) = certificates
            .map(|check| check.of_client(&client))
            .unwrap_or_default();
        problems.note(&reference.name, CLIENT_CHAIN, of_chain);
        problems.note(&reference.name, CLIENT_KEY, of_key);
        Some(client)
    });
    TlsSettings { mode, ca, client }
}
