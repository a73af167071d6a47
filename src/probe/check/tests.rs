use std::sync::Mutex;

use tokio::net::TcpListener;

use super::*;
use crate::domain::observation::{Lsn, Role};
use crate::domain::policy::{Host, TlsMode};
use crate::probe::fake::{self, Fake, PASSWORD, authentication, error, frame, login};

const LONG: Duration = Duration::from_secs(20);

fn checker(location: Location, mode: TlsMode) -> Checker {
    let clock = Clock::new();
    Checker::new(clock, Resolver::anywhere(clock), location, Arc::new(login(mode)))
}

async fn check(fake: &Fake, mode: TlsMode) -> Observation {
    checker(fake.location(), mode).check(LONG, None).await
}

async fn failure_of(bytes: Vec<u8>) -> FailureKind {
    check(&Fake::saying(bytes).await, TlsMode::Disable)
        .await
        .result
        .unwrap_err()
}

#[tokio::test]
async fn an_answer_becomes_a_sample() {
    let fake = Fake::answering(fake::primary()).await;
    let observation = check(&fake, TlsMode::Disable).await;
    assert_eq!(observation.address, Some(fake.address.ip()));
    assert!(observation.ended >= observation.started);
    let sample = observation.result.unwrap();
    assert_eq!(sample.role, Role::Primary);
    assert_eq!(sample.lsn, Some(Lsn(0x16_B374_D848)));
    assert_eq!(sample.system_identifier, Some(u64::MAX - 1));
    assert_eq!(sample.timeline, Some(3));
}

#[tokio::test]
async fn a_standby_that_replayed_nothing_has_no_lsn() {
    let answer = [
        fake::row(&[Some("t"), None]),
        fake::row(&[Some("7"), Some("1")]),
        frame(b'Z', b"I"),
    ]
    .concat();
    let fake = Fake::answering(answer).await;
    let sample = check(&fake, TlsMode::Disable).await.result.unwrap();
    assert_eq!(
        (sample.role, sample.lsn, sample.timeline),
        (Role::Standby, None, Some(1))
    );
}

/// Asks for a password in a way that is refused, and returns what it was told until the client left.
async fn told_when_asking(request: Vec<u8>) -> (FailureKind, Vec<u8>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (request, heard) = (Arc::new(request), Arc::clone(&told));
    let fake = Fake::start(move |mut stream| {
        let (request, heard) = (Arc::clone(&request), Arc::clone(&heard));
        async move {
            fake::startup(&mut stream).await;
            // One byte at a time: the guard must not depend on how the bytes arrive.
            for byte in request.iter() {
                let _ = stream.write_all(&[*byte]).await;
                tokio::task::yield_now().await;
            }
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            heard.lock().unwrap().extend(bytes);
        }
    })
    .await;
    let failure = check(&fake, TlsMode::Disable).await.result.unwrap_err();
    // The client is gone: what it said has arrived.
    tokio::task::yield_now().await;
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
    let clock = Clock::new();
    let login = Login {
        password: None,
        ..login(TlsMode::Disable)
    };
    let mut checker = Checker::new(clock, Resolver::anywhere(clock), fake.location(), Arc::new(login));
    assert_eq!(
        checker.check(LONG, None).await.result,
        Err(FailureKind::AuthenticationFailed)
    );
}

