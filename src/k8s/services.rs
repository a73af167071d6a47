//! Dereferencing: the Services that policies name, and the ready pods behind them. All Services of a scope are followed by
//! one watch, and all EndpointSlices of others by another: however many Services are named, they need no connection more,
//! and one that is named later is known already.

mod hold;
pub mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

use super::Scope;
use super::foreign::ForeignSlices;
use distributary_api::validate::{ServicePort, Services};
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
use distributary_core::resolved::ServiceProblem;
pub use hold::{HeldEndpoints, hold};
use pods::Ports;

/// Namespace and name of a Service.
pub type ServiceKey = (String, String);

/// A pass over a policy that names a Service before the Services were listed comes again when they are, at the latest
/// after this.
pub const FIRST_LISTS: Duration = Duration::from_secs(5);

/// The Services in scope as last seen, and which of them policies name.
#[derive(Debug, Default)]
pub struct ServiceCache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<ServiceKey, Ports>,
    /// What the list that is under way has shown, by scope. Until it ends what was known stands.
    listing: BTreeMap<Scope, BTreeMap<ServiceKey, Ports>>,
    /// Which policies name a Service, and which Services a policy names.
    users: BTreeMap<ServiceKey, BTreeSet<PolicyKey>>,
    named: BTreeMap<PolicyKey, BTreeSet<String>>,
    /// Since when somebody waits for the first lists, by namespace.
    awaited: BTreeMap<String, Moment>,
}

impl ServiceCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which Services a policy names.
    pub fn used_by(&self, policy: &PolicyKey, names: &BTreeSet<&str>) {
        let mut state = self.state();
        let State { users, named, .. } = &mut *state;
        let key = |name: &str| (policy.namespace.clone(), name.to_owned());
        for gone in named.remove(policy).unwrap_or_default() {
            if names.contains(gone.as_str()) {
                continue;
            }
            let service = key(&gone);
            if let Some(of_it) = users.get_mut(&service) {
                of_it.remove(policy);
                if of_it.is_empty() {
                    users.remove(&service);
                }
            }
        }
        for name in names {
            users.entry(key(name)).or_default().insert(policy.clone());
        }
        if !names.is_empty() {
            let names = names.iter().map(|name| (*name).to_owned());
            named.insert(policy.clone(), names.collect());
        }
    }

    /// The policies that name one of these Services.
    pub fn users<'a>(&self, services: impl IntoIterator<Item = &'a ServiceKey>) -> BTreeSet<PolicyKey> {
        let state = self.state();
        let users = services
            .into_iter()
            .filter_map(|service| state.users.get(service));
        users.flatten().cloned().collect()
    }

    /// The policies of a scope that name any Service.
    pub fn users_in(&self, scope: &Scope) -> BTreeSet<PolicyKey> {
        let state = self.state();
        let policies = state.named.keys();
        let in_scope = |policy: &&PolicyKey| scope.as_ref().is_none_or(|scope| *scope == policy.namespace);
        policies.filter(in_scope).cloned().collect()
    }

    /// Where the ready pods listen; `None` while the first lists are awaited. `listed`: they have ended.
    #[must_use]
    pub fn dereference(
        &self,
        slices: &ForeignSlices,
        policy: &PolicyKey,
        ports: &BTreeSet<ServicePort>,
        listed: bool,
        now: Moment,
    ) -> Option<Services> {
        let mut state = self.state();
        if ports.is_empty() {
            return Some(Services::new());
        }
        if listed {
            state.awaited.remove(&policy.namespace);
        } else {
            let since = state.awaited.entry(policy.namespace.clone()).or_insert(now);
            if now.since(*since) < FIRST_LISTS {
                return None;
            }
        }
        let ready = |port: &ServicePort| {
            if !listed {
                return Err(ServiceProblem::Unavailable);
            }
            let service = (policy.namespace.clone(), port.service.clone());
            let known = state.known.get(&service).ok_or(ServiceProblem::NotFound)?;
            slices.ready(&service, known, port.port)
        };
        Some(ports.iter().map(|port| (port.clone(), ready(port))).collect())
    }

    /// Takes in what the watch of a scope shows; the policies that it concerns.
    pub fn event(&self, event: &Event<Service>, scope: &Scope) -> BTreeSet<PolicyKey> {
        let changed = self.state().take(event, scope);
        self.users(&changed)
    }
}

impl State {
    /// The Services of which something else is known now.
    fn take(&mut self, event: &Event<Service>, scope: &Scope) -> Vec<ServiceKey> {
        match event {
            Event::Init => {
                self.listing.insert(scope.clone(), BTreeMap::new());
                Vec::new()
            }
            Event::InitApply(service) => {
                let listing = self.listing.entry(scope.clone()).or_default();
                listing.insert(key(service), Ports::of(service));
                Vec::new()
            }
            Event::InitDone => {
                let listed = self.listing.remove(scope).unwrap_or_default();
                self.replace(scope, listed)
            }
            Event::Apply(service) => {
                let (key, ports) = (key(service), Ports::of(service));
                if self.known.get(&key) == Some(&ports) {
                    return Vec::new();
                }
                self.known.insert(key.clone(), ports);
                vec![key]
            }
            Event::Delete(service) => {
                let gone = self.known.remove_entry(&key(service));
                gone.into_iter().map(|(service, _)| service).collect()
            }
        }
    }

    /// The Services of a scope are exactly these.
    fn replace(&mut self, scope: &Scope, listed: BTreeMap<ServiceKey, Ports>) -> Vec<ServiceKey> {
        let in_scope = |service: &ServiceKey| scope.as_ref().is_none_or(|scope| *scope == service.0);
        let before = self.known.extract_if(.., |service, _| in_scope(service));
        let before: BTreeMap<_, _> = before.collect();
        let either: BTreeSet<_> = before.keys().chain(listed.keys()).collect();
        let differ = either
            .into_iter()
            .filter(|service| before.get(*service) != listed.get(*service));
        let differ = differ.cloned().collect();
        self.known.extend(listed);
        differ
    }
}

fn key(service: &Service) -> ServiceKey {
    (service.namespace().unwrap_or_default(), service.name_any())
}

#[cfg(test)]
mod tests;
