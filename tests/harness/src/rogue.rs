//! A server that means ill, or is none: it speaks as much of the PostgreSQL protocol as its part needs, and remembers
//! what it was told.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::node;
use crate::postgres::PORT;

/// The code that asks for TLS in place of a protocol version.
const SSL_REQUEST: u32 = 80_877_103;
const AUTHENTICATION_OK: u32 = 0;
const CLEAR_TEXT: u32 = 3;
const MD5: u32 = 5;
const GIGABYTE: u32 = 1 << 30;

/// What it does once a client has said who it is. It has no TLS, and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Asks for the password in clear text.
    ClearText,
    /// Asks for the MD5 of the password.
    Md5,
    /// Answers, from the first byte on, with what is not the protocol, and then waits.
    Garbage,
    /// Lets everybody in and sends notices without end, each of them well-formed.
    Endless,
    /// Lets everybody in and says without end that it is ready.
    EndlesslyReady,
    /// Lets everybody in and answers a question with a row of 1 GiB.
    Gigabyte,
    /// Says nothing.
    Silent,
    /// Closes the connection.
    Closes,
    /// Refuses with this SQLSTATE.
    Refuses(&'static str),
}

/// A rogue server with an address of its own, port 5432. Dropping it closes its connections.
#[derive(Debug)]
pub struct Rogue {
    address: Ipv4Addr,
    heard: Arc<Heard>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Heard {
    bytes: Mutex<Vec<u8>>,
    connections: AtomicU64,
    sent: AtomicU64,
}

impl Rogue {
    /// Starts one.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn start(part: Part) -> Result<Self> {
        let address = node::claim_address()?.server;
        let listener = TcpListener::bind((address, PORT)).await.context("listen")?;
        let heard = Arc::<Heard>::default();
        let noted = heard.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                noted.connections.fetch_add(1, Ordering::Relaxed);
                let noted = noted.clone();
                connections.spawn(async move {
                    // The client ends most of these conversations.
                    let _ = Conversation { stream, noted }.hold(part).await;
                });
            }
        });
        Ok(Self { address, heard, task })
    }

    /// Where clients connect to, port 5432.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Connections that were made to it so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.heard.connections.load(Ordering::Relaxed)
    }

    /// Bytes that clients took from it so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.heard.sent.load(Ordering::Relaxed)
    }

    /// Every byte that clients sent to it so far.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        let bytes = self.heard.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.clone()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Conversation {
    stream: TcpStream,
    noted: Arc<Heard>,
}

impl Conversation {
    async fn hold(mut self, part: Part) -> Result<()> {
        match part {
            Part::Closes => return Ok(()),
            Part::Garbage => self.send(&[0x7f; 64]).await?,
            _ => self.startup().await?,
        }
        match part {
            Part::ClearText => self.send(&authentication(CLEAR_TEXT, &[])).await?,
            Part::Md5 => self.send(&authentication(MD5, b"salt")).await?,
            Part::Refuses(state) => return self.send(&report(b'E', "FATAL", state)).await,
            Part::Endless => self.endless(&report(b'N', "NOTICE", "00000")).await?,
            Part::EndlesslyReady => self.endless(&message(b'Z', b"I")).await?,
            Part::Gigabyte => self.gigabyte().await?,
            Part::Garbage | Part::Silent | Part::Closes => {}
        }
        // Whatever the client says to that is noted, until it goes.
        while !self.listen().await?.is_empty() {}
        Ok(())
    }

    /// Reads what a client begins with, and refuses TLS when it asks for that.
    async fn startup(&mut self) -> Result<()> {
        let first = self.listen().await?;
        if first.get(4..8) == Some(&SSL_REQUEST.to_be_bytes()) {
            self.send(b"N").await?;
            self.listen().await?;
        }
        Ok(())
    }

    async fn endless(&mut self, message: &[u8]) -> Result<()> {
        self.send(&authentication(AUTHENTICATION_OK, &[])).await?;
        let many = message.repeat(1000);
        loop {
            self.send(&many).await?;
        }
    }

    async fn gigabyte(&mut self) -> Result<()> {
        let mut welcome = authentication(AUTHENTICATION_OK, &[]);
        welcome.extend(message(b'Z', b"I"));
        self.send(&welcome).await?;
        self.listen().await?;
        self.send(b"D").await?;
        self.send(&GIGABYTE.to_be_bytes()).await?;
        let chunk = vec![b'x'; 64 * 1024];
        for _ in 0..u64::from(GIGABYTE) / 65536 {
            self.send(&chunk).await?;
        }
        Ok(())
    }

    async fn listen(&mut self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; 16 * 1024];
        let length = self.stream.read(&mut bytes).await?;
        bytes.truncate(length);
        let mut heard = self.noted.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend(&bytes);
        Ok(bytes)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.noted.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// A message: its type, its length, which counts itself, and its body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

fn authentication(code: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&code.to_be_bytes(), rest].concat())
}

/// An `ErrorResponse` or `NoticeResponse`.
fn report(kind: u8, severity: &str, state: &str) -> Vec<u8> {
    let body = format!("S{severity}\0V{severity}\0C{state}\0Mso it says\0\0");
    message(kind, body.as_bytes())
}
