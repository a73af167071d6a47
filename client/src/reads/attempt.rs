//! One attempt of a read: its connection, its token, the closure.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use deadpool::managed::Object;
use futures::future::join;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, poll};

use parking_lot::Mutex;
use tokio_postgres::error::SqlState;
use tracing::Span;

use distributary_core::Moment;

use super::attempts::{From, UnderWay};
use super::lag::LagWait;
use crate::checkout::Checkout;
use crate::connection::{Access, Opener};
use crate::error::{Error, FailureReason, TargetFailure};
use crate::query::Query;
use crate::server::Server;
use crate::session::Session;
use crate::shared::{Shared, Verdict, judge};
use crate::snapshot::Snapshot;

/// How an attempt ended.
pub enum Ended<T> {
    Done(T),
    /// No other attempt can help.
    Failed(Error),
    /// Another target may serve.
    Elsewhere(FailureReason, Error),
    /// All connections of its target are in use.
    Full,
    /// It got no connection, so the closure did not begin.
    Unreached(Vec<TargetFailure>),
}

/// A read, whatever tables it goes by.
pub struct Reading<'a, F> {
    pub query: &'a Query,
    pub run: &'a F,
    pub limit: Duration,
    pub started: Moment,
    /// Its deadline.
    pub until: Moment,
    /// Until when replicas are waited for; set by the first one that is.
    pub token_wait: OnceLock<Moment>,
    pub lag_wait: LagWait,
    /// Its attempts.
    pub under_way: Mutex<UnderWay>,
    /// Its own: where that is disabled, the current one is of the program, and nothing is recorded there.
    pub span: Span,
}

impl<F> Reading<'_, F> {
    /// Its deadline has passed.
    pub const fn overdue(&self) -> Error {
        Error::Deadline { after: self.limit }
    }
}

impl Shared {
    /// One attempt, which begins at `started`: its number, the target where it was one, and how it ended.
    pub async fn attempt<'a, T, F, R>(
        &self,
        from: From<'a>,
        number: u32,
        reading: &Reading<'_, F>,
        (snapshot, kind, started): (&Snapshot, Option<&str>, Moment),
    ) -> (u32, Option<&'a Arc<Server>>, Ended<T>)
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let (server, object) = match self.connect(from, reading.limit, started).await {
            Ok(connected) => connected,
            Err((server, ended)) => return (number, server, ended),
        };
        let checkout = Checkout::new(server, object);
        reading.under_way.lock().connected(number, checkout.desk());
        let result = self.run_read(&checkout, reading).await;
        checkout.end();
        let ended = match result {
            Ok(value) => {
                let now = self.clock.recently();
                server.latency.note(now.since(started));
                server.gate.succeeded(now);
                server.kinds.succeeded(kind, now);
                Ended::Done(value)
            }
            Err(Error::Connect(failure)) if failure.reason.is_of_age() => {
                Ended::Elsewhere(failure.reason, Error::Connect(failure))
            }
            Err(error) => {
                let now = self.clock.now();
                match (kind, error.sqlstate()) {
                    (Some(kind), Some(state)) if is_failing(state) => {
                        server.kinds.failed(kind, &snapshot.rules, started, now);
                    }
                    (kind, Some(_)) => server.kinds.succeeded(kind, now),
                    _ => {}
                }
                match judge(&checkout, &error, started, self.clock) {
                    // Not after the first answer: what the closure made of it may be known already.
                    Verdict::Elsewhere(reason) if checkout.answered() == 0 => Ended::Elsewhere(reason, error),
                    Verdict::Elsewhere(_) | Verdict::Final => Ended::Failed(error),
                }
            }
        };
        (number, Some(server), ended)
    }

    /// A connection, or why there is none. Of one target it is not waited for while others may have one.
    async fn connect<'a, T>(
        &self,
        from: From<'a>,
        limit: Duration,
        started: Moment,
    ) -> Result<Connected<'a>, Unconnected<'a, T>> {
        let server = match from {
            From::One(server) => server,
            // Rare, and would make each read larger.
            From::FirstFree(servers) => {
                let got = Box::pin(first_free(servers, limit, started)).await;
                return got.map_err(|failures| (None, Ended::Unreached(failures)));
            }
        };
        match server.checkout(Duration::ZERO).await {
            Ok(object) => Ok((server, object)),
            Err(FailureReason::PoolFull) => Err((Some(server), Ended::Full)),
            Err(reason) => {
                let failed = unreached(server, reason, started);
                Err((Some(server), Ended::Unreached(vec![failed])))
            }
        }
    }

    async fn run_read<T, F, R>(&self, checkout: &Checkout, reading: &Reading<'_, F>) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let Reading { query, run, .. } = *reading;
        let connection = checkout.connection().ok_or(Error::SessionEnded)?;
        let (pooled, program) = (connection.pooled, &self.settings.application_name);
        let is_plain = !pooled && query.token.is_none() && query.max_lag.is_none();
        match connection.preparation(Access::ReadOnly, program, query.operation_name()) {
            None => {}
            // Rare where a program does much of one kind, and would make each read larger.
            Some(named) if is_plain && named.only_names => {
                return Box::pin(run_named(checkout, &named.statements, run)).await;
            }
            Some(preparation) => checkout.say(&preparation.statements).await?,
        }
        // Both are rare, and would make each read larger. Behind a pooler nothing proves a token, and the primary is all that can be asked for.
        if let Some(token) = query.token.filter(|_| !(query.newest && pooled)) {
            Box::pin(self.await_token(checkout, token, &reading.token_wait)).await?;
        }
        if let Some(most) = query.max_lag {
            Box::pin(self.await_lag(checkout, most, &reading.lag_wait)).await?;
        }
        if !pooled {
            return run(checkout.session()).await;
        }
        checkout.say("BEGIN READ ONLY").await?;
        let result = run(checkout.session()).await;
        checkout.end();
        // A read has nothing to keep.
        checkout.say("ROLLBACK").await?;
        result
    }
}

