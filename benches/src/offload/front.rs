//! How an arm reaches the servers: pools with the addresses of the arm, or the Rust client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use distributary_client::{Query, Router, Session};
use futures::future::try_join_all;
use harness::postgres::{APP, DATABASE};
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::{LoadBalanceHosts, TargetSessionAttrs};

use super::arrivals::Kind;
use super::pool::{Pool, last_column};
use super::servers::statement;

/// A connection that is not there by then is none. libpq waits for ever by default, which nobody does.
const CONNECT: Duration = Duration::from_secs(2);

/// For the first request on a new connection, beside all others.
const WARM: Duration = Duration::from_secs(20);

/// How many connections the pools have, and for how long they live.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// For point reads and dashboard queries.
    pub reads: usize,
    /// For writes.
    pub writes: usize,
    /// For analytics.
    pub analytics: usize,
    /// Of each connection.
    pub lifetime: Duration,
}

/// Where an arm sends what.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Reads.
    pub reads: Hosts,
    /// Writes.
    pub writes: Hosts,
    /// Analytics.
    pub analytics: Hosts,
}

/// Hosts as libpq takes them.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// All of them.
    pub all: Vec<SocketAddr>,
    /// `load_balance_hosts=random`
    pub random: bool,
    /// `target_session_attrs=read-write`
    pub writable: bool,
}

/// A way to ask.
pub enum Front {
    /// A pool for each purpose.
    Pools {
        /// For point reads and dashboard queries.
        reads: Pool,
        /// For writes.
        writes: Pool,
        /// For analytics.
        analytics: Pool,
    },
    /// The Rust client for what reads; a pool for writes, as its embedded mode follows no promotion.
    Client {
        /// Reads and analytics.
        router: Box<Router>,
        /// Writes.
        writes: Pool,
    },
}

impl Hosts {
    /// One host, whatever it is.
    #[must_use]
    pub fn one(address: SocketAddr) -> Self {
        Self {
            all: vec![address],
            random: false,
            writable: false,
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        for address in &self.all {
            config.host(address.ip().to_string()).port(address.port());
        }
        config
            .user(APP.user)
            .password(APP.password)
            .dbname(DATABASE)
            .connect_timeout(CONNECT);
        if self.random {
            config.load_balance_hosts(LoadBalanceHosts::Random);
        }
        if self.writable {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
    }

    /// A pool for them.
    ///
    /// # Errors
    /// When the size is 0.
    pub fn pool(&self, size: usize, lifetime: Duration) -> Result<Pool> {
        Pool::new(self.config(), size, lifetime)
    }
}

impl Front {
    /// Pools for these addresses; all connections are open.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub async fn pools(addresses: &Addresses, sizes: &Sizes) -> Result<Self> {
        let this = Self::Pools {
            reads: addresses.reads.pool(sizes.reads, sizes.lifetime)?,
            writes: addresses.writes.pool(sizes.writes, sizes.lifetime)?,
            analytics: addresses.analytics.pool(sizes.analytics, sizes.lifetime)?,
        };
        this.open(sizes).await?;
        Ok(this)
    }

    /// The Rust client beside a pool for the writes.
    ///
    /// # Errors
    /// When a connection cannot be opened.
    pub async fn client(router: Router, writes: &Hosts, sizes: &Sizes) -> Result<Self> {
        let writes = writes.pool(sizes.writes, sizes.lifetime)?;
        let this = Self::Client {
            router: Box::new(router),
            writes,
        };
        this.open(sizes).await?;
        Ok(this)
    }

    /// Opens the connections that are not open, and lets each one do once what it is for: the first statements of a server process read
    /// its catalogues. The client opens a connection only when a request finds none free.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub async fn open(&self, sizes: &Sizes) -> Result<()> {
        self.fill().await?;
        let purposes = [
            (Kind::Point, sizes.reads),
            (Kind::Dashboard, sizes.reads),
            (Kind::Analytics, sizes.analytics),
        ];
        for (kind, number) in purposes {
            let all = (1..=number).map(|key| self.ask(kind, key, 0, WARM));
            timeout(WARM, try_join_all(all)).await??;
        }
        let (Self::Pools { writes, .. } | Self::Client { writes, .. }) = self;
        let planned = format!("explain {}", statement(Kind::Write, 1, 0));
        let all = (0..sizes.writes).map(|_| writes.ask(&planned));
        timeout(WARM, try_join_all(all)).await??;
        Ok(())
    }

    async fn fill(&self) -> Result<()> {
        match self {
            Self::Pools {
                reads,
                writes,
                analytics,
            } => {
                reads.fill().await?;
                analytics.fill().await?;
                writes.fill().await
            }
            Self::Client { writes, .. } => writes.fill().await,
        }
    }

    /// Sends everything to this one server from the next connection on, as when a person changes the address. The client is left alone.
    pub fn redirect(&self, server: SocketAddr) {
        if let Self::Pools {
            reads,
            writes,
            analytics,
        } = self
        {
            for pool in [reads, writes, analytics] {
                pool.change(Hosts::one(server).config());
            }
        }
    }

    /// Sends a request, which has `left` to be answered; returns what the clock said, 0 for a write. Dropping the future gives it up.
    ///
    /// # Errors
    /// When it is refused, or nobody can be reached.
    pub async fn ask(&self, kind: Kind, key: usize, row: i64, left: Duration) -> Result<usize> {
        let text = statement(kind, key, row);
        let answer = match self {
            Self::Pools {
                reads,
                writes,
                analytics,
            } => {
                let pool = match kind {
                    Kind::Point | Kind::Dashboard => reads,
                    Kind::Write => writes,
                    Kind::Analytics => analytics,
                };
                pool.ask(&text).await?
            }
            Self::Client { writes, .. } if kind == Kind::Write => writes.ask(&text).await?,
            Self::Client { router, .. } => {
                // `dashboard` is an operation of the class of analytics, which has a replica of its own here.
                let operation = if kind == Kind::Analytics {
                    "analytics"
                } else {
                    "findMany"
                };
                let run = |session: Session| {
                    let text = text.clone();
                    async move { Ok(last_column(&session.simple_query(&text).await?)) }
                };
                router
                    .read(Query::operation(operation).read_only().within(left), run)
                    .await?
            }
        };
        match (kind, answer) {
            (Kind::Write, _) => Ok(0),
            (_, answer) => Ok(answer.context("no row")?.parse()?),
        }
    }
}
