//! The question of a check: one round trip that any login may ask of PostgreSQL 12 and later.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures::{FutureExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Connection, Error, SimpleQueryMessage, SimpleQueryRow};

use super::classify::classify;
use crate::domain::observation::{FailureKind, Lsn, Role, Sample};

const ROLE: &str = "SELECT pg_catalog.pg_is_in_recovery();";
const ROLE_AND_LSN: &str = "SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() \
     THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END;";
const IDENTITY: &str = "SELECT s.system_identifier, c.timeline_id \
     FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c;";

/// What a server refused to tell, as managed services do. It is not asked again, as each refusal is a line in its log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Refused {
    /// The log positions.
    pub lsn: bool,
    /// `pg_control_system()` or `pg_control_checkpoint()`.
    pub identity: bool,
}

/// Asks over a fresh connection, and ends it politely. What the server refuses is noted in `refused`; only after a
/// refusal of the log position is there a second round trip.
///
/// # Errors
/// What ended the connection, the server's error, or an answer that does not fit the question.
pub async fn ask<S, T>(
    client: Client,
    mut connection: Connection<S, T>,
    refused: &mut Refused,
) -> Result<Sample, FailureKind>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let sample = ask_until_told(&client, &mut connection, refused).await;
    drop(client);
    // The farewell fits into the socket's buffer; where it does not, nobody waits for it.
    let _ = poll_fn(|cx| connection.poll_message(cx)).now_or_never();
    sample
}

async fn ask_until_told<S, T>(
    client: &Client,
    connection: &mut Connection<S, T>,
    refused: &mut Refused,
) -> Result<Sample, FailureKind>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let first = if refused.lsn { ROLE } else { ROLE_AND_LSN };
        let second = if refused.identity { "" } else { IDENTITY };
        let reply = drive(connection, send(client, &format!("{first}{second}")))
            .await
            .map_err(|error| {
                tracing::debug!(error = &error as &dyn StdError, "query");
                classify(&error, true)
            })?;
        match (reply.refused, reply.rows.len()) {
            (true, 0) if !refused.lsn => refused.lsn = true,
            (true, 0) => return Err(FailureKind::OtherError),
            (true, 1) if !refused.identity => {
                refused.identity = true;
                return reply.sample(*refused);
            }
            _ => return reply.sample(*refused),
        }
    }
}

/// One row of each statement, up to the one that was refused.
struct Reply {
    rows: Vec<SimpleQueryRow>,
    refused: bool,
}

impl Reply {
    fn sample(&self, refused: Refused) -> Result<Sample, FailureKind> {
        let role = match self.value(0, 0)? {
            Some("t") => Role::Standby,
            Some("f") => Role::Primary,
            _ => return Err(FailureKind::ProtocolViolation),
        };
        let lsn = if refused.lsn {
            None
        } else {
            self.parsed::<Lsn>(0, 1)?
        };
        let (system_identifier, timeline) = if refused.identity {
            (None, None)
        } else {
            (self.parsed::<i64>(1, 0)?, self.parsed::<i32>(1, 1)?)
        };
        Ok(Sample {
            lsn,
            // Both are unsigned in the control file and signed in SQL.
            system_identifier: system_identifier.map(i64::cast_unsigned),
            timeline: timeline.map(i32::cast_unsigned),
            ..Sample::of(role)
        })
    }

    fn value(&self, row: usize, column: usize) -> Result<Option<&str>, FailureKind> {
        let row = self.rows.get(row).ok_or(FailureKind::ProtocolViolation)?;
        row.try_get(column).map_err(|_| FailureKind::ProtocolViolation)
    }

    fn parsed<T: std::str::FromStr>(&self, row: usize, column: usize) -> Result<Option<T>, FailureKind> {
        let parse = |text: &str| text.parse().map_err(|_| FailureKind::ProtocolViolation);
        self.value(row, column)?.map(parse).transpose()
    }
}

async fn send(client: &Client, statements: &str) -> Result<Reply, Error> {
    let mut answers = pin!(client.simple_query_raw(statements).await?);
    let mut reply = Reply {
        rows: Vec::new(),
        refused: false,
    };
    loop {
        match answers.try_next().await {
            Ok(Some(SimpleQueryMessage::Row(row))) => reply.rows.push(row),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(reply),
            Err(error) if error.code().is_some_and(is_refusal) => {
                tracing::debug!(
                    sqlstate = error.code().map(SqlState::code),
                    "the server refuses to tell"
                );
                reply.refused = true;
            }
            Err(error) => return Err(error),
        }
    }
}

/// No privilege, not supported, no such function.
fn is_refusal(state: &SqlState) -> bool {
    [
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::UNDEFINED_FUNCTION,
    ]
    .contains(state)
}

/// Moves the bytes of `connection` while `work` is done over it; nothing is spawned that could outlive the caller.
///
/// # Errors
/// The work's error; or the connection's, where it is the reason.
async fn drive<S, T, Output>(
    connection: &mut Connection<S, T>,
    work: impl Future<Output = Result<Output, Error>>,
) -> Result<Output, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut work = pin!(work);
    poll_fn(|cx| {
        let broken = loop {
            match connection.poll_message(cx) {
                // A notice, or a notification that nobody asked for.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => break Some(error),
                Poll::Ready(None) | Poll::Pending => break None,
            }
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
