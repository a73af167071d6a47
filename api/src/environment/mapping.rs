//! The policy and the Secrets that variables become.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::{Assignment, PRIMARY_URL, assignment};
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
        if problems.is_empty() {
            Ok(import)
        } else {
            Err(problems)
        }
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

    /// The variable that a field comes from, or one within it or around it; the field where there is none.
    #[must_use]
    pub fn cause(&self, field: &str) -> String {
        let within = |known: &&String| known.starts_with(field) || field.starts_with(known.as_str());
        let nearest = self.causes.keys().filter(within).max_by_key(|known| known.len());
        nearest
            .and_then(|known| self.causes.get(known))
            .cloned()
            .unwrap_or_else(|| match field {
                "metadata.name" => "--name".to_owned(),
                field => field.to_owned(),
            })
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
