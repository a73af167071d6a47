//! Writes and transactions: on the server of `rw`, and sent again only while no byte of them was sent.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::timeout;
use tokio_postgres::error::{Severity, SqlState};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use distributary_core::Moment;
use distributary_core::table::named::WRITES;

use crate::checkout::Checkout;
use crate::connection::{Access, Connection};
use crate::error::{Error, FailureReason, TargetFailure, WriteOutcome};
use crate::query::Query;
use crate::routes::Picker;
use crate::server::Server;
use crate::session::Session;
use crate::shared::{Counts, PATIENCE, Shared, is_lost, judge, note_error};
use crate::snapshot::Snapshot;
use crate::token::{Position, Token};
use crate::wire::seen::{self, Seen};

/// From one attempt to reach the primary to the next one, where no newer table comes.
const PAUSE: Duration = Duration::from_millis(50);
/// The question for a token has the rest of the deadline, and so long at least.
const TOKEN: Duration = Duration::from_millis(50);

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
struct Progress {
    /// Of the newest attempt that came to its closure.
    seen: ArcSwapOption<Seen>,
    /// Its own: where that is disabled, the current one is of the program, and nothing is recorded there.
    span: Span,
}

impl Progress {
    /// From here on what goes over the connection is that of the closure.
    fn begin(&self, checkout: &Checkout) -> Arc<Seen> {
        let seen = Arc::<Seen>::default();
        if let Some(connection) = checkout.connection() {
            connection.traffic.watch(Some(Arc::clone(&seen)));
        }
        self.seen.store(Some(Arc::clone(&seen)));
        seen
    }

    fn outcome(&self, scope: Scope) -> WriteOutcome {
        let changes = match scope {
            Scope::Statements => seen::BEGUN,
            Scope::Transaction => seen::COMMITTING | seen::ENDS,
        };
        let seen = self.seen.load();
        known_not_done(!seen.as_ref().is_some_and(|seen| seen.any(changes)))
    }
}

/// A write that was done, on its connection.
type Done<T> = (T, Checkout);

