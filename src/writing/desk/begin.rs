//! A process that begins to lead reads the policy and the slices of the writes anew, before the first write for the policy: not
//! from a watch, which may lag. What it chose while it followed counts for nothing: the memory that it reads goes before it.

use std::collections::BTreeSet;

use super::log::Log;
use super::{Around, Desk, Rest, Subject};
use crate::render::status::memory;
use crate::writing::attempt::Attempt;
use crate::writing::order::Due;
use crate::writing::rendering::Rendering;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::table::named::WRITES;

/// How far that is.
#[derive(Default)]
pub enum Beginning {
    /// Nothing is to be written yet.
    Unread,
    /// These are being read.
    Reading(BTreeSet<Subject>),
    /// All was read, or there is no lease.
    #[default]
    Done,
}

impl<B: Clone + std::fmt::Debug + PartialEq> Desk<B> {
    /// The process begins to lead.
    pub fn begin(&mut self) {
        self.beginning = Beginning::Unread;
        self.log = Log::default();
        // What failed before another process led says nothing of now.
        self.attempts.values_mut().for_each(Attempt::forget_failures);
    }

    /// Whether all there is is as a process that follows would write it, but for the status.
    pub fn compare<R: Rendering<Body = B>>(&mut self, around: &mut Around<'_, R>) -> bool {
        if self.is_awaiting() {
            return true;
        }
        let due = self.due(around);
        let is_same = due.steps.is_empty() && due.conflicts.is_empty();
        if is_same {
            self.settle();
        }
        is_same
    }

    /// Reads what must be read before a write, once one is due. Whether writes wait for it.
    pub(super) fn begins<R: Rendering<Body = B>>(
        &mut self,
        due: &Due<B>,
        around: &mut Around<'_, R>,
        rest: &mut Rest,
    ) -> bool {
        if matches!(self.beginning, Beginning::Unread)
            && (!due.steps.is_empty() || self.would_report(due, around))
        {
            let slices = around.objects.of(self.uid());
            let of_writes = slices.filter(|object| {
                let route = object.slice.as_ref().and_then(|slice| slice.route.as_deref());
                route == Some(WRITES)
            });
            let subjects: BTreeSet<Subject> = of_writes
                .map(|slice| Some(slice.id.clone()))
                .chain([None])
                .collect();
            for subject in &subjects {
                self.attempts.entry(subject.clone()).or_default().unsure = true;
            }
            self.beginning = Beginning::Reading(subjects);
        }
        let Beginning::Reading(subjects) = &self.beginning else {
            return false;
        };
        let is_unread = |subject: &Subject| self.attempts.get(subject).is_some_and(|attempt| attempt.unsure);
        if subjects.iter().any(is_unread) {
            self.look(due, around, rest);
            return true;
        }
        self.beginning = Beginning::Done;
        false
    }

    /// Whether a status that is read remembers something else than is decided, while the process begins to lead.
    pub(super) fn decided_otherwise(&self, status: &ReplicaSetPolicyStatus) -> bool {
        let begins = !matches!(self.beginning, Beginning::Done);
        let decided = self.decided().and_then(|(decision, _)| memory(decision));
        begins && status.memory.is_some() && decided.is_some() && status.memory != decided
    }
}
