//! A client that reads steadily and counts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::postgres::{APP, DATABASE};
use crate::wait::{self, Outcome};

/// How many reads may be under way at once.
const IN_FLIGHT: usize = 20;
/// Failed reads are counted in time by so much.
const STEP: Duration = Duration::from_millis(100);

/// How it reads; see [`Reader::builder`].
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    target: SocketAddr,
    period: Duration,
    reads: u64,
    time: Duration,
    timeout: Duration,
    retry: Option<Duration>,
}

/// A reader at work: every read is a new connection, as `app`, that asks the server for its address.
///
/// Reads start at a steady rate, whether or not earlier ones have ended, as long as 20 are not under way already: a
/// server takes fewer than 50. Dropping it ends it.
#[derive(Debug)]
pub struct Reader {
    totals: Arc<Mutex<Tally>>,
    task: JoinHandle<()>,
}

/// What a reader has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Reads that were answered.
    pub reads: u64,
    /// The same, by the server that answered.
    pub by_server: BTreeMap<Ipv4Addr, u64>,
    /// Reads that failed, a second time where it retries.
    pub failures: u64,
    /// The same, by what the client was told: an SQLSTATE, `connect`, `timeout` or `closed`.
    pub by_error: BTreeMap<String, u64>,
    /// For how long reads failed: every tenth of a second in which one did counts, whatever the rate.
    pub failing: Duration,
    /// Reads that were answered only the second time.
    pub retried: u64,
    /// The longest time without an answer, between two answers or since the last.
    pub longest_gap: Duration,
}

#[derive(Debug)]
struct Tally {
    totals: Totals,
    began: Instant,
    answered: Instant,
    /// The newest tenth of a second in which a read failed.
    failed: Option<u128>,
}

impl Builder {
    /// Reads per second; 50 unless set.
    ///
    /// # Panics
    /// When it is 0.
    #[must_use]
    pub fn rate(mut self, per_second: u32) -> Self {
        self.period = Duration::from_secs(1) / per_second;
        self
    }

    /// Ends after so many reads.
    #[must_use]
    pub fn reads(mut self, count: u64) -> Self {
        self.reads = count;
        self
    }

    /// Ends after this time; five minutes unless set.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// How long a read may take; 2 s unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Tries a failed read a second time after this delay.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry = Some(delay);
        self
    }

    /// Starts to read.
    #[must_use]
    pub fn start(self) -> Reader {
        let began = Instant::now();
        let totals = Arc::new(Mutex::new(Tally {
            totals: Totals::default(),
            began,
            answered: began,
            failed: None,
        }));
        let task = tokio::spawn(self.run(totals.clone()));
        Reader { totals, task }
    }

    async fn run(self, totals: Arc<Mutex<Tally>>) {
        let end = tokio::time::Instant::now() + self.time;
        let mut ticks = tokio::time::interval(self.period);
        let mut reads = JoinSet::new();
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..self.reads {
            if ticks.tick().await >= end {
                break;
            }
            while reads.try_join_next().is_some() {}
            if reads.len() >= IN_FLIGHT {
                reads.join_next().await;
            }
            let totals = totals.clone();
            reads.spawn(async move {
                let (read, retried) = self.read().await;
                lock(&totals).count(read, retried);
            });
        }
        reads.join_all().await;
    }

    async fn read(self) -> (Result<Ipv4Addr, String>, bool) {
        let first = self.once().await;
        match (first, self.retry) {
            (Err(_), Some(delay)) => {
                tokio::time::sleep(delay).await;
                (self.once().await, true)
            }
            (first, _) => (first, false),
        }
    }

    async fn once(self) -> Result<Ipv4Addr, String> {
        match tokio::time::timeout(self.timeout, ask(self.target)).await {
            Ok(Ok(server)) => Ok(server),
            Ok(Err(error)) => Err(kind(&error)),
            Err(_) => Err("timeout".to_owned()),
        }
    }
}

impl Reader {
    /// Describes a reader of this address, such as port 5432 of a ClusterIP.
    #[must_use]
    pub fn builder(target: SocketAddr) -> Builder {
        let (period, time, timeout) = (
            Duration::from_millis(20),
            Duration::from_mins(5),
            Duration::from_secs(2),
        );
        Builder {
            target,
            period,
            reads: u64::MAX,
            time,
            timeout,
            retry: None,
        }
    }

    /// What it has seen so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        lock(&self.totals).so_far()
    }

    /// Waits until `check` accepts what was seen.
    ///
    /// # Errors
    /// After `deadline`: the message has the totals.
    pub async fn until<O: Outcome>(
        &self,
        what: &str,
        deadline: Duration,
        mut check: impl FnMut(&Totals) -> O,
    ) -> Result<O::Value> {
        wait::eventually(what, deadline, || {
            let totals = self.totals();
            let outcome = check(&totals)
                .outcome()
                .map_err(|reason| format!("{reason}; {totals:?}"));
            async { outcome }
        })
        .await
    }

    /// Waits until it has made all its reads.
    ///
    /// # Errors
    /// After `deadline`.
    pub async fn end(mut self, deadline: Duration) -> Result<Totals> {
        wait::within("the reader to end", deadline, &mut self.task).await?;
        Ok(self.totals())
    }

    /// Ends it now; reads under way are not counted.
    #[must_use]
    pub fn stop(self) -> Totals {
        self.task.abort();
        self.totals()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tally {
    fn count(&mut self, read: Result<Ipv4Addr, String>, retried: bool) {
        match read {
            Ok(server) => {
                self.totals = self.so_far();
                self.answered = Instant::now();
                self.totals.reads += 1;
                self.totals.retried += u64::from(retried);
                *self.totals.by_server.entry(server).or_default() += 1;
            }
            Err(error) => {
                self.totals.failures += 1;
                let step = Some(self.began.elapsed().as_millis() / STEP.as_millis());
                if self.failed != step {
                    self.failed = step;
                    self.totals.failing += STEP;
                }
                *self.totals.by_error.entry(error).or_default() += 1;
            }
        }
    }

    fn so_far(&self) -> Totals {
        let longest_gap = self.totals.longest_gap.max(self.answered.elapsed());
        Totals {
            longest_gap,
            ..self.totals.clone()
        }
    }
}

fn lock(totals: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    totals.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the server behind `target` for its own address, on a new connection.
///
/// # Errors
/// When it cannot be reached or refuses; give it a deadline.
pub async fn ask(target: SocketAddr) -> Result<Ipv4Addr> {
    let mut config = Config::new();
    config.host(target.ip().to_string()).port(target.port());
    config.user(APP.user).password(APP.password).dbname(DATABASE);
    let (client, connection) = config.connect(NoTls).await?;
    let asked = async move { client.simple_query("select host(inet_server_addr())").await };
    let (answer, ended) = tokio::join!(asked, connection);
    let answer = answer
        .map_err(anyhow::Error::from)
        .map_err(|error| ended.err().map_or(error, Into::into))?;
    let address = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    address.context("no row")?.parse().context("an address")
}

fn kind(error: &anyhow::Error) -> String {
    let Some(error) = error.downcast_ref::<tokio_postgres::Error>() else {
        return "closed".to_owned();
    };
    match error.code() {
        Some(state) => state.code().to_owned(),
        None if error.is_closed() => "closed".to_owned(),
        None => "connect".to_owned(),
    }
}
