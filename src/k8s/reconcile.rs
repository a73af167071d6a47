//! The writing side: a kube-rs controller, fed by watches and by the engine. One pass at a time over a policy, many
//! policies at once; a pass takes the newest decision, so bursts coalesce by themselves.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Scope;
use super::apply::Part;
use super::context::{Context, lock};
use super::dereference::PolicyReading;
use super::error::Error;
use super::events::{self, PolicyEvent};
use super::memory::{Now, memory};
use super::routes::Slices;
use super::secrets::SecretAccess;
use super::services::FIRST_LISTS;
use super::stored::StoredPolicy;
use super::{policy_resource, watch};
use crate::clock::Clock;
use crate::render::status::{Report, WriteOutcome, status};
use crate::render::{self, Kind};
use crate::telemetry::chain;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_api::validate::Declaration;
use distributary_core::decision::{Decision, DecisionState};
use distributary_core::ids::PolicyKey;
use distributary_core::policy::{Mode, Policy};
use distributary_core::table::named;
use distributary_core::world::Memory;

/// Policies written at once.
const CONCURRENCY: u16 = 16;
/// Nothing tells that an object in our way is gone, or that a right was given: they are looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// The back-off of failed passes: from the first to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Runs the controller of one scope until `stop`; passes under way are finished.
pub async fn run(
    context: Arc<Context>,
    scope: Scope,
    triggers: mpsc::Receiver<PolicyKey>,
    stop: CancellationToken,
) {
    let (policies, store) = watch::policies(Arc::clone(&context), scope.clone());
    // Every pass is asked for by a key: no error of a watch can reach the controller, which would pause all of them.
    let mut controller = Controller::for_stream_with(futures::stream::pending(), store, policy_resource())
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(policies)
        .reconcile_on(asked(triggers))
        .reconcile_on(watch::services(Arc::clone(&context), scope.clone()))
        .reconcile_on(watch::slices_of_others(Arc::clone(&context), scope.clone()))
        .graceful_shutdown_on(stop.cancelled_owned());
    for kind in Kind::ALL {
        controller = controller.reconcile_on(watch::owned(Arc::clone(&context), kind, scope.clone()));
    }
    if context.access == SecretAccess::ClusterWide {
        controller = controller.reconcile_on(watch::all_secrets(Arc::clone(&context), scope.clone()));
    }
    let passes = controller.run(reconcile, back_off, context);
    passes
        .for_each(|pass| async move {
            // A failed pass was logged with its back-off; an object that is gone needs none.
            if let Ok((policy, _)) = pass {
                tracing::debug!(policy = %policy.name, "pass done");
            }
        })
        .await;
}

fn asked(mut triggers: mpsc::Receiver<PolicyKey>) -> impl Stream<Item = ObjectRef<StoredPolicy>> + Send {
    futures::stream::poll_fn(move |task| triggers.poll_recv(task)).map(|key| watch::reference(&key))
}

async fn reconcile(object: Arc<StoredPolicy>, context: Arc<Context>) -> Result<Action, Error> {
    if object.meta().deletion_timestamp.is_some() {
        context.forget(&object.key()).await;
        return Ok(Action::await_change());
    }
    let (key, uid) = (object.key(), object.meta().uid.clone());
    context.synced.wait(&key.namespace).await;
    context.policies.begin(&key);
    let done = context.pass(&object).await;
    if context.policies.has(&key, &uid.unwrap_or_default()) {
        return done;
    }
    // It went meanwhile, and what the pass kept of it is nobody's.
    context.forget(&key).await;
    Ok(Action::await_change())
}

