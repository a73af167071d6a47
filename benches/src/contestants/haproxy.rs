//! HAProxy, by its own log.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Result, ensure};
use harness::{PgCluster, node};

use super::program::Program;
use crate::journal::{Journal, Statement};

const PORT: u16 = 5432;

/// A running HAProxy with a front of its own.
#[derive(Debug)]
pub struct Haproxy {
    front: SocketAddr,
    _program: Program,
}

impl Haproxy {
    /// Starts it with `benches/config/FILE`.
    ///
    /// # Errors
    /// When it is not installed or refuses the file.
    pub fn start(name: &'static str, file: &str, postgres: &PgCluster, journal: &Journal) -> Result<Self> {
        let front = SocketAddr::from((node::claim_address()?.server, PORT));
        let file = crate::root().join("benches/config").join(file);
        let servers = [
            ("REPLICA_1", postgres.replica(0)),
            ("REPLICA_2", postgres.replica(1)),
            ("PRIMARY", postgres.primary()),
        ];
        let command = || {
            let mut command = Command::new("haproxy");
            command.arg("-f").arg(&file).env("FRONT", front.to_string());
            command.envs(servers.map(|(name, server)| (name, server.socket().to_string())));
            command
        };
        let checked = command().arg("-c").output()?;
        ensure!(
            checked.status.success(),
            "haproxy refuses {}: {}",
            file.display(),
            String::from_utf8_lossy(&checked.stderr)
        );
        let names = [
            ("reads/replica-1", postgres.replica(0).address()),
            ("reads/replica-2", postgres.replica(1).address()),
            ("reads/primary", postgres.primary().address()),
        ];
        // It starts with every server up, and says so only of those that were down.
        for (_, server) in names {
            journal.add(name, Statement::Up(server));
        }
        let journal = journal.clone();
        let said = move |line: &str| {
            if let Some(said) = word(line, &names) {
                journal.add(name, said);
            }
        };
        let program = Program::start(command().arg("-db"), said)?;
        Ok(Self {
            front,
            _program: program,
        })
    }

    /// Where its clients connect.
    #[must_use]
    pub fn front(&self) -> SocketAddr {
        self.front
    }
}

/// `Server reads/replica-1 is DOWN, reason: …`
fn word(line: &str, names: &[(&str, Ipv4Addr)]) -> Option<Statement> {
    let (_, rest) = line.split_once("Server ")?;
    let (name, rest) = rest.split_once(" is ")?;
    let (_, server) = names
        .iter()
        .find(|(known, _)| *known == name.trim_start_matches("Backup "))?;
    if rest.starts_with("DOWN") {
        Some(Statement::Down(*server))
    } else if rest.starts_with("UP") {
        Some(Statement::Up(*server))
    } else {
        None
    }
}
