//! Writes and transactions: on the server of `rw`, and sent again only while no byte of them was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::{Severity, SqlState};

use distributary_core::table::named::WRITES;

use crate::connection::{Access, Connection};
use crate::error::{Error, FailureReason, TargetFailure, WriteOutcome};
use crate::query::Query;
use crate::session::{Checkout, Session};
use crate::shared::{Counts, PATIENCE, Shared, is_lost, judge};
use crate::token::{Position, Token};

/// From one attempt to reach the primary to the next one, where no newer table comes.
const PAUSE: Duration = Duration::from_millis(50);

/// What becomes of statements outside of a transaction, or in one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Each statement by itself.
    Statements,
    /// One transaction, which is committed where the closure succeeds.
    Transaction,
}

/// What a write returned, and its token where one was asked for.
pub type Written<T> = (T, Option<Token>);

/// What was done of a write, for who has to tell after a deadline.
#[derive(Default)]
struct Progress {
    /// Something that changes the database may have been sent.
    sent: AtomicBool,
}

impl Progress {
    fn outcome(&self) -> WriteOutcome {
        if self.sent.load(Ordering::Acquire) {
            WriteOutcome::Unknown
        } else {
            WriteOutcome::NotDone
        }
    }
}

impl Shared {
    /// The result of a write; `asks`: with its token.
    pub async fn write<T, F, R>(
        &self,
        query: &Query,
        scope: Scope,
        asks: bool,
        run: &F,
    ) -> Result<Written<T>, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        Counts::count(&self.counts.writes);
        let progress = Progress::default();
        let written = self
            .within(
                query,
                self.attempts_to_write(query, (scope, asks), run, &progress),
            )
            .await;
        written.map_err(|error| match error {
            Error::Deadline { .. } => {
                let outcome = progress.outcome();
                error.of_write(outcome)
            }
            error => error,
        })
    }

    async fn attempts_to_write<T, F, R>(
        &self,
        query: &Query,
        (scope, asks): (Scope, bool),
        run: &F,
        progress: &Progress,
    ) -> Result<Written<T>, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let until = self.clock.now() + PATIENCE;
        loop {
            let mut changes = self.changes();
            let error = match self.attempt_to_write(query, (scope, asks), run, progress).await {
                Err((error, true)) => error,
                Err((error, false)) => return Err(error),
                Ok(value) => return Ok(value),
            };
            if self.clock.now() >= until {
                return Err(error);
            }
            // A newer table, or the same server once more.
            let _ = timeout(PAUSE, changes.changed()).await;
        }
    }

    /// One attempt; an error comes with whether another one is safe.
    async fn attempt_to_write<T, F, R>(
        &self,
        query: &Query,
        (scope, asks): (Scope, bool),
        run: &F,
        progress: &Progress,
    ) -> Result<Written<T>, (Error, bool)>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let snapshot = self.snapshot();
        let started = self.clock.now();
        let not_done = |error: Error| error.of_write(WriteOutcome::NotDone);
        let Some(server) = snapshot.picker(WRITES).and_then(|picker| picker.pick(&[])) else {
            return Err((not_done(Self::nobody(&snapshot, WRITES, Vec::new())), true));
        };
        let limit = query.deadline.unwrap_or(self.deadline);
        let object = server.checkout(limit).await.map_err(|reason| {
            if let FailureReason::Failed(kind) = reason {
                server.failed(kind, started);
            }
            let endpoint = server.id.clone();
            (not_done(Error::Connect(TargetFailure { endpoint, reason })), true)
        })?;
        let checkout = Checkout::new(server, object, self.cancels.clone());
        if let Err(error) = self.prepare(&checkout, Access::ReadWrite, query).await {
            judge(&checkout, &error, started, self.clock);
            return Err((not_done(error), true));
        }
        let sent = |checkout: &Checkout| {
            checkout
                .connection()
                .map_or(0, |connection| connection.traffic.sent())
        };
        let before = sent(&checkout);
        let result = match scope {
            Scope::Statements => self.run_statements(&checkout, run, progress).await,
            Scope::Transaction => self.run_transaction(&checkout, query, run, progress).await,
        };
        checkout.end();
        match result {
            Ok(value) => {
                let now = self.clock.now();
                server.latency.note(now.since(started));
                server.gate.succeeded(now);
                Ok((value, self.token_after(&checkout, asks).await))
            }
            Err((error, outcome)) => {
                judge(&checkout, &error, started, self.clock);
                self.note_read_only(&checkout, &error);
                let lost = matches!(&error, Error::Database { source, .. } if source.code().is_none() && is_lost(&checkout, source));
                let unsent = lost && sent(&checkout) == before;
                let outcome = if unsent { WriteOutcome::NotDone } else { outcome };
                Err((error.of_write(outcome), unsent))
            }
        }
    }

    async fn run_statements<T, F, R>(
        &self,
        checkout: &Arc<Checkout>,
        run: &F,
        progress: &Progress,
    ) -> Result<T, (Error, WriteOutcome)>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        progress.sent.store(true, Ordering::Release);
        let result = run(checkout.session()).await;
        result.map_err(|error| {
            let nothing = checkout.begun() == 0 || (is_refusal(&error) && checkout.begun() == 1);
            let outcome = if nothing {
                WriteOutcome::NotDone
            } else {
                WriteOutcome::Unknown
            };
            (error, outcome)
        })
    }

    async fn run_transaction<T, F, R>(
        &self,
        checkout: &Arc<Checkout>,
        query: &Query,
        run: &F,
        progress: &Progress,
    ) -> Result<T, (Error, WriteOutcome)>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let not_done = |error| (error, WriteOutcome::NotDone);
        // The session says that it may write: a standby refuses a transaction that says so itself with another error than 25006.
        let begin = if query.read_only {
            "BEGIN READ ONLY"
        } else {
            "BEGIN"
        };
        checkout.say(begin).await.map_err(not_done)?;
        let result = run(checkout.session()).await;
        checkout.end();
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                // Where this fails, the end of the connection does it.
                let _ = checkout.say("ROLLBACK").await;
                return Err(not_done(error));
            }
        };
        progress.sent.store(true, Ordering::Release);
        checkout.say("COMMIT").await.map_err(|error| {
            // A check that is deferred to the end, a serialization failure.
            let outcome = if is_refusal(&error) {
                WriteOutcome::NotDone
            } else {
                WriteOutcome::Unknown
            };
            (error, outcome)
        })?;
        let rolled_back = |connection: &Connection| connection.traffic.was_rolled_back();
        if checkout.connection().is_some_and(rolled_back) {
            return Err(not_done(Error::Aborted));
        }
        Ok(value)
    }

    /// Where the log is after a write that was done; `None`: it was not asked for, or cannot be told.
    async fn token_after(&self, checkout: &Checkout, asks: bool) -> Option<Token> {
        // Behind a pooler another server may answer.
        let direct = checkout.connection().is_some_and(|connection| !connection.pooled);
        if !asks || !direct {
            return None;
        }
        checkout.position().await.ok().flatten().and_then(Position::token)
    }

    /// A server that takes no writes although the table says so: its connections are not used again.
    fn note_read_only(&self, checkout: &Checkout, error: &Error) {
        if error.sqlstate() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
            Counts::count(&self.counts.read_only);
            checkout.spoil();
            checkout.server.close_idle();
            self.ask_for_table();
        }
    }
}

/// The server refused a statement as a whole, and says that nothing of it was done: an error that does not end the session.
fn is_refusal(error: &Error) -> bool {
    let Error::Database { source, .. } = error else {
        return false;
    };
    source.as_db_error().is_some_and(|said| {
        let unknown = *said.code() == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN;
        said.parsed_severity() == Some(Severity::Error) && !unknown
    })
}
