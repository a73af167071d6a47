use fake_postgres::wire::{authentication, frame};
use fake_postgres::{Fake, Session, Standing, Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SerialNumber};

use super::*;
use crate::fixture::{self, Checked, PASSWORD};
use distributary_core::login::{Login, Sensitive};
use distributary_core::observation::Role;
use distributary_core::server::Location;

/// A certificate authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Certificate and key of `name`, valid until `year`.
    fn issue(&self, name: &str, year: i32) -> (String, KeyPair) {
        self.issue_between(name, [2000, year])
    }

    fn issue_between(&self, name: &str, years: [i32; 2]) -> (String, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        [params.not_before, params.not_after] = years.map(|year| rcgen::date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key)
    }

    fn client(&self) -> ClientCertificate {
        let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        ClientCertificate {
            chain: chain.into(),
            key: Sensitive::new(&key.serialize_pem()),
        }
    }
}

fn server(certificate: &str, key: &KeyPair, clients: Option<&Authority>) -> Tls {
    let clients = clients.map(|authority| authority.pem.as_str());
    Tls::new(certificate, &key.serialize_pem(), clients).unwrap()
}

/// A server that encrypts, and treats a session after its startup as `treat` says.
async fn encrypted<F, Treating>(tls: Tls, treat: F) -> Fake
where
    F: Fn(Session) -> Treating + Clone + Send + 'static,
    Treating: Future<Output = io::Result<()>> + Send + 'static,
{
    Fake::start(move |session| {
        let (tls, treat) = (tls.clone(), treat.clone());
        async move {
            let session = session.startup(Some(&tls)).await?;
            treat(session).await
        }
    })
    .await
}

async fn answering(tls: Tls) -> Fake {
    encrypted(tls, |mut session| async move {
        session.welcome().await?;
        session.answer(|_| Standing::primary().whole()).await
    })
    .await
}

async fn check(fake: &Fake, host: Host, tls: TlsSettings) -> Checked {
    let login = Login {
        tls,
        ..fixture::login(TlsMode::Disable)
    };
    let location = Location {
        host,
        port: fake.address.port(),
    };
    fixture::checked(&mut fixture::checker(location, login)).await
}

fn named(name: &str) -> Host {
    Host::Name(name.into())
}

fn settings(mode: TlsMode, ca: &Authority) -> TlsSettings {
    TlsSettings {
        mode,
        ca: Some(ca.pem.as_str().into()),
        client: None,
    }
}

#[tokio::test]
async fn each_mode_demands_what_its_table_says() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let usual = [2000, 2100];
    for (authority, name, years, modes, failure) in [
        (&known, "db.test", usual, [true, true, true], None),
        (
            &known,
            "other.test",
            usual,
            [true, true, false],
            Some(FailureKind::CertificateNameMismatch),
        ),
        (
            &unknown,
            "db.test",
            usual,
            [true, false, false],
            Some(FailureKind::CertificateIssuerUnknown),
        ),
        (
            &known,
            "db.test",
            [2000, 2001],
            [true, false, false],
            Some(FailureKind::CertificateExpired),
        ),
        (
            &known,
            "db.test",
            [2090, 2100],
            [true, false, false],
            Some(FailureKind::CertificateNotYetValid),
        ),
    ] {
        let (certificate, key) = authority.issue_between(name, years);
        let fake = answering(server(&certificate, &key, None)).await;
        for (mode, good) in [TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull]
            .into_iter()
            .zip(modes)
        {
            let result = check(&fake, named("db.test"), settings(mode, &known))
                .await
                .result;
            let expected = failure.filter(|_| !good).map_or(Ok(Role::Primary), Err);
            assert_eq!(
                result.map(|sample| sample.role),
                expected,
                "{mode:?} {name} {years:?}"
            );
        }
    }
}

/// Made as PostgreSQL's documentation says, by the OpenSSL of Debian 12: `openssl x509 -req -CA root.crt` without extensions.
const VERSION_1: [&str; 3] = [
    include_str!("version_1/root.crt"),
    include_str!("version_1/server.crt"),
    include_str!("version_1/server.key"),
];

#[tokio::test]
async fn a_certificate_of_version_1_will_do_where_nothing_is_verified_or_where_it_is_known_itself() {
    let [root, certificate, key] = VERSION_1;
    let other = KeyPair::generate().unwrap().serialize_pem();
    let unsupported = Some(FailureKind::CertificateUnsupported);
    for (mode, ca, key, failure) in [
        (TlsMode::Require, root, key, None),
        (TlsMode::Require, root, &*other, Some(FailureKind::TlsFailed)),
        (TlsMode::VerifyCa, root, key, unsupported),
        (TlsMode::VerifyCa, certificate, key, None),
        // It has no names but a common one.
        (TlsMode::VerifyFull, certificate, key, unsupported),
    ] {
        for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
            let server = Tls::of_versions(certificate, key, versions).unwrap();
            let fake = answering(server).await;
            let settings = TlsSettings {
                mode,
                ca: Some(ca.into()),
                client: None,
            };
            let result = check(&fake, named("db.test"), settings).await.result;
            let expected = failure.map_or(Ok(Role::Primary), Err);
            assert_eq!(
                result.map(|sample| sample.role),
                expected,
                "{mode:?} {:?}",
                versions[0].version
            );
        }
    }
}

