//! Watches: policies, our objects, Services, slices of others, metadata of Secrets. Each says which policy needs a pass.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PartialObjectMeta;
use kube::core::{DynamicObject, NamespaceResourceScope};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::context::Context;
use super::list_watch::{Report, Selection, list_watch};
use super::patience::Patience;
use super::policies::{self, PolicyChange};
use super::readiness::{Subject, Watched};
use super::routed::RoutedServers;
use super::secrets::{SecretCache, SecretKey, Shown};
use super::stored::StoredPolicy;
use super::{Scope, foreign, policy_resource, requests, resource, scoped};
use crate::engine::Changed;
use crate::render::reading::{self, Text, Version};
use crate::render::{Kind, ObjectId, labels};
use crate::telemetry::chain;
use crate::writing::{Input, Place};
use distributary_core::ids::PolicyKey;

/// The policies of a scope: what changes needs a pass, a status alone is the desk's; what goes is taken from the engine.
pub fn policies(
    context: Arc<Context>,
    scope: Scope,
) -> (
    impl Stream<Item = ObjectRef<StoredPolicy>> + Send + 'static,
    Store<StoredPolicy>,
) {
    let writer = Writer::<StoredPolicy>::new(policy_resource());
    let store = writer.as_reader();
    context.policies.of_store(store.clone());
    let api: Api<StoredPolicy> = scoped(&context.watches, &policy_resource(), &scope);
    let watched = Watched {
        subject: Subject::Policies,
        scope,
    };
    let events = followed(&context, &watched, api, Selection::default());
    let stream = policies::changes(writer, events).filter_map(move |change| {
        let (context, watched) = (Arc::clone(&context), watched.clone());
        context.policies.see(&change, watched.scope.as_deref());
        context.changes.tell(change.concerns());
        async move {
            match change {
                PolicyChange::Changed(key) => return Some(reference(&key)),
                PolicyChange::StatusChanged(policy) => context.desk.send(status(&policy)).await,
                PolicyChange::Gone(key) => context.forget(&key).await,
                PolicyChange::Listed(listed) => {
                    context.forget_all_but(&listed, watched.scope.as_deref()).await;
                    context.synced.listed(&watched);
                }
            }
            None
        }
    });
    (stream, store)
}

/// The status that a policy has now.
pub(super) fn status(policy: &StoredPolicy) -> Input<Text> {
    let meta = policy.meta();
    Input::StatusSeen {
        key: policy.key(),
        uid: meta.uid.clone().unwrap_or_default(),
        version: Version::new(meta.resource_version.clone().unwrap_or_default()),
        status: Box::new(requests::status(policy.status())),
    }
}

/// Our objects of every kind, for the desk, each a task that runs until it is dropped.
pub fn all_owned(
    context: &Arc<Context>,
    scope: &Scope,
) -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static + use<>> + use<> {
    let (context, scope) = (Arc::clone(context), scope.clone());
    let kinds = Kind::ALL.iter().copied();
    kinds.map(move |kind| owned(Arc::clone(&context), kind, scope.clone()))
}

/// Our objects of one kind, for the desk; runs until it is dropped.
async fn owned(context: Arc<Context>, kind: Kind, scope: Scope) {
    let ours = Selection::labels(format!("{}={}", labels::MANAGED_BY, labels::MANAGER));
    let api: Api<DynamicObject> = scoped(&context.watches, &resource(kind), &scope);
    let watched = Watched {
        subject: Subject::Written(kind),
        scope,
    };
    let mut events = std::pin::pin!(followed(&context, &watched, api, ours));
    let mut listed = Listed {
        kind,
        namespace: watched.scope.clone(),
        known: BTreeSet::new(),
        listing: BTreeSet::new(),
    };
    while let Some(event) = events.next().await {
        let ended = matches!(event, Event::InitDone);
        if let Some(input) = listed.take(event, &context.routed) {
            context.changes.tell(concerns(&input));
            context.desk.send(input).await;
        }
        if ended {
            context.synced.listed(&watched);
            context.changes.tell(Changed::Everything);
        }
    }
}

