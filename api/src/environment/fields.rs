//! Which variable becomes which field, and how its value is read.

use serde_json::{Value, json};

use super::{ReadResult, Variable, must};

/// Reads the value of a variable.
type Reader = fn(&Variable) -> ReadResult<Value>;

/// What a variable sets.
pub enum Assignment {
    Field(&'static str, Reader),
    /// Of the replica N of its name.
    Replica(u32, &'static str, Reader),
    PrimaryUrl,
    ReplicaUrl(u32),
    Unknown,
}

pub const PRIMARY_URL: &str = "DATABASE_URL";
/// Before and after the number of the replica.
const REPLICA_URL: (&str, &str) = ("DATABASE_READ_REPLICA_", "_URL");
/// Before the number of the replica.
const OF_REPLICA: &str = "DB_REPLICA_";

/// By the variable: the field of the spec.
const FIELDS: [(&str, &str, Reader); 11] = [
    ("DB_READ_REPLICAS_ENABLED", "routing.replicas", switch),
    ("DB_DEFAULT_TO_REPLICA", "routing.defaultTarget", target),
    ("DB_RETRY_ATTEMPTS", "routing.retryAttempts", number),
    ("DB_LOAD_BALANCING_STRATEGY", "loadBalancing.strategy", strategy),
    ("DB_PRIMARY_MAX_CONNECTIONS", "primary.maxConnections", number),
    (
        "DB_PRIMARY_TIMEOUT",
        "primary.connection.connectTimeout",
        milliseconds,
    ),
    ("DB_HEALTH_CHECK_INTERVAL", "healthCheck.interval", milliseconds),
    ("DB_FAILOVER_TIMEOUT", "healthCheck.failoverTimeout", milliseconds),
    ("DB_CIRCUIT_BREAKER_ENABLED", "circuitBreaker.state", switch),
    (
        "DB_CIRCUIT_BREAKER_THRESHOLD",
        "circuitBreaker.failureThreshold",
        number,
    ),
    (
        "DB_CIRCUIT_BREAKER_RESET_TIMEOUT",
        "circuitBreaker.resetTimeout",
        milliseconds,
    ),
];

/// The variables of times; the fields that they set are durations with a unit.
const MILLISECONDS: [&str; 4] = [
    "DB_PRIMARY_TIMEOUT",
    "DB_HEALTH_CHECK_INTERVAL",
    "DB_FAILOVER_TIMEOUT",
    "DB_CIRCUIT_BREAKER_RESET_TIMEOUT",
];

/// By the end of the variable: the field of the replica.
const FIELDS_OF_REPLICA: [(&str, &str, Reader); 4] = [
    ("_REGION", "region", text),
    ("_MAX_CONNECTIONS", "maxConnections", number),
    ("_ENABLED", "state", state),
    ("_DEDICATED_TO", "dedicatedTo", list),
];

/// Every variable that is known, with N for the number of a replica.
#[must_use]
pub fn known_variables() -> Vec<String> {
    let (before, after) = REPLICA_URL;
    let mut all = vec![PRIMARY_URL.to_owned(), format!("{before}N{after}")];
    all.extend(FIELDS.iter().map(|(name, ..)| (*name).to_owned()));
    all.extend(
        FIELDS_OF_REPLICA
            .iter()
            .map(|(end, ..)| format!("{OF_REPLICA}N{end}")),
    );
    all
}

/// Whether the value of a variable of this name is a number of milliseconds.
pub fn is_in_milliseconds(name: &str) -> bool {
    MILLISECONDS.contains(&name)
}

/// What a variable of this name sets.
pub fn assignment(name: &str) -> Assignment {
    if name == PRIMARY_URL {
        return Assignment::PrimaryUrl;
    }
    let field = FIELDS.into_iter().find(|(known, ..)| *known == name);
    field
        .map(|(_, field, read)| Assignment::Field(field, read))
        .or_else(|| of_replica(name))
        .unwrap_or(Assignment::Unknown)
}

fn of_replica(name: &str) -> Option<Assignment> {
    let counted = |text: &str| {
        text.parse()
            .ok()
            .filter(|number: &u32| number.to_string() == text)
    };
    let (before, after) = REPLICA_URL;
    if let Some(rest) = name.strip_prefix(before) {
        return counted(rest.strip_suffix(after)?).map(Assignment::ReplicaUrl);
    }
    let rest = name.strip_prefix(OF_REPLICA)?;
    let (digits, end) = rest.split_at(rest.find('_')?);
    let (_, field, read) = FIELDS_OF_REPLICA.into_iter().find(|(known, ..)| *known == end)?;
    Some(Assignment::Replica(counted(digits)?, field, read))
}

fn number(variable: &Variable) -> ReadResult<Value> {
    let number: Option<u32> = variable.value.parse().ok();
    number
        .map(|number| json!(number))
        .ok_or_else(|| must(variable, "a whole number"))
}

/// In the unit that says it in five digits.
fn milliseconds(variable: &Variable) -> ReadResult<Value> {
    let refused = || must(variable, "a whole number of milliseconds, such as 10000 for 10s");
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

fn is_on(variable: &Variable) -> ReadResult<bool> {
    match variable.value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(must(variable, "true or false")),
    }
}

fn switch(variable: &Variable) -> ReadResult<Value> {
    is_on(variable).map(|on| json!(if on { "Enabled" } else { "Disabled" }))
}

fn target(variable: &Variable) -> ReadResult<Value> {
    is_on(variable).map(|on| json!(if on { "Replicas" } else { "Primary" }))
}

fn state(variable: &Variable) -> ReadResult<Value> {
    is_on(variable).map(|on| json!(if on { "Active" } else { "Disabled" }))
}

fn text(variable: &Variable) -> ReadResult<Value> {
    Ok(json!(variable.value))
}

/// Words, with commas between them.
fn list(variable: &Variable) -> ReadResult<Value> {
    let words = variable.value.split(',').map(str::trim);
    Ok(words.filter(|word| !word.is_empty()).collect())
}

/// `round-robin`, `ROUND_ROBIN` and `roundRobin` are RoundRobin; which words there are the schema says.
fn strategy(variable: &Variable) -> ReadResult<Value> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_times_are_those_that_are_read_as_milliseconds() {
        for (name, _, read) in FIELDS {
            let variable = Variable {
                name: name.to_owned(),
                value: "1".to_owned(),
            };
            let is_time = read(&variable) == Ok(json!("1ms"));
            assert_eq!(is_in_milliseconds(name), is_time, "{name}");
        }
    }
}
