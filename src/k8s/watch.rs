//! Watches: policies, our objects, slices of others, metadata of Secrets. Each says which policy needs a pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::reflector::{ObjectRef, Store, reflector, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::patience::Patience;
use super::reconcile::Context;
use super::secrets::SecretKey;
use super::{Scope, apply, foreign, resource, scoped};
use crate::domain::policy::PolicyKey;
use crate::render::{Kind, labels};

/// Passes asked for and not yet begun, for each scope; a fuller queue makes the asking wait.
const TRIGGERS: usize = 1024;

/// The resource of the policies.
#[must_use]
pub fn policy_resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("distributary.dev", "v1alpha1", "ReplicaSetPolicy");
    ApiResource::from_gvk_with_plural(&kind, "replicasetpolicies")
}

/// Asks for passes over policies, in the controller of their scope.
#[derive(Clone, Debug, Default)]
pub struct Triggers(BTreeMap<Scope, mpsc::Sender<PolicyKey>>);

impl Triggers {
    /// One queue for each scope, and their ends.
    #[must_use]
    pub fn new(scopes: &[Scope]) -> (Self, Vec<(Scope, mpsc::Receiver<PolicyKey>)>) {
        let mut senders = BTreeMap::new();
        let mut ends = Vec::new();
        for scope in scopes {
            let (sender, end) = mpsc::channel(TRIGGERS);
            senders.insert(scope.clone(), sender);
            ends.push((scope.clone(), end));
        }
        (Self(senders), ends)
    }

    pub async fn ask(&self, key: PolicyKey) {
        let sender = self
            .0
            .get(&None)
            .or_else(|| self.0.get(&Some(key.namespace.clone())));
        if let Some(sender) = sender {
            // The other end is gone only while the process ends.
            let _ = sender.send(key).await;
        }
    }
}

/// The policies of a scope: what changes needs a pass; what goes is taken from the engine.
pub fn policies(
    context: Arc<Context>,
    scope: Scope,
) -> (
    impl Stream<Item = Result<DynamicObject, watcher::Error>> + Send + 'static,
    Store<DynamicObject>,
) {
    let writer = Writer::<DynamicObject>::new(policy_resource());
    let store = writer.as_reader();
    let api = scoped(&context.client, &policy_resource(), &scope);
    let events = watch(api, watcher::Config::default())
        .backoff(Patience::default())
        .modify(strip);
    let known = store.clone();
    let stream = reflector(writer, events).filter_map(move |event| {
        let (context, scope, known) = (Arc::clone(&context), scope.clone(), known.clone());
        async move {
            match event {
                Ok(Event::Apply(policy) | Event::InitApply(policy)) => Some(Ok(policy)),
                Ok(Event::Delete(policy)) => {
                    context.forget(&key(&policy)).await;
                    None
                }
                Ok(Event::InitDone) => {
                    let listed = known.state().iter().map(|policy| key(policy)).collect();
                    context.forget_all_but(&listed, scope.as_deref()).await;
                    None
                }
                Ok(Event::Init) => None,
                Err(error) => Some(Err(error)),
            }
        }
    });
    (stream, store)
}

fn strip(policy: &mut DynamicObject) {
    policy.metadata.managed_fields = None;
}

/// Our objects of one kind: a change by anyone asks for a pass.
pub fn owned(
    context: Arc<Context>,
    kind: Kind,
    scope: Scope,
) -> impl Stream<Item = ObjectRef<DynamicObject>> + Send {
    let selector = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let config = watcher::Config::default().labels(&selector);
    let events = watch(scoped(&context.client, &resource(kind), &scope), config).backoff(Patience::default());
    events
        .map(move |event| owned_event(&context, kind, scope.as_deref(), event))
        .flat_map(references)
}

fn owned_event(
    context: &Context,
    kind: Kind,
    scope: Option<&str>,
    event: Result<Event<DynamicObject>, watcher::Error>,
) -> Vec<PolicyKey> {
    let observed = &context.observed;
    match event {
        Ok(Event::Init) => {
            observed.list_begins(kind, scope);
            Vec::new()
        }
        Ok(Event::InitApply(object) | Event::Apply(object)) => apply::as_json(&object)
            .ok()
            .and_then(|object| observed.seen(kind, object))
            .into_iter()
            .collect(),
        Ok(Event::Delete(object)) => apply::as_json(&object)
            .ok()
            .and_then(|object| observed.gone(kind, &object))
            .into_iter()
            .collect(),
        Ok(Event::InitDone) => {
            let lost = observed.list_ends(kind, scope);
            context.synced.done(kind, scope);
            lost
        }
        Err(error) => failed(kind.name(), &error),
    }
}

