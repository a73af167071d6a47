//! Real PostgreSQL servers, each with an address of its own, and what can befall them.

mod bench;
mod cluster;
mod faults;
mod patroni;
mod pooler;
mod processes;
mod rogue;
mod settings;
mod sql;
mod template;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::certificates::Authority;
use crate::node::{self, Addresses};
use crate::process::Daemon;
use crate::{dns, wait};

pub use bench::processed;
pub use cluster::{Builder, PgCluster};
pub use patroni::{Member, Patroni};
pub use pooler::{LOOKUP, Passwords, Pooler};
pub use rogue::rogue;
pub use settings::{ServerCertificate, Tls};

/// The port of every server.
pub const PORT: u16 = 5432;
/// The database that every cluster has, with the table `note (id, body)` of 100 rows.
pub const DATABASE: &str = "app";
/// The role for health checks: may log in, nothing else.
pub const PROBE: Login = Login {
    user: "probe",
    password: "probe-secret",
};
/// The owner of the table.
pub const APP: Login = Login {
    user: "app",
    password: "app-secret",
};

/// How long a server may take to start or to stop.
const DEADLINE: Duration = Duration::from_secs(30);
/// The programs of the version that Debian 12 has; see [`Builder::programs`] for others.
pub const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A role and its first password; authentication is SCRAM-SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// The role.
    pub user: &'static str,
    /// Its password, until a test changes it.
    pub password: &'static str,
}

/// How a server is told to stop; the words are `pg_ctl`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Waits for clients to disconnect.
    Smart,
    /// Ends sessions, writes a checkpoint.
    Fast,
    /// Ends at once; the next start recovers.
    Immediate,
}

/// One server. Dropping it kills all its processes and removes its data; its log stays.
#[derive(Debug)]
pub struct Postgres {
    name: String,
    addresses: Addresses,
    more_addresses: Vec<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    directory: PathBuf,
    daemon: Daemon,
    shape: Arc<Shape>,
    /// What the maps of the packet filter hold for it: by map, where packets go instead.
    redirected: Mutex<BTreeMap<&'static str, Ipv4Addr>>,
    /// Whether there is a route to it.
    routed: AtomicBool,
}

/// What the servers of a cluster have in common.
#[derive(Debug)]
struct Shape {
    builder: Builder,
    authority: Authority,
    account: template::Account,
}

impl Postgres {
    fn new(shape: Arc<Shape>) -> Result<Self> {
        let addresses = node::claim_address()?;
        let more = (0..shape.builder.more_addresses).map(|_| Ok(node::claim_address()?.server));
        let more_addresses = more.collect::<Result<_>>()?;
        let ipv6 = shape.builder.ipv6.then(node::claim_address6).transpose()?;
        let [_, _, third, fourth] = addresses.server.octets();
        let name = format!("pg-{third}-{fourth}.test");
        dns::set(&name, &[addresses.server])?;
        let directory = node::data_subdir("pg")?.join(&name);
        fs::create_dir(&directory).context("create its directory")?;
        shape.account.give(&directory)?;
        let daemon = Daemon::new(name.clone(), shape.builder.program("postgres"))?
            .args(["-D".to_owned(), directory.join("data").display().to_string()])
            .user(shape.account.uid, shape.account.gid);
        Ok(Self {
            name,
            addresses,
            more_addresses,
            ipv6,
            directory,
            daemon,
            shape,
            redirected: Mutex::default(),
            routed: AtomicBool::new(true),
        })
    }

