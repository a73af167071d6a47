//! Secrets: rotated, missing, wrong, of URLs; TLS; and nothing of them in any output.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::certificates::{Authority, Identity};
use harness::postgres::{DATABASE, PROBE, ServerCertificate, Tls};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, secret};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_rotated_password_holds_the_routes_and_is_used_at_once",
            rotation,
        )
        .test(
            "a_refused_login_asks_for_the_secrets_that_it_is_made_of",
            refused_login,
        )
        .test("a_missing_secret_is_named_and_picked_up", missing_secret)
        .test(
            "everything_that_is_wrong_with_certificates_is_named_at_once",
            certificates,
        )
        .test("a_database_that_lets_the_role_not_in_is_named", closed_database)
        .test("an_address_and_login_from_a_url", url_secret)
        .test("two_urls_of_one_host_make_nothing_invalid", two_urls)
        .test("tls_in_all_four_modes_with_client_certificates", tls)
        .test(
            "an_expired_certificate_or_wrong_name_holds_what_is_served_and_admits_nothing_new",
            expired,
        )
        .test(
            "certificates_that_libpq_takes_are_taken_as_the_modes_say",
            unusual_certificates,
        )
        .test("a_line_end_behind_a_password_is_left_out_and_told", line_ends)
        .test("a_secret_is_used_for_its_hosts_alone", hosts_of_secret)
        .test("no_login_goes_below_what_the_operator_requires", required_tls)
        .test("nothing_of_a_password_is_in_any_output", canary)
        .test("named_secrets_need_no_right_to_list_all", named_access)
}

async fn rotation(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.postgres.primary().set_password(PROBE.user, "rotated").await?;
    it.endpoint("replica-1", "ConfigurationHeld", SOON).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.condition("Degraded", "True", "EndpointsNotServing").await?;
    // Not before: the operator must see the failure, then the new Secret.
    it.apply(&secret("probe", PROBE.user, "rotated")).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn refused_login(plane: Arc<ControlPlane>) -> Result<()> {
    let builder = PgCluster::builder().replicas(1).tls(Tls::default());
    let it = Fixture::start_with(plane, builder, &[]).await?;
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"},
        "stringData": {"ca.crt": it.postgres.authority().pem()},
    }))
    .await?;
    let mut policy = it.policy();
    policy["spec"]["connection"]["tls"] = json!({"mode": "VerifyCA", "caSecretRef": {"name": "ca"}});
    it.apply(&policy).await?;
    it.serves().await?;
    let reads = |name: &str| {
        let end = format!("/secrets/{name}");
        let audit = it.audit()?;
        let reads = audit
            .iter()
            .filter(|event| event.verb == "get" && event.uri.ends_with(&end));
        anyhow::Ok(reads.count())
    };
    let before = (reads("ca")?, reads("probe")?);
    it.postgres.primary().set_password(PROBE.user, "another").await?;
    it.endpoint("replica-1", "ConfigurationHeld", SOON).await?;
    wait::eventually("a look at the Secret", SOON, || async {
        reads("probe").is_ok_and(|now| now > before.1)
    })
    .await?;
    // The next one comes 10 s later, however often the login fails.
    let now = (reads("ca")?, reads("probe")?);
    ensure!(now.0 == before.0, "{before:?}, then {now:?}");
    ensure!(now.1 <= before.1 + 2, "{before:?}, then {now:?}");
    Ok(())
}

async fn closed_database(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let primary = it.postgres.primary();
    for (closes, failure, opens) in [
        (
            format!("revoke connect on database {DATABASE} from public"),
            "ConnectNotGranted",
            format!("grant connect on database {DATABASE} to public"),
        ),
        (
            format!("alter database {DATABASE} allow_connections false"),
            "DatabaseClosed",
            format!("alter database {DATABASE} allow_connections true"),
        ),
    ] {
        primary.sql_in("postgres", &closes).await?;
        for id in ["primary", "replica-1"] {
            let held = it.fails(id, "ConfigurationHeld", failure).await?;
            ensure!(held.server.eligible, "{held:?}");
        }
        primary.sql_in("postgres", &opens).await?;
        it.endpoint("replica-1", "Serving", SOON).await?;
    }
    Ok(())
}

