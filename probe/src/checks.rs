//! The task that checks one server, for those who want it checked alike.

use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, watch};
use tracing::Instrument;

use super::check::{Checker, Found};
use super::clock::Clock;
use super::panics::caught;
use super::places::{Place, Places};
use super::subscribers::{Subscriber, Subscribers};
use distributary_core::moment::Moment;
use distributary_core::observation::{FailureKind, Observation};
use distributary_core::target::{Answer, CheckAnswer};

/// Waits for the moment of an instruction and for a free place, checks, answers, and waits for the next one.
pub struct Checks {
    pub clock: Clock,
    pub checker: Checker,
    pub subscribers: Subscribers,
    /// Those whom it serves.
    pub group: u32,
    /// Those of all policies. Who holds one gives it back within a deadline.
    pub places: Places,
    pub answers: mpsc::Sender<Answer>,
}

impl Checks {
    /// Ends when nobody listens. Boxed, as everything that is done seldom: most of the time it waits, and for each server.
    pub async fn run(mut self: Box<Self>) {
        let mut changes = self.subscribers.changes();
        loop {
            self.due(&mut changes).await;
            let Some(place) = self.place(&mut changes).await else {
                // Whoever it served is gone.
                continue;
            };
            // While it waited, instructions may have been replaced.
            let due = self.subscribers.due_at(self.group, self.clock.now());
            if !due.is_empty() && Box::pin(self.check(due, place)).await.is_none() {
                return;
            }
        }
    }

    /// Waits for the moment of an instruction.
    async fn due(&self, changes: &mut watch::Receiver<Vec<Subscriber>>) {
        loop {
            changes.mark_unchanged();
            let due = self.subscribers.due(self.group);
            tokio::select! {
                () = self.clock.sleep_until(due.unwrap_or_default()), if due.is_some() => return,
                // The sender lives as long as `self.subscribers`.
                _ = changes.changed() => {}
            }
        }
    }

    /// A place of one of those whom the check serves, also of who joins them meanwhile.
    async fn place(&self, changes: &mut watch::Receiver<Vec<Subscriber>>) -> Option<Place> {
        let policies = || self.subscribers.policies_of(self.group);
        let mut asked = self.places.ask(policies());
        loop {
            tokio::select! {
                biased;
                place = asked.given() => return place,
                // The sender lives as long as `self.subscribers`.
                _ = changes.changed() => asked.also(policies()),
            }
        }
    }

    /// One check under the longest deadline of those who are due, in order of their deadlines. Whose deadline passes
    /// before is told so then.
    async fn check(&mut self, due: Vec<Subscriber>, place: Place) -> Option<()> {
        let started = self.clock.now();
        let longest = due.last()?.check.timeout;
        let first = due.first()?;
        let span = tracing::debug_span!("check", policy = %first.key.policy, endpoint = %first.key.target);
        let (prefer, queries) = (first.check.prefer, self.subscribers.queries(self.group));
        let elsewhere = self.checker.elsewhere();
        let checking = self.checker.check(longest, prefer, &queries).instrument(span);
        let mut checking = Box::pin(caught(checking));
        let mut waiting = due.into_iter().peekable();
        let found = loop {
            let Some(next) = waiting.peek() else {
                return Some(());
            };
            let deadline = started + next.check.timeout;
            let last = next.check.timeout >= longest;
            tokio::select! {
                biased;
                found = &mut checking => break found,
                () = self.clock.sleep_until(deadline), if !last => {}
            }
            let late = Found {
                address: None,
                elsewhere: elsewhere.load(Ordering::Relaxed),
                result: Err(FailureKind::TimedOut.into()),
            };
            if let Some(next) = waiting.next() {
                answer(&self.subscribers, &self.answers, self.clock, next, started, &late).await?;
            }
        };
        // Who cannot deliver holds no place.
        drop(place);
        let found = found.unwrap_or(Found {
            address: None,
            elsewhere: elsewhere.load(Ordering::Relaxed),
            result: Err(FailureKind::ProtocolViolation.into()),
        });
        for next in waiting {
            answer(
                &self.subscribers,
                &self.answers,
                self.clock,
                next,
                started,
                &found,
            )
            .await?;
        }
        Some(())
    }
}

async fn answer(
    subscribers: &Subscribers,
    answers: &mpsc::Sender<Answer>,
    clock: Clock,
    subscriber: Subscriber,
    started: Moment,
    found: &Found,
) -> Option<()> {
    if !subscribers.answered(&subscriber) {
        return Some(());
    }
    let result = match &found.result {
        Ok((sample, lags)) => Ok(subscriber.sample(sample, lags)),
        Err(failure) => Err(failure.kind),
    };
    let observation = Observation {
        started,
        ended: clock.now(),
        address: found.address,
        result,
        sqlstate: found.result.as_ref().err().and_then(|failure| failure.sqlstate),
    };
    tracing::trace!(policy = %subscriber.key.policy, endpoint = %subscriber.key.target, ?observation);
    let late = subscriber
        .check
        .at
        .map(|at| started.since(at))
        .unwrap_or_default();
    let observed = CheckAnswer {
        key: subscriber.key,
        incarnation: subscriber.incarnation,
        elsewhere: found.elsewhere,
        observation,
    };
    answers.send(Answer::Checked { observed, late }).await.ok()
}
