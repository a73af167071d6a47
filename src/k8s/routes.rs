//! The route first: when there is a decision, its slices are written at once, before any pass begins. The pass that
//! follows writes what is less urgent, and tells what became of it.
//!
//! # Guarantees
//! - The slices of a policy are written by one task at a time, and by the decision that is the newest when it begins:
//!   an older decision never overwrites a newer one.
//! - Decisions that come while one is written, or within a tenth of a second after, are written together: a zone that is
//!   lost is few writes. kube-proxy would not follow more of them: it waits a second after the first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore};

use super::apply::{Part, Writer};
use super::context::{Context, lock};
use super::error::Error;
use super::events::PolicyEvent;
use crate::render::{self, Manifests, Subject};
use distributary_core::decision::Decision;
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
use distributary_core::policy::Mode;

/// From one write of a policy's slices to the next; the first of a row waits for nothing.
const APART: Duration = Duration::from_millis(100);
/// Policies whose slices are written at once, outside of passes.
const CONCURRENCY: usize = 32;

/// The turn to write the slices of a policy: when they were last written.
type Turn = OwnedMutexGuard<Option<Moment>>;

/// Whose turn it is.
#[derive(Debug)]
pub struct RouteWriting {
    turns: Mutex<BTreeMap<PolicyKey, Arc<tokio::sync::Mutex<Option<Moment>>>>>,
    /// Asked for, and not begun; with the Events to publish afterwards.
    queued: Mutex<BTreeMap<PolicyKey, Vec<PolicyEvent>>>,
    places: Arc<Semaphore>,
}

impl Default for RouteWriting {
    fn default() -> Self {
        Self {
            turns: Mutex::default(),
            queued: Mutex::default(),
            places: Arc::new(Semaphore::new(CONCURRENCY)),
        }
    }
}

impl RouteWriting {
    async fn turn(&self, key: &PolicyKey) -> Turn {
        let turn = Arc::clone(lock(&self.turns).entry(key.clone()).or_default());
        turn.lock_owned().await
    }

    pub(super) fn forget(&self, key: &PolicyKey) {
        lock(&self.turns).remove(key);
    }
}

impl Context {
    /// Writes the slices of the newest decision at once, in a task of its own, and publishes these Events afterwards. It
    /// is no pass: what fails is tried again, and told, by the pass that follows.
    pub fn write_slices_first(self: &Arc<Self>, key: &PolicyKey, events: Vec<PolicyEvent>) {
        {
            let mut queued = lock(&self.routes.queued);
            let waits = queued.contains_key(key);
            queued.entry(key.clone()).or_default().extend(events);
            if waits {
                return;
            }
        }
        let (context, key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            // It is never closed.
            let _place = Arc::clone(&context.routes.places).acquire_owned().await;
            let mut turn = context.routes.turn(&key).await;
            let events = lock(&context.routes.queued).remove(&key);
            // Before the first lists of its scope have ended nothing is known to be missing.
            if context.synced.lets_pass(&key.namespace) {
                context.write_newest_slices(&key, &mut turn).await;
            }
            drop(turn);
            if !context.policies.has_any(&key) {
                context.routes.forget(&key);
            }
            for event in events.into_iter().flatten() {
                // A full queue loses an Event, never a route.
                let _ = context.events.try_send(event);
            }
        });
    }

    async fn write_newest_slices(&self, key: &PolicyKey, turn: &mut Turn) {
        let (Some(decision), Some(manifests)) = self.newest(key, None, turn).await else {
            return;
        };
        let writer = self.writer(key, &decision.policy.uid);
        if let Err(error) = writer.write(&manifests.objects, Part::Slices).await {
            tracing::debug!(policy = %key.name, namespace = %key.namespace, %error, "slices not written first");
        }
    }

    /// Writes the slices of the newest decision of the policy of this uid. The decision, what it renders to, and the
    /// slices that stand in the way.
    ///
    /// # Errors
    /// The request that failed.
    pub(super) async fn write_slices(
        &self,
        key: &PolicyKey,
        uid: &str,
    ) -> (Option<Arc<Decision>>, Result<Option<Slices>, Error>) {
        let mut turn = self.routes.turn(key).await;
        let (decision, manifests) = self.newest(key, Some(uid), &mut turn).await;
        let Some(manifests) = manifests else {
            return (decision, Ok(None));
        };
        let conflicts = self
            .writer(key, uid)
            .apply(&manifests.objects, Part::Slices)
            .await;
        let slices = conflicts.map(|conflicts| Some(Slices { manifests, conflicts }));
        (decision, slices)
    }

    /// The newest decision, and what it renders to where it asks for routes. Where slices are to be written, it is their
    /// time.
    async fn newest(
        &self,
        key: &PolicyKey,
        uid: Option<&str>,
        turn: &mut Turn,
    ) -> (Option<Arc<Decision>>, Option<Manifests>) {
        loop {
            let decision = self
                .engine
                .decisions
                .get(key)
                .filter(|decision| uid.is_none_or(|uid| decision.policy.uid == uid));
            let outputs = lock(&self.told).get(key).map(|told| Arc::clone(&told.outputs));
            let subject = decision
                .as_deref()
                .filter(|decision| decision.policy.mode == Mode::Enforce)
                .zip(outputs.as_deref())
                .and_then(|(decision, outputs)| Subject::of(decision, outputs));
            let Some(subject) = subject else {
                return (decision, None);
            };
            let manifests = render::render(&subject);
            let due = self
                .writer(key, &subject.policy.uid)
                .is_due(&manifests.objects, Part::Slices);
            let now = self.clock.now();
            if let Some(last) = turn.filter(|last| due && now.since(*last) < APART) {
                self.clock.sleep_until(last + APART).await;
                continue;
            }
            if due {
                **turn = Some(now);
            }
            return (decision, Some(manifests));
        }
    }

    pub(super) fn writer<'a>(&'a self, key: &'a PolicyKey, uid: &'a str) -> Writer<'a> {
        Writer {
            client: &self.client,
            observed: &self.observed,
            metrics: &self.metrics,
            key,
            uid,
        }
    }
}

/// Slices that are written.
pub(super) struct Slices {
    pub(super) manifests: Manifests,
    pub(super) conflicts: Vec<render::ObjectId>,
}
