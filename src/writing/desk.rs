//! One policy: what should be, what was asked for, and what comes next.

mod answers;
mod begin;
mod log;
mod report;
mod rivals;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use answers::SentRequest;

use super::Now;
use super::attempt::Attempt;
use super::input::{Declared, Place};
use super::installation::Installation;
use super::lead::Lead;
use super::objects::Objects;
use super::order::{Due, Step, StepChange, due, lost_slices};
use super::ownership::Owner;
use super::pace::Pace;
use super::places::{PlaceKind, PlacesByKind};
use super::rendering::{Rendered, Rendering, Wanted};
use super::request::{Call, Effect, FlightId, Request};
use super::rival::Rival;
use crate::render::config_map;
use crate::render::events::{self, Notice};
use crate::render::reading::{Digest, Version};
use crate::render::status::{agree, tells_unsigned};
use crate::render::{Kind, ObjectId};
use begin::Beginning;
use distributary_api::validate::Declaration;
use distributary_api::{MemoryStatus, ReplicaSetPolicyStatus};
use distributary_core::decision::Decision;
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
use distributary_core::seeded::SeededFault;
use distributary_core::transition::Transition;
use log::Log;
use report::Reported;

/// A request without an answer for so long holds up no other one; and after so long it is told.
pub const SLOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// Nothing tells that an object in our way is gone: it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What a request is about: an object, or the policy itself.
type Subject = Option<ObjectId>;

#[derive(Clone, Hash)]
pub struct Desk<B> {
    key: PolicyKey,
    declared: Declared,
    /// The policy's status and version as last seen, whoever showed them.
    status: ReplicaSetPolicyStatus,
    version: Version,
    decision: Option<Arc<Decision>>,
    goal: Goal<B>,
    attempts: BTreeMap<Subject, Attempt>,
    /// Services of our names that a request did not find.
    absent: BTreeSet<ObjectId>,
    pace: Pace,
    /// Events of transitions, until the slices that follow from them are written.
    notices: Vec<Notice>,
    log: Log,
    /// How often the engine was asked to go by a memory.
    recalls: u64,
    beginning: Beginning,
    reported: Reported,
    rival: Rival,
    /// The memory in the status that was sent last.
    sent: Option<MemoryStatus>,
    /// The API server drops who wrote a status.
    unsigned: bool,
    /// Where the route of the writes was found to lead, as told of this goal.
    found: Option<(u64, BTreeSet<SocketAddr>)>,
    /// A request found no such policy any more: its watch will say so, too, and until then the policy is looked at again.
    is_gone: bool,
    /// Objects in our way.
    barred: BTreeSet<ObjectId>,
    /// Tells one goal from another.
    goals: u64,
}

/// The objects of the newest decision.
#[derive(Clone, Hash)]
enum Goal<B> {
    /// None is asked for: what there is stays.
    Nothing,
    /// Not everything is as it should be.
    Rendered(Rendered<B>),
    /// Everything was: objects with other digests are put right.
    Settled {
        digests: Vec<(ObjectId, Digest)>,
        revision: String,
    },
}

/// What a desk works with.
pub struct Around<'a, R: Rendering> {
    pub rendering: &'a R,
    pub installation: &'a Installation,
    pub objects: &'a Objects<R::Body>,
    /// The policies that there are, by their uids.
    pub living: &'a BTreeMap<String, PolicyKey>,
    pub foreign: &'a BTreeMap<(String, String), Vec<String>>,
    pub lead: Lead,
    pub places: &'a mut PlacesByKind,
    /// Objects about which a request of any policy is under way.
    pub busy: &'a BTreeSet<Place>,
    pub flights: &'a mut FlightId,
    /// When a request of any policy last succeeded.
    pub succeeded: Option<Moment>,
    pub now: Now,
    pub effects: &'a mut Vec<Effect<R::Body>>,
}

/// What is left when a desk has done what it can.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// When to look again.
    pub wake: Option<Moment>,
    /// For what it found no place, and whether a route waits for that.
    starved: [Option<bool>; PlaceKind::ALL.len()],
}

