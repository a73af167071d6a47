//! A connection pool as a program has one: it knows nothing of the servers but how to connect.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use deadpool::managed::{self, Metrics, Object, RecycleError, RecycleResult};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// Opens connections, and closes those that are too old.
#[derive(Debug)]
pub struct Opener {
    config: Mutex<Config>,
    lifetime: Duration,
}

/// An open connection. Dropping it closes it, whatever is under way.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    task: JoinHandle<()>,
}

/// The pool.
#[derive(Clone, Debug)]
pub struct Pool(managed::Pool<Opener>);

/// A connection that is in use. One that is not given back has something under way, and must not be used again.
struct Lent(Option<Object<Opener>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

impl managed::Manager for Opener {
    type Type = Connection;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Connection, tokio_postgres::Error> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (client, connection) = config.connect(NoTls).await?;
        let task = tokio::spawn(async move {
            // How it ended, its client is told.
            let _ = connection.await;
        });
        Ok(Connection { client, task })
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &Metrics,
    ) -> RecycleResult<tokio_postgres::Error> {
        if connection.client.is_closed() || metrics.age() > self.lifetime {
            return Err(RecycleError::message("closed, or too old"));
        }
        Ok(())
    }
}

impl Pool {
    /// With so many connections at most, each used for so long at most.
    ///
    /// # Errors
    /// When the size is 0.
    pub fn new(config: Config, size: usize, lifetime: Duration) -> Result<Self> {
        let config = Mutex::new(config);
        let builder = managed::Pool::builder(Opener { config, lifetime }).max_size(size);
        // In turn, so that all servers behind one address get their part.
        let builder = builder.queue_mode(managed::QueueMode::Fifo);
        Ok(Self(builder.build()?))
    }

    /// Opens connections by other settings from now on.
    pub fn change(&self, config: Config) {
        *self
            .0
            .manager()
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Opens all connections.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub async fn fill(&self) -> Result<()> {
        let all = (0..self.0.status().max_size).map(|_| self.0.get());
        match futures::future::try_join_all(all).await {
            Ok(all) => {
                drop(all);
                Ok(())
            }
            Err(error) => bail!("a pool cannot connect: {error}"),
        }
    }

    /// Runs a statement and returns the last column of its first row. Dropping the future closes the connection.
    ///
    /// # Errors
    /// What the server or the connection said.
    pub async fn ask(&self, statement: &str) -> Result<Option<String>> {
        let lent = self.0.get().await;
        let mut lent = Lent(Some(lent.map_err(|error| anyhow::anyhow!("{error}"))?));
        let Some(connection) = &lent.0 else {
            bail!("no connection")
        };
        let answer = connection.client.simple_query(statement).await;
        // A server that refuses a statement keeps its connection.
        drop(lent.0.take());
        Ok(last_column(&answer?))
    }
}

/// The last column of the first row.
#[must_use]
pub fn last_column(answer: &[SimpleQueryMessage]) -> Option<String> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(row.len().checked_sub(1)?).map(ToOwned::to_owned),
        _ => None,
    })
}
