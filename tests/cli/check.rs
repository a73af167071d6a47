//! `check` with real PostgreSQL servers.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::PgCluster;
use harness::postgres::{DATABASE, PROBE, Shutdown};
use harness::suite::Suite;
use harness::wait;
use serde_json::{Value, json};

use crate::invocation::{CommandOutput, distributary, file};

/// For how long a standby is behind after the check began. The check takes 5 s and a timeout at most.
const BEHIND: Duration = Duration::from_secs(2);
/// The deadline of a pause of the replay.
const PAUSED: Duration = Duration::from_secs(30);

pub fn tests(suite: Suite<()>) -> Suite<()> {
    suite
        .test("check_shows_role_lag_and_latency_of_real_servers", well)
        .test("check_says_what_keeps_a_server_out", unwell)
        .test("check_tells_the_sqlstate_and_the_limit_of_the_role", refused)
        .test("check_looks_again_until_the_lag_is_known", lag_known_late)
        .test(
            "check_tells_of_a_standby_with_log_that_the_primary_lacks",
            diverged,
        )
        .test(
            "check_routes_the_writes_as_the_operator_where_primary_and_replica_are_interchanged",
            interchanged,
        )
        .test(
            "check_says_why_nothing_is_routed_where_the_servers_are_of_two_databases",
            two_databases,
        )
        .test(
            "check_names_what_is_wrong_with_secrets_and_what_would_supply_it",
            secrets,
        )
        .test("check_names_each_service_that_the_files_do_not_have", services)
        .test("check_speaks_to_servers_on_the_terms_of_the_operator", terms)
        .test(
            "check_takes_logins_from_the_environment_and_never_shows_them",
            logins,
        )
}

fn policy(postgres: &PgCluster) -> Value {
    let replica = |(at, server): (usize, &harness::Postgres)| json!({"id": format!("replica-{}", at + 1), "host": server.name()});
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders"},
        "spec": {
            "connection": {
                "database": DATABASE,
                "credentialsSecretRef": {"name": "orders-probe"},
                "tls": {"mode": "Disable"},
            },
            "primary": {"host": postgres.primary().address()},
            "replicas": postgres.replicas().iter().enumerate().map(replica).collect::<Vec<_>>(),
        },
    })
}

fn secret(password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-probe"},
        "stringData": {"username": PROBE.user, "password": password},
    })
}

fn check(objects: &[&Value], environment: &[(&str, &str)]) -> Result<CommandOutput> {
    let texts: Vec<_> = objects.iter().map(ToString::to_string).collect();
    let said = distributary(&["check", "-f", "-"], &texts.join("\n---\n"), environment)?;
    for word in [PROBE.password, "canary"] {
        ensure!(
            !said.out.contains(word) && !said.err.contains(word),
            "it shows a password: {said:#?}"
        );
    }
    Ok(said)
}

async fn secrets(_: Arc<()>) -> Result<()> {
    let policy = json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders"},
        "spec": {
            "connection": {
                "credentialsSecretRef": {"name": "orders-probe"},
                "tls": {"caSecretRef": {"name": "orders-ca"}, "clientCertSecretRef": {"name": "orders-client"}},
            },
            "primary": {"host": "198.18.255.1"},
        },
    });
    let said = check(&[&policy], &[])?.with(4)?;
    for line in [
        "Secret orders-ca is not in these files. Add it, or set variables: DISTRIBUTARY_SECRET_ORDERS_CA_CA_CRT has its key ca.crt.",
        "Secret orders-client is not in these files. Add it, or set variables: DISTRIBUTARY_SECRET_ORDERS_CLIENT_TLS_CRT has its key \
         tls.crt, DISTRIBUTARY_SECRET_ORDERS_CLIENT_TLS_KEY has its key tls.key.",
    ] {
        ensure!(said.out.lines().any(|it| it == line), "{said:#?}");
    }
    ensure!(
        said.err.contains("DISTRIBUTARY_SECRET_ORDERS_PROBE_PASSWORD"),
        "{said:#?}"
    );
    let elsewhere = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-ca", "namespace": "shop"}, "stringData": {"ca.crt": "canary"},
    });
    let said = check(&[&elsewhere, &policy], &[])?.with(4)?;
    let line = "Secret orders-ca is in these files in the namespace shop, and the policy is in default. Set metadata.namespace of the \
                policy, or --namespace.";
    ensure!(said.out.lines().any(|it| it == line), "{said:#?}");
    let login = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-probe", "namespace": "shop"}, "stringData": {"password": "canary"},
    });
    let said = check(&[&login, &policy], &[])?.with(4)?;
    let line = "warning: the Secret orders-probe is in these files in the namespace shop, and the policy is in default: the login comes from \
                DISTRIBUTARY_SECRET_ORDERS_PROBE_PASSWORD, or from PGUSER and PGPASSWORD";
    ensure!(said.err.lines().any(|it| it == line), "{said:#?}");
    let key = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n";
    let variables = [
        ("DISTRIBUTARY_SECRET_ORDERS_CA_CA_CRT", key),
        ("DISTRIBUTARY_SECRET_ORDERS_CLIENT_TLS_CRT", key),
    ];
    let said = check(&[&policy], &variables)?.with(4)?;
    for line in [
        "Secret orders-ca has a value under ca.crt that must be a list of PEM certificates, and is a private key.",
        "Secret orders-client has no key tls.key. Set the variable: DISTRIBUTARY_SECRET_ORDERS_CLIENT_TLS_KEY has its key tls.key.",
    ] {
        ensure!(said.out.lines().any(|it| it == line), "{said:#?}");
    }
    Ok(())
}

