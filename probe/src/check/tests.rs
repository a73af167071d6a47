mod names;

use std::sync::{Arc, Mutex};

use fake_postgres::wire::{self, answers, authentication, error, frame, logged_in, row};
use fake_postgres::{Fake, Standing, Step, script};
use tokio::net::TcpListener;

use super::*;
use crate::address::AddressRules;
use crate::fixture::{self, Checked, PASSWORD, checked, location, login};
use crate::zone::ClusterZone;
use distributary_core::login::{Login, TlsMode};
use distributary_core::observation::{Load, Lsn, NoLag, Role};
use distributary_core::server::Location;

const LONG: Duration = Duration::from_secs(20);

fn checker(location: Location, mode: TlsMode) -> Checker {
    fixture::checker(location, login(mode))
}

async fn check(fake: &Fake, mode: TlsMode) -> Checked {
    checked(&mut checker(location(fake), mode)).await
}

async fn failure_of(bytes: Vec<u8>) -> FailureKind {
    check(&Fake::saying(bytes).await, TlsMode::Disable)
        .await
        .result
        .unwrap_err()
}

#[tokio::test]
async fn an_answer_becomes_a_sample() {
    let fake = Fake::answering(Standing::primary().whole()).await;
    let observation = check(&fake, TlsMode::Disable).await;
    assert_eq!(observation.address, Some(fake.address.ip()));
    let sample = observation.result.unwrap();
    assert_eq!(sample.role, Role::Primary);
    assert_eq!(sample.lsn, Some(Lsn(0x16_B374_D848)));
    assert_eq!(sample.system_identifier, Some(u64::MAX - 1));
    assert_eq!(sample.timeline, Some(3));
    assert_eq!(sample.received, None);
    let load = Load {
        sessions: 7,
        max_connections: 100,
        reserved_connections: 3,
        transactions: 4711,
        rows_returned: 70,
        rows_changed: 8,
        databases: 3,
        resets: 1_700_000_000_000,
        started: 1_700_000_000_000_000,
    };
    assert_eq!(sample.load, Some(load));
    // The login, and the question.
    assert_eq!(sample.asked, 2);
}

#[tokio::test]
async fn a_standby_tells_what_it_received_and_from_which_timeline() {
    let fake = Fake::answering(Standing::standby().whole()).await;
    let sample = check(&fake, TlsMode::Disable).await.result.unwrap();
    assert_eq!(
        (sample.role, sample.lsn, sample.received, sample.timeline),
        (
            Role::Standby,
            Some(Lsn(0x16_B374_D000)),
            Some(Lsn(0x16_B374_D848)),
            Some(3)
        )
    );
}

#[tokio::test]
async fn a_primary_is_read_only_where_its_configuration_says_so_and_not_that_of_the_login() {
    let told = async |standing: Standing| {
        let fake = Fake::asked(move |question| standing.answer(question)).await;
        check(&fake, TlsMode::Disable).await.result.unwrap().read_only
    };
    assert!(!told(Standing::primary()).await);
    for (others, expected) in [
        (&[("default_transaction_read_only", "configuration file")], true),
        (&[("default_transaction_read_only", "command line")], true),
        (&[("default_transaction_read_only", "environment variable")], true),
        (&[("default_transaction_read_only", "global")], true),
        (&[("default_transaction_read_only", "user")], false),
        (&[("default_transaction_read_only", "database")], false),
        (&[("default_transaction_read_only", "database user")], false),
        (&[("default_transaction_read_only", "client")], false),
        (&[("default_transaction_read_only", "session")], false),
    ] {
        let primary = Standing {
            others,
            ..Standing::primary()
        };
        assert_eq!(told(primary).await, expected, "{others:?}");
        let standby = Standing {
            others,
            ..Standing::standby()
        };
        assert!(!told(standby).await, "a standby takes none anyway");
    }
}