impl Rest {
    fn wake_at(&mut self, at: Moment) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn starve(&mut self, kind: PlaceKind, is_of_route: bool) {
        let starved = &mut self.starved[kind as usize];
        *starved = Some(starved.unwrap_or(false) || is_of_route);
    }

    /// For what it found no place, and whether a route waits for that.
    pub fn starved(&self) -> impl Iterator<Item = (PlaceKind, bool)> {
        let of = |kind: PlaceKind| Some((kind, self.starved[kind as usize]?));
        PlaceKind::ALL.into_iter().filter_map(of)
    }
}

impl<B: Clone + std::fmt::Debug + PartialEq> Desk<B> {
    pub fn new(declared: Declared) -> Self {
        Self {
            key: declared.key.clone(),
            status: declared.status.clone(),
            version: declared.version.clone(),
            unsigned: tells_unsigned(&declared.status),
            declared,
            decision: None,
            goal: Goal::Nothing,
            attempts: BTreeMap::new(),
            absent: BTreeSet::new(),
            pace: Pace::default(),
            notices: Vec::new(),
            log: Log::default(),
            recalls: 0,
            beginning: Beginning::default(),
            reported: Reported::default(),
            rival: Rival::default(),
            sent: None,
            found: None,
            is_gone: false,
            barred: BTreeSet::new(),
            goals: 0,
        }
    }

    pub fn uid(&self) -> &str {
        &self.declared.uid
    }

    /// The policy, or what it names, was read anew. Whether something is to be done.
    pub fn declare(&mut self, declared: Declared, rendering: &impl Rendering<Body = B>) -> bool {
        let was_gone = self.is_gone;
        self.see(&declared.version, &declared.status);
        let same = same(&self.declared, &declared);
        self.declared = declared;
        self.reported.changed |= !same;
        if !same {
            self.aim(rendering);
        }
        !same || self.reported.changed || was_gone
    }

    /// The objects in our way.
    pub fn barred(&self) -> BTreeSet<Place> {
        self.barred.iter().map(|id| self.place(id)).collect()
    }

    /// A list did not show this object: nobody knows whether it is there.
    pub fn doubt(&mut self, id: ObjectId) {
        self.attempts.entry(Some(id)).or_default().unsure = true;
    }

    /// Whether a newer status of the policy remembers something else than the one that was seen last.
    fn remembers_otherwise(&self, version: &Version, status: &ReplicaSetPolicyStatus) -> bool {
        let (before, now) = (self.status.memory.as_ref(), status.memory.as_ref());
        self.version.is_before(version) && now.is_some() && !agree(before, now)
    }

    /// The status of the policy is this one, as of this version. Whether something is to be done.
    pub fn see(&mut self, version: &Version, status: &ReplicaSetPolicyStatus) -> bool {
        let was_gone = std::mem::take(&mut self.is_gone);
        if self.version.is_before(version) {
            self.version = version.clone();
            self.reported.changed |= *status != self.status;
            self.status = status.clone();
        }
        self.reported.changed || was_gone
    }

    /// There is a new decision.
    pub fn decide(
        &mut self,
        decision: Arc<Decision>,
        transitions: &[Transition],
        now: Moment,
        rendering: &impl Rendering<Body = B>,
    ) {
        let outputs = self.declared.valid.as_ref().map(|valid| &*valid.outputs);
        let notice = |transition| events::notice(transition, outputs);
        self.notices.extend(transitions.iter().filter_map(notice));
        self.decision = Some(decision);
        self.reported.decide(now);
        self.aim(rendering);
    }

    /// The newest decision, where it is one about what was declared last.
    fn decided(&self) -> Option<(&Arc<Decision>, &Declaration)> {
        let (decision, valid) = (self.decision.as_ref()?, self.declared.valid.as_ref()?);
        let same = decision.policy == valid.policy && decision.resolved == valid.resolved;
        same.then_some((decision, valid))
    }

    /// Whether the decision about what was declared is still to come.
    fn is_awaiting(&self) -> bool {
        self.declared.valid.is_some() && self.decided().is_none()
    }

    fn aim(&mut self, rendering: &impl Rendering<Body = B>) {
        let Some((decision, valid)) = self.decided() else {
            return;
        };
        let rendered = rendering.render(decision, &valid.outputs);
        self.goals += 1;
        self.goal = rendered.map_or(Goal::Nothing, Goal::Rendered);
    }