async fn services(_: Arc<()>) -> Result<()> {
    let policy = json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders"},
        "spec": {
            "primary": {"host": "198.18.255.1"},
            "replicas": [{"id": "a", "serviceRef": {"name": "pg"}}, {"id": "b", "host": "db1"}],
        },
    });
    let said = check(&[&policy], &[])?.with(4)?;
    for line in [
        "Service db1 does not exist: a host without a dot is a Service of this namespace; write the whole name of a server elsewhere. \
         check reads Services and EndpointSlices from the files alone.",
        "Service pg does not exist. check reads Services and EndpointSlices from the files alone.",
    ] {
        ensure!(said.out.lines().any(|it| it == line), "{said:#?}");
    }
    Ok(())
}

async fn well(_: Arc<()>) -> Result<()> {
    let postgres = PgCluster::start(2).await?;
    let (policy, secret) = (policy(&postgres), secret(PROBE.password));
    let said = check(&[&secret, &policy], &[])?.with(0)?;
    let primary = said.row(&["primary"])?;
    ensure!(
        primary[1..4]
            == [
                postgres.primary().address().to_string(),
                "Primary".to_owned(),
                "-".to_owned()
            ],
        "{said:#?}"
    );
    for (id, server) in [
        ("replica-1", postgres.replica(0)),
        ("replica-2", postgres.replica(1)),
    ] {
        let row = said.row(&[id])?;
        ensure!(
            row[1] == server.address().to_string() && row[2] == "Standby",
            "{said:#?}"
        );
        ensure!(
            row[3].ends_with('s') && row[4].ends_with(" ms") && row[5..] == ["Closed", "Serving"],
            "{said:#?}"
        );
        ensure!(
            said.out.contains(&format!("{}:5432", server.address())),
            "{said:#?}"
        );
    }
    let texts = format!("{secret}\n---\n{policy}");
    let json = distributary(&["check", "-f", "-", "-o", "json"], &texts, &[])?
        .with(0)?
        .json()?;
    let checked = &json["policies"][0];
    ensure!(
        checked["routes"]["ro"]["targets"]
            .as_array()
            .is_some_and(|all| all.len() == 2),
        "{json:#}"
    );
    ensure!(
        checked["endpoints"][1]["latencyMilliseconds"].is_string(),
        "{json:#}"
    );
    let mut policy = policy;
    policy["spec"]["replicas"][0]["maxConnections"] = json!(100_000);
    let said = check(&[&secret, &policy], &[])?.with(0)?;
    let warning = "default/orders: replica-1: maxConnections is 100000, but the server has ";
    ensure!(said.err.contains(warning), "{said:#?}");
    // Standbys alone do not tell what they lack.
    postgres.primary().kill().await?;
    let said = check(&[&secret, &policy], &[])?.with(4)?;
    let row = said.row(&["replica-2"])?;
    ensure!(row[2..4] == ["Standby", "-"], "{said:#?}");
    Ok(())
}

async fn diverged(_: Arc<()>) -> Result<()> {
    let postgres = PgCluster::start(1).await?;
    let primary = postgres.primary();
    primary.stop(Shutdown::Fast).await?;
    let backup = primary.back_up().await?;
    primary.start().await?;
    let rows = "create table lost as select i from generate_series(1, 100000) i";
    primary.sql(rows).await?;
    postgres.caught_up().await?;
    primary.stop(Shutdown::Fast).await?;
    primary.restore(&backup)?;
    primary.start().await?;
    let said = check(&[&secret(PROBE.password), &policy(&postgres)], &[])?.with(4)?;
    let row = said.row(&["replica-1"])?;
    ensure!(row.last().is_some_and(|reason| reason == "Diverged"), "{said:#?}");
    Ok(())
}

