//! Secrets and passwords from the environment, for a check without a cluster.
//!
//! Of a Secret that no file has, `DISTRIBUTARY_SECRET_NAME_KEY` is a key. Where nothing gives a password, libpq's places
//! do: `PGPASSWORD`, then the file of passwords. No message holds a value.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::documents::{Documents, read};
use super::policy_file;
use super::warn;
use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{SecretKeys, Secrets};
use distributary_core::ids::EndpointId;
use distributary_core::login::{Login, Sensitive};
use distributary_core::resolved::ResolvedEndpoint;

const PREFIX: &str = "DISTRIBUTARY_SECRET_";
/// In place of a password that no Secret tells; no password holds a control character by accident.
const UNTOLD: &str = "\u{1}untold\u{1}";
const USER: &str = "distributary";

/// What the environment tells.
pub struct Credentials {
    variables: BTreeMap<String, String>,
    passwords: Vec<Entry>,
}

/// A line of a file of passwords; `None`: any.
#[derive(Debug, Eq, PartialEq)]
struct Entry {
    place: [Option<String>; 4],
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

    /// The Secrets of the files, and those that the environment tells. One with a login that nobody tells has a user and
    /// no password.
    pub fn secrets(&self, object: &ReplicaSetPolicy, documents: &Documents) -> Secrets {
        let mut all = policy_file::secrets(object, documents);
        for (name, asked) in policy_file::keys_of_secrets(object) {
            if all.get(&name).is_some_and(Result::is_ok) {
                continue;
            }
            let value = |key: &String| {
                let value = self.variable(&format!("{PREFIX}{}_{}", word(&name), word(key)))?;
                Some((key.clone(), value.as_bytes().to_vec()))
            };
            let mut keys: BTreeMap<_, _> = asked.iter().filter_map(value).collect();
            if keys.is_empty() && !policy_file::is_login(object, &name) {
                continue;
            }
            if keys.is_empty() {
                warn(&format!(
                    "the Secret {name} is not in these files: the login comes from the environment"
                ));
            }
            if policy_file::is_login(object, &name) {
                let user = self.variable("PGUSER").unwrap_or(USER);
                keys.entry("username".to_owned()).or_insert_with(|| user.into());
                keys.entry("password".to_owned()).or_insert_with(|| UNTOLD.into());
            }
            all.insert(name, Ok(SecretKeys(keys)));
        }
        all
    }

    /// Adds the passwords that no Secret tells, where the environment does.
    pub fn complete(&self, endpoints: &mut BTreeMap<EndpointId, ResolvedEndpoint>) {
        for endpoint in endpoints.values_mut() {
            let Ok(login) = &endpoint.login else { continue };
            let untold = login
                .password
                .as_ref()
                .is_none_or(|password| password.reveal() == UNTOLD);
            if untold {
                let password = self.password(endpoint, login);
                endpoint.login = Ok(Arc::new(Login {
                    password,
                    ..Login::clone(login)
                }));
            }
        }
    }

    fn password(&self, endpoint: &ResolvedEndpoint, login: &Login) -> Option<Sensitive> {
        if let Some(password) = self.variable("PGPASSWORD") {
            return Some(Sensitive::new(password));
        }
        let location = endpoint.location.as_ref()?;
        let place = [
            location.host.to_string(),
            location.port.to_string(),
            login.database.clone(),
            login.user.clone(),
        ];
        let entry = self.passwords.iter().find(|entry| entry.matches(&place))?;
        Some(Sensitive::new(&entry.password))
    }
}

impl Entry {
    fn matches(&self, place: &[String; 4]) -> bool {
        self.place
            .iter()
            .zip(place)
            .all(|(pattern, is)| pattern.as_ref().is_none_or(|pattern| pattern == is))
    }
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
    let place: Vec<_> = fields.into_iter().map(any).collect();
    Some(Entry {
        place: place.try_into().ok()?,
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
        let place = |database: &str| ["pg-0", "5433", database, "a:b"].map(ToOwned::to_owned);
        assert!(found.matches(&place("orders")));
        assert!(!found.matches(&place("other")));
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
