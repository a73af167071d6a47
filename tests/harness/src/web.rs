//! Just enough HTTP to ask a server in the node for a page.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait;

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines, as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Sends `GET path` on a new connection, without TLS.
///
/// # Errors
/// When there is no complete answer within 20 s; a status other than 200 is not an error.
pub async fn get(server: SocketAddr, path: &str) -> Result<Response> {
    wait::within(
        &format!("http://{server}{path}"),
        DEADLINE,
        exchange(server, path),
    )
    .await
}

async fn exchange(server: SocketAddr, path: &str) -> Result<Response> {
    let mut stream = TcpStream::connect(server)
        .await
        .with_context(|| format!("connect to {server}"))?;
    // HTTP/1.0: the body ends with the connection and is not chunked.
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: {server}\r\nAccept: */*\r\n\r\n").as_bytes())
        .await?;
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.context("read the answer")?;
    parse(&String::from_utf8_lossy(&answer)).context("not an HTTP answer")
}

/// An answer of HTTP/1, whole or only begun; `None`: its head is not whole.
#[must_use]
pub fn parse(answer: &str) -> Option<Response> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Response {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}
