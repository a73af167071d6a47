//! A web service that routes its own requests, by the routing table of a policy:
//! `ROUTING=/etc/routing/routing.json LOGIN=/etc/login cargo run -p distributary-client --example axum`. LOGIN is a folder with the files
//! `username` and `password`. Without ROUTING the routes come from the environment variables that `Router::from_env` reads. The tables are
//! `contact (id bigserial, tenant text, name text)` and `campaign`, the same.

mod service;

use std::path::PathBuf;

use anyhow::{Context, Result};
use distributary_client::{Credentials, Followers, Router};

/// Tenants whose writes are remembered.
const TENANTS: usize = 10_000;

#[tokio::main]
async fn main() -> Result<()> {
    let router = match std::env::var_os("ROUTING") {
        Some(routing) => {
            let login = PathBuf::from(std::env::var_os("LOGIN").context("LOGIN must be set")?);
            let credentials = Credentials::from_files(login.join("username"), login.join("password"))?;
            let builder = Router::builder().routing_file(routing).credentials(credentials);
            builder.application_name("shop").connect().await?
        }
        None => Router::from_env().await?,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("It listens on http://{}", listener.local_addr()?);
    axum::serve(listener, service::service(Followers::new(router, TENANTS))).await?;
    Ok(())
}
