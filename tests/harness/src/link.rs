//! A slow way to a server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::node;
use crate::postgres::PORT;

/// An address of its own that leads to a server, with a delay. Dropping it closes what goes through it.
///
/// What is read of one side is passed to the other after the next of its delays, so that the line is slow and uneven, and
/// always the same.
#[derive(Debug)]
pub struct Link {
    address: Ipv4Addr,
    task: JoinHandle<()>,
}

impl Link {
    /// A link to this server whose delays, in one direction, are these, again and again.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn to(server: SocketAddr, delays: &[Duration]) -> Result<Self> {
        let address = node::claim_address()?.server;
        let listener = TcpListener::bind((address, PORT)).await.context("listen")?;
        let delays = delays.to_vec();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let delays = delays.clone();
                connections.spawn(async move {
                    // Either side may close at any time.
                    let _ = carry(client, server, &delays).await;
                });
            }
        });
        Ok(Self { address, task })
    }

    /// Where clients connect to, port 5432.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, delays: &[Duration]) -> Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    tokio::select! {
        ended = pass(from_client, to_server, delays) => ended,
        ended = pass(from_server, to_client, delays) => ended,
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    delays: &[Duration],
) -> Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    for delay in delays.iter().cycle() {
        let length = from.read(&mut bytes).await?;
        if length == 0 {
            break;
        }
        tokio::time::sleep(*delay).await;
        to.write_all(&bytes[..length]).await?;
    }
    Ok(())
}
