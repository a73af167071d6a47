//! A primary and its streaming replicas.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nix::sys::signal::{Signal, kill};

use super::template::{Account, Maker};
use super::{PORT, PROGRAMS, Postgres, Shape, Shutdown, Tls, processes, template};
use crate::certificates::{Authority, Identity};
use crate::{process, wait};

const DEADLINE: Duration = Duration::from_secs(30);

/// What a cluster is to be like; see [`PgCluster::builder`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    replicas: usize,
    own_identity: bool,
    programs: Option<PathBuf>,
    pub(super) more_addresses: usize,
    pub(super) ipv6: bool,
    pub(super) tls: Option<Tls>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) rules: Vec<String>,
}

impl Builder {
    /// The number of streaming replicas; 0 unless set.
    #[must_use]
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// Gives each server so many addresses beside its own. Faults of the network befall its own alone.
    #[must_use]
    pub fn more_addresses(mut self, count: usize) -> Self {
        self.more_addresses = count;
        self
    }

    /// Gives each server an address of IPv6, too.
    #[must_use]
    pub fn ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Turns TLS on; without this the servers know none.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets a parameter of `postgresql.conf` on every server.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a line of `pg_hba.conf` before the last one, which asks everybody for a password by SCRAM.
    #[must_use]
    pub fn rule(mut self, line: &str) -> Self {
        self.rules.push(line.to_owned());
        self
    }

    /// Gives the cluster a system identifier of its own. Without this all clusters of a program have the same, which
    /// saves a second.
    #[must_use]
    pub fn own_identity(mut self) -> Self {
        self.own_identity = true;
        self
    }

    /// Runs the programs of PostgreSQL in this directory, such as those of another major version: `initdb` and `postgres`.
    /// Where `pg_basebackup` is missing, no server can be added or rebuilt.
    #[must_use]
    pub fn programs(mut self, directory: &Path) -> Self {
        self.programs = Some(directory.to_owned());
        self
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory_of_programs().join(name)
    }

    pub(super) fn directory_of_programs(&self) -> &Path {
        self.programs.as_deref().unwrap_or(Path::new(PROGRAMS))
    }

    /// Starts the servers; returns when all accept connections and every replica streams.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn start(self) -> Result<PgCluster> {
        let (replicas, own_identity) = (self.replicas, self.own_identity);
        let (authority, account) = (Authority::new("postgres test authority")?, Account::find()?);
        let shape = Arc::new(Shape {
            builder: self,
            authority,
            account,
        });
        let primary = Postgres::new(shape.clone())?;
        let replicas = (0..replicas).map(|_| Postgres::new(shape.clone()));
        let replicas = replicas.collect::<Result<Vec<_>>>()?;
        let all = || std::iter::once(&primary).chain(&replicas);
        // Nothing has been written, so a standby of the first primary is a copy of it, and all can start at once.
        template::place(
            &Maker {
                account,
                programs: shape.builder.directory_of_programs(),
            },
            &all().map(Postgres::data).collect::<Vec<_>>(),
            own_identity,
        )
        .await?;
        for replica in &replicas {
            replica.stand_by(&primary)?;
        }
        for server in all() {
            server.configure()?;
        }
        try_join_all(all().map(Postgres::start)).await?;
        let cluster = PgCluster {
            replicas,
            primary,
            shape,
        };
        cluster.streams().await?;
        Ok(cluster)
    }
}

/// The servers of a cluster. They are called what they were at the start, whatever is promoted later. Dropping it kills
/// them.
#[derive(Debug)]
pub struct PgCluster {
    replicas: Vec<Postgres>,
    primary: Postgres,
    shape: Arc<Shape>,
}

impl PgCluster {
    /// A description of a cluster: one primary, no TLS, until told otherwise.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A primary with so many streaming replicas.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn start(replicas: usize) -> Result<Self> {
        Self::builder().replicas(replicas).start().await
    }

    /// The server that was the primary at the start.
    #[must_use]
    pub fn primary(&self) -> &Postgres {
        &self.primary
    }

    /// One of the servers that were replicas at the start, counted from 0.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn replica(&self, number: usize) -> &Postgres {
        &self.replicas[number]
    }

    /// All servers that were replicas at the start.
    #[must_use]
    pub fn replicas(&self) -> &[Postgres] {
        &self.replicas
    }

    /// All servers, the first primary first.
    pub fn servers(&self) -> impl Iterator<Item = &Postgres> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }

    /// The authority that signed the servers' certificates.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.shape.authority
    }

    /// A certificate with which a client may log in as `role` where client certificates are asked for.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn client_identity(&self, role: &str) -> Result<Identity> {
        self.shape.authority.client(role, &[])
    }

    /// Adds a streaming replica of the first primary and returns it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_replica(&mut self) -> Result<&Postgres> {
        let replica = Postgres::replica_of(&self.primary).await?;
        self.replicas.push(replica);
        self.replicas.last().context("it was just added")
    }

    /// Waits until every replica streams from the first primary.
    ///
    /// # Errors
    /// After 30 s.
    pub async fn streams(&self) -> Result<()> {
        let count = self.replicas.len().to_string();
        let streaming = || async {
            let query = "select count(*) from pg_stat_replication where state = 'streaming'";
            let seen = self.primary.sql(query).await?;
            ensure!(seen == count, "{seen} of {count} stream");
            Ok(())
        };
        wait::eventually("the replicas to stream", DEADLINE, streaming).await
    }

    /// Waits until every running replica has replayed what the first primary has written up to now.
    ///
    /// # Errors
    /// After 30 s, or when the primary does not answer.
    pub async fn caught_up(&self) -> Result<()> {
        // Commits are not awaited here, so the newest may not be written yet: this one is, and they with it.
        let flush = "set synchronous_commit = on; select pg_logical_emit_message(true, 'caught up', '')";
        self.primary.sql(flush).await?;
        let written = self.primary.sql("select pg_current_wal_lsn()").await?;
        for replica in self.replicas.iter().filter(|replica| replica.is_running()) {
            replica.replays(&written).await?;
        }
        Ok(())
    }
}