/// Slices of others for Services of ours.
pub fn foreign_slices(
    context: Arc<Context>,
    scope: Scope,
) -> impl Stream<Item = ObjectRef<DynamicObject>> + Send {
    let config = watcher::Config::default().labels(&foreign::selector());
    let api: Api<PartialObjectMeta<DynamicObject>> = match &scope {
        Some(namespace) => {
            Api::namespaced_with(context.client.clone(), namespace, &resource(Kind::EndpointSlice))
        }
        None => Api::all_with(context.client.clone(), &resource(Kind::EndpointSlice)),
    };
    let events = watch(api, config).backoff(Patience::default());
    let events = events.map(move |event| match event {
        Ok(event) => {
            let service = context.foreign.event(&event, scope.as_deref());
            let owner =
                service.and_then(|(namespace, name)| context.observed.owner_of_service(&namespace, &name));
            owner.into_iter().collect()
        }
        Err(error) => failed("EndpointSlice", &error),
    });
    events.flat_map(references)
}

/// Metadata of all Secrets of a scope.
pub fn all_secrets(
    context: Arc<Context>,
    scope: Scope,
) -> impl Stream<Item = ObjectRef<DynamicObject>> + Send {
    let api: Api<PartialObjectMeta<Secret>> = match &scope {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    };
    let events = watch(api, watcher::Config::default()).backoff(Patience::default());
    events
        .map(move |event| secret_event(&context, event))
        .flat_map(references)
}

fn secret_event(
    context: &Context,
    event: Result<Event<PartialObjectMeta<Secret>>, watcher::Error>,
) -> Vec<PolicyKey> {
    let (secret, exists) = match event {
        Ok(Event::Apply(secret) | Event::InitApply(secret)) => (secret, true),
        Ok(Event::Delete(secret)) => (secret, false),
        Ok(Event::Init | Event::InitDone) => return Vec::new(),
        Err(error) => return failed("Secret", &error),
    };
    let key = (secret.namespace().unwrap_or_default(), secret.name_any());
    context
        .secrets
        .changed(&key, secret.resource_version().as_deref().filter(|_| exists))
}

/// One watch for each Secret that a policy names.
#[derive(Debug, Default)]
pub struct NamedWatches(Mutex<BTreeMap<SecretKey, AbortHandle>>);

impl NamedWatches {
    /// Watches exactly `wanted`.
    pub fn follow(&self, context: &Arc<Context>, wanted: &BTreeSet<SecretKey>) {
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|secret, task| {
            let keep = wanted.contains(secret);
            if !keep {
                task.abort();
            }
            keep
        });
        for secret in wanted {
            if !watches.contains_key(secret) {
                let task = tokio::spawn(named_secret(Arc::clone(context), secret.clone()));
                watches.insert(secret.clone(), task.abort_handle());
            }
        }
    }
}

async fn named_secret(context: Arc<Context>, (namespace, name): SecretKey) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(context.client.clone(), &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watch(api, config).backoff(Patience::default()));
    while let Some(event) = events.next().await {
        for key in secret_event(&context, event) {
            context.triggers.ask(key).await;
        }
    }
}

/// Lists that have not ended once: before, nothing is known to be missing.
#[derive(Debug)]
pub struct Synced {
    left: Mutex<BTreeSet<(Kind, Scope)>>,
    all: tokio::sync::watch::Sender<bool>,
}

impl Synced {
    #[must_use]
    pub fn new(scopes: &[Scope]) -> Self {
        let lists = scopes
            .iter()
            .flat_map(|scope| Kind::ALL.map(|kind| (kind, scope.clone())));
        Self {
            left: Mutex::new(lists.collect()),
            all: tokio::sync::watch::Sender::new(false),
        }
    }

    fn done(&self, kind: Kind, scope: Option<&str>) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.remove(&(kind, scope.map(ToOwned::to_owned)));
        if left.is_empty() {
            self.all.send_replace(true);
        }
    }

    /// Whether every list has ended once.
    #[must_use]
    pub fn is_done(&self) -> bool {
        *self.all.borrow()
    }

    /// Returns when every list has ended once.
    pub async fn wait(&self) {
        // The sender lives as long as `self`.
        let _ = self.all.subscribe().wait_for(|done| *done).await;
    }
}

/// A policy as the controller knows it.
#[must_use]
pub fn reference(key: &PolicyKey) -> ObjectRef<DynamicObject> {
    ObjectRef::new_with(&key.name, policy_resource()).within(&key.namespace)
}

fn references(keys: Vec<PolicyKey>) -> impl Stream<Item = ObjectRef<DynamicObject>> {
    futures::stream::iter(keys.into_iter().map(|key| reference(&key)))
}

/// Namespace and name of an object.
pub fn key(object: &DynamicObject) -> PolicyKey {
    PolicyKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

fn failed(kind: &str, error: &watcher::Error) -> Vec<PolicyKey> {
    tracing::warn!(kind, %error, "watch failed, and is tried again");
    Vec::new()
}
