//! The policy and the Secrets that variables become.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::{Assignment, PRIMARY_URL, assignment, is_in_milliseconds};
use super::{ReadResult, Variable};

const KEY: &str = "url";

/// What a number of variables becomes.
pub struct Import {
    name: String,
    spec: Value,
    /// By the name of its Secret: the variable with the URL, and the URL.
    urls: BTreeMap<String, (String, String)>,
    /// By its field: the variable.
    causes: BTreeMap<String, String>,
    /// Names of variables that set nothing.
    pub unknown: Vec<String>,
    /// Of replicas that are not declared.
    pub unused: Vec<String>,
}

impl Import {
    /// A policy of this name.
    ///
    /// # Errors
    /// Every variable whose value cannot be used, with what must hold of it; never a value.
    pub fn new(name: &str, variables: &[Variable]) -> Result<Self, Vec<String>> {
        let (import, problems) = Self::read(name, variables);
        if problems.is_empty() {
            Ok(import)
        } else {
            Err(problems)
        }
    }

    /// The same without the variables whose values cannot be used, and what must hold of those: the rest can still be judged.
    #[must_use]
    pub fn read(name: &str, variables: &[Variable]) -> (Self, Vec<String>) {
        let mut import = Self {
            name: name.to_owned(),
            spec: json!({}),
            urls: BTreeMap::new(),
            causes: BTreeMap::new(),
            unknown: Vec::new(),
            unused: Vec::new(),
        };
        let mut replicas = BTreeMap::new();
        for variable in variables {
            match assignment(&variable.name) {
                Assignment::PrimaryUrl => {
                    import.spec["primary"] = import.url("primary", variable);
                    import.note("spec.primary", variable);
                    import.note("endpoint primary", variable);
                }
                Assignment::ReplicaUrl(number) => {
                    let id = format!("replica-{number}");
                    let mut replica = import.url(&id, variable);
                    replica["id"] = json!(id);
                    replicas.insert(number, (variable.clone(), replica));
                }
                _ => {}
            }
        }
        let mut problems = Vec::new();
        if import.spec["primary"].is_null() {
            problems.push(format!("{PRIMARY_URL}: must be set: the URL of the primary"));
        }
        let index: BTreeMap<u32, usize> = replicas.keys().copied().zip(0..).collect();
        let numbers: Vec<_> = index.iter().map(|(number, at)| (*number, *at)).collect();
        let mut list = Vec::new();
        for (number, at) in &numbers {
            if let Some((variable, replica)) = replicas.remove(number) {
                import.note(&format!("spec.replicas[{at}]"), &variable);
                import.note(&format!("endpoint replica-{number}"), &variable);
                list.push(replica);
            }
        }
        if !list.is_empty() {
            import.spec["replicas"] = Value::Array(list);
        }
        for variable in variables {
            if let Err(problem) = import.take(variable, &numbers) {
                problems.push(problem);
            }
        }
        (import, problems)
    }

