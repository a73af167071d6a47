//! Which variable becomes which field.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::env_file::Variable;
use super::{Parsed, must};

const KEY: &str = "url";

/// What a number of variables becomes.
pub struct Import {
    name: String,
    spec: Value,
    /// By the name of its Secret: the variable with the URL, and the URL.
    urls: BTreeMap<String, (String, String)>,
    /// By its field: the variable.
    causes: BTreeMap<String, String>,
    pub unknown: Vec<String>,
    /// Of replicas that are not declared.
    pub unused: Vec<String>,
}

/// Where a variable goes.
enum Place {
    Field(&'static str, fn(&Variable) -> Parsed<Value>),
    /// Of the replica N of its name.
    Replica(u32, &'static str, fn(&Variable) -> Parsed<Value>),
    PrimaryUrl,
    ReplicaUrl(u32),
    Unknown,
}

fn place(name: &str) -> Place {
    match name {
        "DATABASE_URL" => Place::PrimaryUrl,
        "DB_READ_REPLICAS_ENABLED" => Place::Field("routing.replicas", switch),
        "DB_DEFAULT_TO_REPLICA" => Place::Field("routing.defaultTarget", target),
        "DB_RETRY_ATTEMPTS" => Place::Field("routing.retryAttempts", number),
        "DB_LOAD_BALANCING_STRATEGY" => Place::Field("loadBalancing.strategy", strategy),
        "DB_PRIMARY_MAX_CONNECTIONS" => Place::Field("primary.maxConnections", number),
        "DB_PRIMARY_TIMEOUT" => Place::Field("primary.connection.connectTimeout", milliseconds),
        "DB_HEALTH_CHECK_INTERVAL" => Place::Field("healthCheck.interval", milliseconds),
        "DB_FAILOVER_TIMEOUT" => Place::Field("healthCheck.failoverTimeout", milliseconds),
        "DB_CIRCUIT_BREAKER_ENABLED" => Place::Field("circuitBreaker.state", switch),
        "DB_CIRCUIT_BREAKER_THRESHOLD" => Place::Field("circuitBreaker.failureThreshold", number),
        "DB_CIRCUIT_BREAKER_RESET_TIMEOUT" => Place::Field("circuitBreaker.resetTimeout", milliseconds),
        name => of_replica(name).unwrap_or(Place::Unknown),
    }
}

fn of_replica(name: &str) -> Option<Place> {
    let counted = |text: &str| {
        text.parse()
            .ok()
            .filter(|number: &u32| number.to_string() == text)
    };
    if let Some(rest) = name.strip_prefix("DATABASE_READ_REPLICA_") {
        return counted(rest.strip_suffix("_URL")?).map(Place::ReplicaUrl);
    }
    let (digits, field) = name.strip_prefix("DB_REPLICA_")?.split_once('_')?;
    let replica = counted(digits)?;
    match field {
        "REGION" => Some(Place::Replica(replica, "region", text)),
        "MAX_CONNECTIONS" => Some(Place::Replica(replica, "maxConnections", number)),
        "ENABLED" => Some(Place::Replica(replica, "state", state)),
        _ => None,
    }
}

fn number(variable: &Variable) -> Parsed<Value> {
    let number: Option<u32> = variable.value.parse().ok();
    number
        .map(|number| json!(number))
        .ok_or_else(|| must(variable, "a whole number"))
}

/// In the unit that says it in five digits.
fn milliseconds(variable: &Variable) -> Parsed<Value> {
    let refused = || must(variable, "a whole number of milliseconds");
    let millis: u64 = variable.value.parse().map_err(|_| refused())?;
    let text = match millis {
        0 => "0s".to_owned(),
        millis if millis % 1000 == 0 && millis / 1000 < 100_000 => format!("{}s", millis / 1000),
        millis if millis < 100_000 => format!("{millis}ms"),
        millis if millis / 1000 < 100_000 => format!("{}s{}ms", millis / 1000, millis % 1000),
        _ => return Err(refused()),
    };
    Ok(json!(text))
}

fn is_on(variable: &Variable) -> Parsed<bool> {
    match variable.value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(must(variable, "true or false")),
    }
}

fn switch(variable: &Variable) -> Parsed<Value> {
    is_on(variable).map(|on| json!(if on { "Enabled" } else { "Disabled" }))
}

fn target(variable: &Variable) -> Parsed<Value> {
    is_on(variable).map(|on| json!(if on { "Replicas" } else { "Primary" }))
}

fn state(variable: &Variable) -> Parsed<Value> {
    is_on(variable).map(|on| json!(if on { "Active" } else { "Disabled" }))
}

fn text(variable: &Variable) -> Parsed<Value> {
    Ok(json!(variable.value))
}

/// `round-robin`, `ROUND_ROBIN` and `roundRobin` are RoundRobin; which words there are the schema says.
fn strategy(variable: &Variable) -> Parsed<Value> {
    let parts = variable
        .value
        .split(['-', '_', ' '])
        .filter(|part| !part.is_empty());
    let shouted = variable.value.chars().all(|c| !c.is_lowercase());
    let word = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        let rest: String = letters.collect();
        let rest = if shouted { rest.to_ascii_lowercase() } else { rest };
        first.into_iter().collect::<String>() + &rest
    };
    Ok(json!(parts.map(word).collect::<String>()))
}

impl Import {
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
            match place(&variable.name) {
                Place::PrimaryUrl => {
                    import.spec["primary"] = import.url("primary", variable);
                    import.note("spec.primary", variable);
                }
                Place::ReplicaUrl(number) => {
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
            problems.push("DATABASE_URL: must be set: the URL of the primary".to_owned());
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

    fn take(&mut self, variable: &Variable, replicas: &[(u32, usize)]) -> Parsed<()> {
        match place(&variable.name) {
            Place::PrimaryUrl | Place::ReplicaUrl(_) => {}
            Place::Unknown => self.unknown.push(variable.name.clone()),
            Place::Field(field, read) => self.set(&format!("spec.{field}"), read(variable)?, variable),
            Place::Replica(number, field, read) => {
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
        let mut place = &mut self.spec;
        for key in path.split('.').skip(1) {
            place = match key.parse::<usize>() {
                Ok(at) => &mut place[at],
                Err(_) => &mut place[key],
            };
        }
        *place = value;
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

    pub fn variable_of_secret(&self, secret: &str) -> String {
        self.urls
            .get(secret)
            .map_or_else(|| secret.to_owned(), |(variable, _)| variable.clone())
    }

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

    pub fn policy(&self) -> Value {
        json!({
            "apiVersion": "distributary.dev/v1alpha1",
            "kind": "ReplicaSetPolicy",
            "metadata": {"name": self.name},
            "spec": self.spec,
        })
    }
}
