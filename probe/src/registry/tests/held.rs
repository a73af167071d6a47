//! The session that is held beside the checks, and who shares it.

use super::*;

const EVERY: Duration = Duration::from_millis(15);
const SELDOM: Duration = LONG;

/// An instruction that wants a session, and no check for long.
fn held(bench: &Bench, fake: &Fake, number: u64, every: Duration, timeout: Duration) -> NextCheck {
    NextCheck {
        hold: Some(Hold {
            address: fake.address.ip(),
            every,
            timeout,
        }),
        ..bench.later(number)
    }
}

/// A server that says nothing to any question.
async fn mute() -> Fake {
    Fake::answering(Vec::new()).await
}

#[tokio::test]
async fn a_session_is_asked_at_once_and_at_every_heartbeat() {
    let mut bench = bench(Limits::default(), 8);
    let server = Fake::answering(Standing::standby().whole()).await;
    let check = held(&bench, &server, 1, EVERY, LONG);
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &server, check)]);
    let mut last = bench.clock.now();
    for beat in 0..4 {
        let heard = bench.heard().await;
        assert_eq!(
            (heard.key, heard.incarnation, heard.address),
            (key("a", "one"), Incarnation(1), server.address.ip())
        );
        assert!(heard.ended >= heard.started && (beat == 0 || heard.started >= last + EVERY));
        last = heard.started;
        assert_eq!(heard.result.unwrap().lsn, Some(Lsn(0x16_B374_D000)));
    }
    assert_eq!(server.counts().ever, 1, "all on one connection");
}

#[tokio::test]
async fn a_session_that_closes_is_heard_at_once_and_opened_again() {
    let mut bench = bench(Limits::default(), 8);
    let server = good().await;
    let check = held(&bench, &server, 1, SELDOM, LONG);
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &server, check)]);
    for sessions in 1..4 {
        assert_eq!(bench.heard().await.result.unwrap().role, Role::Primary);
        assert_eq!(server.counts().ever, sessions);
        server.hang_up();
        // Long before the next heartbeat.
        assert_eq!(bench.heard().await.result, Err(Silence::Closed));
    }
}

#[tokio::test]
async fn a_heartbeat_without_an_answer_is_missed() {
    let mut bench = bench(Limits::default(), 8);
    let server = mute().await;
    let check = held(&bench, &server, 1, SELDOM, PAUSE);
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &server, check)]);
    let heard = bench.heard().await;
    assert_eq!(heard.result, Err(Silence::Missed));
    assert!(heard.ended >= heard.started + PAUSE);
    // The session is given up: who does not answer now might answer the wrong question later.
    bench.heard().await;
    assert_eq!(server.counts().ever, 2);
}

#[tokio::test]
async fn policies_with_the_same_login_share_a_session_and_the_fastest_sets_its_pace() {
    let mut bench = bench(Limits::default(), 8);
    let server = good().await;
    let (slow, fast) = (
        held(&bench, &server, 1, SELDOM, LONG),
        held(&bench, &server, 1, EVERY, LONG),
    );
    bench
        .registry
        .want(&policy("slow"), vec![wanted("one", &server, slow)]);
    bench.heard().await;
    bench
        .registry
        .want(&policy("fast"), vec![wanted("one", &server, fast)]);
    let mut told = BTreeMap::new();
    for _ in 0..6 {
        let count: &mut u32 = told.entry(bench.heard().await.key.policy.name).or_default();
        *count += 1;
    }
    assert_eq!(told, BTreeMap::from([("fast".into(), 3), ("slow".into(), 3)]));
    assert_eq!(server.counts().ever, 1);
    // Another login is another session.
    let mut other = wanted("one", &server, fast);
    other.login = login_of("another", TlsMode::Disable);
    bench.registry.want(&policy("other"), vec![other]);
    until_open(&server, 2).await;
    // It ends with the last who wants it.
    bench.registry.want(&policy("other"), Vec::new());
    until_open(&server, 1).await;
    bench.registry.want(&policy("fast"), Vec::new());
    bench.registry.next(&key("slow", "one"), bench.later(2));
    until_open(&server, 0).await;
}

