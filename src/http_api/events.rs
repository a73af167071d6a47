//! Policies as they change, as server-sent events.
//!
//! # Guarantees
//! - Nothing is told, and the stream ends, once the API server has not proved the right to read for 75 s, for whatever reason.
//! - The last word is never stale: what changes after it was read is told.
//! - What streams of the same subject tell is looked up and written once for all of them.
//! - A client that leaves so much unread that nothing more fits into the connection is given up after [`outlet::SLOW`].

mod hub;
mod outlet;
mod pending;
mod permit;
mod stream;
mod told;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::caller::{Caller, TokenDigest};
use super::chosen::query;
use super::names::{PolicyNames, PolicyPath};
use super::problem::Problem;
use super::rights::Subject;
use super::{Shared, State as Api, names, paths};
use crate::engine::Changed;
use crate::http::Lasting;
use outlet::Outlet;
use permit::Permit;
use stream::Stream;

/// Streams at once, of all tokens.
pub const MOST: usize = 256;
/// The same of one token.
const MOST_OF_ONE: usize = 8;

/// The streams that are open. Clones count the same.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    by_token: BTreeMap<TokenDigest, usize>,
    /// Since the start of the process.
    opened: u64,
    /// Who looks for them.
    hubs: hub::Hubs,
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
    path = paths::POLICY_EVENTS,
    params(PolicyNames),
    responses(
        (status = 200, description = "Server-sent events; the data of snapshot and of change is a PolicyAnswer, that of end a Problem", body = String, content_type = "text/event-stream"),
        (status = 429, description = "Too many streams", body = Problem),
    )
)]
pub async fn events(
    State(api): Api,
    caller: Caller,
    PolicyPath(key): PolicyPath,
    Extension(lasting): Extension<Lasting>,
) -> Result<Response, Problem> {
    open(api, caller, Changed::Policy(key), &lasting).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AskedPolicies {
    /// The namespace whose policies are told. Default: all; where the caller may not list these, the namespace of the operator,
    /// if it serves one alone.
    #[param(example = "shop")]
    pub namespace: Option<String>,
}

/// The policies that the caller may list, and each time that some of them change: the event snapshot with all of them, then
/// events change with those that are another one, are new or are gone; the event end tells why nothing follows. A snapshot may
/// come again, and replaces what was told before. Figures alone are no change.
#[utoipa::path(
    get,
    path = paths::EVENTS,
    params(AskedPolicies),
    responses(
        (status = 200, description = "Server-sent events; the data of snapshot is a PoliciesSnapshot, that of change a PoliciesChange, that of end a Problem", body = String, content_type = "text/event-stream"),
        (status = 429, description = "Too many streams", body = Problem),
    )
)]
pub async fn all_events(
    State(api): Api,
    caller: Caller,
    asked: Result<Query<AskedPolicies>, QueryRejection>,
    Extension(lasting): Extension<Lasting>,
) -> Result<Response, Problem> {
    let asked = query(asked)?;
    let namespace = asked.namespace.as_deref().map(names::namespace).transpose()?;
    let listed = api.listed(&caller, namespace).await?;
    let followed = listed.map_or(Changed::Everything, Changed::Namespace);
    open(api, caller, followed, &lasting).await
}

async fn open(
    api: Arc<Shared>,
    caller: Caller,
    followed: Changed,
    lasting: &Lasting,
) -> Result<Response, Problem> {
    let subject = match &followed {
        Changed::Policy(key) => Subject::Policy(key.clone()),
        Changed::Namespace(namespace) => Subject::Policies(Some(namespace.clone())),
        Changed::Everything => Subject::Policies(None),
    };
    let proved = api.rights.prove(&caller, &subject).await?;
    let place = api.streams.take(caller.digest)?;
    let joined = stream::join(&api, &followed).await?;
    let (outlet, receiver) = Outlet::new(Permit::new(proved, place.number), api.parts.clock);
    let stream = Stream {
        api,
        caller,
        followed,
        subject,
        outlet,
        _place: place,
        _connection: lasting.until_dropped(),
    };
    tokio::spawn(stream.run(joined));
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
