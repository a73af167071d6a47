//! EndpointSlices of others for our Services: kube-proxy would merge them with ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;

use super::Scope;
use crate::render::labels;

/// Slices that others manage, all of them: few words each, as nobody knows whose Service will be ours.
pub fn selector() -> String {
    format!(
        "{},{}!={}",
        labels::SERVICE_NAME,
        labels::SLICE_MANAGED_BY,
        labels::SLICE_MANAGER
    )
}

type Service = (String, String);

/// Names of slices by namespace and Service.
type Slices = BTreeMap<Service, BTreeSet<String>>;

/// The slices of others. During a new list, and while the watch fails, what was known stands.
#[derive(Debug, Default)]
pub struct ForeignSlices(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: Slices,
    /// What the list that is under way has shown, by scope.
    listing: BTreeMap<Scope, Slices>,
}

impl ForeignSlices {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a watch event; the Services of which something else is known now.
    pub fn event(&self, event: &Event<PartialObjectMeta<DynamicObject>>, scope: &Scope) -> Vec<Service> {
        let mut state = self.state();
        match event {
            Event::Init => {
                state.listing.insert(scope.clone(), Slices::new());
                Vec::new()
            }
            Event::InitApply(slice) => {
                if let Some(service) = service(slice) {
                    let listing = state.listing.entry(scope.clone()).or_default();
                    listing.entry(service).or_default().insert(slice.name_any());
                }
                Vec::new()
            }
            Event::InitDone => {
                let listed = state.listing.remove(scope).unwrap_or_default();
                state.replace(scope.as_deref(), listed)
            }
            Event::Apply(slice) => {
                let moved = state.remove(slice);
                let service = service(slice);
                if let Some(service) = service.clone() {
                    state.known.entry(service).or_default().insert(slice.name_any());
                }
                if moved == service {
                    return Vec::new();
                }
                moved.into_iter().chain(service).collect()
            }
            Event::Delete(slice) => state.remove(slice).into_iter().collect(),
        }
    }

    /// The slices of others for a Service.
    #[must_use]
    pub fn of(&self, namespace: &str, service: &str) -> Vec<String> {
        let state = self.state();
        let slices = state.known.get(&(namespace.to_owned(), service.to_owned()));
        slices.into_iter().flatten().cloned().collect()
    }
}

impl State {
    /// The slices of a scope are exactly these.
    fn replace(&mut self, scope: Option<&str>, listed: Slices) -> Vec<Service> {
        let in_scope = |service: &Service| scope.is_none_or(|scope| scope == service.0);
        let before: Slices = self
            .known
            .extract_if(.., |service, _| in_scope(service))
            .collect();
        let either: BTreeSet<_> = before.keys().chain(listed.keys()).collect();
        let differ = either
            .into_iter()
            .filter(|service| before.get(*service) != listed.get(*service));
        let differ = differ.cloned().collect();
        self.known.extend(listed);
        differ
    }

    /// Forgets a slice, whichever Service it was for.
    fn remove(&mut self, slice: &PartialObjectMeta<DynamicObject>) -> Option<Service> {
        let (namespace, name) = (slice.namespace()?, slice.name_any());
        let mut here = self
            .known
            .range_mut((namespace.clone(), String::new())..)
            .take_while(|(service, _)| service.0 == namespace);
        let (service, names) = here.find(|(_, names)| names.contains(&name))?;
        let service = service.clone();
        names.remove(&name);
        if names.is_empty() {
            self.known.remove(&service);
        }
        Some(service)
    }
}

fn service(slice: &PartialObjectMeta<DynamicObject>) -> Option<Service> {
    Some((
        slice.namespace()?,
        slice.labels().get(labels::SERVICE_NAME)?.clone(),
    ))
}

#[cfg(test)]
mod tests;