async fn interchanged(_: Arc<()>) -> Result<()> {
    let postgres = PgCluster::start(2).await?;
    let (mut policy, secret) = (policy(&postgres), secret(PROBE.password));
    let primary = policy["spec"]["primary"]["host"].take();
    policy["spec"]["primary"]["host"] = policy["spec"]["replicas"][0]["host"].take();
    policy["spec"]["replicas"][0]["host"] = primary;
    let said = check(&[&secret, &policy], &[])?.with(0)?;
    ensure!(said.row(&["rw", "Served"])?[2] == "replica-1", "{said:#?}");
    // It does not wait as long as the operator.
    postgres.replica(0).kill().await?;
    let said = check(&[&secret, &policy], &[])?.with(4)?;
    let told = "The declared primary does not answer, and replica-1 takes writes. The operator waits 15s \
                (3 x healthCheck.failoverTimeout) for the declared primary, and routes the writes to replica-1 \
                then if a standby proves to follow it and none has log that it lacks; check does not wait.\n";
    ensure!(said.out.contains(told), "{said:#?}");
    Ok(())
}

async fn two_databases(_: Arc<()>) -> Result<()> {
    let (postgres, other) = (
        PgCluster::start(2).await?,
        PgCluster::builder().own_identity().start().await?,
    );
    let (mut policy, secret) = (policy(&postgres), secret(PROBE.password));
    policy["spec"]["primary"]["host"] = json!(other.primary().address());
    let said = check(&[&secret, &policy], &[])?.with(4)?;
    let asked = "select system_identifier from pg_control_system()";
    let known = postgres.primary().sql(asked).await?;
    let shown = other.primary().sql(asked).await?;
    let lines = |name: &str| said.out.lines().any(|line| line.contains(name));
    ensure!(
        lines(&known) && lines(&shown) && lines("identity.systemIdentifier"),
        "{said:#?}"
    );
    Ok(())
}

async fn unwell(_: Arc<()>) -> Result<()> {
    let postgres = PgCluster::start(2).await?;
    let (policy, good) = (policy(&postgres), secret(PROBE.password));
    postgres.replica(0).kill().await?;
    let said = check(&[&good, &policy], &[])?.with(4)?;
    ensure!(said.row(&["replica-2"])?[3].ends_with('s'), "{said:#?}");
    let row = said.row(&["replica-1"])?;
    ensure!(
        row[5..] == ["Open in 5s", "Suspect (ConnectRefused)"],
        "{said:#?}"
    );
    ensure!(said.row(&["ro", "Served"])?[2] == "replica-2", "{said:#?}");
    let texts = format!("{good}\n---\n{policy}");
    let json = distributary(&["check", "-f", "-", "-o", "json"], &texts, &[])?
        .with(4)?
        .json()?;
    let servers = &json["policies"][0]["endpoints"];
    ensure!(
        servers[1]["circuit"] == "Closed" && servers[1]["circuitOpensIn"] == "5s",
        "{json:#}"
    );
    ensure!(servers[2]["circuitOpensIn"].is_null(), "{json:#}");
    ensure!(
        said.out.contains("ConnectRefused: nothing listens on the port"),
        "{said:#?}"
    );

    let said = check(&[&secret("canary"), &policy], &[])?.with(4)?;
    let row = said.row(&["replica-2"])?;
    ensure!(
        row[5..] == ["Closed", "ConfigurationFailed (AuthenticationFailed)"],
        "{said:#?}"
    );
    ensure!(
        said.row(&["rw"])?[1] == "Empty" && said.row(&["ro"])?[1] == "Empty",
        "{said:#?}"
    );

    let mut invalid = policy.clone();
    invalid["spec"]["healthCheck"] = json!({"interval": "soon"});
    let said = check(&[&good, &invalid], &[])?.with(3)?;
    ensure!(
        said.err
            .contains("spec.healthCheck.interval: healthCheck.interval must be"),
        "{said:#?}"
    );
    Ok(())
}

