//! One stream: what its client is told, for as long as they may read it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::Place;
use super::hub::{self, Joined, Word};
use super::outlet::{Gone, Outlet};
use super::told::Told;
use crate::engine::Changed;
use crate::http_api::caller::Caller;
use crate::http_api::problem::Problem;
use crate::http_api::rights::Subject;
use crate::http_api::{Parts, Shared};
use distributary_core::Moment;

/// From one sign of life to the next.
const ALIVE: Duration = Duration::from_secs(15);

pub struct Stream {
    pub api: Arc<Shared>,
    pub caller: Caller,
    pub followed: Changed,
    /// What was proved to be theirs to read.
    pub subject: Subject,
    pub outlet: Outlet,
    pub _place: Place,
    pub _connection: DropGuard,
}

/// Joins those who follow these policies.
///
/// # Errors
/// There is nothing to tell.
pub async fn join(api: &Arc<Shared>, followed: &Changed) -> Result<Joined, Problem> {
    let Parts { clock, context, .. } = &api.parts;
    let look = || Told::nothing(api, followed);
    hub::join(&api.streams, followed, (*clock, &context.changes), look).await
}

impl Stream {
    /// Until the client has gone, or may not read any more.
    pub async fn run(mut self, mut joined: Joined) {
        if self.outlet.send(joined.snapshot.clone()).await.is_err() {
            return;
        }
        let clock = self.api.parts.clock;
        let mut alive_at = clock.now() + ALIVE;
        loop {
            let sent = tokio::select! {
                () = self.outlet.closed() => return,
                () = clock.sleep_until(self.outlet.permit.ask_at()) => self.authorize().await,
                () = clock.sleep_until(alive_at) => self.outlet.send(Bytes::from_static(b": alive\n\n")).await,
                word = joined.words.recv() => match word {
                    Ok(Word::Change(change)) => self.outlet.send(change).await,
                    Ok(Word::End(problem)) => self.outlet.end(&problem).await,
                    Err(RecvError::Lagged(_) | RecvError::Closed) => self.begin_anew(&mut joined).await,
                },
            };
            if sent.is_err() {
                return;
            }
            alive_at = next_sign(alive_at, clock.now());
        }
    }

    /// It is so far behind that words were lost: a snapshot replaces them.
    async fn begin_anew(&mut self, joined: &mut Joined) -> Result<(), Gone> {
        match join(&self.api, &self.followed).await {
            Ok(again) => *joined = again,
            Err(problem) => return self.outlet.end(&problem).await,
        }
        self.outlet.send(joined.snapshot.clone()).await
    }

    /// Asks for a new proof, for as long as the last one holds.
    async fn authorize(&mut self) -> Result<(), Gone> {
        let clock = self.api.parts.clock;
        let proof = self.api.rights.prove(&self.caller, &self.subject);
        let permit = &mut self.outlet.permit;
        let answer = timeout(permit.left(clock.now()), proof).await;
        let answer = answer.unwrap_or_else(|_| Err(Problem::unavailable()));
        match permit.take(answer, clock.now()) {
            Ok(()) => Ok(()),
            Err(problem) => self.outlet.end(&problem).await,
        }
    }
}

fn next_sign(due: Moment, now: Moment) -> Moment {
    if now >= due { now + ALIVE } else { due }
}