async fn certificates(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIGNhbmFyeWNhbmFyeWNhbmFyeWNhbmFyeWNhbmFy\n-----END PRIVATE KEY-----\n";
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "stringData": {"ca.crt": key},
    }))
    .await?;
    let mut policy = it.policy();
    let tls =
        json!({"mode": "VerifyCA", "caSecretRef": {"name": "ca"}, "clientCertSecretRef": {"name": "client"}});
    policy["spec"]["replicas"][0]["connection"] = json!({"tls": tls});
    it.apply(&policy).await?;
    let condition = it.condition("ResolvedRefs", "False", "SecretUnresolved").await?;
    let both = "Secret ca has a value under ca.crt that must be a list of PEM certificates, and is a private key; \
                Secret client does not exist";
    ensure!(condition.message == both, "{}", condition.message);
    // What is served is held.
    it.fails("replica-1", "ConfigurationHeld", "SecretUnresolved")
        .await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    let ready = it.condition("Ready", "True", "RoutableUnproven").await?;
    ensure!(ready.message.starts_with(both), "{}", ready.message);
    Ok(())
}

async fn missing_secret(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let mut policy = it.policy();
    policy["spec"]["replicas"][0]["connection"] = json!({"credentialsSecretRef": {"name": "later"}});
    it.apply(&policy).await?;
    let condition = it.condition("ResolvedRefs", "False", "SecretUnresolved").await?;
    ensure!(
        condition.message == "Secret later does not exist",
        "{}",
        condition.message
    );
    it.endpoint("replica-1", "ConfigurationFailed", SOON).await?;
    let stalled = it.condition("Stalled", "True", "SecretUnresolved").await?;
    let first = "Secret later does not exist. ";
    ensure!(stalled.message.starts_with(first), "{}", stalled.message);
    it.leads("ro", &[it.postgres.primary()], SOON).await?;
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth", "metadata": {"name": "later"},
        "stringData": {"username": "probe"},
    }))
    .await?;
    it.until("the missing key to be named", SOON, |policy| {
        let conditions = policy.status.iter().flat_map(|status| &status.conditions);
        conditions
            .into_iter()
            .any(|condition| condition.message == "Secret later has no key password")
    })
    .await?;
    it.apply(&secret("later", PROBE.user, PROBE.password)).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.condition("ResolvedRefs", "True", "Resolved").await?;
    Ok(())
}

async fn url_secret(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    let server = it.postgres.replica(0).address();
    let url = format!(
        "postgresql://{}:{}@{server}:5432/{DATABASE}",
        PROBE.user, PROBE.password
    );
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "replica"}, "stringData": {"url": url},
    }))
    .await?;
    let mut policy = it.policy();
    policy["spec"]["replicas"] = json!([{"id": "by-url", "urlSecretRef": {"name": "replica", "key": "url"}}]);
    it.apply(&policy).await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    let status = it.endpoint("by-url", "Serving", SOON).await?;
    ensure!(status.host == Some(server.to_string()), "{status:?}");
    Ok(())
}

/// As in the middle of a migration.
async fn two_urls(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let url = |name: &str, server: usize, password: &str| {
        let server = it.postgres.replica(server).address();
        let url = format!("postgresql://{}:{password}@{server}:5432/{DATABASE}", PROBE.user);
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"url": url}})
    };
    let replica = |id: &str| json!({"id": id, "urlSecretRef": {"name": id, "key": "url"}});
    it.apply(&url("one", 0, PROBE.password)).await?;
    it.apply(&url("two", 1, PROBE.password)).await?;
    let mut policy = it.policy();
    policy["spec"]["replicas"] = json!([replica("one"), replica("two")]);
    it.apply(&policy).await?;
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await?;
    it.apply(&url("two", 0, PROBE.password)).await?;
    let told = it.condition("ResolvedRefs", "False", "SecretUnresolved").await?;
    ensure!(told.message.contains("two is not used"), "{}", told.message);
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    it.endpoint("two", "SameServer", SOON).await?;
    it.condition("Accepted", "True", "Valid").await?;
    // New credentials are taken.
    it.postgres.primary().set_password(PROBE.user, "rotated").await?;
    it.endpoint("one", "ConfigurationHeld", SOON).await?;
    it.apply(&url("one", 0, "rotated")).await?;
    it.endpoint("one", "Serving", SOON).await?;
    it.apply(&url("two", 1, "rotated")).await?;
    it.leads("ro", &[it.postgres.replica(0), it.postgres.replica(1)], SOON)
        .await?;
    it.condition("ResolvedRefs", "True", "Resolved").await?;
    Ok(())
}