    /// A DNS name of its own, which [`dns`] resolves to its address; [`Tls`] certificates are for both.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.addresses.server
    }

    /// Addresses that lead to it beside its own; see [`Builder::more_addresses`].
    #[must_use]
    pub fn more_addresses(&self) -> &[Ipv4Addr] {
        &self.more_addresses
    }

    /// Its address of IPv6; see [`Builder::ipv6`].
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.ipv6
    }

    /// The address and port.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        (self.addresses.server, PORT).into()
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Starts it and waits until it accepts connections.
    ///
    /// # Errors
    /// When it runs already, or ends instead (the message has the end of its log), or after 30 s.
    pub async fn start(&self) -> Result<()> {
        self.start_no_wait()?;
        self.accepts().await
    }

    /// Starts it and returns at once; it may still be recovering.
    ///
    /// # Errors
    /// When it runs already or cannot be executed.
    pub fn start_no_wait(&self) -> Result<()> {
        if !self.daemon.is_running() {
            // Its processes are gone for certain, so what a crash left is stale.
            let _ = fs::remove_file(self.data().join("postmaster.pid"));
        }
        self.daemon.start()
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn accepts(&self) -> Result<()> {
        let state = || async {
            let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            if file.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
                return Ok(Ok(()));
            }
            if self.daemon.ended().is_some() {
                return Ok(self.daemon.still_runs());
            }
            Err("it does not accept connections yet")
        };
        wait::eventually(&format!("{} to start", self.name), DEADLINE, state).await?
    }

    /// Stops it and waits until it has ended.
    ///
    /// # Errors
    /// When it does not run, or after 30 s.
    pub async fn stop(&self, how: Shutdown) -> Result<()> {
        self.daemon.signal(match how {
            Shutdown::Smart => Signal::SIGTERM,
            Shutdown::Fast => Signal::SIGINT,
            Shutdown::Immediate => Signal::SIGQUIT,
        })?;
        self.daemon.end(DEADLINE).await.map(drop)
    }

    /// A fast stop, then a start.
    ///
    /// # Errors
    /// As [`stop`](Self::stop) and [`start`](Self::start).
    pub async fn restart(&self) -> Result<()> {
        self.stop(Shutdown::Fast).await?;
        self.start().await
    }

    /// Makes it read its settings again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> Result<()> {
        self.daemon.signal(Signal::SIGHUP)
    }

    /// Kills all its processes at once (SIGKILL), as a crash of the machine would: clients see their connections reset.
    /// Returns when they are gone, so that it can be started again.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> Result<()> {
        let killed = self.kill_all()?;
        self.gone(&killed).await
    }

    /// Kills its postmaster alone (SIGKILL), as the kernel does for want of memory: its other processes notice and end.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_postmaster(&self) -> Result<()> {
        self.daemon.signal(Signal::SIGKILL)
    }

    /// Waits until none of these processes is left, so that it can be started again.
    ///
    /// # Errors
    /// After 30 s.
    pub async fn gone(&self, processes: &[Pid]) -> Result<()> {
        let gone = || async { !processes.iter().any(|pid| processes::exists(*pid)) };
        wait::eventually(
            &format!("the end of all processes of {}", self.name),
            DEADLINE,
            gone,
        )
        .await
    }

    /// Stops all its processes as they are (SIGSTOP): connections stay, nobody answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.freeze_postmaster()?;
        self.signal_backends(Signal::SIGSTOP)
    }

    /// Stops the postmaster alone: open sessions go on, new ones get no answer.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze_postmaster(&self) -> Result<()> {
        self.daemon.signal(Signal::SIGSTOP)
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal_backends(Signal::SIGCONT)?;
        self.daemon.signal(Signal::SIGCONT)
    }

    /// Whether it was started and has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.daemon.is_running()
    }

    /// Its processes: the postmaster first. Empty when it does not run.
    #[must_use]
    pub fn processes(&self) -> Vec<Pid> {
        let Some(postmaster) = self.daemon.pid() else {
            return vec![];
        };
        std::iter::once(postmaster)
            .chain(processes::children(postmaster))
            .collect()
    }

    /// Makes a standby a primary and waits until it is one.
    ///
    /// # Errors
    /// When it is none, or is not promoted after 30 s.
    pub async fn promote(&self) -> Result<()> {
        match self.sql("select pg_promote(true, 30)").await?.as_str() {
            "t" => Ok(()),
            _ => bail!("{} was not promoted", self.name),
        }
    }

    fn signal_backends(&self, signal: Signal) -> Result<()> {
        let postmaster = self
            .daemon
            .pid()
            .with_context(|| format!("{} does not run", self.name))?;
        for backend in processes::children(postmaster) {
            // One that ended meanwhile is no failure.
            let _ = kill(backend, signal);
        }
        Ok(())
    }

    /// Kills the postmaster and its children, and returns their ids. Stopped first, the postmaster forks no more.
    fn kill_all(&self) -> Result<Vec<Pid>> {
        self.freeze_postmaster()?;
        let all = self.processes();
        for pid in &all {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        self.daemon.kill();
        Ok(all)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        dns::remove(&self.name);
        let _ = self.kill_all();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