#[tokio::test]
async fn a_missed_heartbeat_is_told_to_those_alone_who_would_not_have_waited_longer() {
    let mut bench = bench(Limits::default(), 8);
    let server = mute().await;
    let (patient, hasty) = (
        held(&bench, &server, 1, SELDOM, LONG),
        held(&bench, &server, 1, EVERY, PAUSE),
    );
    for (name, check) in [("patient", patient), ("hasty", hasty)] {
        bench
            .registry
            .want(&policy(name), vec![wanted("one", &server, check)]);
    }
    for _ in 0..3 {
        let heard = bench.heard().await;
        assert_eq!(
            (heard.key.policy, heard.result),
            (policy("hasty"), Err(Silence::Missed))
        );
    }
}

#[tokio::test]
async fn a_session_that_is_refused_a_place_says_nothing_of_the_server() {
    for (state, told) in [("53300", Some(Silence::Full)), ("28P01", None)] {
        let mut bench = bench(Limits::default(), 8);
        let fake = Fake::refusing(state).await;
        let check = held(&bench, &fake, 1, EVERY, LONG);
        bench
            .registry
            .want(&policy("a"), vec![wanted("one", &fake, check)]);
        if let Some(told) = told {
            assert_eq!(
                bench.heard().await.result,
                Err(told),
                "once, until it is tried again"
            );
        }
        bench.silence().await;
    }
}

#[tokio::test]
async fn a_server_that_is_gone_when_the_session_is_opened_again_is_a_sign() {
    let mut bench = bench(Limits::default(), 8);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut gone = wanted("one", &good().await, bench.later(1));
    gone.location.port = listener.local_addr().unwrap().port();
    drop(listener);
    gone.check.hold = Some(Hold {
        address: [127, 0, 0, 1].into(),
        every: SELDOM,
        timeout: LONG,
    });
    bench.registry.want(&policy("a"), vec![gone]);
    for _ in 0..3 {
        assert_eq!(bench.heard().await.result, Err(Silence::Closed));
    }
}

#[tokio::test]
async fn each_policy_hears_the_answer_of_its_own_lag_query() {
    let mut bench = bench(Limits::default(), 8);
    let standing = Standing {
        others: &[("first", "1"), ("second", "2")],
        ..Standing::standby()
    };
    let fake = Fake::asked(move |query| standing.answer(query)).await;
    let check = held(&bench, &fake, 1, EVERY, LONG);
    for (name, query) in [
        ("none", None),
        ("first", Some("SELECT first")),
        ("second", Some("SELECT second")),
    ] {
        let mut wanted = wanted("one", &fake, check);
        wanted.lag_query = query.map(Into::into);
        bench.registry.want(&policy(name), vec![wanted]);
    }
    let mut lags = BTreeMap::new();
    while lags.len() < 3 {
        let heard = bench.heard().await;
        lags.insert(heard.key.policy.name, heard.result.unwrap().lag);
    }
    // The next round has all of them.
    for _ in 0..3 {
        let heard = bench.heard().await;
        lags.insert(heard.key.policy.name, heard.result.unwrap().lag);
    }
    let seconds = |count| Some(Ok(Duration::from_secs(count)));
    let expected = [("first", seconds(1)), ("none", None), ("second", seconds(2))];
    assert_eq!(lags, expected.map(|(name, lag)| (name.into(), lag)).into());
}

#[tokio::test]
async fn one_check_answers_all_who_are_due_each_within_its_own_deadline() {
    let mut bench = bench(Limits::default(), 8);
    let (answer, answers) = tokio::sync::watch::channel(false);
    let fake = Fake::start(move |session| {
        let mut answers = answers.clone();
        async move {
            let mut session = session.startup(None).await?;
            let _ = answers.wait_for(|answer| *answer).await;
            session.welcome().await?;
            session.answer(|_| Standing::primary().whole()).await
        }
    })
    .await;
    let at = bench.clock.now() + PAUSE;
    let check = |timeout| NextCheck {
        at: Some(at),
        timeout,
        ..bench.now(1)
    };
    let (hasty, patient) = (check(PAUSE), check(LONG));
    for (name, check) in [("patient", patient), ("hasty", hasty)] {
        bench
            .registry
            .want(&policy(name), vec![wanted("one", &fake, check)]);
    }
    let first = bench.answer().await;
    assert_eq!(
        (first.key.policy, first.observation.result),
        (policy("hasty"), Err(FailureKind::TimedOut))
    );
    answer.send(true).unwrap();
    let second = bench.answer().await;
    assert_eq!(
        (
            second.key.policy,
            second.observation.result.map(|sample| sample.role)
        ),
        (policy("patient"), Ok(Role::Primary))
    );
    assert_eq!(fake.counts().ever, 1, "one connection for both");
}