#[tokio::test]
async fn where_nothing_is_verified_nothing_but_the_key_of_a_certificate_is_read() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["db.test".to_owned()]).unwrap();
    // Longer than RFC 5280 lets it be.
    params.serial_number = Some(SerialNumber::from_slice(&[1; 40]));
    let certificate = params.self_signed(&key).unwrap().pem();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let server = Tls::of_versions(&certificate, &key.serialize_pem(), versions).unwrap();
        let fake = answering(server).await;
        let require = settings(TlsMode::Require, &Authority::new());
        let result = check(&fake, named("db.test"), require).await.result;
        assert_eq!(
            result.map(|sample| sample.role),
            Ok(Role::Primary),
            "{:?}",
            versions[0].version
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_its_own_ca_is_accepted_for_its_name_and_time() {
    let all = [TlsMode::VerifyCa, TlsMode::VerifyFull];
    for (name, years, is_ca, failures) in [
        ("db.test", [2000, 2100], true, [None, None]),
        ("db.test", [2000, 2100], false, [None, None]),
        (
            "other.test",
            [2000, 2100],
            true,
            [None, Some(FailureKind::CertificateNameMismatch)],
        ),
        (
            "db.test",
            [2000, 2001],
            true,
            [Some(FailureKind::CertificateExpired); 2],
        ),
        (
            "db.test",
            [2090, 2100],
            true,
            [Some(FailureKind::CertificateNotYetValid); 2],
        ),
    ] {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        [params.not_before, params.not_after] = years.map(|year| rcgen::date_time_ymd(year, 1, 1));
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let fake = answering(server(&certificate, &key, None)).await;
        for (mode, failure) in all.into_iter().zip(failures) {
            let settings = TlsSettings {
                mode,
                ca: Some(format!("{}{certificate}", Authority::new().pem).into()),
                client: None,
            };
            let result = check(&fake, named("db.test"), settings).await.result;
            let expected = failure.map_or(Ok(Role::Primary), Err);
            assert_eq!(
                result.map(|sample| sample.role),
                expected,
                "{mode:?} {name} {years:?}"
            );
        }
    }
    // One that is none of those that are known, though it is of a CA that is.
    let authority = Authority::new();
    let certificate = authority.pem.clone();
    let fake =
        answering(Tls::new(&certificate, &authority.issuer.key().serialize_pem(), None).unwrap()).await;
    let result = check(
        &fake,
        named("db.test"),
        settings(TlsMode::VerifyCa, &Authority::new()),
    )
    .await;
    assert_eq!(result.result, Err(FailureKind::CertificateUnsupported));
}

#[tokio::test]
async fn the_name_is_the_declared_host() {
    let authority = Authority::new();
    let address = Host::Address([127, 0, 0, 1].into());
    let (good, other) = (Ok(Role::Primary), Err(FailureKind::CertificateNameMismatch));
    for (certified, host, expected) in [
        ("127.0.0.1", address.clone(), good),
        ("db.test", address.clone(), other),
        // The name leads to 127.0.0.1, which is not what was declared.
        ("127.0.0.1", named("db.test"), other),
        ("db.test", named("db.test."), good),
        ("*.db.test", named("one.db.test"), good),
        ("db.test", named("not a name"), Err(FailureKind::TlsFailed)),
    ] {
        let (certificate, key) = authority.issue(certified, 2100);
        let fake = answering(server(&certificate, &key, None)).await;
        let result = check(&fake, host.clone(), settings(TlsMode::VerifyFull, &authority))
            .await
            .result;
        assert_eq!(result.map(|sample| sample.role), expected, "{certified} {host}");
    }
}

#[tokio::test]
async fn a_server_without_the_key_of_its_certificate_fails_in_every_mode() {
    let authority = Authority::new();
    let (certificate, _) = authority.issue("db.test", 2100);
    let fake = answering(server(&certificate, &KeyPair::generate().unwrap(), None)).await;
    for mode in [TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let result = check(&fake, named("db.test"), settings(mode, &authority))
            .await
            .result;
        assert_eq!(result, Err(FailureKind::TlsFailed), "{mode:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.issue("db.test", 2100);
    let fake = answering(server(&certificate, &key, Some(&authority))).await;
    for (client, good) in [
        (Some(authority.client()), true),
        (Some(other.client()), false),
        (None, false),
    ] {
        let settings = TlsSettings {
            client,
            ..settings(TlsMode::VerifyFull, &authority)
        };
        let result = check(&fake, named("db.test"), settings).await.result;
        let expected = if good {
            Ok(Role::Primary)
        } else {
            Err(FailureKind::TlsFailed)
        };
        assert_eq!(result.map(|sample| sample.role), expected);
    }
}

#[tokio::test]
async fn scram_is_bound_to_the_channel_where_the_server_offers_it() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("db.test", 2100);
    let (heard, mut hear) = tokio::sync::mpsc::channel(1);
    let fake = encrypted(server(&certificate, &key, None), move |mut session| {
        let heard = heard.clone();
        async move {
            let offer = authentication(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
            session.say(&offer).await?;
            heard.send(session.message().await?).await.unwrap();
            Ok(())
        }
    })
    .await;
    let result = check(&fake, named("db.test"), settings(TlsMode::Require, &authority))
        .await
        .result;
    assert_eq!(result, Err(FailureKind::ConnectionClosed));
    let (kind, answer) = hear.recv().await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(kind, b'p');
    assert!(
        answer.starts_with("SCRAM-SHA-256-PLUS\0") && answer.contains("p=tls-server-end-point"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn no_password_is_sent_in_clear_text_within_tls() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("db.test", 2100);
    let (heard, mut hear) = tokio::sync::mpsc::channel(1);
    let fake = encrypted(server(&certificate, &key, None), move |mut session| {
        let heard = heard.clone();
        async move {
            session.say(&authentication(3, b"")).await?;
            heard.send(session.rest().await).await.unwrap();
            Ok(())
        }
    })
    .await;
    let result = check(&fake, named("db.test"), settings(TlsMode::VerifyFull, &authority))
        .await
        .result;
    assert_eq!(result, Err(FailureKind::PasswordMethodRefused));
    assert_eq!(
        hear.recv().await.unwrap(),
        b"",
        "not a byte, and so not {PASSWORD}"
    );
}

#[tokio::test]
async fn frames_are_bounded_within_tls() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("db.test", 2100);
    let fake = encrypted(server(&certificate, &key, None), |mut session| async move {
        session.say(&authentication(0, b"")).await?;
        loop {
            session.say(&frame(b'N', &[0; 5000])).await?;
        }
    })
    .await;
    let result = check(&fake, named("db.test"), settings(TlsMode::VerifyFull, &authority))
        .await
        .result;
    assert_eq!(result, Err(FailureKind::ReplyTooLong));
}

#[test]
fn texts_that_cannot_be_used_are_the_secrets_fault() {
    let authority = Authority::new();
    let (good, other) = (authority.client(), authority.client());
    let garbled = authority.pem.replacen("MII", "!!!", 1);
    let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let with_ca = |ca: &str| TlsSettings {
        ca: Some(ca.into()),
        ..settings(TlsMode::VerifyFull, &authority)
    };
    let with_client = |chain: &str, key: &Sensitive| TlsSettings {
        client: Some(ClientCertificate {
            chain: chain.into(),
            key: key.clone(),
        }),
        ..settings(TlsMode::VerifyFull, &authority)
    };
    for wrong in [
        with_ca(""),
        with_ca("not PEM"),
        with_ca(&garbled),
        with_ca(not_a_certificate),
        with_ca(good.key.reveal()),
        with_client("", &good.key),
        with_client(&good.chain, &Sensitive::new("")),
        with_client(&good.chain, &Sensitive::new(&good.chain)),
        with_client(&good.chain, &other.key),
    ] {
        let error = Encryption::new(&wrong).err().unwrap();
        assert_eq!(error.kind(), FailureKind::SecretUnresolved, "{error}");
    }
    assert!(
        Encryption::new(&with_client(&good.chain, &good.key))
            .unwrap()
            .is_some()
    );
    assert!(
        Encryption::new(&with_ca(&format!("{0}{0}", authority.pem)))
            .unwrap()
            .is_some()
    );
    assert!(
        Encryption::new(&settings(TlsMode::Disable, &authority))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_key_on_one_line_is_not_shown() {
    let bytes = format!("{:?}", b"canary");
    let bytes = bytes.trim_matches(['[', ']']);
    for key in [
        "-----BEGIN PRIVATE KEY-----MIIEcanaryQ==",
        "-----BEGIN PRIVATE KEY-----MIIEcanaryQ==-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIEcanaryQ==",
    ] {
        let client = ClientCertificate {
            key: Sensitive::new(key),
            ..Authority::new().client()
        };
        let error = client_certificate(&client).unwrap_err();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let shown: String = causes.map(|error| format!("{error} {error:?} ")).collect();
        assert!(!shown.contains(bytes) && !shown.contains("canary"), "{shown}");
    }
}
