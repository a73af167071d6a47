//! A pool of tokio-postgres connections, and nothing more.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use deadpool::managed::{Manager, Metrics, Pool, RecycleError, RecycleResult};
use harness::postgres::{APP, DATABASE};
use tokio_postgres::{Client, Config, NoTls};

use crate::{Read, STATEMENT};

struct Opener(Config);

impl Manager for Opener {
    type Type = Client;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.0.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<tokio_postgres::Error> {
        if client.is_closed() {
            return Err(RecycleError::message("it is closed"));
        }
        Ok(())
    }
}

/// Reads through a pool of this size.
pub fn reads(server: SocketAddr, size: usize) -> Result<Read> {
    let mut config = Config::new();
    config
        .host(server.ip().to_string())
        .port(server.port())
        .user(APP.user)
        .password(APP.password)
        .dbname(DATABASE);
    let pool: Pool<Opener> = Pool::builder(Opener(config)).max_size(size).build()?;
    Ok(Arc::new(move || {
        let pool = pool.clone();
        Box::pin(async move {
            let client = pool.get().await.map_err(|error| anyhow::anyhow!("{error}"))?;
            client.simple_query(STATEMENT).await?;
            Ok(())
        })
    }))
}
