//! What to send to the API server, and when. Pure: time is an argument, requests are effects and their answers inputs, so that
//! a simulation, a model and a second operator can drive it.
//!
//! # Guarantees
//! - A request says which object it means: PUT and DELETE carry uid and resourceVersion as seen, POST needs absence, so one
//!   that rests on an old view is refused. Then, and when no answer came, the object is read before it is written again.
//! - One request about an object is under way at a time; so many in all, and so many of one namespace.
//! - Servers are taken out of routes before others are put in; slices go before the ConfigMap, the status last. What depends on a
//!   write that failed waits, all else goes on.
//! - The write primary is logged in the status before `rw` leads to it.
//! - An unchanged world gives no request. The echo of a write gives none.
//! - Without the lease no request starts.

mod attempt;
mod desk;
pub mod diff;
mod input;
mod lead;
mod objects;
mod order;
mod pace;
mod places;
mod rendering;
mod request;
mod whole_objects;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::render::Kind;
use crate::render::ObjectId;
use desk::{Around, Desk, SentRequest};
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
pub use input::{Declared, Input, Place};
use lead::Lead;
use objects::Objects;
use places::{OTHERS, Places, WRITES};
pub use rendering::{Rendered, Rendering, Wanted};
pub use request::{Answer, Call, Effect, Figure, FlightId, PolicyReading, Request};
pub use whole_objects::WholeObjects;

/// The present moment, by the clock of the decisions and by that of the status.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub moment: Moment,
    pub wall: Timestamp,
}

impl Now {
    /// The wall clock in whole seconds, as Kubernetes writes times.
    fn time(self) -> Time {
        Time(Timestamp::from_second(self.wall.as_second()).unwrap_or(self.wall))
    }
}

/// The writing half of the operator: all desks, and what they share.
pub struct Writing<R: Rendering> {
    rendering: R,
    desks: BTreeMap<PolicyKey, Desk<R::Body>>,
    /// The desks by the uids of their policies.
    uids: BTreeMap<String, PolicyKey>,
    objects: Objects<R::Body>,
    /// Slices of others by namespace and Service.
    foreign: BTreeMap<(String, String), Vec<String>>,
    lead: Lead,
    places: PlacesByKind,
    flights: FlightId,
    /// Requests without an answer.
    sent: BTreeMap<FlightId, Sent>,
    /// Desks that may have something to do.
    marked: BTreeSet<PolicyKey>,
    wakes: Wakes,
    succeeded: Option<Moment>,
}

/// Places of writes that can be held up, and of everything else.
struct PlacesByKind {
    writes: Places,
    others: Places,
}

impl PlacesByKind {
    const fn of(&mut self, holds_up: bool) -> &mut Places {
        if holds_up {
            &mut self.writes
        } else {
            &mut self.others
        }
    }
}

struct Sent {
    key: PolicyKey,
    uid: String,
    request: SentRequest,
    changes_object: bool,
    kind: &'static str,
    verb: &'static str,
}

/// When desks must look again: by moment, and by desk.
#[derive(Default)]
struct Wakes {
    moments: BTreeSet<(Moment, PolicyKey)>,
    of: BTreeMap<PolicyKey, Moment>,
}

impl Wakes {
    fn set(&mut self, key: &PolicyKey, at: Option<Moment>) {
        if let Some(before) = self.of.remove(key) {
            self.moments.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.of.insert(key.clone(), at);
            self.moments.insert((at, key.clone()));
        }
    }

    fn next(&self) -> Option<Moment> {
        self.moments.first().map(|(at, _)| *at)
    }

    fn due(&self, now: Moment) -> impl Iterator<Item = &PolicyKey> {
        let due = self.moments.iter().take_while(move |(at, _)| *at <= now);
        due.map(|(_, key)| key)
    }
}