/// Runs a closure whose session is named meanwhile: that is sent first, and not waited for.
async fn run_named<T, F, R>(checkout: &Checkout, naming: &str, run: &F) -> Result<T, Error>
where
    F: Fn(Session) -> R,
    R: Future<Output = Result<T, Error>>,
{
    let mut naming = pin!(checkout.say_beside(naming));
    if let Poll::Ready(said) = poll!(naming.as_mut()) {
        said?;
        return run(checkout.session()).await;
    }
    let (said, result) = join(naming, run(checkout.session())).await;
    said?;
    result
}

/// The server carried out what the operation asks for, and failed: for want of a resource, by an error of its own, or by a limit of time.
fn is_failing(state: &SqlState) -> bool {
    let code = state.code();
    let classes = ["53", "58", "XX"];
    *state == SqlState::QUERY_CANCELED
        || (*state != SqlState::TOO_MANY_CONNECTIONS && classes.iter().any(|class| code.starts_with(class)))
}

/// A server and a connection of its pool.
type Connected<'a> = (&'a Arc<Server>, Object<Opener>);
/// The target, where it was one, and how the attempt ended.
type Unconnected<'a, T> = (Option<&'a Arc<Server>>, Ended<T>);

/// A connection of the first of these that has a free one within `limit`, or why none has.
async fn first_free(
    servers: Vec<&Arc<Server>>,
    limit: Duration,
    started: Moment,
) -> Result<Connected<'_>, Vec<TargetFailure>> {
    let waiting = servers.iter().enumerate().map(|(at, server)| {
        let server = Arc::clone(server);
        async move { (at, server.checkout(limit).await) }
    });
    let mut waiting: FuturesUnordered<_> = waiting.collect();
    let mut failures = Vec::new();
    while let Some((at, got)) = waiting.next().await {
        let server = servers[at];
        match got {
            Ok(object) => return Ok((server, object)),
            Err(reason) => failures.push(unreached(server, reason, started)),
        }
    }
    Err(failures)
}

pub fn failure(server: &Server, reason: FailureReason) -> TargetFailure {
    TargetFailure {
        endpoint: server.id.clone(),
        reason,
    }
}

/// No connection could be had of a server.
fn unreached(server: &Arc<Server>, reason: FailureReason, started: Moment) -> TargetFailure {
    if let FailureReason::Failed(kind) = reason {
        server.failed(kind, started);
    }
    failure(server, reason)
}
