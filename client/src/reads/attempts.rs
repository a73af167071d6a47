//! The attempts of one read: who is next, and whether another one may be made.

use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use distributary_core::Moment;
use distributary_core::routing::Destination;
use distributary_core::table::RouteChoice;
use distributary_core::table::named::WRITES;

use super::watch::Watch;
use crate::error::TargetFailure;
use crate::query::Query;
use crate::routes::Picker;
use crate::server::Server;
use crate::session::Desk;
use crate::snapshot::Snapshot;

/// Where an attempt gets its connection.
pub enum From<'a> {
    One(&'a Arc<Server>),
    /// Of whichever of these has a free one first.
    FirstFree(Vec<&'a Arc<Server>>),
}

/// The server of an attempt, and its number.
pub type Numbered<'a> = (&'a Arc<Server>, u32);

/// Who may be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whom {
    /// The targets of the route; for a read with a token or a bound of lag also the primary.
    OfRoute,
    /// The primary too, where the policy lets it stand in.
    Anybody,
}

/// The attempts of a read that are under way, mostly one.
#[derive(Default)]
pub struct UnderWay {
    /// How many have begun.
    begun: u32,
    /// By their numbers, with what their closures have seen; nothing, while they have no connection.
    attempts: SmallVec<[(u32, Option<Arc<Desk>>); 2]>,
}

impl UnderWay {
    /// Another one begins; its number, unlike that of any other one of the read.
    fn begin(&mut self) -> u32 {
        self.begun += 1;
        self.attempts.push((self.begun, None));
        self.begun
    }

    /// An attempt has a connection.
    pub fn connected(&mut self, number: u32, desk: Arc<Desk>) {
        let mut attempts = self.attempts.iter_mut();
        if let Some((_, seen)) = attempts.find(|(begun, _)| *begun == number) {
            *seen = Some(desk);
        }
    }

    /// What those that have a connection have seen.
    pub fn desks(&self) -> impl Iterator<Item = &Arc<Desk>> {
        self.attempts.iter().filter_map(|(_, seen)| seen.as_ref())
    }
}

/// What circuits of kinds go by: the class of a request or, where it has none, its operation.
pub fn kind<'a>(choice: &RouteChoice<'a>, query: &'a Query) -> Option<&'a str> {
    choice.class.or(query.operation.as_deref())
}

