//! The field that was probably meant by one that does not exist.

use serde_json::{Map, Value};

/// Names of libpq for what has another place in a connection.
const OF_LIBPQ: [(&str, &str); 6] = [
    ("user", "credentialsSecretRef"),
    ("username", "credentialsSecretRef"),
    ("password", "credentialsSecretRef"),
    ("sslmode", "tls.mode"),
    ("sslrootcert", "tls.caSecretRef"),
    ("dbname", "database"),
];

/// What an endpoint calls otherwise.
const OF_ENDPOINTS: [(&str, &str); 6] = [
    ("address", "did you mean host?"),
    ("hostname", "did you mean host?"),
    ("name", "did you mean id?"),
    ("url", URL_PLACE),
    ("uri", URL_PLACE),
    ("dsn", URL_PLACE),
];
const URL_PLACE: &str = "a URL belongs into a Secret: urlSecretRef";

/// What is called otherwise wherever it is.
const ELSEWHERE: [(&str, &str); 7] = [
    ("pool", "maxConnections"),
    ("poolSize", "maxConnections"),
    ("pool_size", "maxConnections"),
    ("strategy", "loadBalancing.strategy"),
    ("role", "failover.primaryRole"),
    ("maxLag", "replicationLag.max"),
    ("threshold", "failureThreshold"),
];

/// An unknown field, with the one that was probably meant. `fields`: of the object that has it, and `schema` its schema;
/// `spec`: of the whole spec.
pub fn unknown_field(name: &str, fields: &Map<String, Value>, schema: &Value, spec: &Value) -> String {
    let has = |field: &str| schema["properties"].get(field).is_some();
    let is_endpoint = has("urlSecretRef");
    let is_alone = || schema["properties"].as_object().is_some_and(|all| all.len() == 1);
    let is_reference = !is_endpoint && has("name") && (has("key") || has("port") || is_alone());
    let is_tls = has("caSecretRef");
    let told = match name {
        "role" if is_endpoint => Some("the checks find which role a server has"),
        "name" if is_endpoint && fields.contains_key("id") => Some("did you mean displayName?"),
        "namespace" if is_reference => Some("the object is always of the namespace of the policy"),
        "enabled" if is_tls => Some("did you mean mode: Disable or VerifyFull?"),
        "ca" if is_tls => Some("did you mean caSecretRef?"),
        _ => None,
    };
    if let Some(told) = told {
        return format!("unknown field: {told}");
    }
    let within = if has("credentialsSecretRef") {
        Some("")
    } else {
        has("connection").then_some("connection.")
    };
    let place = OF_LIBPQ.iter().find(|(known, _)| *known == name);
    if let (Some(within), Some((_, place))) = (within, place) {
        return if *place == "credentialsSecretRef" {
            format!("unknown field: user and password belong into a Secret: {within}{place}")
        } else {
            format!("unknown field: did you mean {within}{place}?")
        };
    }
    let place = OF_ENDPOINTS.iter().find(|(known, _)| *known == name);
    if let Some((_, place)) = place.filter(|_| has("urlSecretRef")) {
        return format!("unknown field: {place}");
    }
    let known = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys());
    let near = known
        .map(|known| {
            (
                strsim::osa_distance(&name.to_lowercase(), &known.to_lowercase()),
                known,
            )
        })
        .filter(|(distance, _)| *distance <= 1 + name.chars().count() / 4)
        .min();
    let near = || near.map(|(_, known)| known.clone());
    let found = switch(name, schema)
        .or_else(|| elsewhere(called_otherwise(name)?, schema, spec))
        .or_else(near)
        .or_else(|| elsewhere(name, schema, spec));
    match found {
        Some(known) => format!("unknown field: did you mean {known}?"),
        None => "unknown field".to_owned(),
    }
}

fn called_otherwise(name: &str) -> Option<&'static str> {
    let called = ELSEWHERE.iter().find(|(known, _)| *known == name);
    called.map(|(_, field)| *field)
}

/// What is turned on and off by a word.
fn switch(name: &str, schema: &Value) -> Option<String> {
    let words = schema["properties"]["state"]["enum"].as_array()?;
    let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
    let is_switch = matches!(name, "enabled" | "disabled") && words.contains(&"Disabled");
    is_switch.then(|| format!("state: {} or Disabled", words[0]))
}

/// Whether a name is probably another one that was mistyped: one letter differs, is missing or too much, or two are interchanged.
/// Names of fewer than five letters, and those that differ in digits alone, are not taken for each other.
#[must_use]
pub fn is_mistyped(name: &str, known: &str) -> bool {
    let letters = |text: &str| -> String { text.chars().filter(|c| !c.is_ascii_digit()).collect() };
    let long = name.chars().count() >= 5 && known.chars().count() >= 5;
    long && letters(name) != letters(known) && strsim::osa_distance(name, known) == 1
}

/// A field of this name, in this object or else in the only place that has one; what an endpoint may say anew counts in its first
/// place.
fn elsewhere(name: &str, schema: &Value, spec: &Value) -> Option<String> {
    if schema["properties"].get(name).is_some() {
        return Some(name.to_owned());
    }
    let mut places = Vec::new();
    collect(spec, "", &mut places);
    let is_it = |place: &&String| {
        let of_endpoint = place.starts_with("primary.") || place.starts_with("replicas[].");
        !of_endpoint && (**place == name || place.ends_with(&format!(".{name}")))
    };
    let mut found = places.iter().filter(is_it);
    let first = found.next()?;
    found.next().is_none().then(|| first.clone())
}

/// The paths of all fields, as messages name them. What keys of a map hold is left out.
fn collect(schema: &Value, at: &str, places: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let place = if at.is_empty() {
            name.clone()
        } else {
            format!("{at}.{name}")
        };
        collect(inner, &place, places);
        if let Some(items) = inner.get("items") {
            collect(items, &format!("{place}[]"), places);
        }
        places.push(place);
    }
}
