//! A connection past its login, and the questions that are asked over it. Its bytes are moved by whoever asks: nothing
//! is spawned that could outlive the asking.
//!
//! The login is the protocol's implementation's; it keeps buffers of 16 KiB for each connection. A session that is held
//! for days keeps none between two questions.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use futures::FutureExt;
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;
use tokio_util::either::Either;

use super::classify::{classify_io, failure};
use super::guard::Guard;
use super::tls::EncryptedStream;
use distributary_core::observation::{Failure, FailureKind};

/// What is read at once, in bytes.
const PIECE: usize = 2048;
/// Begins a transaction that changes nothing. Said in full: a standby refuses one that is serializable, as the server's default
/// may be.
const BEGIN: &str = "START TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY;";

/// What the bytes go over.
pub type Stream = Either<Guard<TcpStream>, Box<Guard<EncryptedStream>>>;

/// A process of a server: its id, and when the server started.
pub type Process = (i32, i64);

/// An open connection.
pub struct Conversation {
    stream: Stream,
    /// What was read of messages that are not whole yet; without any memory when empty.
    unread: BytesMut,
    /// It cannot be used any more.
    over: bool,
    /// The other side is a pooler or proxy.
    pooler: bool,
    /// The process of the server that answered last: its id, and when the server started.
    process: Option<Process>,
    /// The process that the other side named when it let us in.
    named: Option<i32>,
    /// The login may not set a deadline for statements.
    untimed: bool,
    /// The transactions since this was last taken; the login is one.
    asked: u32,
}

/// The answers to a list of statements, up to the one that was refused.
#[derive(Default)]
pub struct Answers {
    /// The first row of each statement that was carried out.
    pub rows: Vec<Option<Row>>,
    /// The error of the statement after those.
    pub refused: Option<SqlState>,
    /// The transaction failed, and is still open.
    failed: bool,
}

/// A row of an answer, its values as text.
pub struct Row(DataRowBody);

/// No such column, or no text.
#[derive(Debug)]
pub struct NoText;

/// Why a connection cannot be used any more.
enum Broken {
    /// The server said so.
    Said(SqlState),
    Stream(io::Error),
    /// What was sent or received is no message.
    Garbled(io::Error),
}

impl Row {
    #[cfg(test)]
    pub(super) const fn of(body: DataRowBody) -> Self {
        Self(body)
    }

    /// The value of a column, from 0; `None` for NULL.
    ///
    /// # Errors
    /// There is no such column, or its value is not UTF-8.
    pub fn text(&self, column: usize) -> Result<Option<&str>, NoText> {
        let range = self.0.ranges().nth(column).map_err(|_| NoText)?.ok_or(NoText)?;
        let Some(range) = range else { return Ok(None) };
        let bytes = self.0.buffer().get(range).ok_or(NoText)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| NoText)
    }
}