#[tokio::test]
async fn a_standby_that_replayed_nothing_has_no_lsn() {
    let answer = answers(&[
        row(&[Some("t")]),
        row(&[None, None]),
        row(&[None, None]),
        row(&[None]),
        row(&[Some("7")]),
        Standing::standby().load(),
        row(&[None]),
    ]);
    let fake = Fake::answering(answer).await;
    let sample = check(&fake, TlsMode::Disable).await.result.unwrap();
    assert_eq!(
        (sample.role, sample.lsn, sample.timeline),
        (Role::Standby, None, None)
    );
}

/// Asks for a password in a way that is refused, and returns what it was told after the startup until the client left.
async fn told_when_asking(request: Vec<u8>) -> (FailureKind, Vec<u8>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (request, heard) = (Arc::new(request), Arc::clone(&told));
    let fake = Fake::start(move |mut session| {
        let (request, heard) = (Arc::clone(&request), Arc::clone(&heard));
        async move {
            session.opening().await?;
            // The guard must not depend on how the bytes arrive.
            let dripped = session.drip(&request).await;
            let rest = session.rest().await;
            heard.lock().unwrap().extend(rest);
            dripped
        }
    })
    .await;
    let failure = check(&fake, TlsMode::Disable).await.result.unwrap_err();
    // The client is gone: what it said has arrived.
    fake.until(|counts| counts.open == 0).await;
    let told = told.lock().unwrap().clone();
    (failure, told)
}

#[tokio::test]
async fn no_password_is_sent_to_who_asks_for_clear_text_or_md5() {
    for request in [
        authentication(3, b""),
        authentication(5, b"salt"),
        authentication(7, b""),
        authentication(99, b""),
    ] {
        let (failure, told) = told_when_asking(request).await;
        assert_eq!(failure, FailureKind::PasswordMethodRefused);
        assert_eq!(told, b"", "not a byte, and so not {PASSWORD}");
    }
}

#[tokio::test]
async fn a_clear_text_request_behind_a_scram_request_gets_no_password() {
    let scram = authentication(10, b"SCRAM-SHA-256\0\0");
    let (failure, told) = told_when_asking([scram, authentication(3, b"")].concat()).await;
    assert_eq!(failure, FailureKind::PasswordMethodRefused);
    assert!(
        !told
            .windows(PASSWORD.len())
            .any(|window| window == PASSWORD.as_bytes())
    );
}

#[tokio::test]
async fn a_method_of_sasl_that_is_not_scram_is_refused() {
    let failure = failure_of(authentication(10, b"OAUTHBEARER\0\0")).await;
    assert_eq!(failure, FailureKind::PasswordMethodRefused);
}

#[tokio::test]
async fn a_login_without_a_password_fails_where_one_is_asked_for() {
    let fake = Fake::saying(authentication(10, b"SCRAM-SHA-256\0\0")).await;
    let login = Login {
        password: None,
        ..login(TlsMode::Disable)
    };
    assert_eq!(
        checked(&mut fixture::checker(location(&fake), login))
            .await
            .result,
        Err(FailureKind::AuthenticationFailed)
    );
}

#[tokio::test]
async fn an_endless_pbkdf2_is_not_begun() {
    let scram = authentication(10, b"SCRAM-SHA-256\0\0");
    let fake = Fake::start(move |mut session| {
        let scram = scram.clone();
        async move {
            session.opening().await?;
            session.say(&scram).await?;
            let (_, body) = session.message().await?;
            let text = String::from_utf8_lossy(&body).into_owned();
            let nonce = text.split("r=").nth(1).unwrap();
            let answer = format!("r={nonce}abc,s=c2FsdA==,i=4294967295");
            session.say(&authentication(11, answer.as_bytes())).await?;
            session.rest().await;
            Ok(())
        }
    })
    .await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::ScramIterationsRefused)
    );
}

#[tokio::test]
async fn a_giant_frame_is_not_waited_for() {
    let giant = [b'E', 0x40, 0, 0, 0];
    assert_eq!(failure_of(giant.to_vec()).await, FailureKind::ReplyTooLong);
    assert_eq!(
        failure_of([logged_in(), giant.to_vec()].concat()).await,
        FailureKind::ReplyTooLong
    );
}

