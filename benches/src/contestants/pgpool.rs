//! Pgpool-II, by its own log.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use harness::postgres::{APP, Login, PROBE};
use harness::{PgCluster, node};
use nix::unistd::User;

use super::program::Program;
use crate::journal::{Journal, Statement};

const PORT: u16 = 5432;
const PROGRAM: &str = "/usr/sbin/pgpool";

/// The role that looks at the replication, to bring servers back.
pub const PGPOOL_ROLE: Login = Login {
    user: "pgpool",
    password: "pgpool-secret",
};

/// A running Pgpool-II.
#[derive(Debug)]
pub struct Pgpool {
    front: SocketAddr,
    _program: Program,
}

impl Pgpool {
    /// Makes its role, writes its files and starts it.
    ///
    /// # Errors
    /// When it is not installed.
    pub async fn start(name: &'static str, postgres: &PgCluster, journal: &Journal) -> Result<Self> {
        let Login { user, password } = PGPOOL_ROLE;
        let role = format!("create role {user} login password '{password}' in role pg_monitor");
        postgres.primary().sql(&role).await?;
        postgres.caught_up().await?;
        let front = SocketAddr::from((node::claim_address()?.server, PORT));
        let account = User::from_name("postgres")?.context("there is no user postgres")?;
        let directory = crate::directory(name)?;
        for (file, text) in files(postgres, front, &directory)? {
            let path = directory.join(file);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            chown(&path, Some(account.uid.as_raw()), Some(account.gid.as_raw()))?;
        }
        chown(&directory, Some(account.uid.as_raw()), Some(account.gid.as_raw()))?;
        let servers: HashMap<_, _> = postgres
            .servers()
            .map(|server| (server.address().to_string(), server.address()))
            .collect();
        for server in servers.values() {
            journal.add(name, Statement::Up(*server));
        }
        let (journal, log) = (journal.clone(), std::env::var_os("PGPOOL_LOG").is_some());
        let said = move |line: &str| {
            if log {
                eprintln!("pgpool: {line}");
            }
            if let Some(said) = word(line, &servers) {
                journal.add(name, said);
            }
        };
        let mut command = Command::new(PROGRAM);
        command
            .args(["-n", "-D"])
            .uid(account.uid.as_raw())
            .gid(account.gid.as_raw());
        for (option, file) in [("-f", "pgpool.conf"), ("-a", "pool_hba.conf"), ("-F", "pcp.conf")] {
            command.arg(option).arg(directory.join(file));
        }
        let program = Program::start(command.current_dir("/"), said)?;
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

fn files(postgres: &PgCluster, front: SocketAddr, directory: &Path) -> Result<[(&'static str, String); 4]> {
    let config = crate::root().join("benches/config");
    let mut settings = fs::read_to_string(config.join("pgpool.conf"))?;
    let own = directory.display();
    writeln!(
        settings,
        "listen_addresses = '{}'\nport = {PORT}\nsocket_dir = '{own}'\npcp_socket_dir = '{own}'\n\
         wd_ipc_socket_dir = '{own}'\npid_file_name = '{own}/pgpool.pid'\nlogdir = '{own}'\nwork_dir = '{own}'",
        front.ip()
    )?;
    for (number, server) in postgres.servers().enumerate() {
        // Reads go to the primary only where no replica is left.
        let weight = usize::from(number > 0);
        writeln!(
            settings,
            "backend_hostname{number} = '{}'\nbackend_port{number} = {PORT}\nbackend_weight{number} = {weight}\n\
             backend_application_name{number} = '{}'\nbackend_flag{number} = 'ALLOW_TO_FAILOVER'",
            server.address(),
            server.name()
        )?;
    }
    let passwords = [APP, PROBE, PGPOOL_ROLE].map(|login| format!("{}:TEXT{}\n", login.user, login.password));
    Ok([
        ("pgpool.conf", settings),
        ("pool_hba.conf", fs::read_to_string(config.join("pool_hba.conf"))?),
        ("pool_passwd", passwords.concat()),
        ("pcp.conf", String::new()),
    ])
}

/// `… Starting degeneration. shutdown host 198.18.0.12(5432)`, `… Starting fail back. reconnect host 198.18.0.12(5432)`
fn word(line: &str, servers: &HashMap<String, Ipv4Addr>) -> Option<Statement> {
    let host = |rest: &str| servers.get(rest.split(['(', ' ']).next()?).copied();
    if let Some((_, rest)) = line.split_once("shutdown host ") {
        return host(rest).map(Statement::Down);
    }
    let (_, rest) = line.split_once("reconnect host ")?;
    host(rest).map(Statement::Up)
}
