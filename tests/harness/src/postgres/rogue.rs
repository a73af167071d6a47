//! Fake servers among the real ones.

use anyhow::{Context, Result};
use fake_postgres::{Fake, Step};
use tokio::net::TcpListener;

use super::PORT;
use crate::node;

/// A fake server with an address of its own, [`PORT`], that follows this script with every client.
///
/// # Errors
/// When the address cannot be used.
pub async fn rogue(script: Vec<Step>) -> Result<Fake> {
    let address = node::claim_address()?.server;
    let listener = TcpListener::bind((address, PORT)).await.context("listen")?;
    Fake::following_on(listener, script).context("listen")
}
