//! What the status tells, when all that can be written now is written.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rivals::tells_of_fight;
use super::{Around, Desk, Goal, Rest, SLOW};
use crate::render::ObjectId;
use crate::render::events::{self, Notice};
use crate::render::status::{Refusal, RefusedWrite, Report, WriteOutcome};
use crate::writing::attempt::Attempt;
use crate::writing::order::{Due, Step};
use crate::writing::rendering::Rendering;
use crate::writing::request::{Effect, Figure};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::decision::DecisionState;
use distributary_core::moment::Moment;
use distributary_core::policy::Mode;
use distributary_core::table::named;

/// What was last told.
#[derive(Clone, Default, Hash)]
pub struct Reported {
    /// Something else is to be told since.
    pub changed: bool,
    outcome: Option<WriteOutcome>,
    /// Refused writes that an Event told of, by object and category.
    refused: BTreeSet<(String, &'static str)>,
    /// Why the status was refused, where an Event told of it.
    status_refused: Option<&'static str>,
    /// When the first and the newest of the decisions were made that no report told of yet.
    decided: Option<(Moment, Moment)>,
    /// What is under way.
    sent: Option<Box<Sent>>,
}

/// A report waits for so long after a decision, and no longer than the second after the first of several: what follows from
/// one fault is told at once, and costs one write.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

impl Reported {
    /// There is a new decision. What was never told is told without a wait.
    pub fn decide(&mut self, now: Moment) {
        self.changed = true;
        if self.outcome.is_some() {
            let first = self.decided.map_or(now, |(first, _)| first);
            self.decided = Some((first, now));
        }
    }

    /// Until when more decisions may come.
    fn waits(&self, now: Moment) -> Option<Moment> {
        let (first, newest) = self.decided?;
        let until = (newest + REST.0).min(first + REST.1);
        (now < until).then_some(until)
    }
}

/// A status that was sent.
#[derive(Clone, Hash)]
struct Sent {
    before: ReplicaSetPolicyStatus,
    after: ReplicaSetPolicyStatus,
    observing: bool,
}

impl<B: Clone + std::fmt::Debug + PartialEq> Desk<B> {
    /// Writes the status, where it differs.
    pub(super) fn report<R: Rendering<Body = B>>(
        &mut self,
        due: &Due<B>,
        around: &mut Around<'_, R>,
        rest: &mut Rest,
    ) {
        let now = around.now;
        if let Some(attempt) = self.attempts.get(&None) {
            if attempt.unsure || attempt.under_way.is_some() {
                return;
            }
            if let Some(at) = attempt.waits(now.moment) {
                rest.wake_at(at);
                return;
            }
        }
        if let Some(at) = self.reported.waits(now.moment) {
            rest.wake_at(at);
            return;
        }
        let mut written = self.outcome(due, around);
        if self.rival.rests() || (!self.reported.changed && self.reported.outcome.as_ref() == Some(&written))
        {
            return;
        }
        let mut next = self.next_status(&written, around);
        if next != self.status && self.is_status_undone(now.moment, around.installation) {
            around.effects.push(Effect::Figure(Figure::Undone));
            written = self.outcome(due, around);
            next = self.next_status(&written, around);
        }
        if next != self.status {
            let sent = Box::new(Sent {
                before: self.status.clone(),
                after: next.clone(),
                observing: written == WriteOutcome::Observing,
            });
            let call = self.put(next, around.installation);
            if !self.send(None, call, false, around, rest) {
                return;
            }
            self.reported.sent = Some(sent);
        } else if tells_of_fight(&next) {
            self.rival.told();
        }
        self.reported.changed = false;
        self.reported.decided = None;
        self.reported.outcome = Some(written);
    }

    /// Whether a write was refused so long ago that it is told now, although others are under way.
    pub(super) fn is_overdue(&self, due: &Due<B>, now: Moment, rest: &mut Rest) -> bool {
        let told = match &self.reported.outcome {
            Some(WriteOutcome::Refused(writes)) => &writes[..],
            _ => &[],
        };
        let untold = |step: &Step<B>| {
            let attempt = self.attempts.get(&Some(step.id.clone()))?;
            let refusal = attempt.refusal.as_ref()?;
            let is_told =
                |write: &RefusedWrite| write.refusal == *refusal && write.object == step.id.to_string();
            attempt.fails().filter(|_| !told.iter().any(is_told))
        };
        let first = due.steps.iter().filter_map(untold).min();
        first.map(|since| since + SLOW.1).is_some_and(|until| {
            if now < until {
                rest.wake_at(until);
            }
            now >= until
        })
    }

    /// The status that tells the outcome.
    fn next_status<R: Rendering<Body = B>>(
        &self,
        written: &WriteOutcome,
        around: &Around<'_, R>,
    ) -> ReplicaSetPolicyStatus {
        let now = around.now;
        let decided = self.decided();
        let report = Report {
            generation: self.declared.generation,
            problems: &self.declared.problems,
            unresolved: &self.declared.unresolved,
            decision: decided.map(|(decision, _)| &**decision),
            outputs: decided.map(|(_, valid)| &*valid.outputs),
            written: written.clone(),
            remembered: !self.log.given_up,
            signed: !self.unsigned,
            revision: self.revision(),
            moment: now.moment,
        };
        around.rendering.status(&report, &self.status, &now.time())
    }

