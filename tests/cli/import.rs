//! `import`: from the variables of an application to a policy that can be applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::invocation::{CommandOutput, distributary};

pub fn tests(suite: Suite<()>) -> Suite<()> {
    suite
        .test("import_maps_each_variable_and_names_the_others", maps)
        .test("what_import_prints_is_a_policy_that_plan_takes", is_planned)
        .test("import_refuses_a_bad_value_by_the_name_of_its_variable", refuses)
        .test("import_tells_everything_that_is_wrong_at_once", refuses_all)
        .test(
            "import_tells_references_to_variables_and_lines_that_are_not_used",
            tells_what_is_not_the_value,
        )
}

const ENVIRONMENT: &str = "
DATABASE_URL=postgresql://app:canary@pg-0.example.com:5432/orders
export DATABASE_READ_REPLICA_1_URL=\"postgresql://app:canary@pg-1.example.com/orders\"
DATABASE_READ_REPLICA_3_URL='postgresql://app:canary@pg-3.example.com/orders'
DB_READ_REPLICAS_ENABLED=true
DB_DEFAULT_TO_REPLICA=true
DB_LOAD_BALANCING_STRATEGY=weighted # as before
DB_PRIMARY_MAX_CONNECTIONS=30
DB_PRIMARY_TIMEOUT=10000
DB_REPLICA_1_REGION=us-east-1
DB_REPLICA_3_MAX_CONNECTIONS=25
DB_REPLICA_3_ENABLED=false
DB_REPLICA_3_DEDICATED_TO=\"analytics, primary-preferred\"
DB_REPLICA_2_REGION=nowhere
DB_HEALTH_CHECK_INTERVAL=30000
DB_FAILOVER_TIMEOUT=2500
DB_RETRY_ATTEMPTS=2
DB_CIRCUIT_BREAKER_ENABLED=false
DB_CIRCUIT_BREAKER_THRESHOLD=4
DB_CIRCUIT_BREAKER_RESET_TIMEOUT=60000
API_KEY=canary
";

fn import(environment: &str, arguments: &[&str]) -> Result<CommandOutput> {
    distributary(
        &[&["import", "--env-file", "-"], arguments].concat(),
        environment,
        &[],
    )
}

fn documents(said: &CommandOutput) -> Result<Vec<Value>> {
    serde_yaml::Deserializer::from_str(&said.out)
        .map(|document| Ok(Value::deserialize(document)?))
        .collect()
}

async fn maps(_: Arc<()>) -> Result<()> {
    let said = import(ENVIRONMENT, &["--name", "orders", "--namespace", "shop"])?.with(0)?;
    let documents = documents(&said)?;
    let (policy, secrets) = documents.split_last().context("documents")?;
    let reference = |id: &str| json!({"name": format!("orders-{id}"), "key": "url"});
    let expected = json!({
        "primary": {
            "urlSecretRef": reference("primary"),
            "maxConnections": 30,
            "connection": {"connectTimeout": "10s"},
        },
        "replicas": [
            {"id": "replica-1", "urlSecretRef": reference("replica-1"), "region": "us-east-1"},
            {"id": "replica-3", "urlSecretRef": reference("replica-3"), "maxConnections": 25, "state": "Disabled", "dedicatedTo": ["analytics", "primary-preferred"]},
        ],
        "loadBalancing": {"strategy": "Weighted"},
        "healthCheck": {"interval": "30s", "failoverTimeout": "2500ms"},
        "circuitBreaker": {"state": "Disabled", "failureThreshold": 4, "resetTimeout": "60s"},
        "routing": {"replicas": "Enabled", "defaultTarget": "Replicas", "retryAttempts": 2},
    });
    ensure!(policy["spec"] == expected, "{policy:#}");
    ensure!(
        policy["metadata"] == json!({"name": "orders", "namespace": "shop"}),
        "{policy:#}"
    );
    let names: BTreeSet<_> = secrets
        .iter()
        .filter_map(|secret| secret["metadata"]["name"].as_str())
        .collect();
    ensure!(
        names == BTreeSet::from(["orders-primary", "orders-replica-1", "orders-replica-3"]),
        "{names:?}"
    );
    ensure!(secrets.iter().all(|secret| {
        secret["stringData"]["url"]
            .as_str()
            .is_some_and(|url| url.contains("canary"))
    }));
    ensure!(
        !policy.to_string().contains("canary") && !said.err.contains("canary"),
        "{said:#?}"
    );
    ensure!(
        said.err.contains("these variables are not known: API_KEY\n"),
        "{said:#?}"
    );
    let unused = "these variables are of replicas that have no URL: DB_REPLICA_2_REGION\n";
    ensure!(said.err.contains(unused), "{said:#?}");
    let off = ENVIRONMENT.replace("REPLICAS_ENABLED=true", "REPLICAS_ENABLED=false");
    let off = import(&off, &[])?.with(0)?;
    ensure!(off.out.contains("replicas: Disabled"), "{off:#?}");
    let primary = import(&ENVIRONMENT.replace("TO_REPLICA=true", "TO_REPLICA=false"), &[])?.with(0)?;
    ensure!(primary.out.contains("defaultTarget: Primary"), "{primary:#?}");
    Ok(())
}

