//! What passes over policies share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use super::Scope;
use super::clients::Clients;
use super::desk::DeskHandle;
use super::foreign::ForeignSlices;
use super::known::KnownPolicies;
use super::quota::{EndpointQuota, Excess};
use super::readiness::FirstLists;
use super::routed::RoutedServers;
use super::secrets::{NamedWatches, SecretAccess, SecretCache};
use super::services::ServiceCache;
use super::stored::StoredPolicy;
use super::triggers::Triggers;
use crate::clock::Clock;
use crate::engine::{Changes, EngineHandle};
use crate::metrics::Metrics;
use distributary_api::validate::{ClusterNames, ServicePort};
use distributary_core::ids::PolicyKey;

/// What passes share.
pub struct Context {
    pub client: Client,
    /// For watches alone.
    pub(super) watches: Client,
    pub clock: Clock,
    pub engine: EngineHandle,
    pub desk: DeskHandle,
    pub(super) routed: RoutedServers,
    pub foreign: ForeignSlices,
    pub(super) policies: KnownPolicies,
    pub secrets: SecretCache,
    pub services: ServiceCache,
    pub synced: FirstLists,
    pub triggers: Triggers,
    pub metrics: Metrics,
    /// Told when a policy, its decision, its status or a slice of it is another one.
    pub changes: Changes,
    pub(super) access: SecretAccess,
    pub(super) named: NamedWatches,
    pub(super) cluster: ClusterSettings,
    quota: EndpointQuota,
}

/// What was said of the cluster at the start.
#[derive(Clone, Debug, Default)]
pub struct ClusterSettings {
    /// Where it is.
    pub region: Option<String>,
    pub names: ClusterNames,
    /// From one check of a server to the next, at least.
    pub min_interval: Duration,
    /// Endpoints of the policies of one namespace, at most; 0: as many as there are.
    pub max_endpoints_per_namespace: usize,
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
        desk: DeskHandle,
        metrics: Metrics,
        scopes: &[Scope],
        triggers: Triggers,
        access: SecretAccess,
        cluster: ClusterSettings,
    ) -> Self {
        Self {
            client: clients.requests,
            watches: clients.watches,
            clock,
            changes: engine.changes.clone(),
            engine,
            desk,
            routed: RoutedServers::default(),
            foreign: ForeignSlices::default(),
            policies: KnownPolicies::default(),
            secrets: SecretCache::default(),
            services: ServiceCache::default(),
            synced: FirstLists::new(scopes, access),
            triggers,
            metrics,
            access,
            named: NamedWatches::default(),
            quota: EndpointQuota::new(cluster.max_endpoints_per_namespace),
            cluster,
        }
    }

    /// A policy as the watch has shown it last.
    #[must_use]
    pub fn shown(&self, key: &PolicyKey) -> Option<Arc<StoredPolicy>> {
        self.policies.get(key)
    }

    /// The first `most` names of the policies that watches show, of one namespace or of all, after `after`, in their order.
    #[must_use]
    pub fn shown_names(
        &self,
        namespace: Option<&str>,
        after: Option<&PolicyKey>,
        most: usize,
    ) -> Vec<PolicyKey> {
        self.policies.names(namespace, after, most)
    }

    /// The servers of each route of a policy, as its slices have them, by the name of the route; `None`: the slices were not
    /// listed yet. `uid`: of the policy.
    #[must_use]
    pub fn shown_routes(&self, key: &PolicyKey, uid: &str) -> Option<BTreeMap<String, BTreeSet<SocketAddr>>> {
        let is_known = self.synced.subscribe().borrow().knows_routes(&key.namespace);
        is_known.then(|| self.routed.routes(&key.namespace, uid))
    }

    /// A policy is gone. What a pass that is under way puts back, it takes away again at its end.
    pub async fn forget(self: &Arc<Self>, key: &PolicyKey) {
        self.policies.forget(key);
        self.ask_for(self.quota.forget(key));
        self.uses_secrets(key, &BTreeSet::new());
        self.uses_services(key, &BTreeSet::new());
        self.services.written_for(key, &BTreeSet::new());
        self.desk.gone(key.clone()).await;
        // The engine has ended only while the process ends.
        let _ = self.engine.gone(key.clone()).await;
    }

    /// The policies of a scope are exactly these.
    pub async fn forget_all_but(self: &Arc<Self>, listed: &BTreeSet<PolicyKey>, scope: Option<&str>) {
        let in_scope = |key: &&PolicyKey| scope.is_none_or(|scope| scope == key.namespace);
        let mut known = self.policies.begun();
        // Also those of which no pass began.
        known.extend(self.quota.counted());
        for key in known.difference(listed).filter(in_scope) {
            self.forget(key).await;
        }
    }

    /// Whether the policies of its namespace that are older leave no room for this one.
    pub(super) fn excess(self: &Arc<Self>, object: &StoredPolicy) -> Option<Excess> {
        let key = object.key();
        let listed = || self.policies.sizes(&key.namespace);
        let (excess, others) = self.quota.take(&key, &object.size(), listed);
        self.ask_for(others);
        excess
    }

    /// Asks for passes, and does not wait until there is room for them: the passes that make it may wait for this one.
    fn ask_for(self: &Arc<Self>, policies: Vec<PolicyKey>) {
        if policies.is_empty() {
            return;
        }
        let context = Arc::clone(self);
        tokio::spawn(async move {
            for key in policies {
                context.triggers.ask(key).await;
            }
        });
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
