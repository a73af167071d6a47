//! Secrets and passwords from the environment, for a check without a cluster.
//!
//! Of a Secret that no file has, `DISTRIBUTARY_SECRET_NAME_KEY` is a key. A password that no Secret has comes from where
//! libpq looks: `PGPASSWORD`, then the file of passwords. No message holds a value.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::documents::{Documents, read};
use super::policy_file;
use super::warn;
use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{PasswordSource, SecretKeys, Secrets};
use distributary_core::login::{SecretProblem, Sensitive, UnresolvedSecret};
use distributary_core::server::Location;

const PREFIX: &str = "DISTRIBUTARY_SECRET_";
const USER: &str = "distributary";

/// The logins in the environment.
pub struct Credentials {
    variables: BTreeMap<String, String>,
    passwords: Vec<Entry>,
}

/// The Secrets that a policy names, and the passwords that none of them has.
pub struct Logins<'a> {
    credentials: &'a Credentials,
    pub secrets: Secrets,
    /// The Secrets that no file has: they need no password.
    of_environment: BTreeSet<String>,
    /// The Secrets that the files have in another namespace than the policy, with that namespace.
    elsewhere: BTreeMap<String, String>,
}

/// A line of a file of passwords.
#[derive(Debug, Eq, PartialEq)]
struct Entry {
    /// Host, port, database and user; `None`: any.
    pattern: [Option<String>; 4],
    password: String,
}

impl Credentials {
    pub fn of_environment() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables: BTreeMap<_, _> = std::env::vars_os().filter_map(text).collect();
        let passwords = passwords(&variables);
        Self { variables, passwords }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The Secrets of the files and those of the environment. A Secret with a login that is in neither has a user and no
    /// password.
    pub fn logins(&self, object: &ReplicaSetPolicy, documents: &Documents) -> Logins<'_> {
        let mut secrets = policy_file::secrets(object, documents);
        let mut of_environment = BTreeSet::new();
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let of = |name: &String| {
            Some((
                name.clone(),
                documents.secret_elsewhere(name, namespace)?.to_owned(),
            ))
        };
        let elsewhere: BTreeMap<_, _> = secrets.keys().filter_map(of).collect();
        for (name, asked) in policy_file::keys_of_secrets(object) {
            if secrets.get(&name).is_some_and(Result::is_ok) {
                continue;
            }
            let value = |key: &String| {
                let value = self.variable(&variable(&name, key))?;
                Some((key.clone(), value.as_bytes().to_vec()))
            };
            let mut keys: BTreeMap<_, _> = asked.iter().filter_map(value).collect();
            if keys.is_empty() && !policy_file::is_login(object, &name) {
                continue;
            }
            if keys.is_empty() {
                let found = match elsewhere.get(&name) {
                    Some(other) => {
                        format!("in these files in the namespace {other}, and the policy is in {namespace}")
                    }
                    None => format!("not in these files in the namespace {namespace}"),
                };
                let variable = variable(&name, "password");
                warn(&format!(
                    "the Secret {name} is {found}: the login comes from {variable}, or from PGUSER and PGPASSWORD"
                ));
            }
            if policy_file::is_login(object, &name) {
                let user = self.variable("PGUSER").unwrap_or(USER);
                keys.entry("username".to_owned()).or_insert_with(|| user.into());
            }
            secrets.insert(name.clone(), Ok(SecretKeys(keys)));
            of_environment.insert(name);
        }
        Logins {
            credentials: self,
            secrets,
            of_environment,
            elsewhere,
        }
    }
}