async fn tls(plane: Arc<ControlPlane>) -> Result<()> {
    let builder = PgCluster::builder()
        .replicas(1)
        .tls(Tls::default())
        .setting("log_connections", "on");
    let it = Fixture::start_with(plane, builder, &[]).await?;
    let client = it.postgres.client_identity(PROBE.user)?;
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"},
        "stringData": {"ca.crt": it.postgres.authority().pem()},
    }))
    .await?;
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "client"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": client.certificate, "tls.key": client.key},
    }))
    .await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    let verifying = json!({"caSecretRef": {"name": "ca"}, "clientCertSecretRef": {"name": "client"}});
    for mode in ["Require", "VerifyCA", "VerifyFull", "Disable"] {
        let mut tls = if mode.starts_with("Verify") {
            verifying.clone()
        } else {
            json!({"caSecretRef": null, "clientCertSecretRef": null})
        };
        tls["mode"] = json!(mode);
        let before = it.postgres.replica(0).log().len();
        it.patch(json!({"spec": {"connection": {"tls": tls}}})).await?;
        it.condition("Ready", "True", "Routable").await?;
        logs_in(&it, before, mode != "Disable").await?;
        it.endpoint("replica-1", "Serving", SOON).await?;
    }
    // Without the CA the system's roots do not verify the server: what is served is held, with a reason.
    it.patch(json!({"spec": {"connection": {"tls": {"mode": "VerifyFull", "caSecretRef": null, "clientCertSecretRef": null}}}})).await?;
    let held = it.endpoint("replica-1", "ConfigurationHeld", SOON).await?;
    ensure!(
        held.server.failure.as_deref() == Some("CertificateIssuerUnknown"),
        "{held:?}"
    );
    Ok(())
}

/// Waits for a login of the probe role that the server logs after this length of its log: with TLS, or without.
async fn logs_in(it: &Fixture, after: usize, encrypted: bool) -> Result<()> {
    wait::eventually(&format!("a login with TLS {encrypted}"), SOON, || async {
        let log = it.postgres.replica(0).log();
        let mut logins = log[after..]
            .lines()
            .filter(|line| line.contains("connection authorized: user=probe"));
        logins.any(|line| line.contains("SSL enabled") == encrypted)
    })
    .await
}

async fn expired(plane: Arc<ControlPlane>) -> Result<()> {
    let builder = PgCluster::builder().replicas(1).tls(Tls {
        required: true,
        ..Tls::default()
    });
    let it = Fixture::start_with(plane, builder, &[]).await?;
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"},
        "stringData": {"ca.crt": it.postgres.authority().pem()},
    }))
    .await?;
    let mut policy = it.policy();
    policy["spec"]["connection"]["tls"] = json!({"mode": "VerifyFull", "caSecretRef": {"name": "ca"}});
    it.apply(&policy).await?;
    it.serves().await?;
    for (certificate, failure) in [
        (ServerCertificate::Expired, "CertificateExpired"),
        (ServerCertificate::WrongName, "CertificateNameMismatch"),
    ] {
        it.postgres.replica(0).use_certificate(certificate)?;
        it.postgres.replica(0).reload()?;
        let held = it.endpoint("replica-1", "ConfigurationHeld", SOON).await?;
        ensure!(
            held.server.eligible && held.server.failure.as_deref() == Some(failure),
            "{held:?}"
        );
        it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
        // The same server by its name is another target: it is not admitted.
        let new = json!({"id": "new", "host": it.postgres.replica(0).name()});
        let mut with = policy.clone();
        if let Some(replicas) = with["spec"]["replicas"].as_array_mut() {
            replicas.push(new);
        }
        it.apply(&with).await?;
        let refused = it.fails("new", "ConfigurationFailed", failure).await?;
        ensure!(!refused.server.eligible, "{refused:?}");
        it.postgres.replica(0).use_certificate(ServerCertificate::Valid)?;
        it.postgres.replica(0).reload()?;
        // Two names of one server: the first by id is used.
        it.endpoint("new", "Serving", SOON).await?;
        it.endpoint("replica-1", "SameServer", SOON).await?;
        it.apply(&policy).await?;
    }
    Ok(())
}