async fn refused(_: Arc<()>) -> Result<()> {
    let postgres = PgCluster::start(1).await?;
    let (policy, secret) = (policy(&postgres), secret(PROBE.password));
    let alter = |limit| format!("ALTER ROLE {} CONNECTION LIMIT {limit}", PROBE.user);
    postgres.primary().sql(&alter(1)).await?;
    // The standby has it at its next question; the primary has it at once.
    let said = check(&[&secret, &policy], &[])?.with(0)?;
    let told = "The CONNECTION LIMIT of the role is 1. ";
    ensure!(said.out.contains(told), "{said:#?}");
    postgres.primary().sql(&alter(-1)).await?;
    postgres.caught_up().await?;
    let said = check(&[&secret, &policy], &[])?.with(0)?;
    ensure!(!said.out.contains("CONNECTION LIMIT"), "{said:#?}");

    let revoke = "REVOKE EXECUTE ON FUNCTION pg_is_in_recovery() FROM PUBLIC";
    postgres.primary().sql_in(DATABASE, revoke).await?;
    let texts = format!("{secret}\n---\n{policy}");
    let json = distributary(&["check", "-f", "-", "-o", "json"], &texts, &[])?
        .with(4)?
        .json()?;
    let primary = &json["policies"][0]["endpoints"][0];
    ensure!(
        primary["failure"] == "OtherError" && primary["sqlstate"] == "42501",
        "{json:#}"
    );
    Ok(())
}

/// A standby that is behind the first position that the primary tells, as any may be while the primary writes.
async fn lag_known_late(_: Arc<()>) -> Result<()> {
    let postgres = PgCluster::start(1).await?;
    let (policy, secret) = (policy(&postgres), secret(PROBE.password));
    let replica = postgres.replica(0);
    replica.sql("select pg_wal_replay_pause()").await?;
    let paused = || async {
        let state = replica.sql("select pg_get_wal_replay_pause_state()").await?;
        ensure!(state == "paused", "its replay is {state}");
        Ok(())
    };
    wait::eventually("the replay to pause", PAUSED, paused).await?;
    postgres.primary().sql("create table late (n int)").await?;
    let checked = tokio::task::spawn_blocking(move || check(&[&secret, &policy], &[]));
    wait::pass(BEHIND, "the check sees a standby that is behind").await;
    replica.sql("select pg_wal_replay_resume()").await?;
    let said = checked.await??.with(0)?;
    ensure!(said.row(&["ro", "Served"])?[2] == "replica-1", "{said:#?}");
    Ok(())
}

async fn logins(_: Arc<()>) -> Result<()> {
    let postgres = PgCluster::start(1).await?;
    let policy = policy(&postgres);
    check(
        &[&policy],
        &[("PGUSER", PROBE.user), ("PGPASSWORD", PROBE.password)],
    )?
    .with(0)?;
    check(&[&policy], &[("PGUSER", PROBE.user), ("PGPASSWORD", "canary")])?.with(4)?;
    let named = [
        ("DISTRIBUTARY_SECRET_ORDERS_PROBE_USERNAME", PROBE.user),
        ("DISTRIBUTARY_SECRET_ORDERS_PROBE_PASSWORD", PROBE.password),
    ];
    check(&[&policy], &named)?.with(0)?;
    let line = |host: &str, password: &str| format!("{host}:5432:{DATABASE}:{}:{password}\n", PROBE.user);
    let text = [
        line(&postgres.primary().address().to_string(), PROBE.password),
        line(postgres.replica(0).name(), PROBE.password),
        line("*", "canary"),
    ];
    let path = file("pgpass", &text.concat())?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let path = path.to_str().context("a path")?;
    check(&[&policy], &[("PGUSER", PROBE.user), ("PGPASSFILE", path)])?.with(0)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
    let said = check(&[&policy], &[("PGUSER", PROBE.user), ("PGPASSFILE", path)])?.with(4)?;
    ensure!(
        said.err
            .contains("the file is not used, because other users may read it"),
        "{said:#?}"
    );
    Ok(())
}

async fn terms(_: Arc<()>) -> Result<()> {
    let postgres = PgCluster::start(1).await?;
    let texts = format!("{}\n---\n{}", secret(PROBE.password), policy(&postgres));
    let check = |arguments: &[&str]| distributary(&[&["check", "-f", "-"], arguments].concat(), &texts, &[]);
    check(&["--require-tls", "None"])?.with(0)?;
    // These servers have no TLS, and the policy asks for none.
    let said = check(&["--require-tls", "VerifyFull"])?.with(4)?;
    ensure!(said.row(&["primary"])?.join(" ").contains("Tls"), "{said:#?}");
    let primary = postgres.primary().address().to_string();
    let said = check(&["--deny-cidrs", &primary])?.with(4)?;
    ensure!(
        said.row(&["primary"])?.join(" ").contains("AddressRefused"),
        "{said:#?}"
    );
    ensure!(
        said.row(&["replica-1"])?.join(" ").contains("Standby"),
        "{said:#?}"
    );
    check(&["--max-scram-iterations", "4095"])?.with(2)?;
    Ok(())
}