const fn known_not_done(known: bool) -> WriteOutcome {
    if known {
        WriteOutcome::NotDone
    } else {
        WriteOutcome::Unknown
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
        let route = self.snapshot().table.route(&query.request()).map(drop);
        route.map_err(|error| Error::from(error).of_write(WriteOutcome::NotDone))?;
        let started = self.clock.now();
        let span = tracing::debug_span!(
            "write",
            operation = query.operation_name(),
            transaction = scope == Scope::Transaction,
            endpoint = Empty,
            error = Empty
        );
        let progress = Progress {
            seen: ArcSwapOption::default(),
            span: span.clone(),
        };
        let attempts = self.attempts_to_write(query, scope, run, &progress);
        let written = self.within(query, attempts.instrument(span.clone())).await;
        let written = written.map_err(|error| match error {
            Error::Deadline { .. } => error.of_write(progress.outcome(scope)),
            error => error,
        });
        note_error(&span, written.as_ref().err());
        let (value, checkout) = written?;
        if !asks {
            return Ok((value, None));
        }
        // The write is done, whatever becomes of this.
        let limit = query.deadline.unwrap_or(self.deadline);
        let left = limit.saturating_sub(self.clock.now().since(started)).max(TOKEN);
        let token = timeout(left, token_after(&checkout)).await;
        Ok((value, token.ok().flatten()))
    }

    async fn attempts_to_write<T, F, R>(
        &self,
        query: &Query,
        scope: Scope,
        run: &F,
        progress: &Progress,
    ) -> Result<Done<T>, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let until = self.clock.now() + PATIENCE;
        loop {
            let mut changes = self.changes();
            let error = match self.attempt_to_write(query, scope, run, progress).await {
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
        scope: Scope,
        run: &F,
        progress: &Progress,
    ) -> Result<Done<T>, (Error, bool)>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let started = self.clock.now();
        let reached = self.reach(query, started).await;
        let (server, checkout) = reached.map_err(|error| (error.of_write(WriteOutcome::NotDone), true))?;
        progress.span.record("endpoint", server.id.as_str());
        let sent = |checkout: &Checkout| {
            checkout
                .connection()
                .map_or(0, |connection| connection.traffic.sent())
        };
        let before = sent(&checkout);
        let running = async {
            match scope {
                Scope::Statements => self.run_statements(&checkout, run, progress).await,
                Scope::Transaction => self.run_transaction(&checkout, query, run, progress).await,
            }
        };
        let result = self.notice_silence(&server, running).await;
        checkout.end();
        match result {
            Ok(value) => {
                let now = self.clock.now();
                server.latency.note(now.since(started));
                server.gate.succeeded(now);
                Ok((value, checkout))
            }
            Err((error, outcome)) => {
                judge(&checkout, &error, started, self.clock);
                let asked_for = scope == Scope::Transaction && query.read_only;
                if !asked_for {
                    self.note_read_only(&checkout, &error);
                }
                let lost = matches!(error.cause(), Error::Database { source, .. } if source.code().is_none() && is_lost(&checkout, source));
                let unsent = lost && sent(&checkout) == before;
                let outcome = if unsent { WriteOutcome::NotDone } else { outcome };
                Err((error.of_write(outcome), unsent))
            }
        }
    }

    /// A connection to whoever takes the writes, made ready; nothing of the write was sent. Where they move while it is waited for, to the
    /// new one.
    async fn reach(&self, query: &Query, started: Moment) -> Result<(Arc<Server>, Checkout), Error> {
        loop {
            let snapshot = self.snapshot();
            let Some(server) = snapshot.picker(WRITES).and_then(|picker| picker.pick(&[], None)) else {
                return Err(Self::nobody(&snapshot, WRITES, Vec::new()));
            };
            tokio::select! {
                biased;
                ready = self.made_ready(server, query, started) => {
                    return ready.map(|checkout| (Arc::clone(server), checkout));
                }
                () = self.moved(&snapshot, server) => {}
            }
        }
    }

    async fn made_ready(
        &self,
        server: &Arc<Server>,
        query: &Query,
        started: Moment,
    ) -> Result<Checkout, Error> {
        let limit = query.deadline.unwrap_or(self.deadline);
        let object = server.checkout(limit).await.map_err(|reason| {
            if let FailureReason::Failed(kind) = reason {
                server.failed(kind, started);
            }
            let endpoint = server.id.clone();
            Error::Connect(TargetFailure { endpoint, reason })
        })?;
        let checkout = Checkout::new(server, object);
        let connection = checkout.connection().ok_or(Error::SessionEnded)?;
        let program = &self.settings.application_name;
        let preparation = connection.preparation(Access::ReadWrite, program, query.operation_name());
        if let Some(preparation) = preparation {
            let said = checkout.say(&preparation.statements).await;
            if let Err(error) = said {
                judge(&checkout, &error, started, self.clock);
                return Err(error);
            }
        }
        Ok(checkout)
    }

    /// Returns when another server takes the writes than this one.
    async fn moved(&self, snapshot: &Arc<Snapshot>, server: &Arc<Server>) {
        let mut known = Arc::clone(snapshot);
        loop {
            self.newer_than(&known).await;
            known = self.snapshot();
            let taken: Vec<_> = known
                .picker(WRITES)
                .into_iter()
                .flat_map(Picker::targets)
                .collect();
            // Where nobody takes them, this one may again.
            if !taken.is_empty() && !taken.iter().any(|target| Arc::ptr_eq(target, server)) {
                return;
            }
        }
    }

    /// The result of a write. A silent server is suspected meanwhile, so that others go elsewhere and whoever decides looks at it; the
    /// write is not sent again, and waits on.
    async fn notice_silence<T>(&self, server: &Arc<Server>, running: impl Future<Output = T>) -> T {
        let mut running = pin!(running);
        tokio::select! {
            biased;
            result = &mut running => return result,
            () = server.falls_silent(self.clock.now()) => self.ask_for_table_sometimes(),
        }
        running.await
    }

    async fn run_statements<T, F, R>(
        &self,
        checkout: &Checkout,
        run: &F,
        progress: &Progress,
    ) -> Result<T, (Error, WriteOutcome)>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let seen = progress.begin(checkout);
        let result = run(checkout.session()).await;
        result.map_err(|error| {
            let refused = is_refusal(&error) && !checkout.is_busy();
            // Refused before anything was carried out; or one statement that is done as a whole or not at all.
            let nothing = checkout.begun() == 0
                || (refused && !seen.any(seen::EXECUTED))
                || (refused
                    && checkout.begun() == 1
                    && seen.any(seen::TEXT)
                    && !seen.any(seen::PARTIAL | seen::CHANGED));
            (error, known_not_done(nothing))
        })
    }

    async fn run_transaction<T, F, R>(
        &self,
        checkout: &Checkout,
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
        let seen = progress.begin(checkout);
        let result = run(checkout.session()).await;
        checkout.end();
        let open = is_open(checkout, &seen);
        let value = match result {
            Ok(value) if open => value,
            Ok(_) => {
                checkout.spoil();
                return Err((Error::TransactionEnded, WriteOutcome::Unknown));
            }
            Err(error) if open => {
                // Where this fails, the end of the connection does it.
                let _ = checkout.say("ROLLBACK").await;
                return Err(not_done(error));
            }
            Err(error) => {
                checkout.spoil();
                return Err((error, WriteOutcome::Unknown));
            }
        };
        seen.mark(seen::COMMITTING);
        checkout.say("COMMIT").await.map_err(|error| {
            // A check that is deferred to the end, a serialization failure.
            let outcome = known_not_done(is_refusal(&error));
            (error, outcome)
        })?;
        let rolled_back = |connection: &Connection| connection.traffic.was_rolled_back();
        if checkout.connection().is_some_and(rolled_back) {
            return Err(not_done(Error::Aborted));
        }
        Ok(value)
    }

    /// A server that takes no writes although the table says so: its connections are not used again.
    fn note_read_only(&self, checkout: &Checkout, error: &Error) {
        if error.sqlstate() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
            Counts::count(&self.counts.read_only);
            checkout.spoil();
            checkout.server().close_idle();
            self.ask_for_table();
        }
    }
}

