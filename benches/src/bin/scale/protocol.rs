//! The messages of PostgreSQL's protocol, version 3, as far as a probe needs them.

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::answers::Answer;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const VERSION_3: u32 = 3 << 16;
/// No client of this stub sends more.
const LONGEST: u32 = 100_000;
/// The type of every column: text.
const TEXT: u32 = 25;

/// The first message of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    Tls,
    Gss,
    Startup,
}

pub async fn opening(stream: &mut (impl AsyncRead + Unpin)) -> Result<Opening> {
    let length = stream.read_u32().await?;
    ensure!((8..LONGEST).contains(&length), "a message of {length} bytes");
    let code = stream.read_u32().await?;
    let mut rest = vec![0; length as usize - 8];
    stream.read_exact(&mut rest).await?;
    match code {
        SSL_REQUEST => Ok(Opening::Tls),
        GSS_REQUEST => Ok(Opening::Gss),
        VERSION_3.. => Ok(Opening::Startup),
        _ => bail!("a message with code {code}"),
    }
}

/// A message after the first: its type and its body.
pub async fn message(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    ensure!((4..LONGEST).contains(&length), "a message of {length} bytes");
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

/// A message to be sent.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(be(body.len() + 4));
    frame.extend(body);
    frame
}

/// Authentication with this code and data.
pub fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    frame(b'R', &[&code.to_be_bytes(), data].concat())
}

/// What follows a login: some parameters, a key, ready.
pub fn welcome() -> Vec<u8> {
    let parameters = [
        ("server_version", "15.0"),
        ("client_encoding", "UTF8"),
        ("integer_datetimes", "on"),
    ];
    let mut all = parameters
        .map(|(name, value)| frame(b'S', format!("{name}\0{value}\0").as_bytes()))
        .concat();
    all.extend(frame(b'K', &[0, 0, 0, 1, 0, 0, 0, 1]));
    all.extend(ready());
    all
}

/// The answers to one message, and ready.
pub fn reply(answers: &[Answer]) -> Vec<u8> {
    let mut all = vec![];
    for answer in answers {
        match answer {
            Answer::Tag(tag) => all.extend(frame(b'C', format!("{tag}\0").as_bytes())),
            Answer::Row(values) => {
                let count = be16(values.len());
                let column = |number: usize| {
                    let name = format!("c{number}\0").into_bytes();
                    // No table; the type with a variable length; in text.
                    [&name[..], &[0; 6], &TEXT.to_be_bytes(), &[0xff; 6], &[0; 2]].concat()
                };
                let columns: Vec<u8> = (0..values.len()).flat_map(column).collect();
                all.extend(frame(b'T', &[&count[..], &columns].concat()));
                let value = |value: &Option<String>| match value {
                    Some(text) => [&be(text.len())[..], text.as_bytes()].concat(),
                    None => vec![0xff; 4],
                };
                let values: Vec<u8> = values.iter().flat_map(value).collect();
                all.extend(frame(b'D', &[&count[..], &values].concat()));
                all.extend(frame(b'C', b"SELECT 1\0"));
            }
        }
    }
    all.extend(ready());
    all
}

fn ready() -> Vec<u8> {
    frame(b'Z', b"I")
}

fn be(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn be16(count: usize) -> [u8; 2] {
    u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes()
}
