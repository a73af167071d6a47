//! Reads: an attempt, and others beside it or after it, on other targets.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::coop::unconstrained;
use tokio::time::timeout;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, Level, Span};

use distributary_core::Moment;
use distributary_core::policy::DeclaredRole;
use distributary_core::routing::Destination;
use distributary_core::table::named::WRITES;
use distributary_core::table::{NoRoute, RouteChoice};

use crate::error::Error;
use crate::query::Query;
use crate::server::Server;
use crate::session::Session;
use crate::shared::{Counts, PATIENCE, Shared, note_error};
use crate::snapshot::Snapshot;

mod age;
mod attempt;
mod attempts;
mod few;
mod lag;
mod watch;

use attempt::{Ended, Reading, failure};
use attempts::{Attempts, From, Numbered, Whom};
use few::{Few, Running};
use watch::Watch;

/// From one round of attempts of which nobody served to the next one, where no newer table comes.
const PAUSE: Duration = Duration::from_millis(50);

/// What a read has cost.
#[derive(Default)]
struct Effort {
    /// Second attempts.
    spent: u8,
    /// Another round may follow although there is no newer table.
    again: bool,
}

impl Shared {
    /// The result of a read, by the table of this moment; where nobody is left, by newer ones, or once more.
    pub async fn read<T, F, R>(&self, query: &Query, run: &F) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        Counts::count(&self.counts.reads);
        self.budget.earn();
        let limit = query.deadline.unwrap_or(self.deadline);
        let started = self.clock.now();
        let reading = Reading {
            query,
            run,
            limit,
            started,
            until: started + limit,
            token_wait: OnceLock::new(),
            lag_wait: lag::LagWait::default(),
            under_way: Mutex::default(),
            span: span(query),
        };
        let result = self.rounds(&reading).instrument(reading.span.clone()).await;
        note_error(&reading.span, result.as_ref().err());
        result
    }

    async fn rounds<T, F, R>(&self, reading: &Reading<'_, F>) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let patience = reading.started + PATIENCE;
        let (mut effort, mut now) = (Effort::default(), reading.started);
        loop {
            let snapshot = self.snapshot();
            let failed = match self.read_by(&snapshot, reading, &mut effort, now).await {
                Err(failed @ Error::NobodyLeft { .. }) => failed,
                result => return result,
            };
            now = self.clock.now();
            let left = patience.since(now);
            let pause = if effort.again { left.min(PAUSE) } else { left };
            let pause = pause.min(reading.until.since(now));
            let is_newer = timeout(pause, self.newer_than(&snapshot)).await.is_ok();
            now = self.clock.now();
            let goes_on = is_newer || (effort.again && now < patience);
            if !goes_on || now >= reading.until {
                return Err(failed);
            }
        }
    }

    /// The deadline of a read has passed: it counts against those that owe it an answer.
    fn note_overdue<F>(&self, reading: &Reading<'_, F>, snapshot: &Snapshot, kind: Option<&str>) {
        let Some(kind) = kind else { return };
        let under_way = reading.under_way.lock();
        for desk in under_way.desks().filter(|desk| desk.owes()) {
            let (kinds, now) = (&desk.server.kinds, self.clock.now());
            kinds.failed(kind, &snapshot.rules, reading.started, now);
        }
    }

    async fn read_by<T, F, R>(
        &self,
        known: &Arc<Snapshot>,
        reading: &Reading<'_, F>,
        effort: &mut Effort,
        mut now: Moment,
    ) -> Result<T, Error>
    where
        F: Fn(Session) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let snapshot: &Snapshot = known;
        let choice = route(snapshot, reading.query)?;
        reading.span.record("route", choice.route);
        let most = snapshot.table.retry_attempts;
        let mut attempts = Attempts::new(snapshot, &choice, reading.query, &reading.under_way);
        let mut watch = Watch::new(reading.until, reading.limit / (u32::from(most) + 1));
        let place = pin!(None);
        let (mut running, mut silences) = (Running::new(place), Few::new());
        let (mut alarm, mut is_silent) = (self.alarms.lend(), false);
        // The program's own error, or one that came after an answer: it counts where no other attempt succeeds.
        let mut own = None;
        let mut next = attempts.next(Whom::Anybody);
        loop {
            let may_hedge = own.is_none() && effort.spent < most;
            if let Some(from) = next.take() {
                let (number, looked_after) = attempts.begin(&from, &mut watch, now);
                silences.extend(looked_after.into_iter().map(silence));
                running.push(self.attempt(from, number, reading, (snapshot, attempts.kind, now)));
                let hedges = may_hedge && attempts.has_other(Whom::OfRoute);
                alarm.set(watch.left(hedges, now));
            }
            if running.is_empty() {
                return Err(self.nobody_of(snapshot, &choice, attempts, effort));
            }
            tokio::select! {
                biased;
                (number, server, ended) = running.next() => {
                    attempts.end(number, server);
                    // A failure of an attempt that had a connection: another one is a second attempt.
                    let mut lost = None;
                    match ended {
                        Ended::Done(value) => {
                            if let Some(server) = server {
                                reading.span.record("endpoint", server.id.as_str());
                                self.note_server(snapshot, server);
                            }
                            reading.span.record("second_attempts", effort.spent);
                            return Ok(value);
                        }
                        Ended::Failed(error) => own = own.or(Some(error)),
                        Ended::Full => attempts.full.extend(server),
                        Ended::Unreached(failures) => {
                            attempts.reasons.extend(failures);
                            if server.is_none() {
                                attempts.full.clear();
                            }
                        }
                        Ended::Elsewhere(reason, error) => {
                            attempts.reasons.extend(server.map(|server| failure(server, reason)));
                            // A replica that is not as new as a token has not failed.
                            lost = Some(error).filter(|_| !reason.is_of_age());
                            attempts.had_connection |= lost.is_some();
                        }
                    }
                    if own.is_none() && attempts.are_unanswered() {
                        next = self.another(&mut attempts, &mut lost, effort, most);
                        now = self.clock.now();
                        own = lost.filter(|_| next.is_none() && running.is_empty());
                    }
                    if next.is_none() && running.is_empty() && let Some(own) = own {
                        return Err(own);
                    }
                }
                number = silences.next() => {
                    is_silent = true;
                    let whom = attempts.whom();
                    let hedges = own.is_none() && attempts.is_under_way(number) && attempts.are_unanswered();
                    // Without a connection it was no attempt yet.
                    let is_free = !attempts.is_connected(number);
                    if hedges && attempts.has_other(whom) && (is_free || self.spend(effort, most)) {
                        next = attempts.next(whom);
                        now = self.clock.now();
                    }
                }
                // By a newer table others serve than those that are silent: from the beginning, where nobody has answered.
                () = async { Box::pin(self.offered(known, reading.query, attempts.tried())).await }, if is_silent => {
                    is_silent = false;
                    let begins = own.is_none() && attempts.are_unanswered() && !attempts.is_served();
                    if begins && (attempts.are_unconnected() || self.spend(effort, most)) {
                        return Err(self.nobody_of(snapshot, &choice, attempts, effort));
                    }
                }
                // Whatever the closure does with what tokio lets a task do at once.
                () = unconstrained(alarm.rings()) => {
                    now = self.clock.now();
                    if watch.is_over(now) {
                        self.note_overdue(reading, snapshot, attempts.kind);
                        return Err(reading.overdue());
                    }
                    silences.extend(watch.quiet(now).map(silence));
                    let hedges = may_hedge && attempts.has_other(Whom::OfRoute);
                    if hedges && watch.takes_turn(now) && attempts.are_unanswered() && self.spend(effort, most) {
                        next = attempts.next(Whom::OfRoute);
                    }
                    alarm.set(watch.left(hedges, now));
                }
            }
        }
    }

    /// Returns once a newer table than this one has somebody for a read who takes requests, and was not tried.
    async fn offered(&self, known: &Arc<Snapshot>, query: &Query, tried: &[&Arc<Server>]) {
        let mut known = Arc::clone(known);
        loop {
            self.newer_than(&known).await;
            known = self.snapshot();
            let choice = route(&known, query).ok();
            let picker = choice.and_then(|choice| known.picker(choice.route));
            if picker.is_some_and(|picker| picker.admits(tried)) {
                return;
            }
        }
    }

    /// Whom to ask after an attempt that has ended. `lost`: it had a connection, so that another one is a second attempt; it stays where
    /// none is left.
    fn another<'a>(
        &self,
        attempts: &mut Attempts<'a>,
        lost: &mut Option<Error>,
        effort: &mut Effort,
        most: u8,
    ) -> Option<From<'a>> {
        let whom = attempts.whom();
        let others = attempts.has_other(whom);
        let free = if others || attempts.is_served() {
            None
        } else {
            attempts.first_free()
        };
        let is_anybody = others || free.is_some();
        if is_anybody && lost.is_some() && !self.spend(effort, most) {
            return None;
        }
        *lost = None;
        free.or_else(|| attempts.next(whom))
    }

    /// Takes a second attempt, where there is one.
    fn spend(&self, effort: &mut Effort, most: u8) -> bool {
        if effort.spent >= most || !self.budget.spend(self.clock.now()) {
            return false;
        }
        effort.spent += 1;
        Counts::count(&self.counts.retries);
        true
    }

    /// Nobody is left. Another round is a second attempt where a closure had begun.
    fn nobody_of(
        &self,
        snapshot: &Snapshot,
        choice: &RouteChoice<'_>,
        attempts: Attempts<'_>,
        effort: &mut Effort,
    ) -> Error {
        effort.again = attempts.may_end_otherwise()
            && (!attempts.had_connection || self.spend(effort, snapshot.table.retry_attempts));
        Self::nobody(snapshot, choice.route, attempts.reasons)
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
}

/// Where a read is told; none, where nobody listens.
fn span(query: &Query) -> Span {
    if Level::DEBUG > LevelFilter::current() {
        return Span::none();
    }
    tracing::debug_span!(
        "read",
        operation = query.operation_name(),
        route = Empty,
        endpoint = Empty,
        second_attempts = Empty,
        error = Empty
    )
}

/// The way of a read: where it must see what was written just now, and no token proves that, to the primary.
fn route<'a>(snapshot: &'a Snapshot, query: &Query) -> Result<RouteChoice<'a>, NoRoute> {
    let choice = snapshot.table.route(&query.request())?;
    if !query.newest {
        return Ok(choice);
    }
    Ok(RouteChoice {
        route: WRITES,
        destination: Destination::Primary,
        class: None,
    })
}

/// The attempt whose server fell silent.
async fn silence(((server, number), since): (Numbered<'_>, Moment)) -> u32 {
    server.falls_silent(since).await;
    number
}