impl Postgres {
    async fn replica_of(upstream: &Self) -> Result<Self> {
        let replica = Self::new(upstream.shape.clone())?;
        replica.copy(upstream).await?;
        replica.start().await?;
        Ok(replica)
    }

    /// Makes a standby follow another server, which must have what the standby has, as after a promotion.
    ///
    /// # Errors
    /// When nft fails or it does not run.
    pub fn follow(&self, upstream: &Self) -> Result<()> {
        self.replicate_from(upstream.address())?;
        let receiver = self
            .processes()
            .into_iter()
            .find(|pid| processes::command(*pid).contains("walreceiver"));
        // The startup process starts another, which connects anew.
        receiver
            .map_or(Ok(()), |receiver| kill(receiver, Signal::SIGTERM))
            .context("end the WAL receiver")
    }

    /// Throws its data away and starts it as a replica of `upstream`, as one does with an old primary.
    ///
    /// # Errors
    /// When it does not stop, or does not start again.
    pub async fn rebuild(&self, upstream: &Self) -> Result<()> {
        if self.is_running() {
            self.stop(Shutdown::Immediate).await?;
        }
        fs::remove_dir_all(self.data())?;
        self.copy(upstream).await?;
        self.start().await
    }

    /// Copies its data directory, while it does not run.
    ///
    /// # Errors
    /// When `cp` fails.
    pub async fn back_up(&self) -> Result<PathBuf> {
        let backup = self.data().with_extension("backup");
        let mut copy = tokio::process::Command::new("cp");
        process::output(copy.arg("-a").arg(self.data()).arg(&backup)).await?;
        Ok(backup)
    }

    /// Puts the copy in the place of its data directory, while it does not run.
    ///
    /// # Errors
    /// When the data directory cannot be removed, or the copy not be moved.
    pub fn restore(&self, backup: &Path) -> Result<()> {
        fs::remove_dir_all(self.data())?;
        Ok(fs::rename(backup, self.data())?)
    }

    /// Waits until it has replayed the WAL up to this location.
    ///
    /// # Errors
    /// After 30 s.
    pub async fn replays(&self, location: &str) -> Result<()> {
        let query =
            format!("select pg_last_wal_replay_lsn() >= '{location}'::pg_lsn, pg_last_wal_replay_lsn()");
        let replayed = || async {
            let rows = self.rows(&query).await?;
            ensure!(
                rows.first().is_some_and(|row| row[0] == "t"),
                "it has replayed {rows:?}"
            );
            Ok(())
        };
        wait::eventually(
            &format!("{} to replay {location}", self.name()),
            DEADLINE,
            replayed,
        )
        .await
    }

    /// Makes a standby of `upstream` of its data directory, whatever is in it. It runs as one from its next start on.
    ///
    /// # Errors
    /// When a file cannot be written, or nft fails.
    pub fn stand_by(&self, upstream: &Self) -> Result<()> {
        self.replicate_from(upstream.address())?;
        let source = self.source();
        let file = self.data().join("postgresql.auto.conf");
        fs::write(&file, format!("primary_conninfo = '{source}'\n"))?;
        let signal = self.data().join("standby.signal");
        fs::write(&signal, "")?;
        [file, signal]
            .iter()
            .try_for_each(|file| self.shape.account.give(file))
    }

    /// What it connects to for the WAL.
    fn source(&self) -> String {
        let (name, host) = (self.name(), self.addresses.upstream);
        format!("host={host} port={PORT} user=postgres application_name={name}")
    }

    async fn copy(&self, upstream: &Self) -> Result<()> {
        self.replicate_from(upstream.address())?;
        let mut command = self
            .shape
            .account
            .command(&self.shape.builder.program("pg_basebackup"));
        command.args([
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
            "--no-password",
        ]);
        process::output(command.arg("-D").arg(self.data()).arg("-d").arg(self.source())).await?;
        self.configure()
    }
}
