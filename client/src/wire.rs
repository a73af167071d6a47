//! What goes over a connection, seen below the protocol's implementation: whether a request is unanswered, whether a transaction
//! is open, whether anything was sent at all. Frame headers alone are read.
//!
//! A password in clear text or as MD5 is never sent: a server that asks for one is refused before the implementation reads it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use distributary_probe::Clock;

/// What is known of a connection.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Requests that were sent and are not answered.
    unanswered: AtomicI64,
    /// Of the last `ReadyForQuery`; 0: none came yet.
    status: AtomicU8,
    /// The transaction that ended last was rolled back.
    rolled_back: AtomicBool,
    /// Bytes that the system took.
    sent: AtomicU64,
}

impl Traffic {
    /// Nothing is under way, and no transaction is open.
    pub fn is_idle(&self) -> bool {
        self.unanswered.load(Ordering::Acquire) == 0 && self.status.load(Ordering::Acquire) == b'I'
    }

    /// Whether a request waits for its answer.
    pub fn waits(&self) -> bool {
        self.unanswered.load(Ordering::Acquire) != 0
    }

    /// The transaction that ended last was rolled back, whatever was asked for: PostgreSQL answers ROLLBACK to the COMMIT of one in
    /// which a statement failed.
    pub fn was_rolled_back(&self) -> bool {
        self.rolled_back.load(Ordering::Acquire)
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }
}

/// When a server was heard last: shared by its connections.
#[derive(Clone, Debug)]
pub struct Heard {
    clock: Clock,
    nanoseconds: Arc<AtomicU64>,
}

impl Heard {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            nanoseconds: Arc::default(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().since_start().as_nanos()).unwrap_or(u64::MAX)
    }

    fn note(&self) {
        self.nanoseconds.store(self.now(), Ordering::Relaxed);
    }

    /// How long ago; since the clock's start where it never was.
    pub fn ago(&self) -> std::time::Duration {
        let at = self.nanoseconds.load(Ordering::Relaxed);
        std::time::Duration::from_nanos(self.now().saturating_sub(at))
    }
}

/// A stream whose frames are counted.
pub struct Tap<S> {
    stream: S,
    traffic: Arc<Traffic>,
    heard: Heard,
    sent: Frames,
    received: Frames,
}

impl<S> Tap<S> {
    pub fn new(stream: S, heard: Heard) -> (Self, Arc<Traffic>) {
        let traffic = Arc::<Traffic>::default();
        let tap = Self {
            stream,
            traffic: Arc::clone(&traffic),
            heard,
            // The first message has no type.
            sent: Frames {
                header: [0; HEADER],
                have: 1,
                ..Frames::default()
            },
            received: Frames::default(),
        };
        (tap, traffic)
    }
}

/// Type byte and length.
const HEADER: usize = 5;

/// Where in a frame a stream of bytes is.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER],
    have: usize,
    /// The first bytes of the body.
    body: [u8; 4],
    body_have: usize,
    told: bool,
    /// Bytes of the body that are to come.
    left: usize,
}

impl Frames {
    /// Tells each frame by its type and the first bytes of its body, once those are there.
    fn read(&mut self, mut bytes: &[u8], mut see: impl FnMut(u8, &[u8]) -> io::Result<()>) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.have < HEADER {
                self.header[self.have] = bytes[0];
                self.have += 1;
                bytes = &bytes[1..];
                if self.have < HEADER {
                    continue;
                }
                let [_, a, b, c, d] = self.header;
                let length = u32::from_be_bytes([a, b, c, d]);
                self.left = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(4);
                self.body_have = 0;
            } else {
                let more = bytes.len().min(self.left);
                let wanted = more.min(self.body.len() - self.body_have);
                self.body[self.body_have..self.body_have + wanted].copy_from_slice(&bytes[..wanted]);
                self.body_have += wanted;
                self.left -= more;
                bytes = &bytes[more..];
            }
            if !self.told && (self.left == 0 || self.body_have == self.body.len()) {
                self.told = true;
                see(self.header[0], &self.body[..self.body_have])?;
            }
            if self.left == 0 {
                (self.have, self.told) = (0, false);
            }
        }
        Ok(())
    }
}

/// What is asked of a login that a server may not be answered: 0 let in, 10 to 12 SCRAM.
fn permitted(body: &[u8]) -> io::Result<()> {
    match body {
        [0, 0, 0, 0 | 10..=12] => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, PasswordMethod)),
    }
}

/// The server asks for a password in a way that gives it away.
#[derive(Debug, thiserror::Error)]
#[error("the server asks for a password method that is never used")]
pub struct PasswordMethod;

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if read.is_empty() {
            return Poll::Ready(Ok(()));
        }
        this.heard.note();
        let traffic = &this.traffic;
        let seen = this.received.read(read, |kind, body| match kind {
            b'R' => permitted(body),
            b'C' if body == b"COMM" || body == b"ROLL" => {
                traffic.rolled_back.store(body == b"ROLL", Ordering::Release);
                Ok(())
            }
            b'Z' => {
                let status = body.first().copied().unwrap_or_default();
                traffic.status.store(status, Ordering::Release);
                // The one that ends the login answers no request.
                let _ = traffic
                    .unanswered
                    .try_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                        (count > 0).then(|| count - 1)
                    });
                Ok(())
            }
            _ => Ok(()),
        });
        Poll::Ready(seen)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        let traffic = &this.traffic;
        traffic.sent.fetch_add(written as u64, Ordering::AcqRel);
        let seen = this.sent.read(&bytes[..written], |kind, _| {
            if matches!(kind, b'Q' | b'S' | b'F') {
                traffic.unanswered.fetch_add(1, Ordering::AcqRel);
            }
            Ok(())
        });
        Poll::Ready(seen.map(|()| written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tap<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Tells the protocol's implementation that a stream is encrypted already.
pub struct Encrypted;

impl<S: TlsStream + Unpin> TlsConnect<S> for Encrypted {
    type Stream = S;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<S>>;

    fn connect(self, stream: S) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

#[cfg(test)]
mod tests;
