//! HAProxy, by its own log.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{PgCluster, Postgres, node};

use super::program::Program;
use crate::journal::{Journal, Statement};

const PORT: u16 = 5432;
const WRITES: u16 = 5433;
/// For an answer on its admin socket.
const ANSWER: Duration = Duration::from_secs(5);

/// A running HAProxy with a front of its own.
#[derive(Debug)]
pub struct Haproxy {
    front: SocketAddr,
    socket: PathBuf,
    servers: Servers,
    _program: Program,
}

/// Which server is behind a name of the file's reads, such as `reads/replica-1`: the journal is of these alone.
type Servers = Arc<Mutex<BTreeMap<String, Ipv4Addr>>>;

impl Haproxy {
    /// Starts it with `benches/config/FILE`. The file finds its front in FRONT, one for writes in WRITES, the servers in PRIMARY and
    /// REPLICA_1, REPLICA_2, …, and a file name for its admin socket in SOCKET.
    ///
    /// # Errors
    /// When it is not installed or refuses the file.
    pub fn start(name: &'static str, file: &str, postgres: &PgCluster, journal: &Journal) -> Result<Self> {
        let front = SocketAddr::from((node::claim_address()?.server, PORT));
        let socket = crate::directory(name)?.join("admin");
        let file = crate::root().join("benches/config").join(file);
        let replicas = || (1..).zip(postgres.replicas());
        let command = || {
            let mut command = Command::new("haproxy");
            command.arg("-f").arg(&file).env("FRONT", front.to_string());
            command.env("WRITES", SocketAddr::from((front.ip(), WRITES)).to_string());
            command.env("SOCKET", &socket);
            command.env("PRIMARY", postgres.primary().socket().to_string());
            let each = |(number, server): (usize, &Postgres)| {
                (format!("REPLICA_{number}"), server.socket().to_string())
            };
            command.envs(replicas().map(each));
            command
        };
        let checked = command().arg("-c").output()?;
        ensure!(
            checked.status.success(),
            "haproxy refuses {}: {}",
            file.display(),
            String::from_utf8_lossy(&checked.stderr)
        );
        let named = replicas().map(|(number, server)| (format!("reads/replica-{number}"), server.address()));
        let primary = ("reads/primary".to_owned(), postgres.primary().address());
        let servers: Servers = Arc::new(Mutex::new(named.chain([primary]).collect()));
        // It starts with every server up, and says so only of those that were down.
        for server in postgres.servers() {
            journal.add(name, Statement::Up(server.address()));
        }
        let (journal, known) = (journal.clone(), servers.clone());
        let said = move |line: &str| {
            // It says it twice, in its log and on its standard error.
            match word(line, &lock(&known)) {
                Some(Statement::Up(server)) if journal.is_up(name, server, Instant::now()) => {}
                Some(Statement::Down(server)) if !journal.is_up(name, server, Instant::now()) => {}
                Some(said) => journal.add(name, said),
                None => {}
            }
        };
        let program = Program::start(command().arg("-db"), said)?;
        Ok(Self {
            front,
            socket,
            servers,
            _program: program,
        })
    }

    /// Where its clients connect.
    #[must_use]
    pub fn front(&self) -> SocketAddr {
        self.front
    }

    /// Where its clients connect for writes, where the file has that.
    #[must_use]
    pub fn writes(&self) -> SocketAddr {
        (self.front.ip(), WRITES).into()
    }

    /// Puts another server behind a name of the file, as a person does after a promotion.
    ///
    /// # Errors
    /// When it refuses, or does not answer within 5 s.
    pub fn place(&self, name: &str, server: Ipv4Addr) -> Result<()> {
        let mut socket = UnixStream::connect(&self.socket).context("reach HAProxy's admin socket")?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.write_all(format!("set server {name} addr {server} port {PORT}\n").as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        ensure!(
            answer.contains("changed") || answer.contains("no need"),
            "HAProxy says {answer:?}"
        );
        if name.starts_with("reads/") {
            lock(&self.servers).insert(name.to_owned(), server);
        }
        Ok(())
    }

    /// The name among its reads that this server has, such as `reads/replica-1`.
    #[must_use]
    pub fn name_of(&self, server: Ipv4Addr) -> Option<String> {
        let servers = lock(&self.servers);
        let mut reads = servers
            .iter()
            .filter(|(name, _)| name.starts_with("reads/replica"));
        reads
            .find(|(_, one)| **one == server)
            .map(|(name, _)| name.clone())
    }
}

fn lock(servers: &Servers) -> MutexGuard<'_, BTreeMap<String, Ipv4Addr>> {
    servers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `Server reads/replica-1 is DOWN, reason: …`
fn word(line: &str, servers: &BTreeMap<String, Ipv4Addr>) -> Option<Statement> {
    let (_, rest) = line.split_once("Server ")?;
    let (name, rest) = rest.split_once(" is ")?;
    let server = servers.get(name.trim_start_matches("Backup "))?;
    if rest.starts_with("DOWN") {
        Some(Statement::Down(*server))
    } else if rest.starts_with("UP") {
        Some(Statement::Up(*server))
    } else {
        None
    }
}
