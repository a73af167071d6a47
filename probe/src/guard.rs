//! Reads the frame headers of what a server sends, before the protocol's implementation does.
//!
//! # Guarantees
//! - A request for a clear-text or MD5 password, or for any method but SCRAM, never arrives whole at the reader, which
//!   therefore never answers it with a password.
//! - A challenge of SCRAM with fewer than [`FEWEST_ITERATIONS`], or more than was allowed, never arrives whole, so that no proof
//!   of the password is made: by few of them a rogue server could find the password, many of them cost time. One that costs
//!   more than the usual ones waits for whoever reads to say [`Guard::go_on`].
//! - No frame longer than [`FRAME_LIMIT`] and not more than [`TOTAL_LIMIT`] bytes reach the reader between one
//!   `ReadyForQuery` and the next; nor more than [`FRAME_LIMIT`] bytes of settings, of which the reader keeps those of the login.
//! - Only frames that can belong to the answer of a check pass.
//! - A read ends where the server says that it is ready: whoever reads the login has nothing of what follows it.
//!
//! What came before the offending frame passes first: an error that the server reports before it misbehaves is seen.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{io, mem};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

/// The longest frame that passes, header included, in bytes.
pub const FRAME_LIMIT: usize = 64 * 1024;
/// The most that passes in answer to one question, in bytes.
pub const TOTAL_LIMIT: usize = 256 * 1024;

/// The fewest iterations of SCRAM (RFC 7677), and what PostgreSQL asks for unless it is told otherwise.
pub const FEWEST_ITERATIONS: u32 = 4096;

/// Type byte and length.
const HEADER: usize = 5;
/// Header and authentication code.
const AUTHENTICATION_HEADER: usize = 9;

/// Why the guard ended a conversation. It travels as the inner error of an [`io::Error`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Breach {
    #[error("the server asks for a password method that is never used")]
    PasswordMethod,
    #[error("the server asks for too few or too many iterations of SCRAM")]
    Iterations,
    #[error("the server sends more than an answer can hold")]
    TooLong,
    #[error("the server does not speak the protocol")]
    NotTheProtocol,
    /// Told apart from a frame that ends too early, which the protocol's implementation reports alike.
    #[error("the server closed the connection")]
    Closed,
}

impl From<Breach> for io::Error {
    fn from(breach: Breach) -> Self {
        let kind = match breach {
            Breach::Closed => io::ErrorKind::UnexpectedEof,
            Breach::PasswordMethod | Breach::Iterations | Breach::TooLong | Breach::NotTheProtocol => {
                io::ErrorKind::InvalidData
            }
        };
        Self::new(kind, breach)
    }
}

/// A stream from a server, decrypted and past the answer to its `SSLRequest`.
#[derive(Debug)]
pub struct Guard<S> {
    stream: S,
    frames: Frames,
    breach: Option<Breach>,
    /// What came after a `ReadyForQuery`, not inspected yet.
    ahead: Vec<u8>,
    /// What ends with a challenge that is expensive to answer.
    waiting: Vec<u8>,
    /// Nobody said yet that the challenge shall be answered.
    waits: bool,
    /// How much is watched.
    watch: Watch,
}

/// How much of a conversation a [`Guard`] watches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Watch {
    /// All of it.
    Always,
    /// The login. An expensive challenge waits for nobody.
    Login,
    /// The login is over.
    Nothing,
}

impl<S> Guard<S> {
    /// `iterations`: the most that are done for a proof of the password.
    pub fn new(stream: S, iterations: u32) -> Self {
        Self {
            stream,
            frames: Frames {
                iterations,
                ..Frames::default()
            },
            breach: None,
            ahead: Vec::new(),
            waiting: Vec::new(),
            waits: false,
            watch: Watch::Always,
        }
    }

    /// For a login after which anything passes. A proof of the password is made by whoever reads, however expensive.
    pub fn of_login(stream: S, iterations: u32) -> Self {
        Self {
            watch: Watch::Login,
            ..Self::new(stream, iterations)
        }
    }

    /// Whether a challenge has come that is expensive to answer, and waits for [`go_on`](Self::go_on). Reading is pending until
    /// then, and wakes nobody.
    pub const fn waits(&self) -> bool {
        self.waits
    }

