//! What to send to the API server, and when. Pure: time is an argument, requests are effects and their answers inputs, so that
//! a simulation, a model and a second operator can drive it.
//!
//! # Guarantees
//! - A request says which object it means: PUT and DELETE carry uid and resourceVersion as seen, POST needs absence, so one
//!   that rests on an old view is refused. Then, and when no answer came, the object is read before it is written again.
//! - One request about an object is under way at a time; so many in all, and so many of one namespace.
//! - Servers are taken out of routes before others are put in; slices go before the ConfigMap, the status last. What depends on a
//!   write that failed waits, all else goes on.
//! - The write primary is logged in the status before `rw` leads to it, and after the answers to writes that lead `rw` elsewhere; one
//!   without an answer is awaited for a second.
//! - An unchanged world gives no request. The echo of a write gives none.
//! - Without the lease no request starts; nor, until it is renewed, where a status shows that another process began to lead by it.
//! - Two installations that undo each other's writes do not go on with it ([`rival`]).

mod attempt;
mod desk;
pub mod diff;
mod input;
mod installation;
mod lead;
pub mod lease;
mod objects;
mod order;
mod ownership;
mod pace;
mod places;
mod rendering;
mod request;
mod rival;
mod sent;
mod takeover;
mod wakes;
mod whole_objects;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::render::Kind;
use crate::render::ObjectId;
use crate::render::reading::ObservedObject;
use desk::{Desk, SLOW};
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
pub use input::{Declared, Input, Place};
pub use installation::Installation;
pub use lead::{LEFT, Lead};
use objects::Objects;
use places::PlacesByKind;
pub use rendering::{Rendered, Rendering, Wanted};
pub use request::{Answer, Call, Effect, Figure, FlightId, PolicyReading, Request};
use sent::{Sent, sent};
use wakes::Wakes;
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
#[derive(Clone, Hash)]
pub struct Writing<R: Rendering> {
    rendering: R,
    installation: Installation,
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
    /// Those of them that began lately, by when.
    young: VecDeque<(Moment, FlightId)>,
    /// Objects about which a request is under way.
    busy: BTreeSet<Place>,
    /// The policies in whose way an object of another owner is, or may be.
    barred: BTreeMap<Place, BTreeSet<PolicyKey>>,
    /// Desks that may have something to do.
    marked: BTreeSet<PolicyKey>,
    /// Desks of a process that follows, where something differs from what it would write.
    behind: BTreeSet<PolicyKey>,
    wakes: Wakes,
    succeeded: Option<Moment>,
}

impl<R: Rendering> Writing<R> {
    /// A writing half without a Lease that writes nothing until it leads.
    pub fn new(rendering: R) -> Self {
        Self {
            rendering,
            installation: Installation::default(),
            desks: BTreeMap::new(),
            uids: BTreeMap::new(),
            objects: Objects::default(),
            foreign: BTreeMap::new(),
            lead: Lead::default(),
            places: PlacesByKind::default(),
            flights: 0,
            sent: BTreeMap::new(),
            young: VecDeque::new(),
            busy: BTreeSet::new(),
            barred: BTreeMap::new(),
            marked: BTreeSet::new(),
            behind: BTreeSet::new(),
            wakes: Wakes::default(),
            succeeded: None,
        }
    }

    /// The same as a process of this installation.
    #[must_use]
    pub fn of(self, installation: Installation) -> Self {
        Self { installation, ..self }
    }

    /// Whether requests may start: to be asked again right before each is sent, by the clock as it is then.
    #[must_use]
    pub const fn lead(&self) -> Lead {
        self.lead
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
        self.lend(now.moment);
        self.marked.extend(self.wakes.due(now.moment).cloned());
        // Until the lease is held again they are kept.
        if self.lead.may_start(now.moment) {
            // Those that wait longest go first.
            while let Some(key) = self.places.next() {
                self.marked.remove(&key);
                self.attend(&key, now, &mut effects);
            }
            for key in std::mem::take(&mut self.marked) {
                self.attend(&key, now, &mut effects);
            }
        } else if self.lead == Lead::Follows {
            self.compare(now, &mut effects);
        } else {
            for key in &self.marked {
                self.wakes.set(key, None);
            }
        }
        if self.lead == Lead::Follows {
            // What is to be told is told by the one who leads.
            effects.retain(|effect| !matches!(effect, Effect::Event { .. }));
        }
        effects
    }