async fn unusual_certificates(plane: Arc<ControlPlane>) -> Result<()> {
    const ROOT: &str = include_str!("../../probe/src/tls/version_1/root.crt");
    let version_1 = Identity {
        certificate: include_str!("../../probe/src/tls/version_1/server.crt").to_owned(),
        key: include_str!("../../probe/src/tls/version_1/server.key").to_owned(),
    };
    let builder = PgCluster::builder().replicas(1).tls(Tls::default());
    let it = Fixture::start_with(plane, builder, &[]).await?;
    let replica = it.postgres.replica(0);
    let ca = |of_replica: &str| {
        let pem = format!("{}{of_replica}", it.postgres.authority().pem());
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "stringData": {"ca.crt": pem}})
    };
    replica.use_identity(&version_1)?;
    replica.reload()?;
    it.apply(&ca(ROOT)).await?;
    let mut policy = it.policy();
    policy["spec"]["connection"]["tls"] = json!({"mode": "VerifyCA", "caSecretRef": {"name": "ca"}});
    it.apply(&policy).await?;
    // It is signed by a CA of the list, but of version 1.
    it.fails("replica-1", "ConfigurationFailed", "CertificateUnsupported")
        .await?;
    it.endpoint("primary", "Serving", SOON).await?;
    // As in Require, and where it is itself in the list.
    let mut requires = policy.clone();
    requires["spec"]["connection"]["tls"] = json!({"mode": "Require"});
    it.apply(&requires).await?;
    it.serves().await?;
    it.apply(&ca(&version_1.certificate)).await?;
    it.apply(&policy).await?;
    it.serves().await?;
    // One that the server signed itself.
    let identity = Authority::self_signed(&[replica.name()], &[replica.address().into()])?;
    replica.use_identity(&identity)?;
    replica.reload()?;
    it.fails("replica-1", "ConfigurationHeld", "CertificateUnsupported")
        .await?;
    it.apply(&ca(&identity.certificate)).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    policy["spec"]["connection"]["tls"]["mode"] = json!("VerifyFull");
    it.apply(&policy).await?;
    it.serves().await
}

async fn line_ends(plane: Arc<ControlPlane>) -> Result<()> {
    let builder = PgCluster::builder().replicas(1).setting("log_connections", "on");
    let it = Fixture::start_with(plane, builder, &[]).await?;
    let replica = it.postgres.replica(0);
    it.apply(&secret("probe", PROBE.user, &format!("{}\n", PROBE.password)))
        .await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    let resolved = it.condition("ResolvedRefs", "True", "Resolved").await?;
    let told = "The user or password of primary, replica-1 ends with a line break: where a server refuses it, the operator logs in \
                without the line break.";
    ensure!(resolved.message.ends_with(told), "{}", resolved.message);
    // What the server took is sent first from then on.
    let refused = || replica.log().matches("password authentication failed").count();
    let (before, checks) = (refused(), it.checks().await?);
    ensure!((1..=2).contains(&before), "{before} refused logins");
    wait::eventually("whole checks", SOON, || async {
        it.checks().await.is_ok_and(|now| now > checks + 8)
    })
    .await?;
    ensure!(refused() == before, "{before}, then {}", refused());
    Ok(())
}