/// Of which policies something is another one by this.
fn concerns(input: &Input<Text>) -> Changed {
    match input {
        Input::Seen(object) => Changed::Namespace(object.namespace.clone()),
        Input::Lost { place, .. } => Changed::Namespace(place.namespace.clone()),
        _ => Changed::Everything,
    }
}

/// The objects that a watch has shown. During a new list, and while the watch fails, what was known stands.
struct Listed {
    kind: Kind,
    namespace: Scope,
    known: BTreeSet<Place>,
    listing: BTreeSet<Place>,
}

impl Listed {
    /// What an event says of our objects.
    fn take(&mut self, event: Event<DynamicObject>, routed: &RoutedServers) -> Option<Input<Text>> {
        match event {
            Event::Init => {
                self.listing.clear();
                None
            }
            Event::InitApply(object) => {
                self.listing.insert(place(self.kind, &object));
                Some(seen(self.kind, &object, routed))
            }
            Event::Apply(object) => {
                self.known.insert(place(self.kind, &object));
                Some(seen(self.kind, &object, routed))
            }
            Event::Delete(object) => {
                let place = place(self.kind, &object);
                self.known.remove(&place);
                forget(&place, routed);
                let version = version(&object);
                Some(Input::Lost { place, version })
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.known, std::mem::take(&mut self.listing));
                for gone in before.difference(&self.known) {
                    forget(gone, routed);
                }
                Some(Input::Listed {
                    kind: self.kind,
                    namespace: self.namespace.clone(),
                    places: self.known.clone(),
                })
            }
        }
    }
}

fn place(kind: Kind, object: &DynamicObject) -> Place {
    Place {
        namespace: object.namespace().unwrap_or_default(),
        id: ObjectId {
            kind,
            name: object.name_any(),
        },
    }
}

fn version(object: &DynamicObject) -> Version {
    Version::new(object.resource_version().unwrap_or_default())
}

fn seen(kind: Kind, object: &DynamicObject, routed: &RoutedServers) -> Input<Text> {
    // An object is JSON, so it can be written as such.
    let tree = serde_json::to_value(object).unwrap_or_default();
    let seen = reading::observed(kind, tree);
    if let Some(slice) = &seen.slice {
        routed.see(&seen.namespace, &seen.id.name, seen.policy.as_deref(), slice);
    }
    Input::Seen(Box::new(seen))
}

fn forget(place: &Place, routed: &RoutedServers) {
    if place.id.kind == Kind::EndpointSlice {
        routed.lose(&place.namespace, &place.id.name);
    }
}

/// All Services of a scope: those that policies name are followed.
pub fn services(context: Arc<Context>, scope: Scope) -> impl Stream<Item = ObjectRef<StoredPolicy>> + Send {
    let api: Api<Service> = typed(&context, &scope);
    let watched = Watched {
        subject: Subject::Services,
        scope,
    };
    let events =
        followed(&context, &watched, api, Selection::default()).map(move |event| -> Vec<PolicyKey> {
            let changed = context.services.event(&event, &watched.scope);
            let waited = first_listed(&context, &watched, &event);
            changed.union(&waited).cloned().collect()
        });
    events.flat_map(references)
}

/// Slices of others: those for our Services are told to the desk, those behind Services that policies name ask for a pass.
pub fn slices_of_others(
    context: Arc<Context>,
    scope: Scope,
) -> impl Stream<Item = ObjectRef<StoredPolicy>> + Send {
    let api: Api<EndpointSlice> = typed(&context, &scope);
    let watched = Watched {
        subject: Subject::SlicesOfOthers,
        scope,
    };
    let selection = Selection::labels(foreign::selector());
    let events = followed(&context, &watched, api, selection).then(move |event| {
        let (context, watched) = (Arc::clone(&context), watched.clone());
        async move {
            let services = context.foreign.event(&event, &watched.scope);
            let mut concerned = first_listed(&context, &watched, &event);
            concerned.extend(context.services.users(&services));
            for (namespace, service) in services {
                let slices = context.foreign.of(&namespace, &service);
                let foreign = Input::Foreign {
                    namespace,
                    service,
                    slices,
                };
                context.desk.send(foreign).await;
            }
            concerned.into_iter().collect::<Vec<_>>()
        }
    });
    events.flat_map(references)
}

