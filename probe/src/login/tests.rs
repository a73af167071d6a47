use std::sync::atomic::AtomicUsize;

use fake_postgres::wire::{authentication, error};
use fake_postgres::{Fake, Standing, Verifier};

use super::*;
use crate::fixture::{self, PASSWORD, location, login};
use distributary_core::hosts::HostList;

const LONG: Duration = Duration::from_secs(20);

/// A server of which `verifier` is what it keeps of the password.
async fn keeping(verifier: Verifier) -> Fake {
    let verifier = Arc::new(verifier);
    Fake::start(move |session| {
        let verifier = Arc::clone(&verifier);
        async move {
            let mut session = session.startup(None).await?;
            session.scram(&verifier).await?;
            session.welcome().await?;
            session.answer(|_| Standing::primary().whole()).await
        }
    })
    .await
}

fn server(fake: &Fake, login: Login) -> Server {
    fixture::server(location(fake), login)
}

async fn opened(server: &Server, fake: &Fake) -> Result<(), FailureKind> {
    let opened = server.open(fake.ip(), LONG).await;
    opened.map(drop).map_err(|failure| failure.kind)
}

fn with_password(password: &str) -> Login {
    Login {
        password: Some(Sensitive::new(password)),
        ..login(TlsMode::Disable)
    }
}

#[tokio::test]
async fn a_line_end_is_left_out_where_the_server_refuses_it_and_only_there() {
    for (kept, given, attempts) in [
        (PASSWORD.to_owned(), format!("{PASSWORD}\n"), [2, 1]),
        (PASSWORD.to_owned(), format!("{PASSWORD}\r\n"), [2, 1]),
        // Somebody has such a password.
        (format!("{PASSWORD}\n"), format!("{PASSWORD}\n"), [1, 1]),
        (PASSWORD.to_owned(), PASSWORD.to_owned(), [1, 1]),
    ] {
        let fake = keeping(Verifier::of(&kept)).await;
        let server = server(&fake, with_password(&given));
        let mut before = 0;
        for attempts in attempts {
            assert_eq!(opened(&server, &fake).await, Ok(()), "{given:?} for {kept:?}");
            assert_eq!(fake.counts().ever - before, attempts, "{given:?} for {kept:?}");
            before = fake.counts().ever;
        }
    }
    for given in [
        format!("{PASSWORD} "),
        format!("{PASSWORD}\n\n"),
        "other\n".to_owned(),
    ] {
        let fake = keeping(Verifier::of(PASSWORD)).await;
        let refused = opened(&server(&fake, with_password(&given)), &fake).await;
        assert_eq!(refused, Err(FailureKind::AuthenticationFailed), "{given:?}");
    }
}

#[tokio::test]
async fn a_line_end_is_left_out_where_a_pooler_refuses_the_login_in_its_own_way() {
    let logins = Arc::new(AtomicUsize::new(0));
    let fake = Fake::start(move |session| {
        let is_first = logins.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let mut session = session.startup(None).await?;
            if is_first {
                session.say(&error("08P01")).await
            } else {
                session.welcome().await
            }
        }
    })
    .await;
    let server = server(&fake, with_password(&format!("{PASSWORD}\n")));
    for ever in [2, 3] {
        assert_eq!(opened(&server, &fake).await, Ok(()));
        assert_eq!(fake.counts().ever, ever);
    }
}

#[tokio::test]
async fn a_password_that_was_rotated_to_one_with_a_line_end_is_taken_as_it_is_again() {
    let (bare, whole) = (Verifier::of(PASSWORD), Verifier::of(&format!("{PASSWORD}\n")));
    let (verifiers, logins) = (Arc::new([bare, whole]), Arc::new(AtomicUsize::new(0)));
    let fake = Fake::start(move |session| {
        let verifiers = Arc::clone(&verifiers);
        // The first two logins are of the old password.
        let rotated = usize::from(logins.fetch_add(1, Ordering::Relaxed) >= 2);
        async move {
            let mut session = session.startup(None).await?;
            session.scram(&verifiers[rotated]).await?;
            session.welcome().await
        }
    })
    .await;
    let server = server(&fake, with_password(&format!("{PASSWORD}\n")));
    for ever in [2, 4, 5] {
        assert_eq!(opened(&server, &fake).await, Ok(()));
        assert_eq!(fake.counts().ever, ever);
    }
}

