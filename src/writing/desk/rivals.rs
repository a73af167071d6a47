//! What another operator that writes for the same policy undoes, and what is written meanwhile.

use super::{Around, Desk, Goal, Rest};
use crate::render::status::{ConditionReason, ConditionType, rivals_told};
use crate::writing::installation::Installation;
use crate::writing::order::{Due, Step};
use crate::writing::rendering::Rendering;
use crate::writing::request::{Effect, Figure};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::moment::Moment;
use distributary_core::table::named::WRITES;

/// Whether a status says that several operators write for its policy.
pub(super) fn tells_of_fight(status: &ReplicaSetPolicyStatus) -> bool {
    let says = ConditionReason::ForeignOperator.into_str();
    let programmed = ConditionType::Programmed.into_str();
    let conditions = &mut status.conditions.iter();
    conditions.any(|condition| condition.type_ == programmed && condition.reason == says)
}

impl<B: Clone + std::fmt::Debug + PartialEq> Desk<B> {
    /// Looks who wrote what is not as it should be. While this process pauses, only what moves or withdraws the writes stays due.
    pub(super) fn meet_rival<R: Rendering<Body = B>>(
        &mut self,
        due: &mut Due<B>,
        around: &mut Around<'_, R>,
        rest: &mut Rest,
    ) {
        let (now, by) = (around.now.moment, around.installation);
        self.rival.pass(now, by);
        if self.rival.begins(tells_of_fight(&self.status), now, by) {
            for lease in rivals_told(&self.status) {
                self.rival.is_of(&lease);
            }
        }
        if self.is_of_another(by) && tells_of_fight(&self.status) {
            self.rival.hears(&self.version, now, by);
        }
        for step in &due.steps {
            let attempt = self.attempts.get(&Some(step.id.clone()));
            if attempt.is_some_and(|attempt| attempt.unsure || attempt.under_way.is_some()) {
                continue;
            }
            let seen = around.objects.get(&self.place(&step.id));
            if seen.is_some_and(|seen| self.rival.meets(seen, now, by)) {
                around.effects.push(Effect::Figure(Figure::Undone));
            }
        }
        self.name_rival(by);
        if self.rival.pauses() {
            due.steps.retain(|step| self.moves_writes(step, around));
            if let Some(at) = self.rival.waits(due.steps.iter().map(|step| &step.id), now) {
                due.steps.clear();
                rest.wake_at(at);
            }
        }
        if let Some(until) = self.rival.until() {
            rest.wake_at(until);
        }
    }

    /// Whether a step changes the servers of the route of the writes.
    fn moves_writes<R: Rendering<Body = B>>(&self, step: &Step<B>, around: &Around<'_, R>) -> bool {
        let seen = around.objects.get(&self.place(&step.id));
        let before = seen
            .and_then(|seen| seen.slice.as_ref())
            .map(|slice| &slice.addresses);
        let wanted = match &self.goal {
            Goal::Rendered(rendered) => rendered.objects.iter().find(|it| it.id == step.id),
            Goal::Nothing | Goal::Settled { .. } => None,
        };
        let after = wanted
            .and_then(|it| it.slice.as_ref())
            .map(|slice| &slice.addresses);
        step.route.as_deref() == Some(WRITES) && before != after
    }

    /// The status is about to be written. Whether another operator undid the one that this process wrote.
    pub(super) fn is_status_undone(&mut self, now: Moment, by: &Installation) -> bool {
        let undone = self.is_of_another(by)
            && self
                .rival
                .meets_status(&self.version, tells_of_fight(&self.status), now, by);
        self.name_rival(by);
        undone
    }

    /// Whether another installation wrote the status, or an operator of an earlier version. Where the API server drops who wrote it,
    /// nobody knows.
    fn is_of_another(&self, by: &Installation) -> bool {
        let memory = self.status.memory.as_ref().filter(|_| !self.unsigned);
        memory.is_some_and(|memory| memory.author != by.lease)
    }

    /// While there is another operator: its Lease, as the status names it.
    fn name_rival(&mut self, by: &Installation) {
        let author = self
            .status
            .memory
            .as_ref()
            .and_then(|memory| memory.author.as_ref());
        if let Some(lease) = author.filter(|_| self.rival.until().is_some() && self.is_of_another(by)) {
            self.rival.is_of(lease);
        }
    }
}