#[tokio::test]
async fn an_endless_pbkdf2_is_not_begun() {
    let scram = authentication(10, b"SCRAM-SHA-256\0\0");
    let fake = Fake::start(move |mut stream| {
        let scram = scram.clone();
        async move {
            fake::startup(&mut stream).await;
            stream.write_all(&scram).await.unwrap();
            let (_, body) = fake::read_frame(&mut stream).await.unwrap();
            let text = String::from_utf8_lossy(&body).into_owned();
            let nonce = text.split("r=").nth(1).unwrap();
            let answer = format!("r={nonce}abc,s=c2FsdA==,i=4294967295");
            stream
                .write_all(&authentication(11, answer.as_bytes()))
                .await
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::ProtocolViolation)
    );
}

#[tokio::test]
async fn a_giant_frame_is_not_waited_for() {
    let giant = [b'E', 0x40, 0, 0, 0];
    assert_eq!(failure_of(giant.to_vec()).await, FailureKind::ReplyTooLong);
    assert_eq!(
        failure_of([fake::logged_in(), giant.to_vec()].concat()).await,
        FailureKind::ReplyTooLong
    );
}

#[tokio::test]
async fn endless_notices_end() {
    let notice = frame(
        b'N',
        &[b"SNOTICE\0VNOTICE\0C00000\0M", &[b'x'; 1000][..], b"\0\0"].concat(),
    );
    for greeting in [authentication(0, b""), fake::logged_in()] {
        let fake = endless(greeting, notice.clone()).await;
        assert_eq!(
            check(&fake, TlsMode::Disable).await.result,
            Err(FailureKind::ReplyTooLong)
        );
    }
}

#[tokio::test]
async fn endless_bytes_end() {
    let fake = endless(Vec::new(), vec![0; 4096]).await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::ProtocolViolation)
    );
    let fake = endless(Vec::new(), b"HTTP/1.1 400 Bad Request\r\n".to_vec()).await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::ProtocolViolation)
    );
}

async fn endless(greeting: Vec<u8>, again: Vec<u8>) -> Fake {
    Fake::start(move |mut stream| {
        let (greeting, again) = (greeting.clone(), again.clone());
        async move {
            fake::startup(&mut stream).await;
            let _ = stream.write_all(&greeting).await;
            while stream.write_all(&again).await.is_ok() {}
        }
    })
    .await
}

