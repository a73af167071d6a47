//! A policy as it changes, as server-sent events.
//!
//! # Guarantees
//! - Nothing is told, and the stream ends, once the API server has not proved the right to read for 75 s, for whatever reason.
//! - The last word is never stale: what changes after it was read is told.
//! - A client that leaves so much unread that nothing more fits into the connection is given up after [`SLOW`].

mod permit;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::answers::PolicyAnswer;
use super::caller::{Caller, TokenDigest};
use super::problem::Problem;
use super::rights::Subject;
use super::{Shared, State as Api, names};
use crate::clock::Clock;
use crate::engine::Follower;
use crate::http::Lasting;
use distributary_core::Moment;
use distributary_core::ids::PolicyKey;
use permit::Permit;

/// Streams at once, of all tokens.
pub const MOST: usize = 256;
/// The same of one token.
const MOST_OF_ONE: usize = 8;
/// From one sign of life to the next.
const ALIVE: Duration = Duration::from_secs(15);
/// Between two changes: what changes meanwhile is told at once.
const PAUSE: Duration = Duration::from_millis(250);
/// A client that takes nothing for so long is given up.
const SLOW: Duration = Duration::from_secs(10);

/// The streams that are open. Clones count the same.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    by_token: BTreeMap<TokenDigest, usize>,
    /// Since the start of the process.
    opened: u64,
}

/// One of them; its end makes room.
struct Place {
    streams: Streams,
    token: TokenDigest,
    number: u64,
}

impl Streams {
    fn take(&self, token: TokenDigest) -> Result<Place, Problem> {
        let mut open = self.0.lock();
        if open.by_token.values().sum::<usize>() >= MOST {
            return Err(Problem::busy("there are 256 streams of events"));
        }
        let own = open.by_token.entry(token).or_default();
        if *own >= MOST_OF_ONE {
            return Err(Problem::busy("there are 8 streams of events with this token"));
        }
        *own += 1;
        open.opened += 1;
        Ok(Place {
            streams: self.clone(),
            token,
            number: open.opened,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock();
        if let Some(own) = open.by_token.get_mut(&self.token) {
            *own -= 1;
            if *own == 0 {
                open.by_token.remove(&self.token);
            }
        }
    }
}

/// A policy as it is, and each time that it changes: the event snapshot, then events change, each with the whole of it; the event
/// end tells why nothing follows. Figures alone are no change.
#[utoipa::path(
    get,
    path = "/api/v1/policies/{namespace}/{name}/events",
    params(
        ("namespace" = String, Path, description = "The namespace of the policy", example = "shop"),
        ("name" = String, Path, description = "The name of the policy", example = "orders"),
    ),
    responses(
        (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        (status = 429, description = "Too many streams", body = Problem),
    )
)]
pub async fn events(
    State(api): Api,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    Extension(lasting): Extension<Lasting>,
) -> Result<Response, Problem> {
    let key = names::policy(&namespace, &name)?;
    let proved = api.rights.prove(&caller, &Subject::Policy(key.clone())).await?;
    let place = api.streams.take(caller.digest)?;
    // Before the first look: what changes meanwhile is told after it.
    let changes = api.parts.context.changes.follow();
    let first = api.facts(&key)?.policy(api.origin());
    let (sender, receiver) = mpsc::channel(1);
    let stream = Stream {
        api,
        caller,
        key,
        told: first,
        permit: Permit::new(proved, place.number),
        sender,
        _place: place,
        _connection: lasting.until_dropped(),
    };
    tokio::spawn(stream.run(changes));
    let body = futures::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        let next = receiver.recv().await?;
        Some((Ok::<_, Infallible>(next), receiver))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Stream {
    api: Arc<Shared>,
    caller: Caller,
    key: PolicyKey,
    /// What the client knows.
    told: PolicyAnswer,
    permit: Permit,
    sender: mpsc::Sender<Bytes>,
    _place: Place,
    _connection: DropGuard,
}

/// Nobody reads any more.
struct Gone;

impl Stream {
    /// Until the client has gone, or may not read any more.
    async fn run(mut self, mut changes: Follower) {
        let first = event("snapshot", &self.told);
        if self.send(first).await.is_err() {
            return;
        }
        let clock = self.api.parts.clock;
        let mut alive_at = clock.now() + ALIVE;
        loop {
            let sent = tokio::select! {
                () = self.sender.closed() => return,
                () = clock.sleep_until(self.permit.ask_at()) => self.authorize().await,
                () = clock.sleep_until(alive_at) => self.send(Bytes::from_static(b": alive\n\n")).await,
                () = changes.changed(&self.key) => {
                    Clock::sleep(PAUSE).await;
                    changes.catch_up();
                    self.tell().await
                }
            };
            if sent.is_err() {
                return;
            }
            alive_at = next_sign(alive_at, clock.now());
        }
    }

    /// Asks for a new proof, for as long as the last one holds.
    async fn authorize(&mut self) -> Result<(), Gone> {
        let (clock, subject) = (self.api.parts.clock, Subject::Policy(self.key.clone()));
        let proof = self.api.rights.prove(&self.caller, &subject);
        let answer = timeout(self.permit.left(clock.now()), proof).await;
        let answer = answer.unwrap_or_else(|_| Err(Problem::unavailable()));
        match self.permit.take(answer, clock.now()) {
            Ok(()) => Ok(()),
            Err(problem) => self.end(&problem).await,
        }
    }

    /// What is another one than was told.
    async fn tell(&mut self) -> Result<(), Gone> {
        let known = match self.api.facts(&self.key) {
            Ok(facts) => facts.policy(self.api.origin()),
            Err(problem) => return self.end(&problem).await,
        };
        if known.essence() == self.told.essence() {
            return Ok(());
        }
        let sent = self.send(event("change", &known)).await;
        self.told = known;
        sent
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

/// JSON has no line break of its own.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_eight_streams_and_all_have_256() {
        let streams = Streams::default();
        let token = |number: usize| TokenDigest::of(&number.to_string());
        let mut own: Vec<_> = (0..MOST_OF_ONE)
            .map(|_| streams.take(token(0)).unwrap())
            .collect();
        assert_eq!(streams.take(token(0)).err().unwrap().code, 429);
        own.pop();
        own.push(streams.take(token(0)).unwrap());
        let others: Vec<_> = (MOST_OF_ONE..MOST)
            .map(|number| streams.take(token(number)).unwrap())
            .collect();
        assert_eq!(streams.take(token(1)).err().unwrap().code, 429);
        drop((own, others));
        assert!(streams.0.lock().by_token.is_empty());
    }
}