/// The attempts by one table.
pub struct Attempts<'a> {
    route: Option<&'a Picker<Server>>,
    /// Who has what no replica has: for a read with a token or a bound of lag.
    newest: Option<&'a Picker<Server>>,
    /// Who serves where nobody of the route is left.
    fallback: Option<&'a Picker<Server>>,
    /// Those that are not tried again.
    tried: SmallVec<[&'a Arc<Server>; 4]>,
    /// Those whose pool was full; none, once they were waited for.
    pub full: Vec<&'a Arc<Server>>,
    /// Those of them that are waited for, by the number of the attempt.
    awaited: Vec<(u32, &'a Arc<Server>)>,
    pub reasons: Vec<TargetFailure>,
    /// A closure had begun on one of those that failed.
    pub had_connection: bool,
    under_way: &'a Mutex<UnderWay>,
    /// The class of the read, or its operation.
    pub kind: Option<&'a str>,
}

impl<'a> Attempts<'a> {
    pub fn new(
        snapshot: &'a Snapshot,
        choice: &RouteChoice<'a>,
        query: &'a Query,
        under_way: &'a Mutex<UnderWay>,
    ) -> Self {
        under_way.lock().attempts.clear();
        let primary = snapshot.picker(WRITES);
        let stands_in = snapshot.table.primary_stands_in(choice);
        Self {
            route: snapshot.picker(choice.route),
            newest: primary.filter(|_| {
                query.token.is_some()
                    || (query.max_lag.is_some() && choice.destination != Destination::ReplicasOnly)
            }),
            fallback: primary.filter(|_| stands_in),
            tried: SmallVec::new(),
            full: Vec::new(),
            awaited: Vec::new(),
            reasons: Vec::new(),
            had_connection: false,
            under_way,
            kind: kind(choice, query),
        }
    }

    fn pickers(&self, whom: Whom) -> impl Iterator<Item = &'a Picker<Server>> + use<'a> {
        let fallback = self.fallback.filter(|_| whom == Whom::Anybody);
        [self.route, self.newest, fallback].into_iter().flatten()
    }

    /// Whom to ask after a failure: a target that is merely busy is somebody who is left.
    pub fn whom(&self) -> Whom {
        if self.full.iter().any(|server| !server.gate.is_suspected()) {
            Whom::OfRoute
        } else {
            Whom::Anybody
        }
    }

    pub fn has_other(&self, whom: Whom) -> bool {
        self.pickers(whom).any(|picker| picker.has_other(&self.tried))
    }

    /// The next target: one that is out only where there is nobody else.
    pub fn next(&mut self, whom: Whom) -> Option<From<'a>> {
        let well = self.pickers(whom).find(|picker| picker.admits(&self.tried));
        let server = well
            .and_then(|picker| picker.pick(&self.tried, self.kind))
            .or_else(|| {
                self.pickers(whom)
                    .find_map(|picker| picker.pick(&self.tried, self.kind))
            });
        let server = server?;
        self.tried.push(server);
        Some(From::One(server))
    }

    /// Those that are busy, all together; `None`: each of them is waited for already.
    pub fn first_free(&self) -> Option<From<'a>> {
        let is_awaited = |server: &Arc<Server>| {
            let mut awaited = self.awaited.iter();
            awaited.any(|(_, other)| Arc::ptr_eq(other, server))
        };
        let servers = self.full.iter().copied().filter(|server| !is_awaited(server));
        let servers: Vec<_> = servers.collect();
        (!servers.is_empty()).then_some(From::FirstFree(servers))
    }

    /// Another attempt begins: its number, and after which it is looked from now on, whether their servers are silent.
    pub fn begin(
        &mut self,
        from: &From<'a>,
        watch: &mut Watch<Numbered<'a>>,
        now: Moment,
    ) -> (u32, SmallVec<[(Numbered<'a>, Moment); 1]>) {
        let number = self.under_way.lock().begin();
        let looked_after = match from {
            From::One(server) => {
                let before = watch.begin((*server, number), server.latency.p99(), now);
                before.into_iter().collect()
            }
            // Busy, or dead.
            From::FirstFree(servers) => {
                let awaited = servers.iter().map(|server| (number, *server));
                self.awaited.extend(awaited);
                servers.iter().map(|server| ((*server, number), now)).collect()
            }
        };
        (number, looked_after)
    }

    /// Whether an attempt has not ended.
    pub fn is_under_way(&self, number: u32) -> bool {
        let under_way = self.under_way.lock();
        under_way.attempts.iter().any(|(begun, _)| *begun == number)
    }

    /// Those that are not tried again.
    pub fn tried(&self) -> &[&'a Arc<Server>] {
        &self.tried
    }

    /// Whether an attempt has a connection.
    pub fn is_connected(&self, number: u32) -> bool {
        let under_way = self.under_way.lock();
        let mut attempts = under_way.attempts.iter();
        attempts.any(|(begun, seen)| *begun == number && seen.is_some())
    }

    /// Whether no attempt has a connection.
    pub fn are_unconnected(&self) -> bool {
        self.under_way.lock().desks().next().is_none()
    }

    /// Whether any attempt has a connection to a server that is well.
    pub fn is_served(&self) -> bool {
        let under_way = self.under_way.lock();
        under_way.desks().any(|desk| !desk.server.gate.is_suspected())
    }

    /// An attempt has ended; a target that was waited for is not waited for again.
    pub fn end(&mut self, number: u32, on: Option<&Arc<Server>>) {
        self.full
            .retain(|full| on.is_none_or(|on| !Arc::ptr_eq(on, full)));
        self.awaited.retain(|(begun, _)| *begun != number);
        self.under_way
            .lock()
            .attempts
            .retain(|(begun, _)| *begun != number);
    }

    /// No server has answered a closure yet: another attempt can change nothing of what one of them has made of an answer.
    pub fn are_unanswered(&self) -> bool {
        self.under_way.lock().desks().all(|desk| desk.is_unanswered())
    }

    /// Another round, on the same servers, may end otherwise; one that is too old stays so until there is a newer table.
    pub fn may_end_otherwise(&self) -> bool {
        let mut reasons = self.reasons.iter();
        reasons.any(|failure| !failure.reason.is_of_age())
    }
}
