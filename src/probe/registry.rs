//! Which servers are probed: one task per wanted target.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::Limits;
use super::check::Checker;
use super::dns::Resolver;
use crate::clock::Clock;
use crate::domain::observation::{FailureKind, Observation};
use crate::domain::policy::{Location, Login, PolicyKey};
use crate::domain::target::{Answer, Incarnation, NextCheck, Observed, ProbeKey, TargetId, Wanted};

/// Starts, retunes and stops the tasks that check servers. Dropping it stops all of them.
///
/// # Guarantees
/// - Every instruction that is not replaced by a later one is answered by one [`Observed`].
/// - What is no longer wanted is stopped at once, in the middle of a check too; an answer that it had sent before may
///   still be on its way, under its [`Incarnation`].
/// - A policy takes at most its own limit of the operator's places, first come, first served.
pub struct Registry {
    clock: Clock,
    resolver: Resolver,
    limits: Limits,
    answers: mpsc::Sender<Answer>,
    places: Arc<Semaphore>,
    policies: HashMap<PolicyKey, Probes>,
}

/// The targets of one policy.
struct Probes {
    places: Arc<Semaphore>,
    targets: HashMap<TargetId, Running>,
}

/// A target whose task runs.
struct Running {
    incarnation: Incarnation,
    location: Location,
    login: Arc<Login>,
    instruct: watch::Sender<NextCheck>,
    _task: AbortOnDropHandle<()>,
}

impl Registry {
    /// Answers go to `answers`; a full channel holds back the next checks.
    #[must_use]
    pub fn new(clock: Clock, resolver: Resolver, limits: Limits, answers: mpsc::Sender<Answer>) -> Self {
        let places = Arc::new(Semaphore::new(limits.operator.max(1)));
        Self {
            clock,
            resolver,
            limits,
            answers,
            places,
            policies: HashMap::new(),
        }
    }

    /// The whole set of targets that `policy` wants. New ones start, missing ones stop, those with another
    /// incarnation, location or login start anew; all others run on, and take their instruction where it is newer. An
    /// empty set forgets the policy.
    ///
    /// Must be called within a tokio runtime.
    pub fn want(&mut self, policy: &PolicyKey, wanted: Vec<Wanted>) {
        if wanted.is_empty() {
            self.policies.remove(policy);
            return;
        }
        let places = self.limits.policy.max(1);
        let mut probes = self
            .policies
            .remove(policy)
            .unwrap_or_else(|| Probes::new(places));
        let mut before = std::mem::take(&mut probes.targets);
        for wanted in wanted {
            let target = wanted.target.clone();
            let running = match before.remove(&target) {
                Some(running) if running.serves(&wanted) => running.instructed(wanted.check),
                _ => self.start(policy, &probes, wanted),
            };
            probes.targets.insert(target, running);
        }
        self.policies.insert(policy.clone(), probes);
    }

    /// Gives one target its next instruction. One that is not wanted, or an instruction that is not newer than the
    /// last, is ignored.
    pub fn next(&mut self, key: &ProbeKey, check: NextCheck) {
        let probes = self.policies.get(&key.policy);
        if let Some(running) = probes.and_then(|probes| probes.targets.get(&key.target)) {
            running.instruct(check);
        }
    }

    fn start(&self, policy: &PolicyKey, probes: &Probes, wanted: Wanted) -> Running {
        let Wanted {
            target,
            incarnation,
            location,
            login,
            check,
            ..
        } = wanted;
        let (instruct, instructions) = watch::channel(check);
        let probe = Target {
            clock: self.clock,
            key: ProbeKey {
                policy: policy.clone(),
                target,
            },
            incarnation,
            checker: Checker::new(
                self.clock,
                self.resolver.clone(),
                location.clone(),
                Arc::clone(&login),
            ),
            instructions,
            places: [Arc::clone(&probes.places), Arc::clone(&self.places)],
            answers: self.answers.clone(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(probe.run()));
        Running {
            incarnation,
            location,
            login,
            instruct,
            _task: task,
        }
    }
}

impl Probes {
    fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            targets: HashMap::new(),
        }
    }
}

impl Running {
    fn serves(&self, wanted: &Wanted) -> bool {
        self.incarnation == wanted.incarnation
            && self.location == wanted.location
            && self.login == wanted.login
    }

    fn instruct(&self, check: NextCheck) {
        self.instruct.send_if_modified(|last| {
            let newer = check.number > last.number;
            if newer {
                *last = check;
            }
            newer
        });
    }

    fn instructed(self, check: NextCheck) -> Self {
        self.instruct(check);
        self
    }
}

/// The task of one target.
struct Target {
    clock: Clock,
    key: ProbeKey,
    incarnation: Incarnation,
    checker: Checker,
    instructions: watch::Receiver<NextCheck>,
    /// The policy's, then the operator's: who waits for a place of the policy holds none of the operator's, and who
    /// holds one gives it back within a deadline.
    places: [Arc<Semaphore>; 2],
    answers: mpsc::Sender<Answer>,
}

impl Target {
    /// Ends when nobody instructs it or nobody listens.
    async fn run(mut self) {
        let mut answered = None;
        while self.due(answered).await.is_some() {
            let Some(place) = self.place().await else {
                return;
            };
            // While it waited, the instruction may have been replaced.
            let check = *self.instructions.borrow_and_update();
            if check.at > self.clock.now() {
                continue;
            }
            let observation = self.check(check).await;
            drop(place);
            answered = Some(check.number);
            if self.answer(observation).await.is_none() {
                return;
            }
        }
    }

    /// Waits for the moment of an instruction later than the `answered` one.
    async fn due(&mut self, answered: Option<u64>) -> Option<()> {
        loop {
            let check = *self.instructions.borrow_and_update();
            if answered.is_some_and(|answered| check.number <= answered) {
                self.instructions.changed().await.ok()?;
                continue;
            }
            tokio::select! {
                () = self.clock.sleep_until(check.at) => return Some(()),
                changed = self.instructions.changed() => changed.ok()?,
            }
        }
    }

    async fn place(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        let [policy, operator] = &self.places;
        let policy = Arc::clone(policy).acquire_owned().await.ok()?;
        let operator = Arc::clone(operator).acquire_owned().await.ok()?;
        Some([policy, operator])
    }

    /// A server's bytes that make a parser panic must not leave the server unobserved.
    async fn check(&mut self, check: NextCheck) -> Observation {
        let started = self.clock.now();
        let span = tracing::debug_span!("check", policy = %self.key.policy, endpoint = %self.key.target);
        let checking = self
            .checker
            .check(check.timeout, check.prefer)
            .instrument(span.clone());
        let observation = AssertUnwindSafe(checking)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                tracing::error!(policy = %self.key.policy, endpoint = %self.key.target, "a check panicked");
                let result = Err(FailureKind::ProtocolViolation);
                Observation {
                    started,
                    ended: self.clock.now(),
                    address: None,
                    result,
                }
            });
        span.in_scope(|| tracing::trace!(?observation));
        observation
    }

    async fn answer(&self, observation: Observation) -> Option<()> {
        let observed = Observed {
            key: self.key.clone(),
            incarnation: self.incarnation,
            observation,
        };
        self.answers.send(Answer::Checked(observed)).await.ok()
    }
}

#[cfg(test)]
mod tests;