#[tokio::test]
async fn endless_notices_end() {
    let notice = frame(
        b'N',
        &[b"SNOTICE\0VNOTICE\0C00000\0M", &[b'x'; 1000][..], b"\0\0"].concat(),
    );
    for greeting in [authentication(0, b""), logged_in()] {
        let fake = Fake::following(script::endless(greeting, &notice)).await;
        assert_eq!(
            check(&fake, TlsMode::Disable).await.result,
            Err(FailureKind::ReplyTooLong)
        );
    }
}

#[tokio::test]
async fn endless_bytes_end() {
    let fake = Fake::following(script::endless(Vec::new(), &[0; 4096])).await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::ProtocolViolation)
    );
    let fake = Fake::following(script::endless(Vec::new(), b"HTTP/1.1 400 Bad Request\r\n")).await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::ProtocolViolation)
    );
}

#[tokio::test]
async fn a_drip_of_bytes_ends_at_the_deadline() {
    let within = Duration::from_millis(120);
    let fake = Fake::start(|mut session| async move {
        session.opening().await?;
        for byte in logged_in() {
            session.say(&[byte]).await?;
            Clock::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    })
    .await;
    let clock = Clock::new();
    let mut checker = checker(location(&fake), TlsMode::Disable);
    let found = checker.check(within, None, &Queries::default()).await;
    assert_eq!(found.result.err(), Some(FailureKind::TimedOut.into()));
    assert_eq!(found.address, Some(fake.address.ip()));
    let taken = clock.now().since_start();
    assert!(taken >= within && taken < LONG, "{taken:?}");
}

#[tokio::test]
async fn sqlstates_of_a_login_are_told_apart() {
    for (state, failure) in [
        ("57P03", FailureKind::Starting),
        ("57P01", FailureKind::Stopping),
        ("53300", FailureKind::Saturated),
        ("28P01", FailureKind::AuthenticationFailed),
        ("3D000", FailureKind::DatabaseMissing),
        ("42501", FailureKind::ConnectNotGranted),
    ] {
        assert_eq!(failure_of(error(state)).await, failure, "{state}");
        // What follows a server's error does not hide it.
        assert_eq!(
            failure_of([error(state), vec![0; 10]].concat()).await,
            failure,
            "{state}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_in_the_query_is_stopping() {
    let fake = Fake::following([
        Step::Startup,
        Step::Say(logged_in()),
        Step::Message,
        Step::Say(error("57P01")),
    ])
    .await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::Stopping)
    );
}

#[tokio::test]
async fn a_server_that_leaves_in_the_middle_closed_the_connection() {
    let (login, answer) = (logged_in(), Standing::primary().whole());
    for end in [
        0,
        3,
        9,
        20,
        login.len() - 1,
        login.len(),
        login.len() + 50,
        login.len() + answer.len() - 1,
    ] {
        let before = login[..end.min(login.len())].to_vec();
        let after = answer[..end.saturating_sub(login.len())].to_vec();
        let mut steps = vec![Step::Startup, Step::Say(before)];
        if !after.is_empty() {
            steps.extend([Step::Message, Step::Say(after)]);
        }
        steps.extend([Step::Finish, Step::Rest]);
        let fake = Fake::following(steps).await;
        assert_eq!(
            check(&fake, TlsMode::Disable).await.result,
            Err(FailureKind::ConnectionClosed),
            "{end}"
        );
    }
}

#[tokio::test]
async fn refused_and_reset_connections_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let location = Location {
        host: Host::Address(address.ip()),
        port: address.port(),
    };
    let observation = checked(&mut checker(location, TlsMode::Disable)).await;
    assert_eq!(observation.result, Err(FailureKind::ConnectRefused));

    let fake = Fake::following([Step::Startup, Step::Reset]).await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::ConnectionReset)
    );
}

