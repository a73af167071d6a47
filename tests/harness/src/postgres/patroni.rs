//! Servers that Patroni runs: it decides who the primary is, and keeps that in the etcd of the control plane.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio_postgres::Config;

use super::template::Account;
use super::{APP, DATABASE, Login, PORT, PROBE, PROGRAMS, processes, sql};
use crate::process::Daemon;
use crate::{node, process, wait, web};

/// Debian's, as the package is installed for it.
const PYTHON: &str = "/usr/bin/python3";
const REST_PORT: u16 = 8008;
/// Patroni looks at its servers every two seconds, and a lock that is not renewed ends after 20 s, its least.
const DEADLINE: Duration = Duration::from_mins(2);

/// A cluster that Patroni runs. Dropping it kills all of it.
#[derive(Debug)]
pub struct Patroni {
    members: Vec<Member>,
    packages: PathBuf,
}

/// One server with its Patroni.
#[derive(Debug)]
pub struct Member {
    name: String,
    address: Ipv4Addr,
    directory: PathBuf,
    daemon: Daemon,
}

impl Patroni {
    /// A primary and so many replicas, named `SCOPE-1` and so on, with the roles and the database of every other cluster.
    /// `packages` is where Python finds Patroni.
    ///
    /// # Errors
    /// When a member does not start within two minutes.
    pub async fn start(scope: &str, replicas: usize, packages: &Path) -> Result<Self> {
        let members = (0..=replicas).map(|number| Member::new(scope, number + 1, packages));
        let cluster = Self {
            members: members.collect::<Result<_>>()?,
            packages: packages.to_owned(),
        };
        // Whoever comes first is the primary.
        let (first, others) = cluster.members.split_first().context("no member")?;
        first.start()?;
        first.is("/primary").await?;
        let role = |login: Login| format!("create role {} login password '{}'", login.user, login.password);
        first
            .sql_in("postgres", &[role(PROBE), role(APP)].join("; "))
            .await?;
        first
            .sql_in(
                "postgres",
                &format!("create database {DATABASE} owner {}", APP.user),
            )
            .await?;
        for other in others {
            other.start()?;
        }
        for other in others {
            other.is("/replica").await?;
        }
        Ok(cluster)
    }

    /// One of its servers, counted from 0.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn member(&self, number: usize) -> &Member {
        &self.members[number]
    }

    /// All servers.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Moves the writes from one member to another, as `patronictl switchover` does.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn switch_over(&self, from: &Member, to: &Member) -> Result<()> {
        let mut command = Command::new(PYTHON);
        command
            .env("PYTHONPATH", &self.packages)
            .arg(self.packages.join("bin/patronictl"))
            .arg("--config-file")
            .arg(from.configuration())
            .args([
                "switchover",
                "--force",
                "--leader",
                &from.name,
                "--candidate",
                &to.name,
            ]);
        let said = process::output(&mut command).await?;
        ensure!(said.contains("Successfully switched over"), "{said}");
        Ok(())
    }
}

impl Member {
    fn new(scope: &str, number: usize, packages: &Path) -> Result<Self> {
        let account = Account::find()?;
        let address = node::claim_address()?.server;
        let name = format!("{scope}-{number}");
        let directory = node::data_subdir("patroni")?.join(&name);
        fs::create_dir(&directory)?;
        account.give(&directory)?;
        let daemon = Daemon::new(format!("patroni-{name}"), PYTHON)?
            .args([
                "-m",
                "patroni",
                &directory.join("patroni.yml").display().to_string(),
            ])
            .env("PYTHONPATH", packages.display().to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .user(account.uid, account.gid);
        let member = Self {
            name,
            address,
            directory,
            daemon,
        };
        fs::write(member.configuration(), member.settings(scope).to_string())?;
        Ok(member)
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What Patroni and its server wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Starts its Patroni, which starts its server.
    ///
    /// # Errors
    /// When it runs already.
    pub fn start(&self) -> Result<()> {
        self.daemon.start()
    }

    /// Kills Patroni and its server at once, as the end of a machine does.
    ///
    /// # Errors
    /// When the server does not run.
    pub fn kill(&self) -> Result<()> {
        self.daemon.kill();
        let file = fs::read_to_string(self.directory.join("data/postmaster.pid"))?;
        let postmaster = Pid::from_raw(file.lines().next().context("no process id")?.parse()?);
        // Stopped first, it forks no more.
        kill(postmaster, Signal::SIGSTOP).context("it does not run")?;
        for process in processes::children(postmaster).into_iter().chain([postmaster]) {
            let _ = kill(process, Signal::SIGKILL);
        }
        Ok(())
    }

    /// Waits until its Patroni says that it is so: `/primary`, `/replica`.
    ///
    /// # Errors
    /// After two minutes; the message has its newest answer.
    pub async fn is(&self, role: &str) -> Result<()> {
        let what = format!("{} to be {role}", self.name);
        wait::eventually(&what, DEADLINE, || async {
            let answer = web::get(SocketAddr::from((self.address, REST_PORT)), role).await?;
            ensure!(answer.status == 200, "{}", answer.body);
            anyhow::Ok(())
        })
        .await
        .with_context(|| process::tail(self.daemon.log_path(), 20))
    }

    /// Runs statements as the superuser in its database.
    ///
    /// # Errors
    /// When it refuses one, or does not answer.
    pub async fn sql(&self, statements: &str) -> Result<()> {
        self.sql_in(DATABASE, statements).await
    }

    async fn sql_in(&self, database: &str, statements: &str) -> Result<()> {
        let mut config = Config::new();
        config
            .host_path(&self.directory)
            .port(PORT)
            .user("postgres")
            .dbname(database);
        wait::within(&self.name, DEADLINE, sql::ask(config, statements)).await?;
        Ok(())
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("patroni.yml")
    }

    /// Its configuration; JSON is YAML.
    fn settings(&self, scope: &str) -> Value {
        let (address, directory) = (self.address, self.directory.display());
        let (server, rest) = (format!("{address}:{PORT}"), format!("{address}:{REST_PORT}"));
        json!({
            "scope": scope,
            "name": self.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"host": "127.0.0.1:2379"},
            "bootstrap": {
                "dcs": {
                    "ttl": 20, "loop_wait": 2, "retry_timeout": 5,
                    "postgresql": {"use_pg_rewind": true, "parameters": {"wal_log_hints": "on", "shared_buffers": "16MB"}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
            },
            "postgresql": {
                "listen": server,
                "connect_address": server,
                "data_dir": format!("{directory}/data"),
                "bin_dir": PROGRAMS,
                "pgpass": format!("{directory}/pgpass"),
                "use_unix_socket": true,
                "basebackup": [{"checkpoint": "fast"}],
                "authentication": {
                    "superuser": {"username": "postgres", "password": "superuser"},
                    "replication": {"username": "replicator", "password": "replicator"},
                },
                "parameters": {"unix_socket_directories": directory.to_string(), "fsync": "off"},
                "pg_hba": [
                    "local all all trust",
                    "host replication replicator all scram-sha-256",
                    "host all all all scram-sha-256",
                ],
            },
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
