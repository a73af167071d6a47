//! Reads the frame headers of what a server sends, before the protocol's implementation does.
//!
//! # Guarantees
//! - A request for a clear-text or MD5 password, or for any method but SCRAM, never arrives whole at the reader, which
//!   therefore never answers it with a password.
//! - No frame longer than [`FRAME_LIMIT`] and not more than [`TOTAL_LIMIT`] bytes reach the reader between one
//!   `ReadyForQuery` and the next; nor more than [`FRAME_LIMIT`] bytes of settings, which the reader keeps, in all.
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

/// Type byte and length.
const HEADER: usize = 5;
/// Header and authentication code.
const AUTHENTICATION_HEADER: usize = 9;

/// Why the guard ended a conversation. It travels as the inner error of an [`io::Error`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Breach {
    #[error("the server asks for a password method that is never used")]
    PasswordMethod,
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
            Breach::PasswordMethod | Breach::TooLong | Breach::NotTheProtocol => io::ErrorKind::InvalidData,
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
}

impl<S> Guard<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            breach: None,
            ahead: Vec::new(),
        }
    }

    /// Keeps of what was read after `before` what may pass.
    fn admit(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let read = &buf.filled()[before..];
        let (passes, breach) = if read.is_empty() {
            (0, Breach::Closed)
        } else {
            match self.frames.inspect(read) {
                Ok(passes) => {
                    self.ahead.extend_from_slice(&read[passes..]);
                    buf.set_filled(before + passes);
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
        let before = buf.filled().len();
        if !self.ahead.is_empty() {
            let ahead = mem::take(&mut self.ahead);
            let (fits, rest) = ahead.split_at(ahead.len().min(buf.remaining()));
            buf.put_slice(fits);
            let admitted = self.admit(buf, before);
            self.ahead.extend_from_slice(rest);
            return Poll::Ready(admitted);
        }
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
            Ok(()) => Poll::Ready(self.admit(buf, before)),
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
    /// Bytes of settings that the server reported.
    settings: usize,
    /// The server said that the login is complete.
    authenticated: bool,
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
                self.left -= body;
                at += body;
            } else {
                self.take(bytes[at]).map_err(|breach| (frame_start, breach))?;
                at += 1;
            }
            if self.held == 0 && self.left == 0 {
                frame_start = at;
                if self.header[0] == b'Z' {
                    self.total = 0;
                    return Ok(at);
                }
            }
        }
        Ok(at)
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
        let length = self.field(1);
        let least = if self.header[0] == b'R' {
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
        if self.header[0] != b'R' {
            self.body(length + 1 - HEADER);
        }
        Ok(())
    }

    /// 0: logged in. 10, 11, 12: the steps of SCRAM. 3 and 5 ask for the password in clear text or as MD5.
    fn code_known(&mut self) -> Result<(), Breach> {
        match self.field(HEADER) {
            0 => self.authenticated = true,
            10..=12 => {}
            _ => return Err(Breach::PasswordMethod),
        }
        self.body(self.field(1) + 1 - AUTHENTICATION_HEADER);
        Ok(())
    }

    /// The header is complete: `length` bytes follow.
    fn body(&mut self, length: usize) {
        self.left = length;
        self.held = 0;
    }

    /// The number in four bytes of the header from `at`; a negative one reads as more than any limit.
    fn field(&self, at: usize) -> usize {
        let bytes = [
            self.header[at],
            self.header[at + 1],
            self.header[at + 2],
            self.header[at + 3],
        ];
        u32::from_be_bytes(bytes).try_into().unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