#[tokio::test]
async fn nonsense_is_a_violation() {
    let unreadable = [authentication(0, b""), frame(b'S', b"no end of text")].concat();
    assert_eq!(failure_of(unreadable).await, FailureKind::ProtocolViolation);
    // An answer that nobody asked for.
    let early = [logged_in(), Standing::primary().whole()].concat();
    assert_eq!(failure_of(early).await, FailureKind::ProtocolViolation);
    let rest = [
        row(&[None, None]),
        row(&[Some("1")]),
        Standing::standby().load(),
        row(&[None]),
    ];
    let with = |role: &str, position: Vec<u8>| {
        let first = [row(&[Some(role)]), position];
        answers(&[&first[..], &rest[..]].concat())
    };
    for answer in [
        wire::ready(),
        answers(&[]),
        answers(&[row(&[None])]),
        answers(&[row(&[Some("f")])]),
        with("yes", row(&[Some("0/1"), None])),
        with("f", row(&[Some("zero"), None])),
        with("f", row(&[Some("0/1")])),
    ] {
        let observation = check(&Fake::answering(answer).await, TlsMode::Disable).await;
        assert_eq!(observation.result, Err(FailureKind::ProtocolViolation));
    }
}

/// How every question begins, up to its deadline.
const OPENING: &str = "START TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY;\
                       SELECT pg_catalog.set_config('statement_timeout', '";

/// A standby that refuses the statements with `part` in them.
fn refusing(part: &'static str, state: &'static str) -> Standing {
    Standing {
        lsn: Some(1),
        received: Some(2),
        timeline: Some(2),
        identifier: 42,
        others: &[("behind", "1.5")],
        refuses: Some((part, state)),
        ..Standing::standby()
    }
}