async fn is_planned(_: Arc<()>) -> Result<()> {
    let printed = import(ENVIRONMENT, &[])?.with(0)?.out;
    let said = distributary(&["plan", "-f", "-"], &printed, &[])?.with(0)?;
    ensure!(said.row(&["ro", "Served"])?[2] == "replica-1", "{said:#?}");
    ensure!(
        !said.out.contains("canary") && !said.err.contains("canary"),
        "{said:#?}"
    );
    Ok(())
}

async fn refuses(_: Arc<()>) -> Result<()> {
    const URL: &str = "DATABASE_URL=postgresql://app:canary@pg-0.example.com/orders\nDATABASE_READ_REPLICA_1_URL=postgresql://app:canary@pg-1.example.com/orders\n";
    for (line, told) in [
        (
            "DATABASE_URL=mysql://app:canary@h/",
            "DATABASE_URL: must begin with postgresql:// or jdbc:postgresql://",
        ),
        (
            "DATABASE_URL=",
            "DATABASE_URL: must not be empty, nor hold a zero byte",
        ),
        (
            "DATABASE_URL=postgresql://app:canary@127.0.0.1/",
            "DATABASE_URL: must not name a loopback, link-local, multicast or unspecified address, nor that of the metadata of a cloud",
        ),
        (
            "DATABASE_READ_REPLICA_1_URL=postgresql://app:canary@pg-0.example.com/orders",
            "DATABASE_READ_REPLICA_1_URL: must name another server than DATABASE_URL: host and port are the same",
        ),
        (
            "DB_LOAD_BALANCING_STRATEGY=canary",
            "DB_LOAD_BALANCING_STRATEGY: supported values: \"RoundRobin\", \"Weighted\"",
        ),
        (
            "DB_READ_REPLICAS_ENABLED=canary",
            "DB_READ_REPLICAS_ENABLED: must be true or false",
        ),
        (
            "DB_PRIMARY_MAX_CONNECTIONS=0",
            "DB_PRIMARY_MAX_CONNECTIONS: should be greater than or equal to 1",
        ),
        (
            "DB_PRIMARY_MAX_CONNECTIONS=canary",
            "DB_PRIMARY_MAX_CONNECTIONS: must be a whole number",
        ),
        (
            "DB_PRIMARY_TIMEOUT=10s",
            "DB_PRIMARY_TIMEOUT: must be a whole number of milliseconds, such as 10000 for 10s\n",
        ),
        (
            "DB_PRIMARY_TIMEOUT=10",
            "DB_PRIMARY_TIMEOUT: connectTimeout must be between 1s and 5m; the variable is a number of milliseconds\n",
        ),
        (
            "DB_REPLICA_1_REGION=-canary",
            "DB_REPLICA_1_REGION: region must consist of",
        ),
        (
            "DB_HEALTH_CHECK_INTERVAL=1",
            "DB_HEALTH_CHECK_INTERVAL: healthCheck.interval must be between",
        ),
        (
            "DB_FAILOVER_TIMEOUT=40",
            "DB_FAILOVER_TIMEOUT: healthCheck.failoverTimeout must be at least 20ms for each",
        ),
        (
            "DB_CIRCUIT_BREAKER_THRESHOLD=0",
            "DB_CIRCUIT_BREAKER_THRESHOLD: should be greater than or equal to 1",
        ),
        (
            "DB_CIRCUIT_BREAKER_RESET_TIMEOUT=7200000",
            "DB_CIRCUIT_BREAKER_RESET_TIMEOUT: circuitBreaker.resetTimeout must be between",
        ),
        ("canary", "-, line 3: this is not NAME=VALUE"),
    ] {
        let said = import(&format!("{URL}{line}\n"), &[])?.with(3)?;
        ensure!(said.err.contains(&format!("error: {told}")), "{line}: {said:#?}");
        ensure!(
            said.out.is_empty() && !said.err.contains("canary"),
            "{line}: {said:#?}"
        );
    }
    let none = import("", &[])?.with(3)?;
    ensure!(
        none.err == "error: DATABASE_URL: must be set: the URL of the primary\n",
        "{none:?}"
    );
    let name = import(URL, &["--name", "Orders"])?.with(3)?;
    ensure!(
        name.err
            .starts_with("error: --name: metadata.name must be a DNS-1035 label")
            && name.err.lines().count() == 1,
        "{name:?}"
    );
    Ok(())
}