impl Conversation {
    /// `stream`: logged in, with nothing read past the end of the login. `pooler`: the other side says that it is one. `named`: the
    /// process that it named in the login.
    pub fn new(stream: Stream, pooler: bool, named: Option<i32>) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            over: false,
            pooler,
            process: None,
            named,
            untimed: false,
            asked: 1,
        }
    }

    /// Whether a question or its answer ended it.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// The transactions that were asked for since this was last called, and the login before the first call.
    pub const fn take_asked(&mut self) -> u32 {
        std::mem::replace(&mut self.asked, 0)
    }

    /// Whether the other side is a pooler or proxy, now that this process of the server answered: a session with a server
    /// stays with one.
    pub fn is_pooled(&mut self, process: Option<Process>) -> bool {
        let before = self.process;
        self.process = process.or(before);
        self.pooler |= before.is_some() && before != self.process;
        self.pooler
    }

    /// Whether the other side is the server itself: the process that answered is the one that let us in. A pooler names one of
    /// its own.
    pub fn is_direct(&self) -> bool {
        let answered = self.process.map(|(process, _)| process);
        !self.pooler && answered.is_some() && answered == self.named
    }

    /// Asks `statements` in one round trip, in a transaction that changes nothing; one that fails is ended in another round
    /// trip. The server ends each of them after `within`, at least a millisecond, unless the login may not set that.
    ///
    /// A text that cannot be parsed is refused before its first statement.
    ///
    /// # Errors
    /// What ended the connection, or an error of the server that ends it.
    pub async fn ask(&mut self, statements: &[&str], within: Duration) -> Result<Answers, Failure> {
        loop {
            let opening = if self.untimed { 1 } else { 2 };
            self.asked = self.asked.saturating_add(1);
            let mut answers = self.exchange_or_end(&self.question(statements, within)).await?;
            if answers.failed {
                // At once: it would hold back the server's cleaning until the next question.
                self.exchange_or_end("ROLLBACK").await?;
            }
            match (answers.rows.len(), &answers.refused) {
                (told, None) if told < opening => return Err(FailureKind::ProtocolViolation.into()),
                (1, Some(_)) if !self.untimed => self.untimed = true,
                (told, _) => {
                    answers.rows.drain(..opening.min(told));
                    answers.rows.truncate(statements.len());
                    return Ok(answers);
                }
            }
        }
    }

    fn question(&self, statements: &[&str], within: Duration) -> String {
        let mut text = if self.untimed {
            BEGIN.to_owned()
        } else {
            opening(within)
        };
        for statement in statements {
            text.push_str(statement);
            // On a line of its own: a comment must not swallow it.
            text.push_str("\n;");
        }
        text.push_str("COMMIT");
        text
    }

    async fn exchange_or_end(&mut self, text: &str) -> Result<Answers, Failure> {
        let answers = self.exchange(text).await;
        self.over |= answers.is_err();
        answers.map_err(|broken| broken.failure("query"))
    }

    /// Waits for the end of the connection.
    pub async fn closed(&mut self) -> FailureKind {
        self.end().await.failure("session").kind
    }

    async fn exchange(&mut self, text: &str) -> Result<Answers, Broken> {
        // What came before the question is no answer to it.
        if let Some(broken) = self.end().now_or_never() {
            return Err(broken);
        }
        let mut question = BytesMut::new();
        frontend::query(text, &mut question).map_err(Broken::Garbled)?;
        if let Err(error) = self.send(&question).await {
            // An answer may have arrived before the end: it says more.
            return match self.answers().now_or_never() {
                Some(Err(Broken::Said(state))) => Err(Broken::Said(state)),
                _ => Err(Broken::Stream(error)),
            };
        }
        self.answers().await
    }

    /// Reads what nobody asked for until the connection cannot be used any more.
    async fn end(&mut self) -> Broken {
        loop {
            match self.message().await {
                // What it says next is that the connection ends.
                Ok(Message::ErrorResponse(body)) => {
                    return sqlstate(&body).map_or_else(|broken| broken, Broken::Said);
                }
                Ok(message) if is_unasked(&message) => {}
                Ok(_) => return Broken::unexpected(),
                Err(broken) => return broken,
            }
        }
    }

    async fn send(&mut self, question: &[u8]) -> io::Result<()> {
        self.stream.write_all(question).await?;
        self.stream.flush().await
    }

    async fn answers(&mut self) -> Result<Answers, Broken> {
        let mut answers = Answers::default();
        let mut row = None;
        loop {
            let message = match (self.message().await, answers.refused.take()) {
                (Ok(message), refused) => {
                    answers.refused = refused;
                    message
                }
                // It ended with the error that came before.
                (Err(_), Some(state)) => return Err(Broken::Said(state)),
                (Err(broken), None) => return Err(broken),
            };
            match message {
                Message::DataRow(body) => {
                    row.get_or_insert(Row(body));
                }
                Message::CommandComplete(_) | Message::EmptyQueryResponse => answers.rows.push(row.take()),
                Message::ErrorResponse(body) => {
                    let state = sqlstate(&body)?;
                    tracing::debug!(sqlstate = state.code(), "a statement is refused");
                    answers.refused = Some(state);
                }
                Message::ReadyForQuery(body) => {
                    answers.failed = body.status() != b'I';
                    return Ok(answers);
                }
                Message::RowDescription(_) => {}
                message if is_unasked(&message) => {}
                _ => return Err(Broken::unexpected()),
            }
        }
    }

    /// The next message. Nothing is lost where this is given up.
    async fn message(&mut self) -> Result<Message, Broken> {
        loop {
            let parsed = Message::parse(&mut self.unread).map_err(Broken::Garbled)?;
            if self.unread.is_empty() {
                self.unread = BytesMut::new();
            }
            match parsed {
                Some(message) => return Ok(message),
                None => poll_fn(|cx| self.poll_read(cx)).await.map_err(Broken::Stream)?,
            }
        }
    }

    /// Reads what there is, over a buffer that lives as long as this call.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        self.unread.extend_from_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

/// What comes before the statements of a question. The deadline is a value of a query: as a part of a command, each would be an
/// entry of its own in `pg_stat_statements`.
pub(super) fn opening(within: Duration) -> String {
    let within = within.as_millis().clamp(1, i32::MAX.unsigned_abs().into());
    format!("{BEGIN}SELECT pg_catalog.set_config('statement_timeout', '{within}', true);")
}

/// However it ends, also in the middle of a question, the server is told: an end without a farewell is a line in its log. The
/// farewell fits into the socket's buffer; where it does not, nobody waits for it.
impl Drop for Conversation {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut farewell = BytesMut::new();
        frontend::terminate(&mut farewell);
        let leaving = async {
            self.stream.write_all(&farewell).await?;
            self.stream.shutdown().await
        };
        let _ = leaving.now_or_never();
    }
}

impl Broken {
    fn unexpected() -> Self {
        Self::Garbled(io::ErrorKind::InvalidData.into())
    }

    /// Its meaning, and the one place that logs it.
    fn failure(self, during: &'static str) -> Failure {
        let (error, kind) = match &self {
            Self::Said(state) => {
                tracing::debug!(during, sqlstate = state.code(), "the server ends the connection");
                return failure(state);
            }
            Self::Stream(error) => (error, classify_io(error)),
            Self::Garbled(error) => (error, FailureKind::ProtocolViolation),
        };
        tracing::debug!(during, error = error as &dyn StdError, "the connection ended");
        kind.into()
    }
}

fn sqlstate(body: &ErrorResponseBody) -> Result<SqlState, Broken> {
    let code = body.fields().find(|field| Ok(field.type_() == b'C'));
    let code = code.map_err(Broken::Garbled)?.ok_or_else(Broken::unexpected)?;
    let code = std::str::from_utf8(code.value_bytes()).map_err(|_| Broken::unexpected())?;
    Ok(SqlState::from_code(code))
}

/// What a server may say at any time.
const fn is_unasked(message: &Message) -> bool {
    matches!(
        message,
        Message::NoticeResponse(_) | Message::ParameterStatus(_) | Message::NotificationResponse(_)
    )
}

#[cfg(test)]
mod tests;