#[tokio::test]
async fn a_challenge_that_would_give_the_password_away_or_costs_much_is_not_answered() {
    for iterations in ["1", "4095", "20001", "100000"] {
        let heard = Arc::new(Mutex::new(None));
        let note = Arc::clone(&heard);
        let fake = Fake::start(move |session| {
            let note = Arc::clone(&note);
            async move {
                let mut session = session.startup(None).await?;
                session.say(&authentication(10, b"SCRAM-SHA-256\0\0")).await?;
                let (_, body) = session.message().await?;
                let nonce = String::from_utf8_lossy(&body).into_owned();
                let nonce = nonce.split("r=").nth(1).unwrap_or_default().to_owned();
                let challenge = format!("r={nonce}abc,s=c2FsdA==,i={iterations}");
                session.say(&authentication(11, challenge.as_bytes())).await?;
                *note.lock().unwrap() = Some(session.rest().await);
                Ok(())
            }
        })
        .await;
        let refused = opened(&server(&fake, login(TlsMode::Disable)), &fake).await;
        assert_eq!(refused, Err(FailureKind::ScramIterationsRefused), "{iterations}");
        fake.until(|counts| counts.open == 0).await;
        assert_eq!(
            *heard.lock().unwrap(),
            Some(vec![]),
            "not a byte after the challenge"
        );
    }
}

#[tokio::test]
async fn an_expensive_proof_is_made_at_one_of_a_few_places_and_holds_up_nobody() {
    let (dear, usual) = (
        keeping(Verifier::with_rounds(PASSWORD, 9000)).await,
        keeping(Verifier::of(PASSWORD)).await,
    );
    let limits = Limits::default();
    let terms = Terms::new(&limits, Clock::new());
    let of = |namespace: &str, fake: &Fake| Server {
        namespace: namespace.to_owned(),
        terms: terms.clone(),
        ..server(fake, login(TlsMode::Disable))
    };
    let taken = terms.place("shop").await;
    let expensive = of("shop", &dear);
    let mut waiting = Box::pin(opened(&expensive, &dear));
    let waits = tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await;
    assert!(waits.is_err(), "{waits:?}");
    // Who makes a usual one waits for nobody, nor does another namespace.
    assert_eq!(opened(&of("shop", &usual), &usual).await, Ok(()));
    assert_eq!(opened(&of("bank", &dear), &dear).await, Ok(()));
    drop(taken);
    assert_eq!(waiting.await, Ok(()));
    // Each was given back.
    let both = async { (terms.place("shop").await, terms.place("bank").await) };
    let both = tokio::time::timeout(LONG, both).await;
    assert!(both.is_ok_and(|(one, other)| one.is_some() && other.is_some()));
}

#[tokio::test]
async fn nobody_is_told_anything_below_the_terms_of_the_operator_or_beside_the_hosts_of_the_secret() {
    let fake = keeping(Verifier::of(PASSWORD)).await;
    let of = |tls: TlsMode, least: TlsMode, hosts: Option<&str>| {
        let limits = Limits {
            tls: least,
            ..Limits::default()
        };
        Server {
            terms: Terms::new(&limits, Clock::new()),
            ..server(
                &fake,
                Login {
                    hosts: hosts.map(|text| HostList::parse(text).unwrap()),
                    ..login(tls)
                },
            )
        }
    };
    let (low, elsewhere) = (
        Err(FailureKind::TlsModeTooLow),
        Err(FailureKind::SecretNotForHost),
    );
    for (tls, least, hosts, expected) in [
        (TlsMode::Disable, TlsMode::VerifyCa, None, low),
        (TlsMode::Require, TlsMode::VerifyCa, None, low),
        (TlsMode::VerifyCa, TlsMode::VerifyFull, None, low),
        (
            TlsMode::Disable,
            TlsMode::Disable,
            Some("db.example.com"),
            elsewhere,
        ),
        (TlsMode::Disable, TlsMode::Disable, Some("10.0.0.0/8"), elsewhere),
        (TlsMode::Disable, TlsMode::Disable, Some(".1"), elsewhere),
    ] {
        let refused = opened(&of(tls, least, hosts), &fake).await;
        assert_eq!(refused, expected, "{tls:?} {least:?} {hosts:?}");
    }
    assert_eq!(fake.counts().ever, 0, "nobody called");
    let permitted = of(TlsMode::Disable, TlsMode::Disable, Some("127.0.0.0/8"));
    assert_eq!(opened(&permitted, &fake).await, Ok(()));
}
