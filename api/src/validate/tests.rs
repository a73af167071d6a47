mod broken;
mod lag;
mod routing;
mod services;
mod size;

use distributary_core::policy::{Mode, Strategy};
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use distributary_core::cluster::Cluster;
use distributary_core::hosts::HostList;
use distributary_core::login::{Login, SecretProblem, Sensitive, TlsMode, UnresolvedSecret};
use distributary_core::outputs::Format;
use distributary_core::percent::Percent;
use distributary_core::policy::{
    BreakerSettings, EndpointState, Failover, IdentityRule, LagSettings, LagSource, OnPrimaryLoss,
    OnReadLoss, PrimaryRole, Probing,
};
use distributary_core::routing::{Least, ReadFallback};
use distributary_core::server::Location;

fn object(spec: Value) -> crate::ReplicaSetPolicy {
    let object = json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1", "generation": 4},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// A primary, replicas as given, and more of the spec.
fn spec(replicas: &Value, more: &Value) -> Value {
    let mut spec = json!({"primary": {"host": "198.18.0.1"}, "replicas": replicas});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

fn valid(spec: Value) -> Policy {
    policy(&object(spec)).unwrap().policy
}

fn outputs_of(spec: Value) -> Outputs {
    policy(&object(spec)).unwrap().outputs
}

/// What is looked up for one endpoint.
fn resolved(spec: Value, secrets: &Secrets, id: &str) -> ResolvedEndpoint {
    let object = object(spec);
    policy(&object).unwrap();
    let mut all = resolve(&object, secrets, &Services::new());
    all.remove(&EndpointId::from(id)).unwrap()
}

fn problems(spec: Value) -> Vec<Problem> {
    let object = object(spec);
    policy(&object).unwrap_err()
}

fn secret(name: &str, keys: &[(&str, &str)]) -> Secrets {
    let keys = keys
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
        .collect();
    Secrets::from([(name.to_owned(), Ok(SecretKeys(keys)))])
}

fn login(spec: Value, secrets: &Secrets, id: &str) -> Result<Login, UnresolvedSecret> {
    let login = resolved(spec, secrets, id).login;
    login.map(|login| Login::clone(&login))
}

/// A spec with one replica that has these fields.
fn replica(fields: &Value) -> Value {
    let mut replica = json!({"id": "a", "host": "198.18.0.2"});
    for (key, value) in fields.as_object().into_iter().flatten() {
        replica[key] = value.clone();
    }
    spec(&json!([replica]), &json!({}))
}

fn with(more: &Value) -> Value {
    spec(&json!([]), more)
}

#[test]
fn the_hosts_that_a_secret_is_for_belong_to_the_login() {
    let login_of = || with(&json!({"connection": {"credentialsSecretRef": {"name": "s"}}}));
    let keys = [("username", "probe"), ("password", "secret")];
    let annotated = |hosts: &str| {
        let keys = keys.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let annotations = BTreeMap::from([(super::secrets::HOSTS.to_owned(), hosts.to_owned())]);
        let keys = SecretKeys::annotated(keys.into(), Some(&annotations));
        Secrets::from([("s".to_owned(), Ok(keys))])
    };
    let of = |secrets: &Secrets| login(login_of(), secrets, "primary").map(|login| login.hosts);
    assert_eq!(of(&secret("s", &keys)), Ok(None));
    assert_eq!(
        of(&annotated(".example.com, 10.0.0.0/8")),
        Ok(HostList::parse(".example.com,10.0.0.0/8"))
    );
    let message = of(&annotated("*.example.com")).unwrap_err().to_string();
    assert_eq!(
        message,
        "Secret s has an annotation distributary.dev/hosts that must list at most 256 hosts, separated by commas: names, suffixes such as \
         .example.com, addresses and CIDRs"
    );
    // The Secret with the URL says it, and where the URL has no user, that with the user, too.
    let by_url = |url: &str| {
        let mut secrets = annotated("10.0.0.0/8");
        let keys = BTreeMap::from([("k".to_owned(), url.as_bytes().to_vec())]);
        let annotations = BTreeMap::from([(super::secrets::HOSTS.to_owned(), ".example.com".to_owned())]);
        secrets.insert(
            "url".to_owned(),
            Ok(SecretKeys::annotated(keys, Some(&annotations))),
        );
        let own = json!([{"id": "a", "urlSecretRef": {"name": "url", "key": "k"}}]);
        let spec = spec(
            &own,
            &json!({"connection": {"credentialsSecretRef": {"name": "s"}}}),
        );
        login(spec, &secrets, "a").map(|login| login.hosts)
    };
    assert_eq!(
        by_url("postgresql://u:p@db.example.com/"),
        Ok(HostList::parse(".example.com"))
    );
    let both = HostList::parse(".example.com").unwrap();
    let both = both.and(&HostList::parse("10.0.0.0/8").unwrap());
    assert_eq!(by_url("postgresql://db.example.com/"), Ok(Some(both)));
}

#[test]
fn the_hosts_that_a_client_certificate_is_for_belong_to_the_login_that_uses_it() {
    let of = |mode: &str, hosts: &str| {
        let keys = ["tls.crt", "tls.key"].map(|key| (key.to_owned(), b"PEM".to_vec()));
        let annotations = BTreeMap::from([(super::secrets::HOSTS.to_owned(), hosts.to_owned())]);
        let keys = SecretKeys::annotated(keys.into(), Some(&annotations));
        let secrets = Secrets::from([("client".to_owned(), Ok(keys))]);
        let tls = json!({"mode": mode, "clientCertSecretRef": {"name": "client"}});
        login(with(&json!({"connection": {"tls": tls}})), &secrets, "primary").map(|login| login.hosts)
    };
    assert_eq!(of("VerifyFull", "10.0.0.0/8"), Ok(HostList::parse("10.0.0.0/8")));
    let message = of("Require", "*").unwrap_err().to_string();
    assert!(
        message.starts_with("Secret client has an annotation distributary.dev/hosts"),
        "{message}"
    );
}

#[test]
fn defaults() {
    let policy = valid(replica(&json!({})));
    assert_eq!(policy.key, PolicyKey::new("shop", "orders"));
    assert_eq!((policy.uid.as_str(), policy.generation), ("uid-1", 4));
    assert_eq!(
        (policy.mode, outputs_of(with(&json!({}))).retain, policy.strategy),
        (Mode::Enforce, false, Strategy::RoundRobin)
    );
    let (millis, secs) = (Duration::from_millis, Duration::from_secs);
    assert_eq!(
        policy.probing,
        Probing {
            interval: secs(30),
            heartbeat: Some(secs(2)),
            timeout: secs(2),
            failover_timeout: millis(5000),
            least: Duration::ZERO,
            declared: None,
        }
    );
    assert_eq!(
        policy.breaker,
        BreakerSettings {
            enabled: true,
            failure_threshold: 5,
            reset_timeout: secs(60),
            max_reset_timeout: secs(600),
            success_threshold: 3,
            traffic_steps: vec![Percent::new(10), Percent::new(50)],
        }
    );
    assert_eq!(
        policy.failover,
        Failover {
            read_fallback: vec![ReadFallback::Primary],
            min_healthy: Least::Count(1),
            primary_role: PrimaryRole::Follow,
            on_primary_loss: OnPrimaryLoss::Hold,
            on_read_loss: OnReadLoss::Hold,
            accept_primary: None,
        }
    );
    assert_eq!(
        (policy.identity, policy.check_request.clone()),
        (IdentityRule::Learned, None)
    );
    assert_eq!(
        outputs_of(with(&json!({}))),
        Outputs {
            retain: false,
            services: Some("orders".to_owned()),
            per_class: true,
            per_region: true,
            config_map: "orders-routing".to_owned(),
            environment: "orders-env".to_owned(),
            formats: vec![Format::Libpq],
            metadata: distributary_core::outputs::ObjectMetadata::default(),
        }
    );
    assert_eq!(
        policy.clients,
        ClientSettings {
            database: "postgres".to_owned(),
            tls: TlsMode::VerifyFull,
            connect_timeout: secs(10)
        }
    );
}

#[test]
fn defaults_of_an_endpoint() {
    let policy = valid(replica(&json!({})));
    let [primary, a] = policy.endpoints.as_slice() else {
        panic!("two endpoints");
    };
    assert_eq!(
        (primary.id.as_str(), primary.declared),
        ("primary", DeclaredRole::Primary)
    );
    assert_eq!((primary.max_connections, a.max_connections), (20, 15));
    for endpoint in [primary, a] {
        let resolved = resolved(replica(&json!({})), &Secrets::new(), endpoint.id.as_str());
        assert_eq!(
            resolved.location.as_ref().map(|location| location.port),
            Some(5432)
        );
        assert_eq!((endpoint.weight, endpoint.priority), (1, 1));
        assert_eq!(
            (endpoint.state, endpoint.promotable),
            (EndpointState::Active, true)
        );
        assert!(endpoint.tags.is_empty() && resolved.pods.is_none());
        assert_eq!(
            endpoint.lag,
            LagSettings {
                own: false,
                source: LagSource::Wal,
                max: Duration::from_secs(30),
                max_bytes: None,
                recover: Duration::from_secs(15),
            }
        );
        let login = resolved.login.unwrap();
        assert_eq!(
            (
                login.user.as_str(),
                login.password.as_ref(),
                login.database.as_str()
            ),
            ("distributary", None, "postgres")
        );
        assert_eq!(login.tls.mode, TlsMode::VerifyFull);
    }
}

#[test]
fn zero_and_not_set_are_different() {
    assert_eq!(valid(replica(&json!({"weight": 0}))).endpoints[1].weight, 0);
    assert_eq!(valid(replica(&json!({"priority": 0}))).endpoints[1].priority, 0);
}

#[test]
fn an_absent_fallback_is_the_primary_and_an_empty_one_nobody() {
    let fallback = |failover: Value| {
        valid(with(&json!({"failover": failover})))
            .failover
            .read_fallback
            .clone()
    };
    assert_eq!(fallback(json!({})), [ReadFallback::Primary]);
    assert_eq!(
        fallback(json!({"readFallback": ["Primary"]})),
        [ReadFallback::Primary]
    );
    assert_eq!(fallback(json!({"readFallback": []})), []);
}

#[test]
fn disabled_services_have_no_prefix() {
    let outputs = outputs_of(with(&json!({"outputs": {"services": {"state": "Disabled"}}})));
    assert_eq!(outputs.services, None);
}

#[test]
fn a_disabled_endpoint_may_name_a_server_that_another_names() {
    let policy = valid(replica(&json!({"host": "198.18.0.1", "state": "Disabled"})));
    assert_eq!(policy.endpoints[1].state, EndpointState::Disabled);
}

#[test]
fn an_endpoint_says_its_state_and_whether_it_may_take_the_writes() {
    let policy = valid(replica(&json!({"state": "Draining", "promotable": false})));
    let endpoint = &policy.endpoints[1];
    assert_eq!(
        (endpoint.state, endpoint.promotable),
        (EndpointState::Draining, false)
    );
    assert!(endpoint.is_watched());
}

#[test]
fn a_heartbeat_of_no_time_is_off() {
    let heartbeat = |text: &str| {
        valid(with(&json!({"healthCheck": {"heartbeat": text}})))
            .probing
            .heartbeat
    };
    assert_eq!(heartbeat("0s"), None);
    assert_eq!(heartbeat("0h0ms"), None);
    assert_eq!(heartbeat("100ms"), Some(Duration::from_millis(100)));
    assert_eq!(heartbeat("1h"), Some(Duration::from_hours(1)));
}

#[test]
fn the_longest_reset_timeout_is_never_below_the_first() {
    let longest = |breaker: Value| {
        valid(with(&json!({"circuitBreaker": breaker})))
            .breaker
            .max_reset_timeout
    };
    let minutes = Duration::from_mins;
    assert_eq!(longest(json!({"resetTimeout": "9m"})), minutes(10));
    assert_eq!(longest(json!({"resetTimeout": "11m"})), minutes(11));
    assert_eq!(
        longest(json!({"resetTimeout": "11m", "maxResetTimeout": "12m"})),
        minutes(12)
    );
    assert_eq!(longest(json!({"maxResetTimeout": "1m"})), minutes(1));
}

#[test]
fn failover_says_what_it_says() {
    let policy = valid(with(&json!({"failover": {
        "primaryRole": "Pinned",
        "onPrimaryLoss": "Withdraw",
        "onReadLoss": "Withdraw",
        "acceptPrimary": "primary",
    }})));
    assert_eq!(
        policy.failover,
        Failover {
            read_fallback: vec![ReadFallback::Primary],
            min_healthy: Least::Count(1),
            primary_role: PrimaryRole::Pinned,
            on_primary_loss: OnPrimaryLoss::Withdraw,
            on_read_loss: OnReadLoss::Withdraw,
            accept_primary: Some(EndpointId::from("primary")),
        }
    );
}

#[test]
fn a_primary_with_an_id_of_its_own_is_accepted_by_it() {
    let accept = |id: &str| {
        let mut spec = with(&json!({"failover": {"acceptPrimary": id}}));
        spec["primary"]["id"] = json!("pg-0");
        policy(&object(spec))
    };
    assert!(accept("pg-0").is_ok());
    assert_eq!(accept("primary").unwrap_err()[0].rule, rules::ACCEPT_PRIMARY);
}

#[test]
fn identity_is_learned_declared_or_not_checked() {
    let identity = |identity: Value| {
        let failover = json!({"primaryRole": "Pinned"});
        valid(with(&json!({"identity": identity, "failover": failover}))).identity
    };
    assert_eq!(identity(json!({})), IdentityRule::Learned);
    assert_eq!(identity(json!({"check": "None"})), IdentityRule::Unchecked);
    assert_eq!(
        identity(json!({"systemIdentifier": "18446744073709551615"})),
        IdentityRule::Declared(u64::MAX)
    );
}

#[test]
fn a_check_is_asked_for_by_any_text_and_its_beginning_counts() {
    let asked = |text: &str| {
        let mut object = object(with(&json!({})));
        let annotation = (api::CHECK_REQUESTED_AT.to_owned(), text.to_owned());
        object.metadata.annotations = Some(BTreeMap::from([annotation]));
        policy(&object).unwrap().policy.check_request.clone()
    };
    assert_eq!(asked(""), None);
    assert_eq!(asked("now").as_deref(), Some("now"));
    assert_eq!(asked(&"ü".repeat(65)), Some("ü".repeat(64)));
}

#[test]
fn the_connection_of_an_endpoint_goes_before_the_policys_field_by_field() {
    let spec = spec(
        &json!([{"id": "a", "host": "198.18.0.2", "connection": {"database": "b", "tls": {"mode": "Require"}}}]),
        &json!({"connection": {
            "database": "p",
            "credentialsSecretRef": {"name": "c"},
            "tls": {"mode": "Disable"},
        }}),
    );
    let secrets = secret("c", &[("username", "probe"), ("password", "canary-5c1f")]);
    let own = login(spec.clone(), &secrets, "a").unwrap();
    assert_eq!(
        (own.user.as_str(), own.database.as_str(), own.tls.mode),
        ("probe", "b", TlsMode::Require)
    );
    let policys = login(spec, &secrets, "primary").unwrap();
    assert_eq!(
        (policys.user.as_str(), policys.database.as_str(), policys.tls.mode),
        ("probe", "p", TlsMode::Disable)
    );
}

#[test]
fn what_a_url_names_goes_before_the_connection() {
    let spec = spec(
        &json!([{"id": "a", "urlSecretRef": {"name": "u", "key": "url"}}]),
        &json!({"connection": {"database": "p", "tls": {"mode": "VerifyCA"}}}),
    );
    let secrets = secret(
        "u",
        &[(
            "url",
            "postgresql://probe:pw@db.example.com:6432/x?sslmode=disable",
        )],
    );
    let endpoint = resolved(spec, &secrets, "a");
    let location = endpoint.location.as_ref().unwrap();
    assert_eq!(
        (location.host.to_string().as_str(), location.port),
        ("db.example.com", 6432)
    );
    let login = endpoint.login.as_ref().unwrap();
    assert_eq!(
        (login.user.as_str(), login.database.as_str(), login.tls.mode),
        ("probe", "x", TlsMode::Disable)
    );
}

#[test]
fn a_secret_that_cannot_be_had_is_no_fault_of_the_policy() {
    let spec = with(&json!({"connection": {"credentialsSecretRef": {"name": "c"}}}));
    let cases: Vec<(Secrets, SecretProblem)> = vec![
        (Secrets::new(), SecretProblem::Unavailable),
        (
            Secrets::from([("c".to_owned(), Err(SecretProblem::Forbidden))]),
            SecretProblem::Forbidden,
        ),
        (
            secret("c", &[("username", "u")]),
            SecretProblem::KeyMissing("password".to_owned()),
        ),
        (
            secret(
                "c",
                &[("username", "u"), ("POSTGRES_PASSWORD", "p"), ("canary", "c")],
            ),
            SecretProblem::KeyNamedOtherwise {
                key: "password".to_owned(),
                has: "POSTGRES_PASSWORD".to_owned(),
            },
        ),
        (
            secret("c", &[("username", "u"), ("password", "")]),
            SecretProblem::Malformed {
                key: "password".to_owned(),
                must: "must not be empty, nor hold a zero byte",
            },
        ),
    ];
    for (secrets, problem) in cases {
        let unresolved = login(spec.clone(), &secrets, "primary").unwrap_err();
        assert_eq!((unresolved.secret.as_str(), unresolved.problem), ("c", problem));
    }
}

#[test]
fn a_secret_that_the_mode_does_not_use_is_not_asked_for() {
    let spec = spec(
        &json!([{"id": "a", "host": "198.18.0.2", "connection": {"tls": {"mode": "Disable"}}}]),
        &json!({"connection": {"tls": {"caSecretRef": {"name": "ca"}}}}),
    );
    assert!(login(spec.clone(), &Secrets::new(), "a").is_ok());
    assert!(login(spec, &Secrets::new(), "primary").is_err());
}

#[test]
fn the_ca_is_under_its_usual_key_or_the_named_one() {
    let mode = |key: Value| with(&json!({"connection": {"tls": {"caSecretRef": key}}}));
    let secrets = secret("ca", &[("ca.crt", "usual"), ("other", "named")]);
    let ca = |key| login(mode(key), &secrets, "primary").unwrap().tls.ca;
    assert_eq!(ca(json!({"name": "ca"})).as_deref(), Some("usual"));
    assert_eq!(
        ca(json!({"name": "ca", "key": "other"})).as_deref(),
        Some("named")
    );
}

#[test]
fn a_user_or_password_that_no_server_takes_is_refused() {
    let long = "p".repeat(8193);
    let of = |user: &str, password: &str| {
        let keys = [("username", user), ("password", password)];
        let spec = with(&json!({"connection": {"credentialsSecretRef": {"name": "s"}}}));
        let login = login(spec, &secret("s", &keys), "primary");
        login.map_err(|unresolved| unresolved.to_string()).map(drop)
    };
    let refused = |key: &str| {
        Err(format!(
            "Secret s has a value under {key} that must have at most 8192 bytes"
        ))
    };
    assert_eq!(of("probe", &long[1..]), Ok(()));
    assert_eq!(of("probe", &long), refused("password"));
    assert_eq!(of(&long, "secret"), refused("username"));
}

#[test]
fn certificates_and_keys_are_kept_once_for_all_endpoints() {
    let own = |id: &str, host: &str| json!({"id": id, "host": host, "connection": {"database": id}});
    let spec = spec(
        &json!([own("a", "198.18.0.2"), own("b", "198.18.0.3")]),
        &json!({"connection": {"tls": {"caSecretRef": {"name": "s"}, "clientCertSecretRef": {"name": "s"}}}}),
    );
    let object = object(spec);
    let keys = [("ca.crt", "CA"), ("tls.crt", "chain"), ("tls.key", "key")];
    let all = resolve(&object, &secret("s", &keys), &Services::new());
    let of = |id: &str| {
        let login = all[&EndpointId::from(id)].login.as_ref().unwrap();
        let client = login.tls.client.as_ref().unwrap();
        let texts = [
            login.tls.ca.as_deref().unwrap(),
            &*client.chain,
            client.key.reveal(),
        ];
        texts.map(str::as_ptr)
    };
    assert!(of("a") == of("b") && of("a") == of("primary"));
}

#[test]
fn every_secret_that_is_named_is_referred_to() {
    let spec = spec(
        &json!([{"id": "a", "urlSecretRef": {"name": "url", "key": "k"}, "connection": {"credentialsSecretRef": {"name": "own"}}}]),
        &json!({"connection": {
            "credentialsSecretRef": {"name": "login"},
            "tls": {"caSecretRef": {"name": "ca"}, "clientCertSecretRef": {"name": "cert"}},
        }}),
    );
    let names: Vec<_> = references(&object(spec).spec).into_iter().collect();
    assert_eq!(names, ["ca", "cert", "login", "own", "url"]);
}

#[test]
fn the_secrets_of_a_login_are_those_that_say_as_whom() {
    let spec = spec(
        &json!([
            {"id": "a", "urlSecretRef": {"name": "url", "key": "k"}, "connection": {"credentialsSecretRef": {"name": "own"}}},
            {"id": "b", "host": "198.18.0.3", "connection": {"tls": {"clientCertSecretRef": {"name": "b-cert"}}}},
        ]),
        &json!({"connection": {
            "credentialsSecretRef": {"name": "login"},
            "tls": {"caSecretRef": {"name": "ca"}, "clientCertSecretRef": {"name": "cert"}},
        }}),
    );
    let logins = login_references(&object(spec).spec);
    let of = |id: &str| {
        let names = logins[&EndpointId::from(id)].iter();
        names.map(String::as_str).collect::<Vec<_>>()
    };
    assert_eq!(of("primary"), ["cert", "login"]);
    assert_eq!(of("a"), ["cert", "own", "url"]);
    assert_eq!(of("b"), ["b-cert", "login"]);
}

#[test]
fn a_policy_shows_no_password_and_no_key() {
    const CANARY: &str = "canary-5c1f";
    let spec = spec(
        &json!([{"id": "a", "urlSecretRef": {"name": "s", "key": "url"}}]),
        &json!({"connection": {"credentialsSecretRef": {"name": "s"}, "tls": {"clientCertSecretRef": {"name": "s"}}}}),
    );
    let url = format!("postgresql://probe:{CANARY}@198.18.0.2/");
    let keys = [
        ("username", "probe"),
        ("password", CANARY),
        ("url", url.as_str()),
        ("tls.crt", "chain"),
        ("tls.key", CANARY),
    ];
    let object = object(spec);
    let endpoints = resolve(&object, &secret("s", &keys), &Services::new());
    let passwords: BTreeMap<_, _> = endpoints
        .iter()
        .map(|(id, endpoint)| (id.as_str(), endpoint.login.as_ref().unwrap()))
        .collect();
    for login in passwords.values() {
        assert_eq!(login.password.as_ref().unwrap().reveal(), CANARY, "it is there");
    }
    let resolved = Resolved::new(endpoints.clone(), Cluster::default());
    for shown in [format!("{resolved:?}"), format!("{resolved:#?}")] {
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(shown.contains("[redacted]"));
    }
}

/// Secrets change one by one: in the middle of a migration two may name one host.
#[test]
fn two_urls_of_one_server_make_no_policy_invalid_and_the_later_endpoint_is_passed_over() {
    let by_url = |id: &str, secret: &str, state: &str| json!({"id": id, "urlSecretRef": {"name": secret, "key": "url"}, "state": state});
    let mut secrets = secret(
        "first",
        &[("url", "postgresql://u:canary-5c1f@pg-1.example.com/a")],
    );
    secrets.extend(secret(
        "second",
        &[("url", "postgresql://u:canary-5c1f@PG-1.example.com:5432/b")],
    ));
    let told = |replicas: Value| {
        let object = object(spec(&replicas, &json!({})));
        policy(&object).unwrap();
        let all = resolve(&object, &secrets, &Services::new());
        let passed: Vec<_> = all
            .iter()
            .filter(|(_, it)| it.is_passed_over())
            .map(|(id, _)| id.to_string())
            .collect();
        (
            passed.join(" "),
            Resolved::new(all, Cluster::default())
                .problems()
                .into_iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        )
    };
    assert_eq!(
        told(json!([
            by_url("b", "first", "Active"),
            by_url("a", "second", "Active")
        ])),
        (
            "a".to_owned(),
            "Secret second makes endpoints b and a name one server: a is not used".to_owned()
        )
    );
    // Which of the two has the Secret makes no difference.
    assert_eq!(
        told(json!([by_url("b", "first", "Active"), {"id": "a", "host": "pg-1.example.com"}])),
        (
            "a".to_owned(),
            "Secret first makes endpoints b and a name one server: a is not used".to_owned()
        )
    );
    let disabled = json!([by_url("b", "first", "Disabled"), by_url("a", "second", "Active")]);
    assert_eq!(told(disabled), (String::new(), String::new()));
}

#[test]
fn a_bad_url_shows_nothing_of_itself() {
    let spec = spec(
        &json!([{"id": "a", "urlSecretRef": {"name": "u", "key": "url"}}]),
        &json!({}),
    );
    let secrets = secret("u", &[("url", "postgresql://probe:canary-5c1f@127.0.0.1/")]);
    let unresolved = login(spec, &secrets, "a").unwrap_err();
    assert!(!format!("{unresolved} {unresolved:?}").contains("canary"));
    assert_eq!(
        unresolved.to_string(),
        "Secret u has a value under url that must not name a loopback, link-local, multicast or unspecified address, nor that of the metadata of a cloud"
    );
}

/// A password for one Secret that has none, and for one server.
struct Outside;

impl PasswordSource for Outside {
    fn needs_password(&self, secret: &str) -> bool {
        secret != "c"
    }

    fn password(&self, location: Option<&Location>, database: &str, user: &str) -> Option<Sensitive> {
        let host = location?.host.to_string();
        (host == "198.18.0.2").then(|| Sensitive::new(&format!("{user} of {database}")))
    }
}

#[test]
fn a_password_that_no_secret_has_comes_from_outside_where_a_secret_may_lack_it() {
    let login = |secret_name: &str, keys: &[(&str, &str)], host: &str| {
        let reference = json!({"credentialsSecretRef": {"name": secret_name}});
        let object = object(replica(&json!({"host": host, "connection": reference})));
        let secrets = secret(secret_name, keys);
        let endpoints = resolve_with(
            &object,
            &secrets,
            &Services::new(),
            LoginSources {
                passwords: Some(&Outside),
                ..LoginSources::default()
            },
        );
        let login = endpoints[&"a".into()].login.clone();
        login.map(|login| {
            login
                .password
                .as_ref()
                .map(|password| password.reveal().to_owned())
        })
    };
    let user = ("username", "u");
    let outside = login("c", &[user], "198.18.0.2").unwrap();
    assert_eq!(outside.as_deref(), Some("u of postgres"));
    assert_eq!(login("c", &[user], "198.18.0.3").unwrap(), None);
    let own = login("c", &[user, ("password", "p")], "198.18.0.2").unwrap();
    assert_eq!(own.as_deref(), Some("p"));
    let needed = login("d", &[user], "198.18.0.2").unwrap_err();
    assert_eq!(needed.problem, SecretProblem::KeyMissing("password".to_owned()));
}

/// The name of the default, written out, is the default.
#[test]
fn the_config_map_of_variables_is_named_after_the_policy_or_the_name_that_is_set() {
    let environment = |config_map: Value| {
        let outputs = json!({"configMap": config_map});
        outputs_of(json!({"primary": {"host": "198.18.0.1"}, "outputs": outputs})).environment
    };
    assert_eq!(environment(json!({})), "orders-env");
    assert_eq!(environment(json!({"name": "orders-routing"})), "orders-env");
    assert_eq!(environment(json!({"name": "urls"})), "urls-env");
}

/// What a rule is about is quoted; what has not the form of a name is not.
#[test]
fn a_problem_of_several_names_quotes_those_that_it_is_about() {
    let told = |replica_fields: Value, more: Value| {
        let mut replica = json!({"id": "a", "host": "198.18.0.2"});
        for (key, value) in replica_fields.as_object().into_iter().flatten() {
            replica[key] = value.clone();
        }
        let problems = policy(&object(spec(&json!([replica]), &more))).unwrap_err();
        problems.iter().map(Problem::says).collect::<Vec<_>>()
    };
    let classes = |classes: Value| json!({"routing": {"classes": classes}});
    assert_eq!(
        told(
            json!({"dedicatedTo": ["analytics", "nobody", "no one"]}),
            json!({})
        ),
        [format!("{}: nobody", rules::DEDICATED_CLASS)]
    );
    assert_eq!(
        told(
            json!({}),
            classes(json!([
                {"name": "x", "operations": ["audit", "export"]},
                {"name": "y", "operations": ["export", "audit"]},
            ]))
        ),
        [format!("{}: export, audit", rules::OPERATION_ONCE)]
    );
    assert_eq!(
        told(
            json!({}),
            classes(json!([{"name": "x", "replicaSelector": {"ids": ["a", "nobody", "primary"]}}]))
        ),
        [format!("{}: nobody", rules::SELECTOR_IDS)]
    );
    assert_eq!(
        told(json!({}), json!({"failover": {"acceptPrimary": "b"}})),
        [format!("{}: b", rules::ACCEPT_PRIMARY)]
    );
}
