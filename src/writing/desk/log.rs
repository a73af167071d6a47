//! The choice of the write primary is logged before it is acted on: whoever goes on after a crash goes by it.

use std::sync::Arc;

use super::{Around, Desk, Rest, SLOW};
use crate::render::status::{agree, memory};
use crate::writing::installation::Installation;
use crate::writing::order::{Due, Rank, Step};
use crate::writing::rendering::Rendering;
use crate::writing::request::{Call, Effect};
use distributary_api::{MemoryStatus, ReplicaSetPolicyStatus};
use distributary_core::decision::Decision;
use distributary_core::moment::Moment;
use distributary_core::seeded::SeededFault;
use distributary_core::table::named::WRITES;

/// What is to be logged, and how that goes.
#[derive(Clone, Default, Hash)]
pub struct Log {
    memory: Option<MemoryStatus>,
    /// Since when it is tried: the first request for it was sent, or another decision is awaited instead.
    since: Option<Moment>,
    /// It is acted on all the same: no answer said that it was taken, while other requests succeeded.
    pub given_up: bool,
    /// Another writer changed the memory: a decision that goes by the memory of this number is awaited.
    pub recalled: Option<u64>,
}

impl Log {
    /// The memory that is to be logged.
    pub fn asked(&self) -> Option<&MemoryStatus> {
        self.memory.as_ref()
    }

    /// Whether requests for it are sent, and none was accepted yet.
    pub const fn is_tried(&self) -> bool {
        self.since.is_some() && self.memory.is_some() && !self.given_up
    }
}

impl<B: Clone + std::fmt::Debug + PartialEq> Desk<B> {
    /// Writes the memory where what is due rests on another one. Whether what rests on it must wait.
    pub(super) fn log<R: Rendering<Body = B>>(
        &mut self,
        due: &Due<B>,
        around: &mut Around<'_, R>,
        rest: &mut Rest,
    ) -> bool {
        let Some((memory, decision)) = self.unlogged(due) else {
            if self.is_logged() {
                // What was said of it is not so any more.
                self.reported.changed |= self.log.given_up;
                self.log = Log::default();
            }
            return false;
        };
        let now = around.now.moment;
        if self.log.memory.as_ref() != Some(&memory) {
            (self.log.memory, self.log.since) = (Some(memory.clone()), None);
            self.log.given_up = false;
        }
        let timeout = decision.policy.probing.failover_timeout;
        if let Some(since) = self.log.since.filter(|_| !self.log.given_up) {
            let until = since + timeout;
            if now < until && !SeededFault::GivesUpAtOnce.is_on() {
                rest.wake_at(until);
            } else if around.succeeded.is_some_and(|at| at > since) {
                self.log.given_up = true;
                self.reported.changed = true;
            }
        }
        if self.log.given_up {
            return false;
        }
        if let Some(until) = self.writes_are_led(now) {
            rest.wake_at(until);
            return true;
        }
        let attempt = self.attempts.entry(None).or_default();
        if attempt.unsure || attempt.under_way.is_some() {
            return true;
        }
        // What a refused report waits for is not waited for here, unless the API server asks for it.
        let waits = attempt
            .waits(now)
            .filter(|_| self.log.since.is_some() || attempt.is_throttled());
        if let Some(at) = waits {
            rest.wake_at(at);
            return true;
        }
        let status = ReplicaSetPolicyStatus {
            memory: Some(memory),
            ..self.status.clone()
        };
        let call = self.put(status, around.installation);
        if self.send(None, call, true, around, rest) {
            let since = *self.log.since.get_or_insert(now);
            rest.wake_at(since + timeout);
        }
        true
    }

    /// Until when the answer to a write of an earlier decision is awaited that may lead the writes to a server: after the log it would
    /// lead them to whom the memory does not name.
    fn writes_are_led(&self, now: Moment) -> Option<Moment> {
        let under_way = self.attempts.values().filter_map(|attempt| attempt.under_way);
        let leads = under_way.filter(|it| it.leads_writes);
        let until = leads.map(|it| it.since + SLOW.0).max();
        until.filter(|until| now < *until)
    }

    /// Whether the present decision was made before the engine took in the memory of another writer: nothing that follows from
    /// it is written, the status least of all, which would forget that memory.
    pub(super) fn awaits_memory(&mut self, now: Moment, rest: &mut Rest) -> bool {
        let Some((number, decision)) = self.log.recalled.zip(self.decision.as_ref()) else {
            return false;
        };
        let until = *self.log.since.get_or_insert(now) + decision.policy.probing.failover_timeout;
        if decision.recalled < number && now < until && !SeededFault::RecallNotAwaited.is_on() {
            rest.wake_at(until);
            return true;
        }
        // Without a word from the engine it stands by what it decided.
        (self.log.recalled, self.log.since) = (None, None);
        false
    }

    /// What is decided, where it is not what the status remembers, and something that is due depends on it. A new leader writes
    /// it before its first write of the route of the writes in any case.
    fn unlogged(&self, due: &Due<B>) -> Option<(MemoryStatus, Arc<Decision>)> {
        let (decision, _) = self.decided()?;
        let of_writes = |step: &Step<B>| step.route.as_deref() == Some(WRITES);
        let rests_on_it = |step: &Step<B>| of_writes(step) || step.rank == Rank::ConfigMap;
        let memory = memory(decision)?;
        let differs = !agree(self.status.memory.as_ref(), Some(&memory));
        let is_due = (differs && due.steps.iter().any(rests_on_it))
            || (self.is_unsigned() && due.steps.iter().any(of_writes));
        is_due.then(|| (memory, Arc::clone(decision)))
    }

    /// Whether the status remembers what is decided.
    pub(super) fn is_logged(&self) -> bool {
        let memory = self.decided().and_then(|(decision, _)| memory(decision));
        memory.is_none_or(|memory| agree(self.status.memory.as_ref(), Some(&memory)))
    }

    /// The request that writes a status, signed by this installation.
    pub(super) fn put(&mut self, mut status: ReplicaSetPolicyStatus, by: &Installation) -> Call<B> {
        let before = self.status.memory.as_ref().and_then(|memory| memory.term);
        if let Some(memory) = &mut status.memory {
            memory.author.clone_from(&by.lease);
            memory.term = if self.is_unsigned() {
                Some(before.unwrap_or_default().saturating_add(1))
            } else {
                before
            };
        }
        self.sent.clone_from(&status.memory);
        Call::PutStatus {
            uid: self.uid().to_owned(),
            version: self.version.clone(),
            status: Box::new(status),
        }
    }

    /// Another writer changed what the status remembers.
    pub fn recall(&mut self, status: &ReplicaSetPolicyStatus) -> Effect<B> {
        self.recalls += 1;
        self.log.since = None;
        self.log.recalled = Some(self.recalls);
        Effect::Recall {
            key: self.key.clone(),
            uid: self.uid().to_owned(),
            status: Box::new(status.clone()),
            number: self.recalls,
        }
    }
}
