//! One stream: what its client is told, for as long as they may read it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::Place;
use super::hub::{self, Joined, Word};
use super::permit::Permit;
use super::told::{Told, event};
use crate::engine::Changed;
use crate::http_api::caller::Caller;
use crate::http_api::problem::Problem;
use crate::http_api::rights::Subject;
use crate::http_api::{Parts, Shared};
use distributary_core::Moment;

/// From one sign of life to the next.
const ALIVE: Duration = Duration::from_secs(15);
/// A client that takes nothing for so long is given up.
pub const SLOW: Duration = Duration::from_secs(10);

pub struct Stream {
    pub api: Arc<Shared>,
    pub caller: Caller,
    pub followed: Changed,
    /// What was proved to be theirs to read.
    pub subject: Subject,
    pub permit: Permit,
    pub sender: mpsc::Sender<Bytes>,
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

/// Nobody reads any more.
struct Gone;

impl Stream {
    /// Until the client has gone, or may not read any more.
    pub async fn run(mut self, mut joined: Joined) {
        if self.send(joined.snapshot.clone()).await.is_err() {
            return;
        }
        let clock = self.api.parts.clock;
        let mut alive_at = clock.now() + ALIVE;
        loop {
            let sent = tokio::select! {
                () = self.sender.closed() => return,
                () = clock.sleep_until(self.permit.ask_at()) => self.authorize().await,
                () = clock.sleep_until(alive_at) => self.send(Bytes::from_static(b": alive\n\n")).await,
                word = joined.words.recv() => match word {
                    Ok(Word::Change(change)) => self.send(change).await,
                    Ok(Word::End(problem)) => self.end(&problem).await,
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
            Err(problem) => return self.end(&problem).await,
        }
        self.send(joined.snapshot.clone()).await
    }

    /// Asks for a new proof, for as long as the last one holds.
    async fn authorize(&mut self) -> Result<(), Gone> {
        let clock = self.api.parts.clock;
        let proof = self.api.rights.prove(&self.caller, &self.subject);
        let answer = timeout(self.permit.left(clock.now()), proof).await;
        let answer = answer.unwrap_or_else(|_| Err(Problem::unavailable()));
        match self.permit.take(answer, clock.now()) {
            Ok(()) => Ok(()),
            Err(problem) => self.end(&problem).await,
        }
    }

    /// Says why nothing follows, which needs no right.
    async fn end(&self, problem: &Problem) -> Result<(), Gone> {
        let _ = timeout(SLOW, self.sender.send(event("end", problem))).await;
        Err(Gone)
    }

    /// What the caller may be told while the proof holds.
    async fn send(&self, text: Bytes) -> Result<(), Gone> {
        let left = self.permit.left(self.api.parts.clock.now());
        if left.is_zero() {
            return self.end(&Problem::unavailable()).await;
        }
        match timeout(SLOW.min(left), self.sender.send(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn next_sign(due: Moment, now: Moment) -> Moment {
    if now >= due { now + ALIVE } else { due }
}