#[tokio::test]
async fn a_drip_of_bytes_ends_at_the_deadline() {
    let within = Duration::from_millis(120);
    let fake = Fake::start(|mut stream| async move {
        fake::startup(&mut stream).await;
        for byte in fake::logged_in() {
            let _ = stream.write_all(&[byte]).await;
            Clock::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let observation = checker(fake.location(), TlsMode::Disable)
        .check(within, None)
        .await;
    assert_eq!(observation.result, Err(FailureKind::TimedOut));
    assert_eq!(observation.address, Some(fake.address.ip()));
    let taken = observation.ended.since(observation.started);
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
        ("42501", FailureKind::OtherError),
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
    let fake = Fake::start(|mut stream| async move {
        fake::startup(&mut stream).await;
        stream.write_all(&fake::logged_in()).await.unwrap();
        fake::read_frame(&mut stream).await.unwrap();
        stream.write_all(&error("57P01")).await.unwrap();
    })
    .await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::Stopping)
    );
}

#[tokio::test]
async fn a_server_that_leaves_in_the_middle_closed_the_connection() {
    let (login, answer) = (fake::logged_in(), fake::primary());
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
        let fake = Fake::start(move |mut stream| {
            let (before, after) = (before.clone(), after.clone());
            async move {
                fake::startup(&mut stream).await;
                stream.write_all(&before).await.unwrap();
                if !after.is_empty() {
                    fake::read_frame(&mut stream).await.unwrap();
                    stream.write_all(&after).await.unwrap();
                }
                stream.shutdown().await.unwrap();
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await;
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
    let observation = checker(location, TlsMode::Disable).check(LONG, None).await;
    assert_eq!(observation.result, Err(FailureKind::ConnectRefused));

    let fake = Fake::start(|mut stream| async move {
        fake::startup(&mut stream).await;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
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
    let early = [fake::logged_in(), fake::primary()].concat();
    assert_eq!(failure_of(early).await, FailureKind::ProtocolViolation);
    let ready = frame(b'Z', b"I");
    for answer in [
        ready.clone(),
        [
            fake::row(&[None, None]),
            fake::row(&[Some("1"), Some("1")]),
            ready.clone(),
        ]
        .concat(),
        [fake::row(&[Some("f")]), ready.clone()].concat(),
        [fake::row(&[Some("f"), Some("0/1")]), ready.clone()].concat(),
        [
            fake::row(&[Some("f"), Some("zero")]),
            fake::row(&[Some("1"), Some("1")]),
            ready.clone(),
        ]
        .concat(),
    ] {
        let observation = check(&Fake::answering(answer).await, TlsMode::Disable).await;
        assert_eq!(observation.result, Err(FailureKind::ProtocolViolation));
    }
}

/// Refuses what the query asks with `statement` in it, after the rows before it.
fn refusing(statement: &'static str, state: &'static str) -> impl Fn(&str) -> Vec<u8> {
    move |query| {
        let mut answer = Vec::new();
        for asked in query.trim_end_matches('\0').split_terminator(';') {
            if asked.contains(statement) {
                answer.extend(error(state));
                break;
            }
            answer.extend(match (asked.contains("lsn"), asked.contains("control")) {
                (true, _) => fake::row(&[Some("t"), Some("0/1")]),
                (_, true) => fake::row(&[Some("42"), Some("2")]),
                _ => fake::row(&[Some("t")]),
            });
        }
        [answer, frame(b'Z', b"I")].concat()
    }
}

#[tokio::test]
async fn a_server_that_refuses_a_part_is_asked_for_the_rest_and_not_again() {
    for (statement, state, lsn, identity, rounds) in [
        ("control", "42501", Some(Lsn(1)), None, [1, 1]),
        ("lsn", "0A000", None, Some(42), [2, 1]),
        ("pg_last_wal_replay_lsn", "42883", None, Some(42), [2, 1]),
    ] {
        let queries = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&queries);
        let fake = Fake::start(move |mut stream| {
            let counted = Arc::clone(&counted);
            async move {
                let answer = refusing(statement, state);
                let count = |query: &str| {
                    *counted.lock().unwrap() += 1;
                    answer(query)
                };
                fake::serve(&mut stream, count).await;
            }
        })
        .await;
        let mut checker = checker(fake.location(), TlsMode::Disable);
        for asked in rounds {
            *queries.lock().unwrap() = 0;
            let sample = checker.check(LONG, None).await.result.unwrap();
            assert_eq!(
                (sample.role, sample.lsn, sample.system_identifier),
                (Role::Standby, lsn, identity)
            );
            assert_eq!(*queries.lock().unwrap(), asked, "{statement}");
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_its_role_is_alive() {
    let fake =
        Fake::start(
            |mut stream| async move { fake::serve(&mut stream, refusing("recovery", "42501")).await },
        )
        .await;
    assert_eq!(
        check(&fake, TlsMode::Disable).await.result,
        Err(FailureKind::OtherError)
    );
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
    let stuffed = [b"S".to_vec(), fake::logged_in(), fake::primary()].concat();
    let observation = check(&Fake::saying(stuffed).await, TlsMode::Require).await;
    assert_eq!(observation.result, Err(FailureKind::TlsFailed));
}

#[tokio::test]
async fn a_server_that_leaves_in_the_handshake_closed_the_connection() {
    let fake = Fake::start(|mut stream| async move {
        fake::startup(&mut stream).await;
        stream.write_all(b"S").await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(
        check(&fake, TlsMode::Require).await.result,
        Err(FailureKind::ConnectionClosed)
    );
}

#[tokio::test]
async fn a_login_that_cannot_be_written_is_the_secrets_fault() {
    let clock = Clock::new();
    let login = Login {
        user: "a\0b".into(),
        ..login(TlsMode::Disable)
    };
    let location = Location {
        host: Host::Address([192, 0, 2, 1].into()),
        port: 1,
    };
    let mut checker = Checker::new(clock, Resolver::anywhere(clock), location, Arc::new(login));
    let observation = checker.check(LONG, None).await;
    assert_eq!(
        (observation.result, observation.address),
        (Err(FailureKind::SecretUnresolved), None)
    );
}

#[tokio::test]
async fn loopback_is_refused_outside_of_tests() {
    let clock = Clock::new();
    let location = Location {
        host: Host::Address([127, 0, 0, 1].into()),
        port: 1,
    };
    let login = Arc::new(login(TlsMode::Disable));
    let mut checker = Checker::new(
        clock,
        Resolver::from_system(clock, crate::probe::AddressRules::default()),
        location,
        login,
    );
    let observation = checker.check(LONG, None).await;
    assert_eq!(
        (observation.result, observation.address),
        (Err(FailureKind::AddressRefused), None)
    );
}
