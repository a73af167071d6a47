use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::*;

const PASSWORD: &str = "canary-77d0";

fn config(fake: &Fake) -> Config {
    let mut config = Config::new();
    config
        .hostaddr(fake.ip())
        .host("fake.test")
        .port(fake.address.port())
        .user("probe")
        .password(PASSWORD)
        .ssl_mode(SslMode::Disable);
    config
}

async fn log_in(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn asking_for_scram() -> Fake {
    let verifier = Arc::new(Verifier::of(PASSWORD));
    Fake::start(move |session| {
        let verifier = verifier.clone();
        async move {
            let mut session = session.startup(None).await?;
            session.scram(&verifier).await?;
            session.welcome().await?;
            session
                .answer(|question| Standing::standby().answer(question))
                .await
        }
    })
    .await
}

fn heard(fake: &Fake, text: &str) -> bool {
    String::from_utf8_lossy(&fake.heard()).contains(text)
}

#[tokio::test]
async fn a_client_that_knows_the_password_is_let_in_and_answered() {
    let fake = asking_for_scram().await;
    let client = log_in(&config(&fake)).await.unwrap();
    let question = "START TRANSACTION;SELECT pg_is_in_recovery(), (SELECT max(1, 2) FROM a), f(system_identifier);COMMIT";
    let answers = client.simple_query(question).await.unwrap();
    let row = answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some((0..3).map(|at| row.get(at)).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(row.unwrap(), [Some("t"), None, Some("-2")]);
    assert!(heard(&fake, "pg_is_in_recovery") && !heard(&fake, PASSWORD));
    assert!(fake.sent() > 100);
}

#[tokio::test]
async fn a_client_that_does_not_know_the_password_is_refused() {
    let fake = asking_for_scram().await;
    let refused = log_in(config(&fake).password("another")).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "28P01");
}

#[tokio::test]
async fn a_password_that_is_told_is_heard() {
    for (script, password) in [(script::clear_text(), PASSWORD), (script::md5(), "md5")] {
        let fake = Fake::following(script).await;
        let client = config(&fake);
        let attempt = tokio::spawn(async move { log_in(&client).await.map(drop) });
        fake.until(|counts| counts.open == 1).await;
        while !heard(&fake, password) {
            tokio::task::yield_now().await;
        }
        attempt.abort();
    }
}

#[tokio::test]
async fn what_is_said_within_tls_is_heard_decrypted() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["fake.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let tls = Tls::new(&certificate, &key.serialize_pem(), None).unwrap();
    let fake = Fake::start(move |session| {
        let tls = tls.clone();
        async move {
            let mut session = session.startup(Some(&tls)).await?;
            session.welcome().await?;
            session.answer(|_| Standing::primary().whole()).await
        }
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = config(&fake);
    config.ssl_mode(SslMode::Require);
    let (client, connection) = config.connect(MakeRustlsConnect::new(client)).await.unwrap();
    let talking = tokio::spawn(connection);
    assert!(client.simple_query("SELECT canary").await.unwrap().len() > 5);
    assert!(heard(&fake, "SELECT canary"));
    drop(client);
    talking.await.unwrap().unwrap();
    // TLS is demanded where there is any.
    config.ssl_mode(SslMode::Disable);
    assert!(log_in(&config).await.is_err());
}

#[tokio::test]
async fn tls_is_refused_where_there_is_none() {
    let fake = asking_for_scram().await;
    let mut config = config(&fake);
    log_in(config.ssl_mode(SslMode::Prefer)).await.unwrap();
    let refused = Fake::following(script::refuses("53300")).await;
    let refused = log_in(&self::config(&refused)).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "53300");
}

#[test]
fn messages_are_read_as_they_were_meant() {
    let mut bytes = BytesMut::from(
        &[
            wire::logged_in(),
            wire::notice("text"),
            Standing::primary().whole(),
            wire::error("42501"),
            wire::failed(),
        ]
        .concat()[..],
    );
    let mut kinds = String::new();
    while let Some(message) = Message::parse(&mut bytes).unwrap() {
        kinds.push(match message {
            Message::AuthenticationOk => 'R',
            Message::ParameterStatus(parameter) if parameter.value().is_ok() => 'S',
            Message::BackendKeyData(_) => 'K',
            Message::ReadyForQuery(_) => 'Z',
            Message::NoticeResponse(_) => 'N',
            Message::CommandComplete(done) if done.tag().is_ok() => 'C',
            Message::RowDescription(_) => 'T',
            Message::DataRow(_) => 'D',
            Message::ErrorResponse(_) => 'E',
            _ => '?',
        });
    }
    assert_eq!(kinds, "RSSSKZNCCTDCTDCTDCTDCTDCTDCTDCTDCCZEZ");
    assert!(bytes.is_empty());
    assert_eq!(wire::header(b'D', 10), wire::frame(b'D', &[0; 10])[..5]);
}

#[test]
fn what_is_refused_ends_the_answer_and_what_is_unknown_is_told() {
    let standing = Standing {
        others: &[("behind", "1.5")],
        refuses: Some(("bad", "42P01")),
        ..Standing::standby()
    };
    let mut unknown = Vec::new();
    let answer = standing.answer_noting("SELECT behind, news, received_tli FROM a;", |expression| {
        unknown.push(expression.trim().to_owned());
    });
    let row = wire::row(&[Some("1.5"), None, Some("3")]);
    assert_eq!(answer, [row, wire::ready()].concat());
    assert_eq!(unknown, ["news"]);
    let refused = [wire::done("SET"), wire::error("42P01"), wire::failed()].concat();
    assert_eq!(standing.answer("SET a; SELECT bad; COMMIT"), refused);
}

async fn everywhere() -> Fake {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    Fake::following_on(listener, script::silent()).unwrap()
}

async fn connect(fake: &Fake, last: u8) -> TcpStream {
    let address = SocketAddr::from(([127, 0, 0, last], fake.address.port()));
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn a_killed_address_closes_its_connections_and_resets_new_ones() {
    let fake = everywhere().await;
    let (mut one, two) = (connect(&fake, 1).await, connect(&fake, 2).await);
    fake.until(|counts| counts.open == 2).await;
    fake.kill([127, 0, 0, 1].into());
    assert_eq!(one.read(&mut [0]).await.unwrap(), 0);
    fake.until(|counts| counts.open == 1).await;
    let refused = connect(&fake, 1).await.read(&mut [0]).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionReset);
    fake.revive([127, 0, 0, 1].into());
    let _three = connect(&fake, 1).await;
    fake.until(|counts| counts.open == 2).await;
    fake.hang_up();
    fake.until(|counts| counts.open == 0).await;
    let counts = fake.counts();
    assert_eq!((counts.most, counts.ever), (2, 3));
    drop(two);
}

#[tokio::test]
async fn a_server_that_is_dropped_is_gone() {
    let fake = everywhere().await;
    let mut client = connect(&fake, 1).await;
    client.write_all(b"word").await.unwrap();
    while fake.heard() != b"word" {
        tokio::task::yield_now().await;
    }
    let port = fake.address.port();
    drop(fake);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
}

/// Thousands of sessions are held at once: each has one task, without a buffer.
#[tokio::test]
async fn a_session_is_small() {
    let (size, sized) = tokio::sync::oneshot::channel();
    let size = std::sync::Mutex::new(Some(size));
    let fake = Fake::start(move |session| {
        let serving = session.serve(|_| Vec::new());
        if let Some(size) = size.lock().unwrap().take() {
            size.send(size_of_val(&serving)).unwrap();
        }
        serving
    })
    .await;
    let _client = connect(&fake, 1).await;
    let size = sized.await.unwrap();
    assert!(size < 2048, "{size} bytes");
}
