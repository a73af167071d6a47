//! The five servers and the big one, each in a group with a quota, on a core of their own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::{PgCluster, Postgres};
use serde_json::Value;

use super::arm::Arm;
use super::arrivals::{Kind, ROWS};
use super::ceilings::SERVERS;
use super::cgroups::{Cgroups, Group};
use super::machine::{Cores, pin};

/// Rows of a dashboard query.
const SPAN: usize = 5000;
/// What is told of the servers' settings.
const SETTINGS: [&str; 9] = [
    "checkpoint_timeout",
    "fsync",
    "full_page_writes",
    "hot_standby_feedback",
    "max_connections",
    "max_parallel_workers_per_gather",
    "shared_buffers",
    "synchronous_commit",
    "synchronous_standby_names",
];

/// The servers. Dropping it ends them, and removes the groups after that.
pub struct Servers {
    /// The primary and its four replicas.
    pub cluster: PgCluster,
    /// One server with the quotas of all five, with the same data.
    pub big: PgCluster,
    groups: Vec<Group>,
    big_group: Group,
    cores: Cores,
    // Last: no process may be left in it.
    cgroups: Cgroups,
}

/// Processor time at a moment.
#[derive(Clone, Debug)]
pub struct Used {
    servers: Vec<Duration>,
    big: Duration,
    at: Instant,
}

impl Servers {
    /// Starts them without quotas, with their data.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(mut cgroups: Cgroups, cores: Cores) -> Result<Self> {
        let builder = || {
            let builder = PgCluster::builder().setting("max_connections", "300");
            // What is confirmed must outlive a crash of its processes. Whole pages after a checkpoint are of no use without fsync,
            // and would make one block of writes dearer than another.
            let builder = builder.setting("synchronous_commit", "on");
            builder.setting("full_page_writes", "off")
        };
        let cluster = builder().replicas(SERVERS - 1).start().await?;
        let big = builder().start().await?;
        for primary in [cluster.primary(), big.primary()] {
            primary.sql(&tables()).await?;
            primary.sql("vacuum analyze item").await?;
        }
        cluster.caught_up().await?;
        let names = (0..SERVERS).map(|number| format!("server-{number}"));
        let groups = names.map(|name| cgroups.group(&name)).collect::<Result<_>>()?;
        let this = Self {
            big_group: cgroups.group("big")?,
            cluster,
            big,
            groups,
            cores,
            cgroups,
        };
        for number in 0..SERVERS {
            this.cage(number)?;
        }
        put(this.big.primary(), &this.big_group, cores.servers)?;
        Ok(this)
    }

    /// v1 or v2.
    #[must_use]
    pub fn cgroup_version(&self) -> &'static str {
        self.cgroups.version()
    }

    /// The settings of the primary that matter for the figures; the others have the same.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn settings(&self) -> Result<Value> {
        let names = SETTINGS.map(|name| format!("'{name}'")).join(", ");
        let query = format!(
            "select json_object_agg(name, current_setting(name)) from pg_settings where name in ({names})"
        );
        Ok(serde_json::from_str(&self.server(0).sql(&query).await?)?)
    }

    /// A server of the cluster, in the order of its start: the first primary is 0.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn server(&self, number: usize) -> &Postgres {
        if number == 0 {
            self.cluster.primary()
        } else {
            self.cluster.replica(number - 1)
        }
    }

    /// Puts a server that was started into its group, and on its core.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cage(&self, number: usize) -> Result<()> {
        put(self.server(number), &self.groups[number], self.cores.servers)
    }

    /// Gives each server its quota; the big one has them all together.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit(&self, cores: f64, period: Duration) -> Result<()> {
        self.limit_each(&[cores; SERVERS], period)?;
        self.big_group
            .limit(cores * super::statistics::count(SERVERS), period)
    }

    /// Gives the five servers different quotas, the primary first.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit_each(&self, cores: &[f64], period: Duration) -> Result<()> {
        self.groups
            .iter()
            .zip(cores)
            .try_for_each(|(group, cores)| group.limit(*cores, period))
    }

    /// Their processor time up to now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn used(&self) -> Result<Used> {
        Ok(Used {
            servers: self.groups.iter().map(Group::used).collect::<Result<_>>()?,
            big: self.big_group.used()?,
            at: Instant::now(),
        })
    }
}

impl Used {
    /// What the servers of an arm used since then, in cores.
    #[must_use]
    pub fn since(&self, before: &Self, arm: Arm) -> Vec<f64> {
        let time = (self.at - before.at).as_secs_f64().max(1e-9);
        let cores =
            |(after, before): (&Duration, &Duration)| after.saturating_sub(*before).as_secs_f64() / time;
        if arm == Arm::Big {
            return vec![cores((&self.big, &before.big))];
        }
        self.servers.iter().zip(&before.servers).map(cores).collect()
    }
}

/// Whatever the postmaster starts once it is in the group is in it; those it started before follow.
fn put(server: &Postgres, group: &Group, core: usize) -> Result<()> {
    let postmaster = server.processes().first().copied();
    let postmaster = postmaster.with_context(|| format!("{} does not run", server.name()))?;
    pin(postmaster, core)?;
    group.add(postmaster)?;
    for child in server.processes() {
        // One that ended meanwhile is no failure.
        let _ = pin(child, core);
        let _ = group.add(child);
    }
    Ok(())
}

/// `item` is read, `entry` written; `clock` tells how old what a query sees is.
fn tables() -> String {
    format!(
        "create table item (id int primary key, value int not null, body text not null);\n\
         insert into item select n, n * 7919 % 1000, repeat('x', 80) from generate_series(1, {ROWS}) n;\n\
         create table entry (number bigint primary key, body text not null);\n\
         create table clock (number bigint not null);\n\
         insert into clock values (0);\n\
         alter table item owner to app; alter table entry owner to app; alter table clock owner to app;"
    )
}

/// The statement of a request. What reads has the clock in its last column.
#[must_use]
pub fn statement(kind: Kind, key: usize, row: i64) -> String {
    match kind {
        Kind::Point => format!("select value, body, (select number from clock) from item where id = {key}"),
        Kind::Dashboard => {
            let first = key % (ROWS - SPAN) + 1;
            let last = first + SPAN;
            format!(
                "select count(*), sum(value), max(body), (select number from clock) from item where id between {first} and {last}"
            )
        }
        Kind::Write => format!("insert into entry values ({row}, 'what a program writes')"),
        Kind::Analytics => {
            let last = ROWS / 2;
            format!(
                "select count(distinct value), sum(length(body)), (select number from clock) from item where id <= {last}"
            )
        }
    }
}
