//! A way to the API server on which a test holds a request, or refuses some, or which it cuts.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificates::Authority;
use crate::node::{self, API_PORT, API_SERVER};
use crate::wait::Stopwatch;
use crate::{suite, wait};

/// The longest head of a request that is read.
const LONGEST: usize = 64 << 10;

/// An address of its own that leads to the API server. Whoever is given its [`kubeconfig`](Self::kubeconfig) has no other
/// way there. It speaks HTTP/1.1 over TLS on both sides. Dropping it closes what goes through it.
pub struct Gate {
    address: Ipv4Addr,
    kubeconfig: PathBuf,
    trap: Trap,
    refusal: Refusal,
    task: JoinHandle<()>,
}

/// A request on its way to the API server.
#[derive(Clone, Debug)]
pub struct Passing {
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The body; null where there is none.
    pub body: Value,
}

/// A request that is held, or is still to come. Dropping it lets the request go.
pub struct Held {
    caught: oneshot::Receiver<Passing>,
    release: oneshot::Sender<()>,
}

/// What is to be held, if anything is.
type Trap = Arc<Mutex<Option<Hold>>>;

/// Requests that are refused as long as it lives.
pub struct Refusing {
    refusal: Refusal,
    times: Arc<Mutex<Vec<Stopwatch>>>,
}

/// What is to be refused, if anything is.
type Refusal = Arc<Mutex<Option<Refused>>>;

struct Refused {
    is_it: Box<dyn Fn(&Passing) -> bool + Send>,
    answer: String,
    times: Arc<Mutex<Vec<Stopwatch>>>,
}

struct Hold {
    is_it: Box<dyn Fn(&Passing) -> bool + Send>,
    caught: oneshot::Sender<Passing>,
    release: oneshot::Receiver<()>,
}

impl Gate {
    /// A gate for the user of this kubeconfig.
    ///
    /// # Errors
    /// When the kubeconfig is not one of the harness, or the gate cannot listen.
    pub async fn of(kubeconfig: &Path) -> Result<Self> {
        let address = node::claim_address()?.server;
        let mut config: Value = serde_json::from_slice(&fs::read(kubeconfig)?)?;
        let cluster = &mut config["clusters"][0]["cluster"];
        let authority = cluster["certificate-authority"].as_str();
        let connector = connector(Path::new(authority.context("no certificate-authority")?))?;
        let ours = Authority::new("gate")?;
        let directory = node::data_subdir("gates")?;
        let certificates = directory.join(format!("{address}.crt"));
        fs::write(&certificates, ours.pem())?;
        cluster["server"] = json!(format!("https://{address}:{API_PORT}"));
        cluster["certificate-authority"] = json!(certificates);
        let kubeconfig = directory.join(address.to_string());
        fs::write(&kubeconfig, config.to_string())?;

        let acceptor = acceptor(&ours, address)?;
        let listener = TcpListener::bind((address, API_PORT)).await?;
        let (trap, refusal) = (Trap::default(), Refusal::default());
        let traps = (Arc::clone(&trap), Arc::clone(&refusal));
        let task = suite::runtime().spawn(serve(listener, acceptor, connector, traps));
        Ok(Self {
            address,
            kubeconfig,
            trap,
            refusal,
            task,
        })
    }

    /// The kubeconfig that leads through it.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Holds the first request from now on that is such a one: the API server gets nothing of it until it is let go.
    /// Others go on, before it and after it, but those on its connection.
    #[must_use]
    pub fn hold(&self, is_it: impl Fn(&Passing) -> bool + Send + 'static) -> Held {
        let (caught, released) = (oneshot::channel(), oneshot::channel());
        let hold = Hold {
            is_it: Box::new(is_it),
            caught: caught.0,
            release: released.1,
        };
        *self.trap.lock().unwrap_or_else(PoisonError::into_inner) = Some(hold);
        Held {
            caught: caught.1,
            release: released.0,
        }
    }

    /// Answers such requests with 429, as an API server does whose priority level is full, until what is returned is dropped.
    #[must_use]
    pub fn refuse(
        &self,
        retry_after: Duration,
        is_it: impl Fn(&Passing) -> bool + Send + 'static,
    ) -> Refusing {
        let text = "Too many requests, please try again later.\n";
        let times = Arc::default();
        let refused = Refused {
            is_it: Box::new(is_it),
            answer: format!(
                "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: {}\r\n\
                 Content-Length: {}\r\n\r\n{text}",
                retry_after.as_secs(),
                text.len()
            ),
            times: Arc::clone(&times),
        };
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
        Refusing {
            refusal: Arc::clone(&self.refusal),
            times,
        }
    }

    /// Drops every packet between it and its user, and tells nobody.
    ///
    /// # Errors
    /// When nft fails.
    pub fn cut(&self) -> Result<()> {
        self.silence("add")
    }

    /// Ends that.
    ///
    /// # Errors
    /// When nft fails, as it does where nothing was cut.
    pub fn heal(&self) -> Result<()> {
        self.silence("delete")
    }