/// Lines, values, rules and URLs are judged in one round, each by its own variable.
async fn refuses_all(_: Arc<()>) -> Result<()> {
    let environment = "DATABASE_READ_REPLICA_1_URL=postgresql://app:canary@pg-1.example.com/orders
DATABASE_READ_REPLICA_2_URL=postgresql://app:canary@pg-1.example.com/orders
DATABASE_READ_REPLICA_3_URL=mysql://canary
DB_PRIMARY_MAX_CONNECTIONS=0
DB_RETRY_ATTEMPTS=canary
DB_HEALTH_CHECK_INTERVAL=1
canary
";
    let said = import(environment, &["--name", "Orders"])?.with(3)?;
    let told = [
        "error: -, line 7: this is not NAME=VALUE\n",
        "error: DATABASE_URL: must be set: the URL of the primary\n",
        "error: DB_RETRY_ATTEMPTS: must be a whole number\n",
        "error: --name: metadata.name must be a DNS-1035 label",
        "error: DB_PRIMARY_MAX_CONNECTIONS: should be greater than or equal to 1",
        "error: DB_HEALTH_CHECK_INTERVAL: healthCheck.interval must be between 100ms and 1h; the variable is a number of milliseconds\n",
        "error: DATABASE_READ_REPLICA_2_URL: must name another server than DATABASE_READ_REPLICA_1_URL: host and port are the same\n",
        "error: DATABASE_READ_REPLICA_3_URL: must begin with postgresql:// or jdbc:postgresql://\n",
    ];
    for told in told {
        ensure!(said.err.contains(told), "{told}: {said:#?}");
    }
    ensure!(
        said.out.is_empty() && said.err.lines().count() == told.len() && !said.err.contains("canary"),
        "{said:#?}"
    );
    Ok(())
}

/// What another program would replace is no value, and of two lines of one name one is not used.
async fn tells_what_is_not_the_value(_: Arc<()>) -> Result<()> {
    for value in [
        "postgresql://app:${PASSWORD}@${HOST}/orders",
        "postgresql://app:$(PASSWORD)@pg-0.example.com/orders",
        "${URL}",
        "$URL",
        "postgresql://app:$PASSWORD@pg-0.example.com/orders",
        "postgresql://app:canary@$DB_HOST:5432/orders",
        "postgresql://app:canary@pg-0.example.com/orders?sslmode=$MODE",
    ] {
        let said = import(&format!("DATABASE_URL={value}\n"), &[])?.with(3)?;
        ensure!(
            said.err
                == "error: DATABASE_URL: must be the value itself: variables within it, as $NAME or ${NAME}, are not replaced; write a $ of a password as %24\n",
            "{value}: {said:#?}"
        );
    }
    // A $ of a password is one.
    for password in ["can$ARY", "$canary", "canary$", "$1CANARY"] {
        let url = format!("DATABASE_URL=postgresql://app:{password}@pg-0.example.com/orders\n");
        let said = import(&url, &[])?.with(0)?;
        ensure!(said.out.contains(password), "{said:#?}");
    }
    let twice = "DATABASE_URL=postgresql://a:canary@one.example.com/\nOTHER=${HOME}\nDATABASE_URL=postgresql://a:canary@two.example.com/\n";
    let said = import(twice, &[])?.with(0)?;
    ensure!(
        said.err
            .contains("warning: DATABASE_URL is there more than once: the last line counts\n")
            && said.out.contains("two.example.com")
            && !said.out.contains("one.example.com"),
        "{said:#?}"
    );
    Ok(())
}