#[tokio::test]
async fn policies_that_look_at_different_addresses_of_a_name_each_hear_of_their_own() {
    let mut bench = bench(Limits::default(), 64);
    let fake = Fake::answering(Standing::standby().whole()).await;
    let here = held(&bench, &fake, 1, EVERY, LONG);
    // Nobody listens there.
    let elsewhere: IpAddr = [127, 0, 0, 2].into();
    let there = NextCheck {
        hold: Some(Hold {
            address: elsewhere,
            every: EVERY,
            timeout: LONG,
        }),
        ..bench.later(1)
    };
    for (name, check) in [("there", there), ("here", here)] {
        bench
            .registry
            .want(&policy(name), vec![wanted("one", &fake, check)]);
    }
    let mut told = BTreeMap::new();
    while told.len() < 2 {
        let heard = bench.heard().await;
        told.insert(
            heard.key.policy.name,
            (heard.address, heard.result.map(|sample| sample.role)),
        );
    }
    let expected = [
        ("here", (fake.address.ip(), Ok(Role::Standby))),
        ("there", (elsewhere, Err(Silence::Closed))),
    ];
    assert_eq!(told, expected.map(|(name, told)| (name.into(), told)).into());
}

#[tokio::test]
async fn a_session_that_was_given_up_is_opened_anew_when_one_is_wanted_again() {
    let mut bench = bench(Limits::default(), 64);
    let server = good().await;
    let with = held(&bench, &server, 1, SELDOM, LONG);
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &server, with)]);
    bench.heard().await;
    // At once, and once more after the first was seen to end.
    bench.registry.next(&key("a", "one"), bench.later(2));
    let again = held(&bench, &server, 3, SELDOM, LONG);
    bench.registry.next(&key("a", "one"), again);
    bench.heard().await;
    until_open(&server, 1).await;
    bench.registry.next(&key("a", "one"), bench.later(4));
    until_open(&server, 0).await;
    let again = held(&bench, &server, 5, SELDOM, LONG);
    bench.registry.next(&key("a", "one"), again);
    bench.heard().await;
    assert_eq!(server.counts().ever, 3);
}

/// What a client says when it leaves: the type of the message, its length.
const FAREWELL: [u8; 5] = [b'X', 0, 0, 0, 4];

#[tokio::test]
async fn a_server_is_told_of_the_end_of_a_session_whenever_it_comes() {
    // Between two questions; in the middle of one; when the process ends.
    for (whose, whole) in [(good().await, false), (mute().await, false), (good().await, true)] {
        let mut bench = bench(Limits::default(), 8);
        let check = held(&bench, &whose, 1, SELDOM, LONG);
        bench
            .registry
            .want(&policy("a"), vec![wanted("one", &whose, check)]);
        until(&whose, |counts| counts.open == 1).await;
        // It is asked.
        while !whose.heard().windows(6).any(|window| window == b"COMMIT") {
            tokio::task::yield_now().await;
        }
        if whole {
            drop(bench);
        } else {
            bench.registry.want(&policy("a"), Vec::new());
        }
        until(&whose, |counts| counts.open == 0).await;
        assert!(whose.heard().ends_with(&FAREWELL), "{:?}", whose.heard());
    }
}

#[tokio::test]
async fn a_session_is_kept_from_ending_when_idle_where_it_is_the_servers_own() {
    // The process of a login is 1: see wire::logged_in.
    for (process, asked) in [
        (&[("pg_backend_pid", "1")], true),
        (&[("pg_backend_pid", "4242")], false),
    ] {
        let mut bench = bench(Limits::default(), 8);
        let standing = Standing {
            others: process,
            ..Standing::standby()
        };
        let server = Fake::asked(move |question| standing.answer(question)).await;
        let check = held(&bench, &server, 1, EVERY, LONG);
        bench
            .registry
            .want(&policy("a"), vec![wanted("one", &server, check)]);
        for _ in 0..3 {
            assert!(bench.heard().await.result.is_ok());
        }
        let heard = String::from_utf8_lossy(&server.heard()).into_owned();
        let times = heard
            .matches("THEN pg_catalog.set_config('idle_session_timeout', '0', false)")
            .count();
        assert_eq!(times, usize::from(asked), "{process:?}");
        assert_eq!(server.counts().ever, 1);
    }
}