/// A server that keeps the questions that it is asked.
async fn listening(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (Fake, Questions) {
    let questions = Questions::default();
    let heard = Arc::clone(&questions);
    let answer = move |question: &str| {
        heard.lock().unwrap().push(question.to_owned());
        answer(question)
    };
    (Fake::asked(answer).await, questions)
}

type Questions = Arc<Mutex<Vec<String>>>;

#[tokio::test]
async fn a_server_that_refuses_a_part_is_asked_for_the_rest_and_not_again() {
    let all = (Some(Lsn(1)), Some(2), Some(42), true);
    for (part, state, told) in [
        ("pg_control_system", "42501", (all.0, all.1, None, all.3)),
        ("pg_last_wal_replay_lsn", "0A000", (None, all.1, all.2, all.3)),
        ("pg_last_wal_receive_lsn", "42883", (None, all.1, all.2, all.3)),
        ("pg_stat_wal_receiver", "0A000", (all.0, None, all.2, all.3)),
        ("pg_control_checkpoint", "42501", all),
        ("pg_stat_activity", "42501", (all.0, all.1, all.2, false)),
        ("pg_roles", "42501", all),
        ("pg_settings", "42501", all),
    ] {
        let standing = refusing(part, state);
        let (fake, queries) = listening(move |query| standing.answer(query)).await;
        let mut checker = checker(location(&fake), TlsMode::Disable);
        for rounds in [2, 1] {
            queries.lock().unwrap().clear();
            let sample = checked(&mut checker).await.result.unwrap();
            let said = (
                sample.lsn,
                sample.timeline,
                sample.system_identifier,
                sample.load.is_some(),
            );
            // What is behind the refused part needs another round, where there is anything behind it.
            let rounds = if part == "pg_settings" { 1 } else { rounds };
            assert_eq!((sample.role, said), (Role::Standby, told), "{part}");
            // A transaction that failed is ended at once.
            let queries = queries.lock().unwrap().clone();
            let (ends, questions): (Vec<_>, Vec<_>) = queries.iter().partition(|query| *query == "ROLLBACK");
            assert_eq!(questions.len(), rounds, "{part}");
            assert!(ends.is_empty() || queries[1] == "ROLLBACK", "{queries:?}");
        }
    }
}

#[tokio::test]
async fn a_part_that_fails_for_whatever_reason_is_left_out_and_asked_again_where_the_reason_may_pass() {
    for (state, again) in [
        ("P0001", false),
        ("22P02", false),
        ("42725", false),
        ("28000", false),
        ("57014", true),
        ("40001", true),
        ("55P03", true),
    ] {
        let standing = refusing("pg_stat_activity", state);
        let (fake, queries) = listening(move |query| standing.answer(query)).await;
        let mut checker = checker(location(&fake), TlsMode::Disable);
        for round in [1, 2] {
            queries.lock().unwrap().clear();
            let sample = checked(&mut checker).await.result.unwrap();
            assert_eq!((sample.lsn, sample.load), (Some(Lsn(1)), None), "{state}");
            let asked = queries.lock().unwrap()[0].contains("pg_stat_activity");
            assert_eq!(asked, again || round == 1, "{state} in round {round}");
        }
    }
    for (state, failure) in [
        ("53200", FailureKind::ServerFailing),
        ("58030", FailureKind::ServerFailing),
        ("08006", FailureKind::UpstreamLost),
        ("57P01", FailureKind::Stopping),
    ] {
        let standing = refusing("pg_stat_activity", state);
        let fake = Fake::asked(move |query| standing.answer(query)).await;
        let told = check(&fake, TlsMode::Disable).await;
        assert_eq!(told.result, Err(failure), "{state}");
    }
}

#[tokio::test]
async fn a_login_that_may_set_no_deadline_is_asked_without() {
    let standing = refusing("set_config", "42501");
    let (fake, queries) = listening(move |query| standing.answer(query)).await;
    let queries_of_policy = of_lag(&["SELECT behind".into()]);
    let mut checker = checker(location(&fake), TlsMode::Disable);
    let (sample, lags) = checker
        .check(LONG, None, &queries_of_policy)
        .await
        .result
        .unwrap();
    assert_eq!((sample.lsn, lags.len()), (Some(Lsn(1)), 1));
    let tried = queries
        .lock()
        .unwrap()
        .iter()
        .filter(|query| query.contains("set_config"))
        .count();
    assert_eq!(tried, 1, "each refusal is a line in its log");
}

#[tokio::test]
async fn a_server_that_refuses_its_role_is_alive() {
    let standing = refusing("pg_is_in_recovery()\n", "42501");
    let fake = Fake::asked(move |query| standing.answer(query)).await;
    let told = check(&fake, TlsMode::Disable).await;
    assert_eq!(told.result, Err(FailureKind::OtherError));
    assert_eq!(
        told.sqlstate.map(|code| code.to_string()),
        Some("42501".to_owned())
    );
}

#[tokio::test]
async fn an_error_without_a_kind_of_its_own_tells_its_sqlstate_and_no_other_failure_does() {
    for (state, told) in [
        ("57014", Some("57014")),
        ("40001", Some("40001")),
        ("53300", None),
        ("42501", None),
    ] {
        let fake = Fake::saying(error(state)).await;
        let sqlstate = check(&fake, TlsMode::Disable).await.sqlstate;
        assert_eq!(
            sqlstate.map(|code| code.to_string()),
            told.map(str::to_owned),
            "{state}"
        );
    }
}

#[tokio::test]
async fn the_limit_of_the_role_is_told() {
    for (others, limit) in [(&[][..], None), (&[("rolconnlimit", "1")][..], Some(1))] {
        let standing = Standing {
            others,
            ..Standing::standby()
        };
        let fake = Fake::asked(move |query| standing.answer(query)).await;
        let sample = check(&fake, TlsMode::Disable).await.result.unwrap();
        assert_eq!(sample.role_limit, limit);
    }
}

#[tokio::test]
async fn every_question_is_read_only_and_ends_on_the_server_too() {
    let standing = refusing("nothing", "42501");
    let (fake, queries) = listening(move |query| standing.answer(query)).await;
    let lag_query: Arc<str> = "SELECT behind -- a comment".into();
    let mut checker = checker(location(&fake), TlsMode::Disable);
    let (_, lags) = checker
        .check(LONG, None, &of_lag(&[Arc::clone(&lag_query)]))
        .await
        .result
        .unwrap();
    assert_eq!(lags[&lag_query], Ok(Duration::from_millis(1500)));
    let queries = queries.lock().unwrap().clone();
    assert_eq!(queries.len(), 2);
    for query in &queries {
        let within = query
            .strip_prefix(OPENING)
            .and_then(|rest| rest.split_once("', true);"));
        let within: u128 = within.unwrap().0.parse().unwrap();
        assert!((1..=LONG.as_millis()).contains(&within), "{query}");
    }
    assert!(
        queries[1].contains("SELECT behind -- a comment\n;COMMIT"),
        "{}",
        queries[1]
    );
}

fn of_lag(queries: &[Arc<str>]) -> Queries {
    Queries {
        lags: queries.to_vec(),
        probes: Vec::new(),
    }
}

fn probing(queries: &[&str]) -> Queries {
    Queries {
        lags: Vec::new(),
        probes: queries.iter().map(|&query| query.into()).collect(),
    }
}

#[tokio::test]
async fn a_probe_query_that_fails_says_nothing_of_the_server_or_of_the_others() {
    for state in ["42P01", "57014", "22012", "25006", "53200"] {
        let standing = refusing("bad_table", state);
        let fake = Fake::asked(move |query| standing.answer(query)).await;
        let queries = probing(&["SELECT FROM bad_table", "SELECT FROM good"]);
        let mut checker = checker(location(&fake), TlsMode::Disable);
        let (sample, _) = checker.check(LONG, None, &queries).await.result.unwrap();
        let answered: Vec<_> = sample.probes.values().copied().collect();
        assert_eq!(
            (sample.role, answered),
            (Role::Standby, vec![false, true]),
            "{state}"
        );
    }
}

#[tokio::test]
async fn a_probe_query_is_asked_read_only_and_ended_in_time_by_the_server() {
    let (fake, queries) = listening(|_| Standing::standby().whole()).await;
    let mut checker = checker(location(&fake), TlsMode::Disable);
    checker
        .check(LONG, None, &probing(&["SELECT 1"]))
        .await
        .result
        .unwrap();
    let queries = queries.lock().unwrap().clone();
    let probe = queries
        .iter()
        .find(|query| query.contains("SELECT 1\n;"))
        .unwrap();
    assert!(probe.starts_with(OPENING), "{probe}");
}

#[tokio::test]
async fn a_probe_query_that_hangs_does_not_fail_the_check() {
    // Nothing is written: the client waits for an answer that does not come.
    let fake = Fake::asked(|query| {
        if query.contains("hang") {
            Vec::new()
        } else {
            Standing::standby().whole()
        }
    })
    .await;
    let mut checker = checker(location(&fake), TlsMode::Disable);
    let within = Duration::from_millis(400);
    let found = checker
        .check(within, None, &probing(&["SELECT hang", "SELECT other"]))
        .await;
    let (sample, _) = found.result.unwrap();
    assert_eq!(sample.role, Role::Standby);
    assert!(
        sample.probes.values().all(|answered| !answered),
        "{:?}",
        sample.probes
    );
}

#[tokio::test]
async fn a_lag_query_that_fails_says_nothing_of_the_server() {
    for state in ["42P01", "57014", "22012", "25006"] {
        let standing = refusing("behind", state);
        let fake = Fake::asked(move |query| standing.answer(query)).await;
        let queries: [Arc<str>; 2] = ["SELECT behind".into(), "SELECT other".into()];
        let mut checker = checker(location(&fake), TlsMode::Disable);
        let (sample, lags) = checker.check(LONG, None, &of_lag(&queries)).await.result.unwrap();
        let refused = Err(NoLag::refused(state));
        assert_eq!((sample.role, &lags[&queries[0]]), (Role::Standby, &refused));
    }
}

#[tokio::test]
async fn a_lag_below_zero_is_none_and_what_is_no_number_is_not_known() {
    for (told, lag) in [
        ("-0.004", Ok(Duration::ZERO)),
        ("0", Ok(Duration::ZERO)),
        ("NaN", Err(NoLag::value("NaN"))),
        ("00:00:01", Err(NoLag::value("00:00:01"))),
        ("Infinity", Err(NoLag::value("Infinity"))),
        ("1e300", Err(NoLag::value("1e300"))),
    ] {
        let standing = Standing {
            others: Box::leak(Box::new([("behind", told)])),
            ..Standing::standby()
        };
        let fake = Fake::asked(move |query| standing.answer(query)).await;
        let queries: [Arc<str>; 1] = ["SELECT behind".into()];
        let mut checker = checker(location(&fake), TlsMode::Disable);
        let (_, lags) = checker.check(LONG, None, &of_lag(&queries)).await.result.unwrap();
        assert_eq!(lags[&queries[0]], lag, "{told}");
    }
}

#[tokio::test]
async fn a_lag_query_is_asked_of_standbys_and_what_fails_ends_at_once() {
    let asked = |standing: Standing| async move {
        let (fake, queries) = listening(move |query| standing.answer(query)).await;
        let lag_queries: [Arc<str>; 1] = ["SELECT behind".into()];
        let mut checker = checker(location(&fake), TlsMode::Disable);
        let found = checker
            .check(LONG, None, &of_lag(&lag_queries))
            .await
            .result
            .unwrap();
        let queries = queries.lock().unwrap().clone();
        (found.1, queries)
    };
    let (lags, queries) = asked(Standing::primary()).await;
    assert!(lags.is_empty() && queries.len() == 1, "{queries:?}");
    let (_, queries) = asked(refusing("behind", "42P01")).await;
    assert_eq!(queries.last().unwrap(), "ROLLBACK", "{queries:?}");
}

#[tokio::test]
async fn a_lag_query_that_cannot_be_parsed_says_nothing_of_the_server() {
    // The server parses the whole text before it carries anything out.
    let answer = |query: &str| {
        if query.contains("SELEC ") {
            [error("42601"), wire::ready()].concat()
        } else {
            Standing::standby().whole()
        }
    };
    let fake = Fake::asked(answer).await;
    let queries: [Arc<str>; 1] = ["SELEC 0".into()];
    let mut checker = checker(location(&fake), TlsMode::Disable);
    let (sample, lags) = checker.check(LONG, None, &of_lag(&queries)).await.result.unwrap();
    let refused = Err(NoLag::refused("42601"));
    assert_eq!((sample.role, &lags[&queries[0]]), (Role::Standby, &refused));
}

#[tokio::test]
async fn a_lag_query_without_a_row_or_with_null_says_so() {
    for (told, expected) in [
        (row(&[None]), NoLag::Null),
        (wire::done("SELECT 0"), NoLag::Nothing),
    ] {
        let fake = Fake::asked(move |question| {
            if question.contains("behind") {
                answers(std::slice::from_ref(&told))
            } else {
                Standing::standby().answer(question)
            }
        })
        .await;
        let queries: [Arc<str>; 1] = ["SELECT behind".into()];
        let mut checker = checker(location(&fake), TlsMode::Disable);
        let (_, lags) = checker.check(LONG, None, &of_lag(&queries)).await.result.unwrap();
        assert_eq!(lags[&queries[0]], Err(expected));
    }
}

/// A pooler whose server is gone when it is asked a question with `part` in it: it says so, and hangs up.
async fn pooler_losing_its_server_at(part: &'static str) -> Fake {
    Fake::start(move |session| async move {
        let mut session = session.startup(None).await?;
        session.say(&logged_in()).await?;
        loop {
            let (_, question) = session.message().await?;
            let question = String::from_utf8_lossy(&question).into_owned();
            if question.contains(part) {
                return session.say(&error("08P01")).await;
            }
            session
                .say(&Standing::standby().answer(question.trim_end_matches('\0')))
                .await?;
        }
    })
    .await
}

#[tokio::test]
async fn a_pooler_that_lost_its_server_says_so_in_answer_to_our_own_question() {
    let fake = pooler_losing_its_server_at("pg_is_in_recovery").await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::UpstreamLost)
    );
    // Also where the session lives on.
    let standing = refusing("pg_is_in_recovery", "08006");
    let fake = Fake::asked(move |query| standing.answer(query)).await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::UpstreamLost)
    );
    // Before the login is complete it may be the password, or a full pool.
    assert_eq!(failure_of(error("08P01")).await, FailureKind::PoolerRefused);
    assert_eq!(
        failure_of([authentication(0, b""), error("08P01")].concat()).await,
        FailureKind::PoolerRefused
    );
}

