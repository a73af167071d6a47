//! What passes over policies share.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use tokio::sync::mpsc;

use super::Scope;
use super::clients::Clients;
use super::events::PolicyEvent;
use super::foreign::ForeignSlices;
use super::known::KnownPolicies;
use super::observed::ObservedObjects;
use super::readiness::FirstLists;
use super::routes::RouteWriting;
use super::secrets::{NamedWatches, SecretAccess, SecretCache};
use super::services::ServiceCache;
use super::triggers::Triggers;
use super::update_status::WrittenStatus;
use crate::clock::Clock;
use crate::engine::EngineHandle;
use crate::metrics::Metrics;
use distributary_api::validate::{Declaration, ServicePort};
use distributary_core::ids::PolicyKey;

/// What passes share.
pub struct Context {
    pub client: Client,
    /// For watches alone.
    pub(super) watches: Client,
    pub clock: Clock,
    pub engine: EngineHandle,
    pub observed: ObservedObjects,
    pub foreign: ForeignSlices,
    pub(super) policies: KnownPolicies,
    pub secrets: SecretCache,
    pub services: ServiceCache,
    pub routes: RouteWriting,
    pub synced: FirstLists,
    pub triggers: Triggers,
    pub metrics: Metrics,
    pub(super) written: WrittenStatus,
    pub(super) access: SecretAccess,
    pub(super) named: NamedWatches,
    pub(super) events: mpsc::Sender<PolicyEvent>,
    pub(super) failures: Mutex<HashMap<PolicyKey, u32>>,
    /// What the engine was last told of each policy, and which objects are written for it.
    pub(super) told: Mutex<HashMap<PolicyKey, Declaration>>,
}

impl Context {
    #[must_use]
    #[allow(
        clippy::too_many_arguments,
        reason = "one for each part, made once by the wiring"
    )]
    pub fn new(
        clients: Clients,
        clock: Clock,
        engine: EngineHandle,
        metrics: Metrics,
        scopes: &[Scope],
        triggers: Triggers,
        access: SecretAccess,
        events: mpsc::Sender<PolicyEvent>,
    ) -> Self {
        Self {
            client: clients.requests,
            watches: clients.watches,
            clock,
            engine,
            observed: ObservedObjects::default(),
            foreign: ForeignSlices::default(),
            policies: KnownPolicies::default(),
            secrets: SecretCache::default(),
            services: ServiceCache::default(),
            routes: RouteWriting::default(),
            synced: FirstLists::new(scopes, access),
            triggers,
            metrics,
            written: WrittenStatus::default(),
            access,
            named: NamedWatches::default(),
            events,
            failures: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// A policy is gone. What a pass that is under way puts back, it takes away again at its end.
    pub async fn forget(self: &Arc<Self>, key: &PolicyKey) {
        lock(&self.told).remove(key);
        lock(&self.failures).remove(key);
        self.policies.forget(key);
        self.written.forget(key);
        self.observed.forget(key);
        self.uses_secrets(key, &BTreeSet::new());
        self.uses_services(key, &BTreeSet::new());
        self.routes.forget(key);
        // The engine has ended only while the process ends.
        let _ = self.engine.gone(key.clone()).await;
    }

    /// The policies of a scope are exactly these.
    pub async fn forget_all_but(self: &Arc<Self>, listed: &BTreeSet<PolicyKey>, scope: Option<&str>) {
        let in_scope = |key: &&PolicyKey| scope.is_none_or(|scope| scope == key.namespace);
        let begun = self.policies.begun();
        for key in begun.difference(listed).filter(in_scope) {
            self.forget(key).await;
        }
    }

    /// Says which Secrets a policy names; watches of those that nobody names any more end.
    pub(super) fn uses_secrets(&self, key: &PolicyKey, names: &BTreeSet<String>) {
        for unused in self.secrets.used_by(key, names) {
            self.named.end(&unused, || self.secrets.is_named(&unused));
        }
    }

    /// Says which Services a policy names.
    pub(super) fn uses_services(&self, key: &PolicyKey, ports: &BTreeSet<ServicePort>) {
        let names = ports.iter().map(|port| port.service.as_str()).collect();
        self.services.used_by(key, &names);
    }
}

/// The value of a lock, also after a panic of its holder: it is replaced whole, never left half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
