//! Reads: an attempt, and others beside it or after it, on other targets.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use distributary_core::policy::DeclaredRole;
use distributary_core::table::named::WRITES;
use distributary_probe::Clock;

use crate::connection::Access;
use crate::error::{Error, FailureReason, TargetFailure};
use crate::query::Query;
use crate::routes::Picker;
use crate::server::Server;
use crate::session::{Checkout, Freshness, Session};
use crate::shared::{Counts, PATIENCE, Shared, Verdict, judge};
use crate::snapshot::Snapshot;
use crate::token::{self, Judged, Token};

/// A replica that is not at a token yet is waited for for so long at most, and asked again after each pause.
const TOKEN_WAIT: Duration = Duration::from_millis(100);
const TOKEN_PAUSE: Duration = Duration::from_millis(5);

/// How an attempt ended.
enum Ended<T> {
    Done(T),
    /// No other attempt can help.
    Failed(Error),
    /// Another target may serve.
    Elsewhere(FailureReason, Error),
}

/// The attempts of one read.
struct Attempts<'a> {
    snapshot: &'a Snapshot,
    route: &'a str,
    /// Those that are not tried again.
    tried: Vec<Arc<Server>>,
    /// Those whose pool was full.
    full: Vec<Arc<Server>>,
    reasons: Vec<TargetFailure>,
    /// The read must be as new as a token.
    token: bool,
    /// Further attempts that there may be.
    left: u8,
}

impl Attempts<'_> {
    fn next(&mut self) -> Option<Arc<Server>> {
        let turn = |picker: &Picker<Server>| picker.pick(&self.tried).cloned();
        let server = self.pickers().find_map(turn)?;
        self.tried.push(Arc::clone(&server));
        Some(server)
    }

    /// Of the route; where no replica is as new as a token, the primary.
    fn pickers(&self) -> impl Iterator<Item = &Picker<Server>> {
        let primary = self.token.then(|| self.snapshot.picker(WRITES)).flatten();
        self.snapshot.picker(self.route).into_iter().chain(primary)
    }

    /// A target for another attempt, where one may be made.
    fn another(&mut self, shared: &Shared) -> Option<Arc<Server>> {
        if self.left == 0 || !self.has_other() || !shared.budget.spend(shared.clock.now()) {
            return None;
        }
        self.left -= 1;
        Counts::count(&shared.counts.retries);
        self.next()
    }

    fn has_other(&self) -> bool {
        self.pickers().any(|picker| picker.has_other(&self.tried))
    }

    fn note(&mut self, server: &Server, reason: FailureReason) {
        self.reasons.push(TargetFailure {
            endpoint: server.id.clone(),
            reason,
        });
    }
}

impl Shared {
    /// The result of a read, by the table of this moment; where nobody is left, by newer ones.
    pub async fn read<T, F, R>(&self, query: &Query, run: &F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        Counts::count(&self.counts.reads);
        self.budget.earn();
        let until = self.clock.now() + PATIENCE;
        loop {
            let mut changes = self.changes();
            let snapshot = self.snapshot();
            let failed = match self.read_by(&snapshot, query, run).await {
                Err(failed @ Error::NobodyLeft { .. }) => failed,
                result => return result,
            };
            let left = until.since(self.clock.now());
            if !matches!(timeout(left, changes.changed()).await, Ok(Ok(()))) {
                return Err(failed);
            }
        }
    }

    async fn read_by<T, F, R>(&self, snapshot: &Snapshot, query: &Query, run: &F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let choice = snapshot.table.route(&query.request())?;
        let mut attempts = Attempts {
            snapshot,
            route: choice.route,
            tried: Vec::new(),
            full: Vec::new(),
            reasons: Vec::new(),
            token: query.token.is_some(),
            left: snapshot.table.retry_attempts,
        };
        let limit = query.deadline.unwrap_or(self.deadline);
        let share = limit / (u32::from(attempts.left) + 1);
        let start = |server: Arc<Server>, wait| {
            let silence = Arc::clone(&server).falls_silent();
            let beside = server.latency.p99().max(share);
            (
                self.attempt(server, wait, query, run),
                silence,
                Clock::sleep(beside),
            )
        };
        let (mut running, mut silences) = (FuturesUnordered::new(), FuturesUnordered::new());
        let Some(first) = attempts.next() else {
            return Err(Self::nobody(snapshot, choice.route, attempts.reasons));
        };
        let (attempt, silence, beside) = start(first, Duration::ZERO);
        let mut beside = Box::pin(beside);
        running.push(attempt);
        silences.push(silence);
        loop {
            // Whether a target may be tried beside those that are under way.
            let mut waits = Duration::ZERO;
            let next = tokio::select! {
                biased;
                Some((server, ended)) = running.next() => match ended {
                    Ended::Done(value) => {
                        self.note_server(snapshot, &server);
                        return Ok(value);
                    }
                    Ended::Failed(error) => return Err(error),
                    Ended::Elsewhere(FailureReason::PoolFull, _) if !attempts.full.iter().any(|full| Arc::ptr_eq(full, &server)) => {
                        // It costs no attempt to look elsewhere first.
                        attempts.full.push(Arc::clone(&server));
                        let other = if attempts.has_other() { attempts.next() } else { None };
                        match other {
                            Some(other) => Some(other),
                            None if running.is_empty() => {
                                waits = limit;
                                attempts.full.first().cloned()
                            }
                            None => None,
                        }
                    }
                    Ended::Elsewhere(reason, error) => {
                        attempts.note(&server, reason);
                        // A replica that is not as new as a token has not failed.
                        let next = if reason == FailureReason::TooOld { attempts.next() } else { attempts.another(self) };
                        if next.is_none() && running.is_empty() {
                            if attempts.has_other() {
                                // There are others, and no attempt is left for them.
                                return Err(error);
                            }
                            return Err(Self::nobody(snapshot, choice.route, attempts.reasons));
                        }
                        next
                    }
                },
                Some(()) = silences.next() => attempts.another(self),
                () = &mut beside, if attempts.left > 0 && attempts.has_other() => {
                    beside.set(Clock::sleep(share.max(Duration::from_millis(1))));
                    attempts.another(self)
                }
            };
            if let Some(server) = next {
                let (attempt, silence, later) = start(server, waits);
                running.push(attempt);
                silences.push(silence);
                beside = Box::pin(later);
            }
        }
    }

