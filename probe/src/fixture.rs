//! What the tests of the prober have in common; the servers are fake_postgres's.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use fake_postgres::{Fake, Memory, Standing};
use proptest::prelude::ProptestConfig;
use tokio::net::TcpListener;

use super::check::{Checker, Found};
use super::clock::Clock;
use super::dns::Resolver;
use super::limits::Limits;
use super::login::{Server, SharedEncryption, Terms};
use super::query::Queries;
use distributary_core::login::{Login, Sensitive, TlsMode, TlsSettings};
use distributary_core::observation::{FailureKind, Sample};
use distributary_core::server::{Host, Location};
use distributary_core::sqlstate::Sqlstate;

pub const PASSWORD: &str = "canary-5c1f";

/// Where a fake listens.
pub fn location(fake: &Fake) -> Location {
    Location {
        host: Host::Address(fake.ip()),
        port: fake.address.port(),
    }
}

/// A server that listens on every address of loopback: several servers, of which each can be killed.
pub async fn everywhere() -> Fake {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let good = Standing::standby().whole();
    Fake::on(listener, Memory::Nothing, move |session| {
        let good = good.clone();
        async move { session.serve(|_| good.clone()).await }
    })
    .unwrap()
}

/// The address of loopback that ends so.
pub fn loopback(last: u8) -> IpAddr {
    [127, 0, 0, last].into()
}

/// A server with a login.
pub fn server(location: Location, login: Login) -> Server {
    Server {
        namespace: "shop".to_owned(),
        location,
        pod: None,
        login: Arc::new(login),
        encryption: SharedEncryption::default(),
        terms: Terms::new(&Limits::default(), Clock::new()),
        bare: Arc::default(),
    }
}

/// What checks it.
pub fn checker(location: Location, login: Login) -> Checker {
    let clock = Clock::new();
    Checker::new(clock, Resolver::anywhere(clock), server(location, login))
}

/// What a check without lag queries found.
#[derive(Debug)]
pub struct Checked {
    pub address: Option<IpAddr>,
    pub result: Result<Sample, FailureKind>,
    pub sqlstate: Option<Sqlstate>,
}

/// A check that has long enough.
pub async fn checked(checker: &mut Checker) -> Checked {
    let Found { address, result, .. } = checker
        .check(Duration::from_secs(20), None, &Queries::default())
        .await;
    Checked {
        address,
        sqlstate: result.as_ref().err().and_then(|failure| failure.sqlstate),
        result: result.map(|(sample, _)| sample).map_err(|failure| failure.kind),
    }
}

pub fn login(mode: TlsMode) -> Login {
    Login {
        user: "probe".into(),
        password: Some(Sensitive::new(PASSWORD)),
        database: "postgres".into(),
        tls: TlsSettings {
            mode,
            ca: None,
            client: None,
        },
        hosts: None,
    }
}

/// How many inputs are drawn: `FUZZ=1000000` for so many.
pub fn fuzz() -> ProptestConfig {
    let asked = std::env::var("FUZZ").ok().and_then(|count| count.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(2000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