/// The policies that have waited for the first list of Services, or of slices, which ends with this event.
fn first_listed<K>(context: &Context, watched: &Watched, event: &Event<K>) -> BTreeSet<PolicyKey> {
    if matches!(event, Event::InitDone) && context.synced.listed(watched) {
        return context.services.users_in(&watched.scope);
    }
    BTreeSet::new()
}

/// Metadata of all Secrets of a scope.
pub fn all_secrets(
    context: Arc<Context>,
    scope: Scope,
) -> impl Stream<Item = ObjectRef<StoredPolicy>> + Send {
    let api: Api<PartialObjectMeta<Secret>> = typed(&context, &scope);
    let watched = Watched {
        subject: Subject::Secrets,
        scope,
    };
    let mut unseen = BTreeSet::new();
    followed(&context, &watched, api, Selection::default())
        .map(move |event| {
            if matches!(event, Event::InitDone) {
                context.synced.listed(&watched);
            }
            let in_scope =
                |(namespace, _): &SecretKey| watched.scope.as_ref().is_none_or(|scope| scope == namespace);
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
    event: Event<PartialObjectMeta<Secret>>,
) -> Vec<PolicyKey> {
    let (secret, exists) = match event {
        Event::Apply(secret) | Event::InitApply(secret) => (secret, true),
        Event::Delete(secret) => (secret, false),
        Event::Init => {
            *unseen = secrets.read_of(in_scope);
            return Vec::new();
        }
        Event::InitDone => {
            let gone = std::mem::take(unseen);
            let changed = |key| secrets.changed(key, Shown::Gone(None));
            let concerned: BTreeSet<_> = gone.iter().flat_map(changed).collect();
            return concerned.into_iter().collect();
        }
    };
    let key = (secret.namespace().unwrap_or_default(), secret.name_any());
    unseen.remove(&key);
    let version = secret.resource_version();
    let shown = if exists {
        Shown::At(version.unwrap_or_default())
    } else {
        Shown::Gone(version)
    };
    secrets.changed(&key, shown)
}

/// One Secret that a policy names; asks for passes itself, until it is aborted.
pub async fn named_secret(context: Arc<Context>, (namespace, name): SecretKey) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(context.watches.clone(), &namespace);
    let told = Arc::clone(&context);
    let figure = context.metrics.watch(Subject::Secrets.kind());
    let report = move |report: Report<'_>| match report {
        Report::Heard => figure.heard(),
        Report::Failed(failure) => {
            let kind = Subject::Secrets.kind();
            tracing::warn!(kind, error = %chain(failure), category = failure.category(), "watch failed, and is tried again");
            told.metrics.watch_failed(kind, failure.category());
        }
    };
    let events = list_watch(api, Selection::name(&name), Patience::default(), report);
    let mut events = std::pin::pin!(events);
    let this = (namespace, name);
    let mut unseen = BTreeSet::new();
    while let Some(event) = events.next().await {
        let concerned = secret_event(&context.secrets, |key| *key == this, &mut unseen, event);
        for key in concerned {
            context.triggers.ask(key).await;
        }
    }
}

/// What a watch shows. How it fares is logged and counted, and in `/readyz`; it never stops a stream.
fn followed<K>(
    context: &Arc<Context>,
    watched: &Watched,
    api: Api<K>,
    selection: Selection,
) -> impl Stream<Item = Event<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let (context, watched) = (Arc::clone(context), watched.clone());
    let figure = context.metrics.watch(watched.subject.kind());
    let report = move |report: Report<'_>| match report {
        Report::Heard => {
            figure.heard();
            context.synced.heard(&watched);
        }
        Report::Failed(failure) => {
            let (kind, category) = (watched.subject.kind(), failure.category());
            tracing::warn!(kind, scope = watched.scope, error = %chain(failure), category, "watch failed, and is tried again");
            context.metrics.watch_failed(kind, category);
            context.synced.failed(&watched, category);
        }
    };
    list_watch(api, selection, Patience::default(), report)
}

fn typed<K>(context: &Context, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(context.watches.clone(), namespace),
        None => Api::all(context.watches.clone()),
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

#[cfg(test)]
mod tests;