impl Logins<'_> {
    /// What is wrong with a Secret, and the variables that would supply what it lacks.
    pub fn told(&self, problem: &UnresolvedSecret, object: &ReplicaSetPolicy) -> String {
        let secret = &problem.secret;
        let supplied = |keys: &BTreeSet<String>| {
            let one = |key: &String| format!("{} has its key {key}", variable(secret, key));
            keys.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        match &problem.problem {
            SecretProblem::NotFound if self.elsewhere.contains_key(secret) => format!(
                "Secret {secret} is in these files in the namespace {}, and the policy is in {}. Set metadata.namespace of the policy, or --namespace.",
                self.elsewhere[secret],
                object.metadata.namespace.as_deref().unwrap_or_default()
            ),
            SecretProblem::NotFound => {
                let keys = policy_file::keys_of_secrets(object)
                    .remove(secret)
                    .unwrap_or_default();
                format!(
                    "Secret {secret} is not in these files. Add it, or set variables: {}.",
                    supplied(&keys)
                )
            }
            SecretProblem::KeyMissing(key) | SecretProblem::KeyNamedOtherwise { key, .. }
                if self.of_environment.contains(secret) =>
            {
                let key = BTreeSet::from([key.clone()]);
                format!("{problem}. Set the variable: {}.", supplied(&key))
            }
            _ => format!("{problem}."),
        }
    }
}

impl PasswordSource for Logins<'_> {
    fn needs_password(&self, secret: &str) -> bool {
        !self.of_environment.contains(secret)
    }

    fn password(&self, location: Option<&Location>, database: &str, user: &str) -> Option<Sensitive> {
        if let Some(password) = self.credentials.variable("PGPASSWORD") {
            return Some(Sensitive::new(password));
        }
        let location = location?;
        let (host, port) = (location.host.to_string(), location.port.to_string());
        let connection = [host.as_str(), &port, database, user];
        let mut entries = self.credentials.passwords.iter();
        let entry = entries.find(|entry| entry.matches(&connection))?;
        Some(Sensitive::new(&entry.password))
    }
}

impl Entry {
    /// `connection`: host, port, database and user.
    fn matches(&self, connection: &[&str; 4]) -> bool {
        self.pattern
            .iter()
            .zip(connection)
            .all(|(pattern, is)| pattern.as_ref().is_none_or(|pattern| pattern == is))
    }
}

/// The variable that has a key of a Secret.
fn variable(secret: &str, key: &str) -> String {
    format!("{PREFIX}{}_{}", word(secret), word(key))
}

/// As a part of the name of a variable: `orders-probe` is `ORDERS_PROBE`.
fn word(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

fn passwords(variables: &BTreeMap<String, String>) -> Vec<Entry> {
    let named = variables.get("PGPASSFILE").map(PathBuf::from);
    let home = variables
        .get("HOME")
        .map(|home| PathBuf::from(home).join(".pgpass"));
    let Some(file) = named.or(home).filter(|file| file.is_file()) else {
        return Vec::new();
    };
    // As libpq does it.
    let open = std::fs::metadata(&file).is_ok_and(|is| is.permissions().mode() & 0o077 != 0);
    if open {
        warn(&format!(
            "{}: the file is not used, because other users may read it; its mode should be 0600",
            file.display()
        ));
        return Vec::new();
    }
    let Ok(text) = read(&file) else {
        warn(&format!("{}: the file cannot be read", file.display()));
        return Vec::new();
    };
    text.lines().filter_map(entry).collect()
}

/// `host:port:database:user:password`, with `*` for any, and a backslash before a colon or a backslash.
fn entry(line: &str) -> Option<Entry> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut()?.extend(characters.next()),
            c => fields.last_mut()?.push(c),
        }
    }
    let password = fields.pop().filter(|password| !password.is_empty())?;
    let any = |field: String| (field != "*").then_some(field);
    let pattern: Vec<_> = fields.into_iter().map(any).collect();
    Some(Entry {
        pattern: pattern.try_into().ok()?,
        password,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwords_may_have_wildcards_and_escapes() {
        let found = entry(r"pg-0:*:orders:a\:b:p\\:w").unwrap();
        assert_eq!(found.password, r"p\:w");
        assert!(found.matches(&["pg-0", "5433", "orders", "a:b"]));
        assert!(!found.matches(&["pg-0", "5433", "other", "a:b"]));
        for line in ["", "# pg-0:*:*:*:secret", "a:b:c:d", "a:b:c:d:"] {
            assert_eq!(entry(line), None, "{line}");
        }
    }

    #[test]
    fn a_variable_is_named_after_secret_and_key() {
        assert_eq!(
            format!("{}_{}", word("orders-probe"), word("ca.crt")),
            "ORDERS_PROBE_CA_CRT"
        );
    }
}