    /// What is due: only where something differs from the goal are the objects rendered again.
    fn due<R: Rendering<Body = B>>(&mut self, around: &Around<'_, R>) -> Due<B> {
        if let Goal::Settled { digests, .. } = &self.goal {
            if self.is_settled(digests, around) {
                return Due::default();
            }
            self.aim(around.rendering);
        }
        match &self.goal {
            Goal::Rendered(rendered) => {
                let unowned = self.unowned(&rendered.objects, around);
                let wanted = rendered
                    .objects
                    .iter()
                    .map(|it| unowned.iter().find(|other| other.id == it.id).unwrap_or(it));
                let kept = rendered.too_large.iter().map(|it| config_map::id(&it.config_map));
                due(wanted, &kept.collect(), around.objects, self.owner(around))
            }
            Goal::Nothing | Goal::Settled { .. } => Due::default(),
        }
    }

    fn is_settled<R: Rendering<Body = B>>(
        &self,
        digests: &[(ObjectId, Digest)],
        around: &Around<'_, R>,
    ) -> bool {
        let (objects, owner) = (around.objects, self.owner(around));
        let is = |(id, digest): &(ObjectId, Digest)| {
            let seen = objects.get(&self.place(id));
            seen.is_some_and(|seen| owner.controls(seen) && seen.digest == *digest)
        };
        let services = digests.iter().map(|(id, _)| id);
        digests.iter().all(is)
            && objects.of(self.uid()).count() == digests.len()
            && lost_slices(objects, owner, services).next().is_none()
    }

    /// The objects that have no owner any more: while the policy is being deleted they get none back.
    fn unowned<R: Rendering<Body = B>>(
        &self,
        objects: &[Wanted<B>],
        around: &Around<'_, R>,
    ) -> Vec<Wanted<B>> {
        let lost_it = |it: &&Wanted<B>| {
            let seen = around.objects.get(&self.place(&it.id));
            self.declared.deleting && seen.is_some_and(|seen| !seen.owned)
        };
        let lost_it = objects.iter().filter(lost_it);
        lost_it.map(|it| around.rendering.unowned(it)).collect()
    }

    fn owner<'a, R: Rendering>(&'a self, around: &Around<'a, R>) -> Owner<'a> {
        Owner {
            key: &self.key,
            uid: self.uid(),
            living: around.living,
            deleting: self.declared.deleting,
        }
    }

    fn place(&self, id: &ObjectId) -> Place {
        Place {
            namespace: self.key.namespace.clone(),
            id: id.clone(),
        }
    }

    /// Does what can be done now.
    pub fn advance<R: Rendering<Body = B>>(&mut self, around: &mut Around<'_, R>) -> Rest {
        let mut rest = Rest::default();
        if !around.lead.may_start(around.now.moment) {
            return rest;
        }
        if self.is_gone {
            self.look(&Due::default(), around, &mut rest);
            return rest;
        }
        if self.is_awaiting() {
            return rest;
        }
        let mut due = self.due(around);
        if self.begins(&due, around, &mut rest) {
            return rest;
        }
        if self.awaits_memory(around.now.moment, &mut rest) {
            return rest;
        }
        self.meet_rival(&mut due, around, &mut rest);
        self.tidy(&due, around.now.moment);
        let waits_for_proof = self.waits_for_proof(&due, around);
        let unlogged = self.log(&due, around, &mut rest) && !SeededFault::ActBeforeLog.is_on();
        self.look(&due, around, &mut rest);
        let open = self.write(&due, unlogged || waits_for_proof, around, &mut rest);
        if !open.slices {
            self.tell_transitions(around);
        }
        let is_early = SeededFault::ReportBeforeRoutes.is_on();
        if !unlogged && (!open.any || is_early || self.is_overdue(&due, around.now.moment, &mut rest)) {
            self.report(&due, around, &mut rest);
        }
        if due.steps.is_empty() && due.conflicts.is_empty() && !self.rival.pauses() {
            self.settle();
        }
        rest
    }

