//! One connection of a client.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::connections::Connections;
use crate::password::Verifier;
use crate::tls::Tls;
use crate::wire;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const VERSION_3: u32 = 3 << 16;
/// No client of the fake says more at once, in bytes.
const LONGEST: usize = 100_000;
/// What is read at once, in bytes.
const PIECE: usize = 2048;

/// A client, as its server sees it. It keeps no buffer while it waits for the client.
pub struct Session {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    /// What was read and not taken; without any memory when empty.
    unread: Vec<u8>,
    local: IpAddr,
    noted: Arc<Connections>,
}

/// The first message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It asks for TLS.
    Tls,
    /// It asks for the encryption of GSSAPI.
    Gss,
    /// It wants to log in.
    Startup,
}

impl Session {
    pub(crate) fn new(stream: TcpStream, local: IpAddr, noted: Arc<Connections>) -> Self {
        Self {
            stream: Either::Left(stream),
            unread: Vec::new(),
            local,
            noted,
        }
    }

    /// The address that the client connected to.
    pub fn local(&self) -> IpAddr {
        self.local
    }

    /// Reads the first message.
    pub async fn opening(&mut self) -> io::Result<Opening> {
        let message = self.frame(0, 8).await?;
        match number(&message[4..]) {
            SSL_REQUEST => Ok(Opening::Tls),
            GSS_REQUEST => Ok(Opening::Gss),
            VERSION_3.. => Ok(Opening::Startup),
            code => Err(broken(format!("a first message with code {code}"))),
        }
    }

    /// Reads up to the startup message. TLS is refused where there is none, and demanded where there is.
    pub async fn startup(mut self, tls: Option<&Tls>) -> io::Result<Self> {
        loop {
            match (self.opening().await?, tls) {
                (Opening::Startup, None) => return Ok(self),
                (Opening::Startup, Some(_)) => return Err(broken("it came without TLS".into())),
                (Opening::Tls, Some(tls)) => {
                    self.say(b"S").await?;
                    let mut session = self.encrypt(tls).await?;
                    return match session.opening().await? {
                        Opening::Startup => Ok(session),
                        other => Err(broken(format!("{other:?} within TLS"))),
                    };
                }
                (Opening::Tls | Opening::Gss, _) => self.say(b"N").await?,
            }
        }
    }

    async fn encrypt(self, tls: &Tls) -> io::Result<Self> {
        let Either::Left(stream) = self.stream else {
            return Err(broken("TLS within TLS".into()));
        };
        if !self.unread.is_empty() {
            return Err(broken("bytes before TLS".into()));
        }
        let stream = Either::Right(tls.accept(stream).await?);
        Ok(Self { stream, ..self })
    }

    /// Asks for the password by SCRAM-SHA-256, and refuses who does not know it.
    pub async fn scram(&mut self, verifier: &Verifier) -> io::Result<()> {
        self.say(&wire::authentication(wire::SASL, b"SCRAM-SHA-256\0\0"))
            .await?;
        let (_, body) = self.message().await?;
        // The mechanism's name, its end, and the length of what follows.
        let rest = body.splitn(2, |byte| *byte == 0).nth(1);
        let first = text(rest.and_then(|rest| rest.get(4..)).unwrap_or_default())?;
        let exchange = verifier.begin(first)?;
        let asked = wire::authentication(wire::SASL_CONTINUE, exchange.server_first.as_bytes());
        self.say(&asked).await?;
        let (_, body) = self.message().await?;
        let Some(last) = verifier.finish(&exchange, text(&body)?)? else {
            self.say(&wire::error("28P01")).await?;
            return Err(broken("a wrong password".into()));
        };
        let last = wire::authentication(wire::SASL_FINAL, last.as_bytes());
        self.say(&last).await
    }

    /// Ends the login.
    pub async fn welcome(&mut self) -> io::Result<()> {
        self.say(&wire::logged_in()).await
    }

    /// Answers each question as `answer` says, until the client says farewell.
    ///
    /// # Errors
    /// When the client leaves without, or says anything else.
    pub async fn answer(&mut self, mut answer: impl FnMut(&str) -> Vec<u8>) -> io::Result<()> {
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                b'Q' => {
                    let question = text(body.strip_suffix(b"\0").unwrap_or(&body))?;
                    self.say(&answer(question)).await?;
                }
                b'X' => return Ok(()),
                other => return Err(broken(format!("a message {:?}", char::from(other)))),
            }
        }
    }

    /// Lets anybody in, without TLS, and answers.
    pub async fn serve(self, answer: impl FnMut(&str) -> Vec<u8>) -> io::Result<()> {
        let mut session = self.startup(None).await?;
        session.welcome().await?;
        session.answer(answer).await
    }

    /// Reads a message after the first: its type and its body.
    pub async fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut message = self.frame(1, 5).await?;
        let body = message.split_off(5);
        Ok((message[0], body))
    }

    /// Reads until the client leaves; what it said.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.read().await.is_ok_and(|length| length > 0) {}
        std::mem::take(&mut self.unread)
    }

    /// Sends all of these bytes.
    pub async fn say(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let length = self.stream.write(bytes).await?;
            self.noted.say(length);
            bytes = &bytes[length..];
        }
        self.stream.flush().await
    }

    /// Sends these bytes one at a time.
    pub async fn drip(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.say(&[*byte]).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Says no more; the client may.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Ends the connection with a reset.
    pub fn reset(self) -> io::Result<()> {
        match &self.stream {
            Either::Left(stream) => stream.set_zero_linger(),
            Either::Right(stream) => stream.get_ref().0.set_zero_linger(),
        }
    }

    /// A frame whose length, which counts itself, is at `at`; it has at least `least` bytes.
    async fn frame(&mut self, at: usize, least: usize) -> io::Result<Vec<u8>> {
        self.need(at + 4).await?;
        let length = at + number(&self.unread[at..]) as usize;
        if !(least..LONGEST).contains(&length) {
            return Err(broken(format!("a message of {length} bytes")));
        }
        self.need(length).await?;
        let rest = self.unread.split_off(length);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    async fn need(&mut self, length: usize) -> io::Result<()> {
        while self.unread.len() < length {
            if self.read().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads what there is; the memory for it is needed only then.
    async fn read(&mut self) -> io::Result<usize> {
        let (stream, unread) = (&mut self.stream, &mut self.unread);
        let read = poll_fn(|context| {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            unread.extend_from_slice(read.filled());
            Poll::Ready(io::Result::Ok(read.filled().len()))
        });
        let length = read.await?;
        self.noted.hear(&self.unread[self.unread.len() - length..]);
        Ok(length)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| broken("a text that is not UTF-8".into()))
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
