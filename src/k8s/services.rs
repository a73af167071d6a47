//! Dereferencing: the Services that policies name, and the ready pods behind them; and the address families of those that are written
//! for policies. All Services of a scope are followed by
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
use distributary_core::cluster::Families;
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
use distributary_core::resolved::ServiceProblem;
pub use hold::{HeldEndpoints, hold, service_problem};
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
    /// Those that policies name as servers.
    named: Users,
    /// Those that are written for policies.
    written: Users,
    /// Since when somebody waits for the first lists, by namespace.
    awaited: BTreeMap<String, Moment>,
}

impl ServiceCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which Services a policy names.
    pub fn used_by(&self, policy: &PolicyKey, names: &BTreeSet<&str>) {
        self.state().named.set(policy, names);
    }

    /// Says which Services are written for a policy.
    pub fn written_for(&self, policy: &PolicyKey, names: &BTreeSet<&str>) {
        self.state().written.set(policy, names);
    }

    /// The policies that name one of these Services.
    pub fn users<'a>(&self, services: impl IntoIterator<Item = &'a ServiceKey>) -> BTreeSet<PolicyKey> {
        self.state().named.of(services)
    }

    /// The policies of a scope that name any Service, or that Services are written for.
    pub fn users_in(&self, scope: &Scope) -> BTreeSet<PolicyKey> {
        let state = self.state();
        let policies = state.named.services.keys().chain(state.written.services.keys());
        let in_scope = |policy: &&PolicyKey| scope.as_ref().is_none_or(|scope| *scope == policy.namespace);
        policies.filter(in_scope).cloned().collect()
    }

    /// What a listed Service carries; one that is not there counts as one of the usual family.
    #[must_use]
    pub fn families(&self, service: &ServiceKey) -> Families {
        let state = self.state();
        let known = state.known.get(service);
        known.map(|ports| ports.families).unwrap_or_default()
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
        let mut state = self.state();
        let changed = state.take(event, scope);
        let named = changed.iter().map(|change| &change.service);
        let written = changed.iter().filter(|change| change.families);
        let mut concerned = state.named.of(named);
        concerned.extend(state.written.of(written.map(|change| &change.service)));
        concerned
    }
}

/// A Service of which something else is known now.
struct Change {
    service: ServiceKey,
    /// It carries something else.
    families: bool,
}

impl Change {
    fn of(service: &ServiceKey, before: Option<&Ports>, after: Option<&Ports>) -> Option<Self> {
        let families = |ports: Option<&Ports>| ports.map(|ports| ports.families).unwrap_or_default();
        (before != after).then(|| Self {
            service: service.clone(),
            families: families(before) != families(after),
        })
    }
}

/// Which policies have to do with a Service, and with which Services a policy.
#[derive(Debug, Default)]
struct Users {
    policies: BTreeMap<ServiceKey, BTreeSet<PolicyKey>>,
    services: BTreeMap<PolicyKey, BTreeSet<String>>,
}

impl Users {
    /// The Services of a policy are exactly these.
    fn set(&mut self, policy: &PolicyKey, names: &BTreeSet<&str>) {
        let key = |name: &str| (policy.namespace.clone(), name.to_owned());
        for gone in self.services.remove(policy).unwrap_or_default() {
            if names.contains(gone.as_str()) {
                continue;
            }
            let service = key(&gone);
            if let Some(of_it) = self.policies.get_mut(&service) {
                of_it.remove(policy);
                if of_it.is_empty() {
                    self.policies.remove(&service);
                }
            }
        }
        for name in names {
            self.policies.entry(key(name)).or_default().insert(policy.clone());
        }
        if !names.is_empty() {
            let names = names.iter().map(|name| (*name).to_owned());
            self.services.insert(policy.clone(), names.collect());
        }
    }

    /// The policies of these Services.
    fn of<'a>(&self, services: impl IntoIterator<Item = &'a ServiceKey>) -> BTreeSet<PolicyKey> {
        let policies = services
            .into_iter()
            .filter_map(|service| self.policies.get(service));
        policies.flatten().cloned().collect()
    }
}

impl State {
    /// The Services of which something else is known now.
    fn take(&mut self, event: &Event<Service>, scope: &Scope) -> Vec<Change> {
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
                let change = Change::of(&key, self.known.get(&key), Some(&ports));
                self.known.insert(key, ports);
                change.into_iter().collect()
            }
            Event::Delete(service) => {
                let gone = self.known.remove_entry(&key(service));
                let change = gone.and_then(|(service, ports)| Change::of(&service, Some(&ports), None));
                change.into_iter().collect()
            }
        }
    }

    /// The Services of a scope are exactly these.
    fn replace(&mut self, scope: &Scope, listed: BTreeMap<ServiceKey, Ports>) -> Vec<Change> {
        let in_scope = |service: &ServiceKey| scope.as_ref().is_none_or(|scope| *scope == service.0);
        let before = self.known.extract_if(.., |service, _| in_scope(service));
        let before: BTreeMap<_, _> = before.collect();
        let either: BTreeSet<_> = before.keys().chain(listed.keys()).collect();
        let changes = either
            .into_iter()
            .filter_map(|service| Change::of(service, before.get(service), listed.get(service)));
        let changes = changes.collect();
        self.known.extend(listed);
        changes
    }
}

fn key(service: &Service) -> ServiceKey {
    (service.namespace().unwrap_or_default(), service.name_any())
}

#[cfg(test)]
mod tests;
