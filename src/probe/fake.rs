//! Servers that say what a test wants them to say.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::check::{Checker, Found};
use super::dns::Resolver;
use super::login::{Server, SharedEncryption};
use super::query::Queries;
use crate::clock::Clock;
use distributary_core::login::{Login, Sensitive, TlsMode, TlsSettings};
use distributary_core::observation::{FailureKind, Sample};
use distributary_core::policy::{Host, Location};

pub const PASSWORD: &str = "canary-5c1f";

/// A listener on loopback that lives as long as this.
pub struct Fake {
    pub address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Fake {
    /// Treats every connection, each in a task of its own, as `treat` says.
    pub async fn start<F, Treating>(treat: F) -> Self
    where
        F: Fn(TcpStream) -> Treating + Send + 'static,
        Treating: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut treated = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                treated.spawn(treat(stream));
            }
        });
        Self {
            address,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Reads the startup message, says `bytes`, and reads on until the client leaves.
    pub async fn saying(bytes: Vec<u8>) -> Self {
        let bytes = Arc::new(bytes);
        Self::start(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                startup(&mut stream).await;
                let _ = stream.write_all(&bytes).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await
    }

    /// Lets anybody in, and says `bytes` to the query.
    pub async fn answering(bytes: Vec<u8>) -> Self {
        let bytes = Arc::new(bytes);
        Self::start(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move { serve(&mut stream, |_| bytes.to_vec()).await }
        })
        .await
    }

    pub fn location(&self) -> Location {
        Location {
            host: Host::Address(self.address.ip()),
            port: self.address.port(),
        }
    }
}

/// A server with a login.
pub fn server(location: Location, login: Login) -> Server {
    Server {
        location,
        pod: None,
        login: Arc::new(login),
        encryption: SharedEncryption::default(),
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
}

/// A check that has long enough.
pub async fn checked(checker: &mut Checker) -> Checked {
    let Found { address, result } = checker
        .check(Duration::from_secs(20), None, &Queries::default())
        .await;
    Checked {
        address,
        result: result.map(|(sample, _)| sample),
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
    }
}

/// Reads one startup message, or nothing where the client left.
pub async fn startup<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let Ok(length) = stream.read_u32().await else {
        return Vec::new();
    };
    let mut body = vec![0; length as usize - 4];
    let _ = stream.read_exact(&mut body).await;
    body
}

/// Reads one frame of a client: its type and body.
pub async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let mut body = vec![0; stream.read_u32().await.ok()? as usize - 4];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

/// Lets anybody in and answers each query as `answer` says, until the client leaves.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: impl Fn(&str) -> Vec<u8>) {
    startup(stream).await;
    let _ = stream.write_all(&logged_in()).await;
    while let Some((b'Q', query)) = read_frame(stream).await {
        let _ = stream
            .write_all(&answer(std::str::from_utf8(&query).unwrap()))
            .await;
    }
}

pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

pub fn authentication(code: u32, rest: &[u8]) -> Vec<u8> {
    frame(b'R', &[&code.to_be_bytes()[..], rest].concat())
}

pub fn logged_in() -> Vec<u8> {
    [
        authentication(0, b""),
        frame(b'S', b"server_version\x0015.7\0"),
        frame(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]),
        frame(b'Z', b"I"),
    ]
    .concat()
}

pub fn error(sqlstate: &str) -> Vec<u8> {
    frame(
        b'E',
        format!("SFATAL\0VFATAL\0C{sqlstate}\0Mthe text of it\0\0").as_bytes(),
    )
}

/// One row of one statement.
pub fn row(values: &[Option<&str>]) -> Vec<u8> {
    let count = u16::try_from(values.len()).unwrap().to_be_bytes();
    let column = [&b"c\0"[..], &[0; 18]].concat();
    let mut body = count.to_vec();
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(text) => {
                body.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                body.extend(text.as_bytes());
            }
        }
    }
    let description = [&count[..], &column.repeat(values.len())].concat();
    [
        frame(b'T', &description),
        frame(b'D', &body),
        frame(b'C', b"SELECT 1\0"),
    ]
    .concat()
}

/// A statement that was carried out and gives no row.
pub fn done(tag: &str) -> Vec<u8> {
    frame(b'C', format!("{tag}\0").as_bytes())
}

/// The answers to one question: those of a transaction around `rows`.
pub fn answers(rows: &[Vec<u8>]) -> Vec<u8> {
    let opening = [done("START TRANSACTION"), done("SET")].concat();
    [opening, rows.concat(), done("COMMIT"), frame(b'Z', b"I")].concat()
}

pub fn ready() -> Vec<u8> {
    frame(b'Z', b"I")
}

/// What a server says of its load.
pub fn load() -> Vec<u8> {
    row(&[Some("7"), Some("100"), Some("4711"), Some("1700000000000000")])
}

/// The answer of a primary to the whole question.
pub fn primary() -> Vec<u8> {
    answers(&[
        row(&[Some("f")]),
        row(&[Some("16/B374D848"), None]),
        row(&[Some("000000030000001600000000"), None]),
        row(&[Some("-2")]),
        load(),
    ])
}

/// The answer of a standby to the whole question.
pub fn standby() -> Vec<u8> {
    answers(&[
        row(&[Some("t")]),
        row(&[Some("16/B374D000"), Some("16/B374D848")]),
        row(&[None, Some("3")]),
        row(&[Some("-2")]),
        load(),
    ])
}