/// Whether the transaction that was begun for a closure is still open.
fn is_open(checkout: &Checkout, seen: &Seen) -> bool {
    let Some(traffic) = checkout.connection().map(|connection| &connection.traffic) else {
        return false;
    };
    // What is not answered may have ended it.
    let in_doubt = seen.any(seen::ENDS) && (checkout.is_busy() || traffic.waits());
    traffic.in_transaction() && !seen.any(seen::ENDED) && !in_doubt
}

/// Where the log is after a write that was done; `None`: it cannot be told.
async fn token_after(checkout: &Checkout) -> Option<Token> {
    // Behind a pooler another server may answer.
    let direct = checkout.connection().is_some_and(|connection| !connection.pooled);
    if !direct {
        return None;
    }
    checkout.position().await.ok().flatten().and_then(Position::token)
}

/// The server refused a statement as a whole: an error that does not end the session, and says nothing of the server itself.
fn is_refusal(error: &Error) -> bool {
    let Error::Database { source, .. } = error.cause() else {
        return false;
    };
    source.as_db_error().is_some_and(|said| {
        let code = said.code().code();
        let unknown = *said.code() == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
            || ["08", "57P", "58", "XX"]
                .iter()
                .any(|class| code.starts_with(class));
        said.parsed_severity() == Some(Severity::Error) && !unknown
    })
}
