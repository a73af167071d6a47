//! A connection past its login, and the questions that are asked over it. Its bytes are moved by whoever asks: nothing
//! is spawned that could outlive the asking.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, TryStreamExt};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection, Error, SimpleQueryMessage, SimpleQueryRow};

use super::classify::{classify, classify_sqlstate};
use super::guard::Guard;
use super::tls::EncryptedStream;
use crate::domain::observation::FailureKind;

/// An open connection.
pub struct Conversation {
    client: Client,
    wire: Wire,
    /// The transaction of the last question failed, and must be ended before the next one.
    failed: bool,
}

/// What the bytes go over.
pub enum Wire {
    Plain(Box<Connection<Guard<TcpStream>, NoTlsStream>>),
    Encrypted(Box<Connection<TcpStream, Guard<EncryptedStream>>>),
}

impl Wire {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>> {
        match self {
            Self::Plain(connection) => connection.poll_message(cx),
            Self::Encrypted(connection) => connection.poll_message(cx),
        }
    }

    /// Reads and writes what there is, until the connection ends; with an error, where there is one.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        loop {
            match self.poll_message(cx) {
                // A notice, or a notification that nobody asked for.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(error)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// The answers to a list of statements, up to the one that was refused.
pub struct Answers {
    /// The first row of each statement that was carried out.
    pub rows: Vec<Option<SimpleQueryRow>>,
    /// The error of the statement after those.
    pub refused: Option<SqlState>,
}

impl Conversation {
    pub fn new(client: Client, wire: Wire) -> Self {
        Self {
            client,
            wire,
            failed: false,
        }
    }

    /// Asks `statements` in one round trip, in a transaction that changes nothing. The server ends each of them after
    /// `within`, at least a millisecond.
    ///
    /// # Errors
    /// What ended the connection, or an error of the server that ends it.
    pub async fn ask(&mut self, statements: &[&str], within: Duration) -> Result<Answers, FailureKind> {
        // Said in full: a standby refuses a transaction that is serializable, as the server's default may be.
        let rollback = if self.failed { "ROLLBACK;" } else { "" };
        let mut text = format!(
            "{rollback}START TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY;SET LOCAL statement_timeout={};",
            within.as_millis().clamp(1, i32::MAX.unsigned_abs().into())
        );
        for statement in statements {
            text.push_str(statement);
            // On a line of its own: a comment must not swallow it.
            text.push_str("\n;");
        }
        text.push_str("COMMIT");
        let opening = if self.failed { 3 } else { 2 };
        let answered = drive(&mut self.wire, send(&self.client, &text)).await;
        let mut answers = answered.map_err(|error| {
            tracing::debug!(error = &error as &dyn StdError, "query");
            classify(&error, true)
        })?;
        self.failed = answers.refused.is_some();
        if answers.rows.len() < opening {
            // The transaction itself was refused.
            return Err(answers
                .refused
                .as_ref()
                .map_or(FailureKind::ProtocolViolation, classify_sqlstate));
        }
        answers.rows.drain(..opening);
        answers.rows.truncate(statements.len());
        Ok(answers)
    }

    /// Waits for the end of the connection.
    pub async fn closed(&mut self) -> FailureKind {
        match poll_fn(|cx| self.wire.poll_end(cx)).await {
            Some(error) => {
                tracing::debug!(error = &error as &dyn StdError, "session ended");
                classify(&error, true)
            }
            None => FailureKind::ConnectionClosed,
        }
    }

    /// Ends it politely. The farewell fits into the socket's buffer; where it does not, nobody waits for it.
    pub fn close(self) {
        let Self { client, mut wire, .. } = self;
        drop(client);
        let _ = poll_fn(|cx| wire.poll_message(cx)).now_or_never();
    }
}

async fn send(client: &Client, statements: &str) -> Result<Answers, Error> {
    let mut messages = pin!(client.simple_query_raw(statements).await?);
    let mut answers = Answers {
        rows: Vec::new(),
        refused: None,
    };
    let mut row = None;
    loop {
        match messages.try_next().await {
            Ok(Some(SimpleQueryMessage::Row(answer))) => {
                row.get_or_insert(answer);
            }
            Ok(Some(SimpleQueryMessage::CommandComplete(_))) => answers.rows.push(row.take()),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(answers),
            Err(error) => match error.code() {
                // The connection lives on.
                Some(state) if !ends_the_connection(state) => {
                    tracing::debug!(sqlstate = state.code(), "a statement is refused");
                    answers.refused = Some(state.clone());
                }
                _ => return Err(error),
            },
        }
    }
}

/// `admin_shutdown`, `crash_shutdown`, `database_dropped`, `idle_session_timeout`.
fn ends_the_connection(state: &SqlState) -> bool {
    ["57P01", "57P02", "57P04", "57P05"].contains(&state.code())
}

/// Moves the bytes of `wire` while `work` is done over it.
///
/// # Errors
/// The work's error; or the connection's, where it is the reason.
async fn drive<Output>(
    wire: &mut Wire,
    work: impl Future<Output = Result<Output, Error>>,
) -> Result<Output, Error> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let broken = match wire.poll_end(cx) {
            Poll::Ready(broken) => broken,
            Poll::Pending => None,
        };
        // An answer may have arrived before the end: it says more.
        match (work.as_mut().poll(cx), broken) {
            (Poll::Ready(Err(error)), Some(broken)) if error.is_closed() => Poll::Ready(Err(broken)),
            (Poll::Pending, Some(broken)) => Poll::Ready(Err(broken)),
            (polled, _) => polled,
        }
    })
    .await
}
