//! A policy from environment variables.

use std::collections::BTreeMap;

use distributary_api::environment::{Import, Variable};

use crate::declared::{Declared, Secrets};
use crate::error::SettingsError;

/// What the policy is called in logs.
const NAME: &str = "database";
/// What the names of variables begin with that may be ours.
const PREFIXES: [&str; 3] = ["DATABASE_URL", "DATABASE_READ_REPLICA_", "DB_"];

/// The policy that variables declare, and its Secrets.
pub fn declared(variables: impl IntoIterator<Item = (String, String)>) -> Result<Declared, SettingsError> {
    let ours = |(name, _): &(String, String)| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let variables = variables.into_iter().filter(ours);
    let variables: Vec<_> = variables.map(|(name, value)| Variable { name, value }).collect();
    let import = Import::new(NAME, &variables).map_err(SettingsError::Variables)?;
    if !import.unused.is_empty() {
        let unused = import.unused.iter();
        let told = unused.map(|name| format!("{name}: there is no URL of this replica"));
        return Err(SettingsError::Variables(told.collect()));
    }
    if !import.unknown.is_empty() {
        tracing::warn!(
            variables = import.unknown.join(", "),
            "these variables are not known"
        );
    }
    let secrets: Secrets = import
        .secret_values()
        .map(|(name, (key, url))| {
            let keys = BTreeMap::from([(key.to_owned(), url.as_bytes().to_vec())]);
            (name.to_owned(), keys)
        })
        .collect();
    // A word that there is not, such as a strategy. The message of the parser has the value, which no URL is.
    let spec = serde_json::from_value(import.spec().clone());
    let spec = spec.map_err(|_| SettingsError::Variables(vec![misread(&import)]))?;
    let declared = Declared {
        name: NAME.to_owned(),
        spec,
        secrets,
    };
    let wrong = declared.clone().settled(false).problems();
    if wrong.is_empty() {
        return Ok(declared);
    }
    let told = wrong.into_iter().map(|(place, says)| {
        let variable = import.variable_of_secret(&place);
        if variable == place {
            import.told(&place, &says)
        } else {
            format!("{variable}: {says}")
        }
    });
    Err(SettingsError::Variables(told.collect()))
}

/// The variable whose value is none of the words that its field has: the strategy is the only one that is not judged before.
fn misread(import: &Import) -> String {
    format!(
        "{}: is none of the words that there are",
        import.cause("spec.loadBalancing.strategy")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: (&str, &str) = (
        "DATABASE_URL",
        "postgresql://app:canary-one@db.example.com/orders",
    );
    const REPLICA: (&str, &str) = (
        "DATABASE_READ_REPLICA_1_URL",
        "postgresql://app:canary-two@replica.example.com/orders?sslmode=require",
    );

    fn read(variables: &[(&str, &str)]) -> Result<Declared, SettingsError> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        declared(variables.iter().map(owned))
    }

    #[test]
    fn every_known_variable_works() {
        let values = [
            ("_URL", REPLICA.1),
            ("ENABLED", "true"),
            ("TO_REPLICA", "true"),
            ("STRATEGY", "weighted"),
            ("TIMEOUT", "5000"),
            ("REGION", "eu"),
            ("INTERVAL", "30000"),
            ("DEDICATED_TO", "analytics"),
            ("_ATTEMPTS", "3"),
            ("CONNECTIONS", "10"),
            ("THRESHOLD", "5"),
        ];
        let mut all = vec![PRIMARY, REPLICA];
        let names = distributary_api::environment::known_variables();
        let names: Vec<_> = names.iter().map(|name| name.replace("_N_", "_1_")).collect();
        for name in names
            .iter()
            .filter(|name| ![PRIMARY.0, REPLICA.0].contains(&name.as_str()))
        {
            let value = values.iter().find(|(end, _)| name.ends_with(end));
            all.push((name, value.unwrap_or_else(|| panic!("no value for {name}")).1));
        }
        let declared = read(&all).expect("they are valid");
        assert_eq!((declared.spec.replicas.len(), declared.secrets.len()), (1, 2));
        assert_eq!(declared.spec.primary.max_connections, Some(10));
        let routing = declared.spec.routing.expect("routing");
        assert_eq!(routing.retry_attempts, 3);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_the_name_of_its_variable_and_no_value_is_shown() {
        for (wrong, expected) in [
            (vec![REPLICA], "DATABASE_URL: must be set"),
            (
                vec![PRIMARY, ("DB_RETRY_ATTEMPTS", "canary")],
                "DB_RETRY_ATTEMPTS: must be a whole number",
            ),
            (vec![PRIMARY, ("DB_RETRY_ATTEMPTS", "99")], "DB_RETRY_ATTEMPTS: "),
            (
                vec![PRIMARY, ("DB_PRIMARY_TIMEOUT", "10")],
                "DB_PRIMARY_TIMEOUT: connectTimeout must be between 1s and 5m; the variable is a number of milliseconds",
            ),
            (
                vec![PRIMARY, ("DB_REPLICA_2_REGION", "canary")],
                "DB_REPLICA_2_REGION: there is no URL",
            ),
            (
                vec![PRIMARY, ("DB_LOAD_BALANCING_STRATEGY", "canary")],
                "DB_LOAD_BALANCING_STRATEGY: is none of the words",
            ),
            (vec![("DATABASE_URL", "mysql://canary")], "DATABASE_URL: "),
            (
                vec![("DATABASE_URL", "postgresql://app:canary@localhost/orders")],
                "DATABASE_URL: ",
            ),
        ] {
            let error = read(&wrong)
                .err()
                .map(|error| format!("{error} {error:?}"))
                .unwrap_or_default();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