    /// Lets the challenge be read.
    pub const fn go_on(&mut self) {
        self.waits = false;
    }

    /// The process of the server, as it named it in the login.
    pub const fn process(&self) -> Option<i32> {
        self.frames.process
    }

    /// Keeps of what was read after `before` what may pass.
    fn admit(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let read = &buf.filled()[before..];
        let (passes, breach) = if read.is_empty() {
            (0, Breach::Closed)
        } else {
            match self.frames.inspect(read) {
                Ok(_) if self.watch == Watch::Login => {
                    if self.frames.is_ready() {
                        self.watch = Watch::Nothing;
                    }
                    return Ok(());
                }
                Ok(passes) => {
                    self.ahead.extend_from_slice(&read[passes..]);
                    if mem::take(&mut self.frames.expensive) {
                        self.waiting.extend_from_slice(&read[..passes]);
                        self.waits = true;
                        buf.set_filled(before);
                    } else {
                        buf.set_filled(before + passes);
                    }
                    return Ok(());
                }
                Err(refused) => refused,
            }
        };
        buf.set_filled(before + passes);
        self.breach = Some(breach);
        if passes == 0 { Err(breach.into()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(breach) = self.breach {
            return Poll::Ready(Err(breach.into()));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.watch == Watch::Nothing {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        if self.waits {
            return Poll::Pending;
        }
        if !self.waiting.is_empty() {
            let fits = self.waiting.len().min(buf.remaining());
            buf.put_slice(&self.waiting[..fits]);
            self.waiting.drain(..fits);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if !self.ahead.is_empty() {
            let ahead = mem::take(&mut self.ahead);
            let (fits, rest) = ahead.split_at(ahead.len().min(buf.remaining()));
            buf.put_slice(fits);
            let admitted = self.admit(buf, before);
            self.ahead.extend_from_slice(rest);
            return if self.waits {
                Poll::Pending
            } else {
                Poll::Ready(admitted)
            };
        }
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
            Ok(()) => {
                let admitted = self.admit(buf, before);
                if self.waits {
                    Poll::Pending
                } else {
                    Poll::Ready(admitted)
                }
            }
            // rustls: closed without a closing alert, as a server that crashes does.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Err(Breach::Closed.into()))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Guard<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// The place in the stream of frames.
#[derive(Debug, Default)]
struct Frames {
    /// What is known of the header of the present frame.
    header: [u8; AUTHENTICATION_HEADER],
    held: usize,
    /// Bytes of the present frame that follow its header.
    left: usize,
    /// Bytes since the last `ReadyForQuery`.
    total: usize,
    /// Bytes of settings that the server reported since the last `ReadyForQuery`.
    settings: usize,
    /// The server said that the login is complete.
    authenticated: bool,
    /// The challenge of SCRAM, as far as it has come; `None`: the present frame is none.
    challenge: Option<Vec<u8>>,
    /// The most iterations that are done.
    iterations: u32,
    /// The newest bytes end a challenge that is expensive to answer.
    expensive: bool,
    /// The process of the server, as it named it in the login.
    process: Option<i32>,
}

impl Frames {
    /// Follows `bytes` to the end of a `ReadyForQuery`, and tells how many those are. `Err`: how many of them may pass,
    /// all of whole frames, and what is wrong with the next one.
    fn inspect(&mut self, bytes: &[u8]) -> Result<usize, (usize, Breach)> {
        self.total += bytes.len();
        if self.total > TOTAL_LIMIT {
            return Err((0, Breach::TooLong));
        }
        let mut at = 0;
        let mut frame_start = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let body = self.left.min(bytes.len() - at);
                if let Some(challenge) = &mut self.challenge {
                    challenge.extend_from_slice(&bytes[at..at + body]);
                }
                self.left -= body;
                at += body;
            } else {
                self.take(bytes[at]).map_err(|breach| (frame_start, breach))?;
                at += 1;
            }
            if self.held == 0 && self.left == 0 {
                if let Some(challenge) = self.challenge.take() {
                    self.challenged(&challenge)
                        .map_err(|breach| (frame_start, breach))?;
                }
                frame_start = at;
                if self.header[0] == b'Z' {
                    (self.total, self.settings) = (0, 0);
                    return Ok(at);
                }
            }
        }
        Ok(at)
    }

    /// The newest bytes end a `ReadyForQuery`.
    const fn is_ready(&self) -> bool {
        self.held == 0 && self.left == 0 && self.header[0] == b'Z'
    }

    /// Takes one byte of a header.
    fn take(&mut self, byte: u8) -> Result<(), Breach> {
        self.header[self.held] = byte;
        self.held += 1;
        match self.held {
            1 => self.type_allowed(byte),
            HEADER => self.length_known(),
            AUTHENTICATION_HEADER => self.code_known(),
            _ => Ok(()),
        }
    }

    /// A login is answered by requests, an error or notices; a query by the frames of its rows, too.
    fn type_allowed(&self, kind: u8) -> Result<(), Breach> {
        let allowed: &[u8] = if self.authenticated { b"SKZENATDCI" } else { b"REN" };
        if allowed.contains(&kind) {
            Ok(())
        } else {
            Err(Breach::NotTheProtocol)
        }
    }

    fn length_known(&mut self) -> Result<(), Breach> {
        let length = self.length();
        let least = if self.has_code() {
            AUTHENTICATION_HEADER - 1
        } else {
            HEADER - 1
        };
        if length < least {
            return Err(Breach::NotTheProtocol);
        }
        if self.header[0] == b'S' {
            self.settings += length;
        }
        if length >= FRAME_LIMIT || self.settings >= FRAME_LIMIT {
            return Err(Breach::TooLong);
        }
        if !self.has_code() {
            self.body(length + 1 - HEADER);
        }
        Ok(())
    }

    /// Whether four bytes of the body count for the header: the code of an authentication, the process of a key.
    const fn has_code(&self) -> bool {
        matches!(self.header[0], b'R' | b'K')
    }

    /// 0: logged in. 10, 11, 12: the steps of SCRAM. 3 and 5 ask for the password in clear text or as MD5.
    fn code_known(&mut self) -> Result<(), Breach> {
        let code = self.code();
        match (self.header[0], code) {
            (b'K', process) => self.process = Some(process.cast_signed()),
            (_, 0) => self.authenticated = true,
            (_, 11) => self.challenge = Some(Vec::new()),
            (_, 10 | 12) => {}
            _ => return Err(Breach::PasswordMethod),
        }
        self.body(self.length() + 1 - AUTHENTICATION_HEADER);
        Ok(())
    }

    /// Such as `r=…,s=…,i=4096`, and nothing else: whoever reads it then takes no other number.
    fn challenged(&mut self, challenge: &[u8]) -> Result<(), Breach> {
        let text = std::str::from_utf8(challenge).map_err(|_| Breach::NotTheProtocol)?;
        let iterations = match text.split(',').collect::<Vec<_>>()[..] {
            [nonce, salt, iterations] if nonce.starts_with("r=") && salt.starts_with("s=") => {
                iterations.strip_prefix("i=")
            }
            _ => None,
        };
        let digits = |text: &&str| text.bytes().all(|digit| digit.is_ascii_digit());
        let iterations = iterations.filter(digits).ok_or(Breach::NotTheProtocol)?;
        // Whatever is no number here is too large for one.
        let iterations: u32 = iterations.parse().map_err(|_| Breach::Iterations)?;
        if !(FEWEST_ITERATIONS..=self.iterations).contains(&iterations) {
            return Err(Breach::Iterations);
        }
        self.expensive = iterations > FEWEST_ITERATIONS;
        Ok(())
    }

    /// The header is complete: `length` bytes follow.
    fn body(&mut self, length: usize) {
        self.left = length;
        self.held = 0;
    }

    /// The length of the frame; a negative one reads as more than any limit.
    fn length(&self) -> usize {
        let [_, a, b, c, d, ..] = self.header;
        u32::from_be_bytes([a, b, c, d]).try_into().unwrap_or(usize::MAX)
    }

    /// The four bytes that follow the length.
    fn code(&self) -> u32 {
        let [_, _, _, _, _, a, b, c, d] = self.header;
        u32::from_be_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests;