async fn hosts_of_secret(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    let annotated = |hosts: &str| {
        let mut object = secret("probe", PROBE.user, PROBE.password);
        object["metadata"]["annotations"] = json!({"distributary.dev/hosts": hosts});
        object
    };
    let (primary, one) = (it.postgres.primary().address(), it.postgres.replica(0).address());
    it.apply(&annotated(&format!("{primary}, {one}/32"))).await?;
    it.apply(&it.policy()).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.fails("replica-2", "ConfigurationFailed", "SecretNotForHost")
        .await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    // A list that is none forbids all; what is served is held.
    it.apply(&annotated("*.example.com")).await?;
    let told = it.condition("ResolvedRefs", "False", "SecretUnresolved").await?;
    ensure!(
        told.message.contains("annotation distributary.dev/hosts"),
        "{}",
        told.message
    );
    it.apply(&annotated("198.18.0.0/15")).await?;
    it.serves().await
}

async fn required_tls(plane: Arc<ControlPlane>) -> Result<()> {
    let builder = PgCluster::builder().replicas(1).tls(Tls::default());
    let it = Fixture::start_with(plane, builder, &["--require-tls=VerifyCA"]).await?;
    let ca = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"},
        "stringData": {"ca.crt": it.postgres.authority().pem()},
    });
    it.apply(&ca).await?;
    let mut policy = it.policy();
    for mode in ["Disable", "Require"] {
        policy["spec"]["connection"]["tls"] = json!({"mode": mode});
        it.apply(&policy).await?;
        it.fails("replica-1", "ConfigurationFailed", "TlsModeTooLow")
            .await?;
    }
    policy["spec"]["connection"]["tls"] = json!({"mode": "VerifyCA", "caSecretRef": {"name": "ca"}});
    it.apply(&policy).await?;
    it.serves().await
}

async fn canary(plane: Arc<ControlPlane>) -> Result<()> {
    const CANARY: &str = "canary-7f3a91";
    let it = Fixture::ready(plane, 1).await?;
    // Used once for good, then wrong, then in a URL that cannot be read.
    it.postgres.primary().set_password(PROBE.user, CANARY).await?;
    it.apply(&secret("probe", PROBE.user, CANARY)).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    it.postgres.primary().set_password(PROBE.user, "another").await?;
    it.endpoint("replica-1", "ConfigurationHeld", SOON).await?;
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "url"},
        "stringData": {"url": format!("postgresql://probe:{CANARY}@host:99999/{CANARY}")},
    }))
    .await?;
    it.patch(
        json!({"spec": {"replicas": [{"id": "by-url", "urlSecretRef": {"name": "url", "key": "url"}}]}}),
    )
    .await?;
    it.condition("ResolvedRefs", "False", "SecretUnresolved").await?;
    let everything = [
        "get",
        "rsp,configmaps,services,endpointslices,events",
        "-n",
        &it.namespace,
        "-o",
        "yaml",
    ];
    let objects = it.plane.kubectl(&everything).await?;
    let metrics = it.operator.http_get("/metrics").await?.body;
    for (output, text) in [
        ("objects", objects),
        ("metrics", metrics),
        ("log", it.operator.log()),
    ] {
        ensure!(
            !text.is_empty() && !text.contains(CANARY),
            "the password is in the {output}"
        );
    }
    Ok(())
}

async fn named_access(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start_with(plane, PgCluster::builder().replicas(1), &["--secrets", "named"]).await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.postgres.primary().set_password(PROBE.user, "rotated").await?;
    it.endpoint("replica-1", "ConfigurationHeld", SOON).await?;
    it.apply(&secret("probe", PROBE.user, "rotated")).await?;
    it.endpoint("replica-1", "Serving", SOON).await?;
    let audit = it.audit()?;
    let of_secrets = audit.iter().filter(|event| event.resource == "secrets");
    let unnamed: Vec<_> = of_secrets
        .filter(|event| event.verb != "get" && !event.uri.contains("metadata.name%3Dprobe"))
        .collect();
    ensure!(unnamed.is_empty(), "{unnamed:?}");
    Ok(())
}
