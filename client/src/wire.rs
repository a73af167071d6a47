//! What goes over a connection, seen below the protocol's implementation: whether a request is unanswered, whether a transaction
//! is open, whether anything was sent at all, what kind of statements were sent and carried out, whether they left anything in the session.
//! Of each frame the header and the first bytes are read.
//!
//! A session keeps what SET, LISTEN, PREPARE, temporary tables and the like leave in it. Nearly all of that is seen by the tags of what was
//! carried out; what a function leaves (`set_config`, advisory locks) only where the server reports it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwapOption;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use distributary_probe::Clock;

use self::seen::Seen;

pub mod seen;

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
    /// The session is not as it was after the login: [`KEPT`], [`PLANS`].
    state: AtomicU8,
    /// Of the write that uses the connection.
    seen: ArcSwapOption<Seen>,
    /// Whether there is one.
    is_watched: AtomicBool,
    /// The next text of statements that is sent is the router's own.
    own: AtomicBool,
}

/// Something was left in the session that a reset takes back.
const KEPT: u8 = 1;
/// Statements were prepared or dropped, by which the protocol's implementation names its own.
const PLANS: u8 = 2;

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

    /// A transaction is open, failed or not.
    pub fn in_transaction(&self) -> bool {
        matches!(self.status.load(Ordering::Acquire), b'T' | b'E')
    }

    /// From here on what is seen is that of a closure.
    pub fn forget_state(&self) {
        self.state.store(0, Ordering::Release);
    }

    /// Whether the session must be reset before somebody else uses it.
    pub fn has_state(&self) -> bool {
        self.state.load(Ordering::Acquire) != 0
    }

    /// Whether that can be done.
    pub fn can_be_reset(&self) -> bool {
        self.state.load(Ordering::Acquire) & PLANS == 0
    }

    /// The next text of statements that is sent is the router's own: what it leaves in the session is no doing of a closure.
    pub fn expect_own(&self) {
        self.own.store(true, Ordering::Release);
    }

    fn takes_own(&self) -> bool {
        self.own.load(Ordering::Acquire) && self.own.swap(false, Ordering::AcqRel)
    }

    /// Notes for a write what is seen from here on; `None`: nobody asks.
    pub fn watch(&self, seen: Option<Arc<Seen>>) {
        let is_watched = seen.is_some();
        // A read finds none, and stores none.
        if is_watched || self.is_watched.load(Ordering::Acquire) {
            self.seen.store(seen);
            self.is_watched.store(is_watched, Ordering::Release);
        }
    }

    /// Tells the write, where there is one.
    pub fn tell(&self, told: impl FnOnce(&Seen)) {
        if self.is_watched.load(Ordering::Acquire)
            && let Some(seen) = &*self.seen.load()
        {
            told(seen);
        }
    }

    /// A statement was carried out; `described`: it has sent rows, or what they are.
    fn done(&self, tag: &[u8], described: bool) {
        match seen::first(tag) {
            b"COMMIT" => self.rolled_back.store(false, Ordering::Release),
            b"ROLLBACK" => self.rolled_back.store(true, Ordering::Release),
            _ => {}
        }
        let left = left_by(tag, described);
        if left != 0 {
            self.state.fetch_or(left, Ordering::AcqRel);
        }
        self.tell(|seen| seen.done(tag));
    }
}