    fn note_server(&self, snapshot: &Snapshot, server: &Server) {
        let mut endpoints = snapshot.table.endpoints.iter();
        let is_replica = endpoints
            .find(|endpoint| endpoint.id == server.id)
            .is_some_and(|endpoint| endpoint.declared == DeclaredRole::Replica);
        if is_replica {
            Counts::count(&self.counts.by_replicas);
        }
    }

    async fn attempt<T, F, R>(
        &self,
        server: Arc<Server>,
        wait: Duration,
        query: &Query,
        run: &F,
    ) -> (Arc<Server>, Ended<T>)
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let started = self.clock.now();
        let object = match server.checkout(wait).await {
            Ok(object) => object,
            Err(reason) => {
                if let FailureReason::Failed(kind) = reason {
                    server.failed(kind, started);
                }
                let error = Error::Connect(TargetFailure {
                    endpoint: server.id.clone(),
                    reason,
                });
                return (server, Ended::Elsewhere(reason, error));
            }
        };
        let checkout = Checkout::new(&server, object, self.cancels.clone());
        let result = self.run_read(&checkout, query, run).await;
        checkout.end();
        let ended = match result {
            Ok(value) => {
                let now = self.clock.now();
                server.latency.note(now.since(started));
                server.gate.succeeded(now);
                Ended::Done(value)
            }
            Err(
                error @ Error::Connect(TargetFailure {
                    reason: FailureReason::TooOld,
                    ..
                }),
            ) => Ended::Elsewhere(FailureReason::TooOld, error),
            Err(error) => match judge(&checkout, &error, started, self.clock) {
                // Not after the first answer: what the closure made of it may be known already.
                Verdict::Elsewhere(reason) if checkout.answered() == 0 => Ended::Elsewhere(reason, error),
                Verdict::Elsewhere(_) | Verdict::Final => Ended::Failed(error),
            },
        };
        (server, ended)
    }

    async fn run_read<T, F, R>(&self, checkout: &Arc<Checkout>, query: &Query, run: &F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let pooled = checkout.connection().is_some_and(|connection| connection.pooled);
        self.prepare(checkout, Access::ReadOnly, query).await?;
        if let Some(token) = query.token {
            self.await_token(checkout, token).await?;
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

    /// Returns once the server is at the token.
    async fn await_token(&self, checkout: &Checkout, token: Token) -> Result<(), Error> {
        let too_old = || {
            Error::Connect(TargetFailure {
                endpoint: checkout.server.id.clone(),
                reason: FailureReason::TooOld,
            })
        };
        // What is asked next may be answered by another server than this was.
        if checkout.connection().is_none_or(|connection| connection.pooled) {
            return Err(too_old());
        }
        let until = self.clock.now() + TOKEN_WAIT;
        loop {
            let seen = checkout.position().await?.ok_or_else(too_old)?;
            match token::judge(token, seen) {
                Judged::Fresh => break checkout.set_freshness(Freshness::Proven),
                Judged::Unproven => break checkout.set_freshness(Freshness::Unproven),
                Judged::Forged => {
                    Counts::count(&self.counts.forged_tokens);
                    break;
                }
                Judged::Behind if seen.standby && self.clock.now() < until => Clock::sleep(TOKEN_PAUSE).await,
                Judged::Behind => {
                    if !seen.standby {
                        self.ask_for_table();
                    }
                    return Err(too_old());
                }
                Judged::Elsewhere => return Err(too_old()),
                Judged::OtherSystem => {
                    return Err(Error::OtherDatabase {
                        token: token.system_identifier(),
                        server: seen.system_identifier,
                    });
                }
            }
        }
        Ok(())
    }

    /// Makes the session what the request needs.
    pub async fn prepare(&self, checkout: &Checkout, access: Access, query: &Query) -> Result<(), Error> {
        let Some(connection) = checkout.connection() else {
            return Err(Error::SessionEnded);
        };
        match connection.preparation(access, &self.settings.application_name, query.operation_name()) {
            None => Ok(()),
            Some(statements) => checkout.say(&statements).await,
        }
    }
}