    /// Forgets what is known of objects with which nothing is to be done any more.
    fn tidy(&mut self, due: &Due<B>, now: Moment) {
        self.attempts.retain(|subject, attempt| {
            let is_due = |id: &ObjectId| due.steps.iter().any(|step| step.id == *id);
            attempt.under_way.is_some() || attempt.unsure || subject.as_ref().is_none_or(is_due)
        });
        self.barred = due.conflicts.iter().cloned().collect();
        for id in &due.conflicts {
            let again = || Attempt::look_at(now + LOOK_AGAIN);
            self.attempts.entry(Some(id.clone())).or_insert_with(again);
        }
        // What was absent is known of the Services that are about to be made alone.
        let is_made = |service: &ObjectId| {
            let of_it = |step: &Step<B>| {
                step.service
                    .as_ref()
                    .is_some_and(|(name, _)| *name == service.name)
            };
            due.steps.iter().any(of_it)
        };
        self.absent.retain(is_made);
        // Before a Service gets its first slice it must be known that there is none of another owner.
        for step in &due.steps {
            if let Some(service) = self.unknown_service(step) {
                self.attempts.entry(Some(service)).or_default().unsure = true;
            }
        }
    }

    /// The Service of a new slice, where nobody knows whether there is one.
    fn unknown_service(&self, step: &Step<B>) -> Option<ObjectId> {
        let (name, unseen) = step.service.clone()?;
        let service = ObjectId {
            kind: Kind::Service,
            name,
        };
        let is_new = matches!(step.change, StepChange::Create(_)) && unseen;
        (is_new && !self.absent.contains(&service)).then_some(service)
    }

    /// Sends a request, if there is a place for it.
    fn send<R: Rendering<Body = B>>(
        &mut self,
        subject: Subject,
        call: Call<B>,
        is_of_route: bool,
        around: &mut Around<'_, R>,
        rest: &mut Rest,
    ) -> bool {
        // A policy of the same name that is gone may have asked for something: its answer is awaited.
        if subject
            .as_ref()
            .is_some_and(|id| around.busy.contains(&self.place(id)))
            && !SeededFault::SecondRequestAtOnce.is_on()
        {
            return false;
        }
        let kind = match &subject {
            Some(_) if call.changes_object() => PlaceKind::Write,
            None if is_of_route => PlaceKind::Log,
            None if !call.is_read() => PlaceKind::Report,
            _ => PlaceKind::Read,
        };
        if !around
            .places
            .of(kind)
            .take(&self.key.namespace, around.now.moment)
        {
            rest.starve(kind, is_of_route);
            return false;
        }
        *around.flights += 1;
        let (flight, now) = (*around.flights, around.now.moment);
        let attempt = self.attempts.entry(subject).or_default();
        let deadline = attempt.deadline(call.is_urgent(), call.is_read());
        let fresh = attempt.is_fresh();
        attempt.begin(flight, now);
        around.effects.push(Effect::Request(Request {
            flight,
            key: self.key.clone(),
            deadline,
            place: kind,
            fresh,
            call,
        }));
        rest.wake_at(now + SLOW.0);
        true
    }

    fn settle(&mut self) {
        if let Goal::Rendered(rendered) = &self.goal
            && !self.declared.deleting
            && rendered.too_large.is_empty()
        {
            self.goal = Goal::Settled {
                digests: rendered
                    .objects
                    .iter()
                    .map(|it| (it.id.clone(), it.digest))
                    .collect(),
                revision: rendered.revision.clone(),
            };
        }
    }

    fn revision(&self) -> Option<&str> {
        match &self.goal {
            Goal::Nothing => None,
            Goal::Rendered(Rendered { revision, .. }) | Goal::Settled { revision, .. } => Some(revision),
        }
    }
}

/// Whether two readings say the same, but for the status and the version.
fn same(before: &Declared, after: &Declared) -> bool {
    fn parts(it: &Declared) -> impl PartialEq + '_ {
        let Declared {
            key,
            uid,
            generation,
            deleting,
            valid,
            problems,
            unresolved,
            status: _,
            version: _,
        } = it;
        (key, uid, generation, deleting, valid, problems, unresolved)
    }
    parts(before) == parts(after)
}