/// What a statement may leave in the session, by its tag. SELECT INTO and CREATE TABLE AS have that of SELECT, and no rows.
fn left_by(tag: &[u8], described: bool) -> u8 {
    match seen::first(tag) {
        b"SELECT" => u8::from(!described) * KEPT,
        b"INSERT" | b"UPDATE" | b"DELETE" | b"MERGE" | b"BEGIN" | b"START" | b"COMMIT" | b"ROLLBACK"
        | b"SAVEPOINT" | b"RELEASE" | b"SHOW" | b"FETCH" | b"MOVE" | b"CLOSE" | b"EXPLAIN" | b"COPY"
        | b"LOCK" | b"NOTIFY" | b"TRUNCATE" | b"ANALYZE" | b"VACUUM" => 0,
        b"PREPARE" | b"DEALLOCATE" | b"DISCARD" => KEPT | PLANS,
        _ => KEPT,
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
        u64::try_from(self.clock.recently().since_start().as_nanos()).unwrap_or(u64::MAX)
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
    asked: Asked,
    /// Rows, or what they are, came since the last statement was carried out.
    described: bool,
}

/// The requests that wait for their answers, in their order.
#[derive(Default)]
struct Asked {
    requests: VecDeque<Request>,
    /// The request that is being sent does more than to drop a prepared statement.
    more: bool,
}

struct Request {
    /// It does more than to drop a prepared statement, which the implementation asks for whenever it likes.
    more: bool,
    /// It is the router's own.
    own: bool,
}

impl Asked {
    /// Whether what comes answers a request of the router.
    fn is_own(&self) -> bool {
        self.requests.front().is_some_and(|request| request.own)
    }
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
            asked: Asked::default(),
            described: false,
        };
        (tap, traffic)
    }
}

/// Type byte and length.
const HEADER: usize = 5;

/// So many bytes of a body are read: a tag, the first word of a statement after its comments.
const BODY: usize = 256;

/// Where in a frame a stream of bytes is.
#[derive(Debug)]
struct Frames {
    header: [u8; HEADER],
    have: usize,
    /// The first bytes of the body.
    body: [u8; BODY],
    body_have: usize,
    told: bool,
    /// Bytes of the body that are to come.
    left: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            header: [0; HEADER],
            have: 0,
            body: [0; BODY],
            body_have: 0,
            told: false,
            left: 0,
        }
    }
}

impl Frames {
    /// Tells each frame by its type and the first bytes of its body, once those are there.
    fn read(&mut self, mut bytes: &[u8], mut see: impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() {
            if self.have == 0
                && let Some((kind, body, rest)) = whole(bytes)
            {
                see(kind, &body[..body.len().min(BODY)]);
                bytes = rest;
                continue;
            }
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
                see(self.header[0], &self.body[..self.body_have]);
            }
            if self.left == 0 {
                (self.have, self.told) = (0, false);
            }
        }
    }
}

/// The first frame, where all of it is here, as nearly always: its type, its body, and what follows it.
fn whole(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let [kind, a, b, c, d] = *header;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    let (body, rest) = rest.split_at_checked(length.checked_sub(4)?)?;
    Some((kind, body, rest))
}

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
        let (asked, described) = (&mut this.asked, &mut this.described);
        this.received.read(read, |kind, body| match kind {
            b'T' | b'D' => *described = true,
            // It has none, or failed.
            b'n' | b'E' => *described = false,
            b'C' if asked.is_own() => *described = false,
            b'C' => traffic.done(body, std::mem::take(described)),
            // In the login the server tells all of them.
            b'S' if traffic.status.load(Ordering::Acquire) != 0 && !asked.is_own() => {
                traffic.state.fetch_or(KEPT, Ordering::AcqRel);
            }
            b'Z' => {
                let status = body.first().copied().unwrap_or_default();
                traffic.status.store(status, Ordering::Release);
                // The one that ends the login answers no request.
                if asked.requests.pop_front().is_some_and(|request| request.more) {
                    traffic.unanswered.fetch_sub(1, Ordering::AcqRel);
                }
            }
            _ => {}
        });
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        let traffic = &this.traffic;
        traffic.sent.fetch_add(written as u64, Ordering::AcqRel);
        let asked = &mut this.asked;
        this.sent.read(&bytes[..written], |kind, body| {
            match kind {
                b'P' => traffic.tell(|seen| seen.prepared(body)),
                b'E' | b'Q' | b'F' => traffic.tell(|seen| seen.mark(seen::EXECUTED)),
                _ => {}
            }
            match kind {
                b'Q' | b'S' | b'F' => {
                    let more = std::mem::take(&mut asked.more) || kind != b'S';
                    let own = kind == b'Q' && traffic.takes_own();
                    asked.requests.push_back(Request { more, own });
                    traffic.unanswered.fetch_add(i64::from(more), Ordering::AcqRel);
                }
                // The startup message and those of the login belong to no request.
                b'C' | b'p' | 0 => {}
                _ => asked.more = true,
            }
        });
        Poll::Ready(Ok(written))
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