impl Context {
    async fn pass(self: &Arc<Self>, object: &Arc<StoredPolicy>) -> Result<Action, Error> {
        let seen = self.dereference_and_validate(object).await?;
        if seen.awaiting {
            return Ok(Action::requeue(FIRST_LISTS));
        }
        self.judge_and_plan(&seen).await?;
        if !self.policies.has(&seen.key, &seen.uid) {
            return Ok(Action::await_change());
        }
        let (decision, slices) = self.write_slices(&seen.key, &seen.uid).await;
        let applied = match slices {
            Ok(slices) => self.apply_rest(&seen, decision.as_deref(), slices).await,
            Err(error) => Err(error),
        };
        let (written, revision, failure) = match applied {
            Ok((written, revision)) => (written, revision, None),
            Err(error) => (
                WriteOutcome::Failed(error.category().to_owned()),
                None,
                Some(error),
            ),
        };
        self.update_status(&seen, decision.as_deref(), &written, revision.as_deref())
            .await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(self.done(&seen, &written)),
        }
    }

    /// The engine judges and plans; it hears of a policy only what it does not know.
    async fn judge_and_plan(&self, seen: &PolicyReading) -> Result<(), Error> {
        let Some(declared) = &seen.valid else {
            return Ok(());
        };
        let told = lock(&self.told).get(&seen.key).cloned();
        if told.as_ref() == Some(declared) {
            return Ok(());
        }
        // Other objects alone are no matter of the engine's.
        let known =
            told.is_some_and(|told| told.policy == declared.policy && told.resolved == declared.resolved);
        lock(&self.told).insert(seen.key.clone(), declared.clone());
        if !known {
            let (policy, resolved) = (Arc::clone(&declared.policy), Arc::clone(&declared.resolved));
            self.engine
                .change(policy, resolved, self.memory(&seen.previous))
                .await?;
        }
        Ok(())
    }

    fn memory(&self, status: &ReplicaSetPolicyStatus) -> Memory {
        let now = Now {
            wall: Clock::timestamp(),
            moment: self.clock.now(),
        };
        memory(status, now)
    }

    /// Writes what is not a slice; what became of the routes, and their revision.
    async fn apply_rest(
        &self,
        seen: &PolicyReading,
        decision: Option<&Decision>,
        slices: Option<Slices>,
    ) -> Result<(WriteOutcome, Option<String>), Error> {
        let (Some(Decision { policy, state, .. }), slices) = (decision, slices) else {
            return Ok((WriteOutcome::Waiting, None));
        };
        let Some(Slices {
            manifests,
            mut conflicts,
        }) = slices
        else {
            return Ok((unwritten(state, policy.mode), None));
        };
        let writer = self.writer(&seen.key, &seen.uid);
        conflicts.extend(writer.apply(&manifests.objects, Part::Rest).await?);
        let foreign = self.foreign_slices(policy);
        let written = if !conflicts.is_empty() {
            WriteOutcome::NameConflict(conflicts.iter().map(ToString::to_string).collect())
        } else if !foreign.is_empty() {
            WriteOutcome::ForeignEndpoints(foreign)
        } else {
            WriteOutcome::Programmed
        };
        Ok((written, Some(manifests.revision)))
    }

    fn foreign_slices(&self, policy: &Policy) -> Vec<String> {
        let told = lock(&self.told).get(&policy.key).cloned();
        let Some(Declaration { outputs, .. }) = told else {
            return Vec::new();
        };
        named::services(policy, &outputs)
            .into_iter()
            .flat_map(|service| self.foreign.of(&policy.key.namespace, &service))
            .collect()
    }

    async fn update_status(
        &self,
        seen: &PolicyReading,
        decision: Option<&Decision>,
        written: &WriteOutcome,
        revision: Option<&str>,
    ) -> Result<(), Error> {
        let outputs = lock(&self.told)
            .get(&seen.key)
            .map(|told| Arc::clone(&told.outputs));
        let report = Report {
            generation: seen.generation,
            problems: &seen.problems,
            unresolved: &seen.unresolved,
            decision,
            outputs: outputs.as_deref(),
            written: written.clone(),
            revision,
            moment: self.clock.now(),
        };
        let next = status(&report, &seen.previous, &now());
        if next == seen.previous {
            return Ok(());
        }
        self.written
            .write(&self.client, &seen.key, &seen.uid, &next)
            .await?;
        self.metrics.wrote("ReplicaSetPolicy", "status");
        let about = events::reference(&seen.key.namespace, &seen.key.name, &seen.uid);
        let observed = (*written == WriteOutcome::Observing)
            .then(|| render::events::observed(&seen.previous.routes, &next.routes))
            .flatten();
        let turned = render::events::conditions(&seen.previous.conditions, &next.conditions);
        for notice in turned.into_iter().chain(observed) {
            // A full queue loses an Event, never a route.
            let _ = self.events.try_send(PolicyEvent {
                about: about.clone(),
                notice,
            });
        }
        Ok(())
    }

    fn done(&self, seen: &PolicyReading, written: &WriteOutcome) -> Action {
        lock(&self.failures).remove(&seen.key);
        if matches!(written, WriteOutcome::NameConflict(_)) || !seen.unresolved.is_empty() {
            return Action::requeue(LOOK_AGAIN);
        }
        Action::await_change()
    }
}

/// Why a decision leaves the routes as they are.
const fn unwritten(state: &DecisionState, mode: Mode) -> WriteOutcome {
    match (state, mode) {
        (DecisionState::Suspended, _) => WriteOutcome::Suspended,
        (_, Mode::Observe) => WriteOutcome::Observing,
        (DecisionState::IdentityChanged { .. }, _) => WriteOutcome::IdentityChanged,
        (DecisionState::Waiting { .. } | DecisionState::Decided(_), _) => WriteOutcome::Waiting,
    }
}

/// Back-off for each policy, doubled with every failure.
#[allow(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn back_off(object: Arc<StoredPolicy>, error: &Error, context: Arc<Context>) -> Action {
    let key = object.key();
    context.metrics.failed(error.category());
    let mut failures = lock(&context.failures);
    let count = failures.entry(key.clone()).or_default();
    let wait = (BACK_OFF.0 * 2_u32.saturating_pow(*count)).min(BACK_OFF.1);
    *count = (*count + 1).min(16);
    tracing::warn!(policy = %key.name, namespace = %key.namespace, error = %chain(error), category = error.category(), retry = ?wait, "pass failed");
    Action::requeue(wait)
}

/// The wall clock in whole seconds, as Kubernetes writes times.
fn now() -> Time {
    let now = Clock::timestamp();
    Time(k8s_openapi::jiff::Timestamp::from_second(now.as_second()).unwrap_or(now))
}

#[cfg(test)]
mod tests;
