//! A process that is behind every address of 198.18.64.0/18: it answers the questions of probes, and counts them.
//!
//! It takes orders on its standard input, one to a line, and answers each with a line: `reset` (of what `stats` says),
//! `stats`, `kill ADDRESS` (its connections close, new ones are reset), `revive ADDRESS`.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::postgres::{PORT, PROBE};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use crate::answers::{Server, answers};
use crate::crowd::PER_POLICY;
use crate::protocol::{self, Opening};
use crate::scram::{Exchange, Verifier};

/// The first argument of this program when it is the stub; after it the files with certificate and key, where it asks
/// for TLS and SCRAM.
pub const ARGUMENT: &str = "stub";
/// Connections that wait to be accepted, when an operator starts.
const BACKLOG: u32 = 4096;
/// A whole check is over before this; a held session is not.
const LONGEST_CHECK: Duration = Duration::from_secs(10);
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// Runs until the standard input ends.
pub fn main(arguments: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stub: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<()> {
    let tls = match arguments {
        [certificate, key] => Some(acceptor(certificate, key)?),
        _ => None,
    };
    let stub = Arc::new(Stub {
        tls,
        verifier: Verifier::of(PROBE.password),
        started: Instant::now(),
        state: Mutex::default(),
    });
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::UNSPECIFIED, PORT).into())?;
    tokio::spawn(accept(socket.listen(BACKLOG)?, stub.clone()));
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        println!("{}", stub.obey(&order)?);
    }
    Ok(())
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    // PostgreSQL gives none either.
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Stub {
    tls: Option<TlsAcceptor>,
    verifier: Verifier,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    endpoints: HashMap<Ipv4Addr, Endpoint>,
    next: u64,
    checks: u64,
    heartbeats: u64,
    longest_check_gap: Duration,
    longest_heartbeat_gap: Duration,
    /// Expressions that the stub does not know, and how often they came.
    unknown: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Endpoint {
    dead: bool,
    checked: Option<Instant>,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    task: Option<AbortHandle>,
    began: Instant,
    asked: Option<Instant>,
    questions: u64,
}

async fn accept(listener: TcpListener, stub: Arc<Stub>) {
    loop {
        // It fails when a client has gone already, or for want of descriptors, which the benchmark ensures.
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let Ok(IpAddr::V4(address)) = stream.local_addr().map(|local| local.ip()) else {
            continue;
        };
        let Some(number) = stub.open(address) else {
            // Lingering for no time makes the end a reset.
            let _ = stream.set_zero_linger();
            continue;
        };
        let served = stub.clone();
        let task = tokio::spawn(async move {
            let polite = served.serve(stream, address, number).await.is_ok();
            served.close(address, number, polite);
        });
        if let Some(connection) = stub.state().connection(address, number) {
            connection.task = Some(task.abort_handle());
        }
    }
}

impl Stub {
    /// Counts a new connection; `None` where the endpoint is dead.
    fn open(&self, address: Ipv4Addr) -> Option<u64> {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        let endpoint = state.endpoints.entry(address).or_default();
        if endpoint.dead {
            return None;
        }
        let connection = Connection {
            task: None,
            began: Instant::now(),
            asked: None,
            questions: 0,
        };
        endpoint.connections.insert(number, connection);
        Some(number)
    }

    /// Counts the end of a connection: that of a whole check, where its client said farewell soon.
    fn close(&self, address: Ipv4Addr, number: u64, polite: bool) {
        let mut state = self.state();
        let Some(endpoint) = state.endpoints.get_mut(&address) else {
            return;
        };
        let Some(connection) = endpoint.connections.remove(&number) else {
            return;
        };
        if !polite || connection.began.elapsed() > LONGEST_CHECK {
            return;
        }
        let gap = endpoint
            .checked
            .replace(connection.began)
            .map(|before| connection.began - before);
        state.checks += 1;
        state.longest_check_gap = state.longest_check_gap.max(gap.unwrap_or_default());
    }

    /// Counts a question; all but the first of a connection are heartbeats.
    fn asked(&self, address: Ipv4Addr, number: u64) {
        let (now, mut state) = (Instant::now(), self.state());
        let Some(connection) = state.connection(address, number) else {
            return;
        };
        connection.questions += 1;
        let before = connection.asked.replace(now);
        if let Some(before) = before {
            state.heartbeats += 1;
            state.longest_heartbeat_gap = state.longest_heartbeat_gap.max(now - before);
        }
    }

    async fn serve(&self, stream: TcpStream, address: Ipv4Addr, number: u64) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = buffered(stream);
        loop {
            match (protocol::opening(&mut stream).await?, &self.tls) {
                (Opening::Startup, None) => return self.talk(stream, address, number).await,
                (Opening::Startup, Some(_)) => bail!("it came without TLS"),
                (Opening::Tls, Some(tls)) => {
                    stream.write_all(b"S").await?;
                    ensure!(stream.buffer().is_empty(), "bytes before TLS");
                    let mut stream = buffered(tls.accept(stream.into_inner()).await?);
                    ensure!(
                        protocol::opening(&mut stream).await? == Opening::Startup,
                        "no startup in TLS"
                    );
                    self.log_in(&mut stream).await?;
                    return self.talk(stream, address, number).await;
                }
                (Opening::Tls | Opening::Gss, _) => stream.write_all(b"N").await?,
            }
        }
    }

    async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>) -> Result<()> {
        stream
            .write_all(&protocol::authentication(SASL, b"SCRAM-SHA-256\0\0"))
            .await?;
        let (_, body) = protocol::message(stream).await?;
        // The mechanism's name, its end, and the length of what follows.
        let text = body
            .splitn(2, |byte| *byte == 0)
            .nth(1)
            .and_then(|rest| rest.get(4..));
        let (exchange, first) = Exchange::begin(std::str::from_utf8(text.context("no first message")?)?)?;
        stream
            .write_all(&protocol::authentication(SASL_CONTINUE, first.as_bytes()))
            .await?;
        let (_, body) = protocol::message(stream).await?;
        let last = self.verifier.last(&exchange, std::str::from_utf8(&body)?)?;
        stream
            .write_all(&protocol::authentication(SASL_FINAL, last.as_bytes()))
            .await?;
        Ok(())
    }

    /// From the end of the login to the farewell.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: BufReader<S>,
        address: Ipv4Addr,
        number: u64,
    ) -> Result<()> {
        stream
            .write_all(&[protocol::authentication(0, b""), protocol::welcome()].concat())
            .await?;
        stream.flush().await?;
        let server = Server {
            primary: is_primary(address),
            started: self.started,
        };
        loop {
            let (kind, body) = protocol::message(&mut stream).await?;
            match kind {
                b'Q' => {
                    self.asked(address, number);
                    let text = String::from_utf8_lossy(&body);
                    let unknown = |expression: &str| {
                        *self.state().unknown.entry(expression.to_owned()).or_default() += 1;
                    };
                    let answers = answers(text.trim_end_matches('\0'), server, unknown);
                    stream.write_all(&protocol::reply(&answers)).await?;
                    stream.flush().await?;
                }
                b'X' => return Ok(()),
                other => bail!("a message {:?}", char::from(other)),
            }
        }
    }

    fn obey(&self, order: &str) -> Result<Value> {
        match order.split(' ').collect::<Vec<_>>()[..] {
            ["reset"] => self.state().reset(),
            ["stats"] => return Ok(self.state().stats()),
            ["kill", address] => self.state().kill(address.parse()?),
            ["revive", address] => self.state().endpoints.entry(address.parse()?).or_default().dead = false,
            _ => bail!("an order {order:?}"),
        }
        Ok(Value::Null)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn connection(&mut self, address: Ipv4Addr, number: u64) -> Option<&mut Connection> {
        self.endpoints.get_mut(&address)?.connections.get_mut(&number)
    }

    fn kill(&mut self, address: Ipv4Addr) {
        let endpoint = self.endpoints.entry(address).or_default();
        endpoint.dead = true;
        for connection in endpoint
            .connections
            .drain()
            .filter_map(|(_, connection)| connection.task)
        {
            connection.abort();
        }
    }

    fn reset(&mut self) {
        (self.checks, self.heartbeats) = (0, 0);
        (self.longest_check_gap, self.longest_heartbeat_gap) = (Duration::ZERO, Duration::ZERO);
    }

    fn stats(&self) -> Value {
        let connections = self
            .endpoints
            .values()
            .flat_map(|endpoint| endpoint.connections.values());
        // A second question on the same connection: nobody but a held session has one.
        let sessions = connections.filter(|connection| connection.questions > 1).count();
        json!({
            "sessions": sessions,
            "checks": self.checks,
            "heartbeats": self.heartbeats,
            "longestCheckGap": self.longest_check_gap.as_secs_f64(),
            "longestHeartbeatGap": self.longest_heartbeat_gap.as_secs_f64(),
            "unknown": self.unknown,
        })
    }
}

fn buffered<S: AsyncRead>(stream: S) -> BufReader<S> {
    BufReader::with_capacity(2048, stream)
}

/// The first endpoint of each policy; see [`crate::crowd::address`].
fn is_primary(address: Ipv4Addr) -> bool {
    let [_, _, third, fourth] = address.octets().map(usize::from);
    (third.saturating_sub(64) * 250 + fourth.saturating_sub(1)).is_multiple_of(PER_POLICY)
}
