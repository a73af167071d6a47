//! Several contestants on the same servers at the same time, each with a reader of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::reader::Totals;
use harness::{ControlPlane, PgCluster, Postgres, Reader, wait};
use serde_json::{Value, json};

use crate::contestants::{Distributary, Haproxy, Pgpool, Policy};
use crate::faults::Fault;
use crate::figures::{Times, show};
use crate::journal::{Journal, Statement};

/// How long a contestant may take to see a fault, and to see that it is over.
const SEEN: Duration = Duration::from_mins(1);
const BACK: Duration = Duration::from_mins(2);
/// A read that takes longer has failed.
const READ: Duration = Duration::from_secs(1);
/// Longer than the longest period of a contestant's checks but ours, which does not wait for a check.
const ANY_MOMENT: Duration = Duration::from_secs(2);
/// Who has a server out so often without a fault cannot be measured.
const MOST_FALSE_ALARMS: u64 = 500;
const LONG: Duration = Duration::from_hours(24);

/// Those who take part, and their servers: a primary and two replicas.
pub struct Contest {
    active: Vec<&'static str>,
    readers: Vec<(&'static str, Reader)>,
    /// The operators that take part, by name.
    pub operators: Vec<(&'static str, Distributary)>,
    haproxies: Vec<(&'static str, Haproxy)>,
    pgpool: Vec<(&'static str, Pgpool)>,
    /// What all of them said.
    pub journal: Journal,
    /// The servers.
    pub postgres: PgCluster,
    plane: ControlPlane,
    kubeconfig: PathBuf,
}

/// What one contestant made of many runs of a fault.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the fault to its word that the server is down.
    pub times: Times,
    /// Reads from the fault until everybody has the server back.
    pub reads: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// How often it had a server out just before a fault, while all was well.
    pub false_alarms: u64,
}

impl Contest {
    /// Starts the control plane and the servers; nobody takes part yet.
    ///
    /// # Errors
    /// When a program is missing or does not start.
    pub async fn start() -> Result<Self> {
        let (plane, kubeconfig) = crate::control_plane().await?;
        // Every reader may have 20 connections open on a server that does not answer.
        let postgres = PgCluster::builder().replicas(2).setting("max_connections", "300");
        Ok(Self {
            active: vec![],
            readers: vec![],
            operators: vec![],
            haproxies: vec![],
            pgpool: vec![],
            journal: Journal::default(),
            postgres: postgres.start().await?,
            plane,
            kubeconfig,
        })
    }

    /// An operator with this policy takes part.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn operator(&mut self, name: &'static str, policy: &Policy) -> Result<()> {
        let operator = Distributary::start(
            name,
            policy,
            &self.plane,
            &self.kubeconfig,
            &self.postgres,
            &self.journal,
        );
        self.operators.push((name, operator.await?));
        Ok(())
    }

    /// HAProxy with this file takes part.
    ///
    /// # Errors
    /// When it does not start.
    pub fn haproxy(&mut self, name: &'static str, file: &str) -> Result<()> {
        let haproxy = Haproxy::start(name, file, &self.postgres, &self.journal)?;
        self.haproxies.push((name, haproxy));
        Ok(())
    }

    /// Pgpool-II takes part.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn pgpool(&mut self, name: &'static str) -> Result<()> {
        let pgpool = Pgpool::start(name, &self.postgres, &self.journal).await?;
        self.pgpool.push((name, pgpool));
        Ok(())
    }

    /// The names of all who were ever added.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.fronts().into_iter().map(|(name, _)| name).collect()
    }

    fn fronts(&self) -> Vec<(&'static str, SocketAddr)> {
        let operators = self.operators.iter().map(|(name, one)| (*name, one.front()));
        let haproxies = self.haproxies.iter().map(|(name, one)| (*name, one.front()));
        let pgpool = self.pgpool.iter().map(|(name, one)| (*name, one.front()));
        operators.chain(haproxies).chain(pgpool).collect()
    }

    /// From now on these take part and no others, each with a reader of its own: so many reads per second, every one a
    /// new connection, none tried twice. Operators that do not take part are ended; the others run on and are not
    /// asked. Returns when everybody is well and answers reads.
    ///
    /// # Errors
    /// When somebody is not within some minutes.
    pub async fn field(&mut self, names: &[&'static str], reads_per_second: u32) -> Result<()> {
        self.readers.clear();
        self.active = names.to_vec();
        for (name, operator) in &self.operators {
            if names.contains(name) {
                operator.resume().await?;
            } else {
                operator.pause();
            }
        }
        for server in self.postgres.replicas() {
            self.well(server).await?;
        }
        for (name, front) in self.fronts() {
            if names.contains(&name) {
                let answered = || async { harness::reader::ask(front).await };
                wait::eventually(&format!("a read through {name}"), SEEN, answered).await?;
                let reader = Reader::builder(front)
                    .rate(reads_per_second)
                    .timeout(READ)
                    .time(LONG);
                self.readers.push((name, reader.start()));
            }
        }
        Ok(())
    }

    /// What each reader has seen so far.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<&'static str, Totals> {
        let totals = self.readers.iter().map(|(name, reader)| (*name, reader.totals()));
        totals.collect()
    }