    /// Whether the status would be written, were nothing else to be written before.
    pub(super) fn would_report<R: Rendering<Body = B>>(&self, due: &Due<B>, around: &Around<'_, R>) -> bool {
        self.next_status(&self.outcome(due, around), around) != self.status
    }

    fn outcome<R: Rendering<Body = B>>(&self, due: &Due<B>, around: &Around<'_, R>) -> WriteOutcome {
        let Some((decision, valid)) = self.decided() else {
            return WriteOutcome::Waiting;
        };
        match (&decision.state, decision.policy.mode) {
            (DecisionState::Suspended, _) => return WriteOutcome::Suspended,
            (_, Mode::Observe) => return WriteOutcome::Observing,
            (DecisionState::Waiting { .. }, _) => return WriteOutcome::Waiting,
            (DecisionState::Decided(_), _) => {}
        }
        if let Some(leases) = self.rival.leases(around.installation) {
            return WriteOutcome::ForeignOperator(leases);
        }
        let refused = self.refused(due, around.now.moment);
        if !refused.is_empty() {
            return WriteOutcome::Refused(refused);
        }
        if !due.conflicts.is_empty() {
            return WriteOutcome::NameConflict(due.conflicts.iter().map(ToString::to_string).collect());
        }
        let of = |service: String| around.foreign.get(&(self.key.namespace.clone(), service));
        let services = named::services(&decision.policy, &valid.outputs).into_iter();
        let foreign: Vec<_> = services.filter_map(of).flatten().cloned().collect();
        if !foreign.is_empty() {
            return WriteOutcome::ForeignEndpoints(foreign);
        }
        if let Some(servers) = self.stays_at(due, around) {
            return WriteOutcome::AwaitingProof(servers);
        }
        match &self.goal {
            Goal::Rendered(rendered) if !rendered.too_large.is_empty() => {
                WriteOutcome::TooLarge(rendered.too_large.clone())
            }
            _ => WriteOutcome::Programmed,
        }
    }

    /// The writes that are due, and were refused or take long.
    fn refused(&self, due: &Due<B>, now: Moment) -> Vec<RefusedWrite> {
        let slow = |attempt: &Attempt| match (attempt.under_way, attempt.is_starved()) {
            (Some(sent), _) if now < sent.since + SLOW.1 => None,
            (Some(_), _) => Some(Refusal::new("Slow", "no answer yet")),
            (None, true) => Some(Refusal::new(
                "Slow",
                "it waits for other requests of this namespace",
            )),
            (None, false) => None,
        };
        let refused = |id: &ObjectId, verb| {
            let attempt = self.attempts.get(&Some(id.clone()))?;
            let refusal = attempt.refusal.clone().or_else(|| slow(attempt))?;
            Some(RefusedWrite {
                object: id.to_string(),
                verb,
                refusal,
            })
        };
        due.steps
            .iter()
            .filter_map(|step| refused(&step.id, step.call().verb()))
            .collect()
    }

    /// A status was taken: the Events that follow from it.
    pub(super) fn reported(&mut self, effects: &mut Vec<Effect<B>>) {
        let Some(sent) = self.reported.sent.take() else {
            return;
        };
        let observed = sent
            .observing
            .then(|| events::observed(&sent.before.routes, &sent.after.routes))
            .flatten();
        let turned = events::conditions(&sent.before.conditions, &sent.after.conditions);
        let refused = self.newly_refused();
        for notice in turned.into_iter().chain(observed).chain(refused) {
            self.tell(notice, effects);
        }
        self.reported.status_refused = None;
    }

    /// The Events of writes that are refused since the last report.
    fn newly_refused(&mut self) -> Vec<Notice> {
        let told = std::mem::take(&mut self.reported.refused);
        let Some(WriteOutcome::Refused(writes)) = &self.reported.outcome else {
            return Vec::new();
        };
        let of = |write: &RefusedWrite| (write.object.clone(), write.refusal.category);
        self.reported.refused = writes.iter().map(of).collect();
        let new = writes.iter().filter(|write| !told.contains(&of(write)));
        new.map(events::write_refused).collect()
    }

    /// The status was refused: an Event tells it once for each reason.
    pub(super) fn status_refused(&mut self, refusal: &Refusal, effects: &mut Vec<Effect<B>>) {
        if self.reported.status_refused != Some(refusal.category) {
            self.reported.status_refused = Some(refusal.category);
            self.tell(events::status_refused(refusal), effects);
        }
    }

    /// A status was not taken: it is told anew.
    pub(super) fn unreported(&mut self) {
        self.reported.sent = None;
        self.reported.changed = true;
    }

    /// The Events of what led to the slices, which are written.
    pub(super) fn tell_transitions<R: Rendering<Body = B>>(&mut self, around: &mut Around<'_, R>) {
        for notice in std::mem::take(&mut self.notices) {
            self.tell(notice, around.effects);
        }
    }

    fn tell(&self, notice: Notice, effects: &mut Vec<Effect<B>>) {
        effects.push(Effect::Event {
            key: self.key.clone(),
            uid: self.uid().to_owned(),
            notice,
        });
    }
}