    fn take(&mut self, variable: &Variable, replicas: &[(u32, usize)]) -> ReadResult<()> {
        match assignment(&variable.name) {
            Assignment::PrimaryUrl | Assignment::ReplicaUrl(_) => {}
            Assignment::Unknown => self.unknown.push(variable.name.clone()),
            Assignment::Field(field, read) => self.set(&format!("spec.{field}"), read(variable)?, variable),
            Assignment::Replica(number, field, read) => {
                let value = read(variable)?;
                match replicas.iter().find(|(known, _)| *known == number) {
                    Some((_, at)) => self.set(&format!("spec.replicas[{at}].{field}"), value, variable),
                    None => self.unused.push(variable.name.clone()),
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, field: &str, value: Value, variable: &Variable) {
        let path = field.replace('[', ".").replace(']', "");
        let mut old = &mut self.spec;
        for key in path.split('.').skip(1) {
            old = match key.parse::<usize>() {
                Ok(at) => &mut old[at],
                Err(_) => &mut old[key],
            };
        }
        *old = value;
        self.note(field, variable);
    }

    /// A reference to the Secret with a URL.
    fn url(&mut self, id: &str, variable: &Variable) -> Value {
        let secret = format!("{}-{id}", self.name);
        self.urls
            .insert(secret.clone(), (variable.name.clone(), variable.value.clone()));
        json!({"urlSecretRef": {"name": secret, "key": KEY}})
    }

    fn note(&mut self, field: &str, variable: &Variable) {
        self.causes.insert(field.to_owned(), variable.name.clone());
    }

    /// The variable that a field comes from, or the nearest one around it, or one within it; the field where there is none.
    #[must_use]
    pub fn cause(&self, field: &str) -> String {
        // The names of the Secrets are made of that of the policy.
        if field == "metadata.name" || field.ends_with(".urlSecretRef.name") {
            return "--name".to_owned();
        }
        let around = |known: &&String| is_at(field, known);
        let nearest = self.causes.keys().filter(around).max_by_key(|known| known.len());
        let within = || self.causes.keys().find(|known| is_at(known, field));
        let variable = nearest.or_else(within).and_then(|known| self.causes.get(known));
        variable.cloned().unwrap_or_else(|| field.to_owned())
    }

    /// What is told of a field: the variable that it comes from, and what must hold, in the unit of that variable.
    #[must_use]
    pub fn told(&self, field: &str, says: &str) -> String {
        let cause = self.cause(field);
        if is_in_milliseconds(&cause) {
            let rule = says.split_once(", written as").map_or(says, |(rule, _)| rule);
            return format!("{cause}: {rule}; the variable is a number of milliseconds");
        }
        format!("{cause}: {says}")
    }

    /// The variable with the URL that this Secret holds; the Secret where there is none.
    #[must_use]
    pub fn variable_of_secret(&self, secret: &str) -> String {
        self.urls
            .get(secret)
            .map_or_else(|| secret.to_owned(), |(variable, _)| variable.clone())
    }

    /// Each variable that has a URL, with the URL.
    pub fn urls(&self) -> impl Iterator<Item = (&str, &str)> {
        let urls = self.urls.values();
        urls.map(|(variable, url)| (variable.as_str(), url.as_str()))
    }

    /// The Secrets as objects.
    #[must_use]
    pub fn secrets(&self) -> Vec<Value> {
        let secret = |(name, (_, url)): (&String, &(String, String))| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name},
                "type": "Opaque",
                "stringData": {KEY: url},
            })
        };
        self.urls.iter().map(secret).collect()
    }

    /// The spec of the policy.
    #[must_use]
    pub const fn spec(&self) -> &Value {
        &self.spec
    }

    /// Each Secret by its name, with its key and the URL under that.
    pub fn secret_values(&self) -> impl Iterator<Item = (&str, (&'static str, &str))> {
        let urls = self.urls.iter();
        urls.map(|(name, (_, url))| (name.as_str(), (KEY, url.as_str())))
    }

    /// The policy as an object.
    #[must_use]
    pub fn policy(&self) -> Value {
        json!({
            "apiVersion": "distributary.dev/v1alpha1",
            "kind": "ReplicaSetPolicy",
            "metadata": {"name": self.name},
            "spec": self.spec,
        })
    }
}

/// Whether a field is another one, or a part of it.
fn is_at(field: &str, whole: &str) -> bool {
    let rest = field.strip_prefix(whole);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_told_by_the_variable_that_it_comes_from() {
        let variable = |(name, value): (&str, &str)| Variable {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let variables = [
            ("DATABASE_URL", "postgresql://db.example.com/"),
            ("DATABASE_READ_REPLICA_1_URL", "postgresql://one.example.com/"),
            ("DATABASE_READ_REPLICA_10_URL", "postgresql://ten.example.com/"),
            ("DB_PRIMARY_MAX_CONNECTIONS", "30"),
            ("DB_PRIMARY_TIMEOUT", "10"),
        ];
        let (import, problems) = Import::read("orders", &variables.map(variable));
        assert!(problems.is_empty(), "{problems:?}");
        for (field, cause) in [
            ("spec.primary", "DATABASE_URL"),
            ("spec.primary.maxConnections", "DB_PRIMARY_MAX_CONNECTIONS"),
            ("spec.primary.connection", "DATABASE_URL"),
            ("endpoint replica-1", "DATABASE_READ_REPLICA_1_URL"),
            ("endpoint replica-10", "DATABASE_READ_REPLICA_10_URL"),
            ("spec.replicas[1].urlSecretRef.name", "--name"),
            ("metadata.name", "--name"),
            ("spec.routing", "spec.routing"),
        ] {
            assert_eq!(import.cause(field), cause, "{field}");
        }
        assert_eq!(
            import.told(
                "spec.primary.connection.connectTimeout",
                "connectTimeout must be between 1s and 5m, written as 10s or 1m30s"
            ),
            "DB_PRIMARY_TIMEOUT: connectTimeout must be between 1s and 5m; the variable is a number of milliseconds"
        );
    }
}
