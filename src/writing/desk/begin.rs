//! A process that begins to lead reads the policy and the slices of the writes anew, before the first write for the policy: not
//! from a watch, which may lag. What it chose while it followed counts for nothing: the memory that it reads goes before it.

use std::collections::BTreeSet;

use super::log::Log;
use super::{Around, Desk, Rest, Subject};
use crate::render::reading::Version;
use crate::render::status::{agree, memory, tells_unsigned};
use crate::writing::attempt::Attempt;
use crate::writing::installation::Installation;
use crate::writing::lead::Lead;
use crate::writing::order::Due;
use crate::writing::rendering::Rendering;
use crate::writing::request::Effect;
use crate::writing::rival::Rival;
use distributary_api::{MemoryStatus, ReplicaSetPolicyStatus};
use distributary_core::seeded::SeededFault;
use distributary_core::table::named::WRITES;

/// How far that is.
#[derive(Clone, Default, Hash)]
pub enum Beginning {
    /// The process needs no lease, or follows.
    #[default]
    NotNeeded,
    /// Nothing is to be written yet. `agrees`: what is decided was what the status remembers, so that whatever is decided
    /// since is the choice of a leader.
    Unread { agrees: bool },
    /// These are being read.
    Reading {
        subjects: BTreeSet<Subject>,
        agrees: bool,
    },
    /// All was read, and no status was written since: late ones of an earlier leader may still be taken.
    Read,
    /// A status was written.
    Signed,
}

impl<B: Clone + std::fmt::Debug + PartialEq> Desk<B> {
    /// The process begins to lead.
    pub fn begin(&mut self) {
        self.beginning = Beginning::Unread { agrees: false };
        (self.log, self.rival) = (Log::default(), Rival::default());
        self.sent = None;
        self.unsigned = tells_unsigned(&self.status);
        self.absent.clear();
        // What failed before another process led says nothing of now, and what was asked for before is no reading of now.
        self.attempts.values_mut().for_each(Attempt::outlive);
    }

    /// Another process leads, and tells what there is to be told.
    pub fn follow(&mut self) {
        (self.beginning, self.rival) = (Beginning::NotNeeded, Rival::default());
        self.notices.clear();
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
        if let Beginning::Unread { agrees } = self.beginning {
            if !due.steps.is_empty() || self.would_report(due, around) {
                let subjects = self.read_first(around);
                self.beginning = Beginning::Reading { subjects, agrees };
            } else {
                let agrees = agrees || self.is_logged();
                self.beginning = Beginning::Unread { agrees };
            }
        }
        let Beginning::Reading { subjects, .. } = &self.beginning else {
            return false;
        };
        let is_read = SeededFault::BeginsUnread.is_on();
        let is_unread =
            |subject: &Subject| !is_read && self.attempts.get(subject).is_some_and(|attempt| attempt.unsure);
        if subjects.iter().any(is_unread) {
            self.look(due, around, rest);
            return true;
        }
        self.beginning = Beginning::Read;
        false
    }

    /// The policy and the slices of the writes: from now on nobody knows what they are like.
    fn read_first<R: Rendering<Body = B>>(&mut self, around: &Around<'_, R>) -> BTreeSet<Subject> {
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
        subjects
    }

    /// A newer status was shown. A memory of another process goes before what this one chose, while it follows or has not read
    /// it yet since it leads.
    pub fn shown(
        &mut self,
        version: &Version,
        status: &ReplicaSetPolicyStatus,
        lead: Lead,
    ) -> Option<Effect<B>> {
        let is_unread = matches!(
            self.beginning,
            Beginning::Unread { .. } | Beginning::Reading { .. }
        );
        let goes_by_it = lead == Lead::Follows || is_unread;
        (goes_by_it && self.remembers_otherwise(version, status)).then(|| self.recall(status))
    }

    /// Whether late statuses of an earlier leader may still be taken: the first status that this one writes is refused to them.
    pub(super) const fn is_unsigned(&self) -> bool {
        matches!(
            self.beginning,
            Beginning::Unread { .. } | Beginning::Reading { .. } | Beginning::Read
        )
    }

    /// Whether a newer status shows that another process of this installation began to lead after this one, which has read or written
    /// the status since it leads.
    pub fn is_succeeded(
        &self,
        version: &Version,
        status: &ReplicaSetPolicyStatus,
        by: &Installation,
    ) -> bool {
        let has_read = matches!(self.beginning, Beginning::Read | Beginning::Signed);
        let Some(memory) = status.memory.as_ref().filter(|_| has_read) else {
            return false;
        };
        let known = [self.status.memory.as_ref(), self.sent.as_ref()];
        let known = known.into_iter().flatten().filter_map(|memory| memory.term).max();
        self.version.is_before(version) && memory.author == by.lease && memory.term > known
    }

    /// A status was written.
    pub(super) fn sign(&mut self) {
        if matches!(self.beginning, Beginning::Read) {
            self.beginning = Beginning::Signed;
        }
    }

    /// Whether a memory that is read, and that this process did not write, is another one to go by: one who leads by a lease has
    /// read the newest before its first write, so what comes later is late, and is put back.
    pub(super) fn is_to_recall(&self, status: &ReplicaSetPolicyStatus) -> bool {
        let read = status.memory.as_ref();
        let is_of_another = !agree(read, self.status.memory.as_ref()) && !agree(read, self.sent.as_ref());
        match &self.beginning {
            Beginning::NotNeeded => is_of_another,
            Beginning::Unread { agrees } | Beginning::Reading { agrees, .. } => {
                let own = *agrees || SeededFault::ChoiceOfFollowerKept.is_on();
                is_of_another || (!own && self.decided_otherwise(read))
            }
            Beginning::Read | Beginning::Signed => false,
        }
    }

    /// Whether what is decided differs from a memory.
    fn decided_otherwise(&self, read: Option<&MemoryStatus>) -> bool {
        let decided = self.decision.as_ref().and_then(|decision| memory(decision));
        read.is_some() && decided.is_some() && !agree(read, decided.as_ref())
    }
}