    /// Requests that take long leave their places to others.
    fn lend(&mut self, now: Moment) {
        while let Some((began, flight)) = self.young.front().copied() {
            if now < began + SLOW.0 {
                return;
            }
            self.young.pop_front();
            if let Some(sent) = self.sent.get_mut(&flight) {
                sent.lent = true;
                self.places.of(sent.place).lend();
            }
        }
    }

    fn take(&mut self, input: Input<R::Body>, now: Now, effects: &mut Vec<Effect<R::Body>>) {
        match input {
            Input::Declared(declared) => self.declare(*declared, now.moment, effects),
            Input::StatusSeen {
                key,
                uid,
                version,
                status,
            } => {
                let Some(desk) = self.desks.get_mut(&key).filter(|desk| desk.uid() == uid) else {
                    return;
                };
                effects.extend(desk.shown(&version, &status, self.lead));
                let succeeded = desk.is_succeeded(&version, &status, &self.installation);
                if desk.see(&version, &status) {
                    self.marked.insert(key);
                }
                self.doubt_lease(succeeded, now.moment);
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
                    let told = if self.lead == Lead::Follows {
                        &[][..]
                    } else {
                        &transitions
                    };
                    desk.decide(decision, told, now.moment, &self.rendering);
                    self.marked.insert(key);
                }
            }
            Input::Seen(object) => {
                self.mark_barred(&Place::of(&object));
                self.mark_heir(&object);
                let concerned = self.objects.see(*object);
                self.mark(&concerned);
            }
            Input::Lost { place, version } => {
                self.mark_barred(&place);
                let concerned = self.objects.lose(&place, Some(&version));
                self.mark(&concerned);
            }
            Input::Listed {
                kind,
                namespace,
                places,
            } => self.doubt(kind, namespace.as_deref(), &places),
            Input::Foreign {
                namespace,
                service,
                slices,
            } => self.follow_foreign(namespace, service, slices),
            Input::Answered { flight, answer } => self.answer(flight, answer, now, effects),
            Input::Leads { until } => self.begin(until, now.moment),
            // Of a lease that was lost meanwhile there is nothing to renew.
            Input::Renewed { .. } if self.lead == Lead::Follows => {}
            Input::Renewed { until } => self.lead = Lead::Leads { until: Some(until) },
            Input::Follows => {
                self.lead = Lead::Follows;
                for desk in self.desks.values_mut() {
                    desk.follow();
                }
            }
        }
    }

    /// What a whole list does not show may be gone, or newer than the list: it is read.
    fn doubt(&mut self, kind: Kind, namespace: Option<&str>, places: &BTreeSet<Place>) {
        for (place, policy) in self.objects.missing(kind, namespace, places) {
            let key = policy.as_ref().and_then(|uid| self.uids.get(uid));
            if let Some((key, desk)) = key.and_then(|key| Some((key, self.desks.get_mut(key)?))) {
                desk.doubt(place.id);
                self.marked.insert(key.clone());
            } else {
                self.mark_barred(&place);
                self.objects.lose(&place, None);
            }
        }
    }

    /// An object that was in the way of policies may be so no more.
    fn mark_barred(&mut self, place: &Place) {
        self.marked
            .extend(self.barred.get(place).into_iter().flatten().cloned());
    }

    /// An object without a policy may be for one to adopt.
    fn mark_heir(&mut self, object: &ObservedObject<R::Body>) {
        let heir = object.lost_by.as_ref();
        self.marked
            .extend(heir.filter(|heir| self.desks.contains_key(*heir)).cloned());
    }

    fn declare(&mut self, declared: Declared, now: Moment, effects: &mut Vec<Effect<R::Body>>) {
        let (key, uid) = (declared.key.clone(), declared.uid.clone());
        if self.desks.get(&key).is_some_and(|desk| desk.uid() != uid) {
            self.forget(&key);
        }
        let mut succeeded = false;
        let to_do = if let Some(desk) = self.desks.get_mut(&key) {
            let (version, status) = (&declared.version, &declared.status);
            effects.extend(desk.shown(version, status, self.lead));
            succeeded = desk.is_succeeded(version, status, &self.installation);
            desk.declare(declared, &self.rendering)
        } else {
            self.uids.insert(uid, key.clone());
            let mut desk = Desk::new(declared);
            if let Lead::Leads { until: Some(_) } = self.lead {
                desk.begin();
            }
            self.desks.insert(key.clone(), desk);
            true
        };
        if to_do {
            self.marked.insert(key);
        }
        self.doubt_lease(succeeded, now);
    }

    /// Another process began to lead by the Lease that this one believes to have, as one may whose clock stood still: a renewal says
    /// whether it has it.
    fn doubt_lease(&mut self, succeeded: bool, now: Moment) {
        if let Lead::Leads { until: Some(until) } = &mut self.lead
            && succeeded
        {
            *until = now;
        }
    }

    fn forget(&mut self, key: &PolicyKey) {
        if let Some(desk) = self.desks.remove(key) {
            self.uids.remove(desk.uid());
            for place in desk.barred() {
                self.unbar(&place, key);
            }
        }
        self.marked.remove(key);
        self.behind.remove(key);
        self.places.forget(key);
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
        let done = matches!(answer, Answer::Object(_) | Answer::Policy(_)).then_some(now.moment);
        self.places
            .of(sent.place)
            .release(&sent.key.namespace, sent.lent, done);
        if let Some(place) = sent.place_of_object() {
            self.busy.remove(&place);
        }
        // Whoever has the policy's name now may have waited for it.
        self.marked.insert(sent.key.clone());
        match &answer {
            Answer::Object(_) | Answer::Policy(_) => {
                self.succeeded = Some(now.moment);
                if !sent.request.is_read {
                    let (kind, verb) = (sent.kind, sent.verb);
                    effects.push(Effect::Figure(Figure::Wrote { kind, verb }));
                }
            }
            Answer::Unsent => {}
            Answer::Refused { refusal, .. } | Answer::Unknown { refusal, .. } => {
                let category = refusal.category;
                effects.push(Effect::Figure(Figure::Failed { category }));
            }
        }
        if let Some(desk) = self
            .desks
            .get_mut(&sent.key)
            .filter(|desk| desk.uid() == sent.uid)
        {
            let succeeded = match &answer {
                Answer::Policy(Some(policy)) => {
                    desk.is_succeeded(&policy.version, &policy.status, &self.installation)
                }
                _ => false,
            };
            desk.answered(&sent.request, &answer, now.moment, &self.installation, effects);
            self.doubt_lease(succeeded, now.moment);
        }
        self.learn(&sent, answer);
    }

    /// What an answer shows of an object.
    fn learn(&mut self, sent: &Sent, answer: Answer<R::Body>) {
        let place = sent.place_of_object();
        if let Some(place) = &place {
            self.mark_barred(place);
        }
        let concerned = match (answer, &place) {
            // The newest there is, though versions may have begun anew, as after a restore of etcd.
            (Answer::Object(Some(object)), _) if sent.request.is_read => self.objects.replace(*object),
            (Answer::Object(Some(object)), _) => self.objects.see(*object),
            (Answer::Object(None), Some(place)) => self.objects.lose(place, None),
            _ => Vec::new(),
        };
        self.mark(&concerned);
    }

    /// Lets a desk do what it can.
    fn attend(&mut self, key: &PolicyKey, now: Now, effects: &mut Vec<Effect<R::Body>>) {
        let begun = effects.len();
        let attended = self.with_desk(key, now, effects, |desk, around| {
            let before = desk.barred();
            let rest = desk.advance(around);
            (before, rest, desk.barred(), desk.uid().to_owned())
        });
        let Some((before, rest, after, uid)) = attended else {
            return;
        };
        for effect in &effects[begun..] {
            if let Effect::Request(request) = effect {
                let sent = sent(request, &uid);
                self.busy.extend(sent.place_of_object());
                self.young.push_back((now.moment, request.flight));
                self.sent.insert(request.flight, sent);
            }
        }
        for place in before.difference(&after) {
            self.unbar(place, key);
        }
        for place in after.difference(&before) {
            self.barred.entry(place.clone()).or_default().insert(key.clone());
        }
        self.wakes.set(key, rest.wake);
        for (kind, routes) in rest.starved() {
            self.places.of(kind).wait(key, routes);
        }
    }

    fn unbar(&mut self, place: &Place, key: &PolicyKey) {
        if let Some(keys) = self.barred.get_mut(place) {
            keys.remove(key);
            if keys.is_empty() {
                self.barred.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests;
