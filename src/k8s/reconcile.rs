//! Intake: a kube-rs controller that reads policies and what they name, and hands them on to the engine and the desk. It
//! writes nothing. One pass at a time over a policy, many policies at once.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Scope;
use super::context::Context;
use super::dereference::PolicyReading;
use super::error::Error;
use super::memory::{Now, memory};
use super::secrets::SecretAccess;
use super::services::FIRST_LISTS;
use super::stored::StoredPolicy;
use super::{policy_resource, requests, watch};
use crate::clock::timestamp;
use crate::telemetry::chain;
use crate::writing::Declared;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::PolicyKey;
use distributary_core::world::Memory;

/// Policies read at once.
const CONCURRENCY: u16 = 16;
/// Nothing tells that a right was given: what could not be read is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// A certificate that expires is looked at after its last second, and those that expire later at least so often.
const ROUNDING: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_hours(24);
/// The back-off of failed passes: from the first to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(8));

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

/// Looks at the Secrets of logins that servers refuse: a watch may have missed a change of them. Runs until it is dropped.
pub async fn follow_failed_logins(context: Arc<Context>) {
    loop {
        for (policy, endpoint) in context.engine.failed_logins.take().await {
            for secret in context.secrets.doubted(&policy, &endpoint, context.clock.now()) {
                for concerned in context.secrets.look(&context.client, &secret).await {
                    context.triggers.ask(concerned).await;
                }
            }
        }
    }
}

async fn reconcile(object: Arc<StoredPolicy>, context: Arc<Context>) -> Result<Action, Error> {
    let key = object.key();
    context.synced.wait(&key.namespace).await;
    // That took a while: the pass is about what there is now.
    let object = context.policies.get(&key).unwrap_or(object);
    let uid = object.meta().uid.clone();
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
        let seen = match self.excess(object) {
            None => self.dereference_and_validate(object).await?,
            Some(excess) => {
                let seen = self.beyond_quota(object, &excess);
                self.policies.withdraw(&seen.key);
                self.engine.gone(seen.key.clone()).await?;
                seen
            }
        };
        if seen.awaiting {
            return Ok(Action::requeue(FIRST_LISTS));
        }
        if !self.policies.has(&seen.key, &seen.uid) {
            return Ok(Action::await_change());
        }
        let again = if seen.unresolved.is_empty() {
            seen.expires_in.map(|left| (left + ROUNDING).min(LATEST))
        } else {
            Some(LOOK_AGAIN)
        };
        self.hand_on(seen).await?;
        self.show_again(object).await;
        Ok(again.map_or_else(Action::await_change, Action::requeue))
    }

    /// The desk first: a decision about a policy that it does not know is none.
    async fn hand_on(&self, seen: PolicyReading) -> Result<(), Error> {
        let (valid, key, uid, previous) = (
            seen.valid.clone(),
            seen.key.clone(),
            seen.uid.clone(),
            seen.previous.clone(),
        );
        let before = self.policies.hand(&seen.key, valid.as_ref());
        self.desk.declare(declared(seen)).await;
        let Some(declared) = valid else {
            return Ok(());
        };
        // Other objects alone are no matter of the engine's.
        let known = before
            .is_some_and(|before| before.policy == declared.policy && before.resolved == declared.resolved);
        if !known {
            self.engine
                .change(declared.policy, declared.resolved, || {
                    self.memory(&self.newest_status(&key, &uid).unwrap_or(previous))
                })
                .await?;
        }
        Ok(())
    }

    /// The status of a policy as the watch has shown it last.
    fn newest_status(&self, key: &PolicyKey, uid: &str) -> Option<ReplicaSetPolicyStatus> {
        let newest = self.policies.get(key)?;
        (newest.meta().uid.as_deref() == Some(uid)).then(|| requests::status(newest.status()))
    }

    /// The desk takes in no status of a policy that it does not know: one that the watch showed during the pass is shown again.
    async fn show_again(&self, object: &StoredPolicy) {
        let newest = self.policies.get(&object.key());
        let version = |policy: &StoredPolicy| policy.meta().resource_version.clone();
        if let Some(newest) = newest.filter(|newest| version(newest) != version(object)) {
            self.desk.send(watch::status(&newest)).await;
        }
    }

    fn memory(&self, status: &ReplicaSetPolicyStatus) -> Memory {
        let now = Now {
            wall: timestamp(),
            moment: self.clock.now(),
        };
        memory(status, now)
    }
}

fn declared(seen: PolicyReading) -> Declared {
    Declared {
        key: seen.key,
        uid: seen.uid,
        generation: seen.generation,
        deleting: seen.deleting,
        valid: seen.valid,
        problems: seen.problems,
        unresolved: seen.unresolved,
        status: seen.previous,
        version: seen.version,
    }
}

/// Back-off for each policy, doubled with every failure.
#[allow(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn back_off(object: Arc<StoredPolicy>, error: &Error, context: Arc<Context>) -> Action {
    let key = object.key();
    context.metrics.failed(error.category());
    let before = context.policies.fail(&key);
    let wait = (BACK_OFF.0 * 2_u32.saturating_pow(before)).min(BACK_OFF.1);
    tracing::warn!(policy = %key.name, namespace = %key.namespace, error = %chain(error), category = error.category(), retry = ?wait, "pass failed");
    Action::requeue(wait)
}

#[cfg(test)]
mod tests;
