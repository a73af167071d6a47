//! Watches: policies, our objects, slices of others, metadata of Secrets. Each says which policy needs a pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::core::DynamicObject;
use kube::runtime::reflector::{ObjectRef, Store, reflector, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, ResourceExt};

use super::context::Context;
use super::patience::Patience;
use super::secrets::{SecretCache, SecretKey};
use super::stored::StoredPolicy;
use super::{Scope, apply, foreign, policy_resource, resource, scoped};
use crate::render::{Kind, labels};
use distributary_core::ids::PolicyKey;

/// The policies of a scope: what changes needs a pass; what goes is taken from the engine.
pub fn policies(
    context: Arc<Context>,
    scope: Scope,
) -> (
    impl Stream<Item = Result<StoredPolicy, watcher::Error>> + Send + 'static,
    Store<StoredPolicy>,
) {
    let writer = Writer::<StoredPolicy>::new(policy_resource());
    let store = writer.as_reader();
    context.policies.of_store(store.clone());
    let api: Api<StoredPolicy> = scoped(&context.client, &policy_resource(), &scope);
    let events = watch(api, watcher::Config::default()).backoff(Patience::default());
    let known = store.clone();
    let stream = reflector(writer, events).filter_map(move |event| {
        let (context, scope, known) = (Arc::clone(&context), scope.clone(), known.clone());
        async move {
            match event {
                Ok(Event::Apply(policy) | Event::InitApply(policy)) => Some(Ok(policy)),
                Ok(Event::Delete(policy)) => {
                    context.forget(&policy.key()).await;
                    None
                }
                Ok(Event::InitDone) => {
                    let listed = known.state().iter().map(|policy| policy.key()).collect();
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

/// Our objects of one kind: a change by anyone asks for a pass.
pub fn owned(
    context: Arc<Context>,
    kind: Kind,
    scope: Scope,
) -> impl Stream<Item = ObjectRef<StoredPolicy>> + Send {
    let selector = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let config = watcher::Config::default().labels(&selector);
    let api: Api<DynamicObject> = scoped(&context.client, &resource(kind), &scope);
    let events = watch(api, config).backoff(Patience::default());
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
) -> impl Stream<Item = ObjectRef<StoredPolicy>> + Send {
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
            let services = context.foreign.event(&event, &scope).into_iter();
            let owner =
                |(namespace, name): (String, String)| context.observed.owner_of_service(&namespace, &name);
            services.filter_map(owner).collect()
        }
        Err(error) => failed("EndpointSlice", &error),
    });
    events.flat_map(references)
}

/// Metadata of all Secrets of a scope.
pub fn all_secrets(
    context: Arc<Context>,
    scope: Scope,
) -> impl Stream<Item = ObjectRef<StoredPolicy>> + Send {
    let api: Api<PartialObjectMeta<Secret>> = match &scope {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    };
    let events = watch(api, watcher::Config::default()).backoff(Patience::default());
    let mut unseen = BTreeSet::new();
    events
        .map(move |event| {
            let in_scope = |(namespace, _): &SecretKey| scope.as_ref().is_none_or(|scope| scope == namespace);
            secret_event(&context.secrets, in_scope, &mut unseen, event)
        })
        .flat_map(references)
}

/// Takes in what a watch of the Secrets `in_scope` shows. `unseen`: those that were read, and that the list which is
/// under way has not shown.
fn secret_event(
    secrets: &SecretCache,
    in_scope: impl Fn(&SecretKey) -> bool,
    unseen: &mut BTreeSet<SecretKey>,
    event: Result<Event<PartialObjectMeta<Secret>>, watcher::Error>,
) -> Vec<PolicyKey> {
    let (secret, exists) = match event {
        Ok(Event::Apply(secret) | Event::InitApply(secret)) => (secret, true),
        Ok(Event::Delete(secret)) => (secret, false),
        Ok(Event::Init) => {
            *unseen = secrets.read_of(in_scope);
            return Vec::new();
        }
        Ok(Event::InitDone) => {
            let gone = std::mem::take(unseen);
            let concerned: BTreeSet<_> = gone.iter().flat_map(|key| secrets.changed(key, None)).collect();
            return concerned.into_iter().collect();
        }
        Err(error) => return failed("Secret", &error),
    };
    let key = (secret.namespace().unwrap_or_default(), secret.name_any());
    unseen.remove(&key);
    secrets.changed(&key, secret.resource_version().as_deref().filter(|_| exists))
}

/// One Secret that a policy names; asks for passes itself, until it is aborted.
pub async fn named_secret(context: Arc<Context>, (namespace, name): SecretKey) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(context.client.clone(), &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watch(api, config).backoff(Patience::default()));
    let this = (namespace, name);
    let mut unseen = BTreeSet::new();
    while let Some(event) = events.next().await {
        let concerned = secret_event(&context.secrets, |key| *key == this, &mut unseen, event);
        for key in concerned {
            context.triggers.ask(key).await;
        }
    }
}

/// A policy as the controller knows it.
#[must_use]
pub fn reference(key: &PolicyKey) -> ObjectRef<StoredPolicy> {
    ObjectRef::new_with(&key.name, policy_resource()).within(&key.namespace)
}

fn references(keys: Vec<PolicyKey>) -> impl Stream<Item = ObjectRef<StoredPolicy>> {
    futures::stream::iter(keys.into_iter().map(|key| reference(&key)))
}

fn failed(kind: &str, error: &watcher::Error) -> Vec<PolicyKey> {
    tracing::warn!(kind, %error, "watch failed, and is tried again");
    Vec::new()
}

#[cfg(test)]
mod tests;