    fn silence(&self, verb: &str) -> Result<()> {
        node::nft(&format!(
            "{verb} element inet faults silent {{ {} }}\n",
            self.address
        ))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Held {
    /// Waits until it is held; what it is.
    ///
    /// # Errors
    /// When no such request has come by the end of `deadline`.
    pub async fn arrives(&mut self, deadline: Duration) -> Result<Passing> {
        wait::within("a request to be held", deadline, &mut self.caught).await
    }

    /// Lets it go on to the API server.
    pub fn let_go(self) {
        // Its connection may have ended.
        let _ = self.release.send(());
    }
}

impl Refusing {
    /// How long ago each refusal was, the first one first.
    #[must_use]
    pub fn ages(&self) -> Vec<Duration> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.iter().map(Stopwatch::elapsed).collect()
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn acceptor(authority: &Authority, address: Ipv4Addr) -> Result<TlsAcceptor> {
    let identity = authority.server(&[], &[IpAddr::from(address)])?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn connector(authority: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    traps: (Trap, Refusal),
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (acceptor, connector, traps) = (acceptor.clone(), connector.clone(), traps.clone());
        connections.spawn(async move {
            // Either side may close at any time.
            let _ = carry(client, &acceptor, &connector, &traps).await;
        });
    }
}

async fn carry(
    client: TcpStream,
    acceptor: &TlsAcceptor,
    connector: &TlsConnector,
    traps: &(Trap, Refusal),
) -> Result<()> {
    client.set_nodelay(true)?;
    let client = acceptor.accept(client).await?;
    let server = TcpStream::connect(SocketAddr::from((API_SERVER, API_PORT))).await?;
    server.set_nodelay(true)?;
    let server = connector
        .connect(ServerName::from(IpAddr::from(API_SERVER)), server)
        .await?;
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let to_client = tokio::sync::Mutex::new(to_client);
    tokio::select! {
        ended = requests(from_client, to_server, &to_client, traps) => ended,
        ended = answers(from_server, &to_client) => ended,
    }
}

/// Passes the requests of a connection on, one after the other.
async fn requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    back: &tokio::sync::Mutex<impl AsyncWrite + Unpin>,
    (trap, refusal): &(Trap, Refusal),
) -> Result<()> {
    let mut read = Vec::new();
    loop {
        let end = whole_request(&mut from, &mut read).await?;
        let passing = Passing::read(&read[..end])?;
        if let Some(answer) = refused(refusal, &passing) {
            let mut back = back.lock().await;
            back.write_all(answer.as_bytes()).await?;
            back.flush().await?;
            read.drain(..end);
            continue;
        }
        if let Some(hold) = take(trap, &passing) {
            // The test may have ended.
            let _ = hold.caught.send(passing);
            let _ = hold.release.await;
        }
        to.write_all(&read[..end]).await?;
        to.flush().await?;
        read.drain(..end);
    }
}

/// Passes what the API server answers on.
async fn answers(
    mut from: impl AsyncRead + Unpin,
    to: &tokio::sync::Mutex<impl AsyncWrite + Unpin>,
) -> Result<()> {
    let mut part = vec![0; 16 << 10];
    loop {
        let count = from.read(&mut part).await?;
        ensure!(count > 0, "no more answers");
        let mut to = to.lock().await;
        to.write_all(&part[..count]).await?;
        to.flush().await?;
    }
}

fn refused(refusal: &Refusal, passing: &Passing) -> Option<String> {
    let refusal = refusal.lock().unwrap_or_else(PoisonError::into_inner);
    let refused = refusal.as_ref().filter(|refused| (refused.is_it)(passing))?;
    let mut times = refused.times.lock().unwrap_or_else(PoisonError::into_inner);
    times.push(Stopwatch::start());
    Some(refused.answer.clone())
}

/// Reads until a whole request is there; where it ends.
async fn whole_request(from: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Result<usize> {
    let end = loop {
        if let Some(end) = end_of_head(read) {
            break end + content_length(&read[..end])?;
        }
        ensure!(read.len() < LONGEST, "a head without an end");
        more(from, read).await?;
    };
    while read.len() < end {
        more(from, read).await?;
    }
    Ok(end)
}

async fn more(from: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Result<()> {
    ensure!(from.read_buf(read).await? > 0, "no more requests");
    Ok(())
}

/// Where the body of the first request begins, when its head is there.
fn end_of_head(read: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let found = read.windows(END.len()).position(|window| window == END)?;
    Some(found + END.len())
}

fn content_length(head: &[u8]) -> Result<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    ensure!(!head.contains("\r\ntransfer-encoding:"), "a body in chunks");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Ok(length.map_or(Ok(0), |length| length.trim().parse())?)
}

fn take(trap: &Trap, passing: &Passing) -> Option<Hold> {
    let mut trap = trap.lock().unwrap_or_else(PoisonError::into_inner);
    trap.take_if(|hold| (hold.is_it)(passing))
}

impl Passing {
    fn read(request: &[u8]) -> Result<Self> {
        let (head, body) = request.split_at(end_of_head(request).context("no head")?);
        let head = String::from_utf8_lossy(head);
        let mut words = head.split(' ');
        let (method, uri) = words.next().zip(words.next()).context("no request line")?;
        Ok(Self {
            method: method.to_owned(),
            path: uri.split('?').next().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(body).unwrap_or_default(),
        })
    }
}