#[tokio::test]
async fn a_pooler_that_loses_its_server_with_a_query_of_the_policy_fails_that_query_alone() {
    let fake = pooler_losing_its_server_at("lost").await;
    let mut checker = checker(location(&fake), TlsMode::Disable);
    let queries = probing(&["SELECT first", "SELECT lost", "SELECT other"]);
    let (sample, _) = checker.check(LONG, None, &queries).await.result.unwrap();
    let answered = [("SELECT first".into(), true), ("SELECT lost".into(), false)];
    assert_eq!(sample.probes, answered.into(), "what was not asked is not known");
    let queries = Queries {
        lags: vec!["SELECT lost".into()],
        ..probing(&["SELECT first"])
    };
    let (sample, lags) = checker.check(LONG, None, &queries).await.result.unwrap();
    assert_eq!(lags["SELECT lost"], Err(NoLag::refused("08")));
    assert!(sample.probes.is_empty(), "{:?}", sample.probes);
}

#[tokio::test]
async fn a_pooler_that_names_itself_is_recognised() {
    let setting = frame(b'S', b"pgbouncer.version\x001.26.0\0");
    // Behind the first message, with which the login succeeds.
    let logged_in = logged_in();
    let (first, rest) = logged_in.split_at(9);
    let login = [first, &setting, rest].concat();
    let fake = Fake::start(move |session| {
        let login = login.clone();
        async move {
            let mut session = session.startup(None).await?;
            session.say(&login).await?;
            session
                .answer(|question| Standing::standby().answer(question))
                .await
        }
    })
    .await;
    assert!(check(&fake, TlsMode::Disable).await.result.unwrap().pooled);
    let fake = Fake::answering(Standing::standby().whole()).await;
    assert!(!check(&fake, TlsMode::Disable).await.result.unwrap().pooled);
}

