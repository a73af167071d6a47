//! What an answer changes.

use super::rivals::tells_of_fight;
use super::{Desk, LOOK_AGAIN, Subject};
use crate::render::Kind;
use crate::render::reading::Version;
use crate::render::status::agree;
use crate::writing::attempt::Attempt;
use crate::writing::installation::Installation;
use crate::writing::request::{Answer, Effect, PolicyReading};
use crate::writing::rival::Made;
use distributary_api::MemoryStatus;
use distributary_core::moment::Moment;
use distributary_core::seeded::SeededFault;

/// A request that was sent.
#[derive(Clone, Debug, Hash)]
pub struct SentRequest {
    pub subject: Subject,
    /// Whether it asked how the object is.
    pub is_read: bool,
    /// Of a deletion: the version of the object.
    pub deletes: Option<Version>,
}

impl<B: Clone + std::fmt::Debug + PartialEq> Desk<B> {
    /// Takes in the answer to a request of this desk. What the object is like is known by [`super::Objects`].
    pub fn answered(
        &mut self,
        sent: &SentRequest,
        answer: &Answer<B>,
        now: Moment,
        by: &Installation,
        effects: &mut Vec<Effect<B>>,
    ) {
        let attempt = self.attempts.get_mut(&sent.subject);
        if attempt.is_some_and(Attempt::was_outlived) {
            if let Answer::Policy(Some(policy)) = answer
                && policy.uid == self.uid()
            {
                self.see(&policy.version, &policy.status);
            }
            self.unanswered(sent);
            return;
        }
        self.watch_over(sent, answer, now, by);
        match answer {
            Answer::Object(found) => self.found(sent, found.is_some()),
            Answer::Policy(Some(policy)) if policy.uid == self.uid() => self.read(sent, policy, now, effects),
            // It is gone, or is another one of its name: what it is like is told by its watch. It is looked at again all the
            // same: the one that said so may not have known it.
            Answer::Policy(_) => {
                self.is_gone = true;
                self.unreported();
                self.attempts.insert(None, Attempt::look_at(now + LOOK_AGAIN));
            }
            Answer::Refused {
                refusal,
                code: 404 | 409,
                ..
            } if !sent.is_read => {
                self.unanswered(sent);
                let attempt = self.attempts.entry(sent.subject.clone()).or_default();
                attempt.was_old(refusal.clone(), now);
            }
            Answer::Refused {
                refusal, retry_after, ..
            } => {
                self.unanswered(sent);
                let is_status = sent.subject.is_none() && !sent.is_read;
                if is_status {
                    self.status_refused(refusal, effects);
                }
                let attempt = self.attempts.entry(sent.subject.clone()).or_default();
                attempt.was_refused(refusal.clone(), *retry_after, now);
                // Whether other requests succeed is what a refused log is given up by, and nothing else may be due: a read tells.
                attempt.unsure |= is_status && self.log.is_tried();
            }
            Answer::Unsent => {
                self.unanswered(sent);
                self.attempts.entry(sent.subject.clone()).or_default().under_way = None;
            }
            Answer::Unknown { .. } if SeededFault::LostAnswerIsSuccess.is_on() && sent.subject.is_none() => {
                self.status.memory.clone_from(&self.sent);
                self.attempts.remove(&sent.subject);
            }
            Answer::Unknown { refusal, retry_after } => {
                self.unanswered(sent);
                let attempt = self.attempts.entry(sent.subject.clone()).or_default();
                attempt.was_lost(refusal.clone(), *retry_after, now);
            }
        }
    }

    /// What a write led to: another operator may undo it.
    fn watch_over(&mut self, sent: &SentRequest, answer: &Answer<B>, now: Moment, by: &Installation) {
        let wrote = match answer {
            _ if sent.is_read => return,
            Answer::Object(Some(object)) => Some((object.version.clone(), Some(Made::of(object)))),
            Answer::Object(None) => sent.deletes.clone().map(|version| (version, None)),
            Answer::Policy(Some(policy)) => {
                if tells_of_fight(&policy.status) {
                    self.rival.told();
                }
                Some((policy.version.clone(), None))
            }
            Answer::Policy(None) | Answer::Unknown { .. } => None,
            Answer::Refused { .. } | Answer::Unsent => return,
        };
        if let (Answer::Unknown { .. }, Some(id)) = (answer, &sent.subject) {
            // It may have been done.
            self.rival.moves(id, now);
        }
        match wrote {
            Some((version, made)) => self.rival.wrote(sent.subject.clone(), version, made, now, by),
            None => self.rival.forget(sent.subject.as_ref()),
        }
    }

    fn found(&mut self, sent: &SentRequest, found: bool) {
        if let Some(id) = sent.subject.as_ref().filter(|id| id.kind == Kind::Service) {
            if found {
                self.absent.remove(id);
            } else if sent.is_read {
                self.absent.insert(id.clone());
            }
        }
        if !sent.is_read {
            self.attempts.remove(&sent.subject);
        } else if let Some(attempt) = self.attempts.get_mut(&sent.subject) {
            attempt.read();
        }
    }

    fn read(
        &mut self,
        sent: &SentRequest,
        policy: &PolicyReading,
        now: Moment,
        effects: &mut Vec<Effect<B>>,
    ) {
        self.is_gone = false;
        if sent.is_read {
            // Of a write without an answer nobody knows whether it was done.
            if self.is_to_recall(&policy.status) && !SeededFault::ConflictRetriedBlindly.is_on() {
                effects.push(self.recall(&policy.status));
            }
            self.reported.changed = true;
            if let Some(attempt) = self.attempts.get_mut(&None) {
                attempt.read();
            }
        } else {
            self.taken(policy, now);
            self.look_for_signature(policy.status.memory.as_ref(), effects);
            self.reported(effects);
        }
        // A watch may have shown a newer one than a write led to. What a read finds is the newest, though versions may have
        // begun anew, as after a restore of etcd.
        if sent.is_read || !policy.version.is_before(&self.version) {
            self.version = policy.version.clone();
            self.status = policy.status.clone();
        }
    }

    /// The status was written. A memory that was logged, and is not in it, was not taken.
    fn taken(&mut self, policy: &PolicyReading, now: Moment) {
        let logged = self.log.asked();
        let attempt = self.attempts.entry(None).or_default();
        if logged.is_some_and(|memory| !agree(policy.status.memory.as_ref(), Some(memory))) {
            attempt.was_dropped(now);
        } else {
            self.attempts.remove(&None);
            self.sign();
        }
    }

    /// The status was written: whether it says by whom, and how often another process had begun to lead.
    fn look_for_signature(&mut self, kept: Option<&MemoryStatus>, effects: &mut Vec<Effect<B>>) {
        let Some((sent, kept)) = self.sent.as_ref().zip(kept) else {
            return;
        };
        let is_dropped =
            (sent.author.is_some() && kept.author.is_none()) || (sent.term.is_some() && kept.term.is_none());
        if is_dropped && !self.unsigned {
            effects.push(Effect::Unsigned);
        }
        self.reported.changed |= is_dropped != self.unsigned;
        self.unsigned = is_dropped;
    }

    /// It was not done, as far as anybody knows.
    fn unanswered(&mut self, sent: &SentRequest) {
        match &sent.subject {
            Some(id) => self.pace.forget(id),
            None => self.unreported(),
        }
    }
}
