//! The node's name server: the names of the servers, and what a test makes of them.
//!
//! Every [`Postgres`](crate::Postgres) has its [name](crate::Postgres::name) here from its start to its end. Answers live
//! for one second.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context, Result};
use tokio::net::UdpSocket;

use crate::{node, suite};

const HEADER: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];
const SUCCESS: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

struct Names {
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    failing: Vec<String>,
    silent: Vec<String>,
}

/// Gives a name these addresses instead of what it had; none at all makes it a name without addresses.
///
/// # Errors
/// When the server cannot be started.
pub fn set(name: &str, addresses: &[Ipv4Addr]) -> Result<()> {
    serve()?;
    names().addresses.insert(name.to_lowercase(), addresses.to_vec());
    Ok(())
}

/// Makes a name unknown.
pub fn remove(name: &str) {
    names().addresses.remove(&name.to_lowercase());
}

/// Answers questions for this name with SERVFAIL, or does so no more.
pub fn fail(name: &str, failing: bool) {
    note(&mut names().failing, name, failing);
}

/// Answers questions for this name not at all, or does so again.
pub fn silence(name: &str, silent: bool) {
    note(&mut names().silent, name, silent);
}

fn note(noted: &mut Vec<String>, name: &str, is: bool) {
    noted.retain(|other| !other.eq_ignore_ascii_case(name));
    if is {
        noted.push(name.to_lowercase());
    }
}

fn names() -> MutexGuard<'static, Names> {
    static NAMES: Mutex<Names> = Mutex::new(Names {
        addresses: BTreeMap::new(),
        failing: vec![],
        silent: vec![],
    });
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the server, once.
fn serve() -> Result<()> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    let start = || {
        let socket = std::net::UdpSocket::bind((node::RESOLVER, 53)).map_err(|error| error.to_string())?;
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        suite::runtime().spawn(async move {
            let socket = UdpSocket::from_std(socket)?;
            let mut question = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut question).await?;
                if let Some(answer) = answer(&question[..length]) {
                    socket.send_to(&answer, from).await?;
                }
            }
            #[expect(unreachable_code, reason = "it gives the block its type")]
            std::io::Result::Ok(())
        });
        Ok(())
    };
    STARTED
        .get_or_init(start)
        .clone()
        .map_err(anyhow::Error::msg)
        .context("start the name server")
}

/// The answer to a message with one question (RFC 1035, section 4); nothing when it is none, or the name is silent.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let (name, length) = name(message.get(HEADER..)?)?;
    let question = message.get(HEADER..HEADER + length + 4)?;
    let names = names();
    if names.silent.contains(&name) {
        return None;
    }
    let (code, addresses) = match names.addresses.get(&name) {
        _ if names.failing.contains(&name) => (SERVER_FAILURE, &[][..]),
        None => (NO_SUCH_NAME, &[][..]),
        Some(addresses) if question[length..].starts_with(&TYPE_A) => (SUCCESS, addresses.as_slice()),
        Some(_) => (SUCCESS, &[][..]),
    };
    let count = u8::try_from(addresses.len()).ok()?;
    let mut answer = message.get(..2)?.to_vec();
    // A response, recursion desired and available; one question, `count` answers.
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        // The name of the question, type A, class IN, one second, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// The name that starts here, in lower case and without the final dot, and its length in bytes.
fn name(bytes: &[u8]) -> Option<(String, usize)> {
    let mut labels = vec![];
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        let label = bytes.get(at + 1..=at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length + 1;
    }
}
