//! How far a replica may be behind: the policy's word, and an endpoint's own.

use super::*;

fn lag(policys: &Value, own: &Value) -> LagSettings {
    let replica = json!({"id": "a", "host": "198.18.0.2", "replicationLag": own});
    let policy = valid(spec(&json!([replica]), &json!({"replicationLag": policys})));
    policy.endpoints[1].lag.clone()
}

fn refused(policys: &Value, own: &Value) -> Vec<String> {
    let replica = json!({"id": "a", "host": "198.18.0.2", "replicationLag": own});
    let problems = problems(spec(&json!([replica]), &json!({"replicationLag": policys})));
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn zero_is_a_bound_and_absent_is_the_default() {
    let lag = |policys: Value| lag(&policys, &json!({}));
    assert_eq!(lag(json!({"max": "0s"})).max, Duration::ZERO);
    assert_eq!(lag(json!({"max": "0s"})).recover, Duration::ZERO);
    assert_eq!(lag(json!({})).max, Duration::from_secs(30));
    assert_eq!(lag(json!({"maxBytes": "0"})).max_bytes, Some(0));
    assert_eq!(lag(json!({})).max_bytes, None);
}

#[test]
fn a_replica_returns_at_half_of_the_bound_or_where_it_is_told() {
    assert_eq!(
        lag(&json!({"max": "5m"}), &json!({})).recover,
        Duration::from_secs(150)
    );
    assert_eq!(
        lag(&json!({"max": "5m", "recover": "0s"}), &json!({})).recover,
        Duration::ZERO
    );
    // Its own bound, and half of that.
    assert_eq!(
        lag(&json!({"max": "5m"}), &json!({"max": "1m"})).recover,
        Duration::from_secs(30)
    );
}

#[test]
fn an_endpoints_own_goes_before_the_policys_field_by_field() {
    let settings = lag(
        &json!({"max": "5m", "maxBytes": "1Gi", "recover": "1m"}),
        &json!({"max": "10m", "source": "None"}),
    );
    assert_eq!(
        settings,
        LagSettings {
            own: true,
            source: LagSource::None,
            max: Duration::from_mins(10),
            max_bytes: Some(1 << 30),
            recover: Duration::from_mins(1),
        }
    );
}

#[test]
fn bytes_are_whole_and_have_the_suffixes_of_kubernetes() {
    let bytes = |text: &str| lag(&json!({"maxBytes": text}), &json!({})).max_bytes;
    for (text, expected) in [
        ("268435456", 268_435_456),
        ("256Mi", 268_435_456),
        ("3k", 3_000),
        ("3Ki", 3_072),
        ("4M", 4_000_000),
        ("5G", 5_000_000_000),
        ("5Gi", 5 << 30),
        ("6T", 6_000_000_000_000),
        ("6Ti", 6 << 40),
        ("1P", 1_000_000_000_000_000),
        ("1Pi", 1 << 50),
    ] {
        assert_eq!(bytes(text), Some(expected), "{text}");
    }
    for text in [
        "",
        "Mi",
        "-1",
        "1.5Gi",
        "1Ei",
        "1 Mi",
        "100m",
        "1e3",
        "1K",
        "2P",
        "1025Ti",
        "9999999999999999P",
    ] {
        let told = refused(&json!({"maxBytes": text}), &json!({}));
        assert_eq!(
            told,
            [format!("spec.replicationLag.maxBytes: {}", rules::LAG_MAX_BYTES)]
        );
    }
}

#[test]
fn a_query_belongs_to_its_source() {
    let asked = json!({"source": "Query", "lagQuery": "SELECT 0"});
    let source = |policys: &Value, own: Value| lag(policys, &own).source;
    assert_eq!(source(&asked, json!({})), LagSource::Query("SELECT 0".into()));
    assert_eq!(
        source(&asked, json!({"lagQuery": "SELECT 1"})),
        LagSource::Query("SELECT 1".into())
    );
    assert_eq!(
        source(&asked, json!({"source": "Query"})),
        LagSource::Query("SELECT 0".into())
    );
    assert_eq!(source(&asked, json!({"source": "Wal"})), LagSource::Wal);
    assert_eq!(
        source(&json!({}), asked.clone()),
        LagSource::Query("SELECT 0".into())
    );
}

#[test]
fn what_does_not_fit_together_is_told_once_and_where_it_is_declared() {
    let own = "spec.replicas[0].replicationLag";
    let recover = format!("{own}.recover: {}", rules::RECOVER);
    let needs_source = format!("{own}.lagQuery: {}", rules::LAG_QUERY_NEEDS_SOURCE);
    let missing = format!("{own}.lagQuery: {}", rules::LAG_QUERY_MISSING);
    for (policys, own, told) in [
        (json!({"recover": "15s"}), json!({"max": "10s"}), &recover),
        (json!({"max": "10s"}), json!({"recover": "15s"}), &recover),
        (json!({}), json!({"recover": "31s"}), &recover),
        (json!({}), json!({"lagQuery": "SELECT 0"}), &needs_source),
        (
            json!({"source": "Query", "lagQuery": "SELECT 0"}),
            json!({"source": "Wal", "lagQuery": "SELECT 0"}),
            &needs_source,
        ),
        (json!({}), json!({"source": "Query"}), &missing),
    ] {
        assert_eq!(
            refused(&policys, &own),
            std::slice::from_ref(told),
            "{policys} {own}"
        );
    }
    // The policy's own fault, and no fault of an endpoint that says something else.
    let told = refused(&json!({"recover": "31s"}), &json!({"maxBytes": "1"}));
    assert_eq!(told, [format!("spec.replicationLag.recover: {}", rules::RECOVER)]);
    let told = refused(&json!({"source": "Query"}), &json!({"maxBytes": "1"}));
    assert_eq!(
        told,
        [format!(
            "spec.replicationLag.lagQuery: {}",
            rules::LAG_QUERY_MISSING
        )]
    );
}

#[test]
fn a_query_is_one_statement() {
    for query in ["SELECT 0;", "SELECT ';'", "", " \n", "SELECT 0\u{0}"] {
        let told = refused(&json!({"source": "Query", "lagQuery": query}), &json!({}));
        assert_eq!(
            told,
            [format!("spec.replicationLag.lagQuery: {}", rules::LAG_QUERY)],
            "{query:?}"
        );
    }
}