#[tokio::test]
async fn only_the_byte_s_leads_to_tls() {
    for (answer, failure) in [
        (&b"N"[..], FailureKind::TlsNotOffered),
        (b"E", FailureKind::ServerFailing),
        (b"X", FailureKind::ProtocolViolation),
    ] {
        let observation = check(&Fake::saying(answer.to_vec()).await, TlsMode::Require).await;
        assert_eq!(observation.result, Err(failure));
    }
}

#[tokio::test]
async fn an_answer_stuffed_behind_the_s_is_not_believed() {
    let stuffed = [b"S".to_vec(), logged_in(), Standing::primary().whole()].concat();
    let observation = check(&Fake::saying(stuffed).await, TlsMode::Require).await;
    assert_eq!(observation.result, Err(FailureKind::TlsFailed));
}

#[tokio::test]
async fn a_server_that_leaves_in_the_handshake_closed_the_connection() {
    let script = [Step::Opening, Step::Say(b"S".to_vec()), Step::Finish, Step::Rest];
    let fake = Fake::following(script).await;
    assert_eq!(
        check(&fake, TlsMode::Require).await.result,
        Err(FailureKind::ConnectionClosed)
    );
}

#[tokio::test]
async fn a_login_that_cannot_be_written_is_the_secrets_fault() {
    let login = Login {
        user: "a\0b".into(),
        ..login(TlsMode::Disable)
    };
    let location = Location {
        host: Host::Address([192, 0, 2, 1].into()),
        port: 1,
    };
    let observation = checked(&mut fixture::checker(location, login)).await;
    assert_eq!(
        (observation.result, observation.address),
        (Err(FailureKind::SecretUnresolved), Some([192, 0, 2, 1].into()))
    );
}

#[tokio::test]
async fn loopback_is_refused_outside_of_tests() {
    let clock = Clock::new();
    let location = Location {
        host: Host::Address([127, 0, 0, 1].into()),
        port: 1,
    };
    let server = fixture::server(location, login(TlsMode::Disable));
    let mut checker = Checker::new(
        clock,
        Resolver::from_system(
            clock,
            AddressRules::default(),
            ClusterZone::new("cluster.local", []),
        ),
        server,
    );
    let observation = checked(&mut checker).await;
    assert_eq!(
        (observation.result, observation.address),
        (Err(FailureKind::AddressRefused), None)
    );
}
