//! EndpointSlices of others. Those for a Service of ours are in the way: kube-proxy would merge them with ours. Those for
//! a Service that a policy names tell its pods. Nobody knows which Services will be ours, or named: what matters of each
//! slice in scope is kept, about 300 bytes for one of three pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

use super::Scope;
use super::services::ServiceKey;
use super::services::pods::{self, Ports, Ready};
use crate::render::labels;
use distributary_core::resolved::ServiceProblem;

/// Slices that others manage, all of them. A policy never leads to its own routes, nor to those of another one.
pub fn selector() -> String {
    format!(
        "{},{}!={}",
        labels::SERVICE_NAME,
        labels::SLICE_MANAGED_BY,
        labels::SLICE_MANAGER
    )
}

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
    pub fn event(&self, event: &Event<EndpointSlice>, scope: &Scope) -> Vec<ServiceKey> {
        let mut state = self.state();
        match event {
            Event::Init => {
                state.listing.insert(scope.clone(), Slices::default());
                Vec::new()
            }
            Event::InitApply(slice) => {
                state.listing.entry(scope.clone()).or_default().put(slice);
                Vec::new()
            }
            Event::InitDone => {
                let listed = state.listing.remove(scope).unwrap_or_default();
                state.known.replace(scope.as_deref(), listed)
            }
            Event::Apply(slice) => state.known.put(slice),
            Event::Delete(slice) => {
                let namespace = slice.namespace().unwrap_or_default();
                let gone = state.known.remove(&namespace, &slice.name_any());
                gone.map(|slice| (namespace, slice.service.to_string()))
                    .into_iter()
                    .collect()
            }
        }
    }

    /// The slices of others for a Service.
    #[must_use]
    pub fn of(&self, namespace: &str, service: &str) -> Vec<String> {
        let state = self.state();
        let slices = state.known.of(namespace, service);
        slices.map(|(name, _)| name.to_string()).collect()
    }

    /// Where the ready pods behind `port` of a Service with these ports listen.
    ///
    /// # Errors
    /// As of [`pods::ready`].
    pub fn ready(
        &self,
        (namespace, name): &ServiceKey,
        ports: &Ports,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ServiceProblem> {
        let state = self.state();
        let slices: Vec<_> = state.known.of(namespace, name).map(|(_, ready)| ready).collect();
        pods::ready(ports, slices.into_iter(), port)
    }
}

/// Slices by namespace.
#[derive(Debug, Default)]
struct Slices(BTreeMap<String, Namespace>);

/// Slices by name, and their names by Service.
#[derive(Debug, Default)]
struct Namespace {
    slices: BTreeMap<Arc<str>, Slice>,
    services: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

#[derive(Debug, Eq, PartialEq)]
struct Slice {
    service: Arc<str>,
    ready: Ready,
}

impl Slices {
    fn of(&self, namespace: &str, service: &str) -> impl Iterator<Item = (&Arc<str>, &Ready)> {
        let namespace = self.0.get(namespace);
        namespace.into_iter().flat_map(move |known| known.of(service))
    }

    /// Keeps a slice; the Services of which something else is known now.
    fn put(&mut self, slice: &EndpointSlice) -> Vec<ServiceKey> {
        let (Some(namespace), Some(service)) = (slice.namespace(), slice.labels().get(labels::SERVICE_NAME))
        else {
            return Vec::new();
        };
        let known = self.0.entry(namespace.clone()).or_default();
        let service: Arc<str> = match known.services.get_key_value(service.as_str()) {
            Some((service, _)) => Arc::clone(service),
            None => service.as_str().into(),
        };
        let now = Slice {
            ready: Ready::of(slice),
            service: Arc::clone(&service),
        };
        let name = slice.name_any();
        let before = known.remove(&name);
        let same = before.as_ref() == Some(&now);
        let name: Arc<str> = name.into();
        known
            .services
            .entry(Arc::clone(&service))
            .or_default()
            .insert(Arc::clone(&name));
        known.slices.insert(name, now);
        if same {
            return Vec::new();
        }
        let services = before.map(|before| before.service).into_iter().chain([service]);
        let services: BTreeSet<_> = services.collect();
        services
            .iter()
            .map(|service| (namespace.clone(), service.to_string()))
            .collect()
    }

    /// Forgets a slice, whichever Service it was for.
    fn remove(&mut self, namespace: &str, name: &str) -> Option<Slice> {
        let known = self.0.get_mut(namespace)?;
        let gone = known.remove(name);
        if known.slices.is_empty() {
            self.0.remove(namespace);
        }
        gone
    }

    /// The slices of a scope are exactly these; the Services of which something else is known now.
    fn replace(&mut self, scope: Option<&str>, listed: Self) -> Vec<ServiceKey> {
        let in_scope = |namespace: &String| scope.is_none_or(|scope| scope == namespace);
        let before = self.0.extract_if(.., |namespace, _| in_scope(namespace));
        let before = Self(before.collect());
        let either: BTreeSet<_> = before.services().chain(listed.services()).collect();
        let differs = |(namespace, service): &(&String, &Arc<str>)| {
            !before.of(namespace, service).eq(listed.of(namespace, service))
        };
        let differ = either.into_iter().filter(differs);
        let differ = differ.map(|(namespace, service)| (namespace.clone(), service.to_string()));
        let differ = differ.collect();
        self.0.extend(listed.0);
        differ
    }

    fn services(&self) -> impl Iterator<Item = (&String, &Arc<str>)> {
        let of = |(namespace, known)| -> Vec<_> {
            let known: &Namespace = known;
            known
                .services
                .keys()
                .map(|service| (namespace, service))
                .collect()
        };
        self.0.iter().flat_map(of)
    }
}

impl Namespace {
    fn of(&self, service: &str) -> impl Iterator<Item = (&Arc<str>, &Ready)> {
        let names = self.services.get(service).into_iter().flatten();
        names.filter_map(|name| Some((name, &self.slices.get(name)?.ready)))
    }

    fn remove(&mut self, name: &str) -> Option<Slice> {
        let slice = self.slices.remove(name)?;
        if let Some(names) = self.services.get_mut(&slice.service) {
            names.remove(name);
            if names.is_empty() {
                self.services.remove(&slice.service);
            }
        }
        Some(slice)
    }
}

#[cfg(test)]
mod tests;