    /// One run: a fault at a random moment, everybody's word on it, the server mended, everybody well again.
    ///
    /// # Errors
    /// When somebody does not take the server back within two minutes.
    pub async fn run(
        &self,
        fault: Fault,
        server: &Postgres,
        results: &mut BTreeMap<&'static str, Outcome>,
    ) -> Result<()> {
        let names = self.active.clone();
        self.any_moment(server, results).await?;
        let before = self.totals();
        let incident = fault.befall(server)?;
        let (at, down) = (incident.at, Statement::Down(server.address()));
        self.journal.all_said(&names, &down, at, SEEN).await;
        fault.mend(server, incident).await?;
        self.well(server).await?;
        let after = self.totals();
        let mut line = format!("{fault:<16}");
        for name in names {
            let seen = self.journal.first(name, &down, at).map(|seen| seen - at);
            let result = results.entry(name).or_default();
            if self.journal.is_up(name, server.address(), at) {
                result.times.push(seen);
            } else {
                // What it says after the fault is of another one.
                result.false_alarms += 1;
            }
            let (before, after) = (&before[name], &after[name]);
            let failed = after.failures - before.failures;
            result.reads += after.reads + after.failures - before.reads - before.failures;
            result.failed += failed;
            line += &format!("  {name} {} ({failed} failed)", show(seen));
        }
        println!("{line}");
        Ok(())
    }

    /// Lets some time pass. Who takes the server out meanwhile, without a fault, is waited for, and it is counted.
    async fn any_moment(
        &self,
        server: &Postgres,
        results: &mut BTreeMap<&'static str, Outcome>,
    ) -> Result<()> {
        loop {
            wait::pass(
                crate::some_of(ANY_MOMENT),
                "the fault may come at any moment between two checks",
            )
            .await;
            let early: Vec<_> = self
                .active
                .iter()
                .filter(|name| !self.journal.is_up(name, server.address(), Instant::now()))
                .collect();
            if early.is_empty() {
                return Ok(());
            }
            for name in early {
                let outcome = results.entry(*name).or_default();
                outcome.false_alarms += 1;
                ensure!(
                    outcome.false_alarms < MOST_FALSE_ALARMS,
                    "{name} has the server out again and again"
                );
            }
            self.well(server).await?;
        }
    }

    /// Waits until everybody has this server back, and no read is left from before.
    async fn well(&self, server: &Postgres) -> Result<()> {
        self.journal.all_up(&self.active, server.address(), BACK).await?;
        let operators = self
            .operators
            .iter()
            .filter(|(name, _)| self.active.contains(name));
        let mut sessions = 0;
        for (_, operator) in operators {
            operator.settled(BACK).await?;
            sessions += 1;
        }
        let query = "select count(*) from pg_stat_activity where application_name = 'distributary'";
        let held = || async {
            let held: usize = server.sql(query).await?.parse()?;
            ensure!(held >= sessions, "{held} of {sessions}");
            Ok(())
        };
        wait::eventually("the operators' sessions", BACK, held).await?;
        wait::pass(
            READ + Duration::from_millis(200),
            "reads that hang until their deadline",
        )
        .await;
        // Whoever was quick may have taken it out once more.
        self.journal.all_up(&self.active, server.address(), BACK).await
    }

    /// How often each of them said since then that a server is down.
    #[must_use]
    pub fn downs(&self, since: Instant) -> BTreeMap<&'static str, usize> {
        let names = self.active.iter();
        names
            .map(|name| (*name, self.journal.downs(name, since)))
            .collect()
    }
}

impl Outcome {
    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut value = self.times.json();
        value["reads"] = json!(self.reads);
        value["failedReads"] = json!(self.failed);
        value["falseAlarms"] = json!(self.false_alarms);
        value
    }
}

/// What runs, with its versions.
#[must_use]
pub fn versions() -> Value {
    let first_line = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text)
            .lines()
            .next()
            .map(ToOwned::to_owned)
    };
    let kube = harness::control_plane::programs::path("kube-apiserver");
    json!({
        "haproxy": first_line("haproxy", "-v"),
        "pgpool": first_line("/usr/sbin/pgpool", "--version"),
        "postgresql": first_line("/usr/lib/postgresql/15/bin/postgres", "--version"),
        "kubernetes": kube.ok().and_then(|path| first_line(&path.to_string_lossy(), "--version")),
    })
}