impl<R: Rendering> Writing<R> {
    /// A writing half that writes nothing until it leads.
    pub fn new(rendering: R) -> Self {
        Self {
            rendering,
            desks: BTreeMap::new(),
            uids: BTreeMap::new(),
            objects: Objects::default(),
            foreign: BTreeMap::new(),
            lead: Lead::default(),
            places: PlacesByKind {
                writes: Places::new(WRITES),
                others: Places::new(OTHERS),
            },
            flights: 0,
            sent: BTreeMap::new(),
            marked: BTreeSet::new(),
            wakes: Wakes::default(),
            succeeded: None,
        }
    }

    /// When [`Writing::advance`] must be called at the latest, inputs or not.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.wakes.next()
    }

    /// Takes in one input, and does what follows from it.
    pub fn step(&mut self, input: Input<R::Body>, now: Now) -> Vec<Effect<R::Body>> {
        self.advance([input], now)
    }

    /// Takes in what happened by `now`, and does what follows: once for each policy, however many inputs concern it.
    pub fn advance(
        &mut self,
        inputs: impl IntoIterator<Item = Input<R::Body>>,
        now: Now,
    ) -> Vec<Effect<R::Body>> {
        let mut effects = Vec::new();
        for input in inputs {
            self.take(input, now, &mut effects);
        }
        self.marked.extend(self.wakes.due(now.moment).cloned());
        // Until the lease is held again they are kept.
        if self.lead.may_start(now.moment) {
            // Those that wait longest go first.
            while let Some(key) = self.places.others.next().or_else(|| self.places.writes.next()) {
                self.marked.remove(&key);
                self.attend(&key, now, &mut effects);
            }
            for key in std::mem::take(&mut self.marked) {
                self.attend(&key, now, &mut effects);
            }
        } else {
            for key in &self.marked {
                self.wakes.set(key, None);
            }
        }
        effects
    }

    fn take(&mut self, input: Input<R::Body>, now: Now, effects: &mut Vec<Effect<R::Body>>) {
        match input {
            Input::Declared(declared) => self.declare(*declared),
            Input::StatusSeen {
                key,
                uid,
                version,
                status,
            } => {
                let desk = self.desks.get_mut(&key).filter(|desk| desk.uid() == uid);
                if desk.is_some_and(|desk| desk.see(&version, &status)) {
                    self.marked.insert(key);
                }
            }
            Input::Gone { key } => self.forget(&key),
            Input::Decided {
                key,
                decision,
                transitions,
            } => {
                let desk = self
                    .desks
                    .get_mut(&key)
                    .filter(|desk| desk.uid() == decision.policy.uid);
                if let Some(desk) = desk {
                    desk.decide(decision, &transitions, &self.rendering);
                    self.marked.insert(key);
                }
            }
            Input::Seen(object) => {
                let concerned = self.objects.see(*object);
                self.mark(&concerned);
            }
            Input::Lost { place, version } => {
                let concerned = self.objects.lose(&place, Some(&version));
                self.mark(&concerned);
            }
            Input::Foreign {
                namespace,
                service,
                slices,
            } => self.follow_foreign(namespace, service, slices),
            Input::Answered { flight, answer } => self.answer(flight, answer, now, effects),
            Input::Leads { until } => self.lead = Lead::Leads { until },
            Input::Renewed { until } => self.lead = Lead::Leads { until: Some(until) },
            Input::Follows => self.lead = Lead::Follows,
        }
    }

    fn declare(&mut self, declared: Declared) {
        let (key, uid) = (declared.key.clone(), declared.uid.clone());
        if self.desks.get(&key).is_some_and(|desk| desk.uid() != uid) {
            self.forget(&key);
        }
        let to_do = if let Some(desk) = self.desks.get_mut(&key) {
            desk.declare(declared, &self.rendering)
        } else {
            self.uids.insert(uid, key.clone());
            self.desks.insert(key.clone(), Desk::new(declared));
            true
        };
        if to_do {
            self.marked.insert(key);
        }
    }

    fn forget(&mut self, key: &PolicyKey) {
        if let Some(desk) = self.desks.remove(key) {
            self.uids.remove(desk.uid());
        }
        self.marked.remove(key);
        self.places.writes.forget(key);
        self.places.others.forget(key);
        self.wakes.set(key, None);
    }

    fn follow_foreign(&mut self, namespace: String, service: String, slices: Vec<String>) {
        let place = Place {
            namespace: namespace.clone(),
            id: ObjectId {
                kind: Kind::Service,
                name: service.clone(),
            },
        };
        let owner = self
            .objects
            .get(&place)
            .and_then(|service| service.policy.clone());
        if slices.is_empty() {
            self.foreign.remove(&(namespace, service));
        } else {
            self.foreign.insert((namespace, service), slices);
        }
        self.mark(owner.as_slice());
    }

    fn mark(&mut self, uids: &[String]) {
        let keys = uids.iter().filter_map(|uid| self.uids.get(uid));
        self.marked.extend(keys.cloned());
    }

    fn answer(
        &mut self,
        flight: FlightId,
        answer: Answer<R::Body>,
        now: Now,
        effects: &mut Vec<Effect<R::Body>>,
    ) {
        let Some(sent) = self.sent.remove(&flight) else {
            return;
        };
        self.places.of(sent.changes_object).release(&sent.key.namespace);
        match &answer {
            Answer::Object(_) | Answer::Policy(_) => {
                self.succeeded = Some(now.moment);
                if !sent.request.is_read {
                    let (kind, verb) = (sent.kind, sent.verb);
                    effects.push(Effect::Figure(Figure::Wrote { kind, verb }));
                }
            }
            Answer::Refused { refusal, .. } | Answer::Unknown { refusal } => {
                let category = refusal.category;
                effects.push(Effect::Figure(Figure::Failed { category }));
            }
        }
        if let Some(desk) = self
            .desks
            .get_mut(&sent.key)
            .filter(|desk| desk.uid() == sent.uid)
        {
            desk.answered(&sent.request, &answer, now.moment, effects);
            self.marked.insert(sent.key.clone());
        }
        self.learn(&sent, answer);
    }

    /// What an answer shows of an object.
    fn learn(&mut self, sent: &Sent, answer: Answer<R::Body>) {
        let concerned = match (answer, &sent.request.subject) {
            (Answer::Object(Some(object)), _) => self.objects.see(*object),
            (Answer::Object(None), Some(id)) => {
                let place = Place {
                    namespace: sent.key.namespace.clone(),
                    id: id.clone(),
                };
                self.objects.lose(&place, None)
            }
            _ => Vec::new(),
        };
        self.mark(&concerned);
    }

    /// Lets a desk do what it can.
    fn attend(&mut self, key: &PolicyKey, now: Now, effects: &mut Vec<Effect<R::Body>>) {
        let Some(desk) = self.desks.get_mut(key) else {
            return;
        };
        let begun = effects.len();
        let mut around = Around {
            rendering: &self.rendering,
            objects: &self.objects,
            foreign: &self.foreign,
            lead: self.lead,
            places: &mut self.places,
            flights: &mut self.flights,
            succeeded: self.succeeded,
            now,
            effects,
        };
        let rest = desk.advance(&mut around);
        let uid = desk.uid().to_owned();
        for effect in &effects[begun..] {
            if let Effect::Request(request) = effect {
                self.sent.insert(request.flight, sent(request, &uid));
            }
        }
        self.wakes.set(key, rest.wake);
        for (changes_object, starved) in [(true, rest.starved_of_writes), (false, rest.starved_of_others)] {
            if let Some(routes) = starved {
                self.places.of(changes_object).wait(key, routes);
            }
        }
    }
}

fn sent<B>(request: &Request<B>, uid: &str) -> Sent {
    Sent {
        key: request.key.clone(),
        uid: uid.to_owned(),
        request: SentRequest {
            subject: request.call.object().cloned(),
            is_read: request.call.is_read(),
        },
        changes_object: request.call.changes_object(),
        kind: request.call.kind(),
        verb: request.call.verb(),
    }
}

#[cfg(test)]
mod tests;
